"""The derivative of each state by the one before, against algebra and against autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cellc

Array = NDArray[np.float64]
T, I, H = 12, 3, 5


def sequence(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((T, I))


def started(cell: cellc.Cell, *sizes: int) -> Any:
    return cellc.compile(cell, "numpy")(*(sizes or (I, H)))


def product(J: Array) -> Array:
    found = np.eye(J.shape[1])
    for factor in J:
        found = factor @ found
    return found


def test_of_a_simple_network_it_is_the_slope_times_the_weight() -> None:
    run = started(cellc.load("rnn"))
    h, _ = run(sequence())
    J = cellc.jacobians(run, sequence())
    assert J.shape == (T, H, H)
    assert np.allclose(J, (1 - h**2)[:, :, None] * run.params["W_h"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "peephole_lstm", "nfg"])
def test_the_product_is_what_autograd_finds(name: str) -> None:
    cell = cellc.load(name)
    run, module = started(cell), cellc.compile(cell)(I, H).double()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in run.params.items()})
    several = len(cell.states) > 1
    rng = np.random.default_rng(1)
    start = rng.standard_normal((len(cell.states), H))

    def last(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.reshape(-1, H).unbind()
        ends = module(torch.from_numpy(sequence()), parts if several else parts[0])[1]
        return torch.cat(ends) if several else ends

    theirs = torch.autograd.functional.jacobian(last, torch.from_numpy(start.ravel()))  # type: ignore[no-untyped-call]
    ours = cellc.jacobians(run, sequence(), state=tuple(start) if several else start[0])
    assert np.allclose(product(ours), theirs.numpy(), rtol=1e-7, atol=1e-11)


def test_states_of_any_shape_and_several_inputs() -> None:
    cell = cellc.parse("""
cell odd
input x[I], t
state S[H, I], s, h[H]
S' = 0.5*S + outer(h, x)
s' = s*t
h' = 2*h
output h'
""")
    x, t = sequence(), np.linspace(1, 2, T)
    J = cellc.jacobians(started(cell), x, t)
    n = H * I
    assert J.shape == (T, n + 1 + H, n + 1 + H)
    expected = np.zeros_like(J)
    expected[:, :n, :n] = 0.5 * np.eye(n)
    expected[:, :n, n + 1 :] = np.einsum("hk,ti->thik", np.eye(H), x).reshape(T, n, H)
    expected[:, n, n] = t
    expected[:, n + 1 :, n + 1 :] = 2 * np.eye(H)
    assert np.allclose(J, expected, rtol=0, atol=1e-8)


def test_earlier_values_are_states() -> None:
    cell = cellc.parse("cell lag\ninput x[H]\nstate h[H]\nh' = 0.5*prev(h') + x\noutput prev(h')\n")
    J = cellc.jacobians(started(cell, 2), np.ones((3, 2)))
    states = len(cell.states)
    assert J.shape == (3, 2 * states, 2 * states)
    assert np.allclose(J[:, :2, :2], 0.5 * np.eye(2))


def test_large_states_are_probed_as_widely() -> None:
    cell = cellc.parse("cell square\ninput x[H]\nstate h[H]\nh' = h*h/1000 + x\noutput h'\n")
    start = np.array([1e6, 1e-3])
    J = cellc.jacobians(started(cell, 2), np.zeros((1, 2)), state=start)
    assert np.allclose(J[0], np.diag(2 * start / 1000), rtol=1e-9, atol=1e-9)


def test_float32_parameters_are_differentiated_in_float64() -> None:
    cell = cellc.load("rnn")
    run = cellc.compile(cell, "numpy")(I, H, dtype=np.float32)
    h, _ = run(sequence())
    expected = (1 - h**2)[:, :, None] * run.params["W_h"]
    assert np.allclose(cellc.jacobians(run, sequence()), expected, rtol=0, atol=1e-6)


def test_the_run_stays_as_it_was() -> None:
    run, x = started(cellc.load("lstm")), sequence()
    before = run(x)[0]
    start = (np.ones(H), np.ones(H))
    cellc.jacobians(run, x, state=start)
    assert np.array_equal(run(x)[0], before)
    assert all(np.array_equal(part, np.ones(H)) for part in start)


def test_what_does_not_fit_is_said() -> None:
    run, x = started(cellc.load("lstm")), sequence()
    with pytest.raises(ValueError, match="one and the same length"):
        cellc.jacobians(run, x, x[1:])
    with pytest.raises(ValueError, match="one and the same length"):
        cellc.jacobians(run, x[:0])
    with pytest.raises(ValueError, match="one and the same length"):
        cellc.jacobians(run)
    with pytest.raises(ValueError, match=r"without batch, of shape \(5,\), \(5,\)"):
        cellc.jacobians(run, x, state=(np.ones((1, H)), np.ones((1, H))))
    deep = cellc.parse(
        "cell deep\naxis depth[L]\ninput x[H]\nstate h[H] along depth = x\n"
        "h' = tanh(W·h)\noutput last(h')\n"
    )
    with pytest.raises(ValueError, match="no state"):
        cellc.jacobians(started(deep, I), x)
