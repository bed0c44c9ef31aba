"""More of axes and of applied cells, against the same written out by hand in NumPy."""

from __future__ import annotations

import numpy as np

import cellc
from tests.running import Array
from tests.test_axes import trial_of


def sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-a)))


def test_the_dimension_with_priority_sees_what_the_other_has_just_computed() -> None:
    trial = trial_of("""
    cell grid
    axis depth[L] = 3
    input x[I]
    state t[H]
    state d[H] along depth = P·x
    d' = tanh(W·[t, d] + b)
    t' = tanh(W·[t, d'] + b)
    output last(d'), last(t', depth)
    """)
    p, t = trial.params, list(trial.state)
    for step, x in enumerate(trial.inputs[0]):
        d = x @ p["P_d"].T
        for n in (1, 2, 3):
            before = t[n - 1]
            d = np.tanh(np.concatenate([before, d], -1) @ p[f"W_d_{n}"].T + p[f"b_d_{n}"])
            t[n - 1] = np.tanh(np.concatenate([before, d], -1) @ p[f"W_t_{n}"].T + p[f"b_t_{n}"])
        for found, expected in zip(trial.numpy("O2")[0], (d, t[2]), strict=True):
            np.testing.assert_allclose(found[step], expected, rtol=0, atol=1e-12)


def test_the_entry_of_a_grid_has_weights_for_every_position_of_the_other_axis() -> None:
    trial = trial_of("""
    cell edges
    axis row[R] = 2
    axis col[C] = 2 tied
    input x[I] along row
    state u[H] along col = P·x
    state v[H] along row
    z = tanh(u + V·v)
    u' = z
    v' = z
    output last(all(u', row), col)
    """)
    p, (x,) = trial.params, trial.inputs
    assert set(p) == {"P_u_1", "P_u_2", "V_z_1", "V_z_2"}
    above = [np.zeros(())] * 2
    rows = []
    for r in (1, 2):
        z = x[:, :, r - 1] @ p[f"P_u_{r}"].T
        for c in (0, 1):
            z = np.tanh(z + (above[c] @ p[f"V_z_{r}"].T if r > 1 else 0.0))
            above[c] = z
        rows.append(z)
    found = trial.numpy("O2")[0][0]
    np.testing.assert_allclose(found, np.stack(rows, axis=2), rtol=0, atol=1e-12)


def test_the_name_in_a_small_function_is_its_own_even_where_a_state_travels_under_it() -> None:
    trial = trial_of("""
    cell shadowed
    axis depth[L] = 2
    input x[H]
    state y[H] along depth = x
    twice(y) = 2*y
    h = sin(y)
    y' = twice(h)
    output last(y')
    """)
    expected = 2 * np.sin(2 * np.sin(trial.inputs[0]))
    np.testing.assert_allclose(trial.numpy("O2")[0][0], expected, rtol=0, atol=1e-12)


def test_states_of_one_call_may_be_handed_over_in_any_order_by_name() -> None:
    text = "cell a\ninput x[I]\nstate h[H], c[H]\nh', c' = lstm({given})\noutput h', c'\n"
    usual = cellc.parse(text.format(given="x, h, c"))
    named = cellc.parse(text.format(given="x, c=c, h=h"))
    crossed = cellc.parse(text.format(given="x, c, h"))
    assert usual.key() == named.key() != crossed.key()


def test_only_one_state_of_a_call_may_be_the_callers() -> None:
    trial = trial_of("""
    cell half
    input x[I]
    state c[H]
    h, c' = lstm(x, c=c)
    output h, c'
    """)
    assert trial.cell.states == ("c", "h_h")
    p, (c, h) = trial.params, trial.state
    for step, x in enumerate(trial.inputs[0]):
        v = np.concatenate([h, x], -1)
        f, i, o, g = (v @ p[f"h_W_{n}"].T + p[f"h_b_{n}"] for n in "fiog")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        for found, expected in zip(trial.numpy("O2")[0], (h, c), strict=True):
            np.testing.assert_allclose(found[step], expected, rtol=0, atol=1e-12)


def test_a_mask_of_an_applied_cell_carries_the_name_of_the_call() -> None:
    trial = trial_of("""
    cell inner
    input x[H]
    option p = 0.25
    output dropout(x, p)

    cell a
    input x[H]
    y = inner(x)
    z = inner(y, p=0.5)
    output z
    """)
    first, second = (trial.draws[name] for name in ("y_mask_x", "z_mask_x"))
    expected = trial.inputs[0] * (first >= 0.25) / 0.75 * (second >= 0.5) / 0.5
    np.testing.assert_allclose(trial.numpy("O2")[0][0], expected, rtol=0, atol=1e-12)


def test_an_applied_cell_starts_where_it_says_unless_its_state_is_given() -> None:
    trial = trial_of("""
    cell inner
    input x[H]
    param s[H]
    state h[H] = s
    h' = 0.5*h + x
    output h'

    cell a
    input x[H]
    state g[H]
    g' = inner(x, g)
    y = inner(x)
    output g', y
    """)
    run = cellc.compile(trial.cell, "numpy")(**trial.sizes)
    run.params = dict(trial.params)
    (given, living), _ = run(trial.inputs[0])
    x = trial.inputs[0][0]
    np.testing.assert_allclose(given[0], x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(living[0], 0.5 * trial.params["y_s"] + x, rtol=0, atol=1e-12)
