"""Axes with positions, against the same written out by hand in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from tests.running import Array, Trial, difference

LEVELS = ("O0", "O2")


def trial_of(text: str, seed: int = 0) -> Trial:
    """A text on whole sequences, which gives the same in both backends at all levels."""
    trial = Trial(cellc.parse(text), seed, ragged=False)
    found = [run(level) for run in (trial.numpy, trial.torch) for level in LEVELS]
    assert all(difference(found[0], other) < 1e-12 for other in found[1:])
    return trial


def check(trial: Trial, *outputs: Array) -> None:
    for found, expected in zip(trial.numpy("O2")[0], outputs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def chain(trial: Trial, axis: str, positions: int) -> Any:
    """tanh(W·y + b) at every position, from the input on."""
    y = trial.inputs[0]
    for n in range(1, positions + 1):
        own = axis.format(n=n)
        y = np.tanh(y @ trial.params[f"W_{own}"].T + trial.params[f"b_{own}"])
    return y


CHAIN = """
cell chain
axis depth[L] = {length}
input x[I]
state y[H] along depth = {entry}
y' = tanh(W·y + b)
output last(y')
"""


@pytest.mark.parametrize("length", ["1", "4"])
def test_every_position_has_weights_of_its_own_and_the_first_is_typed_by_itself(
    length: str,
) -> None:
    trial = trial_of(CHAIN.format(length=length, entry="x"))
    assert str(trial.cell.nodes["W_y_1"].type) == "[H, I] over {}"
    check(trial, chain(trial, "y_{n}", int(length)))


def test_tied_positions_share_one_weight_behind_a_projection() -> None:
    trial = trial_of(CHAIN.format(length="4 tied", entry="P·x"))
    assert set(trial.params) == {"P_y", "W_y", "b_y"}
    y = trial.inputs[0] @ trial.params["P_y"].T
    for _ in range(4):
        y = np.tanh(y @ trial.params["W_y"].T + trial.params["b_y"])
    check(trial, y)


def test_nothing_enters_at_the_near_side_unless_it_is_said() -> None:
    trial = trial_of("""
    cell from_zero
    axis depth[L] = 3 tied
    input x[I]
    state y[H] along depth
    y' = tanh(W·x + U·y + b)
    output first(y'), last(y'), last(y, depth), all(y', depth)
    """)
    p, y, left = trial.params, np.zeros(0), list[Array]()
    for _ in range(3):
        recurrent = y @ p["U_y"].T if left else 0.0
        y = np.tanh(trial.inputs[0] @ p["W_y"].T + recurrent + p["b_y"])
        left.append(y)
    check(trial, left[0], left[2], left[1], np.stack(left, axis=2))


def test_a_state_of_time_lives_at_every_position_and_sees_all_of_the_step_before() -> None:
    trial = trial_of("""
    cell layered
    axis layer[L] = 3
    input x[I]
    state h[H]
    state y[H] along layer = x
    past = all(h, layer)
    h' = tanh(W·y + U·past + b)
    y' = h'
    output last(y')
    """)
    assert trial.cell.states == ("h_1", "h_2", "h_3")
    p, h, found = trial.params, list(trial.state), []
    for x in trial.inputs[0]:
        past, y = np.stack(h, axis=1), x
        for n in range(3):
            own = np.einsum("hlk,blk->bh", p[f"U_h_{n + 1}"], past)
            y = np.tanh(y @ p[f"W_h_{n + 1}"].T + own + p[f"b_h_{n + 1}"])
            h[n] = y
        found.append(y)
    check(trial, np.stack(found))
    for end, expected in zip(trial.numpy("O2")[1], h, strict=True):
        np.testing.assert_allclose(end, expected, atol=1e-12)


def test_a_grid_is_read_from_its_corner() -> None:
    trial = trial_of("""
    cell image
    axis row[R] = 3 tied
    axis col[C] = 2
    input x[I] along row, col
    state u[H] along row
    state v[H] along col
    z = tanh(W·x + U·u + V·v + b)
    u' = z
    v' = z
    output last(last(u'), col), all(last(u', row), col), first(first(v'), row)
    """)
    (x,), p = trial.inputs, trial.params
    assert x.shape[2:4] == (3, 2)
    steps, batch, hidden = x.shape[0], x.shape[1], p["b_z_1"].shape[0]
    z = np.zeros((4, 3, steps, batch, hidden))
    for r in range(1, 4):
        for c in range(1, 3):
            net = x[:, :, r - 1, c - 1] @ p[f"W_z_{c}"].T + z[r - 1, c] @ p[f"U_z_{c}"].T
            z[r, c] = np.tanh(net + z[r, c - 1] @ p[f"V_z_{c}"].T + p[f"b_z_{c}"])
    check(trial, z[3, 2], np.stack([z[3, 1], z[3, 2]], axis=2), z[1, 1])


def test_a_delay_at_every_position() -> None:
    trial = trial_of("""
    cell delayed
    axis depth[L] = 2
    input x[H]
    state y[H] along depth = x
    y' = tanh(W·y + U·prev(y', 2))
    output last(y')
    """)
    p = trial.params
    names = dict(zip(trial.cell.states, trial.state, strict=True))
    past = [[names["prev_y_1_1"], names["prev_y_1_2"]], [names["prev_y_2_1"], names["prev_y_2_2"]]]
    found = []
    for x in trial.inputs[0]:
        y = x
        for n in (1, 2):
            y = np.tanh(y @ p[f"W_y_{n}"].T + past[n - 1][1] @ p[f"U_y_{n}"].T)
            past[n - 1] = [y, past[n - 1][0]]
        found.append(y)
    check(trial, np.stack(found))


def test_a_mask_is_drawn_for_every_position() -> None:
    trial = trial_of("""
    cell dropping
    axis depth[L] = 2 tied
    input x[H]
    state y[H] along depth = x
    y' = tanh(W·dropout(y, 0.5))
    output last(y')
    """)
    y = trial.inputs[0]
    assert len(trial.draws) == 2
    for mask in trial.draws.values():
        y = np.tanh((y * (mask >= 0.5) / 0.5) @ trial.params["W_y"].T)
    check(trial, y)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_length_is_chosen_before_compiling(length: int) -> None:
    cell = cellc.load("highway", L=length)
    assert sum(name.startswith("U_z") for name in cell.params) == length
    shown = CliRunner().invoke(app, ["show", "highway", "--size", f"L={length}"])
    assert shown.exit_code == 0
    assert f"U_z_{length}" in shown.output
    assert f"U_z_{length + 1}" not in shown.output


def test_a_weight_may_be_called_as_that_of_a_position_because_it_has_positions_too() -> None:
    trial = trial_of("""
    cell taken
    axis depth[L] = 2
    input x[H]
    state y[H] along depth = x
    param W_y_1[H, H]
    y' = tanh(W·y + W_y_1·x)
    output last(y')
    """)
    assert set(trial.params) == {"W_y_1", "W_y_2", "W_y_1_1", "W_y_1_2"}
