"""Wires between things on a grid of tracks: right-angled, through no box, with few crossings.

Every column and every row of a placement is three tracks, on which boxes stand, and some
channels beside them. A wire takes the cheapest way over the tracks from what is there of its
net to where it ends; bends and crossings cost. Wires of one source share their way and fork.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from cellc.views.placement import Cell
from cellc.views.tracks import (
    DOWN,
    LEFT,
    MOVES,
    RIGHT,
    UP,
    End,
    Point,
    Tracks,
    Turns,
    Way,
    Window,
    points,
)

Ends = tuple[str, str]

#: Tracks of a column or a row: three for boxes and their ports, then channels.
BOX, CHANNELS = 3, 4
PITCH = BOX + CHANNELS

#: How often a first way is tried for, and better ones; what has few wires is tried harder.
_TRIES, _AGAIN, _FEW = 6, 3, 120

#: How far beside its ends, in places, a way is looked for at first.
_NEAR = (1, 4, 1000)

#: What it costs a wire to leave a thing in a direction, and to enter it, in halves of a track;
#: to leave it a second time, and to enter it beside the middle.
_ANYWHERE = {RIGHT: 0, UP: 2, DOWN: 2}
_LEAVING = {
    "state": {RIGHT: 0},
    "input": {UP: 0},
    "learned": {UP: 0, RIGHT: 4, DOWN: 6},
    "block": {UP: 0, RIGHT: 4},
    "turned block": {UP: 0, LEFT: 0},
    "turned state": {LEFT: 0},
}
_ENTERING = {
    "next": {RIGHT: 0},
    "output": {UP: 0, RIGHT: 2},
    "learned": {UP: 0, RIGHT: 6, DOWN: 8},
    "block": {UP: 0, RIGHT: 6},
    "turned block": {UP: 0, LEFT: 0},
    "turned next": {LEFT: 0},
    "state": {UP: 0, DOWN: 0},
}
_FROM_DOT = {RIGHT: 0, UP: 0, DOWN: 0, LEFT: 8}
_SECOND, _ASIDE, _ASIDE_OF_CIRCLE = 6, 1, 16


def centre(cell: Cell) -> Point:
    """The middle track of a place."""
    return cell[0] * PITCH + 1, cell[1] * PITCH + 1


@dataclass(frozen=True)
class Wire:
    """One edge of the picture; ``rail`` ones go first and straight.

    Those of a lower ``rank`` go first, so that they fork from none of a higher one.
    """

    source: str
    target: str
    rail: bool = False
    rank: int = 0

    @property
    def ends(self) -> Ends:
        """From where to where it goes."""
        return self.source, self.target


class NoWay(Exception):
    """There is no way left for a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(f"no way from {wire.source} to {wire.target}")
        self.wire = wire


@dataclass
class Router:
    """Ways of wires, one after the other.

    ``at`` are the places of things; joins are dots, all others take the three tracks of their
    column and their row. The wires of one source are a net. ``late`` says which of ways that
    cost the same is taken: that which bends late.
    """

    at: Mapping[str, Cell]
    roles: Mapping[str, str]
    late: bool = False
    turns: dict[Ends, Turns] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dots = frozenset(key for key, role in self.roles.items() if role == "join")
        self.sources = list(self.at)
        self.nets = {key: number for number, key in enumerate(self.sources, 1)}
        columns, rows = (max(cell[k] for cell in self.at.values()) + 1 for k in (0, 1))
        self.tracks = Tracks(columns * PITCH, rows * PITCH, CHANNELS)
        for key, cell in self.at.items():
            self.tracks.fill(centre(cell), 0 if key in self.dots else 1)

    @property
    def ways(self) -> dict[Ends, Way]:
        """All points of each way."""
        return {ends: points(turns) for ends, turns in self.turns.items()}

    def route(self, wires: Sequence[Wire]) -> None:
        """Find a way for every wire, then look for better ones with the others in place."""
        ordered = sorted(wires, key=self._length)
        self._route_all(ordered)
        if len(wires) <= _FEW:
            self._route_otherwise(ordered)
            nets = _nets_of(ordered)
            for own in nets.values():
                self._try_with_others(own, nets)

    def _route_otherwise(self, ordered: list[Wire]) -> None:
        """All wires anew, with other ones of ways that cost the same, where that is better."""
        rank, turns = self._rank(ordered), self.turns.copy()
        self._drop(ordered)
        self.late = not self.late
        try:
            self._route_all(ordered)
            is_better = self._rank(ordered) < rank
        except NoWay:
            is_better = False
        if not is_better:
            self.late = not self.late
            self._restore(turns)

    def _route_all(self, ordered: list[Wire]) -> None:
        nets = _nets_of(self._first(ordered))
        for _ in range(_AGAIN):
            improved = [self._again(own) for own in nets.values()]
            if not any(improved):
                return

    def _rank(self, wires: Sequence[Wire]) -> tuple[int, int]:
        """How often all wires cross, and what they cost."""
        return sum(len(self._crossed([wire])) for wire in wires), self._price(wires)

    def _length(self, wire: Wire) -> tuple[bool, int, bool, int]:
        (a, b), (c, d) = self.at[wire.source], self.at[wire.target]
        return not wire.rail, wire.rank, a != c and b != d, abs(a - c) + abs(b - d)

    def _first(self, ordered: list[Wire]) -> list[Wire]:
        """Some way for each wire; one that finds none is tried before the others."""
        for _ in range(_TRIES):
            try:
                for wire in ordered:
                    self._add(wire)
            except NoWay as found:
                ordered = [found.wire, *(wire for wire in ordered if wire != found.wire)]
                ordered.sort(key=lambda wire: (not wire.rail, wire.rank))
                self._drop(ordered)
            else:
                return ordered
        raise NoWay(ordered[0])

    def _again(self, wires: Sequence[Wire]) -> bool:
        """Nets anew if they cross others; the old ways back where that is no better."""
        if not self._crossed(wires):
            return False
        old, before = {wire.ends: self.turns[wire.ends] for wire in wires}, self._price(wires)
        self._drop(wires)
        try:
            for wire in wires:
                self._add(wire)
            is_better = self._price(wires) < before
        except NoWay:
            is_better = False
        if not is_better:
            self._restore(old)
        return is_better

    def _try_with_others(self, own: list[Wire], nets: Mapping[str, list[Wire]]) -> None:
        """A net anew together with each one that it crosses, either of them first."""
        number = self.nets[own[0].source]
        for crossed in dict.fromkeys(self._crossed(own)):
            if crossed > number:
                other = nets[self.sources[crossed - 1]]
                if not self._again([*own, *other]):
                    self._again([*other, *own])

    def _crossed(self, wires: Sequence[Wire]) -> list[int]:
        """The nets that some wires cross, as often as they do."""
        found = (self.tracks.crossed(self.turns[w.ends], self.nets[w.source]) for w in wires)
        return list(chain.from_iterable(found))

    def _price(self, wires: Sequence[Wire]) -> int:
        """What the ways of some wires cost."""
        return sum(
            self.tracks.price(self.turns[wire.ends], self.nets[wire.source]) for wire in wires
        )

    def _drop(self, wires: Sequence[Wire]) -> None:
        """Forget the ways of whole nets."""
        for wire in wires:
            self._forget(wire.ends)

    def _restore(self, turns: Mapping[Ends, Turns]) -> None:
        """Ways as they were, in place of those that are there."""
        for ends in turns:
            self._forget(ends)
        for ends, way in turns.items():
            self._keep(ends, way)

    def _forget(self, ends: Ends) -> None:
        if ends in self.turns:
            self.tracks.release(self.turns.pop(ends))

    def _keep(self, ends: Ends, turns: Turns) -> None:
        self.turns[ends] = turns
        self.tracks.take(turns, self.nets[ends[0]])

    def _add(self, wire: Wire) -> None:
        starts, ends = list(self._starts(wire)), list(self._ends(wire))
        for near in _NEAR:
            window = self._window(wire, near)
            turns = self.tracks.find(self.nets[wire.source], starts, ends, window, self.late)
            if turns:
                self._keep(wire.ends, turns)
                return
        raise NoWay(wire)

    def _window(self, wire: Wire, near: int) -> Window:
        """The part of the tracks around both ends of a wire."""
        (a, b), (c, d) = self.at[wire.source], self.at[wire.target]
        return Window(
            (min(a, c) - near) * PITCH,
            (max(a, c) + near + 1) * PITCH,
            (min(b, d) - near) * PITCH,
            (max(b, d) + near + 1) * PITCH,
        )

    def _starts(self, wire: Wire) -> Iterator[End]:
        """The ports that wires may leave by; they may leave from their net, too."""
        source = wire.source
        x, y = centre(self.at[source])
        if source in self.dots:
            yield from (End((x, y), d, price) for d, price in _FROM_DOT.items())
            return
        if wire.rail:
            yield End((x + 1, y), RIGHT, 0)
            return
        leaves = any(ends[0] == source for ends in self.turns)
        for d, price in _LEAVING.get(self.roles[source], _ANYWHERE).items():
            port = (x + MOVES[d][0], y + MOVES[d][1])
            if self.tracks.is_free(port, self.nets[source]):
                yield End(port, d, price + _SECOND * leaves)

    def _ends(self, wire: Wire) -> Iterator[End]:
        """The ports that wires may enter by, with the direction, each with its price."""
        role = self.roles[wire.target]
        x, y = centre(self.at[wire.target])
        if wire.target in self.dots:
            yield from (End((x, y), d, 0) for d in (RIGHT, UP, DOWN))
            return
        if wire.rail:
            yield End((x - 1, y), RIGHT, 0)
            return
        aside = _ASIDE_OF_CIRCLE if role == "circle" else _ASIDE
        for d, price in _ENTERING.get(role, _ANYWHERE).items():
            dx, dy = MOVES[d]
            for shift in (0,) if role == "bar" and dy else (0, -1, 1):
                port = (x - dx + shift * abs(dy), y - dy + shift * abs(dx))
                if self.tracks.is_free(port):
                    yield End(port, d, price + abs(shift) * aside)


def _nets_of(wires: Sequence[Wire]) -> dict[str, list[Wire]]:
    """Wires by their sources."""
    nets: dict[str, list[Wire]] = {}
    for wire in wires:
        nets.setdefault(wire.source, []).append(wire)
    return nets
