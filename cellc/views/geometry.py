"""A placed and routed picture in points: only tracks that something uses take room."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from itertools import pairwise
from math import sqrt

import networkx as nx

from cellc.views.board import Board
from cellc.views.bundles import bundled
from cellc.views.placement import Placement
from cellc.views.routing import BOX, PITCH, Router, Wire
from cellc.views.tracks import Point, Way, corners
from cellc.views.wires import rank_of

Size = tuple[float, float]
Spot = tuple[float, float]

_PORT, _CHANNEL, _AIR, _LEAST = 9.0, 10.0, 13.0, 30.0

#: The width of a letter as a part of its size, and the usual size.
_LETTER, _SIZE = 0.51, 15.0
_PIECES = re.compile(r"(<[^>]*>|^)([^<]*)")
_FIXED = {"join": (5.0, 5.0), "bar": (8.0, 30.0)}

#: How far the edge of a frame is from what is inside, and the height of its title.
_EDGE, _TITLE = 8.0, 12.0

#: How large the name beside a wire is, as a part of one in a box.
_OF_NAME = 0.8

#: By how much of its height a mixer is lower at the right.
_TAPER = 0.34


def size_of(role: str, label: str) -> Size:
    """The width and height of a thing, from its role and the letters of its label."""
    if role in _FIXED:
        return _FIXED[role]
    rows = label.split("<BR/>")
    width = max(map(width_of, rows))
    if role == "circle":
        side = max(27.0, width + 9, 42.0 if len(rows) > 1 else 0)
        return side, side
    height = 28.0 + 14 * (len(rows) - 1)
    if role == "block":
        return max(64.0, width * 1.12 + 20), height + 12
    if role == "mixer":
        return max(34.0, width + 14), max(40.0, height + 8)
    if role == "ellipse":
        return max(36.0, width + 20 if len(rows) == 1 else width * 1.22 + 24), height + 2
    return max(36.0, width * 1.1 + 14), height


def width_of(row: str) -> float:
    """How wide a line of a label is, roughly, from its letters and their sizes."""
    width, sizes = 0.0, [_SIZE]
    for tag, text in _PIECES.findall(row):
        if tag.startswith("<FONT"):
            sizes.append(float(tag.split('"')[1]))
        elif tag == "</FONT>":
            sizes.pop()
        width += _LETTER * sizes[-1] * len(unescape(text))
    return width


def tracks_in_use(ways: Iterable[Way], axis: int) -> set[int]:
    """The tracks that a wire runs along."""
    return {
        a[axis]
        for way in ways
        for a, b in pairwise(corners(way))
        if a[axis] == b[axis]
    }  # fmt: skip


@dataclass
class Geometry:
    """Where the things and wires of a gate diagram are, in points; y runs upwards.

    ``picture`` is what :class:`~cellc.views.painter.Painter` gives. ``rails`` are the wires of
    protected states, ``forks`` the spots at which a wire leaves another one of its source,
    ``crossings`` those at which wires of different sources cross.
    """

    picture: nx.DiGraph[str]
    placement: Placement | Board | None = None
    sizes: dict[str, Size] = field(init=False)
    rails: frozenset[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        picture = self.picture = bundled(self.picture)
        placement = self.placement or Placement(picture)
        self.at = placement.at
        self.sizes = {
            key: size_of(item["role"], item["label"]) for key, item in picture.nodes(data=True)
        }
        self.rails = frozenset(
            (a, b)
            for rail in placement.rails.values()
            for a, b in pairwise(rail)
            if self.at[a][1] == self.at[b][1]
        )
        router = Router(placement.at, placement.roles)
        router.route([
            Wire(a, b, (a, b) in self.rails, rank_of(wire))
            for a, b, wire in picture.edges(data=True)
        ])  # fmt: skip
        self.ways = router.ways
        self.tracks = (self._along(0), self._along(1))

    @cached_property
    def forks(self) -> list[Spot]:
        """Where wires leave others of their source."""
        starts = [(source, way[0]) for (source, _), way in self.ways.items()]
        points = dict.fromkeys(p for source, p in starts if not self._is_port(source, p))
        return [self.spot(point) for point in points]

    @cached_property
    def crossings(self) -> list[Spot]:
        """Where wires of different sources cross."""
        owners: dict[Point, set[str]] = {}
        for (source, target), way in self.ways.items():
            ends = way[:-1] if self.picture.nodes[target]["role"] == "join" else way
            for point in ends:
                owners.setdefault(point, set()).add(source)
        return [self.spot(point) for point, who in sorted(owners.items()) if len(who) > 1]

    def _along(self, axis: int) -> dict[int, float]:
        """Where each used track of an axis lies."""
        busy = tracks_in_use(self.ways.values(), axis)
        half: dict[int, float] = {}
        for key, cell in self.at.items():
            half[cell[axis]] = max(half.get(cell[axis], 0), self.sizes[key][axis] / 2)
        places = range(-1, max(half) + 1)
        found: dict[int, float] = {}
        least = max(_LEAST, *self._names_along()) if axis == 0 else _LEAST
        edge = box = 0.0  # where the last box or channel ends, and where the last box does
        channel = False
        for place in places:
            base = place * PITCH
            if place in half:
                ports = [t for t in (base, base + 2) if t in busy]
                reach = max(half[place], _PORT + 4 if ports else 0)
                edge = max(edge + _AIR, box + least) if channel else edge + (least if found else 0)
                centre = edge + reach
                found |= {base: centre - _PORT, base + 1: centre, base + 2: centre + _PORT}
                edge, channel = centre + reach, False
                box = edge
                rest = range(base + BOX, base + PITCH)
            else:
                rest = range(base, base + PITCH)
            for track in rest:
                if track in busy:
                    edge += _CHANNEL if channel else _AIR
                    found[track], channel = edge, True
        return found

    def _names_along(self) -> list[float]:
        """How much room the names of what wires carry need between columns."""
        labels = [label for _, _, label in self.picture.edges(data="label") if label]
        level = [label for label in labels if self.placement]
        return [0.0, *(width_of(label) * _OF_NAME + 28 for label in level)]

    def spot(self, point: Point) -> Spot:
        """A point of tracks in the picture."""
        return self.tracks[0][point[0]], -self.tracks[1][point[1]]

    def middle(self, key: str) -> Spot:
        """The middle of a thing."""
        column, row = self.at[key]
        return self.spot((column * PITCH + 1, row * PITCH + 1))

    def line(self, source: str, target: str) -> list[Spot]:
        """A wire from edge to edge by its corners."""
        way = self.ways[source, target]
        turns = corners(way)
        spots = [self.spot(point) for point in turns]
        if self._is_port(source, way[0]) and len(spots) > 1:
            spots[0] = self._edge(source, spots[0], spots[1])
        if len(spots) > 1:
            spots[-1] = self._edge(target, spots[-1], spots[-2])
        return spots

    def start(self, source: str, target: str) -> Spot:
        """Where a wire leaves its source, or another wire of it."""
        return self.spot(self.ways[source, target][0])

    def beside(self, source: str, target: str) -> Spot:
        """Where a letter stands that belongs to the end of a wire: on no other wire."""
        (before, by), (x, y) = self.line(source, target)[-2:]
        if abs(by - y) < 0.01:
            back = -11 if before < x else 11
            low = 6 if y >= self.middle(target)[1] - 1 else -6
            spots = [(x + back, y + low), (x + back, y - low), (x + 2 * back, y + low)]
        else:
            up = 10 if by > y else -10
            spots = [(x + 7, y + up), (x - 7, y + up), (x + 7, y + 2 * up), (x - 7, y + 2 * up)]
        return next((spot for spot in spots if self._is_clear(spot)), spots[0])

    def _is_clear(self, spot: Spot, half: float = 4.0) -> bool:
        """Whether no wire runs through a letter or a name of half that width."""
        return not any(
            min(a[0], b[0]) < spot[0] + half and max(a[0], b[0]) > spot[0] - half
            and min(a[1], b[1]) < spot[1] + 5 and max(a[1], b[1]) > spot[1] - 5
            for a, b in self._pieces
        )  # fmt: skip

    @cached_property
    def _pieces(self) -> list[tuple[Spot, Spot]]:
        return [piece for ends in self.ways for piece in pairwise(self.line(*ends))]

    def along(self, source: str, target: str) -> Spot:
        """Where the name of what a wire carries stands: above its longest level piece."""
        spots = self.line(source, target)
        width = width_of(self.picture.edges[source, target]["label"]) * _OF_NAME
        level = [(a, b) for a, b in pairwise(spots) if abs(a[1] - b[1]) < 0.01]
        (x, y), (end, _) = max(
            level or [(spots[0], spots[1])], key=lambda p: abs(p[0][0] - p[1][0])
        )
        half = width / 2 + 2
        if level:
            back = -1 if end > x else 1
            near, far = end + (half + 12) * back, x - (half + 6) * back
            spots = [(near, y + 10), (near, y - 11), ((x + end) / 2, y + 10), (far, y + 10)]
        else:
            height = (y + spots[-1][1]) / 2
            spots = [(x + half + 4, height), (x - half - 4, height)]
        return next((spot for spot in spots if self._is_clear(spot, half)), spots[0])

    def frame(self, keys: Iterable[str]) -> tuple[Spot, Size]:
        """The middle and the size of a frame around things, with room for a title on top."""
        corners = [(self.middle(key), self.sizes[key]) for key in keys]
        left, low = (min(spot[k] - size[k] / 2 for spot, size in corners) - _EDGE for k in (0, 1))
        right, high = (max(spot[k] + size[k] / 2 for spot, size in corners) + _EDGE for k in (0, 1))
        high += _TITLE
        return ((left + right) / 2, (low + high) / 2), (right - left, high - low)

    def above(self, key: str) -> Spot:
        """Where the name of something stands that has no room for it: up and to the left."""
        (x, y), (width, height) = self.middle(key), self.sizes[key]
        return x - width / 2 - 9, y + height / 2 + 8

    def _is_port(self, key: str, point: Point) -> bool:
        x, y = (place * PITCH + 1 for place in self.at[key])
        return abs(point[0] - x) <= 1 and abs(point[1] - y) <= 1

    def _edge(self, key: str, spot: Spot, other: Spot) -> Spot:
        """Where a wire that comes from another spot meets the edge of a thing."""
        (x, y), (width, height) = self.middle(key), self.sizes[key]
        role = self.picture.nodes[key]["role"]
        if role in ("circle", "ellipse"):
            width *= sqrt(max(0.0, 1 - (2 * (spot[1] - y) / height) ** 2))
            height *= sqrt(max(0.0, 1 - (2 * (spot[0] - x) / self.sizes[key][0]) ** 2))
        elif role == "mixer":
            height *= 1 - _TAPER * (0.5 + (spot[0] - x) / width)
        if abs(spot[1] - other[1]) < 1e-9:
            return x + (width / 2 if other[0] > x else -width / 2), spot[1]
        return spot[0], y + (height / 2 if other[1] > y else -height / 2)
