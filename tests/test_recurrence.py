"""The class of a recurrence against the Jacobian of a step, and the reason that is given."""

from __future__ import annotations

from itertools import product
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

import cellc
from cellc.ir import Loop, parse_cell, verify
from cellc.ops import TABLE
from cellc.passes.schedule import Scheduler
from cellc.resources import shipped_specs
from tests.running import Trial, listed
from tests.strategies import specs

LEVELS = ("O0", "O2")
Array = NDArray[np.float64]

#: Cells without a loop, and those whose loops are not dense.
NO_LOOP = {"conv1d", "dropout", "embedding", "grid_lstm_1d", "highway", "linear"}
SIMPLER = {
    "g_lstm": "block", "ind_rnn": "diagonal", "lstm_transform": "diagonal affine",
    "min_gru": "diagonal affine", "min_lstm": "diagonal affine", "qrnn": "diagonal affine",
    "sru": "diagonal",
}  # fmt: skip
ORDER = ("diagonal affine", "diagonal", "block", "dense")


class OneStep:
    """A cell with random parameters and inputs of one step, as a function of its states."""

    def __init__(self, cell: cellc.Cell, seed: int) -> None:
        self.cell = cell
        self.trial = next(
            trial for trial in (Trial(cell, 1000 * seed + n, ragged=False) for n in range(1000))
            if self._roomy(trial)
        )  # fmt: skip
        trial = self.trial
        trial.batch, trial.steps = 1, dict.fromkeys(trial.steps, 1)
        trial.inputs = [trial._random(name) for name in cell.inputs]
        trial.draws = {name: trial._uniform(name) for name in cell.leaves("draw")}
        self.module = trial.module("O0")
        self.shapes = [trial._shape(name) for name in cell.states]
        self.rng = np.random.default_rng(seed)
        self.others = [self._drawn(shape) for shape in self.shapes]

    def _drawn(self, shape: list[int]) -> torch.Tensor:
        return torch.from_numpy(2 * self.rng.standard_normal(shape))

    def _roomy(self, trial: Trial) -> bool:
        """Whether the units of every state are several, but few."""
        sizes = [np.prod(trial._shape(name)[1:], dtype=int) for name in self.cell.states]
        short = all(dim.evaluate(trial._dims) > 1 for name in self.cell.states
                    for dim in self.cell.nodes[name].type.shape)  # fmt: skip
        grouped = all(dim.evaluate(trial._dims) > 1 for param in self.cell.params
                      for dim in self.cell.nodes[param].type.shape)  # fmt: skip
        return short and grouped and all(size < 13 for size in sizes)

    def jacobian(self, carries: tuple[str, ...]) -> Array:
        """∂(next)/∂(state) of the states of one loop, drawn anew; other states stay."""
        places = [self.cell.states.index(name) for name in carries]
        given = tuple(self._drawn(self.shapes[place]) for place in places)

        def run(*some: torch.Tensor) -> tuple[torch.Tensor, ...]:
            self.trial.state = list(self.others)
            for place, value in zip(places, some, strict=True):
                self.trial.state[place] = value
            ends = listed(self._call()[1])
            return tuple(ends[place] for place in places)

        rows = torch.autograd.functional.jacobian(run, given)  # type: ignore[no-untyped-call]
        blocks = [
            [part.reshape(own.numel(), -1).numpy() for part in row]
            for row, own in zip(rows, given, strict=True)
        ]
        return np.block(blocks)

    def _call(self) -> Any:
        trial = self.trial
        words: dict[str, Any] = dict(trial._steps_given())
        if trial.draws:
            words["draws"] = {n: torch.from_numpy(v) for n, v in trial._drawn()}
        inputs = [torch.from_numpy(x) for x in trial.inputs]
        state = trial.state[0] if len(trial.state) == 1 else tuple(trial.state)
        return self.module(*inputs, state=state, **words)


def units(step: OneStep, carries: tuple[str, ...]) -> list[tuple[int, ...]]:
    """The place of every number of the states within its own state."""
    shapes = [step.shapes[step.cell.states.index(name)][1:] for name in carries]
    return [index for shape in shapes for index in product(*map(range, shape))]


def is_diagonal(step: OneStep, carries: tuple[str, ...], jacobian: Array) -> bool:
    places = units(step, carries)
    apart = np.array([[a != b for b in places] for a in places])
    return not jacobian[apart].any()


def groups(jacobian: Array) -> int:
    """How many groups of numbers have nothing to do with each other."""
    joined = nx.from_numpy_array((jacobian != 0) | (jacobian.T != 0))
    return int(nx.number_connected_components(joined))


def simplest(step: OneStep, carries: tuple[str, ...]) -> set[str]:
    """The classes that the Jacobian at a few states permits."""
    found = [step.jacobian(carries) for _ in range(8)]
    permitted = {"dense"}
    together = np.sum([np.abs(jacobian) for jacobian in found], axis=0)
    if groups(together) > 1:
        permitted.add("block")
    if is_diagonal(step, carries, together):
        permitted.add("diagonal")
        permitted.add("block")
        if all(np.allclose(found[0], other, atol=1e-12) for other in found[1:]):
            permitted.add("diagonal affine")
    return permitted


def loops(cell: cellc.Cell, level: str) -> dict[tuple[str, ...], Loop]:
    return {loop.carries: loop for loop in cellc.schedule(cell, level).loops}


def assert_sound(cell: cellc.Cell, seed: int) -> None:
    step = None
    for level in LEVELS:
        for carries, loop in loops(cell, level).items():
            if loop.recurrence != "dense":
                step = step or OneStep(cell, seed)
                assert loop.recurrence in simplest(step, carries), (level, loop.reason)


@pytest.mark.parametrize("name", tuple(shipped_specs()))
def test_every_shipped_cell_has_its_class_and_no_simpler_one_holds(name: str) -> None:
    cell = cellc.load(name)
    at_once, optimised = (loops(cell, level) for level in LEVELS)
    assert at_once.keys() == optimised.keys()
    assert not (name in NO_LOOP and at_once)
    assert name in NO_LOOP or at_once
    wanted = SIMPLER.get(name, "dense")
    step = OneStep(cell, 1)
    for carries, loop in at_once.items():
        assert loop.recurrence == optimised[carries].recurrence == wanted
        permitted = simplest(step, carries)
        assert min(permitted, key=ORDER.index) == wanted
        assert loop.reason
        assert optimised[carries].reason


HEAD = "cell one\ninput x[H]\nstate h[H], c[H]\nparam p[H], q[H] shared\n"
UNIT = "cell one\ninput x[N]\ndim N blocks\ndim S block_size\nstate c[N, S], k[N, S]\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (HEAD + "h' = p*h + c\nc' = q*h + x", "diagonal affine"),
        (HEAD + "h' = p*h*c\nc' = q*h + x*c", "diagonal"),
        (HEAD + "h' = p*h/c\nc' = q*h + x*c", "diagonal"),
        (HEAD + "h' = c/p\nc' = q*h/x", "diagonal affine"),
        (HEAD + "h' = where(c > 0, p*h, x)\nc' = q*h", "diagonal"),
        (HEAD + "h' = where(x > 0, h, c)\nc' = q*h + 0*p", "diagonal affine"),
        (HEAD + "a, b = split(tanh([h, c]))\nh' = p*a + b\nc' = q*b + x*a", "diagonal"),
        (HEAD + "a, b = split([p*h, c])\nh' = a + b\nc' = q*b + x*a", "diagonal affine"),
        (HEAD + "a, b = split([h, c])\nh' = p + sum([a, b])\nc' = p*q*b + x*a", "dense"),
        (HEAD + "h' = p*reverse(x)*h + c\nc' = q*c + h", "diagonal affine"),
        (HEAD + "h' = p*h*0.5 + softmax(c)\nc' = q*c + h + x", "dense"),
        (HEAD + "h' = p*h*0.5 + c\nc' = q*c*sum(h) + h + x", "dense"),
        (HEAD + "h' = clip(p*h, -q, q) + c\nc' = h + x", "diagonal"),
        (HEAD + "h' = lerp(h, c, p)\nc' = lerp(c, h, x) + q", "diagonal affine"),
        (HEAD + "h' = lerp(h, p, c)\nc' = lerp(c, h, x) + q", "diagonal"),
        (UNIT + "c' = c*sum(k) + k\nk' = 0.5*c + x", "block"),
        (UNIT + "c' = c + softmax(k)\nk' = 0.5*c + x", "block"),
        (UNIT + "c' = tanh(c + k)\nk' = 0.5*c + x", "diagonal"),
        (UNIT + "c' = c*sum(sum(k)) + k\nk' = 0.5*c + x", "dense"),
        (UNIT.replace(", k[N, S]", ", k[N]") + "c' = c*k\nk' = mean(c) + x", "block"),
        (UNIT.replace(", k[N, S]", ", k[S]") + "c' = c*k + x\nk' = k*sum(sum(c))", "dense"),
        ("cell one\ninput x[I]\nstate S[H, I]\nk[H] = tanh(W·x + b)\n"
         "S' = 0.95*S + outer(k, x)", "diagonal affine"),
        ("cell one\ninput x[I]\nstate S[H, I]\nk[H] = tanh(W·x + b)\n"
         "S' = S + outer(k - S·x, x)", "block"),
        ("cell one\ninput x[H]\nstate S[H, H]\nS' = S + outer(S·x, S·x)", "dense"),
        ("cell one\ninput x[H]\nstate h[H]\nS = outer(h, x)\nh' = S·x", "diagonal affine"),
        ("cell one\ninput x[H]\nstate h[H]\nS = outer(x, h)\nh' = S·x", "dense"),
        ("cell one\ninput x[H]\nstate h[2*H]\na, b = split(h)\nh' = [b, a + x]", "dense"),
        ("cell one\ninput x[H]\nstate h[2*H]\na, b = split(h)\nh' = [tanh(a), b + x]",
         "diagonal"),
        ("cell one\ninput x[H]\nstate h[2*H]\na, b = split(h)\nh' = [a + b, b + x]",
         "dense"),
        ("cell one\ninput x[H]\nstate h[H], s[2*H]\na, b = split(s)\nh' = a + x\n"
         "s' = [h, b]", "dense"),
    ],
)  # fmt: skip
def test_states_are_followed_through_joins_parts_and_products(text: str, wanted: str) -> None:
    name = "S" if "state S" in text else "c" if "state c" in text else "h"
    cell = cellc.parse(f"{text}\noutput {name}'\n")
    for level in LEVELS:
        for loop in loops(cell, level).values():
            assert loop.recurrence == wanted, (level, loop.reason)
    assert_sound(cell, 3)


STACKED = """cell stacked
dim H hidden_size
%x = input() : [H] over {batch, time}
%h = state() : [H] over {batch, time}
%c = state() : [H] over {batch, time}
%1 = stack(%h, %c) {dim=(2)} : [2, H] over {batch, time}
%2 = WHAT(%1) : [2, H] over {batch, time}
%3 = at(%2) {index=0} : [H] over {batch, time}
%4 = at(%2) {index=1} : [H] over {batch, time}
%h' = add(%3, %4) : [H] over {batch, time}
%5 = concat(%h', %x, %4) : [3*H] over {batch, time}
%6 = slice(%5) {start=(H), stop=(3*H)} : [2*H] over {batch, time}
%7 = slice(%5) {start=(0), stop=(2*H)} : [2*H] over {batch, time}
%8 = multiply(%6, %7) : [2*H] over {batch, time}
%9 = slice(%8) {start=(START), stop=(STOP)} : [H] over {batch, time}
%c' = add(%9, %4) : [H] over {batch, time}
next %h = %h'
next %c = %c'
output %h = %h'
"""


@pytest.mark.parametrize(
    ("op", "part", "wanted"),
    [
        ("negate", ("0", "H"), "diagonal affine"),
        ("negate", ("H", "2*H"), "diagonal affine"),
        ("tanh", ("0", "H"), "diagonal"),
        ("negate", ("1", "H + 1"), "dense"),
        ("softmax", ("0", "H"), "dense"),
    ],
)
def test_states_that_are_stacked_and_taken_apart(
    op: str, part: tuple[str, str], wanted: str
) -> None:
    text = STACKED.replace("WHAT", op).replace("START", part[0]).replace("STOP", part[1])
    cell = parse_cell(text, TABLE)
    verify(cell)
    (loop,) = Scheduler().run(cell).loops
    assert loop.recurrence == wanted
    assert_sound(cell, 9)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(specs())
def test_no_class_of_a_random_cell_is_simpler_than_its_jacobian(text: str) -> None:
    assert_sound(cellc.parse(text), 7)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rnn", "h' depends on h through the product W_h·h (rnn.cell:9)"),
        ("lstm", "h' depends on h through the product [W_f, W_i, W_o, W_g]·h (lstm.cell:9-12)"),
        ("g_lstm", "h' depends on h through the block-diagonal weights U_f, U_i, U_o and U_g "
                   "with K blocks (g_lstm.cell:9-12)"),
        ("ind_rnn", "h' = relu(u_h*h + (W_h·x + b_h)) is not linear in h (ind_rnn.cell:10)"),
        ("sru", "f = sigmoid(…) is not linear in c (sru.cell:13)"),
        ("min_gru", "h' = a*h + b, where a and b are known before the loop"),
    ],
)  # fmt: skip
def test_the_reason_names_the_value_and_its_line(name: str, reason: str) -> None:
    (loop,) = cellc.schedule(cellc.load(name)).loops
    assert loop.reason == reason


def test_a_reduction_and_two_states_are_named() -> None:
    cell = cellc.parse(HEAD + "h' = p*h + softmax(c)\nc' = q*c + h + x\noutput h'\n")
    (loop,) = cellc.schedule(cell, "O0").loops
    assert loop.reason == "h' depends on c through softmax(c), which runs over all units (text:5)"
    cell = cellc.parse(HEAD + "h' = p*h + c\nc' = q*c + h + x\noutput h'\n")
    (loop,) = cellc.schedule(cell, "O0").loops
    assert loop.reason == "h' and c' are sums of h and c times what is known before the loop"
