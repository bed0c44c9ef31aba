"""One gate diagram of two cells, in which what a cell changes against its base is marked.

What only the cell has is ``added``; what only the base has is ``removed`` and stands there as a
ghost; ``changed`` is what is there in both with other operands or weights, and the rest is in
``both``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from html import escape

import networkx as nx

from cellc.ir import Cell, Result
from cellc.views.canvas import Canvas
from cellc.views.caption import caption
from cellc.views.diff import equation_changes, leaf_changes
from cellc.views.drawing import Drawing
from cellc.views.matching import Pairs
from cellc.views.page import Line, Page
from cellc.views.painter import Painter, box_of
from cellc.views.placed import placed
from cellc.views.ranked import ranked

_SIGNS = {"removed": "−", "added": "+"}
_NOTHING = [("", "no equation differs")]


def overlay(cell: Cell, base: Cell, renamed: Mapping[str, str], page: Page) -> Drawing:
    """The gate diagram of a cell with what it changes against a base, which may be any other.

    ``renamed`` says what values of the base are called in the cell. Captions are the equations
    that differ. Raises CellcError ``unknown-theme``.
    """
    named = named_alike(cell, base, renamed)
    painters = Painter(named[0]), Painter(named[1])
    for painter in painters:
        painter.paint()
    picture, shown = union(*painters), painters[0].stands_for
    stands_for = {
        old: shown[new] for old, new in zip(cell.nodes, named[0].nodes, strict=True) if new in shown
    }
    differing = lines_that_differ(cell, base, renamed)
    lines = [(mark, f"{_SIGNS[mark]}  {text}") for mark, text in differing] or _NOTHING
    marks = {"both": "in both", "added": f"only in {cell.name}", "removed": f"only in {base.name}",
             "changed": "other operands or weights"}  # fmt: skip
    if (geometry := placed(picture)) is None:
        dot = ranked(cell, picture, page, lines, marks)
        return page.drawing(cell, dot, "dot", stands_for)
    canvas = Canvas(cell.name, page.colours)
    canvas.geometry(geometry)
    page.finish(canvas, cell, geometry, lines, marks)
    return page.drawing(cell, canvas.source, "nop2", stands_for)


def named_alike(cell: Cell, base: Cell, renamed: Mapping[str, str]) -> tuple[Cell, Cell]:
    """Both cells, in which what is the same is called the same.

    Names are those of the cell. Where the base calls something else so, they are its names: it
    may be what is derived from the cell. Where that is no help, names stay as they are.
    """
    back = {new: old for old, new in renamed.items()}
    if _are_distinct(base, renamed):
        return cell, under_new_names(base, renamed)
    return (under_new_names(cell, back) if _are_distinct(cell, back) else cell), base


def _are_distinct(cell: Cell, renamed: Mapping[str, str]) -> bool:
    """Whether no two values of a cell would have one name."""
    return len({_renamed(name, renamed) for name in cell.nodes}) == len(cell.nodes)


def under_new_names(base: Cell, renamed: Mapping[str, str]) -> Cell:
    """A base whose values are called as in the cell that is derived from it."""
    names = {name: _renamed(name, renamed) for name in base.nodes}
    nodes = {
        names[name]: replace(node, args=tuple(names[a] for a in node.args))
        for name, node in base.nodes.items()
    }
    results = tuple(
        Result(r.role, r.name if r.role == "output" else _renamed(r.name, renamed), names[r.value])
        for r in base.results
    )
    comments = {names.get(name, name): text for name, text in base.comments.items()}
    return replace(base, nodes=nodes, results=results, comments=comments)


def _renamed(name: str, renamed: Mapping[str, str]) -> str:
    """The new name; that of a state goes with its next value."""
    if name in renamed or not name.endswith("'"):
        return renamed.get(name, name)
    return renamed.get(name[:-1], name[:-1]) + "'"


def union(new: Painter, old: Painter) -> nx.DiGraph[str]:
    """The picture of both, in which things and wires bear a ``mark``.

    A wire that is there in both, drawn otherwise, has ``was``: its looks in the base.
    """
    pairs = Pairs(new.picture, old.picture)
    contents = _contents(new), _contents(old)
    both: nx.DiGraph[str] = nx.DiGraph()
    both.add_nodes_from((k, item | {"mark": "added"}) for k, item in new.picture.nodes.items())
    for key, item in old.picture.nodes(data=True):
        twin = pairs.once.get(key)
        if twin is None:
            both.add_node(pairs.shown(key), **item, mark="removed")
        else:
            changed = pairs.differ(key, twin) or contents[1].get(key) != contents[0].get(twin)
            both.nodes[twin]["mark"] = "changed" if changed else "both"
            was = item["tooltip"].split("\n")[0]
            if changed and was != both.nodes[twin]["tooltip"].split("\n")[0]:
                both.nodes[twin]["tooltip"] += f"\nbefore: {was}"
    for ends, wire in new.picture.edges.items():
        both.add_edge(*ends, **wire, mark="added")
    for source, target, wire in old.picture.edges(data=True):
        ends = pairs.shown(source), pairs.shown(target)
        if not both.has_edge(*ends):
            both.add_edge(*ends, **wire, mark="removed")
        elif new.picture.edges[ends] == wire:
            both.edges[ends]["mark"] = "both"
        else:
            both.edges[ends].update(mark="changed", was=wire)
    return both


def _contents(painter: Painter) -> dict[str, str]:
    """A digest of what each thing has absorbed; weights are alike where their shapes are."""
    picture = painter.picture
    found = {}
    for key in [key for key in picture if key in painter.nodes and picture.in_degree(key)]:
        found[box_of(key) if box_of(key) in picture else key] = _content(painter, key, key)
    return found


def _content(painter: Painter, name: str, key: str) -> str:
    """A digest of a value as far as a thing has absorbed it."""
    if name != key and name in painter.picture:
        return "wire"
    node = painter.nodes[name]
    inside = [_content(painter, argument, key) for argument in node.args]
    if node.op.commutative:
        inside.sort()
    known = [f"{k}={v}" for k, v in node.attrs if node.op.name != "draw"]
    text = "|".join([node.op.name, str(node.type) if node.op.leaf else "", *known, *inside])
    return hashlib.sha256(text.encode()).hexdigest()


def lines_that_differ(cell: Cell, base: Cell, renamed: Mapping[str, str]) -> list[Line]:
    """The equations that differ, in Graphviz's HTML, each with its mark, the old one first.

    Where none does, these are the declarations.
    """
    new, old = named_alike(cell, base, renamed)
    either = {change.kind for change in equation_changes(base, cell)}
    changes = [change for change in equation_changes(old, new) if change.kind in either]
    lines = caption(old), caption(new)
    return [
        (mark, text.get(change.name) or escape(plain))
        for change in changes or leaf_changes(old, new)
        for mark, text, plain in zip(_SIGNS, lines, (change.before, change.after), strict=True)
        if plain is not None
    ]
