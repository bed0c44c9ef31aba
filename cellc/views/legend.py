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
    "circle": "number by number",
    "ellipse": "number by number",
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
    for role, kind, text in _things_in(picture):
        looks = {"label": "", "tooltip": " ", **canvas.theme.looks(role, kind)}
        canvas.box((x, y), _SWATCHES.get(role, (26.0, 16.0)), looks)
        y = _say(canvas, text, x, y)
    for kind in _kinds_of(picture, rails):
        text, looks = _WIRES[kind]
        ends = canvas.point((x - 14, y)), canvas.point((x + 14, y))
        canvas.wire(ends, [(x - 14, y), (x + 14, y)], (), looks)
        y = _say(canvas, text, x, y)
    present = {item.get("mark") for item in (*picture.nodes.values(), *picture.edges.values())}
    for mark in (mark for mark in marks if mark in present):
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


def _things_in(picture: nx.DiGraph[str]) -> Iterator[tuple[str, str, str]]:
    """Role, kind and text of what is in a picture."""
    said: set[str] = set()
    present = {(item["role"], item.get("kind", "")) for _, item in picture.nodes(data=True)}
    for role, text in _ROLES.items():
        if (role, "") in present and text not in said:
            said.add(text)
            yield role, "", text
    for kind, text in _KINDS.items():
        role = next((r for r in ("circle", "ellipse", "mixer") if (r, kind) in present), "")
        if role:
            yield role, kind, text


def _kinds_of(picture: nx.DiGraph[str], rails: bool) -> Iterator[str]:
    if rails:
        yield "rail"
    for kind in ("diagonal", "start"):
        if any(value for _, _, value in picture.edges(data=kind)):
            yield kind
