"""Cells inside cells, against the same written out by hand or as equations."""

from __future__ import annotations

import numpy as np
import pytest

import cellc
from tests.running import Array, Trial, difference

LEVELS = ("O0", "O2")


def trial_of(text: str, seed: int = 0) -> Trial:
    """A text on a ragged batch, which gives the same in both backends at all levels."""
    trial = Trial(cellc.parse(text), seed)
    found = [run(level) for run in (trial.numpy, trial.torch) for level in LEVELS]
    assert all(difference(found[0], other) < 1e-12 for other in found[1:])
    return trial


def key(text: str) -> str:
    return cellc.parse(text).key()


def test_a_cell_applied_is_its_equations() -> None:
    applied = """
    cell a
    input x[I]
    state h[H]
    h' = rnn(tanh(P·x), h)
    output h'
    param P[H, I]
    """
    written = """
    cell a
    input x[I]
    state h[H]
    param P[H, I]
    h' = tanh(U·tanh(P·x) + W·h + b)
    output h'
    """
    assert key(applied) == key(written)


def test_a_state_that_is_passed_is_the_callers_and_another_lives_at_the_call() -> None:
    passed = trial_of("""
    cell a
    input x[I]
    state h[H], m[H]
    h', m' = lstm_transform([h, x], m)
    output h'
    """)
    assert passed.cell.states == ("h", "m")
    assert passed.cell.key() == cellc.load("lstm").key()
    alone = trial_of("""
    cell a
    input x[I]
    s = gru(x)
    output s
    """)
    assert alone.cell.states == ("s_h",)
    assert alone.cell.key() == cellc.load("gru").key()


def test_all_values_of_a_call_have_names() -> None:
    trial = trial_of("""
    cell two
    input x[I]
    state h[H]
    h' = tanh(W·x + U·h)
    q = sigmoid(V·h')
    output h', q

    cell a
    input x[I]
    gate, memory = two(x)
    output gate, memory
    """)
    gate, memory = trial.numpy("O2")[0]
    alive = np.arange(len(gate))[:, None] < trial.lengths
    expected = 1 / (1 + np.exp(-memory @ trial.params["gate_V_q"].T))
    np.testing.assert_allclose(gate, expected * alive[..., None], atol=1e-12)


def test_each_call_has_weights_of_its_own_unless_they_are_shared() -> None:
    text = """
    cell a
    input x[H]
    {share}
    p = {name}(x)
    q = {name}(p)
    output q
    """
    own = trial_of(text.format(share="", name="rnn"))
    assert set(own.params) == {f"{c}_{n}" for c in "pq" for n in ("U_h", "W_h", "b_h")}
    shared = trial_of(text.format(share="share T = rnn", name="T"))
    assert set(shared.params) == {"T_U_h", "T_W_h", "T_b_h"}
    assert shared.cell.states == own.cell.states == ("p_h", "q_h")
    own.params = {f"{c}_{n[2:]}": v for n, v in shared.params.items() for c in "pq"}
    own.inputs, own.state, own.ends = shared.inputs, shared.state, shared.ends
    own.sizes, own.batch, own.steps = shared.sizes, shared.batch, shared.steps
    assert difference(own.numpy("O2"), shared.numpy("O2")) < 1e-12


def _leaky(x: Array, h: Array, params: dict[str, Array], share: float) -> Array:
    new = np.tanh(x @ params["U_v"].T + h @ params["W_v"].T + params["b_v"])
    return np.asarray(share * h + (1 - share) * new)


@pytest.mark.parametrize(("share", "value"), [("", 0.5), (", α=0.9", 0.9)])
def test_sizes_and_options_are_stated_by_name(share: str, value: float) -> None:
    trial = trial_of(f"cell a\ninput x[I]\nm = leaky_rnn(x, H=7{share})\noutput m\n")
    assert "hidden_size" not in trial.sizes
    params = {name[2:]: v for name, v in trial.params.items()}
    h, outputs = trial.state[0], trial.numpy("O2")[0][0]
    for t, x in enumerate(trial.inputs[0]):
        alive = (t < trial.lengths)[:, None]
        h = np.where(alive, _leaky(x, h, params, value), h)
        np.testing.assert_allclose(outputs[t], h * alive, atol=1e-12)
    assert h.shape[1] == 7


def test_cells_within_cells_within_cells() -> None:
    trial = trial_of("""
    cell inner
    input x[H]
    h = rnn(x)
    output h + x

    cell middle
    input x[H]
    output inner(inner(x))

    cell a
    input x[H]
    output x -> middle -> middle
    """)
    assert len(trial.cell.states) == 4
    assert len(trial.params) == 12
    flat = "cell a\ninput x[H]\noutput x -> " + " -> ".join(["residual(rnn)"] * 4)
    assert trial.cell.key() == key(flat)


def test_what_a_cell_says_of_its_weights_holds_wherever_it_is_applied() -> None:
    trial = trial_of("""
    cell inner
    input x[I]
    state h[H] = h0
    param h0[H] = ones()
    param U_h diagonal
    param W_h frozen = uniform(2, 3)
    h' = tanh(W·x + U·dropout(h, 0.25))
    output h'

    network a
    input x[I]
    output x -> stack(inner, layers=2)
    """)
    cell = trial.cell
    assert str(cell.nodes["inner_2_U_h"].type) == "[H] over {}"
    assert [n for n in cell.params if "frozen" in dict(cell.nodes[n].attrs)] == [
        "inner_1_W_h", "inner_2_W_h",
    ]  # fmt: skip
    run = cellc.compile(cell, "numpy")(3, 4)
    assert (run.params["inner_1_W_h"] >= 2).all()
    assert (run.params["inner_2_h0"] == 1).all()
    assert len(trial.draws) == 2


def test_an_applied_cell_brings_its_axis_along() -> None:
    trial = trial_of("""
    cell a
    input x[I]
    state h[H]
    h' = highway(tanh(W·x + U·h), L=3)
    output h'
    """)
    assert sum("U_z" in name for name in trial.params) == 3
    p, h = trial.params, trial.state[0]
    for t, x in enumerate(trial.inputs[0]):
        a = np.tanh(x @ p["W_h"].T + h @ p["U_h"].T)
        for n in (1, 2, 3):
            z = 1 / (1 + np.exp(-(a @ p[f"h_U_z_{n}"].T + p[f"h_b_z_{n}"])))
            a = z * a + (1 - z) * np.tanh(a @ p[f"h_U_n_{n}"].T + p[f"h_b_n_{n}"])
        h = np.where((t < trial.lengths)[:, None], a, h)
    np.testing.assert_allclose(trial.numpy("O2")[1][0], h, atol=1e-12)


def test_a_split_states_the_size_of_what_it_splits() -> None:
    text = """
    cell a
    input x[I]
    state h[H], c[H]
    {equations}
    c' = sigmoid(f)*c + sigmoid(i)*tanh(g)
    h' = sigmoid(o)*tanh(c')
    output h'
    """
    stated = trial_of(text.format(equations="z[4*H] = W·[h, x] + b\n    f, i, o, g = split(z)"))
    inferred = trial_of(text.format(equations="f[H], i[H], o[H], g[H] = split(W·[h, x] + b)"))
    assert stated.cell.key() == inferred.cell.key()
    assert stated.params["W_z"].shape[0] == 4 * stated.sizes["hidden_size"]


def test_a_value_may_be_called_as_the_layer_that_makes_it() -> None:
    trial = trial_of("""
    network a
    dim V vocabulary
    input x integer
    embedding = x -> embedding(V, 5)
    gru = embedding -> gru
    output gru -> last -> linear(3)
    """)
    plain = "network a\ndim V vocabulary\ninput x integer\n"
    plain += "output x -> embedding(V, 5) -> gru -> last -> linear(3)"
    assert trial.cell.key() == key(plain)


@pytest.mark.parametrize(
    ("layer", "states"),
    [("stack(T, layers=3)", ["T_1_h", "T_2_h", "T_3_h"]),
     ("bidirectional(T)", ["T_forward_h", "T_backward_h"]),
     ("stack(S, layers=2)", ["S_T_1_h", "S_T_2_h"])],
)  # fmt: skip
def test_a_shared_layer_is_one_however_it_is_used(layer: str, states: list[str]) -> None:
    trial = trial_of(
        f"network a\ninput x[H]\nshare T = rnn\nshare S = residual(T)\nq = x -> S\n"
        f"output (x -> {layer}), q"
    )
    assert set(trial.params) == {"T_U_h", "T_W_h", "T_b_h"}
    assert [s for s in trial.cell.states if not s.startswith("q")] == states


@pytest.mark.parametrize(("tied", "sets"), [(" tied", {"T"}), ("", {"T_1", "T_2"})])
def test_a_shared_layer_along_an_axis_is_one_where_the_axis_is_tied(
    tied: str, sets: set[str]
) -> None:
    trial = trial_of(f"""
    cell a
    axis depth[L] = 2{tied}
    input x[H]
    share T = rnn
    state y[H] along depth = x
    y' = (y -> T) + T(y)
    output last(y')
    """)
    assert set(trial.params) == {f"{s}_{n}" for s in sets for n in ("U_h", "W_h", "b_h")}


def test_a_small_function_is_a_layer_at_every_position() -> None:
    text = """
    cell a
    axis depth[L] = 2
    input x[H]
    state y[H] along depth = x
    f(v) = tanh(v + y)
    y' = {value}
    output last(y')
    """
    layer = trial_of(text.format(value="(W·y + b) -> f"))
    assert layer.cell.key() == key(text.format(value="f(W·y + b)"))


def test_a_state_starts_with_what_a_layer_or_another_loop_gives() -> None:
    trial = trial_of("""
    network a
    dim J context_size
    input x[I]
    input s[J] per sequence
    state h[H] = (s -> linear(H)) + (x -> rnn -> last)
    h' = tanh(W·x + U·h)
    output h'
    """)
    p = trial.params
    assert trial.cell.states == ("h", "h_2_h")
    run = cellc.compile(trial.cell, "numpy")(**trial.sizes)
    run.params = p
    x, s = trial.inputs
    first = run(x[:1], s)[0][0]
    start = s @ p["h_W"].T + p["h_b"] + np.tanh(x[0] @ p["h_2_U_h"].T + p["h_2_b_h"])
    expected = np.tanh(x[0] @ p["W_h"].T + start @ p["U_h"].T)
    np.testing.assert_allclose(first, expected, atol=1e-12)


def test_an_input_may_become_a_state_that_is_fed_back() -> None:
    derived = """
    cell a from rnn with x as y
    input x[H] per sequence
    state y[H] = x
    y' = V·h' + b
    output y'
    """
    written = """
    cell a
    input x[H] per sequence
    state y[H] = x
    state h[H]
    h' = tanh(U·y + W·h + b)
    y' = V·h' + b
    output y'
    """
    assert key(derived) == key(written)


def test_a_network_with_an_axis_of_its_own_nests() -> None:
    trial = trial_of("""
    network a
    axis target
    input x[I]
    input y[J] along target
    dim J target_size
    d = seq2seq_lstm(x -> rnn, y, output_size=3)
    output d
    """)
    assert len(trial.cell.states) == 9
