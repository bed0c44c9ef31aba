"""The gate diagram of a cell: states run from left to right, gates stand between.

What stands in it is decided in :mod:`cellc.views.painter`; a cell with too many gates to
be read is drawn as its loops and what flows between them, by :mod:`cellc.views.flow`.
The places of things and wires are our own (:mod:`cellc.views.placement`,
:mod:`cellc.views.routing`, :mod:`cellc.views.geometry`); Graphviz draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import graphviz
import networkx as nx
import pygraphviz

from cellc.diagnostics import fail
from cellc.files import write_file
from cellc.ir import Cell, Schedule
from cellc.views.flow import flow
from cellc.views.geometry import Geometry, Spot
from cellc.views.painter import Painter
from cellc.views.routing import NoWay
from cellc.views.strokes import curve, shortened

#: What each role looks like. Shapes differ too, so that a grey print can be read.
_LOOKS: dict[str, dict[str, str]] = {
    "state": {"shape": "box", "style": "filled,rounded", "fillcolor": "#cfe1f5"},
    "next": {"shape": "box", "style": "filled,rounded", "fillcolor": "#cfe1f5"},
    "input": {"shape": "box", "style": "filled", "fillcolor": "#d9edd0"},
    "output": {"shape": "box", "style": "filled", "fillcolor": "#d9edd0"},
    "learned": {"shape": "box", "style": "filled", "fillcolor": "#fbd46d", "width": "0.55"},
    "circle": {"shape": "circle", "style": "filled", "fillcolor": "#f3b9a8", "margin": "0.02"},
    "ellipse": {"shape": "ellipse", "style": "filled", "fillcolor": "#f3b9a8", "margin": "0"},
    "number": {"shape": "plaintext"},
    "join": {"shape": "point", "style": "filled", "fillcolor": "#333333", "width": "0.06"},
    "bar": {"shape": "box", "style": "filled", "fillcolor": "#333333"},
    "loop": {
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": "#cfe1f5",
        "margin": "0.14,0.08",
    },
    "region": {"shape": "box", "style": "filled", "fillcolor": "#fbd46d", "margin": "0.14,0.08"},
}
_CANVAS = {"pad": "0.12", "splines": "true"}
_FIXED = {"fixedsize": "true", "margin": "0"}
_FORK = {"shape": "point", "width": "0.055", "color": "#444444"}
_HEAD = 7.0

#: By how much a small letter stands below its line, or above.
_SUB, _SUPER = 3.0, 5.0
_GRAPH = {"rankdir": "LR", "nodesep": "0.22", "ranksep": "0.38", "pad": "0.12"}
_NODES = {
    "fontname": "Helvetica", "fontsize": "15", "fontcolor": "#111111", "color": "#333333",
    "margin": "0.06,0.04", "width": "0.36", "height": "0.36"}  # fmt: skip
_EDGES = {
    "fontname": "Helvetica", "fontsize": "9", "fontcolor": "#444444", "color": "#444444",
    "arrowsize": "0.55"}  # fmt: skip
_MOST_THINGS, _MOST_ROUTED = 59, 100
_FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot"}


@dataclass(frozen=True)
class Drawing:
    """A picture that can be saved and displays itself in a notebook.

    ``dot`` is Graphviz source, ``engine`` the layout of Graphviz that draws it: ``neato -n2``
    draws what has positions, under the name ``nop2``; ``stands_for`` names, for each value of
    the step, the thing in the picture that shows it or has absorbed it.
    """

    dot: str = field(repr=False)
    title: str = "cell"
    engine: str = field(default="nop2", repr=False)
    stands_for: Mapping[str, str] = field(default_factory=dict, repr=False)

    def svg(self) -> str:
        """The picture as SVG text."""
        return _SHIFTED.sub(_lowered, self._rendered("svg").decode("utf-8"))

    def save(self, path: str | Path) -> None:
        """Write the picture; the suffix says how: .svg, .png, .pdf or .dot.

        Raises CellcError ``unwritable``; no partial file is left.
        """
        path = Path(path)
        known = _FORMATS.get(path.suffix.lower())
        if known is None:
            hints = (f"known endings: {', '.join(_FORMATS)}",)
            fail("unwritable", f"a diagram cannot be written as `{path.name}`", hints=hints)
        texts = {"dot": lambda: self.dot, "svg": self.svg}
        text = texts[known]().encode("utf-8") if known in texts else self._rendered(known)
        write_file(path, text)

    def _rendered(self, kind: str) -> bytes:
        return bytes(pygraphviz.AGraph(string=self.dot).draw(format=kind, prog=self.engine))

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}


#: Subscripts and superscripts as Graphviz writes them, which not every viewer understands.
_SHIFTED = re.compile(
    r'y="(?P<y>-?[\d.]+)"(?P<rest>[^>]*?) baseline-shift="(?P<to>sub|super)"(?P<more>[^>]*)'
)


def _lowered(found: re.Match[str]) -> str:
    """A small letter by its place rather than by a shift of its baseline."""
    y = float(found["y"]) + (_SUB if found["to"] == "sub" else -_SUPER)
    return f'y="{y:.2f}"{found["rest"]}{found["more"]}'


def diagram(cell: Cell, schedule: Schedule | None = None) -> Drawing:
    """The gate diagram of one step of a cell, optimised or not.

    Given the cell's schedule, a cell of many gates is drawn as its loops instead, and what
    is computed at once between them.
    """
    painter = Painter(cell)
    painter.paint()
    picture, stands_for = painter.picture, painter.stands_for
    if schedule is not None and len(picture) > _MOST_THINGS:
        picture, stands_for = flow(painter, schedule)
        return Drawing(_dot(cell.name, picture), cell.name, "dot", stands_for)
    try:
        geometry = Geometry(picture) if len(picture) <= _MOST_ROUTED else None
    except NoWay:  # Graphviz bends wires round what is in their way
        geometry = None
    if geometry is None:
        return Drawing(_dot(cell.name, picture), cell.name, "dot", stands_for)
    return Drawing(_placed_dot(cell.name, geometry), cell.name, stands_for=stands_for)


def _dot(title: str, picture: nx.DiGraph[str]) -> str:
    """The picture as Graphviz source, for Graphviz to place."""
    graph = graphviz.Digraph(title, graph_attr=_GRAPH, node_attr=_NODES, edge_attr=_EDGES)
    keys = {key: f"n{number}" for number, key in enumerate(picture)}
    for key, item in picture.nodes(data=True):
        graph.node(keys[key], **_told(key, item), **_LOOKS[item["role"]])
    for source, target, wire in picture.edges(data=True):
        looks = _wire_looks(picture, source, target)
        looks |= {"headlabel": wire["slot"]} if wire["slot"] else {}
        looks |= {"label": f"<{wire['label']}>"} if wire.get("label") else {}
        graph.edge(keys[source], keys[target], **looks)
    for rank, role in (("source", "input"), ("sink", "output")):
        column = [key for key in picture if picture.nodes[key]["role"] == role]
        with graph.subgraph(graph_attr={"rank": rank}) as side:
            for key in column:
                side.node(keys[key])
    return str(graph.source)


def _placed_dot(title: str, geometry: Geometry) -> str:
    """The picture as Graphviz source with all positions, which Graphviz only draws."""
    picture = geometry.picture
    graph = graphviz.Digraph(title, graph_attr=_CANVAS, node_attr=_NODES, edge_attr=_EDGES)
    keys = {key: f"n{number}" for number, key in enumerate(picture)}
    for key, item in picture.nodes(data=True):
        (x, y), (width, height) = geometry.middle(key), geometry.sizes[key]
        looks = {
            **_LOOKS[item["role"]],
            **_FIXED,
            "width": f"{width / 72:.3f}",
            "height": f"{height / 72:.3f}",
        }
        told = _told(key, item)
        if name := told.pop("xlabel", ""):  # a point has no room inside
            _write(graph, f"{keys[key]}name", name, geometry.above(key), "15")
        graph.node(keys[key], pos=f"{x:.1f},{y:.1f}", **{"label": "", **told}, **looks)
    for source, target, wire in picture.edges(data=True):
        looks = _wire_looks(picture, source, target)
        looks |= {"penwidth": "2"} if (source, target) in geometry.rails else {}
        joins = picture.nodes[target]["role"] == "join"
        spots = geometry.line(source, target)
        tip = "" if joins else f"e,{spots[-1][0]:.1f},{spots[-1][1]:.1f} "
        points = curve(spots if joins else shortened(spots, _HEAD), geometry.crossings)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        graph.edge(keys[source], keys[target], pos=tip + path, **looks)
        if wire["slot"]:
            _write(graph, f"{keys[source]}{keys[target]}", wire["slot"],
                   geometry.beside(source, target), "10")  # fmt: skip
    for number, (x, y) in enumerate(geometry.forks):
        graph.node(f"fork{number}", "", pos=f"{x:.1f},{y:.1f}", **_FORK)
    return str(graph.source)


def _write(graph: graphviz.Digraph, key: str, text: str, spot: Spot, size: str) -> None:
    """A text at a spot."""
    x, y = spot
    graph.node(key, text, shape="none", width="0.1", height="0.1", fontsize=size,
               pos=f"{x:.1f},{y:.1f}")  # fmt: skip


def _wire_looks(picture: nx.DiGraph[str], source: str, target: str) -> dict[str, str]:
    """How a wire looks: dashed through a diagonal weight, dotted where a state starts with it."""
    wire = picture.edges[source, target]
    looks = {"style": "dotted"} if wire["start"] else {}
    looks |= {"style": "dashed"} if wire["diagonal"] else {}
    return looks | ({"arrowhead": "none"} if picture.nodes[target]["role"] == "join" else {})


def _told(key: str, item: Mapping[str, str]) -> dict[str, str]:
    """The label of a thing, what it says when pointed at, and its name for programs."""
    label = f"<{item['label']}>" if item["label"] else ""
    place = "xlabel" if label and item["role"] in ("join", "bar") else "label"
    return {
        place: label,
        "tooltip": graphviz.escape(item["tooltip"] or " "),
        "id": key.replace(" ", "_"),
    }
