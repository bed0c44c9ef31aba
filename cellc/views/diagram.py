"""The gate diagram of a cell: states run from left to right, gates stand between.

What stands in it is decided in :mod:`cellc.views.painter`; a cell with too many gates to
be read is drawn as its loops and what flows between them, by :mod:`cellc.views.flow`.
Graphviz places and draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import graphviz
import networkx as nx
import pygraphviz

from cellc.diagnostics import fail
from cellc.files import write_file
from cellc.ir import Cell, Schedule
from cellc.views.flow import flow
from cellc.views.painter import Painter

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
    "loop": {
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": "#cfe1f5",
        "margin": "0.14,0.08",
    },
    "region": {"shape": "box", "style": "filled", "fillcolor": "#fbd46d", "margin": "0.14,0.08"},
}
_GRAPH = {"rankdir": "LR", "nodesep": "0.22", "ranksep": "0.38", "pad": "0.12"}
_NODES = {
    "fontname": "Helvetica", "fontsize": "15", "fontcolor": "#111111", "color": "#333333",
    "margin": "0.06,0.04", "width": "0.36", "height": "0.36"}  # fmt: skip
_EDGES = {
    "fontname": "Helvetica", "fontsize": "9", "fontcolor": "#444444", "color": "#444444",
    "arrowsize": "0.55"}  # fmt: skip
_RAIL = {"weight": "12", "penwidth": "2"}
_MOST_THINGS = 59
_FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot"}


@dataclass(frozen=True)
class Drawing:
    """A picture that can be saved and displays itself in a notebook.

    ``dot`` is Graphviz source; ``stands_for`` names, for each value of the step, the
    thing in the picture that shows it or has absorbed it.
    """

    dot: str = field(repr=False)
    title: str = "cell"
    stands_for: Mapping[str, str] = field(default_factory=dict, repr=False)

    def svg(self) -> str:
        """The picture as SVG text."""
        return self._rendered("svg").decode("utf-8")

    def save(self, path: str | Path) -> None:
        """Write the picture; the suffix says how: .svg, .png, .pdf or .dot.

        Raises CellcError ``unwritable``; no partial file is left.
        """
        path = Path(path)
        known = _FORMATS.get(path.suffix.lower())
        if known is None:
            hints = (f"known endings: {', '.join(_FORMATS)}",)
            fail("unwritable", f"a diagram cannot be written as `{path.name}`", hints=hints)
        write_file(path, self.dot.encode("utf-8") if known == "dot" else self._rendered(known))

    def _rendered(self, kind: str) -> bytes:
        return bytes(pygraphviz.AGraph(string=self.dot).draw(format=kind, prog="dot"))

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}


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
    return Drawing(_dot(cell.name, picture), cell.name, stands_for)


def _dot(title: str, picture: nx.DiGraph[str]) -> str:
    """The picture as Graphviz source."""
    graph = graphviz.Digraph(title, graph_attr=_GRAPH, node_attr=_NODES, edge_attr=_EDGES)
    roles = dict(picture.nodes(data="role"))
    rails = _rails(picture, roles)
    keys = {key: f"n{number}" for number, key in enumerate(picture)}
    for key, item in picture.nodes(data=True):
        group = next((rail[0] for rail in rails if key in rail), "")
        label = f"<{item['label']}>" if item["label"] else ""
        tooltip = graphviz.escape(item["tooltip"] or " ")
        # A point has no room inside.
        place = "xlabel" if label and item["role"] == "join" else "label"
        looks = {**_LOOKS[item["role"]], place: label}
        graph.node(keys[key], tooltip=tooltip, group=group, **looks)
    for source, target, wire in picture.edges(data=True):
        looks = {"style": "dashed"} if wire["diagonal"] else {}
        looks |= {"arrowhead": "none"} if roles[target] == "join" else {}
        looks |= {"headlabel": wire["slot"]} if wire["slot"] else {}
        if wire["start"]:  # states stand in one column with inputs, which must not push them
            looks |= {"style": "dotted"} | (
                {"constraint": "false"} if roles[target] == "state" else {}
            )
        looks |= {"label": f"<{wire['label']}>"} if wire.get("label") else {}
        looks |= _RAIL if any((source, target) in pairwise(rail) for rail in rails) else {}
        graph.edge(keys[source], keys[target], **looks)
    for rank, kinds in (("source", ("state", "input")), ("sink", ("next", "output"))):
        column = [key for kind in kinds for key in picture if roles[key] == kind]
        column.sort(key=lambda key: not any(key in rail for rail in rails))
        with graph.subgraph(graph_attr={"rank": rank}) as side:
            for key in column:
                side.node(keys[key])
            # An invisible edge within a column keeps its order: rails on top.
            for upper, lower in pairwise(column):
                side.edge(keys[upper], keys[lower], style="invis")
    return str(graph.source)


def _rails(picture: nx.DiGraph[str], roles: Mapping[str, str]) -> list[list[str]]:
    """The way of each protected state: from left to right without a learned box."""
    free = picture.subgraph(key for key in picture if roles[key] != "learned")
    ways = [(key, f"next {key}") for key in picture if roles[key] == "state"]
    return [nx.shortest_path(free, *way) for way in ways if nx.has_path(free, *way)]
