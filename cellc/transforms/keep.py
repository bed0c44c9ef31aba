"""The part of a cell that some of its states and its outputs need."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from cellc.ir import Cell, Dim, Node, reached


def live_states(cell: Cell, always: Iterable[str]) -> list[str]:
    """Some states and those that they or the outputs depend on, in the cell's order."""
    nexts, starts = cell.values("next"), cell.values("start")
    live = set(always)
    while True:
        ends = [*cell.values("output").values()]
        ends += [table[state] for table in (nexts, starts) for state in live if state in table]
        more = {name for name in reached(cell.nodes, ends) if name in nexts} | live
        if more == live:
            return [state for state in cell.states if state in live]
        live = more


def only(cell: Cell, states: Collection[str]) -> Cell:
    """The cell with these states, its outputs, and what they need: no other leaf stays."""
    outer = [r for r in cell.results if r.role == "output"]
    inner = [r for r in cell.results if r.role in ("next", "start") and r.name in states]
    kept = [*outer, *inner]
    initial = cell.values("initial")
    ends = [*states, *(result.value for result in kept)]
    needed = reached(cell.nodes, ends)
    while more := [p for p in initial if p in needed and initial[p] not in needed]:
        needed |= reached(cell.nodes, [initial[param] for param in more])
    kept += [r for r in cell.results if r.role == "initial" and r.name in needed]
    results = [r for r in cell.results if r in kept]
    nodes = {name: node for name, node in cell.nodes.items() if name in needed}
    named = _named(nodes.values())
    dims = {name: argument for name, argument in cell.dims.items() if name in named}
    return replace(cell.replace(nodes, results), dims=dims)


def _named(nodes: Collection[Node]) -> set[str]:
    """The names of the dimensions that nodes mention."""
    dims = [dim for node in nodes for dim in node.type.shape]
    dims += [value for node in nodes for _, value in node.attrs if isinstance(value, Dim)]
    return {name for dim in dims for name in dim.names}
