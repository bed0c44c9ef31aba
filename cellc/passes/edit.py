"""Builds a changed cell from an old one; what all passes share."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from cellc.diagnostics import Span
from cellc.ir import NOWHERE, Attribute, Cell, Node, Result, Type
from cellc.ops import TABLE


class Edit:
    """New nodes for a cell, and which of them stand for its old ones."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.nodes: dict[str, Node] = {}
        self.stand_ins: dict[str, str] = {}
        numbers = [int(name) for name in cell.nodes if name.isdigit()]
        self._next = max(numbers, default=0) + 1

    def now(self, name: str) -> str:
        """The new name of an old node."""
        return self.stand_ins.get(name, name)

    def keep(self, name: str) -> str:
        """Copy an old node, with operands replaced by what stands for them."""
        node = self.cell.nodes[name]
        args = tuple(self.now(argument) for argument in node.args)
        types = [self.nodes[argument].type for argument in args]
        known = [self.cell.nodes[argument].type for argument in node.args]
        if args != node.args or types != known:
            type_ = node.type if types == known else node.op.infer(types, dict(node.attrs))
            node = Node(node.op, args, type_, node.attrs, node.spans)
        self.nodes[name] = node
        return name

    def add(
        self,
        op: str,
        args: Iterable[str] = (),
        spans: frozenset[Span] = frozenset(),
        **attrs: Attribute,
    ) -> str:
        """Add an operation under the next number; raises TypeMismatch."""
        record, args = TABLE[op], tuple(args)
        type_ = record.infer([self.nodes[argument].type for argument in args], attrs)
        return self.put(Node(record, args, type_, tuple(attrs.items()), spans))

    def constant(self, value: float, spans: frozenset[Span] = frozenset()) -> str:
        """Add a number."""
        return self.put(Node(TABLE["const"], (), Type((), NOWHERE), (("value", value),), spans))

    def put(self, node: Node) -> str:
        """Add a node under the next number."""
        name = str(self._next)
        self._next += 1
        self.nodes[name] = node
        return name

    def finish(self) -> Cell:
        """The new cell, in an order in which operands precede users."""
        results = [Result(r.role, r.name, self.now(r.value)) for r in self.cell.results]
        return self.cell.replace(in_order(self.nodes), results)


def in_order(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes with operands before users, otherwise as they come."""
    rank = {name: place for place, name in enumerate(nodes)}
    users: dict[str, list[str]] = {name: [] for name in nodes}
    missing: dict[str, int] = {}
    for name, node in nodes.items():
        operands = set(node.args)
        missing[name] = len(operands)
        for argument in operands:
            users[argument].append(name)
    ready = [rank[name] for name, count in missing.items() if not count]
    heapq.heapify(ready)
    names = list(nodes)
    ordered: dict[str, Node] = {}
    while ready:
        name = names[heapq.heappop(ready)]
        ordered[name] = nodes[name]
        for user in users[name]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, rank[user])
    return ordered


def spans_of(nodes: Mapping[str, Node], names: Iterable[str]) -> frozenset[Span]:
    """All places in specs that the named nodes come from."""
    return frozenset(span for name in names for span in nodes[name].spans)
