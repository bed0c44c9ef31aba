"""Tracks that wires run along, and the cheapest way over them.

A search sweeps over whole lines at once: first everything is reached that lies straight ahead
of the starts, then what lies straight ahead of a bend, and so on until no bend helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]
Way = list[Point]
Turns = list[Point]
Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]

#: Steps to the right, up, down and to the left.
MOVES = ((1, 0), (0, -1), (0, 1), (-1, 0))
RIGHT, UP, DOWN, LEFT = range(4)
_AXES = ((RIGHT, LEFT), (UP, DOWN))

#: What a wire costs, in halves of a track; a way that costs ``_NEVER`` is none.
_STEP, _BEND, _CROSSING, _BACK, _FORK = (np.int32(price) for price in (2, 8, 14, 3, 2))
_NEVER = np.int32(1 << 17)


class End(NamedTuple):
    """A point that a wire may start or end at, its direction there, and the price."""

    point: Point
    direction: int
    price: int

    @property
    def before(self) -> Point:
        """The point from which an end is entered."""
        dx, dy = MOVES[self.direction]
        return self.point[0] - dx, self.point[1] - dy

    def seen_from(self, corner: Point) -> End:
        """The same, with points counted from a corner."""
        (x, y), (left, top) = self.point, corner
        return self._replace(point=(x - left, y - top))


def corners(way: Way) -> Turns:
    """A way by its ends and the points at which it turns."""
    turns = [
        point
        for before, point, after in zip(way, way[1:], way[2:], strict=False)
        if (point[0] - before[0], point[1] - before[1])
        != (after[0] - point[0], after[1] - point[1])
    ]
    return [way[0], *turns, way[-1]] if len(way) > 1 else list(way)


def points(turns: Turns) -> Way:
    """All points of a way from its ends and the points at which it turns."""
    way = [turns[0]]
    for (a, b), (c, d) in pairwise(turns):
        dx, dy = (c > a) - (c < a), (d > b) - (d < b)
        way += [(a + dx * n, b + dy * n) for n in range(1, abs(c - a) + abs(d - b) + 1)]
    return way


class Window(NamedTuple):
    """A part of the tracks: columns and rows from the first to before the last."""

    left: int
    right: int
    top: int
    bottom: int


class Tracks:
    """What of the tracks is taken by things, and by which net along each axis.

    A net is a number above 0. ``along[0]`` has rows of points, ``along[1]`` columns of them.
    A net that turns or ends at a point takes both axes there.
    """

    def __init__(self, columns: int, rows: int, margin: int) -> None:
        self.margin = margin
        shape = (rows + margin, columns + margin)
        self.solid: Mask = np.zeros(shape, dtype=bool)
        self.along: tuple[Numbers, Numbers] = (
            np.zeros(shape, dtype=np.int32),
            np.zeros(shape[::-1], dtype=np.int32),
        )

    def fill(self, middle: Point, reach: int) -> None:
        """Take points around one for a thing."""
        x, y = (place + self.margin for place in middle)
        self.solid[y - reach : y + reach + 1, x - reach : x + reach + 1] = True

    def is_free(self, point: Point, net: int = 0) -> bool:
        """Whether no other net has taken a point."""
        x, y = (place + self.margin for place in point)
        return {int(self.along[0][y, x]), int(self.along[1][x, y])} <= {0, net}

    def take(self, turns: Turns, net: int) -> None:
        """Mark a way as that of a net."""
        for x, y in (turns[0], turns[-1]):
            self.along[0][y + self.margin, x + self.margin] = net
            self.along[1][x + self.margin, y + self.margin] = net
        for axis, line, run in self._runs(turns):
            self.along[axis][line, run] = net

    def release(self, turns: Turns) -> None:
        """Forget a way; its net must leave the tracks as a whole."""
        for x, y in (turns[0], turns[-1]):
            self.along[0][y + self.margin, x + self.margin] = 0
            self.along[1][x + self.margin, y + self.margin] = 0
        for axis, line, run in self._runs(turns):
            self.along[axis][line, run] = 0

    def crossed(self, turns: Turns, net: int) -> list[int]:
        """The nets that a way crosses, as often as it does."""
        found: list[int] = []
        for axis, line, run in self._runs(turns):
            found += self.along[1 - axis][run, line][1:-1].tolist()
        return [other for other in found if other not in (0, net)]

    def price(self, turns: Turns, net: int) -> int:
        """What a way costs."""
        length = sum(abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise(turns))
        crossings = len(self.crossed(turns, net))
        return int(_STEP * length + _BEND * (len(turns) - 2) + _CROSSING * crossings)

    def find(
        self, net: int, starts: Iterable[End], ends: Iterable[End], near: Window, late: bool
    ) -> Turns:
        """The cheapest way of a net from one of some starts, or from where it is, to an end.

        It is empty where there is none within a part of the tracks. Of ways that cost the same
        it is one that bends late or early.
        """
        left, right, top, bottom = (max(place + self.margin, 0) for place in near)
        rows, columns = slice(top, bottom), slice(left, right)
        wide, high = self.along[0][rows, columns], self.along[1][columns, rows].T
        corner = (left - self.margin, top - self.margin)
        sweep = Sweep(self.solid[rows, columns], wide, high, net)
        starts, ends = ([end.seen_from(corner) for end in some] for some in (starts, ends))
        turns = sweep.way(starts, ends, late)
        return [(x + corner[0], y + corner[1]) for x, y in turns]

    def _runs(self, turns: Turns) -> Iterator[tuple[int, int, slice]]:
        """The straight pieces of a way: along which axis, on which line, from where to where."""
        for a, b in pairwise(turns):
            axis = int(a[0] == b[0])
            low, high = sorted((a[axis], b[axis]))
            yield axis, a[1 - axis] + self.margin, slice(low + self.margin, high + self.margin + 1)


def _laid(array: Numbers, direction: int) -> Numbers:
    """Rows of points as lines that a direction passes from first to last."""
    lines = array if direction in (RIGHT, LEFT) else array.T
    return lines[:, ::-1] if direction in (LEFT, UP) else lines


def _spread(lines: Numbers, direction: int) -> Numbers:
    """The opposite of being laid."""
    array = lines[:, ::-1] if direction in (LEFT, UP) else lines
    return array if direction in (RIGHT, LEFT) else array.T


class Sweep:
    """A search for one way over a part of the tracks.

    ``wide`` and ``high`` are the nets along rows and columns. What belongs to a direction is
    kept as its lines: the price to begin at a point, the sum of all steps up to one, and the
    price to be there. ``seen`` are the latter as rows of points.
    """

    def __init__(self, solid: Mask, wide: Numbers, high: Numbers, net: int) -> None:
        foreign = [(nets != 0) & (nets != net) for nets in (wide, high)]
        shared = foreign[0] | foreign[1]
        own = ((wide == net) | (high == net)) & ~shared & ~solid
        self.bend = np.where(shared, _NEVER, _BEND)
        begun = np.where(own, _FORK, _NEVER)
        self.begun: list[Numbers] = []
        self.sums: list[Numbers] = []
        self.costs: list[Numbers] = []
        for d in range(len(MOVES)):
            along, across = foreign if d in _AXES[0] else foreign[::-1]
            step = _STEP + (_BACK if d == LEFT else np.int32(0))
            steps = np.where(solid | along, _NEVER, step + across * _CROSSING)
            self.sums.append(np.cumsum(_laid(steps, d), axis=1, dtype=np.int32))
            self.begun.append(_laid(begun, d).copy())
            self.costs.append(np.full(self.begun[d].shape, _NEVER))
        self.seen = [_spread(costs, d) for d, costs in enumerate(self.costs)]

    def way(self, starts: Sequence[End], ends: Sequence[End], late: bool) -> Turns:
        """The cheapest way from one of some starts, or from the net, to an end."""
        if not ends:
            return []
        for (x, y), d, price in starts:
            begun = _spread(self.begun[d], d)
            begun[y, x] = min(begun[y, x], price)
        for d, begun in enumerate(self.begun):
            self._go(d, begun, begun < _NEVER)
        rest = self._rest(ends)
        found, end = self._nearest(ends)
        axis, idle = 0, 0
        while idle < len(_AXES):
            axis = 1 - axis
            idle = 0 if self._turn(axis, found - rest) else idle + 1
            found, end = self._nearest(ends)
        return self._traced(end, late) if found < _NEVER else []

    def _rest(self, ends: Sequence[End]) -> Numbers:
        """What it costs at least to come from each point to an end."""
        rows, columns = self.bend.shape
        xs, ys = zip(*(end.point for end in ends), strict=True)
        x, y = np.arange(columns, dtype=np.int32), np.arange(rows, dtype=np.int32)
        wide = np.maximum(np.maximum(min(xs) - x, x - max(xs)), 0)
        high = np.maximum(np.maximum(min(ys) - y, y - max(ys)), 0)
        rest: Numbers = _STEP * (wide + high[:, None])
        return rest

    def _nearest(self, ends: Sequence[End]) -> tuple[int, End]:
        """The end that is reached with the least price, and the price."""
        return min(((self._price(end), end) for end in ends), key=lambda found: found[0])

    def _price(self, end: End) -> int:
        x, y = end.before
        return int(self.seen[end.direction][y, x]) + int(_STEP) + end.price

    def _turn(self, axis: int, worth: Numbers) -> bool:
        """Bend into an axis wherever that helps, and go on from there; whether it did help."""
        turned = self._turned(axis)
        turned[turned >= worth] = _NEVER
        helped = False
        for d in _AXES[axis]:
            begun = _laid(turned, d)
            better = begun < self.costs[d]
            if better.any():
                self._go(d, begun, better)
                helped = True
        return helped

    def _turned(self, axis: int) -> Numbers:
        """What it costs to be at each point after a bend into an axis."""
        one, other = _AXES[1 - axis]
        turned: Numbers = np.minimum(self.seen[one], self.seen[other]) + self.bend
        return turned

    def _go(self, d: int, begun: Numbers, where: Mask) -> None:
        """Go straight on along the lines that have a start somewhere."""
        lines = np.flatnonzero(where.any(axis=1))
        sums = self.sums[d][lines]
        reached = np.minimum(begun[lines], self.costs[d][lines]) - sums
        np.minimum.accumulate(reached, axis=1, out=reached)
        self.costs[d][lines] = np.minimum(reached + sums, _NEVER)

    def _traced(self, end: End, late: bool) -> Turns:
        """The way that leads to an end, back from there."""
        turns = [end.point]
        (x, y), d = end.before, end.direction
        while True:
            axis = int(d in _AXES[1])
            line, place = self._line(x, y, d)
            begun = self.begun[d][line, : place + 1]
            entered = np.minimum(begun, _laid(self._turned(axis), d)[line, : place + 1])
            best = entered - self.sums[d][line, : place + 1]
            first = place - int(best[::-1].argmin()) if late else int(best.argmin())
            x, y = x - MOVES[d][0] * (place - first), y - MOVES[d][1] * (place - first)
            turns.append((x, y))
            if begun[first] == entered[first]:
                return turns[::-1]
            one, other = _AXES[1 - axis]
            d = one if self.seen[one][y, x] <= self.seen[other][y, x] else other

    def _line(self, x: int, y: int, d: int) -> tuple[int, int]:
        """The line of a point for a direction, and the place on it."""
        line, place = (y, x) if d in _AXES[0] else (x, y)
        return line, len(self.costs[d][line]) - 1 - place if d in (LEFT, UP) else place
