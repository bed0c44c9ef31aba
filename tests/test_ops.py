"""Generated from the op table: every op in every backend, its derivative, its range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cellc
from cellc.ir import Node, Type
from cellc.ops import TABLE, Op, find
from cellc.ops.evaluate import evaluate, evaluate_expression
from cellc.syntax import parse_expression, tree
from cellc.syntax.tree import walk
from tests.running import Trial, difference

APPLIED = [
    op
    for op in TABLE.values()
    if op.kind in ("elementwise", "contraction", "reduction") and (op.written or op.name == "keep")
]
CUTS = ("stop", "cut")  # whose derivative is not that of their value

SMOOTH = [op for op in APPLIED if op.name not in CUTS and op.derivative and op.name != "count"
          and op.rule.__name__ != "comparison"]  # fmt: skip

#: Arguments that keep an op inside its domain, as expressions of x and h.
DOMAINS = {
    "log": ("abs(x) + 1",), "sqrt": ("abs(x) + 1",),
    "power": ("abs(x) + 1", "h"), "mod": ("3*x", "abs(h) + 1"), "divide": ("x", "abs(h) + 1"),
    "where": ("x < h", "x", "h"), "clip": ("x", "-0.5", "0.5"), "lerp": ("x", "h", "sigmoid(x)"),
    "matmul": ("M", "x"), "matmul_add": ("M", "x", "h"),
    "block_matmul": ("M", "x"), "convolve": ("M", "outer(x, h)"),
}  # fmt: skip

#: The shapes of the weights of contractions.
WEIGHTS = {"block_matmul": "[1, H, H]", "convolve": "[H, H, 3]"}


def _call(op: Op) -> str:
    if op.name == "keep":  # written by the language's dropout only
        return "dropout(x, 0.3)"
    default = ("x", "h", "x + h")[: len(op.parameters)]
    return f"{op.name}({', '.join(DOMAINS.get(op.name, default))})"


def _cell(op: Op) -> cellc.Cell:
    value = _call(op)
    if op.name == "convolve":
        value = f"sum({value})"
    if op.rule.__name__ == "comparison":
        value = f"where({value}, x, h)"
    shape = WEIGHTS.get(op.name, "[H, H]")
    declared = f"param M{shape}\n" if op.kind == "contraction" else ""
    return cellc.parse(
        f"cell one\ninput x[H]\nstate h[H]\n{declared}y[H] = {value} + 0*x\n"
        f"h' = 0.5*h + x\noutput y\n"
    )


@pytest.mark.parametrize("op", APPLIED, ids=lambda op: op.name)
def test_every_op_in_every_backend_and_at_every_level(op: Op) -> None:
    trial = Trial(_cell(op), 1)
    reference = trial.numpy("O0")
    assert all(np.isfinite(value).all() for value in reference[0])
    for level in ("O0", "O1", "O2"):
        assert difference(trial.numpy(level), reference) < 1e-12
        assert difference(trial.torch(level), reference) < 1e-12


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_derivatives_against_differences(op: Op) -> None:
    rng = np.random.default_rng(0)
    values: list[Any] = [rng.uniform(0.6, 1.9, 4) for _ in op.parameters]
    if op.name == "where":
        values[0] = values[1] < 1.2
    if op.name == "clip":
        values[1:] = [np.full(4, 0.9), np.full(4, 1.5)]
    result = evaluate(op, *values)
    cotangent = rng.standard_normal(np.shape(result))
    for slot, text in enumerate(op.derivative):
        expected = _slope(op, values, slot, cotangent)
        if text is None:
            assert expected is None or np.abs(expected).max() < 1e-6
            continue
        known = dict(zip(op.parameters, values, strict=True)) | {"g": cotangent, "y": result}
        got = evaluate_expression(parse_expression(text), known) * np.ones_like(values[slot])
        assert np.allclose(got, expected, atol=1e-6), op.parameters[slot]


def _slope(op: Op, values: list[Any], slot: int, cotangent: Any) -> Any:
    """The cotangent of one operand by central differences."""
    if values[slot].dtype == bool:
        return None
    slope = np.zeros_like(values[slot])
    for index in np.ndindex(values[slot].shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [np.array(v) for v in values]
            moved[slot][index] += step
            ends.append(evaluate(op, *moved))
        slope[index] = ((ends[0] - ends[1]) * cotangent).sum() / 2e-6
    return slope


@pytest.mark.parametrize("op", TABLE.values(), ids=lambda op: op.name)
def test_records_are_complete(op: Op) -> None:
    assert op.summary.endswith(".")
    if op.leaf:
        return
    spelled = bool(op.spelling or op.expansion) or {"numpy", "torch"} <= op.spellings.keys()
    assert spelled
    for text in (op.expansion, *op.derivative):
        for part in walk(parse_expression(text)) if text else ():
            if isinstance(part, tree.Call):
                assert find(part.function) is not None
    if op.kind == "elementwise" and op.written:
        assert len(op.derivative) == len(op.parameters)
    names = [f"${name}" for name in op.operand_names(len(op.parameters))]
    if op.latex and not op.variadic and op.name != "cut":
        assert all(name in op.latex for name in names)


@pytest.mark.parametrize(
    "op", [o for o in APPLIED if o.range != (None, None)], ids=lambda op: op.name
)
def test_results_stay_in_their_range(op: Op) -> None:
    low, high = op.range
    values = np.linspace(0.01, 9, 50) if op.name in ("log", "sqrt") else np.linspace(-30, 30, 301)
    result = evaluate(op, *(values, 0.5)[: len(op.parameters)])
    assert low is None or result.min() >= low
    assert high is None or result.max() <= high


@pytest.mark.parametrize("value", [-1e4, -800.0, -40.0, 0.0, 40.0, 800.0, 1e4])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "softmax", "standardize"])
def test_extremes_stay_finite_and_exact(name: str, value: float) -> None:
    got = evaluate(TABLE[name], np.array([value, 0.0]))
    assert np.isfinite(got).all()
    x = torch.tensor([value, 0.0], dtype=torch.float64)
    if name in ("sigmoid", "softplus"):
        want = getattr(torch.nn.functional, name)(x)
        assert np.allclose(got, want.numpy(), rtol=1e-12, atol=0)


def test_mod_is_floored_in_both_backends() -> None:
    assert evaluate(TABLE["mod"], -0.3, 1.0) == pytest.approx(0.7)
    cell = cellc.parse("cell m\ninput x[H]\nstate h[H]\nh' = mod(x, 1) + 0*h\noutput h'\n")
    outputs = cellc.compile(cell)(1)(torch.tensor([[[-0.3]]]))[0]
    assert float(outputs.detach()) == pytest.approx(0.7)


def test_an_op_knows_its_type_rule() -> None:
    node = Node(TABLE["add"], (), Type((), frozenset()))
    assert node.op.infer([node.type, node.type], {}) == node.type


@pytest.mark.parametrize(
    ("name", "values", "slopes"),
    [
        ("maximum", (1.0, 1.0), [0.5, 0.5]),
        ("minimum", (1.0, 1.0), [0.5, 0.5]),
        ("clip", (1.0, 1.0, 2.0), [1.0, 0.0, 0.0]),
        ("clip", (2.0, 1.0, 2.0), [1.0, 0.0, 0.0]),
    ],
)
def test_ties_are_as_in_torch(name: str, values: tuple[float, ...], slopes: list[float]) -> None:
    op = TABLE[name]
    known = dict(zip(op.parameters, map(np.float64, values), strict=True))
    known |= {"g": np.float64(1), "y": np.float64(1)}
    assert [
        float(evaluate_expression(parse_expression(t or "0"), known)) for t in op.derivative
    ] == slopes
