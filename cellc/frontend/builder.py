"""Collects nodes in order, infers their types and names those without a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, nan

from cellc.diagnostics import Span, fail
from cellc.ir import BATCH, Attribute, Node, Type
from cellc.ir.types import Extent
from cellc.ops import TABLE, Op
from cellc.ops.evaluate import evaluate

MOST_NODES = 20_000
DEEPEST_CHAIN = 200


def check_axes(extent: Extent, span: Span | None) -> None:
    """Steps of two sequences have nothing to do with each other."""
    axes = sorted(extent - {BATCH})
    if len(axes) > 1:
        message = f"values along `{axes[0]}` and along `{axes[1]}` meet"
        hint = "`last(v)`, `first(v)` and `mean(v, axis)` give one value per sequence"
        fail("mixed-axes", message, span, hints=(hint,))


class Builder:
    """The nodes of a cell under construction, which may start from those of a finished one."""

    def __init__(self, nodes: Mapping[str, Node] | None = None) -> None:
        self.nodes = dict(nodes or {})
        self.constants = {
            name: float(node.attr("value"))  # type: ignore[arg-type]
            for name, node in self.nodes.items()
            if node.op.name == "const"
        }
        self._depths: dict[str, int] = {}
        self._used: set[str] = set()
        self._numbered = max((int(name) for name in self.nodes if name.isdigit()), default=0)

    def leaf(self, op: str, name: str, type_: Type, **attrs: Attribute) -> str:
        """Add a leaf under its own name. Raises CellcError where something has it."""
        self._claim(name)
        self.nodes[name] = Node(TABLE[op], (), type_, tuple(attrs.items()))
        return name

    def add(self, op: str, args: Iterable[str], span: Span, **attrs: Attribute) -> str:
        """Add an operation under the next number.

        Raises TypeMismatch where the operands do not fit and CellcError beyond the
        limits of nodes and of operations inside each other, and where the operands are
        numbers and the result is none.
        """
        args = tuple(args)
        record = TABLE[op]
        type_ = record.infer([self.nodes[argument].type for argument in args], attrs)
        check_axes(type_.extent, span)
        depth = 1 + max((self._depths.get(argument, 0) for argument in args), default=0)
        if depth > DEEPEST_CHAIN:
            fail(
                "nested-too-deeply",
                f"a value of more than {DEEPEST_CHAIN} operations inside each other",
                span,
                hints=("give a part of it a name with an equation of its own",),
            )
        value = self._constant(record, args, span)
        name = self._put(Node(record, args, type_, tuple(attrs.items()), frozenset({span})))
        self._depths[name] = depth
        if value is not None:
            self.constants[name] = value
        return name

    def number(self, op: str, type_: Type, span: Span, **attrs: Attribute) -> str:
        """Add a leaf that has no name of its own, such as a constant."""
        node = Node(TABLE[op], (), type_, tuple(attrs.items()), frozenset({span}))
        name = self._put(node)
        if op == "const":
            self.constants[name] = float(attrs["value"])  # type: ignore[arg-type]
        return name

    def graft(self, node: Node, name: str | None) -> str:
        """Add a finished node, under its name or the next number."""
        span = next(iter(node.spans), None)
        check_axes(node.type.extent, span)
        depth = 1 + max((self._depths.get(argument, 0) for argument in node.args), default=0)
        value = self._constant(TABLE[node.op.name], node.args, span)
        placed = self._put(node)
        self._depths[placed] = depth
        if value is not None:
            self.constants[placed] = value
        return placed if name is None else self.rename(placed, name)

    def is_used(self, name: str) -> bool:
        """Whether another node has this one as an operand."""
        return name in self._used

    def rename(self, old: str, new: str) -> str:
        """Give the node added last its name. Raises CellcError where something has it."""
        self._claim(new, next(iter(self.nodes[old].spans), None))
        self.nodes[new] = self.nodes.pop(old)
        depth = self._depths.pop(old, 0)
        self._depths[new] = 0 if self.nodes[new].type.extent else depth
        if old in self.constants:
            self.constants[new] = self.constants.pop(old)
        return new

    def _claim(self, name: str, span: Span | None = None) -> None:
        if name in self.nodes:
            hint = "positions and applied cells add to names; rename the other one"
            fail("name-collision", f"two values are called `{name}`", span, hints=(hint,))

    def _constant(self, op: Op, args: tuple[str, ...], span: Span | None) -> float | None:
        """The number that an operation on numbers gives; None where others take part."""
        numbers = [self.constants[argument] for argument in args if argument in self.constants]
        if not args or len(numbers) < len(args) or op.kind != "elementwise":
            return None
        try:
            value = float(evaluate(op, *numbers))
        except (ArithmeticError, TypeError, ValueError):
            value = nan
        if not isfinite(value):
            fail("not-finite", "the value is infinite or undefined", span)
        return value

    def _put(self, node: Node) -> str:
        if len(self.nodes) >= MOST_NODES:
            place = next(iter(node.spans), None)
            fail("too-large", f"the cell has more than {MOST_NODES:,} operations", place)
        self._numbered += 1
        self._used.update(node.args)
        name = str(self._numbered)
        self.nodes[name] = node
        return name
