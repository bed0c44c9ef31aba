"""What colours, shapes and lines of a picture mean, for what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import networkx as nx

from cellc.views.canvas import Canvas
from cellc.views.geometry import Size

_AWAY, _ROW, _WIDE = 36.0, 26.0, 190.0

#: What signs with a tint need more than others.
_MORE = 4.0
_SWATCHES: dict[str, Size] = {
    "circle": (16.0, 16.0), "ellipse": (26.0, 16.0), "join": (5.0, 5.0), "bar": (5.0, 16.0)
}  # fmt: skip

#: What each role is, in words; of roles with one text the first in a picture is shown.
_ROLES = {
    "state": "state",
    "next": "state",
    "input": "input or output",
    "output": "input or output",
    "learned": "weights, then the function",
    "block": "a cell in the cell",
    "circle": "one op",
    "ellipse": "one op",
    "mixer": "chooses or mixes",
    "join": "joined",
    "bar": "joined",
}
_KINDS = {
    "time": "from a clock alone",
    "norm": "brought to one scale",
    "chance": "random, in training",
}
_WIRES = {
    "rail": ("way of a protected state", {"penwidth": "2"}),
    "diagonal": ("diagonal weight", {"style": "dashed"}),
    "start": ("what a state starts with", {"style": "dotted"}),
}


def add_legend(
    canvas: Canvas, picture: nx.DiGraph[str], rails: bool, marks: Mapping[str, str]
) -> None:
    """Write to the right of a picture what is in it; ``marks`` says in words what marks mean."""
    x, y = canvas.high[0] + _AWAY, canvas.high[1] - _ROW / 2
    for role, kind, text in things_in(picture):
        looks = {"label": "", "tooltip": " ", **canvas.theme.looks(role, kind)}
        canvas.box((x, y), _SWATCHES.get(role, (26.0, 16.0)), looks)
        y = _say(canvas, text, x, y)
    for text, looks in wires_in(picture, rails):
        ends = canvas.point((x - 14, y)), canvas.point((x + 14, y))
        canvas.wire(ends, [(x - 14, y), (x + 14, y)], (), looks)
        y = _say(canvas, text, x, y)
    for mark in marks_in(picture, marks):
        y -= _MORE
        _add_mark(canvas, mark, x, y)
        y = _say(canvas, marks[mark], x, y)


def _add_mark(canvas: Canvas, mark: str, x: float, y: float) -> None:
    """A wire and a thing with a mark."""
    item = {"mark": mark, "role": "input" if mark == "both" else "number"}
    thing = canvas.thing((x + 5, y), (22.0, 16.0), item, {"tooltip": " "})
    ends = canvas.point((x - 22, y)), thing
    canvas.wire(ends, [(x - 22, y), (x - 6, y)], (), canvas.theme.wire_looks(mark))


def _say(canvas: Canvas, text: str, x: float, y: float) -> float:
    """A text behind its sign; the height of the next."""
    canvas.box((x + 26 + _WIDE / 2, y), (_WIDE, 16.0),
               {"label": f"{text}\\l", "shape": "none", "fontsize": "12"})  # fmt: skip
    return y - _ROW


def things_in(picture: nx.DiGraph[str]) -> Iterator[tuple[str, str, str]]:
    """Role, kind and text of what is in a picture.

    Of a kind the first role that has it is shown.
    """
    said: set[str] = set()
    present = {(item["role"], item.get("kind", "")) for _, item in picture.nodes(data=True)}
    for role, text in _ROLES.items():
        if (role, "") in present and text not in said:
            said.add(text)
            yield role, "", text
    for kind, text in _KINDS.items():
        if role := next((role for role in _ROLES if (role, kind) in present), ""):
            yield role, kind, text


def wires_in(picture: nx.DiGraph[str], rails: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Text and looks of the wires of a picture that are not plain; ``rails`` are known of."""
    there = {kind for kind in _WIRES for *_, value in picture.edges(data=kind) if value}
    for kind, (text, looks) in _WIRES.items():
        if kind in there or (rails and kind == "rail"):
            yield text, looks


def marks_in(picture: nx.DiGraph[str], marks: Mapping[str, str]) -> list[str]:
    """Those of the marks that something in a picture has."""
    present = {item.get("mark") for item in (*picture.nodes.values(), *picture.edges.values())}
    return [mark for mark in marks if mark in present]
