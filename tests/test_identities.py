"""Cells that are other cells when some of their weights are special: identities of the zoo.

Each test takes random parameters of one cell, writes out those that make the other one the same,
and compares the two on a ragged batch from random states.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

import cellc
from cellc.views.summary import summarise

Array = NDArray[np.float64]
Params = dict[str, Array]

STEPS, BATCH, LENGTHS = 5, 3, np.array([5, 2, 4])
I, H = 3, 4
SIZES = {"input_size": I, "hidden_size": H}
GATES = "fiog"
OPEN = 40.0  # a sigmoid of it is one within 1e-17


def random(*shape: int, seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng((seed, *shape)).standard_normal(shape))


def module_of(cell: cellc.Cell | str, **arguments: Any) -> Any:
    """A NumPy cell, given itself or by the name of a shipped one."""
    cell = cellc.load(cell) if isinstance(cell, str) else cell
    return cellc.compile(cell, "numpy")(**arguments)


def drawn(cell: cellc.Cell | str, **sizes: int) -> Params:
    """Random parameters of a cell, by their names in state_dict."""
    fresh = module_of(cell, **sizes).params
    return {name: 0.7 * random(*np.shape(v), seed=n) for n, (name, v) in enumerate(fresh.items())}


def run(
    cell: cellc.Cell | str, params: Params, x: Array, state: Any = None, **sizes: Any
) -> tuple[Array, list[Array]]:
    """The first output and the final states, on sequences that end at LENGTHS."""
    module = module_of(cell, **sizes)
    assert {n: v.shape for n, v in params.items()} == {n: v.shape for n, v in module.params.items()}
    module.params = params
    y, ends = module(x, lengths=LENGTHS, **({} if state is None else {"state": state}))
    return y, list(ends) if isinstance(ends, tuple) else [ends]


def same(a: tuple[Array, list[Array]], b: tuple[Array, list[Array]]) -> None:
    np.testing.assert_allclose(a[0], b[0], rtol=0, atol=1e-12)
    assert len(a[1]) == len(b[1])
    for left, right in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-12)


def joined(left: Array, right: Array) -> Array:
    """One weight for a concatenation, from one for each part."""
    return np.concatenate([left, right], axis=-1)


X = random(STEPS, BATCH, I, seed=100)
STATE = (random(BATCH, H, seed=101), random(BATCH, H, seed=102))


# Cells that are the same as soon as they are written.


@pytest.mark.parametrize(
    ("text", "twin"),
    [
        ("cell a from vanilla_lstm\nf = 1 - i", "cifg"),
        ("cell a from vanilla_lstm\ni = 1 - f", "cifg_forget"),
        ("cell a from vanilla_lstm\nf = 1", "nfg"),
        ("cell a from cifg\nf = sigmoid(W·[h, x] + p*c + b)", "vanilla_lstm"),
        ("cell a from np\nf = f_\nf_ = sigmoid(W_f·[h, x] + b_f)", "lstm"),
        ("cell a from gru\nh' = (1 - z)*h + z*n", "gru_update"),
        ("cell a from recurrent_dropout_lstm\nc' = f*c + i*g", "lstm"),
        ("cell a from leaky_rnn\nμ' = v", "rnn"),
        ("cell a\ninput x[I]\nh = lstm(x)\noutput h", "lstm"),
        ("cell a\ninput x[I]\noutput x -> lstm", "lstm"),
    ],
)
def test_equations_written_another_way_have_the_key_of_the_cell(text: str, twin: str) -> None:
    assert cellc.parse(text).key() == cellc.load(twin).key()


def test_a_tied_and_an_untied_axis_are_different_cells() -> None:
    assert cellc.load("grid_lstm_2d").key() != cellc.load("grid_lstm_2d_tied").key()


# Gates held open.


@pytest.mark.parametrize(("name", "gate"), [("nig", "i"), ("nfg", "f"), ("nog", "o")])
def test_a_missing_gate_is_one_that_is_held_open(name: str, gate: str) -> None:
    params = drawn(name, **SIZES)
    held = {
        f"W_{gate}": np.zeros((H, H + I)),
        f"p_{gate}": np.zeros(H),
        f"b_{gate}": np.full(H, OPEN),
    }
    same(
        run(name, params, X, STATE, **SIZES), run("vanilla_lstm", params | held, X, STATE, **SIZES)
    )


def test_gru_with_open_reset_and_shut_update_gate_is_rnn() -> None:
    rnn = drawn("rnn", **SIZES)
    gru: Params = {f"{w}_{g}": np.zeros((H, n)) for g in "rz" for w, n in (("W", I), ("U", H))}
    gru |= {"b_r": np.full(H, OPEN), "b_z": np.full(H, -OPEN)}
    gru |= {"W_n": rnn["U_h"], "U_n": rnn["W_h"], "b_n": rnn["b_h"]}
    same(run("gru", gru, X, STATE[0], **SIZES), run("rnn", rnn, X, STATE[0], **SIZES))


def test_gru_update_is_gru_with_its_gate_turned_round() -> None:
    params = drawn("gru", **SIZES)
    turned = {name: -v if name.endswith("_z") else v for name, v in params.items()}
    same(run("gru", params, X, STATE[0], **SIZES), run("gru_update", turned, X, STATE[0], **SIZES))


@pytest.mark.parametrize(
    ("name", "words", "parent"),
    [
        ("leaky_rnn", {"alpha": 0.0}, "rnn"),
        ("recurrent_dropout_lstm", {"p": 0.0}, "lstm"),
        ("recurrent_dropout_gru", {"p": 0.0}, "gru"),
        ("zoneout_lstm", {"p_c": 0.0, "p_h": 0.0}, "lstm"),
    ],
)
def test_an_option_that_is_zero_gives_the_parent(
    name: str, words: dict[str, float], parent: str
) -> None:
    theirs = drawn(parent, **SIZES)
    names = {"U_h": "U_v", "W_h": "W_v", "b_h": "b_v"} if name == "leaky_rnn" else {}
    ours = {names.get(n, n): v for n, v in theirs.items()}
    state = STATE if "lstm" in name else STATE[0]
    same(run(name, ours, X, state, **SIZES, **words), run(parent, theirs, X, state, **SIZES))


def test_a_fast_echo_state_network_is_rnn_with_a_readout() -> None:
    esn = drawn("esn", **SIZES, output_size=2)
    rnn = {"U_h": esn["W_in"], "W_h": esn["W_v"], "b_h": esn["b_v"]}
    y, ends = run("esn", esn, X, STATE[0], **SIZES, output_size=2, alpha=1.0)
    h, last = run("rnn", rnn, X, STATE[0], **SIZES)
    alive = (np.arange(STEPS)[:, None] < LENGTHS)[..., None]
    same((y, ends), (alive * (h @ esn["V_y"].T + esn["b_y"]), last))


def test_irnn_holds_what_is_not_negative_as_long_as_nothing_enters() -> None:
    module = module_of("irnn", **SIZES)
    h = np.abs(STATE[0])
    y, end = module(0 * X, state=h)
    np.testing.assert_array_equal(y, np.broadcast_to(h, y.shape))
    np.testing.assert_array_equal(end, h)


def test_full_gate_recurrence_without_its_matrices_is_vanilla() -> None:
    vanilla = drawn("vanilla_lstm", **SIZES)
    nine = {f"R_{a}{b}": np.zeros((H, H)) for a in "ifo" for b in "ifo"}
    y, ends = run("fgr", vanilla | nine, X, (*STATE, *[random(BATCH, H)] * 3), **SIZES)
    same((y, ends[:2]), run("vanilla_lstm", vanilla, X, STATE, **SIZES))


# Structured and shared weights.


def one_matrix(blocks: Array) -> Array:
    """[K, m, n] as the block-diagonal [K*m, K*n]."""
    count, rows, columns = blocks.shape
    dense = np.zeros((count * rows, count * columns))
    for k, block in enumerate(blocks):
        dense[k * rows : (k + 1) * rows, k * columns : (k + 1) * columns] = block
    return dense


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_g_lstm_is_lstm_with_block_diagonal_matrices(groups: int) -> None:
    sizes = {"input_size": 4, "hidden_size": 8}
    x, state = random(STEPS, BATCH, 4), (random(BATCH, 8, seed=1), random(BATCH, 8, seed=2))
    params = drawn("g_lstm", **sizes, groups=groups)
    dense = {f"b_{g}": params[f"b_{g}"] for g in GATES}
    for g in GATES:
        dense[f"W_{g}"] = joined(one_matrix(params[f"U_{g}"]), one_matrix(params[f"W_{g}"]))
    same(
        run("g_lstm", params, x, state, **sizes, groups=groups),
        run("lstm", dense, x, state, **sizes),
    )


def test_f_lstm_of_full_rank_is_lstm() -> None:
    lstm = drawn("lstm", **SIZES)
    basis = random(H + I, H + I)
    factored = {n: v if n[0] == "b" else v @ np.linalg.inv(basis) for n, v in lstm.items()}
    ours = run("f_lstm", factored | {"P_v": basis}, X, STATE, **SIZES, rank=H + I)
    theirs = run("lstm", lstm, X, STATE, **SIZES)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("cells", [1, 2])
def test_memory_block_is_lstm_with_gate_rows_repeated_in_each_block(cells: int) -> None:
    blocks = 3
    units = blocks * cells
    params = drawn("memory_block", input_size=I, blocks=blocks, block_size=cells)
    lstm: Params = {}
    for g in GATES:
        times = 1 if g == "g" else cells
        rows = [params[f"{w}_{g}"].reshape(units // times, -1) for w in "UWb"]
        recurrent, forward, bias = (np.repeat(r, times, axis=0) for r in rows)
        lstm |= {f"W_{g}": joined(recurrent, forward), f"b_{g}": bias[:, 0]}
    state = (random(BATCH, units, seed=1), random(BATCH, units, seed=2))
    shaped = tuple(s.reshape(BATCH, blocks, cells) for s in state)
    y, ends = run("memory_block", params, X, shaped, input_size=I, blocks=blocks, block_size=cells)
    flat = y.reshape(STEPS, BATCH, units), [e.reshape(BATCH, units) for e in ends]
    same(flat, run("lstm", lstm, X, state, input_size=I, hidden_size=units))


# Depth is time, turned by a right angle.


def along_time(cell: str, params: Params, entry: Any, steps: int) -> Array:
    """What a cell makes of a state in some steps without input."""
    module = module_of(cell, input_size=1, hidden_size=H)
    module.params = params
    batch = len(entry[0] if isinstance(entry, tuple) else entry)
    y, _ = module(np.zeros((steps, batch, 1)), state=entry)
    return np.asarray(y[-1])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grid_lstm_1d_over_depth_is_lstm_over_time_without_input(depth: int) -> None:
    grid = cellc.load("grid_lstm_1d", L=depth)
    one = {f"{k}_{g}": random(*shape, seed=n) for n, g in enumerate(GATES)
           for k, shape in (("W", (H, H)), ("b", (H,)))}  # fmt: skip
    params = {f"h_{n}_{name}": v for n in range(1, depth + 1) for name, v in one.items()}
    params |= {"P_h": random(H, I, seed=7), "P_m": random(H, I, seed=8)}
    module = module_of(grid, **SIZES)
    module.params = params
    shown, ends = module(X)
    lstm = {n: joined(v, np.zeros((H, 1))) if n[0] == "W" else v for n, v in one.items()}
    entry = (X[0] @ params["P_h"].T, X[0] @ params["P_m"].T)
    np.testing.assert_allclose(shown[0], along_time("lstm", lstm, entry, depth), rtol=0, atol=1e-12)
    assert not ends


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_highway_with_tied_weights_is_a_gru_with_r_1_and_zero_input(depth: int) -> None:
    highway = module_of(cellc.load("highway", L=depth), hidden_size=H)
    one = {
        n: random(*s, seed=7)
        for n, s in (("U_z", (H, H)), ("U_n", (H, H)), ("b_z", (H,)), ("b_n", (H,)))
    }
    highway.params = {f"{name}_{n}": v for n in range(1, depth + 1) for name, v in one.items()}
    x = random(STEPS, BATCH, H)
    gru = one | {f"W_{g}": np.zeros((H, 1)) for g in "rzn"}
    gru |= {"U_r": np.zeros((H, H)), "b_r": np.full(H, OPEN)}
    y, _ = highway(x)
    np.testing.assert_allclose(y[0], along_time("gru", gru, x[0], depth), rtol=0, atol=1e-12)


# Stacks.


def test_a_stack_is_a_grid_whose_depth_is_no_lstm() -> None:
    grid = cellc.parse("""
    cell grid
    axis depth[L] = 3
    input x[I]
    state h1[H], m1[H]
    state h2[H] along depth = x
    h1', m1' = lstm_transform([h1, h2], m1)
    h2' = h1'
    output last(h2')
    """)
    stack = cellc.parse("network s\ninput x[I]\noutput x -> stack(lstm, layers=3)")
    assert grid.key() == stack.key()


def test_a_stack_is_its_layers_along_an_axis() -> None:
    deep = cellc.parse("""
    cell deep from rnn with x as y
    axis depth[L] = 2
    input x[I]
    state y[H] along depth = x
    y' = h'
    output last(y')
    """)
    assert deep.key() == cellc.load("deep_rnn").key()


def _half(weight: Array, layer: int, layers: int) -> Array:
    """[H, L, H]: zero but for the layer itself, which its gate of one half halves."""
    gated = np.zeros((H, layers, H))
    gated[:, layer] = 2 * weight
    return gated


def _fed_back(name: str, layers: int) -> tuple[cellc.Cell, Params]:
    cell = cellc.load(name, L=layers)
    shapes = {n: v.shape for n, v in module_of(cell, **SIZES).params.items()}
    return cell, {n: np.zeros(s) for n, s in shapes.items()}


@pytest.mark.parametrize("layers", [1, 3])
def test_gated_feedback_rnn_without_feedback_is_a_stack(layers: int) -> None:
    stack = cellc.parse(f"network s\ninput x[I]\noutput x -> stack(rnn, layers={layers})")
    params = drawn(stack, **SIZES)
    cell, fed = _fed_back("gated_feedback_rnn", layers)
    for n in range(layers):
        own = f"rnn_{n + 1}"
        fed[f"W_h_{n + 1}"] = params[f"{own}_U_h"]
        fed[f"U_h_{n + 1}"] = _half(params[f"{own}_W_h"], n, layers)
        fed[f"b_h_{n + 1}"] = params[f"{own}_b_h"]
    state = tuple(random(BATCH, H, seed=n) for n in range(layers))
    state = state if layers > 1 else state[0]  # type: ignore[assignment]
    same(run(cell, fed, X, state, **SIZES), run(stack, params, X, state, **SIZES))


def test_gated_feedback_lstm_without_feedback_is_a_stack() -> None:
    stack = cellc.load("stacked_lstm")
    params = drawn(stack, **SIZES)
    cell, fed = _fed_back("gated_feedback_lstm", 2)
    for n in (1, 2):
        own = {g: (params[f"lstm_{n}_W_{g}"], params[f"lstm_{n}_b_{g}"]) for g in GATES}
        fed |= {f"W_{g}_{n}": own[g][0] for g in "fio"} | {f"b_{g}_{n}": own[g][1] for g in GATES}
        fed[f"U_g_{n}"] = _half(own["g"][0][:, :H], n - 1, 2)
        fed[f"W_g_{n}"] = own["g"][0][:, H:]
    state = tuple(random(BATCH, H, seed=n) for n in range(4))
    same(run(cell, fed, X, state, **SIZES), run(stack, params, X, state, **SIZES))


# The time gate.


@pytest.mark.parametrize(("openness", "time"), [(1.0, 0.5), (0.0, 5.0)])
def test_phased_lstm_with_an_open_gate_is_peephole_lstm_and_with_a_shut_one_stands(
    openness: float, time: float
) -> None:
    peephole = drawn("peephole_lstm", **SIZES)
    module = module_of("phased_lstm", **SIZES)
    gate = {"tau": np.full(H, 10.0), "s": np.zeros(H), "r": np.full(H, 0.1)}
    module.params = peephole | gate
    stamps = np.full((STEPS, BATCH), time)  # φ = 0.05 is the peak of an open share of 0.1
    y, ends = module(X, stamps, state=STATE, lengths=LENGTHS)
    still = np.broadcast_to(STATE[0], y.shape) * (np.arange(STEPS)[:, None] < LENGTHS)[..., None]
    expected = run("peephole_lstm", peephole, X, STATE, **SIZES)
    same((y, list(ends)), expected if openness else (still, list(STATE)))


# Counts of parameters.

_COUNTS = {
    "rnn": lambda i, h: (i + h) * h + h,
    "lstm": lambda i, h: 4 * ((i + h) * h + h),
    "vanilla_lstm": lambda i, h: 4 * ((i + h) * h + h) + 3 * h,
    "cifg": lambda i, h: 3 * ((i + h) * h + h) + 2 * h,
    "nog": lambda i, h: 3 * ((i + h) * h + h) + 2 * h,
    "fgr": lambda i, h: 4 * ((i + h) * h + h) + 3 * h + 9 * h * h,
    "gru": lambda i, h: 3 * ((i + h) * h + h),
    "gru_update": lambda i, h: 3 * ((i + h) * h + h),
    "gru_reset_after": lambda i, h: 3 * ((i + h) * h + h) + h,
    "g_lstm": lambda i, h: 2 * (i + h) * h + 4 * h,  # K = 2 groups
    "stacked_lstm": lambda i, h: 4 * ((i + h) * h + h) + 4 * (2 * h * h + h),
    "bidirectional_lstm": lambda i, h: 8 * ((i + h) * h + h),
}


@pytest.mark.parametrize("name", _COUNTS)
def test_counts_of_parameters_are_those_of_the_literature(name: str) -> None:
    count = _COUNTS[name](12, 8)
    module = cellc.compile(cellc.load(name))(12, 8)
    assert sum(p.numel() for p in module.parameters()) == count
    cell = cellc.load(name)
    assert (
        summarise(cell, cellc.schedule(cell)).parameters.evaluate({"I": 12, "H": 8, "K": 2})
        == count
    )


@pytest.mark.parametrize(
    ("name", "twin"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru_reset_after", nn.GRU)]
)
def test_torch_counts_a_second_bias_for_each_gate(name: str, twin: Any) -> None:
    ours = sum(p.numel() for p in cellc.compile(cellc.load(name))(12, 8).parameters())
    theirs = sum(p.numel() for p in twin(12, 8).parameters())
    second = {"rnn": 1, "lstm": 4, "gru_reset_after": 2}[name]
    assert theirs == ours + second * 8
