"""A picture whose every place is ours: things, wires and texts as Graphviz source.

Places are in points, y runs upwards. Graphviz reads them with ``neato -n2`` and only draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from math import inf

import graphviz

from cellc.views.geometry import Geometry, Size, Spot, width_of
from cellc.views.strokes import curve, shortened
from cellc.views.theme import Theme
from cellc.views.wires import things_told, to_the_front, wire_looks

_FIXED = {"fixedsize": "true", "margin": "0"}
_TEXT = {"shape": "none", "width": "0.1", "height": "0.1", "margin": "0"}
_HEAD = 7.0

#: How far a tint reaches beyond its thing, and how far apart two outlines are.
_HALO, _APART = 6.0, 4.0

#: How much room the title of a frame needs, as a part of the usual width of its letters.
_ROOM = 1.12


@dataclass
class Canvas:
    """What is drawn so far, in order: what comes later lies above.

    ``low`` and ``high`` are the corners of everything that is there.
    """

    title: str
    theme: Theme
    low: Spot = field(default=(inf, inf), init=False)
    high: Spot = field(default=(-inf, -inf), init=False)

    def __post_init__(self) -> None:
        canvas, things, wires = self.theme.defaults
        canvas |= {"splines": "true", "outputorder": "nodesfirst"}
        self.graph = graphviz.Digraph(
            self.title, graph_attr=canvas, node_attr=things, edge_attr=wires
        )
        self.count = 0

    @property
    def source(self) -> str:
        """Graphviz source."""
        return str(self.graph.source)

    @property
    def middle(self) -> float:
        """How far to the right the middle of everything is."""
        return (self.low[0] + self.high[0]) / 2

    def geometry(self, geometry: Geometry) -> None:
        """Things and wires in their places."""
        picture = geometry.picture
        keys = {key: self._next() for key in picture}
        for key, item in picture.nodes(data=True):
            self._thing(keys[key], key, item, geometry)
        dots: dict[Spot, str] = {}
        for source, target, wire in to_the_front(picture):
            looks = wire_looks(self.theme, picture, source, target)
            looks = ({"penwidth": "2"} if (source, target) in geometry.rails else {}) | looks
            joins = picture.nodes[target]["role"] == "join"
            spots = geometry.line(source, target)
            self.wire((keys[source], keys[target]), spots, geometry.crossings, looks,
                      head=not joins)  # fmt: skip
            if wire["slot"]:
                beside = geometry.beside(source, target)
                ink = {k: looks[k] for k in ("fontcolor",) if k in looks}
                self.text(wire["slot"], beside, 10, **ink)
            if wire.get("label"):
                spot = geometry.along(source, target)
                self.text(f"<{wire['label']}>", spot, 12)
            dots[geometry.start(source, target)] = looks.get("color", self.theme.wire).split(":")[0]
        for spot in geometry.forks:
            self.dot(spot, dots[spot])

    def _thing(self, node: str, key: str, item: Mapping[str, str], geometry: Geometry) -> None:
        told = things_told(key, item)
        if name := told.pop("xlabel", ""):  # a point has no room inside
            self.text(name, geometry.above(key), 15)
        middle = geometry.middle(key)
        self.thing(middle, geometry.sizes[key], item, told, node)

    def thing(
        self,
        middle: Spot,
        size: Size,
        item: Mapping[str, str],
        told: Mapping[str, str],
        node: str | None = None,
    ) -> str:
        """Something with a role, a kind and a mark, and its tint behind it; its name."""
        role, mark = item["role"], item.get("mark", "")
        if halo := self.theme.halo(role, mark):
            self.box(middle, _larger(size, _HALO), halo)
        looks = {"label": "", **told, **self.theme.looks(role, item.get("kind", ""), mark)}
        outlines = int(looks.get("peripheries", 1))
        return self.box(middle, _larger(size, _APART * (1 - outlines)), looks, node)

    def box(
        self, middle: Spot, size: Size, looks: Mapping[str, str], node: str | None = None
    ) -> str:
        """Something of a size around a spot; its name in the source."""
        (x, y), (width, height) = middle, size
        node = self._next() if node is None else node
        sizes = {"width": f"{width / 72:.3f}", "height": f"{height / 72:.3f}"}
        self.graph.node(node, pos=_written(middle), **{**looks, **_FIXED, **sizes})
        self._reach((x - width / 2, y - height / 2), (x + width / 2, y + height / 2))
        return node

    def frame(self, title: str, middle: Spot, size: Size) -> None:
        """A frame behind what is drawn later, with its title inside on top, small if need be."""
        looks = {"label": "", "shape": "box", "style": "filled,rounded", "penwidth": "0.8",
                 "fillcolor": self.theme.frame, "tooltip": " "}  # fmt: skip
        self.box(middle, size, looks)
        x, y = middle[0] - size[0] / 2 + 6, middle[1] + size[1] / 2 - 9
        width = size[0] - 12
        large = min(12.0, 15 * width / (_ROOM * width_of(escape(title)) + 1))
        self.box((x + width / 2, y), (width, 18.0),
                 {"label": f"{title}\\l", "shape": "none", "fontsize": f"{large:.3g}"})  # fmt: skip

    def wire(
        self,
        ends: tuple[str, str],
        spots: list[Spot],
        hops: Iterable[Spot],
        looks: Mapping[str, str],
        *,
        head: bool = True,
    ) -> None:
        """A wire along corners, with a head unless it ends in a dot."""
        points = curve(shortened(spots, _HEAD) if head else spots, hops)
        tip = f"e,{_written(spots[-1])} " if head else ""
        self.graph.edge(*ends, pos=tip + " ".join(map(_written, points)), **looks)
        for point in points:
            self._reach(point, point)

    def text(self, text: str, spot: Spot, size: int, **looks: str) -> None:
        """A text around a spot."""
        self.graph.node(self._next(), text, pos=_written(spot), fontsize=str(size),
                        **{**_TEXT, **looks})  # fmt: skip

    def dot(self, spot: Spot, colour: str) -> None:
        """A point at which wires fork."""
        looks = {"shape": "point", "width": "0.055", "color": colour, "fillcolor": colour}
        self.graph.node(self._next(), "", pos=_written(spot), **looks)

    def point(self, spot: Spot) -> str:
        """A place that is not seen, for the end of a wire."""
        return self.box(spot, (1.0, 1.0), {"label": "", "style": "invis"})

    def _next(self) -> str:
        self.count += 1
        return f"n{self.count - 1}"

    def _reach(self, low: Spot, high: Spot) -> None:
        self.low = min(self.low[0], low[0]), min(self.low[1], low[1])
        self.high = max(self.high[0], high[0]), max(self.high[1], high[1])


def _larger(size: Size, by: float) -> Size:
    """A size with so much more on every side."""
    return size[0] + 2 * by, size[1] + 2 * by


def _written(spot: Spot) -> str:
    return f"{spot[0]:.1f},{spot[1]:.1f}"
