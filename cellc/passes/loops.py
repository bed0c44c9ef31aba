"""Which values depend on themselves through the steps of an axis."""

from __future__ import annotations

import networkx as nx

from cellc.ir import NOWHERE, Cell


def with_recurrence(cell: Cell) -> nx.DiGraph[str]:
    """The cell's graph with an edge from each next value to its state.

    A start that is computed from what a call is given leads to its state as well.
    """
    graph: nx.DiGraph[str] = nx.DiGraph(cell.graph.edges)
    graph.add_nodes_from(cell.nodes)
    graph.add_edges_from((value, state) for state, value in cell.values("next").items())
    graph.add_edges_from((value, state) for state, value in computed_starts(cell).items())
    return graph


def computed_starts(cell: Cell) -> dict[str, str]:
    """The states whose start is computed at every call, with its value."""
    starts = cell.values("start")
    return {s: v for s, v in starts.items() if cell.nodes[v].type.extent != NOWHERE}


def loops_of(cell: Cell) -> dict[str, int]:
    """For every value that is part of a loop, the number of that loop."""
    members: dict[str, int] = {}
    graph = with_recurrence(cell)
    for number, component in enumerate(nx.strongly_connected_components(graph)):
        if len(component) > 1 or any(graph.has_edge(name, name) for name in component):
            members.update(dict.fromkeys(component, number))
    return members
