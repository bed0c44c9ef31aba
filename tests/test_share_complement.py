"""Complementary gates: one product, one sigmoid, one blend, and where that stops."""

from __future__ import annotations

import re
from math import exp

import numpy as np
import pytest

import cellc
from cellc.ir import Cell, verify
from cellc.passes.algebra import Algebra
from cellc.passes.cse import Cse
from cellc.passes.pipelines import optimise
from cellc.passes.share_complement import MIRRORED, MOVED, WRITTEN, ShareComplement
from cellc.passes.signs import opposites, signed_numbers
from tests.running import Trial, difference

F = "f = sigmoid(V·h + b)\n"
MIRROR = "i = sigmoid(-(V·h) - b)\n"


def _parse(body: str) -> Cell:
    shared = [f"param {n} shared\n" for n in ("V", "b[H]") if re.search(rf"\b{n[0]}\b", body)]
    head = f"cell small\ninput x[I]\nstate h[H]\n{''.join(shared)}"
    return cellc.parse(f"{head}{body} + 0*sum(x)\noutput h'\n")


def _count(cell: Cell, op: str) -> int:
    return sum(node.op.name == op for node in cell.nodes.values())


#: Equations, the blends found, and how many sigmoids, products and lerps are left.
SHARED = [
    (F + "i = 1 - f\nh' = f*h + i*tanh(h)", [WRITTEN], (1, 1, 1)),
    (F + "i = 1 - f\nc = f*h + i*tanh(h)\nh' = f*sin(c) + cos(c)*i", [WRITTEN] * 2, (1, 1, 2)),
    (F + "h' = f*h - (f - 1)*tanh(h)", [WRITTEN], (1, 1, 1)),
    (F + "h' = sin(h) + f*h + 0.1*h*(1 - f)*tanh(h)", [WRITTEN], (1, 1, 1)),
    (F + "h' = h*(-f) + tanh(h) - (1 - f)*sin(h)", [], (1, 1, 0)),
    (F + MIRROR + "h' = f*h + i*tanh(h)", [MIRRORED], (1, 1, 1)),
    (F + MIRROR + "c = i*sin(h) + f*h\nh' = f*c + i*cos(c)", [MIRRORED] * 2, (1, 1, 2)),
    (F + MIRROR + "h' = f*h + i*tanh(h) + f*sin(h) + i*cos(h)", [MIRRORED] * 2, (1, 1, 2)),
    (F + MIRROR + "h' = f*h + i*tanh(h) + log(i)", [MIRRORED], (1, 1, 1)),  # f is 1 - i
    (F + MIRROR + "h' = f*h + i*tanh(h) + log(i)*f", [], (2, 1, 0)),
    (F + MIRROR + "h' = f*h + tanh(h)*sin(i)", [], (2, 1, 0)),
    (F + "h' = h + f*(tanh(h) - h)", [MOVED], (1, 1, 1)),
    (F + "h' = h - f*(h - tanh(h))", [MOVED], (1, 1, 1)),
    ("f = sigmoid(V·h - b)\ni = sigmoid(b - V·h)\nh' = f*h + i*tanh(h)", [MIRRORED], (1, 1, 1)),
    ("f = sigmoid(V·h)\ni = sigmoid(V·(-h))\nh' = f*h + i*tanh(h)", [MIRRORED], (1, 1, 1)),
    ("f = sigmoid(tanh(h)*b)\ni = sigmoid(b*tanh(-h))\nh' = f*(V·h) + i*h", [MIRRORED], (1, 1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "rules", "left"), SHARED)
def test_what_is_shared(body: str, rules: list[str], left: tuple[int, int, int]) -> None:
    cell = _parse(body)
    after, log = ShareComplement().run_logged(Cse().run(cell))
    verify(after)
    assert sorted(firing.rule for firing in log) == sorted(rules)
    assert tuple(_count(after, op) for op in ("sigmoid", "matmul", "lerp")) == left
    assert ShareComplement().run(after) == after
    trial = Trial(cell, 4)
    reference = trial.numpy("O0")
    for level in ("O1", "O2"):
        assert difference(trial.numpy(level), reference) < 1e-12
        assert _count(optimise(cell, level), "sigmoid") == left[0]


def test_what_is_known_before_a_loop_is_not_blended_in_it() -> None:
    """A multiply-add a step is cheaper than a blend of three operations."""
    known = "f = sigmoid(W·x)\nh' = f*h + (1 - f)*(U·x)"
    after = optimise(_parse(known), "O2")
    assert (_count(after, "lerp"), _count(after, "multiply_add")) == (0, 1)
    mixed = "f = sigmoid(W·x)\nh' = f*h + (1 - f)*tanh(U·h)"
    assert _count(optimise(_parse(mixed), "O2"), "lerp") == 1
    moved = "f = sigmoid(U·h)\nk = tanh(W·x)\nm = M·x\nh' = sin(h) + k + f*(m - k)"
    assert ShareComplement().run_logged(_parse(moved))[1] == []


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_update", "cifg", "mut1", "phased_lstm"])
def test_loops_of_the_zoo_have_no_complement_left(name: str) -> None:
    cell = optimise(cellc.load(name), "O2")
    ones = {
        n for n, node in cell.nodes.items() if node.op.name == "const" and node.attr("value") == 1
    }
    assert not [n for n in cell.nodes.values()
                if n.op.name == "subtract" and n.args[0] in ones and n.type.extent]  # fmt: skip


def test_algebra_does_not_undo_it() -> None:
    for body, _, _ in SHARED:
        shared = ShareComplement().run(Algebra().run(_parse(body)))
        again = Algebra().run(shared)
        assert _count(again, "sigmoid") == _count(shared, "sigmoid")
        assert _count(again, "lerp") == _count(shared, "lerp")


@pytest.mark.parametrize("size", [1.0, 20.0, 40.0, 600.0])
def test_a_gate_with_other_uses_keeps_its_digits(size: float) -> None:
    """`1 - sigmoid(a)` has none left beyond 37; the smaller gate stays a sigmoid."""
    cell = cellc.parse(
        "cell small\ninput x[H]\nstate h[H]\nf = sigmoid(x)\ni = sigmoid(-x)\n"
        "h' = f*h + i*tanh(x)\noutput i*f, log(i)\n"
    )
    for level in ("O0", "O1", "O2"):
        outputs, _ = cellc.compile(cell, "numpy", level)(1)(np.full((1, 1), size))
        assert outputs[0] == pytest.approx(exp(-size) / (1 + exp(-size)) ** 2, rel=1e-14)
        assert outputs[1] == pytest.approx(-size - np.log1p(exp(-size)), rel=1e-14)


def test_numbers_up_to_sign() -> None:
    cell = _parse(
        "a = V·h - b\nc = b - V·h\nd = tanh(a)*h\ne = h*tanh(c)\nk = abs(a)\nl = abs(c)\n"
        "m = exp(a)\nn = exp(c)\nh' = d + e + k + l + m + n"
    )
    numbers = signed_numbers(cell)
    assert opposites(numbers["a"], numbers["c"])
    assert opposites(numbers["d"], numbers["e"])
    assert numbers["k"] == numbers["l"]
    assert numbers["m"][1] != numbers["n"][1]
    trial = np.random.default_rng(0)
    values = {n: trial.standard_normal(9) for n in ("V", "h", "b")}
    a, c = values["V"] * values["h"] - values["b"], values["b"] - values["V"] * values["h"]
    assert np.array_equal(a, -c)


def test_a_blend_whose_difference_is_known_once_stays_as_it_is() -> None:
    text = "cell c\ninput x[H]\nstate h[H]\nf = sigmoid(V·x)\nh' = tanh(U·h) + relu(k)\noutput h'\n"
    known, each = "param p[H], q[H]\nk = q + f*(p - q)\n", "k = x + f*(tanh(x) - x)\n"
    assert _count(optimise(cellc.parse(text + known), "O2"), "lerp") == 0
    assert _count(optimise(cellc.parse(text + each), "O2"), "lerp") == 1
