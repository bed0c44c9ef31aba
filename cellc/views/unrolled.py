"""A cell over a few steps: blocks from left to right, and what they carry between them.

A backward layer runs from right to left. Steps along another axis follow those of time.
"""

from __future__ import annotations

import networkx as nx

from cellc.ir import TIME
from cellc.views.blocks import Blocks
from cellc.views.board import Board, Cell, rows_of
from cellc.views.copies import Copies


def unrolled(blocks: Blocks, steps: int) -> tuple[Board, dict[str, str]]:
    """The copies in their places, and what stands for each value of the step."""
    copies = Copies(blocks, steps)
    copies.bundle()
    shown = {v: copies.node(key, steps) for v, key in blocks.painter.stands_for.items()}
    return _board(copies), shown


def _board(copies: Copies) -> Board:
    """Columns for steps, one axis after the other, and rows as for one step."""
    at: dict[str, Cell] = {}
    offset = 1
    parts = _parts(copies)
    rows = [_rows(copies, part) for part in parts]
    low = max((row for part in rows for _, row in part.values()), default=1)
    for part, local in zip(parts, rows, strict=True):
        inputs = any(copies.picture.nodes[copy]["role"] == "input" for copy in part)
        blocks = [row for copy, (_, row) in at.items() if copy in copies.blocks_of]
        lowest = low if inputs or not blocks else min(blocks)
        down = max(0, lowest - max((row for _, row in local.values()), default=lowest))
        wide = 1 + max((column for column, _ in local.values()), default=0)
        last = max((copies.thing[copy][1] for copy in part), default=1)
        for copy in part:
            thing, step = copies.thing[copy]
            step = last + 1 - step if thing in copies.turned else step
            column, row = local[thing]
            is_output = copies.picture.nodes[copy]["role"] == "output"
            at[copy] = (offset + (step - 1) * wide + column, row if is_output else row + down)
        offset += last * wide + 2
    roles: dict[str, str] = dict(copies.picture.nodes(data="role"))
    _place_ends(copies, at, low)
    for copy, (thing, _) in copies.thing.items():
        if thing in copies.turned and roles[copy] == "block":
            roles[copy] = "turned block"
    for home in copies.carried.keys() & copies.turned:
        roles |= {f"states {home}": "turned state", f"nexts {home}": "turned next"}
    return Board(copies.picture, at, _rails(copies, at), roles)


def _parts(copies: Copies) -> list[list[str]]:
    """The copies in the order of their columns: each axis, what is there before, what follows."""
    picture, roles = copies.picture, dict(copies.picture.nodes(data="role"))
    axes = {copy: copies.axis_of(copy) for copy in copies.thing}
    order = sorted({axis for axis in axes.values() if axis}, key=lambda axis: (axis != TIME, axis))
    parts: list[list[str]] = [[] for _ in range(2 * len(order) + 1)]
    for copy, axis in axes.items():
        if axis:
            parts[2 * order.index(axis) + 1].append(copy)
            continue
        before = [axes[k] for k in nx.ancestors(picture, copy) if axes.get(k)]
        after = [axes[k] for k in nx.descendants(picture, copy) if axes.get(k)]
        late = max((order.index(a) for a in before if a), default=-1)
        first = min((order.index(a) for a in after if a), default=len(order))
        near = 2 * late + 2 if before or roles[copy] != "input" else 2 * first
        parts[min(near, 2 * len(order))].append(copy)
    return [part for part in parts if part]


def _rows(copies: Copies, part: list[str]) -> dict[str, Cell]:
    """Column and row of the things of a part, as if there were one step."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    inside = set(part)
    graph.add_nodes_from(dict.fromkeys(copies.thing[copy][0] for copy in part))
    for a, b in copies.picture.edges:
        if a in inside and b in inside and copies.is_level(a, b):
            graph.add_edge(copies.thing[a][0], copies.thing[b][0])
    roles = {copies.thing[copy][0]: copies.picture.nodes[copy]["role"] for copy in part}
    return rows_of(graph, dict.fromkeys(copies.carried, True), roles)


def _place_ends(copies: Copies, at: dict[str, Cell], low: int) -> None:
    """States before the first step and behind the last, beside their blocks."""
    right = 1 + max((column for column, _ in at.values()), default=0)
    for home in copies.carried:
        if not {f"states {home}", f"nexts {home}"} & set(copies.picture):
            continue
        mine = [at[copy] for copy, (thing, _) in copies.thing.items() if thing == home]
        columns = [column for column, _ in mine] or [1, right - 1]
        row = mine[0][1] if mine else low + 1
        low += not mine
        ends = [min(columns) - 1, max(columns) + 1]
        begin, end = reversed(ends) if home in copies.turned else ends
        for key, column in ((f"states {home}", begin), (f"nexts {home}", end)):
            if key in copies.picture:
                at[key] = column, row


def _rails(copies: Copies, at: dict[str, Cell]) -> dict[str, list[str]]:
    """What a block carries from step to step, to the right."""
    return {
        f"{a} {b}": [a, b] for a, b in copies.picture.edges
        if copies.is_carried(a, b) and at[a][0] < at[b][0] and at[a][1] == at[b][1]
    }  # fmt: skip
