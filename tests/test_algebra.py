"""Every rule of the tables, measured against the true value at 4,500 digits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from math import inf, isfinite, isnan, nan, ulp
from typing import Any

import mpmath
import numpy as np
import pytest

import cellc
from cellc.ops import TABLE, find
from cellc.ops.evaluate import evaluate
from cellc.passes.algebra import EXACT, LIMITS, SIMPLIFY, STABLE, Algebra
from cellc.passes.bounds import least
from cellc.passes.fold import Fold
from cellc.passes.share_complement import BLENDS
from cellc.passes.strength import Strength
from cellc.syntax import parse_rule, tree
from cellc.syntax.tree import walk

MORE = 4.0
GRID = [0.0, *(s * v for v in (1e-12, 0.3, 1.0, 2.5, 36.0, 700.0, 1e4) for s in (1.0, -1.0))]

#: Ops at as many digits as are set.
TRUE: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negate": lambda a: -a,
    "power": lambda a, b: a**b,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sqrt": mpmath.sqrt,
    "abs": abs,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tanh": lambda a: 1 - 2 / (mpmath.exp(2 * a) + 1),
    "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
    "softplus": lambda a: mpmath.log(1 + mpmath.exp(a)),
    "relu": lambda a: max(a, mpmath.mpf(0)),
    "maximum": max,
    "minimum": min,
    "where": lambda c, a, b: a if c else b,
    "lerp": lambda a, b, w: a + w * (b - a),
}


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:
    with mpmath.workdps(4500):
        yield


def _computed(expression: tree.Expression, values: dict[str, float]) -> float:
    """An expression in float64, op by op as arrays compute it; nan where it is undefined."""
    match expression:
        case tree.Number(value=value):
            return value
        case tree.Name(name=name):
            return values[name]
        case _:
            assert isinstance(expression, tree.Call)
            op = find(expression.function)
            assert op is not None
            parts = [np.float64(_computed(part, values)) for part in expression.args]
            return float(evaluate(op, *parts))


@cache
def _true(expression: tree.Expression, values: tuple[tuple[str, float], ...]) -> Any:
    """An expression as it is; None where it is undefined."""
    match expression:
        case tree.Number(value=value):
            return mpmath.mpf(value)
        case tree.Name(name=name):
            return mpmath.mpf(dict(values)[name])
        case _:
            assert isinstance(expression, tree.Call)
            op = find(expression.function)
            assert op is not None
            parts = [_true(part, values) for part in expression.args]
            if any(part is None for part in parts):
                return None
            try:
                value = TRUE[op.name](*parts)
            except (ZeroDivisionError, ValueError):
                return None
            return None if isinstance(value, mpmath.mpc) else value


def _error(value: float, true: Any, scale: float = 0.0) -> float:
    """How far a number is from the true one in units in the last place of the larger of that
    and the scale; infinitely far where only one of them is finite."""
    nearest = float(true)
    if not isfinite(value) or not isfinite(nearest):
        return 0.0 if value == nearest else inf
    unit = ulp(max(abs(nearest), scale))
    return float(abs(mpmath.mpf(value) - true) / unit)


def _points(rule: tree.Rule) -> Iterator[dict[str, float]]:
    """Values for the names of a rule; a gate lies in [0, 1], a bound is kept."""
    names = sorted({part.name for part in walk(rule.before) if isinstance(part, tree.Name)})
    gates = [0.0, 1e-300, 1e-12, 0.25, 0.5, 1 - 1e-12, 1.0]
    grids = {"f": gates, "c": [0.0, 1.0]} if "f" in names or "where" in str(rule.before) else {}
    bounded = rule.bound.args[0].name if isinstance(rule.bound, tree.Call) else ""  # type: ignore[union-attr]
    for values in product(*(grids.get(name, GRID) for name in names)):
        point = dict(zip(names, values, strict=True))
        if point.get(bounded, 0.0) >= 0:
            yield point


@pytest.mark.parametrize("rule", SIMPLIFY)
def test_no_rule_loses_accuracy(rule: str) -> None:
    """And those that are called exact do not change a bit."""
    parsed = parse_rule(rule)
    measured = 0
    for point in _points(parsed):
        before, after = (_computed(side, point) for side in (parsed.before, parsed.after))
        true = _true(parsed.before, tuple(point.items()))
        if true is None:
            assert before == after or (isnan(before) and isnan(after)), point
            continue
        measured += 1
        assert _error(after, true) <= _error(before, true) + MORE, (point, before, after)
        if rule in EXACT:
            assert before == after, point
    assert measured > 5
    assert set(EXACT).isdisjoint(STABLE)


@pytest.mark.parametrize("rule", SIMPLIFY)
@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_no_rule_invents_or_hides_what_is_not_finite(rule: str, value: float) -> None:
    """But for infinity less infinity or over itself, where a stable form has the limit."""
    parsed = parse_rule(rule)
    if value == -inf and ("^" in rule or parsed.bound is not None):
        return  # a power of it is a convention, which a root does not share
    names = sorted({part.name for part in walk(parsed.before) if isinstance(part, tree.Name)})
    for name, other in product(names, (0.0, 2.5, -1.0, value)):
        point = dict.fromkeys(names, other) | {name: value}
        before, after = (_computed(side, point) for side in (parsed.before, parsed.after))
        if isnan(before) and value == value:
            continue
        assert before == after or (isnan(before) and isnan(after)), (point, before, after)


@pytest.mark.parametrize("rule", BLENDS)
def test_a_blend_is_exact_to_the_larger_of_its_values(rule: str) -> None:
    parsed = parse_rule(rule)
    lerp = parsed.after
    assert isinstance(lerp, tree.Call)
    for point in [*_points(parsed)][::4]:  # a step that no grid's size is a multiple of
        ends = [_computed(part, point) for part in lerp.args[:2]]
        before, after = (_computed(side, point) for side in (parsed.before, parsed.after))
        true = _true(parsed.before, tuple(point.items()))
        scale = max(map(abs, ends))
        assert _error(after, true, scale) <= _error(before, true, scale) + MORE, point


@pytest.mark.parametrize("rule", LIMITS)
def test_a_limit_is_exact_to_the_last_digits_of_one(rule: str) -> None:
    parsed = parse_rule(rule)
    undefined = 0
    for point in _points(parsed):
        before, after = (_computed(side, point) for side in (parsed.before, parsed.after))
        undefined += isnan(before)
        assert _error(after, _true(parsed.before, tuple(point.items())), 1.0) <= MORE, point
    assert undefined > 0


@pytest.mark.parametrize("rule", SIMPLIFY + LIMITS)
def test_every_rule_fires(rule: str) -> None:
    """On its own left side, and in the pipeline as a part of the whole table."""
    parsed = parse_rule(rule)
    text = rule.split(" => ")[0].replace("where(c,", "where(x < h,")
    if parsed.bound is not None:
        text = re.sub(r"\ba\b", "k", text)
    cell = cellc.parse(
        "cell one\ninput x[H]\nstate h[H]\nk = sigmoid(h)*softplus(x)\n"
        f"a = x + h\nb = x*h\ny = {text}\nh' = 0.5*h + x + 0*a + 0*k + 0*b\noutput y\n"
    )
    assert [firing.rule for firing in Algebra((rule,)).run_logged(cell)[1]] == [rule]
    ops = {find(part.function) for part in walk(parsed.before) if isinstance(part, tree.Call)}
    assert ops <= set(TABLE.values())


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("exp(log(x))", "exp"),
        ("sqrt(x)*sqrt(x)", "sqrt"),
        ("abs(x*h)", "abs"),
        ("relu(h - 1)", "relu"),
        ("0*log(x)", "log"),
        ("x - x", "subtract"),
        ("exp(x)*exp(h)", "multiply"),
        ("log(softmax(x))", "softmax"),
        ("log(sum(exp(x)))*x", "exp"),
    ],
)
def test_what_could_change_a_value_stays(body: str, kept: str) -> None:
    cell = cellc.parse(f"cell one\ninput x[H]\nstate h[H]\ny = {body}\nh' = h*x\noutput y\n")
    after = Algebra().run(cell)
    assert kept in {node.op.name for node in after.nodes.values()}


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        ("max(sigmoid(x), exp(h) + 2)", 2),
        ("max(x, -3)", -3),
        ("min(exp(x), 5)", 0),
        ("min(x, 5)", None),
        ("sigmoid(x) + 3", 3),
        ("tanh(x)*tanh(h)", None),
        ("tanh(x)*tanh(h)*2", None),
        ("(x*x)*exp(h)", 0),
        ("exp(x)/sigmoid(h)", 0),
        ("exp(x)/h", None),
        ("where(x < 0, -2, exp(x))", -2),
        ("where(exp(x) < 0, x, 2)", None),
        ("sigmoid(x) - sigmoid(h)", None),
        ("sum(exp(x))", 0),
        ("mean(exp(x) - 1)", None),
        ("log(exp(x) + 1)", None),
        ("x", None),
    ],
)
def test_the_least_value(value: str, bound: float | None) -> None:
    cell = cellc.parse(
        f"cell one\ninput x[H]\nstate h[H]\nv = {value}\nh' = h*x + 0*v\noutput h'\n"
    )
    cell = Fold().run(cell)
    found = least(cell.nodes, "v" if "v" in cell.nodes else "x")
    assert found == bound


def test_a_known_bound_lets_a_rule_fire() -> None:
    known = ("exp(x)", "softplus(h) + 2", "x*x", "max(x, 1)", "min(sigmoid(x), exp(h))",
             "where(x < h, x*x, 3)", "sum(abs(x))")  # fmt: skip
    for value in known:
        cell = cellc.parse(
            f"cell one\ninput x[H]\nstate h[H]\nv = {value}\ny[H] = exp(log(v)) + 0*x\n"
            "h' = h*x\noutput y\n"
        )
        log = Algebra(("exp(log(a)) => a if a >= 0",)).run_logged(cell)[1]
        assert log, value


def test_a_reciprocal_is_within_a_unit_of_the_quotient() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200_000)) * 10.0 ** rng.integers(-9, 9, (2, 200_000))
    quotient, by_inverse = a / b, a * (1 / b)
    assert (np.abs(quotient - by_inverse) / np.spacing(np.abs(quotient))).max() <= 1
    for number in (3.0, 7.0, 10.0, 1e-3, 0.25):
        units = np.abs(a / number - a * (1 / number)) / np.spacing(np.abs(a / number))
        assert units.max() <= (0 if number == 0.25 else 1)


@pytest.mark.parametrize(
    ("body", "divisions"),
    [
        ("h/τ + x/τ", {0: 0, 1: 1}),
        ("h/8 + x*3", {0: 0, 1: 0}),
        ("h/1e30 + x", {0: 1, 1: 0}),
        ("h/x", {0: 1, 1: 0}),
        ("h/(x*τ)", {0: 1, 1: 0}),
        ("τ/3 + h*x", {0: 0, 1: 1}),
    ],
)
def test_divisions_left(body: str, divisions: dict[int, int]) -> None:
    """How many at every step and how many once, the initial value of τ aside."""
    cell = cellc.parse(
        f"cell one\ninput x[H]\nstate h[H]\nparam τ[H] = 1\nh' = {body} + 0*τ\noutput h'\n"
    )
    after = Strength().run(cell)
    found = [bool(n.type.extent) for n in after.nodes.values() if n.op.name == "divide"]
    assert {0: found.count(True), 1: found.count(False)} == divisions
    assert Strength().run(after) == after


def test_nothing_is_nan_at_extremes_that_was_not() -> None:
    """The stable forms give numbers where the written ones overflow."""
    for rule, value in (
        ("exp(a)/(1 + exp(a)) => sigmoid(a)", 1e4),
        ("log(sigmoid(a)) => -softplus(-a) if sigmoid(a) used once", -1e4),
        ("log(1 + exp(a)) => softplus(a) if exp(a) used once", 1e4),
        ("log(exp(a)) => a", 1e4),
    ):
        assert rule in SIMPLIFY
        parsed = parse_rule(rule)
        assert not isfinite(_computed(parsed.before, {"a": value}))
        assert isfinite(_computed(parsed.after, {"a": value}))
