"""The form of a loop's Jacobian and why, and how many products one step must do in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from cellc.ir import Cell, Dim
from cellc.ir.dimension import product
from cellc.ir.schedule import Recurrence
from cellc.ir.types import positions
from cellc.ops import TABLE
from cellc.passes.dependence import through
from cellc.passes.parts import ZERO, Dependence, Part, of_state
from cellc.passes.reasons import Teller


@dataclass(frozen=True)
class Finding:
    """The class of a recurrence, and the reason in words."""

    recurrence: Recurrence
    reason: str


@dataclass(frozen=True)
class _Ending:
    """How the next value of a state depends on the states.

    ``groups`` has, for every axis of the states along which it stays in its place, in how
    many groups it does; ``fine`` holds the axes where a group is one unit.
    """

    groups: Mapping[int, Dim]
    fine: frozenset[int]
    parts: Dependence


def recurrence_of(cell: Cell, members: Iterable[str], states: Sequence[str]) -> Finding:
    """The form of ∂(next)/∂(state) over the members of one loop, with its reason.

    Dense: units mix, through a product or a reduction. Block: only within groups that
    are the same for all states. Diagonal: each unit depends on itself alone. Diagonal
    affine: linearly so, which a parallel scan could compute.
    """
    inside = set(members)
    axes = _axes(cell, states)
    found: dict[str, Dependence] = {
        name: of_state(cell.nodes[name].type.shape, axes[name]) for name in states
    }
    for name in cell.nodes:
        if name in inside and name not in found:
            found[name] = through(cell, name, found)
    nexts = cell.values("next")
    ends = {
        state: _ending(cell, state, axes[state], found[nexts[state]])
        for state in states
        if nexts[state] in found
    }
    teller = Teller(cell, inside, {state: end.parts for state, end in ends.items()})
    if _is_diagonal(cell, axes, ends):
        bent = next((part.bent for end in ends.values() for part in end.parts if part.bent), "")
        if not bent:
            return Finding("diagonal affine", teller.affine())
        return Finding("diagonal", teller.bent(bent))
    blocks = _blocks(axes, ends)
    if blocks is None:
        return Finding("dense", teller.dense())
    return Finding("block", teller.blocks(blocks))


def _axes(cell: Cell, states: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The number of each dimension of each state among those of the largest state."""
    shapes = {state: cell.nodes[state].type.shape for state in states}
    frame = max(shapes.values(), key=len)
    found = {}
    for state, shape in shapes.items():
        placed = positions(shape, frame)
        found[state] = tuple(range(len(shape))) if placed is None else placed
    return found


def _ending(cell: Cell, state: str, axes: Sequence[int], parts: Dependence) -> _Ending:
    """Along which axes the parts of a next value stand where the state's units do."""
    shape = cell.nodes[state].type.shape
    depending: list[tuple[Dim, Part]] = []
    start = ZERO
    for part in parts:
        if part.along is not None:
            depending.append((start, part))
        start = start + part.size
    groups: dict[int, Dim] = {}
    fine: set[int] = set()
    for dimension, axis in enumerate(axes):
        places = [(at, part.along[dimension]) for at, part in depending if part.along]
        if any(place is None or place.axis != axis for _, place in places):
            continue
        known = [(at, place) for at, place in places if place is not None]
        begins = [at if dimension == 0 else ZERO for at, _ in known]
        if all(
            place.fine and place.groups == shape[dimension] and place.start == begin
            for begin, (_, place) in zip(begins, known, strict=True)
        ):
            groups[axis] = shape[dimension]
            fine.add(axis)
        elif len(parts) == 1 and known[0][1].whole:
            groups[axis] = known[0][1].groups
    return _Ending(groups, frozenset(fine), parts)


def _is_diagonal(
    cell: Cell, axes: Mapping[str, Sequence[int]], ends: Mapping[str, _Ending]
) -> bool:
    alike = len({cell.nodes[state].type.shape for state in ends}) == 1
    return alike and all(end.fine >= {*axes[state]} for state, end in ends.items())


def _blocks(axes: Mapping[str, Sequence[int]], ends: Mapping[str, _Ending]) -> Dim | None:
    """How many groups of units never mix; None where there is but one."""
    shared: list[Dim] = []
    for axis in set.intersection(*(set(axes[state]) for state in ends)):
        if any(axis not in end.groups for end in ends.values()):
            continue
        coarse = {end.groups[axis] for end in ends.values() if axis not in end.fine}
        each = coarse or {end.groups[axis] for end in ends.values()}
        if len(each) == 1:
            shared += each
    return product(tuple(shared)) if shared else None


def sequential_depth(cell: Cell, members: Iterable[str]) -> int:
    """The number of matrix products on the longest path within one step of a loop."""
    graph = cell.graph.subgraph(members)
    depth: dict[str, int] = {}
    for name in nx.topological_sort(graph):
        product = TABLE[cell.nodes[name].op.name].kind == "contraction"
        before = max((depth[operand] for operand in graph.predecessors(name)), default=0)
        depth[name] = before + product
    return max(depth.values(), default=0)
