"""Functions of the language that are more than an op on their operands.

Some read a whole sequence, some cut or gather values, some draw masks. Each is a function
of the lowering and the call, under its name in ``FUNCTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cellc.diagnostics import fail
from cellc.frontend.builder import Builder
from cellc.frontend.model import Model
from cellc.frontend.shapes import dimension_of, shape_of
from cellc.ir import BATCH, NOWHERE, Type
from cellc.ir.types import Shape, shape_text
from cellc.syntax import tree

Formals = dict[str, str]

#: What only unrolling calls; nobody can write names like these.
AT, STACK = "[at]", "[stack]"


class Lowering(Protocol):
    """What these functions need of :class:`cellc.frontend.expressions.Lowering`."""

    model: Model
    builder: Builder
    values: dict[str, str]
    target: str

    def lower(self, expression: tree.Expression, wanted: Shape | None = None) -> str: ...
    def within(
        self, expression: tree.Expression, wanted: Shape | None, formals: Formals
    ) -> str: ...
    def operation(self, call: tree.Call, wanted: Shape | None, formals: Formals) -> str: ...
    def fresh(self, name: str) -> str: ...


Special = Callable[[Lowering, tree.Call, Shape | None, Formals], str]


def sequence_axis(type_: Type) -> str | None:
    """The axis along which a value is a sequence: ``time``, or another."""
    return next(iter(type_.extent - {BATCH}), None)


def over_sequence(lowering: Lowering, op: str, value: str, call: tree.Expression) -> str:
    """An op on the whole sequence of a value."""
    axis = sequence_axis(lowering.builder.nodes[value].type)
    if axis is None:
        text = " ".join(call.span.text.split())
        fail("constant-along-axis", f"`{text}`: the value is no sequence", call.span,
             hints=("it is the same at every step",))  # fmt: skip
    return lowering.builder.add(op, [value], call.span, axis=axis)


def _over_axis(op: str) -> Special:
    def special(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
        _check_count(call, 1, 2)
        value = lowering.within(call.args[0], wanted, formals)
        node = over_sequence(lowering, op, value, call)
        if len(call.args) == 2:
            _check_axis(lowering, call, value)
        return node

    return special


def _check_axis(lowering: Lowering, call: tree.Call, value: str) -> None:
    """The axis that a call names must be the one along which its value is a sequence."""
    axis = sequence_axis(lowering.builder.nodes[value].type)
    given = call.args[1]
    if not isinstance(given, tree.Name) or given.name != axis:
        fail("constant-along-axis", f"the value is a sequence along `{axis}`", given.span)


def _mean(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    """``mean(v, time)`` is the mean over the steps; ``mean(v)`` over the last dimension."""
    if len(call.args) == 2:
        return _over_axis("mean_over")(lowering, call, wanted, formals)
    return lowering.operation(call, wanted, formals)


def _window(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    """``window(v, width)``: the values of the steps around each step."""
    _check_count(call, 2, 2)
    value = lowering.within(call.args[0], None, formals)
    (width,) = shape_of(call.args[1:], lowering.model)
    axis = sequence_axis(lowering.builder.nodes[value].type)
    if axis is None:
        fail("constant-along-axis", "a window slides over a sequence", call.args[0].span)
    return lowering.builder.add("window", [value], call.span, axis=axis, width=width)


def _split(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    fail(
        "wrong-target-count",
        "`split` gives several values and needs as many names",
        call.span,
        hints=("such as `i, f, o = split(z)`",),
    )


def split(lowering: Lowering, call: tree.Call, count: int, part: Shape | None) -> list[str]:
    """The equal parts of a value along its first dimension; ``part`` is the shape of one."""
    if call.keywords:
        fail("wrong-argument", "`split` takes nothing by name", call.span)
    _check_count(call, 1, 1)
    wanted = (part[0] * count, *part[1:]) if part else None
    value = lowering.lower(call.args[0], wanted)
    shape = lowering.builder.nodes[value].type.shape
    if not shape:
        fail("shape-clash", "a scalar cannot be split", call.span)
    size = shape[0] / count
    if any(c.denominator != 1 for _, c in size.terms):
        hint = f"state the size of what is split, such as `z[{count}*H] = …`"
        message = f"{shape_text(shape)} has no {count} equal parts"
        fail("shape-clash", message, call.span, hints=(hint,))
    return [
        lowering.builder.add("slice", [value], call.span, start=size * k, stop=size * (k + 1))
        for k in range(count)
    ]


def _stack(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    """The values of all positions of an axis; only unrolling writes it."""
    length, *values = call.args
    parts = [lowering.within(value, wanted, formals) for value in values]
    shapes = {lowering.builder.nodes[part].type.shape for part in parts}
    if len(shapes) > 1:
        shown = " and ".join(sorted(map(shape_text, shapes)))
        fail("shape-clash", f"the positions differ in shape: {shown}", call.span)
    return lowering.builder.add("stack", parts, call.span, dim=dimension_of(length, lowering.model))


def _at(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    """One position of a value; only unrolling writes it."""
    value, index = call.args
    assert isinstance(index, tree.Number)
    inner = lowering.within(value, None, formals)
    return lowering.builder.add("at", [inner], call.span, index=int(index.value))


def _all(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    fail(
        "constant-along-axis",
        "`all(v, axis)` gathers the values of an axis with positions",
        call.span,
        hints=("the axis is declared with its length, such as `axis layer[L]`",),
    )


def _zeros(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    if call.args or wanted is None:
        hint = "state the shape of the equation's left side, such as `f[H] = …`"
        message = "nothing determines the shape of these zeros"
        fail("unknown-shape", message, call.span, hints=(hint,))
    return lowering.builder.number("zeros", Type(wanted, NOWHERE), call.span, shape=wanted)


def _dropout(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    """``dropout(g, p)``: parts of g are zero while training, the others grow by 1/(1-p)."""
    _check_count(call, 2, 2)
    value = lowering.within(call.args[0], wanted, formals)
    rate = _rate(lowering, call.args[1], formals)
    builder, span = lowering.builder, call.span
    kept = _kept(lowering, call, value, rate)
    one = builder.number("const", Type((), NOWHERE), span, value=1.0)
    share = builder.add("subtract", [one, rate], span)
    return builder.add("divide", [builder.add("multiply", [value, kept], span), share], span)


def _zoneout(lowering: Lowering, call: tree.Call, wanted: Shape | None, formals: Formals) -> str:
    """``zoneout(new, old, p)``: parts of the old value stay while training."""
    _check_count(call, 3, 3)
    new, old = (lowering.within(part, wanted, formals) for part in call.args[:2])
    rate = _rate(lowering, call.args[2], formals)
    builder, span = lowering.builder, call.span
    kept = _kept(lowering, call, old, rate)
    moved = builder.add("subtract", [new, old], span)
    return builder.add("add", [old, builder.add("multiply", [kept, moved], span)], span)


def _rate(lowering: Lowering, rate: tree.Expression, formals: Formals) -> str:
    """A probability: a number in [0, 1) or an option."""
    node = lowering.within(rate, (), formals)
    number = lowering.builder.constants.get(node)
    if lowering.builder.nodes[node].op.name == "option":
        number = float(lowering.builder.nodes[node].attr("default"))  # type: ignore[arg-type]
    outside = number is not None and not 0 <= number < 1
    if outside or lowering.builder.nodes[node].type != Type((), NOWHERE):
        fail("bad-probability", "the probability is no number from 0 to below 1", rate.span)
    return node


def _kept(lowering: Lowering, call: tree.Call, value: str, rate: str) -> str:
    """The mask of a value, drawn for every step or once for the sequence."""
    words = dict(call.keywords)
    per = words.pop("per", None)
    if words or (per is not None and not (isinstance(per, tree.Name) and per.name == "sequence")):
        message = f"`{call.function}` knows `per=sequence` and nothing else by name"
        fail("wrong-argument", message, call.span)
    type_ = lowering.builder.nodes[value].type
    if BATCH not in type_.extent:
        fail("bad-probability", "the value is a parameter, the same for all sequences", call.span,
             hints=(f"`{call.function}` is for what varies with the sequence",))  # fmt: skip
    extent = frozenset({BATCH}) if per is not None else type_.extent
    source = call.args[1 if call.function == "zoneout" else 0]
    named = source.name if isinstance(source, tree.Name) else None
    name = lowering.fresh(f"mask_{(named or lowering.target).rstrip(chr(39))}")
    mask = lowering.builder.leaf("draw", name, Type(type_.shape, extent), label=name)
    lowering.values[name] = mask
    return lowering.builder.add("keep", [mask, rate], call.span)


def _check_count(call: tree.Call, least: int, most: int) -> None:
    if not least <= len(call.args) <= most:
        wanted = f"{least}" if least == most else f"{least} or {most}"
        values = "value" if wanted == "1" else "values"
        message = f"`{call.function}` takes {wanted} {values}, not {len(call.args)}"
        fail("wrong-argument-count", message, call.span)


#: Those that draw masks, for every step or ``per=sequence``.
DRAWING = frozenset({"dropout", "zoneout"})

#: What the language calls each of them.
FUNCTIONS: dict[str, Special] = {
    "last": _over_axis("last"),
    "first": _over_axis("first"),
    "reverse": _over_axis("reverse"),
    "mean": _mean,
    "window": _window,
    "split": _split,
    STACK: _stack,
    AT: _at,
    "all": _all,
    "zeros": _zeros,
    "dropout": _dropout,
    "zoneout": _zoneout,
}
