"""Cells that are other cells when some of their weights are special: identities of the zoo.

Each test takes random parameters of one cell, writes out those that make the other one the same,
and compares the two from random states, in both backends, at O0 and O2, on whole and on ragged
batches. Those of grids, stacks and networks are in the module next to this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc
from tests.running import Result, listed

Array = NDArray[np.float64]
Params = dict[str, Array]

STEPS, BATCH, LENGTHS = 5, 3, np.array([5, 2, 4])
I, H = 3, 4
SIZES: dict[str, Any] = {"input_size": I, "hidden_size": H}
GATES = "fiog"
OPEN = 40.0  # a sigmoid of it is one within 1e-17, and that of -OPEN zero


@dataclass(frozen=True)
class Way:
    """One way to look at an identity: on these random numbers, compiled like this."""

    target: str
    level: str
    ragged: bool
    seed: int

    def random(self, name: str, *shape: int) -> Array:
        """Random numbers that depend on the way, their name and their shape."""
        rng = np.random.default_rng([self.seed, *name.encode(), *shape])
        return np.asarray(rng.standard_normal(shape))

    def sequence(self, size: int = I) -> Array:
        return self.random("x", STEPS, BATCH, size)

    def state(self, count: int = 1, size: int = H) -> tuple[Array, ...]:
        return tuple(self.random(f"state {n}", BATCH, size) for n in range(count))

    def params(self, cell: cellc.Cell | str, **sizes: int) -> Params:
        """Random parameters of a cell, by their names in state_dict."""
        fresh = compiled(cell)(**sizes).params
        return {name: 0.7 * self.random(name, *np.shape(v)) for name, v in fresh.items()}

    def run(
        self,
        cell: cellc.Cell | str,
        params: Params,
        *inputs: Array,
        state: tuple[Array, ...] = (),
        training: bool = False,
        draws: dict[str, Array] | None = None,
        **arguments: Any,
    ) -> Result:
        """Outputs and final states; draws are one array per step for each mask."""
        module = compiled(cell, self.target, self.level)(**arguments)
        given = {"state": state[0] if len(state) == 1 else state} if state else {}
        words: dict[str, Any] = {}
        if self.target == "numpy":
            words |= {"lengths": LENGTHS} if self.ragged else {}
            words |= {"draws": draws} if draws else {}
            words |= {"training": True} if training else {}
            module.params = params
            outputs, ends = module(*inputs, **given, **words)
            return listed(outputs), listed(ends)
        words |= {"draws": {n: self._packed(mask) for n, mask in draws.items()}} if draws else {}
        module = module.double().train(training)
        module.load_state_dict(tensors(params))
        outputs, ends = module(*map(self._packed, inputs), **tensors(given), **words)
        return [_padded(y) for y in listed(outputs)], [_padded(s) for s in listed(ends)]

    def agree(
        self,
        ours: tuple[cellc.Cell | str, Params],
        theirs: tuple[cellc.Cell | str, Params],
        *inputs: Array,
        **words: Any,
    ) -> None:
        """Two cells with their parameters give the same outputs and final states."""
        same(self.run(*ours, *inputs, **words), self.run(*theirs, *inputs, **words))

    def alive(self, y: Array) -> Array:
        """Zero where a sequence has ended."""
        return y * (np.arange(STEPS)[:, None] < LENGTHS)[..., None] if self.ragged else y

    def still(self, *state: Array) -> Result:
        """What a cell gives whose state, the output first, does not move."""
        return [self.alive(np.broadcast_to(state[0], (STEPS, *state[0].shape)))], list(state)

    def _packed(self, x: Array) -> Any:
        if not self.ragged:
            return tensors(x)
        return pack_padded_sequence(tensors(x), tensors(LENGTHS), enforce_sorted=False)


WAYS = (
    Way("numpy", "O2", ragged=True, seed=0),
    Way("numpy", "O0", ragged=False, seed=1),
    Way("torch", "O2", ragged=False, seed=2),
    Way("torch", "O0", ragged=True, seed=3),
)
every_way = pytest.mark.parametrize(
    "way", WAYS, ids=lambda w: f"{w.target}-{w.level}-{'ragged' if w.ragged else 'whole'}"
)


@cache
def _shipped(name: str, target: str, level: str) -> Any:
    return cellc.compile(cellc.load(name), target, level)


def compiled(cell: cellc.Cell | str, target: str = "numpy", level: str = "O2") -> Any:
    """The class of a cell, or of a shipped one by its name."""
    if isinstance(cell, str):
        return _shipped(cell, target, level)
    return cellc.compile(cell, target, level)


def tensors(value: Any) -> Any:
    """Arrays as tensors, in tuples and dictionaries too."""
    if isinstance(value, dict):
        return {name: tensors(v) for name, v in value.items()}
    return tuple(map(tensors, value)) if isinstance(value, tuple) else torch.from_numpy(value)


def _padded(value: Any) -> Array:
    whole = pad_packed_sequence(value)[0] if isinstance(value, PackedSequence) else value
    return np.asarray(whole.detach().numpy())


def close(a: Array, b: Array) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12, equal_nan=False)


def same(a: Result, b: Result) -> None:
    """The same outputs and the same final states."""
    for ours, theirs in zip(a, b, strict=True):
        assert len(ours) == len(theirs)
        for left, right in zip(ours, theirs, strict=True):
            assert left.shape == right.shape
            close(left, right)


def joined(left: Array, right: Array) -> Array:
    """One weight for a concatenation, from one for each part."""
    return np.concatenate([left, right], axis=-1)


# Cells that are the same as soon as they are written.


@pytest.mark.parametrize(
    ("text", "twin"),
    [
        ("cell a from np", "lstm"),
        ("cell a from vanilla_lstm", "peephole_lstm"),
        ("cell a from vanilla_lstm\nf = 1 - i", "cifg"),
        ("cell a from vanilla_lstm\ni = 1 - f", "cifg_forget"),
        ("cell a from vanilla_lstm\ni = 1", "nig"),
        ("cell a from vanilla_lstm\nf = 1", "nfg"),
        ("cell a from vanilla_lstm\no = 1", "nog"),
        ("cell a from vanilla_lstm\ng = b + W·[h, x]", "niaf"),
        ("cell a from vanilla_lstm\nh' = c'*o", "noaf"),
        ("cell a from cifg\nf = sigmoid(W·[h, x] + p*c + b)", "vanilla_lstm"),
        ("cell a from np\nf = f_\nf_ = sigmoid(W_f·[h, x] + b_f)", "lstm"),
        ("cell a from gru\nh' = (1 - z)*h + z*n", "gru_update"),
        ("cell a from gru_update\nz = sigmoid(W·x + U·tanh(h) + b)", "mut3"),
        ("cell a from gru_update\ninput x[H]\nr = sigmoid(x + U·h + b)", "mut2"),
        ("cell a from recurrent_dropout_lstm\nc' = f*c + i*g", "lstm"),
        ("cell a from zoneout_lstm\nc' = m\nh' = k", "lstm"),
        ("cell a from leaky_rnn\nμ' = v", "rnn"),
        ("cell a from irnn", "relu_rnn"),
    ],
)
def test_equations_written_another_way_have_the_key_of_the_cell(text: str, twin: str) -> None:
    assert cellc.parse(text).key() == cellc.load(twin).key()


# Gates held open or shut.


@every_way
@pytest.mark.parametrize(("name", "gate"), [("nig", "i"), ("nfg", "f"), ("nog", "o")])
def test_a_missing_gate_is_one_that_is_held_open(way: Way, name: str, gate: str) -> None:
    params = way.params(name, **SIZES)
    held = {
        f"W_{gate}": np.zeros((H, H + I)),
        f"p_{gate}": np.zeros(H),
        f"b_{gate}": np.full(H, OPEN),
    }
    x, state = way.sequence(), way.state(2)
    ours, theirs = (name, params), ("vanilla_lstm", params | held)
    way.agree(ours, theirs, x, state=state, **SIZES)


@every_way
def test_gru_with_open_reset_and_shut_update_gate_is_rnn(way: Way) -> None:
    rnn = way.params("rnn", **SIZES)
    gru: Params = {f"W_{g}": np.zeros((H, I)) for g in "rz"}
    gru |= {f"U_{g}": np.zeros((H, H)) for g in "rz"}
    gru |= {"b_r": np.full(H, OPEN), "b_z": np.full(H, -OPEN)}
    gru |= {"W_n": rnn["U_h"], "U_n": rnn["W_h"], "b_n": rnn["b_h"]}
    x, state = way.sequence(), way.state()
    way.agree(("gru", gru), ("rnn", rnn), x, state=state, **SIZES)


@every_way
def test_gru_update_is_gru_with_its_gate_turned_round(way: Way) -> None:
    gru = way.params("gru", **SIZES)
    turned = gru | {name: -gru[name] for name in ("W_z", "U_z", "b_z")}
    x, state = way.sequence(), way.state()
    way.agree(("gru", gru), ("gru_update", turned), x, state=state, **SIZES)


@every_way
def test_cifg_forget_is_cifg_with_its_gate_turned_round(way: Way) -> None:
    cifg = way.params("cifg", **SIZES)
    turned = {n: v for n, v in cifg.items() if not n.endswith("_i")}
    turned |= {f"{kind}_f": -cifg[f"{kind}_i"] for kind in "Wpb"}
    x, state = way.sequence(), way.state(2)
    way.agree(("cifg", cifg), ("cifg_forget", turned), x, state=state, **SIZES)


@every_way
def test_gru_whose_recurrent_candidate_is_diagonal_may_reset_after_the_product(way: Way) -> None:
    gru = way.params("gru", **SIZES)
    gru["U_n"] = np.diag(np.diag(gru["U_n"]))
    x, state = way.sequence(), way.state()
    after = gru | {"b_hn": np.zeros(H)}
    way.agree(("gru", gru), ("gru_reset_after", after), x, state=state, **SIZES)


@every_way
def test_mut2_is_gru_update_whose_reset_gate_adds_the_input_as_it_is(way: Way) -> None:
    mut2 = way.params("mut2", hidden_size=H)
    gru = {"W_n": mut2["W_h"], "U_n": mut2["U_h"], "b_n": mut2["b_h"], "W_r": np.eye(H)}
    gru |= {name: mut2[name] for name in ("U_r", "b_r", "W_z", "U_z", "b_z")}
    x, state = way.sequence(H), way.state()
    same(
        way.run("mut2", mut2, x, state=state, hidden_size=H),
        way.run("gru_update", gru, x, state=state, input_size=H, hidden_size=H),
    )


@every_way
def test_mut1_whose_gates_ignore_the_input_is_gru_update_of_the_squashed_input(way: Way) -> None:
    blind = {"W_z": np.zeros((H, H)), "W_r": np.zeros((H, H))}
    mut1 = way.params("mut1", hidden_size=H) | blind
    gru = blind | {name: mut1[name] for name in ("b_z", "U_r", "b_r")}
    gru |= {"U_z": np.zeros((H, H)), "W_n": np.eye(H), "U_n": mut1["U_h"], "b_n": mut1["b_h"]}
    x, state = way.sequence(H), way.state()
    same(
        way.run("mut1", mut1, x, state=state, hidden_size=H),
        way.run("gru_update", gru, np.tanh(x), state=state, input_size=H, hidden_size=H),
    )


@every_way
def test_peephole_lstm_without_peepholes_is_lstm(way: Way) -> None:
    lstm = way.params("lstm", **SIZES)
    shut = {f"p_{g}": np.zeros(H) for g in "ifo"}
    x, state = way.sequence(), way.state(2)
    way.agree(("peephole_lstm", lstm | shut), ("lstm", lstm), x, state=state, **SIZES)


@every_way
def test_full_gate_recurrence_without_its_matrices_is_vanilla(way: Way) -> None:
    vanilla = way.params("vanilla_lstm", **SIZES)
    nine = {f"R_{a}{b}": np.zeros((H, H)) for a in "ifo" for b in "ifo"}
    x, state = way.sequence(), way.state(5)
    outputs, ends = way.run("fgr", vanilla | nine, x, state=state, **SIZES)
    same((outputs, ends[:2]), way.run("vanilla_lstm", vanilla, x, state=state[:2], **SIZES))


@every_way
def test_lstm_1997_blind_to_its_gates_is_an_lstm_without_forget_gate_in_units_of_two(
    way: Way,
) -> None:
    old = way.params("lstm_1997", **SIZES)  # 4σ(a) - 2 is 2tanh(a/2), and 2σ(a) - 1 is tanh(a/2)
    for g in "iog":
        old[f"W_{g}"][:, H + I :] = 0
    new = {f"W_{g}": old[f"W_{g}"][:, : H + I] for g in "io"} | {"W_g": old["W_g"][:, : H + I] / 2}
    new |= {"b_i": old["b_i"], "b_o": old["b_o"], "b_g": old["b_g"] / 2}
    new |= {f"p_{g}": np.zeros(H) for g in "io"}
    x, (h, c, i, o) = way.sequence(), way.state(4)
    outputs, ends = way.run("lstm_1997", old, x, state=(h, c, i, o), **SIZES)
    theirs, (h_end, c_end) = way.run("nfg", new, x, state=(h, c / 2), **SIZES)
    same((outputs, ends[:2]), (theirs, [h_end, 2 * c_end]))


@every_way
def test_linear_input_and_output_are_those_of_small_signals(way: Way) -> None:
    linear = cellc.parse("cell linear_in_and_out from niaf\nh' = o*c'")
    params = {name: 0.3 * v for name, v in way.params(linear, **SIZES).items()}
    small = 1e-8  # tanh(a) is a within a^3
    scale = joined(np.full((H, H), 1 / small), np.ones((H, I)))  # h and c are small, x is not
    tiny = {f"W_{g}": params[f"W_{g}"] * scale for g in "fio"}
    tiny |= {f"p_{g}": params[f"p_{g}"] / small for g in "fio"}
    tiny |= {f"b_{g}": params[f"b_{g}"] for g in "fio"}
    tiny |= {"W_g": params["W_g"] * scale * small, "b_g": params["b_g"] * small}
    x, (h, c) = way.sequence(), way.state(2)
    outputs, ends = way.run("vanilla_lstm", tiny, x, state=(small * h, small * c), **SIZES)
    vanilla = [y / small for y in outputs], [s / small for s in ends]
    same(way.run(linear, params, x, state=(h, c), **SIZES), vanilla)


# Chance and other options.


@every_way
@pytest.mark.parametrize(
    ("name", "p", "parent"),
    [
        ("recurrent_dropout_lstm", {"p": 0.0}, "lstm"),
        ("recurrent_dropout_gru", {"p": 0.0}, "gru"),
        ("zoneout_lstm", {"p_c": 0.0, "p_h": 0.0}, "lstm"),
    ],
)
def test_a_probability_of_zero_gives_the_parent(
    way: Way, name: str, p: dict[str, Any], parent: str
) -> None:
    params = way.params(parent, **SIZES)
    x, state = way.sequence(), way.state(1 if parent == "gru" else 2)
    theirs = way.run(parent, params, x, state=state, **SIZES)
    for training in (False, True):
        same(way.run(name, params, x, state=state, training=training, **SIZES, **p), theirs)


@every_way
@pytest.mark.parametrize("name", ["recurrent_dropout_lstm", "recurrent_dropout_gru"])
def test_dropout_is_over_after_training(way: Way, name: str) -> None:
    parent = name.removeprefix("recurrent_dropout_")
    params = way.params(parent, **SIZES)
    x, state = way.sequence(), way.state(1 if parent == "gru" else 2)
    theirs = way.run(parent, params, x, state=state, **SIZES)
    same(way.run(name, params, x, state=state, p=0.5, **SIZES), theirs)


@every_way
def test_zoneout_after_training_mixes_by_the_probabilities(way: Way) -> None:
    mixed = cellc.parse("""
    cell mixed from lstm with c' as m, h' as k
    c' = 0.3*c + 0.7*m
    h' = 0.1*h + 0.9*k
    """)
    params, x, state = way.params("lstm", **SIZES), way.sequence(), way.state(2)
    ours = way.run("zoneout_lstm", params, x, state=state, p_c=0.3, p_h=0.1, **SIZES)
    same(ours, way.run(mixed, params, x, state=state, **SIZES))


@every_way
@pytest.mark.parametrize("moves", [True, False])
def test_masks_of_zoneout_let_all_units_move_or_none(way: Way, moves: bool) -> None:
    params, x, state = way.params("lstm", **SIZES), way.sequence(), way.state(2)
    masks = {f"mask_{s}": np.full((STEPS, BATCH, H), float(moves)) for s in "ch"}
    words: dict[str, Any] = {"draws": masks, "state": state, "training": True}
    zoned = way.run("zoneout_lstm", params, x, **words, **SIZES)
    same(zoned, way.run("lstm", params, x, state=state, **SIZES) if moves else way.still(*state))


@every_way
def test_leaky_units_that_keep_nothing_are_rnn(way: Way) -> None:
    rnn = way.params("rnn", **SIZES)
    leaky = {"U_v": rnn["U_h"], "W_v": rnn["W_h"], "b_v": rnn["b_h"]}
    x, state = way.sequence(), way.state()
    ours = way.run("leaky_rnn", leaky, x, state=state, alpha=0.0, **SIZES)
    same(ours, way.run("rnn", rnn, x, state=state, **SIZES))
    same(way.run("leaky_rnn", leaky, x, state=state, alpha=1.0, **SIZES), way.still(*state))


@every_way
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_an_echo_state_network_has_leaky_units_and_a_readout(way: Way, alpha: float) -> None:
    esn = way.params("esn", **SIZES, output_size=2)
    leaky = {"U_v": esn["W_in"], "W_v": esn["W_v"], "b_v": esn["b_v"]}
    x, state = way.sequence(), way.state()
    ours = way.run("esn", esn, x, state=state, **SIZES, output_size=2, alpha=alpha)
    (h,), ends = way.run("leaky_rnn", leaky, x, state=state, **SIZES, alpha=1 - alpha)
    same(ours, ([way.alive(h @ esn["V_y"].T + esn["b_y"])], ends))


@every_way
def test_irnn_starts_by_holding_what_is_not_negative_as_long_as_nothing_enters(way: Way) -> None:
    fresh = compiled("irnn")(**SIZES).params
    state = tuple(np.abs(s) for s in way.state())
    same(way.run("irnn", fresh, 0 * way.sequence(), state=state, **SIZES), way.still(*state))
