"""Stacks, grids, networks and structured weights that are plain cells for special weights.

In the manner of the module of the cells: parameters are copied by name, so that a test says where
each comes from. At the end, the counts of parameters that the literature gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

import cellc
from cellc.views.summary import summarise
from tests.running import Result
from tests.test_identities import (
    BATCH,
    GATES,
    LENGTHS,
    OPEN,
    SIZES,
    STEPS,
    Array,
    H,
    I,
    Params,
    Way,
    close,
    every_way,
    joined,
    same,
)

_UP = "axis depth[L] = 3; input x[I]; state y[H] along depth = x; y' = h'; output last(y')"
_GRID = "axis depth[L] = 3; input x[I]; state h1[H], m1[H]; state h2[H] along depth = x"
_UPDATE = "h1', m1' = lstm_transform([h1, h2], m1); h2' = h1'; output last(h2')"
_DREAM = "state y[I] = x; state h[H], c[H]; h', c' = lstm(y, h, c); y' = W·h' + b; output y'"

_ALIKE = [
    ("cell a; input x[I]; y = lstm(x); output y", "lstm"),
    ("network a; input x[I]; output x -> lstm", "lstm"),
    ("cell a; input x[I]; state h[H], c[H]; h', c' = lstm_transform([h, x], c); output h'", "lstm"),
    (f"cell a from lstm with x as y; {_UP}", "output x -> stack(lstm, layers = 3)"),
    (f"cell a from gru with x as y; {_UP}", "output x -> stack(gru, layers = 3)"),
    (f"cell a; {_GRID}; {_UPDATE}", "output x -> stack(lstm, layers = 3)"),
    (f"cell a from rnn with x as y; {_UP.replace('3', '2')}", "deep_rnn"),
    ("cell a; input x[I]; u = lstm(x); v = reverse(lstm(reverse(x))); output [u, v]",
     "bidirectional_lstm"),
    ("network a; input x[I]; output x -> bidirectional(gru) -> bidirectional(gru)",
     "output x -> stack(bidirectional(gru), layers = 2)"),
    ("network a; input x[I]; y = x -> rnn(H = I); output y + x", "output x -> residual(rnn(I))"),
    ("cell a from rnn; dim K classes; y[K] = W·h' + b; output softmax(y)", "rnn_output"),
    ("cell a from lstm; dim K classes; y[K] = W·h' + b; output y", "many_to_many"),
    ("cell a from lstm; dim K classes; y[K] = W·last(h') + b; output y", "many_to_one"),
    (f"cell a; input x[I] per sequence; {_DREAM}", "one_to_many"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "twin"), _ALIKE)
def test_networks_written_another_way_have_the_same_key(text: str, twin: str) -> None:
    lines = f"network b; input x[I]; {twin}" if "->" in twin else f"cell b from {twin}"
    ours, theirs = (cellc.parse(t.replace("; ", "\n")) for t in (text, lines))
    assert ours.key() == theirs.key()


def test_one_layer_of_a_recurrent_highway_is_a_gru_without_reset_gate() -> None:
    gru = cellc.parse("cell a from gru_update\nn = tanh(W·x + U·h + b)")
    assert cellc.load("recurrent_highway", L=1).key() == gru.key()


def test_a_tied_and_an_untied_grid_are_different_cells() -> None:
    assert cellc.load("grid_lstm_2d").key() != cellc.load("grid_lstm_2d_tied").key()


# Structured weights.


def one_matrix(blocks: Array) -> Array:
    """[K, m, n] as the block-diagonal [K*m, K*n]."""
    places = [np.diag(place) for place in np.eye(len(blocks))]
    return np.asarray(sum(np.kron(p, block) for p, block in zip(places, blocks, strict=True)))


@every_way
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_g_lstm_is_lstm_with_block_diagonal_matrices(way: Way, groups: int) -> None:
    sizes: dict[str, Any] = {"input_size": 4, "hidden_size": 8}
    params = way.params("g_lstm", **sizes, groups=groups)
    dense = {f"b_{g}": params[f"b_{g}"] for g in GATES}
    for g in GATES:
        dense[f"W_{g}"] = joined(one_matrix(params[f"U_{g}"]), one_matrix(params[f"W_{g}"]))
    x, state = way.sequence(4), way.state(2, 8)
    ours = way.run("g_lstm", params, x, state=state, **sizes, groups=groups)
    same(ours, way.run("lstm", dense, x, state=state, **sizes))


@every_way
def test_f_lstm_of_full_rank_is_lstm(way: Way) -> None:
    lstm = way.params("lstm", **SIZES)
    basis = np.linalg.qr(way.random("basis", H + I, H + I))[0]  # its inverse is its transpose
    factored = {f"W_{g}": lstm[f"W_{g}"] @ basis.T for g in GATES} | {"P_v": basis}
    factored |= {f"b_{g}": lstm[f"b_{g}"] for g in GATES}
    x, state = way.sequence(), way.state(2)
    ours = way.run("f_lstm", factored, x, state=state, **SIZES, rank=H + I)
    same(ours, way.run("lstm", lstm, x, state=state, **SIZES))


@every_way
@pytest.mark.parametrize("cells", [1, 2])
def test_memory_block_is_lstm_with_gate_rows_repeated_in_each_block(way: Way, cells: int) -> None:
    blocks, units = 3, 3 * cells
    sizes: dict[str, Any] = {"input_size": I, "blocks": blocks, "block_size": cells}
    params = way.params("memory_block", **sizes)
    lstm: Params = {}
    for g in GATES:
        times = 1 if g == "g" else cells
        rows = [params[f"{w}_{g}"].reshape(units // times, -1) for w in "UWb"]
        recurrent, forward, bias = (np.repeat(r, times, axis=0) for r in rows)
        lstm |= {f"W_{g}": joined(recurrent, forward), f"b_{g}": bias[:, 0]}
    x, state = way.sequence(), way.state(2, units)
    shaped = tuple(s.reshape(BATCH, blocks, cells) for s in state)
    (y,), ends = way.run("memory_block", params, x, state=shaped, **sizes)
    flat = [y.reshape(STEPS, BATCH, units)], [e.reshape(BATCH, units) for e in ends]
    same(flat, way.run("lstm", lstm, x, state=state, input_size=I, hidden_size=units))


# Depth is time, turned by a right angle.


def along_time(way: Way, cell: str, params: Params, *entry: Array, steps: int) -> Array:
    """What a cell makes of the state that enters at each step of x, in steps without input."""
    state = tuple(s.reshape(-1, H) for s in entry)
    nothing = np.zeros((steps, len(state[0]), 1))
    turned = replace(way, ragged=False)
    (y,), _ = turned.run(cell, params, nothing, state=state, input_size=1, hidden_size=H)
    return way.alive(y[-1].reshape(STEPS, BATCH, H))


@every_way
@pytest.mark.parametrize("depth", [1, 3])
def test_grid_lstm_1d_over_depth_is_lstm_over_time_without_input(way: Way, depth: int) -> None:
    tied = cellc.parse(f"cell tied from grid_lstm_1d\naxis depth[L] = {depth} tied")
    params = way.params(tied, **SIZES)  # h_W_f and so on
    lstm = {f"W_{g}": joined(params[f"h_W_{g}"], np.zeros((H, 1))) for g in GATES}
    lstm |= {f"b_{g}": params[f"h_b_{g}"] for g in GATES}
    x = way.sequence()
    entry = (x @ params["P_h"].T, x @ params["P_m"].T)
    expected: Result = [along_time(way, "lstm", lstm, *entry, steps=depth)], []
    same(way.run(tied, params, x, **SIZES), expected)
    copied = {"P_h": params["P_h"], "P_m": params["P_m"]}
    for n in range(1, depth + 1):
        copied |= {f"h_{n}_{w}_{g}": params[f"h_{w}_{g}"] for w in "Wb" for g in GATES}
    same(way.run(cellc.load("grid_lstm_1d", L=depth), copied, x, **SIZES), expected)


@every_way
@pytest.mark.parametrize("depth", [1, 3])
def test_highway_with_tied_weights_is_a_gru_with_r_1_and_zero_input(way: Way, depth: int) -> None:
    gru = way.params("gru", input_size=1, hidden_size=H) | {"b_r": np.full(H, OPEN)}
    gru["U_r"] = np.zeros((H, H))
    own = ("U_z", "b_z", "U_n", "b_n")
    params = {f"{name}_{n}": gru[name] for name in own for n in range(1, depth + 1)}
    x = way.sequence(H)
    y = along_time(way, "gru", gru, x, steps=depth)
    same(way.run(cellc.load("highway", L=depth), params, x, hidden_size=H), ([y], []))


# Stacks.


@every_way
def test_a_stack_is_one_layer_after_the_other(way: Way) -> None:
    params = way.params("stacked_lstm", **SIZES)
    lower, upper = (
        {f"{w}_{g}": params[f"lstm_{n}_{w}_{g}"] for w in "Wb" for g in GATES} for n in (1, 2)
    )
    x, state = way.sequence(), way.state(4)
    (h,), ends = way.run("lstm", lower, x, state=state[:2], **SIZES)
    y, more = way.run("lstm", upper, h, state=state[2:], input_size=H, hidden_size=H)
    same(way.run("stacked_lstm", params, x, state=state, **SIZES), (y, ends + more))
    undropped = way.run("stacked_lstm", params, x, state=state, training=True, **SIZES, p=0.0)
    same(undropped, (y, ends + more))


def unfed(n: int, weight: Array, name: str, layers: int) -> Params:
    """Layer n of a gated feedback network that sees its own past alone, through a gate of 1/2."""
    past = np.zeros((H, layers, H))
    past[:, n - 1] = 2 * weight
    gate = {f"W_k_{n}": np.zeros((layers, I if n == 1 else H))}
    return gate | {f"U_k_{n}": np.zeros((layers, layers, H)), f"U_{name}_{n}": past}


@every_way
@pytest.mark.parametrize("layers", [1, 3])
def test_gated_feedback_rnn_without_feedback_is_a_stack(way: Way, layers: int) -> None:
    stack = cellc.load("deep_rnn", L=layers)
    params = way.params(stack, **SIZES)
    fed: Params = {}
    for n in range(1, layers + 1):
        fed |= unfed(n, params[f"rnn_{n}_W_h"], "h", layers)
        fed |= {f"W_h_{n}": params[f"rnn_{n}_U_h"], f"b_h_{n}": params[f"rnn_{n}_b_h"]}
    gated = cellc.load("gated_feedback_rnn", L=layers)
    way.agree((gated, fed), (stack, params), way.sequence(), state=way.state(layers), **SIZES)


@every_way
def test_gated_feedback_lstm_without_feedback_is_a_stack(way: Way) -> None:
    params = way.params("stacked_lstm", **SIZES)
    fed: Params = {}
    for n in (1, 2):
        own = {name: params[f"lstm_{n}_{name}"] for name in way.params("lstm", **SIZES)}
        fed |= {f"{name}_{n}": v for name, v in own.items()}
        fed |= unfed(n, own["W_g"][:, :H], "g", 2) | {f"W_g_{n}": own["W_g"][:, H:]}
    ours, theirs = ("gated_feedback_lstm", fed), ("stacked_lstm", params)
    way.agree(ours, theirs, way.sequence(), state=way.state(4), **SIZES)


@every_way
def test_gated_feedback_gru_without_feedback_is_a_stack_of_reset_after(way: Way) -> None:
    stack = cellc.parse("network s\ninput x[I]\noutput x -> stack(gru_reset_after, layers = 2)")
    params = way.params(stack, **SIZES)
    fed: Params = {}
    for n in (1, 2):
        params[f"gru_reset_after_{n}_b_hn"] = np.zeros(H)
        own = {name: params[f"gru_reset_after_{n}_{name}"] for name in way.params("gru", **SIZES)}
        fed |= {f"{name}_{n}": v for name, v in own.items()} | unfed(n, own["U_n"], "n", 2)
    ours, theirs = ("gated_feedback_gru", fed), (stack, params)
    way.agree(ours, theirs, way.sequence(), state=way.state(2), **SIZES)


# Grids.


@every_way
def test_a_grid_whose_depth_hands_on_the_new_output_is_a_stack(way: Way) -> None:
    grid = cellc.parse("cell grid from grid_lstm_2d_relu_depth\nh2' = V·[h1', h2] + b")
    params = way.params(grid, **SIZES)
    stack: Params = {}
    for n in (1, 2):
        params |= {f"V_h2_{n}": joined(np.eye(H), np.zeros((H, H))), f"b_h2_{n}": np.zeros(H)}
        stack |= {f"lstm_{n}_{w}_{g}": params[f"h1_{n}_{w}_{g}"] for w in "Wb" for g in GATES}
    x, state = way.sequence(), way.state(4)
    given = x @ params["P_h2"].T
    theirs = way.run("stacked_lstm", stack, given, state=state, input_size=H, hidden_size=H)
    same(way.run(grid, params, x, state=state, **SIZES), theirs)


@every_way
def test_a_tied_grid_is_a_grid_with_equal_weights(way: Way) -> None:
    tied = way.params("grid_lstm_2d_tied", **SIZES)
    params = {"P_h2": tied["P_h2"], "P_m2": tied["P_m2"]}
    for n in (1, 2):
        for d in ("h1", "h2"):
            params |= {f"{d}_{n}_{w}_{g}": tied[f"T_{n}_{w}_{g}"] for w in "Wb" for g in GATES}
    ours, theirs = ("grid_lstm_2d_tied", tied), ("grid_lstm_2d", params)
    way.agree(ours, theirs, way.sequence(), state=way.state(4), **SIZES)


@every_way
def test_priority_makes_no_difference_where_time_does_not_look_at_depth(way: Way) -> None:
    params = way.params("grid_lstm_2d", **SIZES)
    for n in (1, 2):
        for g in GATES:
            params[f"h1_{n}_W_{g}"][:, H:] = 0
    ours, theirs = ("grid_lstm_2d_priority", params), ("grid_lstm_2d", params)
    way.agree(ours, theirs, way.sequence(), state=way.state(4), **SIZES)


@every_way
def test_a_grid_of_one_row_is_a_grid_without_rows(way: Way) -> None:
    rows = cellc.load("grid_lstm_3d", R=1)
    params = way.params(rows, **SIZES)
    plane = {"P_h2": params["P_h3"], "P_m2": params["P_m3"]}
    for n in (1, 2):
        for ours, theirs in (("h1", "h1"), ("h3", "h2")):
            plane |= {f"{theirs}_{n}_b_{g}": params[f"{ours}_{n}_b_{g}"] for g in GATES}
            for g in GATES:  # [h1, h2, h3], where h2 enters the only row with zero
                h1, _, h3 = np.split(params[f"{ours}_{n}_W_{g}"], 3, axis=1)
                plane[f"{theirs}_{n}_W_{g}"] = joined(h1, h3)
    x, state = way.sequence(), way.state(4)
    (y,), ends = way.run(rows, params, x[:, :, None], state=state, **SIZES)
    same(([y[:, :, 0]], ends), way.run("grid_lstm_2d", plane, x, state=state, **SIZES))


# Both directions.


def turned_round(way: Way, x: Array) -> Array:
    """Each sequence backwards, over its own length."""
    turned = np.zeros_like(x)
    for b, end in enumerate(LENGTHS if way.ragged else [STEPS] * BATCH):
        turned[:end, b] = x[:end, b][::-1]
    return turned


@every_way
def test_a_palindrome_sounds_the_same_in_both_directions(way: Way) -> None:
    params = way.params("bidirectional_rnn", **SIZES)
    params |= {f"rnn_backward_{w}_h": params[f"rnn_forward_{w}_h"] for w in "UWb"}
    x = way.sequence()
    palindrome = x + turned_round(way, x)
    (y,), (left, right) = way.run("bidirectional_rnn", params, palindrome, **SIZES)
    close(y[..., :H], turned_round(way, y[..., H:]))
    close(left, right)


# The time gate and normalisation.


@every_way
@pytest.mark.parametrize(("openness", "time"), [(1, 0.5), (0, 5.0)])
def test_phased_lstm_with_an_open_gate_is_peephole_lstm_and_with_a_shut_one_stands(
    way: Way, openness: int, time: float
) -> None:
    peephole = way.params("peephole_lstm", **SIZES)
    gate = {"tau": np.full(H, 10.0), "s": np.zeros(H), "r": np.full(H, 0.1)}
    stamps = np.full((STEPS, BATCH), time)  # φ = 0.05 is the peak of an open share of 0.1
    x, state = way.sequence(), way.state(2)
    ours = way.run("phased_lstm", peephole | gate, x, stamps, state=state, **SIZES)
    theirs = way.run("peephole_lstm", peephole, x, state=state, **SIZES)
    same(ours, theirs if openness else way.still(*state))


@every_way
def test_normalisation_takes_away_what_all_units_share(way: Way) -> None:
    x, state = way.sequence(), way.state(2)
    own, joint = (way.params(n, **SIZES) for n in ("layernorm_lstm", "layernorm_lstm_ba"))
    shifted = own | {f"b_{g}": own[f"b_{g}"] + n for n, g in enumerate(GATES)}
    name = "layernorm_lstm"
    way.agree((name, own), (name, shifted), x, state=state, **SIZES)
    shared = joint | {"U_z": joint["U_z"] + way.random("row", H), "W_z": joint["W_z"] + 1}
    name = "layernorm_lstm_ba"
    way.agree((name, joint), (name, shared), x, state=state, **SIZES)


@every_way
def test_both_normalised_lstms_are_alike_where_nothing_is_gained(way: Way) -> None:
    own = way.params("layernorm_lstm", **SIZES) | {f"gamma_{g}": np.zeros(H) for g in GATES}
    joint = way.params("layernorm_lstm_ba", **SIZES)
    joint |= {name: np.zeros(4 * H) for name in ("gamma_h", "gamma_x")}
    joint |= {name: own[name] for name in ("gamma_c", "beta_c")}
    joint["b_z"] = np.concatenate([own[f"beta_{g}"] for g in GATES])
    ours, theirs = ("layernorm_lstm", own), ("layernorm_lstm_ba", joint)
    way.agree(ours, theirs, way.sequence(), state=way.state(2), **SIZES)


# Counts of parameters.

_COUNTS: dict[str, Callable[..., int]] = {
    "rnn": lambda I, H, **_: (I + H) * H + H,
    "esn": lambda H, K, **_: (H + 1) * K,  # the readout alone trains
    "lstm": lambda I, H, **_: 4 * ((I + H) * H + H),
    "lstm_1997": lambda I, H, **_: 3 * ((I + 3 * H) * H + H),
    "memory_block": lambda I, N, S, **_: (N * S + 3 * N) * (I + N * S + 1),
    "peephole_lstm": lambda I, H, **_: 4 * ((I + H) * H + H) + 3 * H,
    "cifg": lambda I, H, **_: 3 * ((I + H) * H + H) + 2 * H,
    "nog": lambda I, H, **_: 3 * ((I + H) * H + H) + 2 * H,
    "fgr": lambda I, H, **_: 4 * ((I + H) * H + H) + 3 * H + 9 * H * H,
    "gru": lambda I, H, **_: 3 * ((I + H) * H + H),
    "gru_reset_after": lambda I, H, **_: 3 * ((I + H) * H + H) + H,
    "g_lstm": lambda I, H, K, **_: 4 * ((I + H) * H // K + H),
    "f_lstm": lambda I, H, R, **_: (I + H) * R + 4 * (R * H + H),
    "highway": lambda H, **_: 2 * 2 * (H * H + H),
    "recurrent_highway": lambda I, H, **_: 2 * I * H + 2 * 2 * (H * H + H),
    "grid_lstm_1d": lambda I, H, **_: 2 * I * H + 2 * 4 * (H * H + H),
    "grid_lstm_2d": lambda I, H, **_: 2 * I * H + 2 * 2 * 4 * (2 * H * H + H),
    "stacked_lstm": lambda I, H, **_: 4 * ((I + H) * H + H) + 4 * (2 * H * H + H),
    "bidirectional_lstm": lambda I, H, **_: 2 * 4 * ((I + H) * H + H),
}


@pytest.mark.parametrize("name", _COUNTS)
def test_counts_of_parameters_are_those_of_the_literature(name: str) -> None:
    cell = cellc.load(name)
    formula = summarise(cell, cellc.schedule(cell)).parameters
    compiled = cellc.compile(cell)
    for sizes in ({"I": 12, "H": 8, "K": 2, "N": 3, "S": 2, "R": 5},
                  {"I": 8, "H": 20, "K": 4, "N": 5, "S": 3, "R": 2}):  # fmt: skip
        count = _COUNTS[name](**sizes)
        free = {a.name: sizes[dim] for dim, a in cell.dims.items() if not a.fixed}
        assert formula.evaluate(sizes) == count
        assert sum(p.numel() for p in compiled(**free).parameters()) == count


@pytest.mark.parametrize(
    ("name", "theirs", "gates", "second"),
    [("rnn", nn.RNN, 1, 1), ("lstm", nn.LSTM, 4, 4), ("gru_reset_after", nn.GRU, 3, 2)],
)
def test_torch_counts_a_second_bias_for_each_gate(
    name: str, theirs: Any, gates: int, second: int
) -> None:
    I, H = 12, 8
    count = gates * ((I + H) * H + 2 * H)
    assert sum(p.numel() for p in theirs(I, H).parameters()) == count
    ours = cellc.compile(cellc.load(name))(I, H)
    assert sum(p.numel() for p in ours.parameters()) == count - second * H
