"""Collects nodes in order, infers their types and names those without a name."""

from __future__ import annotations

from collections.abc import Iterable

from cellc.diagnostics import Span, fail
from cellc.ir import Attribute, Node, Type
from cellc.ops import TABLE

MOST_NODES = 100_000


class Builder:
    """The nodes of a cell under construction."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._numbered = 0

    def leaf(self, op: str, name: str, type_: Type, **attrs: Attribute) -> str:
        """Add a leaf under its own name."""
        self.nodes[name] = Node(TABLE[op], (), type_, tuple(attrs.items()))
        return name

    def add(
        self, op: str, args: Iterable[str], span: Span, name: str = "", **attrs: Attribute
    ) -> str:
        """Add an operation; it gets the next number unless it has a name.

        Raises TypeMismatch where the operands do not fit and CellcError beyond the
        limit of nodes.
        """
        args = tuple(args)
        record = TABLE[op]
        type_ = record.infer([self.nodes[argument].type for argument in args], attrs)
        return self._put(name, Node(record, args, type_, tuple(attrs.items()), frozenset({span})))

    def number(self, op: str, type_: Type, span: Span, name: str = "", **attrs: Attribute) -> str:
        """Add a leaf that has no name of its own, such as a constant."""
        node = Node(TABLE[op], (), type_, tuple(attrs.items()), frozenset({span}))
        return self._put(name, node)

    def rename(self, old: str, new: str) -> str:
        """Give the node added last its name."""
        self.nodes[new] = self.nodes.pop(old)
        return new

    def _put(self, name: str, node: Node) -> str:
        if len(self.nodes) >= MOST_NODES:
            fail("too-large", f"the cell has more than {MOST_NODES:,} operations")
        if not name:
            self._numbered += 1
            name = str(self._numbered)
        self.nodes[name] = node
        return name
