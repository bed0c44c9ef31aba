"""One step of a cell with closed blocks: states enter at the left and leave at the right."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from cellc.views.blocks import Blocks, carried, label_at
from cellc.views.board import Board, Cell, rows_of
from cellc.views.bundles import bundled

_STATES, _NEXT = "states of ", "next "


def closed(blocks: Blocks) -> tuple[Board, dict[str, str]]:
    """The blocks in their places, and what stands for each value of the step."""
    picture, of = contracted(blocks)
    homes = {of[state]: home for home, states in carried(blocks).items() for state in states}
    rails = {key: [key, home, _NEXT + key] for key, home in homes.items() if home in blocks.titles}
    return Board(picture, _at(picture, homes), rails), {
        v: of[k] for v, k in blocks.painter.stands_for.items()
    }


def contracted(blocks: Blocks) -> tuple[nx.DiGraph[str], dict[str, str]]:
    """The picture with blocks, and what in it is for each thing of the gate diagram.

    States that enter and leave by one block alone are one thing.
    """
    painter, of = blocks.painter, dict(blocks.of)
    picture: nx.DiGraph[str] = nx.DiGraph()
    for home, states in carried(blocks).items():
        if home in blocks.titles:
            key, told = _STATES + home, ", ".join(states)
            for each, role, later in ((key, "state", 0), (_NEXT + key, "next", 1)):
                label = label_at(painter, states, later=later)
                picture.add_node(each, role=role, label=label, tooltip=told, kind="")
            of |= dict.fromkeys(states, key) | {_NEXT + s: _NEXT + key for s in states}
    for key, item in painter.picture.nodes(data=True):
        where = of[key]
        if where not in picture:
            picture.add_node(where, **(blocks.item(where) if where in blocks.titles else item))
    for a, b, wire in painter.picture.edges(data=True):
        if of[a] != of[b] and not picture.has_edge(of[a], of[b]):
            picture.add_edge(of[a], of[b], **wire)
    return bundled(picture), of


def _at(picture: nx.DiGraph[str], homes: Mapping[str, str]) -> dict[str, Cell]:
    """Column and row of everything; states beside their blocks."""
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
            home = homes.get(key.removeprefix(_NEXT) if role == "next" else key, "")
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
