"""What colours, shapes and lines of a picture mean, for what is in it."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from cellc.views.canvas import Canvas
from cellc.views.geometry import Size

_AWAY, _ROW, _WIDE = 36.0, 26.0, 190.0
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
    "circle": "number by number",
    "ellipse": "number by number",
    "join": "joined",
    "bar": "joined",
}
_WIRES = {
    "rail": ("way of a protected state", {"penwidth": "2"}),
    "diagonal": ("diagonal weight", {"style": "dashed"}),
    "start": ("what a state starts with", {"style": "dotted"}),
}


def add_legend(canvas: Canvas, picture: nx.DiGraph[str], rails: bool) -> None:
    """Write to the right of a picture what is in it."""
    x, y = canvas.high[0] + _AWAY, canvas.high[1] - _ROW / 2
    for role, text in _roles_of(picture):
        looks = {"label": "", "tooltip": " ", **canvas.theme.looks(role)}
        canvas.box((x, y), _SWATCHES.get(role, (26.0, 16.0)), looks)
        y = _say(canvas, text, x, y)
    for kind in _kinds_of(picture, rails):
        text, looks = _WIRES[kind]
        ends = canvas.point((x - 14, y)), canvas.point((x + 14, y))
        canvas.wire(ends, [(x - 14, y), (x + 14, y)], (), looks)
        y = _say(canvas, text, x, y)


def _say(canvas: Canvas, text: str, x: float, y: float) -> float:
    """A text behind its sign; the height of the next."""
    canvas.box((x + 26 + _WIDE / 2, y), (_WIDE, 16.0),
               {"label": f"{text}\\l", "shape": "none", "fontsize": "12"})  # fmt: skip
    return y - _ROW


def _roles_of(picture: nx.DiGraph[str]) -> Iterator[tuple[str, str]]:
    said: set[str] = set()
    present = {role for _, role in picture.nodes(data="role")}
    for role, text in _ROLES.items():
        if role in present and text not in said:
            said.add(text)
            yield role, text


def _kinds_of(picture: nx.DiGraph[str], rails: bool) -> Iterator[str]:
    if rails:
        yield "rail"
    for kind in ("diagonal", "start"):
        if any(value for _, _, value in picture.edges(data=kind)):
            yield kind
