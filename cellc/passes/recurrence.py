"""The form of a loop's Jacobian, and how many products one step must do in a row."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import networkx as nx

from cellc.ir import Cell
from cellc.ir.schedule import Recurrence
from cellc.ops import TABLE


class Dependence(IntEnum):
    """How a value depends on the states of a loop, from the simplest form on."""

    NONE = 0
    DIAGONAL_AFFINE = 1
    DIAGONAL = 2
    DENSE = 3


_NAMES: dict[Dependence, Recurrence] = {
    Dependence.NONE: "diagonal affine",
    Dependence.DIAGONAL_AFFINE: "diagonal affine",
    Dependence.DIAGONAL: "diagonal",
    Dependence.DENSE: "dense",
}


def recurrence_of(cell: Cell, members: Iterable[str], states: Iterable[str]) -> Recurrence:
    """The form of ∂(next)/∂(state) over the members of one loop.

    Dense: units mix, through a product or a reduction. Diagonal: each unit depends on
    itself alone. Diagonal affine: linearly so, which a parallel scan could compute.
    """
    states = set(states)
    inside = set(members)
    found: dict[str, Dependence] = {}
    for name in cell.nodes:
        if name in states:
            found[name] = Dependence.DIAGONAL_AFFINE
        elif name in inside:
            found[name] = _through(cell, name, found)
    nexts = cell.values("next")
    return _NAMES[max(found.get(nexts[state], Dependence.NONE) for state in states)]


def _through(cell: Cell, name: str, found: dict[str, Dependence]) -> Dependence:
    node = cell.nodes[name]
    depends = {
        slot: found[argument]
        for slot, argument in enumerate(node.args)
        if found.get(argument, Dependence.NONE)
    }
    if not depends:
        return Dependence.NONE
    op = TABLE[node.op.name]
    if op.kind != "elementwise" or Dependence.DENSE in depends.values():
        return Dependence.DENSE
    if any(cell.nodes[node.args[slot]].type.shape != node.type.shape for slot in depends):
        return Dependence.DENSE
    linear = any(depends.keys() <= slots for slots in op.linear)
    return max(*depends.values(), Dependence.DIAGONAL_AFFINE if linear else Dependence.DIAGONAL)


def sequential_depth(cell: Cell, members: Iterable[str]) -> int:
    """The number of matrix products on the longest path within one step of a loop."""
    graph = cell.graph.subgraph(members)
    depth: dict[str, int] = {}
    for name in nx.topological_sort(graph):
        product = TABLE[cell.nodes[name].op.name].kind == "contraction"
        before = max((depth[operand] for operand in graph.predecessors(name)), default=0)
        depth[name] = before + product
    return max(depth.values(), default=0)
