"""Blocks on a board: a row for each block and its states, from the inputs below upwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import networkx as nx

Cell = tuple[int, int]


@dataclass
class Board:
    """Columns and rows of things, as :class:`~cellc.views.placement.Placement` has them.

    ``rails`` are ways from left to right that are straight, ``roles`` say where wires leave and
    enter: those of the picture, unless others are given.
    """

    picture: nx.DiGraph[str]
    at: Mapping[str, Cell]
    rails: Mapping[str, list[str]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roles = self.roles or dict(self.picture.nodes(data="role"))


def levels(graph: nx.DiGraph[str]) -> dict[str, int]:
    """How many things come before each at most; what only feeds later ones is near them."""
    level: dict[str, int] = {}
    for key in nx.topological_sort(graph):
        level[key] = 1 + max((level[k] for k in graph.predecessors(key)), default=-1)
    for key in reversed(list(nx.topological_sort(graph))):
        after = [level[k] for k in graph.successors(key)]
        if after and not list(graph.predecessors(key)):
            level[key] = min(after) - 1
    return level


def rows_of(
    graph: nx.DiGraph[str], alone: Mapping[str, bool], ends: Mapping[str, str]
) -> dict[str, Cell]:
    """Column and row of things that follow each other, the first at the bottom.

    ``alone`` has a row of its own; inputs stand in the last row, outputs in row 0. Columns count
    from 0.
    """
    level = levels(graph)
    inner = [key for key in graph if ends.get(key) not in ("input", "output")]
    at: dict[str, Cell] = {}
    row = 1
    for number in sorted({level[key] for key in inner}, reverse=True):
        here = [key for key in inner if level[key] == number]
        shared = [key for key in here if not alone.get(key)]
        at |= {key: (column, row) for column, key in enumerate(shared)}
        row += bool(shared)
        for column, key in enumerate(key for key in here if alone.get(key)):
            at[key] = (column, row)
            row += 1
    for end, place in (("output", 0), ("input", row)):
        keys = [key for key in graph if ends.get(key) == end]
        at |= {key: (column, place) for column, key in enumerate(keys)}
    return at
