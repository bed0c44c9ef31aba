"""Wires between things on a grid of tracks: right-angled, through no box, with few crossings.

Every column and every row of a placement is three tracks, on which boxes stand, and some
channels beside them. A wire takes the cheapest way over the tracks from what is there of its
net to where it ends; bends and crossings cost. Wires of one source share their way and fork.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from cellc.views.placement import Cell

Point = tuple[int, int]
Way = list[Point]

#: Tracks of a column or a row: three for boxes and their ports, then channels.
BOX, CHANNELS = 3, 4
PITCH = BOX + CHANNELS

_BEND, _CROSSING, _SIDE = 4.0, 7.0, 3.0
_BACK, _ASIDE = 1.5, 8.0
_TRIES, _MANY = 6, 60

#: How far beside its ends, in places, a way is looked for at first.
_NEAR = (1, 4, 1000)

#: Steps to the right, up, down and to the left.
_MOVES = ((1, 0), (0, -1), (0, 1), (-1, 0))
_RIGHT, _UP, _DOWN, _LEFT = range(4)

#: What it costs a wire to leave a thing in a direction, and to enter it.
_ANYWHERE = {_RIGHT: 0.0, _UP: 1.0, _DOWN: 1.0}
_LEAVING = {
    "state": {_RIGHT: 0.0},
    "input": {_UP: 0.0},
    "learned": {_UP: 0.0, _RIGHT: 2.0, _DOWN: 3.0},
}
_ENTERING = {
    "next": {_RIGHT: 0.0},
    "output": {_UP: 0.0, _RIGHT: 1.0},
    "learned": {_UP: 0.0, _RIGHT: 3.0, _DOWN: 4.0},
    "state": {_UP: 0.0, _DOWN: 0.0},
}


def centre(cell: Cell) -> Point:
    """The middle track of a place."""
    return cell[0] * PITCH + 1, cell[1] * PITCH + 1


@dataclass(frozen=True)
class Wire:
    """One edge of the picture; ``rail`` ones go first and straight.

    ``broken`` ones go last, so that no solid wire forks from what is drawn in dashes.
    """

    source: str
    target: str
    rail: bool = False
    broken: bool = False


@dataclass
class Router:
    """Ways of wires, one after the other.

    ``at`` are the places of things; joins are dots, all others take the three tracks of their
    column and their row.
    """

    at: Mapping[str, Cell]
    roles: Mapping[str, str]
    ways: dict[tuple[str, str], Way] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dots = frozenset(key for key, role in self.roles.items() if role == "join")
        columns, rows = (max(cell[k] for cell in self.at.values()) + 1 for k in (0, 1))
        self.low = (-CHANNELS, -CHANNELS)
        self.high = (columns * PITCH, rows * PITCH)
        self.solid: dict[Point, str] = {}
        for key, cell in self.at.items():
            x, y = centre(cell)
            reach = 0 if key in self.dots else 1
            for dx in range(-reach, reach + 1):
                for dy in range(-reach, reach + 1):
                    self.solid[x + dx, y + dy] = key
        self.through: dict[Point, dict[str, str]] = {}

    def route(self, wires: Sequence[Wire]) -> None:
        """Find a way for every wire, then look for better ones with the others in place."""
        ordered = self._first(sorted(wires, key=self._length))
        for _ in range(1 + (len(wires) < _MANY)):
            for source in dict.fromkeys(wire.source for wire in ordered):
                own = [wire for wire in ordered if wire.source == source]
                self._again(source, own)

    def _first(self, ordered: list[Wire]) -> list[Wire]:
        """Some way for each wire; one that finds none is tried before the others."""
        for _ in range(_TRIES):
            try:
                for wire in ordered:
                    self._add(wire)
            except NoWay as found:
                ordered = [found.wire, *(wire for wire in ordered if wire != found.wire)]
                ordered.sort(key=lambda wire: (not wire.rail, wire.broken))
                for source in {wire.source for wire in ordered}:
                    self._drop(source)
            else:
                return ordered
        raise NoWay(ordered[0])

    def _again(self, source: str, own: list[Wire]) -> None:
        """A net anew if it crosses others; the old one back where that is no better."""
        old = {(w.source, w.target): self.ways[w.source, w.target] for w in own}
        if not any(len(self.through[point]) > 1 for way in old.values() for point in way):
            return
        before = self._worth(source, old)
        self._drop(source)
        try:
            for wire in own:
                self._add(wire)
            new = {(w.source, w.target): self.ways[w.source, w.target] for w in own}
            is_better = self._worth(source, new) < before
        except NoWay:
            is_better = False
        if not is_better:
            self._drop(source)
            for ends, way in old.items():
                self._keep(ends, way)

    def _worth(self, source: str, ways: Mapping[tuple[str, str], Way]) -> float:
        """What the ways of a net cost."""
        cost = 0.0
        for way in ways.values():
            cost += len(way) + _BEND * sum(1 for _ in bends(way))
            cost += _CROSSING * sum(len(self.through.get(p, {}).keys() - {source}) > 0 for p in way)
        return cost

    def _length(self, wire: Wire) -> tuple[bool, bool, bool, int]:
        (a, b), (c, d) = self.at[wire.source], self.at[wire.target]
        return not wire.rail, wire.broken, a != c and b != d, abs(a - c) + abs(b - d)

    def _drop(self, source: str) -> None:
        for ends in [ends for ends in self.ways if ends[0] == source]:
            del self.ways[ends]
        for owners in self.through.values():
            owners.pop(source, None)

    def _keep(self, ends: tuple[str, str], way: Way) -> None:
        self.ways[ends] = way
        source = ends[0]
        for place, point in enumerate(way):
            before = way[place - 1] if place else None
            after = way[place + 1] if place + 1 < len(way) else None
            self._mark(point, source, before, after)

    def _mark(self, point: Point, source: str, before: Point | None, after: Point | None) -> None:
        kinds = {("h" if other[1] == point[1] else "v") for other in (before, after) if other}
        kind = kinds.pop() if len(kinds) == 1 and before and after else "x"
        owners = self.through.setdefault(point, {})
        owners[source] = kind if owners.get(source, kind) == kind else "x"

    def _add(self, wire: Wire) -> None:
        for near in _NEAR:
            way = self._find(wire, near)
            if way:
                self._keep((wire.source, wire.target), way)
                return
        raise NoWay(wire)

    def _window(self, wire: Wire, near: int) -> tuple[Point, Point]:
        """The part of the tracks around both ends of a wire."""
        (a, b), (c, d) = self.at[wire.source], self.at[wire.target]
        low = ((min(a, c) - near) * PITCH, (min(b, d) - near) * PITCH)
        high = ((max(a, c) + near + 1) * PITCH, (max(b, d) + near + 1) * PITCH)
        return (
            (max(low[0], self.low[0]), max(low[1], self.low[1])),
            (min(high[0], self.high[0]), min(high[1], self.high[1])),
        )

    def _find(self, wire: Wire, near: int) -> Way:
        """The cheapest way from the net of the source to the target; empty where none is near."""
        source, target = wire.source, wire.target
        goals = dict(self._entries(target, wire))
        low, high = self._window(wire, near)
        gx, gy = centre(self.at[target])
        heap: list[tuple[float, float, int, Point, int]] = []
        best: dict[tuple[Point, int], float] = {}
        came: dict[tuple[Point, int], tuple[Point, int] | None] = {}
        tick = 0
        for point, direction, cost in self._starts(source, wire):
            for d in (direction,) if direction >= 0 else range(4):
                if cost < best.get((point, d), 1e9):
                    best[point, d], came[point, d] = cost, None
                    tick += 1
                    heappush(heap, (cost + _least(point, d, gx, gy), -cost, tick, point, d))
        while heap:
            _, cost, _, point, d = heappop(heap)
            cost = -cost
            if cost > best[point, d]:
                continue
            if (point, d) in goals:
                return self._traced(came, (point, d))
            for state, extra in self._moves(point, d, source, target, goals):
                if not (low[0] <= state[0][0] < high[0] and low[1] <= state[0][1] < high[1]):
                    continue
                total = cost + extra
                if total < best.get(state, 1e9):
                    best[state], came[state] = total, (point, d)
                    tick += 1
                    guess = total + _least(*state, gx, gy)
                    heappush(heap, (guess, -total, tick, *state))
        return []

    def _traced(
        self, came: Mapping[tuple[Point, int], tuple[Point, int] | None], state: tuple[Point, int]
    ) -> Way:
        way = [state[0]]
        step = came[state]
        while step is not None:
            if step[0] != way[-1]:
                way.append(step[0])
            step = came[step]
        return way[::-1]

    def _moves(
        self,
        point: Point,
        d: int,
        source: str,
        target: str,
        goals: Mapping[tuple[Point, int], float],
    ) -> Iterator[tuple[tuple[Point, int], float]]:
        others = self.through.get(point, {})
        crossing = any(who != source for who in others)
        for turn, (dx, dy) in enumerate(_MOVES):
            if turn + d == 3 or (turn != d and crossing):
                continue
            after = (point[0] + dx, point[1] + dy)
            extra = 1.0 + (_BEND if turn != d else 0) + (_BACK if turn == 3 else 0)
            owner = self.solid.get(after)
            if owner is not None:
                if owner != target or (after, turn) not in goals:
                    continue
                yield (after, turn), extra + goals[after, turn]
                continue
            foreign = [kind for who, kind in self.through.get(after, {}).items() if who != source]
            if foreign:
                along = "h" if dy == 0 else "v"
                if any(kind in ("x", along) for kind in foreign):
                    continue
                extra += _CROSSING
            yield (after, turn), extra

    def _starts(self, source: str, wire: Wire) -> Iterator[tuple[Point, int, float]]:
        """Points of the net, free to turn, and the ports that wires may leave by."""
        net = {p for ends, way in self.ways.items() if ends[0] == source for p in way[1:]}
        for point in net:
            alone = len(self.through.get(point, {})) == 1
            if alone and point not in self.solid:
                yield point, -1, 1.0
        x, y = centre(self.at[source])
        if source in self.dots:
            yield from (((x, y), d, 0.0) for d in range(3))
            return
        if wire.rail:
            yield (x + 1, y), 0, 0.0
            return
        leaves = any(ends[0] == source for ends in self.ways)
        for d, cost in _LEAVING.get(self.roles[source], _ANYWHERE).items():
            dx, dy = _MOVES[d]
            if self._is_free((x + dx, y + dy), source):
                yield (x + dx, y + dy), d, cost + _SIDE * leaves

    def _is_free(self, port: Point, source: str) -> bool:
        """Whether no other wire has taken a port."""
        return all(who == source for who in self.through.get(port, {}))

    def _entries(self, target: str, wire: Wire) -> Iterator[tuple[tuple[Point, int], float]]:
        """The ports that wires may enter by, with the direction, each with its price."""
        x, y = centre(self.at[target])
        if target in self.dots:
            yield from ((((x, y), d), 0.0) for d in range(3))
            return
        if wire.rail:
            yield ((x - 1, y), 0), 0.0
            return
        for d, cost in _ENTERING.get(self.roles[target], _ANYWHERE).items():
            dx, dy = _MOVES[d]
            aside = _ASIDE if self.roles[target] == "circle" else 0.5
            for shift in (0,) if self.roles[target] == "bar" and dy else (0, -1, 1):
                port = (x - dx + shift * abs(dy), y - dy + shift * abs(dx))
                if not self.through.get(port):
                    yield (port, d), cost + abs(shift) * aside


def _least(point: Point, d: int, x: int, y: int) -> float:
    """What the way from a point to a place costs at least, two tracks for its box apart."""
    dx, dy = abs(point[0] - x), abs(point[1] - y)
    turns = (dx > 1 and dy > 1) or (d in (_RIGHT, _LEFT) and dy > 1) or (
        d in (_UP, _DOWN) and dx > 1
    )  # fmt: skip
    return max(0, dx + dy - 2) + (_BEND if turns else 0)


class NoWay(Exception):
    """There is no way left for a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(f"no way from {wire.source} to {wire.target}")
        self.wire = wire


def bends(way: Way) -> Iterator[Point]:
    """The points at which a way turns."""
    for before, point, after in zip(way, way[1:], way[2:], strict=False):
        if (point[0] - before[0], point[1] - before[1]) != (
            after[0] - point[0],
            after[1] - point[1],
        ):
            yield point


def corners(way: Way) -> list[Point]:
    """A way by its ends and the points at which it turns."""
    return [way[0], *bends(way), way[-1]] if len(way) > 1 else list(way)
