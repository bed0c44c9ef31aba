"""Where the numbers of a value are: values that only join and cut others are seen through.

A value is a row of numbers, its dimensions one inside the other. Lengths are known by name
only; what cannot be ordered for all sizes is Unordered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cellc.ir import Cell, Dim, Node
from cellc.ir.dimension import product

ZERO = Dim.of(0)


class Unordered(Exception):
    """Two places whose order depends on the sizes."""


def size_of(node: Node) -> Dim:
    """How many numbers a value has for each sequence and step."""
    return product(node.type.shape)


def at_most(a: Dim, b: Dim) -> bool:
    """Whether a place is at or before another for all sizes. Raises Unordered."""
    signs = {coefficient > 0 for _, coefficient in (b - a).terms}
    if len(signs) > 1:
        raise Unordered
    return signs != {False}


def ordered(places: Iterable[Dim]) -> list[Dim]:
    """Places from the first to the last. Raises Unordered."""
    found: list[Dim] = []
    for place in places:
        found.insert(sum(at_most(other, place) for other in found), place)
    return found


def moved(cuts: Iterable[Dim], begin: Dim, length: Dim, to: Dim) -> set[Dim]:
    """The cuts within a stretch and its ends, as seen where the stretch begins elsewhere."""
    end = begin + length
    inner = {cut for cut in cuts if at_most(begin, cut) and at_most(cut, end)}
    return {cut - begin + to for cut in {begin, end, *inner}}


@dataclass(frozen=True)
class Places:
    """What the values ``inside`` a loop are made of; others are as they are."""

    cell: Cell
    inside: frozenset[str]

    def sources(self, name: str) -> list[tuple[str, Dim, Dim]] | None:
        """The parts that a value joins, or the one that it is cut from.

        Each is a value, the first place taken from it, and the place that it has here; None
        for a value that is computed.
        """
        node = self.cell.nodes[name]
        attrs, args = dict(node.attrs), node.args
        if name not in self.inside or attrs.get("axis", 0) != 0 or not args:
            return None
        size = self.cell.nodes[args[0]].type.shape
        inner = product(size[1:])
        match node.op.name:
            case "slice":
                start = attrs["start"]
                assert isinstance(start, Dim)
                return [(args[0], start * inner, ZERO)]
            case "at":
                index = attrs["index"]
                assert isinstance(index, int)
                return [(args[0], inner * index, ZERO)]
            case "concat" | "stack":
                return list(self._joined(args))
        return None

    def _joined(self, args: Iterable[str]) -> Iterator[tuple[str, Dim, Dim]]:
        here = ZERO
        for argument in args:
            yield argument, ZERO, here
            here = here + size_of(self.cell.nodes[argument])

    def pieces(self, name: str) -> Iterator[tuple[str, Dim, Dim, Dim]]:
        """As ``sources``, with how many numbers each part has."""
        sources = self.sources(name) or []
        for source, start, here in sources:
            node = self.cell.nodes[source if len(sources) > 1 else name]
            yield source, start, here, size_of(node)

    def root(self, name: str, place: Dim) -> tuple[str, Dim]:
        """The computed value that a number of a value is in, and its place there."""
        while parts := self.sources(name):
            behind = [part for part in parts if at_most(part[2], place)]
            source, start, here = behind[-1]
            name, place = source, start + (place - here)
        return name, place

    def whole(self, name: str) -> tuple[str, Dim] | None:
        """The computed value that contains all of a value in one piece, and where it begins."""
        place = ZERO
        while parts := self.sources(name):
            if len(parts) > 1:
                return None
            source, start, here = parts[0]
            name, place = source, start + (place - here)
        return name, place
