"""Pictures that Graphviz places: columns by rank, wires bent round what is in their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import graphviz
import networkx as nx

from cellc.ir import Cell
from cellc.views.below import Swatch, label_of_all, row_of
from cellc.views.legend import marks_in, things_in, wires_in
from cellc.views.page import Line, Page
from cellc.views.theme import Theme
from cellc.views.wires import things_told, wire_looks

_GRAPH = {"rankdir": "LR", "nodesep": "0.22", "ranksep": "0.38"}

#: What keeps Graphviz from trying for minutes, in pictures that nobody reads as a whole.
_LARGE, _IN_TIME = 150, {"splines": "polyline", "nslimit": "1", "nslimit1": "1", "mclimit": "0.2"}

#: Roles in whose colour nothing can be written, and what stands in front of their text.
_SOLID, _DOT = ("join", "bar"), "• "


def ranked(
    cell: Cell,
    picture: nx.DiGraph[str],
    page: Page,
    lines: Sequence[Line] | None = None,
    marks: Mapping[str, str] | None = None,
) -> str:
    """The picture as Graphviz source, for ``dot`` to place, with what the page asks for below.

    That are the equations of the cell, or other lines; ``marks`` says in words what those in the
    picture mean.
    """
    canvas, things, wires = page.colours.defaults
    canvas |= _GRAPH | (_IN_TIME if len(picture) > _LARGE else {})
    text = {"fontname": "Helvetica", "fontcolor": page.colours.ink, "labelloc": "b"}
    graph = graphviz.Digraph(cell.name, graph_attr=canvas | text, node_attr=things, edge_attr=wires)
    legend = _legend(page.colours, picture, marks or {}) if page.legend else ()
    graph.attr(**label_of_all([*legend, page.inked(page.lines(cell, lines))]))
    _draw(graph, picture, page.colours)
    return str(graph.source)


def _draw(graph: graphviz.Digraph, picture: nx.DiGraph[str], theme: Theme) -> None:
    """Things and wires; inputs stand at the left, outputs at the right."""
    keys = {key: f"n{number}" for number, key in enumerate(picture)}
    for key, item in picture.nodes(data=True):
        graph.node(
            keys[key],
            **things_told(key, item),
            **theme.looks(item["role"], item.get("kind", ""), item.get("mark", "")),
        )
    for source, target, wire in picture.edges(data=True):
        looks = wire_looks(theme, picture, source, target)
        looks |= {"headlabel": wire["slot"]} if wire["slot"] else {}
        looks |= {"label": f"<{wire['label']}>"} if wire.get("label") else {}
        graph.edge(keys[source], keys[target], **looks)
    for rank, role in (("source", "input"), ("sink", "output")):
        column = [key for key in picture if picture.nodes[key]["role"] == role]
        with graph.subgraph(graph_attr={"rank": rank}) as side:
            for key in column:
                side.node(keys[key])


def _legend(theme: Theme, picture: nx.DiGraph[str], marks: Mapping[str, str]) -> Iterator[str]:
    """A row of boxes for what is in the picture, and one for its marks."""
    wires = [(text, {"STYLE": looks["style"]}) for text, looks in wires_in(picture, rails=False)]
    yield row_of(theme, [*_things(theme, picture), *wires])
    yield row_of(theme, (_mark(theme, mark, marks[mark]) for mark in marks_in(picture, marks)))


def _things(theme: Theme, picture: nx.DiGraph[str]) -> Iterator[Swatch]:
    for role, kind, text in things_in(picture):
        looks = theme.looks(role, kind)
        style = "dashed" if "dashed" in looks["style"] else "solid"
        solid = role in _SOLID and not kind
        yield (f"{_DOT}{text}", {}) if solid else (
            text, {"BGCOLOR": looks["fillcolor"], "STYLE": style}
        )  # fmt: skip


def _mark(theme: Theme, mark: str, text: str) -> Swatch:
    """A box with the tint and the outline of a mark."""
    looks = theme.looks("number", mark=mark)
    style = "dashed" if "dashed" in looks.get("style", "") else "solid"
    text = f'<FONT COLOR="{looks["fontcolor"]}">{text}</FONT>' if "fontcolor" in looks else text
    wide = str(round(float(looks.get("penwidth", 1))))
    tint, ink = looks["fillcolor"], looks["color"]
    return text, {"BGCOLOR": tint, "COLOR": ink, "STYLE": style, "BORDER": wide}
