"""Stretches of a value, and where the units of the states stand in them.

Joins put the units of several states one behind the other, and slices take them apart again.
So a value is told part by part along its first dimension. Each dimension of a part may
*follow* a dimension of the states: unit by unit, or group by group as behind a
block-diagonal product. What follows nothing may depend on every unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cellc.ir import Dim
from cellc.ir.types import Shape

ZERO, ONE = Dim.of(0), Dim.of(1)


@dataclass(frozen=True)
class Follows:
    """A dimension goes over ``span`` of the ``groups`` of an axis of the states, from ``start``.

    ``fine``: a group is one unit, so that the dimension is as long as the span. Otherwise
    the dimension is cut into as many equal groups as there are.
    """

    axis: int
    groups: Dim
    start: Dim
    span: Dim
    fine: bool = True

    @property
    def whole(self) -> bool:
        """Whether it goes over all groups."""
        return self.start == ZERO and self.span == self.groups


Along = tuple[Follows | None, ...]


@dataclass(frozen=True)
class Part:
    """A stretch of a value's first dimension that depends on the states in one way.

    ``along`` has an entry for each dimension and is None where nothing depends on a state.
    ``mixed`` is the value that last took a dimension from its place, ``bent`` the first that
    is not linear in the states; both are empty where there is none.
    """

    size: Dim
    along: Along | None
    mixed: str = ""
    bent: str = ""


Dependence = tuple[Part, ...]


def of_state(shape: Shape, axes: Sequence[int]) -> Dependence:
    """A state's dependence on itself; ``axes`` number its dimensions among those of all states."""
    along = tuple(Follows(axis, size, ZERO, size) for axis, size in zip(axes, shape, strict=True))
    return (Part(shape[0] if shape else ONE, along),)


def one(value: Dependence, name: str) -> Part:
    """A value as one part: what its parts have in common, without the first dimension's place."""
    if len(value) == 1:
        return value[0]
    size = ZERO
    for part in value:
        size = size + part.size
    loose = [loosened(part, 0, name) for part in value if part.along is not None]
    return replace(meet(loose, name), size=size) if loose else Part(size, None)


def loosened(part: Part, dimension: int, name: str) -> Part:
    """A part one of whose dimensions has lost its place."""
    if part.along is None or part.along[dimension] is None:
        return part
    along = tuple(None if k == dimension else place for k, place in enumerate(part.along))
    return replace(part, along=along, mixed=name)


def spread(part: Part, placed: Sequence[int], rank: int, length: Dim) -> Part:
    """A part whose dimensions stand among more."""
    if part.along is None:
        return replace(part, size=length)
    places = dict(zip(placed, part.along, strict=True))
    return replace(part, size=length, along=tuple(places.get(k) for k in range(rank)))


def meet(parts: Sequence[Part], name: str) -> Part:
    """What depends on all that some parts of one length depend on; ``name`` is where they meet."""
    depending = [part for part in parts if part.along is not None]
    if not depending:
        return parts[0]
    alongs = [part.along for part in depending if part.along is not None]
    along = tuple(_common(places) for places in zip(*alongs, strict=True))
    bent = next(filter(None, (part.bent for part in depending)), "")
    worst = [part.mixed for part in depending if part.along == along]
    mixed = worst[0] if worst else name
    return Part(parts[0].size, along, mixed, bent)


def _common(places: Sequence[Follows | None]) -> Follows | None:
    """The coarsest of some places that agree, else None."""
    first = places[0]
    if first is None or any(place is None or place.axis != first.axis for place in places):
        return None
    known = dict.fromkeys(place for place in places if place is not None)
    if len(known) == 1:
        return first
    coarse = [place for place in known if not place.fine]
    if len(coarse) == 1 and all(place.whole for place in known):
        return coarse[0]
    return None


def _split(part: Part, first: Dim, name: str) -> tuple[Part, Part]:
    """A part cut in two, the first of a given length."""
    rest = part.size - first
    place = part.along[0] if part.along else None
    if part.along is None or place is None:
        return replace(part, size=first), replace(part, size=rest)
    if not place.fine:
        loose = loosened(part, 0, name)
        return replace(loose, size=first), replace(loose, size=rest)
    near = replace(place, span=first)
    far = replace(place, start=place.start + first, span=rest)
    others = part.along[1:]
    return (
        replace(part, size=first, along=(near, *others)),
        replace(part, size=rest, along=(far, *others)),
    )


def _longer(a: Dim, b: Dim) -> bool | None:
    """Whether a length exceeds another whatever the sizes are; None where that depends."""
    signs = {coefficient > 0 for _, coefficient in (a - b).terms}
    return next(iter(signs)) if len(signs) == 1 else None


def behind(value: Dependence, start: Dim, name: str) -> Dependence | None:
    """The parts from a place on; None where it cannot be told where that lies."""
    parts = list(value)
    while start != ZERO:
        if not parts:
            return None
        if parts[0].size == start:
            return tuple(parts[1:])
        longer = _longer(parts[0].size, start)
        if longer is None:
            return None
        if longer:
            return (_split(parts[0], start, name)[1], *parts[1:])
        start = start - parts.pop(0).size
    return tuple(parts)


def before(value: Dependence, length: Dim, name: str) -> Dependence | None:
    """The parts up to a length; None where it cannot be told which they are."""
    kept: list[Part] = []
    for part in value:
        if part.size == length:
            return (*kept, part)
        longer = _longer(part.size, length)
        if longer is None:
            return None
        if longer:
            return (*kept, _split(part, length, name)[0])
        kept.append(part)
        length = length - part.size
    return None


def cut_alike(values: Sequence[Dependence]) -> list[tuple[Part, ...]] | None:
    """The parts of several values cut at the same places; None where those cannot be told."""
    if all(len(value) == 1 for value in values):
        return [tuple(value[0] for value in values)]
    queues = [list(value) for value in values]
    rows: list[tuple[Part, ...]] = []
    while all(queues):
        shortest = queues[0][0].size
        for queue in queues[1:]:
            if queue[0].size != shortest:
                longer = _longer(shortest, queue[0].size)
                if longer is None:
                    return None
                shortest = queue[0].size if longer else shortest
        row = []
        for queue in queues:
            part = queue.pop(0)
            if part.size != shortest:
                part, rest = _split(part, shortest, "")
                queue.insert(0, rest)
            row.append(part)
        rows.append(tuple(row))
    return rows
