"""When each value is known: the scheduled form of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from cellc.ir import (
    BATCH,
    NOWHERE,
    TIME,
    AtConstruction,
    AtOnce,
    Cell,
    Loop,
    Once,
    Region,
    Schedule,
)
from cellc.passes.loops import with_recurrence
from cellc.passes.recurrence import recurrence_of, sequential_depth


@dataclass(frozen=True)
class Scheduler:
    """Condenses the cell into loops and regions that run at once.

    A value without extent is computed once per call. A cyclic component of the graph
    with recurrence is a loop; all other values are computed at once for their whole
    extent, as early as what they need is known.
    """

    def run(self, cell: Cell) -> Schedule:
        graph = with_recurrence(cell)
        components = list(nx.strongly_connected_components(graph))
        level = _levels(graph, components)
        needed = _needed(cell)
        regions: list[Region] = []
        once = [n for n, node in cell.nodes.items() if node.type.extent == NOWHERE and n in needed]
        if once:
            regions.append(Once(tuple(once)))
        done = set(once)
        cyclic = [c for c in components if _is_loop(graph, c)]
        looped = {name for component in cyclic for name in component}
        rank = {name: place for place, name in enumerate(cell.nodes)}
        order = nx.lexicographical_topological_sort(graph.subgraph(set(rank) - looped), rank.get)
        order = list(order)
        for stage in range(max(level.values(), default=0) + 1):
            plain = [
                n for n in order if level[n] == stage and n in needed and n not in done | looped
            ]
            if plain:
                regions.append(AtOnce(tuple(plain), frozenset({BATCH, TIME})))
            done.update(plain)
            for component in cyclic:
                if level[next(iter(component))] == stage:
                    regions.append(_loop(cell, component))
        placed = {name for region in regions for name in region.values}
        rest = tuple(name for name in cell.nodes if name not in placed)
        if rest:
            regions.append(AtConstruction(rest))
        names = [name for region in regions for name in region.values]
        return Schedule(cell.replace({n: cell.nodes[n] for n in names}), tuple(regions))


def _needed(cell: Cell) -> set[str]:
    """Every value that a call computes, and all inputs and states."""
    needed = {r.value for r in cell.results if r.role not in ("initial", "start")}
    needed |= {*cell.inputs, *cell.states}
    for name in reversed(list(cell.nodes)):
        if name in needed:
            needed.update(cell.nodes[name].args)
    return needed


def _is_loop(graph: nx.DiGraph[str], component: set[str]) -> bool:
    return len(component) > 1 or any(graph.has_edge(name, name) for name in component)


def _levels(graph: nx.DiGraph[str], components: list[set[str]]) -> dict[str, int]:
    """How many loops precede a value; a loop's own values count without it."""
    condensed = nx.condensation(graph, components)
    level: dict[int, int] = {}
    for number in nx.topological_sort(condensed):
        before = [
            level[p] + _is_loop(graph, condensed.nodes[p]["members"])
            for p in condensed.predecessors(number)
        ]
        level[number] = max(before, default=0)
    return {
        name: level[number] for number in condensed for name in condensed.nodes[number]["members"]
    }


def _loop(cell: Cell, component: set[str]) -> Loop:
    values = tuple(name for name in cell.nodes if name in component)
    carries = tuple(name for name in values if cell.nodes[name].op.name == "state")
    return Loop(
        values,
        TIME,
        carries,
        recurrence_of(cell, values, carries),
        sequential_depth(cell, values),
        frozenset({BATCH, TIME}),
    )
