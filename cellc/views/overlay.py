"""One gate diagram of two cells, in which what a cell changes against its base is marked.

What only the cell has is ``added``; what only the base has is ``removed`` and stands there as a
ghost; ``changed`` is what is there in both with other operands or weights.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import product
from typing import Any

import networkx as nx
import pygraphviz

from cellc.ir import Cell, Result
from cellc.ops.notation import equations_of
from cellc.views.canvas import Canvas
from cellc.views.caption import caption
from cellc.views.diff import equation_changes, leaf_changes
from cellc.views.drawing import Drawing
from cellc.views.geometry import Geometry, Size, Spot
from cellc.views.legend import add_legend
from cellc.views.names import step_values
from cellc.views.page import Page
from cellc.views.painter import Painter
from cellc.views.ranked import ranked
from cellc.views.routing import NoWay
from cellc.views.theme import Theme
from cellc.views.wires import things_told, wire_looks

#: What precedes the name of a thing that only the base has; no name of a cell has such a sign.
GHOST = "before-"

#: The marks from the back to the front; what both cells have bears none.
_MARKS = ("removed", "", "changed", "added")
_SIGNS = {"removed": "−", "added": "+"}
_NOTHING, _MOST_ROUTED = "no equation differs", 100
_UNNAMED = re.compile(r"\d+\b")

#: The outline and the tint of each mark.
Inks = Mapping[str, tuple[str, str]]
Item = Mapping[str, str]
Place = tuple[Spot, Size]


def overlay(cell: Cell, base: Cell, renamed: Mapping[str, str], page: Page) -> Drawing:
    """The gate diagram of a cell with what it changes against a base, which may be any other.

    ``renamed`` says what values of the base are called in the cell. Captions are the equations
    that differ. Raises CellcError ``unknown-theme``.
    """
    canvas, inks = Canvas(cell.name, page.colours), _INKS[page.theme]
    painters = Painter(cell), Painter(under_new_names(base, renamed))
    for painter in painters:
        painter.paint()
    picture, stands_for = union(*painters), painters[0].stands_for
    if (geometry := placed(picture)) is None:
        return page.drawing(cell, _ranked(cell.name, picture, page, inks), "dot", stands_for)
    canvas.graph.graph_attr["outputorder"] = "nodesfirst"
    _draw(canvas, geometry, inks)
    middle = (canvas.low[0] + canvas.high[0]) / 2
    if page.legend:
        _explain(canvas, geometry, inks, (cell.name, base.name))
    if page.captions:
        _tell(canvas, lines_that_differ(cell, base, renamed), inks, middle)
    return page.drawing(cell, canvas.source, "nop2", stands_for)


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
    pairs = _Pairs(new.picture, old.picture)
    contents = _contents(new), _contents(old)
    both: nx.DiGraph[str] = nx.DiGraph()
    both.add_nodes_from((k, item | {"mark": "added"}) for k, item in new.picture.nodes.items())
    for key, item in old.picture.nodes(data=True):
        twin = pairs.once.get(key)
        if twin is None:
            both.add_node(pairs.shown(key), **item, mark="removed")
        else:
            changed = pairs.differ(key, twin) or contents[1].get(key) != contents[0].get(twin)
            both.nodes[twin]["mark"] = "changed" if changed else ""
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
            both.edges[ends]["mark"] = ""
        else:
            both.edges[ends].update(mark="changed", was=wire)
    return both


class _Pairs:
    """Which thing of a base, the old picture, is which of a cell.

    ``partners`` holds what takes the same place, ``once`` what of that is drawn once: it does
    the same. Named things go by their names, the others by what they are computed from and
    what they are used for.
    """

    def __init__(self, new: nx.DiGraph[str], old: nx.DiGraph[str]) -> None:
        self.new, self.old = new, old
        self.partners = {key: key for key in old if key in new and not _UNNAMED.match(key)}
        while best := self._best():
            for key, twin in best:
                if key not in self.partners and twin not in self.partners.values():
                    self.partners[key] = twin
        alike = [key for key, twin in self.partners.items() if self._alike(key, twin)]
        self.once: dict[str, str] = {key: self.partners[key] for key in alike}
        for key in [key for key in old if f"next {key}" in old and key not in self.once]:
            self.once.pop(f"next {key}", None)
        self._break_cycles()

    def shown(self, key: str) -> str:
        """What a thing of the base is called in the picture of both."""
        role, _, state = key.partition(" ")
        ghost = f"next {GHOST}{state}" if role == "next" else f"{GHOST}{key}"
        return self.once.get(key, ghost)

    def differ(self, key: str, twin: str) -> bool:
        """Whether partners have operands that are none."""
        return self._operands(key) != _operands_of(self.new, twin)

    def _alike(self, key: str, twin: str) -> bool:
        """Whether two things do the same, whatever their operands are."""
        item: Item = self.old.nodes[key]
        return item == {**self.new.nodes[twin], "tooltip": item["tooltip"]}

    def _operands(self, key: str) -> set[object]:
        """The operands of a thing of the base, as their partners."""
        return {(self.partners.get(a, (a,)), looks) for a, looks in _operands_of(self.old, key)}

    def _best(self) -> list[tuple[str, str]]:
        """The unnamed things without partners that are most alike."""
        taken = {*self.partners.values()}
        new = [key for key in self.new if _UNNAMED.match(key) and key not in taken]
        old = [key for key in self.old if _UNNAMED.match(key) and key not in self.partners]
        pairs = [pair for pair in product(old, new) if self._alike(*pair)]
        found = {pair: likeness for pair in pairs if (likeness := self._likeness(*pair))}
        most = max(found.values(), default=())
        return [pair for pair, likeness in found.items() if likeness == most]

    def _likeness(self, key: str, twin: str) -> tuple[int, ...]:
        """How much two things have in common, the more the larger; empty if too little."""
        before, after = self._operands(key), _operands_of(self.new, twin)
        users = {self.partners.get(user) for user in self.old.successors(key)}
        shared, equal = len(users & {*self.new.successors(twin)}), len(before & after)
        is_only = len(before) == len(after) == 1
        is_other = before != after and not (shared and (equal or is_only))
        return () if is_other else (before == after, equal + shared, -len(before ^ after))

    def _break_cycles(self) -> None:
        """What both have is drawn twice where else it would follow from itself."""
        while True:
            graph = nx.DiGraph(_forward(self.new))
            graph.add_edges_from((self.shown(a), self.shown(b)) for a, b in _forward(self.old))
            loops = [loop for loop in nx.strongly_connected_components(graph) if len(loop) > 1]
            inside = [key for key, twin in self.once.items() if any(twin in x for x in loops)]
            if not inside:
                return
            del self.once[min(inside, key=lambda key: not self.differ(key, self.once[key]))]


def _operands_of(picture: nx.DiGraph[str], key: str) -> set[Any]:
    wires = picture.in_edges(key, data=True)
    return {(source, tuple(sorted(wire.items()))) for source, _, wire in wires}


def _forward(picture: nx.DiGraph[str]) -> list[tuple[str, str]]:
    """The wires without those to states, which come from the left."""
    return [(a, b) for a, b in picture.edges if picture.nodes[b]["role"] != "state"]


def _contents(painter: Painter) -> dict[str, str]:
    """A digest of what each thing has absorbed; weights are alike where their shapes are."""
    picture = painter.picture
    found = {}
    for key in [key for key in picture if key in painter.nodes and picture.in_degree(key)]:
        found[f"{key} linear" if f"{key} linear" in picture else key] = _content(painter, key, key)
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


def lines_that_differ(cell: Cell, base: Cell, renamed: Mapping[str, str]) -> list[tuple[str, str]]:
    """The equations that differ, in Graphviz's HTML, each with its mark, the old one first.

    Where none does, these are the declarations.
    """
    twin = under_new_names(base, renamed)
    either = {change.kind for change in equation_changes(base, cell)}
    changes = [c for c in equation_changes(twin, cell) if c.kind in either]
    lines = _lines(twin), _lines(cell)
    return [
        (mark, text.get(change.name) or escape(plain))
        for change in changes or leaf_changes(twin, cell)
        for mark, text, plain in zip(_SIGNS, lines, (change.before, change.after), strict=True)
        if plain is not None
    ]


def _lines(cell: Cell) -> dict[str, str]:
    step = step_values(cell)
    named = (name for name in equations_of(cell) if name in step and not name.isdigit())
    return dict(zip(named, caption(cell), strict=True))


def placed(picture: nx.DiGraph[str]) -> Geometry | None:
    """The picture with places, unless it is too large or a wire finds no way.

    The ways of what both have are found first, so that they fork from no other.
    """
    if len(picture) > _MOST_ROUTED:
        return None
    ordered = picture.copy()
    for ends in ordered.edges:
        wire = ordered.edges[ends]
        turn = {"added": 1, "removed": 4}.get(wire["mark"], 0)
        wire["diagonal"] = turn + 2 * bool(wire["diagonal"] or wire["start"])
        wire["start"] = False
    try:
        geometry = Geometry(ordered)
    except NoWay:
        return None
    for ends, wire in picture.edges.items():
        geometry.picture.edges[ends].update(wire)
    return geometry


#: The outline and the tint of each mark, by theme.
_INKS = {
    "light": {"added": ("#0a7d45", "#c9f0d9"), "removed": ("#c23b2e", "#fdeceb"),
              "changed": ("#b26a00", "#ffe4b0")},
    "dark": {"added": ("#5be398", "#15482f"), "removed": ("#ff9086", "#361c1c"),
             "changed": ("#ffc24f", "#4d3a10")},
    "grey": {"added": ("#000000", "#dcdcdc"), "removed": ("#6e6e6e", "#ffffff"),
             "changed": ("#000000", "#dcdcdc")},
}  # fmt: skip

#: How thick the outlines and the wires of each mark are.
_PENS = {"added": ("2.8", "2.2"), "removed": ("1.4", "1.1"), "changed": ("1.4", "1.6")}
_TEXTS = ("", "in both"), ("added", "only in {0}"), ("removed", "only in {1}"), (
    "changed", "other operands or weights")  # fmt: skip
_TINT = {"shape": "box", "style": "filled,rounded", "penwidth": "0", "label": "", "tooltip": " "}
_PALE, _HALO, _INSET, _AWAY, _ROW, _WIDE = 0.5, 12.0, 6.0, 36.0, 30.0, 190.0


def _pale(colour: str, theme: Theme) -> str:
    """A colour with a share of the paper's."""
    both = [[int(each[k : k + 2], 16) for k in (1, 3, 5)] for each in (colour, theme.paper)]
    return "#" + "".join(f"{round(a + (b - a) * _PALE):02x}" for a, b in zip(*both, strict=True))


def _draw(canvas: Canvas, geometry: Geometry, inks: Inks) -> None:
    picture, keys, dots = geometry.picture, {}, {}
    for key, item in picture.nodes(data=True):
        told = things_told(key, item)
        if name := told.pop("xlabel", ""):
            canvas.text(name, geometry.above(key), 15)
        keys[key] = _thing(canvas, (geometry.middle(key), geometry.sizes[key]), item, told, inks)
    wires = sorted(picture.edges(data=True), key=lambda wire: _MARKS.index(wire[2]["mark"]))
    for source, target, wire in wires:
        mark, spots = wire["mark"], geometry.line(source, target)
        looks = _wire_looks(canvas.theme, mark, inks) | wire_looks(picture, source, target)
        looks |= {"penwidth": "2"} if (source, target) in geometry.rails and not mark else {}
        joins = picture.nodes[target]["role"] == "join"
        canvas.wire((keys[source], keys[target]), spots, geometry.crossings, looks, head=not joins)
        if wire["slot"]:
            colour = inks[mark][0] if mark else canvas.theme.ink
            canvas.text(wire["slot"], geometry.beside(source, target), 10, fontcolor=colour)
        dots[geometry.spot(geometry.ways[source, target][0])] = looks["color"]
    for spot in geometry.forks:
        looks = {"label": "", "shape": "point", "color": dots[spot], "fillcolor": dots[spot]}
        canvas.box(spot, (4.0, 4.0), looks)


def _thing(canvas: Canvas, place: Place, item: Item, told: Mapping[str, str], inks: Inks) -> str:
    """A thing with its mark: what is new or changed on its tint, what changed with two lines."""
    middle, size = place
    mark = item["mark"]
    looks = {"label": "", **told, **_looks_of(canvas.theme, item, inks)}
    if mark in ("added", "changed") and item["role"] not in ("join", "bar"):
        halo = _TINT | {"fillcolor": inks[mark][1]}
        canvas.box(middle, (size[0] + _HALO, size[1] + _HALO), halo)
        if mark == "changed":
            canvas.box(middle, size, {**looks, "label": "", "id": ""})
            size = size[0] - _INSET, size[1] - _INSET
    return canvas.box(middle, size, looks)


def _looks_of(theme: Theme, item: Item, inks: Inks) -> dict[str, str]:
    """How a thing looks with its mark."""
    mark, role = item["mark"], item["role"]
    looks = theme.looks(role, item.get("kind", ""))
    if not mark:
        fill = _pale(looks.get("fillcolor", theme.paper), theme)
        return looks | {"fillcolor": fill, "color": _pale(theme.ink, theme)}
    line, tint = inks[mark]
    looks |= {"color": line, "penwidth": _PENS[mark][0]}
    if role in ("join", "bar"):
        return looks | {"fillcolor": line}
    if role == "number":
        looks |= {"shape": "box", "style": "filled", "fillcolor": tint}
    if mark == "removed":
        looks |= {"fillcolor": tint, "fontcolor": line, "style": f"{looks['style']},dashed"}
    return looks


def _wire_looks(theme: Theme, mark: str, inks: Inks) -> dict[str, str]:
    if not mark:
        return {"color": _pale(theme.wire, theme)}
    looks = {"color": inks[mark][0], "penwidth": _PENS[mark][1]}
    return looks | ({"style": "dashed", "arrowhead": "empty"} if mark == "removed" else {})


def _ranked(title: str, picture: nx.DiGraph[str], page: Page, inks: Inks) -> str:
    """The picture with its marks as Graphviz source, for ``dot`` to place."""
    graph = pygraphviz.AGraph(string=ranked(title, picture, page))
    keys = {key: f"n{number}" for number, key in enumerate(picture)}
    for key, item in picture.nodes(data=True):
        looks = _looks_of(page.colours, item, inks)
        looks |= {"peripheries": "2"} if item["mark"] == "changed" else {}
        graph.get_node(keys[key]).attr.update(looks)
    for source, target, mark in picture.edges(data="mark"):
        looks = _wire_looks(page.colours, mark, inks) | wire_looks(picture, source, target)
        graph.get_edge(keys[source], keys[target]).attr.update(looks)
    return str(graph.to_string())


def _explain(canvas: Canvas, geometry: Geometry, inks: Inks, names: Sequence[str]) -> None:
    """The legend of any picture, and what the marks in this one mean."""
    x, low = canvas.high[0] + _AWAY, canvas.low
    canvas.low = canvas.high
    add_legend(canvas, geometry.picture, bool(geometry.rails))
    y = canvas.low[1] - _ROW * 0.7
    canvas.low = min(low[0], canvas.low[0]), min(low[1], canvas.low[1])
    picture = geometry.picture
    present = {item["mark"] for item in (*picture.nodes.values(), *picture.edges.values())}
    for mark, text in [text for text in _TEXTS if text[0] in present]:
        item = {"mark": mark, "role": "number" if mark else "input"}
        end = _thing(canvas, ((x + 8, y), (16.0, 12.0)), item, {"tooltip": " "}, inks)
        looks = _wire_looks(canvas.theme, mark, inks)
        canvas.wire((canvas.point((x - 18, y)), end), [(x - 18, y), (x, y)], (), looks)
        says = {"label": f"{text.format(*names)}\\l", "shape": "none", "fontsize": "12"}
        canvas.box((x + 26 + _WIDE / 2, y), (_WIDE, 16.0), says)
        y -= _ROW


def _tell(canvas: Canvas, told: list[tuple[str, str]], inks: Inks, middle: float) -> None:
    """The equations that differ, under the picture."""
    rows = [f'<FONT COLOR="{inks[mark][0]}">{_SIGNS[mark]}  {text}</FONT>' for mark, text in told]
    rows = [f'{row}<FONT POINT-SIZE="19"> </FONT><BR ALIGN="LEFT"/>' for row in rows or [_NOTHING]]
    height = canvas.low[1] - 12 - 23 * len(rows) / 2
    canvas.text(f"<{''.join(rows)}>", (middle, height), 14)
