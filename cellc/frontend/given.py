"""What a call gives to the cell that it applies: values for its leaves, and sizes."""

from __future__ import annotations

from dataclasses import dataclass, field

from cellc.diagnostics import Span, fail
from cellc.frontend.expressions import Lowering
from cellc.frontend.shapes import shape_of
from cellc.frontend.splice import bind
from cellc.frontend.suggest import did_you_mean
from cellc.ir import TIME, Argument, Cell, Dim, Type
from cellc.ir.types import sequence_axis, shape_text
from cellc.syntax import tree


@dataclass
class Given:
    """What a call gives a cell: values for its leaves, and sizes.

    ``chosen`` are the sizes that the cell was lowered with, because the call states them
    in numbers.
    """

    lowering: Lowering
    cell: Cell
    span: Span
    chosen: frozenset[str]
    values: dict[str, str] = field(default_factory=dict)
    dims: dict[str, Dim] = field(default_factory=dict)
    stated: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dims |= {n: Dim.of(a.default or 1) for n, a in self.cell.dims.items() if a.fixed}

    def take_values(self, call: tree.Call) -> None:
        """Inputs, then states, by position; anything by name."""
        slots = [*self.cell.inputs, *self.cell.states]
        if not len(self.cell.inputs) <= len(call.args) + len(call.keywords) or len(call.args) > len(
            slots
        ):
            shown = ", ".join(slots)
            fail("wrong-argument-count", f"`{call.function}` takes {shown}", call.span)
        for slot, part in zip(slots, call.args, strict=False):
            self._value(slot, self.lowering.lower(part), part.span)
        for word, part in call.keywords:
            if word in slots and word not in self.values:
                self._value(word, self.lowering.lower(part), part.span)
            else:
                self._setting(word, part)
        self._complete()

    def take_value(self, value: str) -> None:
        """The one value that flows in."""
        if len(self.cell.inputs) != 1:
            count = len(self.cell.inputs)
            message = f"`{self.cell.name}` takes {count} inputs, and one value flows into it"
            fail("not-a-layer", message, self.span)
        self._value(self.cell.inputs[0], value, self.span)

    def take_settings(self, layer: tree.Call) -> None:
        """Sizes that are still open, then options, by position; both by name."""
        open_ = [d for d, a in self.cell.dims.items() if d not in self.dims and not a.fixed]
        slots = [*open_, *self.cell.options]
        if len(layer.args) > len(slots):
            shown = ", ".join(slots) or "nothing"
            fail("wrong-argument-count", f"`{layer.function}` takes {shown}", layer.span)
        for slot, part in zip(slots, layer.args, strict=False):
            self._setting(slot, part)
        for word, part in layer.keywords:
            self._setting(word, part)

    def brought(self) -> dict[str, Argument]:
        """The sizes left open, which become the caller's."""
        return {n: a for n, a in self.cell.dims.items() if n not in self.dims}

    def _value(self, slot: str, node: str, span: Span) -> None:
        nodes = self.lowering.builder.nodes
        wanted, have = self.cell.nodes[slot].type, nodes[node].type
        if not bind(wanted.shape, have.shape, self.dims):
            sizes = shape_text(tuple(dim.substitute(self.dims) for dim in wanted.shape))
            message = f"`{self.cell.name}` takes `{slot}` as {sizes}, not {shape_text(have.shape)}"
            fail("shape-clash", message, span)
        self._check_axis(slot, wanted, have, span)
        if wanted.dtype != have.dtype:
            fail("shape-clash", f"`{slot}` of `{self.cell.name}` is {wanted.dtype}", span)
        self.values[slot] = node

    def _check_axis(self, slot: str, wanted: Type, have: Type, span: Span) -> None:
        """A sequence stands for time, or for the axis that the slot names."""
        axis, given = sequence_axis(wanted.extent), sequence_axis(have.extent)
        if given is None or axis in (TIME, given):
            return
        along = "per sequence" if axis is None else f"along `{axis}`"
        message = f"`{self.cell.name}` takes `{slot}` {along}, not along `{given}`"
        hints = ("`last(v)`, `first(v)` and `mean(v, axis)` give one value per sequence",)
        fail("mixed-axes", message, span, hints=hints if axis is None else ())

    def _setting(self, word: str, part: tree.Expression) -> None:
        if word in self.chosen:
            return
        self._check_once(word, part)
        by_argument = {a.name: d for d, a in self.cell.dims.items()}
        dim = word if word in self.cell.dims else by_argument.get(word)
        if dim is not None and dim not in self.dims:
            (self.dims[dim],) = shape_of((part,), self.lowering.model)
        elif word in self.cell.options:
            self.values[word] = self.lowering.lower(part, ())
        else:
            known = [*self.cell.states, *self.cell.dims, *by_argument, *self.cell.options]
            shown = ", ".join(f"`{name}`" for name in dict.fromkeys(known))
            hints = did_you_mean(word, known) or (f"it has {shown}",)
            fail("wrong-argument", f"`{self.cell.name}` has no `{word}` that is still open",
                 part.span, hints=hints)  # fmt: skip

    def _check_once(self, word: str, part: tree.Expression) -> None:
        if word in self.stated:
            fail("wrong-argument", f"`{word}` is given twice", part.span)
        self.stated.add(word)

    def _complete(self) -> None:
        missing = [name for name in self.cell.inputs if name not in self.values]
        if missing:
            message = f"`{self.cell.name}` needs its input `{missing[0]}`"
            fail("wrong-argument-count", message, self.span)
