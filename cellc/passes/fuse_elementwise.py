"""One operation on neighbouring slices becomes one on the joined slice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from cellc.ir import NOWHERE, Cell, Dim, Node
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.loops import loops_of

Role = tuple[str, str]


@dataclass(frozen=True)
class FuseElementwise:
    """Applies an elementwise op once to slices that lie side by side.

    Operands without extent, such as biases, are joined once per call.

    Before::

        %f = sigmoid(%1) : [H] over {batch, time}
        %i = sigmoid(%2) : [H] over {batch, time}

    with ``%1`` and ``%2`` neighbouring slices of ``%s``. After::

        %3 = sigmoid(%s) : [2*H] over {batch, time}
        %f = slice(%3) {start=(0), stop=(H)} : [H] over {batch, time}
        %i = slice(%3) {start=(H), stop=(2*H)} : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        while True:
            runs = [run for group in _groups(cell).values() for run in _runs(cell, group)]
            if not runs:
                return cell
            edit = Edit(cell)
            for name in cell.nodes:
                edit.keep(name)
            for members in runs:
                _widen(edit, members)
            cell = Dce().run(cell.replace(in_order(edit.nodes)))


def _groups(cell: Cell) -> dict[tuple[str, tuple[Role, ...], int | None], list[str]]:
    """Elementwise nodes of one op in one loop, or in none, whose operands have the same roles."""
    loops = loops_of(cell)
    groups: dict[tuple[str, tuple[Role, ...], int | None], list[str]] = {}
    for name, node in cell.nodes.items():
        if getattr(node.op, "kind", "") != "elementwise" or not node.type.shape:
            continue
        roles = tuple(_role(cell, node, argument) for argument in node.args)
        if any(kind == "piece" for kind, _ in roles) and all(kind for kind, _ in roles):
            groups.setdefault((node.op.name, roles, loops.get(name)), []).append(name)
    return {key: names for key, names in groups.items() if len(names) > 1}


def _role(cell: Cell, user: Node, argument: str) -> Role:
    """How an operand widens: as a piece of a base, by joining, unchanged, or not at all."""
    node = cell.nodes[argument]
    if not node.type.shape:
        return "same", argument
    if node.type.shape != user.type.shape:
        return "", ""
    if node.op.name == "slice" and not dict(node.attrs).get("axis"):
        return "piece", node.args[0]
    return ("own", "") if node.type.extent == NOWHERE else ("", "")


def _runs(cell: Cell, names: list[str]) -> list[list[str]]:
    """The longest runs of two or more nodes whose slices lie side by side."""
    waiting = list(names)
    followers = {_ends(cell, name, "start"): name for name in names}
    preceded = {_ends(cell, name, "stop") for name in names}
    runs = []
    for name in waiting:
        if _ends(cell, name, "start") in preceded:
            continue
        run = [name]
        while (after := followers.get(_ends(cell, run[-1], "stop"))) is not None:
            run.append(after)
        if len(run) > 1:
            runs.append(run)
    return runs


def _ends(cell: Cell, name: str, end: str) -> tuple[object, ...]:
    """Where the slices that a node reads start or stop."""
    node = cell.nodes[name]
    pieces = [
        cell.nodes[argument] for argument in node.args if _role(cell, node, argument)[0] == "piece"
    ]
    return tuple(piece.attr(end) for piece in pieces)


def _widen(edit: Edit, members: list[str]) -> None:
    first = edit.nodes[members[0]]
    spans = spans_of(edit.nodes, members)
    args = []
    for slot, argument in enumerate(first.args):
        kind, base = _role(edit.cell, first, argument)
        operands = [edit.nodes[member].args[slot] for member in members]
        if kind == "piece":
            args.append(_joined_slice(edit, base, operands))
        elif kind == "own":
            args.append(edit.add("concat", operands, spans))
        else:
            args.append(argument)
    wide = edit.add(first.op.name, args, spans, **dict(first.attrs))
    start = Dim.of(0)
    for member in members:
        node = edit.nodes[member]
        stop = start + node.type.shape[0]
        piece = edit.add("slice", [wide], node.spans, start=start, stop=stop)
        edit.nodes[member] = edit.nodes.pop(piece)
        start = stop


def _joined_slice(edit: Edit, base: str, pieces: list[str]) -> str:
    """The slice that covers neighbouring slices; the base itself where it is all of it."""
    cells = edit.cell.nodes
    assert all(cells[a].attr("stop") == cells[b].attr("start") for a, b in pairwise(pieces))
    start, stop = cells[pieces[0]].attr("start"), cells[pieces[-1]].attr("stop")
    if start == Dim.of(0) and stop == edit.nodes[base].type.shape[0]:
        return base
    return edit.add("slice", [base], spans_of(cells, pieces), start=start, stop=stop)
