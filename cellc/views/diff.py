"""How two cells differ: as equations, as graphs, and in figures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cellc.ir import Cell, Dim, Loop, Node, Schedule
from cellc.ir.key import computations
from cellc.ir.types import BATCH, TIME, shape_text
from cellc.ops import TABLE
from cellc.ops.notation import equations_of, expression_of, initial_value_of
from cellc.views.summary import costs_of, counted, summarise

#: What a statement is about, in the order in which differences are told.
Kind = Literal["input", "state", "param", "option", "equation", "output"]

_LEAVES: tuple[Kind, ...] = ("input", "state", "param", "option")


@dataclass(frozen=True)
class Change:
    """A statement that one cell has and the other lacks or says otherwise; None for nothing."""

    kind: Kind
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Figure:
    """What is counted, as a formula for each of the two cells."""

    what: str
    before: Dim
    after: Dim


@dataclass(frozen=True)
class GraphDifference:
    """The nodes that compute the same in both cells, and by their ops those of one alone."""

    shared: int
    only_before: Mapping[str, int] = field(default_factory=dict)
    only_after: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Everything in which two cells differ. ``same`` says that their keys are equal."""

    before: Cell
    after: Cell
    changes: tuple[Change, ...]
    figures: tuple[Figure, ...]
    recurrences: tuple[str, str]
    graph: GraphDifference

    @property
    def same(self) -> bool:
        return self.before.key() == self.after.key()

    def as_dict(self, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Any]:
        """The difference as plain data, with counts for the sizes of either cell."""
        cells = (self.before, self.after)
        return {
            "cells": [cell.name for cell in cells],
            "keys": [cell.key() for cell in cells],
            "same": self.same,
            "new": [_said(c) for c in self.changes if c.before is None],
            "gone": [_said(c) for c in self.changes if c.after is None],
            "changed": [_said(c) for c in self.changes if None not in (c.before, c.after)],
            "figures": {
                figure.what: [counted(figure.before, before), counted(figure.after, after)]
                for figure in self.figures
            },
            "recurrences": list(self.recurrences),
            "graph": {
                "shared": self.graph.shared,
                "only": [dict(self.graph.only_before), dict(self.graph.only_after)],
            },
        }


def difference(before: Schedule, after: Schedule, cells: tuple[Cell, Cell]) -> Difference:
    """How two cells differ. The schedules, as optimised as wished, are those of the figures."""
    a, b = cells
    return Difference(
        a,
        b,
        (*leaf_changes(a, b), *equation_changes(a, b)),
        _figures((before, after), cells),
        (summarise(a, before).recurrence, summarise(b, after).recurrence),
        compare_graphs(a, b),
    )


def compare_graphs(before: Cell, after: Cell) -> GraphDifference:
    """Match the nodes of two cells by what they compute.

    Inputs and states correspond by their names, the others in their order; weights are
    alike where their shapes are. Equal computations count once, and neither the order of
    what commutes nor the brackets of a sum matter, as for the key.
    """
    paired = _correspondence(before, after)
    nodes = [_hashes(before, paired[0]), _hashes(after, paired[1])]
    found = [Counter(each.values()) for each in nodes]
    shared = found[0] & found[1]
    alone = [
        _ops_of(cell, each, count - shared)
        for cell, each, count in zip((before, after), nodes, found, strict=True)
    ]
    return GraphDifference(shared.total(), *alone)


def _correspondence(before: Cell, after: Cell) -> tuple[dict[str, str], dict[str, str]]:
    """One label for an input or a state of either cell and what it is in the other."""
    labels: tuple[dict[str, str], dict[str, str]] = ({}, {})
    same = before.key() == after.key()
    for kind in ("input", "state"):
        names = [list(cell.inputs if kind == "input" else cell.states) for cell in (before, after)]
        common = [] if same else [name for name in names[0] if name in names[1]]
        rest = [[name for name in some if name not in common] for some in names]
        for own, others in zip(labels, rest, strict=True):
            own |= {name: f"{kind} {name}" for name in common}
            own |= {name: f"{kind} #{place}" for place, name in enumerate(others)}
    return labels


def _hashes(cell: Cell, leaves: Mapping[str, str]) -> dict[str, str]:
    """A digest of what each distinct computation is, from the leaves up."""
    found: dict[str, str] = {}
    for name, operands in computations(cell.nodes, cell.results).items():
        node = cell.nodes[name]
        below = [found[operand] for operand in operands]
        if node.op.commutative:
            below.sort()
        label = leaves.get(name, node.op.name)
        found[name] = _digest(f"{label}{_attributes(node)}:{node.type}", below)
    return found


def _digest(label: str, below: list[str]) -> str:
    return hashlib.sha256("|".join([label, *below]).encode()).hexdigest()


def _attributes(node: Node) -> str:
    known = () if node.op.name == "draw" else node.attrs  # a draw's label is a name
    return str([(key, str(value)) for key, value in known])


def _ops_of(cell: Cell, hashes: Mapping[str, str], alone: Counter[str]) -> dict[str, int]:
    """How many nodes of each op are left over, the most frequent first."""
    left = Counter(alone)
    ops: Counter[str] = Counter()
    for name, digest in hashes.items():
        if left[digest] > 0:
            left[digest] -= 1
            ops[cell.nodes[name].op.name] += 1
    return dict(ops.most_common())


def leaf_changes(before: Cell, after: Cell) -> list[Change]:
    """Inputs, states, parameters and options that differ."""
    changes = []
    for kind in _LEAVES:
        told = [
            {n: _declared(cell, kind, n) for n in _names(cell, kind)} for cell in (before, after)
        ]
        changes += [
            Change(kind, name, told[0].get(name), told[1].get(name))
            for name in dict.fromkeys([*told[0], *told[1]])
            if told[0].get(name) != told[1].get(name)
        ]
    return changes


def _names(cell: Cell, kind: Kind) -> tuple[str, ...]:
    return {"input": cell.inputs, "state": cell.states, "param": cell.params}.get(
        kind, cell.options
    )


def _declared(cell: Cell, kind: Kind, name: str) -> str:
    """A leaf as the language declares it: ``param b_f[H] = ones()``."""
    node = cell.nodes[name]
    shape = shape_text(node.type.shape) if node.type.shape else ""
    text = f"{kind} {name}{shape}"
    if kind == "option":
        return f"{text} = {node.attr('default'):g}"
    if kind == "param":
        frozen = " frozen" if "frozen" in dict(node.attrs) else ""
        return f"{text}{frozen} = {initial_value_of(cell, name)}"
    axes = node.type.extent - {BATCH, TIME}
    text += "".join(f" along {axis}" for axis in sorted(axes))
    text += " per sequence" if node.type.extent == {BATCH} else ""
    text += " integer" if node.type.dtype == "integer" else ""
    start = cell.values("start").get(name)
    return text if start is None else f"{text} = {expression_of(cell, start)}"


def equation_changes(before: Cell, after: Cell) -> list[Change]:
    """Named values whose equations differ by more than the order of what commutes."""
    told = [equations_of(cell) for cell in (before, after)]
    meant = [_equations(cell) for cell in (before, after)]
    changes: list[Change] = []
    for name in dict.fromkeys([*told[0], *told[1]]):
        texts = [f"{name} = {each[name]}" if name in each else None for each in told]
        if not name.isdigit() and (None in texts or meant[0][name] != meant[1][name]):
            changes.append(Change("equation", name, *texts))
    outputs = [_outputs(cell) for cell in (before, after)]
    if outputs[0] != outputs[1]:
        changes.append(Change("output", "", *outputs))
    return changes


def _equations(cell: Cell) -> dict[str, str]:
    """A digest of each value's equation, in which named values stand for themselves."""
    found: dict[str, str] = {}
    for name, node in cell.nodes.items():
        operands = [found[arg] if arg.isdigit() else arg for arg in node.args]
        if node.op.commutative:
            operands.sort()
        found[name] = _digest(f"{node.op.name}{_attributes(node)}", operands)
    return found


def _outputs(cell: Cell) -> str:
    values = cell.values("output").values()
    return f"output {', '.join(expression_of(cell, value) for value in values)}"


def _figures(schedules: tuple[Schedule, Schedule], cells: tuple[Cell, Cell]) -> tuple[Figure, ...]:
    """Parameters, products and flops of two cells."""
    summaries = [summarise(c, s) for c, s in zip(cells, schedules, strict=True)]
    costs = [costs_of(schedule) for schedule in schedules]
    products = [[_products(schedule, inside) for schedule in schedules] for inside in (True, False)]
    return (
        Figure("parameters", *(summary.parameters for summary in summaries)),
        Figure("matrix products in the loop", *products[0]),
        Figure("matrix products before or after the loop", *products[1]),
        Figure(
            "products in a row in one step",
            *(Dim.of(sum(loop.depth for loop in schedule.loops)) for schedule in schedules),
        ),
        Figure("flops per step in the loop", *(cost.loop.flops for cost in costs)),
        Figure("flops per step", *(cost.step.flops for cost in costs)),
    )


def _products(schedule: Schedule, inside: bool) -> Dim:
    regions = [r for r in schedule.regions if isinstance(r, Loop) == inside]
    names = [name for region in regions for name in region.values]
    kinds = [TABLE[schedule.cell.nodes[name].op.name].kind for name in names]
    return Dim.of(kinds.count("contraction"))


def _said(change: Change) -> dict[str, str | None]:
    """A change as plain data, with the one text of what is new or gone."""
    if change.before is None or change.after is None:
        return {"kind": change.kind, "text": change.after or change.before}
    return {"kind": change.kind, "before": change.before, "after": change.after}
