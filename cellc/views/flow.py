"""A cell of many gates, drawn as its loops and what is computed at once between them.

The gate diagram is taken and everything that runs in one loop becomes one box; so does
what is computed at once and hangs together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import networkx as nx

from cellc.ir import AtOnce, Schedule
from cellc.views.names import Symbol
from cellc.views.painter import Painter, label_of

_MOST_IN_LINE = 4
_ENDS = ("input", "output")
_UNTOLD = ("state", "next", "join", "number")


def flow(painter: Painter, schedule: Schedule) -> tuple[nx.DiGraph[str], dict[str, str]]:
    """The picture of the loops, and what in it stands for each value of the step."""
    groups = _groups(painter, schedule)
    boxes = {key: box for box, keys in groups.items() for key in keys}
    picture: nx.DiGraph[str] = nx.DiGraph()
    carries = {f"loop {n}": loop.carries for n, loop in enumerate(schedule.loops)}
    for box, keys in groups.items():
        shown = _shown(painter, keys)
        if box in carries:
            label = "<BR/>".join(_told(painter, shown, carries[box]))
            picture.add_node(box, role="loop", label=label, tooltip=", ".join(carries[box]))
            picture.add_edge(box, box, diagonal=False, slot="", start=False)
        elif len(shown) < 2:
            picture.add_node(box, **painter.picture.nodes[(shown or keys)[0]])
        else:
            learned = painter.picture.nodes[shown[0]]["role"] == "learned"
            role = "region" if learned else "ellipse"
            label = "<BR/>".join(_told(painter, shown, ()))
            picture.add_node(box, role=role, label=label, tooltip="computed at once")
    for source, target, wire in painter.picture.edges(data=True):
        tail, head = boxes.get(source), boxes.get(target)
        if tail is not None and head is not None and tail != head:
            _connect(painter, picture, (tail, head), source, wire["start"])
    return picture, {name: boxes[key] for name, key in painter.stands_for.items()}


def _groups(painter: Painter, schedule: Schedule) -> dict[str, list[str]]:
    """The things of the gate diagram by the box that they become."""
    loops = {
        name: f"loop {n}"
        for n, loop in enumerate(schedule.loops)
        for name in (*loop.values, *loop.carries)
    }
    at_once = {
        name: n
        for n, region in enumerate(schedule.regions)
        if isinstance(region, AtOnce)
        for name in region.values
    }
    groups: dict[str, list[str]] = {}
    rest: dict[int, list[str]] = {}
    for key, item in painter.picture.nodes(data=True):
        name = _value(key)
        if item["role"] in _ENDS:
            groups[key] = [key]
        elif item["role"] == "next":
            groups.setdefault(loops[key.removeprefix("next ")], []).append(key)
        elif name in loops:
            groups.setdefault(loops[name], []).append(key)
        else:
            rest.setdefault(at_once.get(name, -1), []).append(key)
    for keys in rest.values():
        parts = nx.weakly_connected_components(painter.picture.subgraph(keys))
        hanging = [[key for key in keys if key in part] for part in parts]
        groups |= {part[0]: part for part in sorted(hanging, key=lambda p: keys.index(p[0]))}
    return groups


def _shown(painter: Painter, keys: Iterable[str]) -> list[str]:
    """The learned boxes among some things, in the cell's order; all where there is none."""
    roles = painter.picture.nodes(data="role")
    place = {name: number for number, name in enumerate(painter.cell.nodes)}
    keys = [key for key in keys if roles[key] not in _UNTOLD]
    keys.sort(key=lambda key: place.get(_value(key), -1))
    return [key for key in keys if roles[key] == "learned"] or keys


def _told(painter: Painter, shown: list[str], carries: Iterable[str]) -> list[str]:
    """The lines of a box: what it belongs to, its gates, the states that it carries."""
    items = painter.picture.nodes
    named = [k for k in shown if items[k]["role"] == "learned" and "<BR/>" in items[k]["label"]]
    symbols = [_symbol(painter, key) for key in (*named, *carries)]
    above = {symbol.above for symbol in symbols[: len(named)] or symbols}
    common = above.pop() if len(above) == 1 else ()
    common = () if common[:1] and common[0].isdecimal() else common
    title = [f"<B>{' '.join(common)}</B>"] if common else []
    texts = [_inline(painter, key, common) for key in shown]
    rows = [texts[n : n + _MOST_IN_LINE] for n in range(0, len(texts), _MOST_IN_LINE)]
    carried = ", ".join(_named(painter, state, common) for state in carries)
    lines = [*title, *(" &nbsp; ".join(row) for row in rows)]
    return [*lines, f"carries {carried}"] if carried else lines


def _inline(painter: Painter, key: str, common: tuple[str, ...]) -> str:
    """A thing in a line of others: ``σ f``."""
    item = painter.picture.nodes[key]
    glyph, _, named = item["label"].partition("<BR/>")
    named = named and item["role"] == "learned"
    return f"{glyph} {_named(painter, key, common)}" if named else str(glyph)


def _named(painter: Painter, key: str, common: tuple[str, ...]) -> str:
    symbol = _symbol(painter, key)
    return label_of(replace(symbol, above=() if symbol.above == common else symbol.above))


def _symbol(painter: Painter, key: str) -> Symbol:
    return painter.naming.taken_apart(_value(key).rstrip("'"))


def _value(key: str) -> str:
    """The value that a thing of the gate diagram stands for."""
    return key.removesuffix(" linear")


def _connect(
    painter: Painter,
    picture: nx.DiGraph[str],
    ends: tuple[str, str],
    source: str,
    start: bool,
) -> None:
    """A wire between two boxes, with the names of what flows through it."""
    symbol = _symbol(painter, source)
    named = picture.nodes[ends[0]]["role"] == "loop" and source in painter.cell.nodes
    label = label_of(Symbol(symbol.stem, symbol.below)) if named and not source.isdigit() else ""
    if picture.has_edge(*ends):
        before = picture.edges[ends]["label"]
        label = ", ".join(dict.fromkeys(filter(None, (*before.split(", "), label))))
    picture.add_edge(*ends, diagonal=False, slot="", start=start, label=label)
