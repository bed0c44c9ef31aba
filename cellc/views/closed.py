"""One step of a cell with closed blocks: states enter at the left and leave at the right."""

from __future__ import annotations

import networkx as nx

from cellc.views.blocks import Blocks, carried, states_label
from cellc.views.board import Board, Cell, rows_of
from cellc.views.geometry import Geometry, with_bars

_BEFORE, _AFTER = "states ", "nexts "


def closed(blocks: Blocks) -> tuple[Geometry, dict[str, str]]:
    """The picture of the blocks, and what in it stands for each value of the step."""
    painter, of = blocks.painter, dict(blocks.of)
    homes = carried(blocks)
    picture: nx.DiGraph[str] = nx.DiGraph()
    for home, states in homes.items():
        ends = [end for state in states if (end := f"next {state}") in painter.picture]
        now = painter.naming.step(states[0])
        for key, role, step, members in (
            (_BEFORE + home, "state", None, states),
            (_AFTER + home, "next", now, ends),
        ):
            if members:
                label, told = states_label(painter, states, step), ", ".join(states)
                picture.add_node(key, role=role, label=label, tooltip=told, kind="")
                of |= dict.fromkeys(members, key)
    for key, item in painter.picture.nodes(data=True):
        where = of[key]
        if where not in picture:
            picture.add_node(where, **(blocks.item(where) if where in blocks.titles else item))
    for a, b, wire in painter.picture.edges(data=True):
        if of[a] != of[b] and not picture.has_edge(of[a], of[b]):
            picture.add_edge(of[a], of[b], **wire)
    picture = with_bars(picture)
    rails = {home: [_BEFORE + home, home, _AFTER + home] for home in homes if home in blocks.titles}
    board = Board(picture, _at(picture), rails)
    return Geometry(picture, board), {v: of[key] for v, key in painter.stands_for.items()}


def _at(picture: nx.DiGraph[str]) -> dict[str, Cell]:
    """Column and row of everything."""
    roles = dict(picture.nodes(data="role"))
    inner = [key for key, role in roles.items() if role not in ("state", "next")]
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(inner)
    graph.add_edges_from((a, b) for a, b in picture.edges if a in graph and b in graph)
    own = {key: any(roles[k] == "state" for k in picture.predecessors(key)) for key in inner}
    at = {key: (column + 1, row) for key, (column, row) in rows_of(graph, own, roles).items()}
    last = 1 + max(column for column, _ in at.values())
    low = 1 + max(row for _, row in at.values())
    for key, role in roles.items():
        if role in ("state", "next"):
            home = key.removeprefix(_BEFORE).removeprefix(_AFTER)
            at[key] = (0 if role == "state" else last, at[home][1] if home in at else low)
    return _spread(at)


def _spread(at: dict[str, Cell]) -> dict[str, Cell]:
    """Places of which no two are the same: what comes later moves down."""
    taken: set[Cell] = set()
    for key, (column, row) in at.items():
        while (column, row) in taken:
            row += 1
        taken.add((column, row))
        at[key] = (column, row)
    return at
