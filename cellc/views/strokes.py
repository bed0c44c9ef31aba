"""Wires as curves: rounded corners, and hops where one crosses another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Spot = tuple[float, float]

_ROUND, _HOP, _HIGH = 6.0, 4.0, 5.0


def curve(spots: Sequence[Spot], hops: Iterable[Spot] = ()) -> list[Spot]:
    """The points of a Bézier curve, as Graphviz takes it, along corners of right angles.

    A horizontal piece leaps over each of the ``hops`` that lie on it.
    """
    points, over = [spots[0]], list(hops)
    for before, corner, after in zip(spots, spots[1:], spots[2:], strict=False):
        radius = min(_ROUND, _length(before, corner) / 2, _length(corner, after) / 2)
        _run(points, _towards(corner, before, radius), over)
        end = _towards(corner, after, radius)
        points += [_between(points[-1], corner), _between(end, corner), end]
    _run(points, spots[-1], over)
    return points


def shortened(spots: Sequence[Spot], by: float) -> list[Spot]:
    """A wire without its very end, where the head of its arrow is."""
    last, before = spots[-1], spots[-2]
    return [*spots[:-1], _towards(last, before, min(by, _length(last, before) * 0.6))]


def _run(points: list[Spot], end: Spot, over: Iterable[Spot]) -> None:
    """A straight piece to a point, with hops."""
    start = points[-1]
    if abs(start[1] - end[1]) < 0.01:
        sign = 1 if end[0] > start[0] else -1
        low, high = sorted((start[0], end[0]))
        on = [x for x, y in over if abs(y - start[1]) < 0.01 and low + _HOP < x < high - _HOP]
        for x in sorted(on, reverse=sign < 0):
            near, far = (x - sign * _HOP, start[1]), (x + sign * _HOP, start[1])
            _straight(points, near)
            points += [(near[0], near[1] + _HIGH), (far[0], far[1] + _HIGH), far]
    _straight(points, end)


def _straight(points: list[Spot], end: Spot) -> None:
    start = points[-1]
    points += [_part(start, end, 1 / 3), _part(start, end, 2 / 3), end]


def _length(a: Spot, b: Spot) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(a: Spot, b: Spot, by: float) -> Spot:
    length = _length(a, b)
    return a if not length else _part(a, b, by / length)


def _between(a: Spot, corner: Spot) -> Spot:
    return _part(a, corner, 2 / 3)


def _part(a: Spot, b: Spot, share: float) -> Spot:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
