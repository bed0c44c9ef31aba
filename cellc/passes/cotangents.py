"""What flows into a value backwards: collected, summed, and fitted to the value's type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

from cellc.ir import Dim, Type
from cellc.ops.op import Attrs
from cellc.passes.edit import Edit

#: A size for every name, by which ends of slices are put in order.
_SAMPLE = 1009


@dataclass(frozen=True)
class Piece:
    """The cotangent of a part of a value, from ``start`` to ``stop`` along ``axis``."""

    value: str
    start: Dim
    stop: Dim
    axis: int


@dataclass
class Cotangent:
    """All that flows into one value: from the whole, from its slices and from its places."""

    whole: list[str] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    places: dict[int, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.whole or self.pieces or self.places)


def collected(edit: Edit, found: Cotangent, type_: Type, fixed: Mapping[str, int]) -> str:
    """The one value that a cotangent is, of the type of what it is the cotangent of.

    ``fixed`` are the dimensions that are numbers.
    """
    parts = list(found.whole)
    for axis in sorted({piece.axis for piece in found.pieces}):
        parts += _joined(edit, [p for p in found.pieces if p.axis == axis], type_, axis)
    if found.places:
        parts.append(_stacked(edit, found.places, type_, fixed))
    return added(edit, parts)


def added(edit: Edit, parts: list[str]) -> str:
    """The sum of several values."""
    return reduce(lambda a, b: edit.add("add", [a, b]), parts)


def fitted(edit: Edit, value: str, type_: Type) -> str:
    """A cotangent summed over the dimensions and over the extent that its value lacks."""
    have = edit.nodes[value].type
    if have.shape != type_.shape:
        value = edit.add("sum_to", [value], shape=type_.shape)
    lacking = edit.nodes[value].type.extent - type_.extent
    return summed(edit, value, lacking) if lacking else value


def summed(edit: Edit, value: str, axes: frozenset[str]) -> str:
    """The sum over axes; of outer products, one product."""
    node = edit.nodes[value]
    over = " ".join(sorted(axes))
    if node.op.name == "outer" and "batch" in axes:
        left, right = node.args
        left = _narrowed(edit, left, right, axes)
        right = _narrowed(edit, right, left, axes)
        common = edit.nodes[left].type.extent & edit.nodes[right].type.extent & axes
        if common:
            return edit.add("outer_sum", [left, right], over=" ".join(sorted(common)))
        return edit.add("outer", [left, right])
    return edit.add("sum_over", [value], over=over)


def _narrowed(edit: Edit, value: str, other: str, axes: frozenset[str]) -> str:
    """A factor of a summed product, summed already over what the other does not vary along."""
    alone = (edit.nodes[value].type.extent & axes) - edit.nodes[other].type.extent
    return edit.add("sum_over", [value], over=" ".join(sorted(alone))) if alone else value


def _joined(edit: Edit, pieces: list[Piece], type_: Type, axis: int) -> list[str]:
    """The pieces along one dimension as values of the whole, zeros where there is none."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: _sample(p.start)):
        for row in rows:
            if _sample(row[-1].stop) <= _sample(piece.start):
                row.append(piece)
                break
            if (row[-1].start, row[-1].stop) == (piece.start, piece.stop):
                both = edit.add("add", [row[-1].value, piece.value])
                row[-1] = Piece(both, piece.start, piece.stop, axis)
                break
        else:
            rows.append([piece])
    return [_filled(edit, row, type_, axis) for row in rows]


def _filled(edit: Edit, row: list[Piece], type_: Type, axis: int) -> str:
    parts: list[str] = []
    place = Dim.of(0)
    for piece in row:
        if piece.start != place:
            parts.append(_zeros(edit, type_, axis, piece.start - place))
        parts.append(piece.value)
        place = piece.stop
    if place != type_.shape[axis]:
        parts.append(_zeros(edit, type_, axis, type_.shape[axis] - place))
    more: Attrs = {"axis": axis} if axis else {}
    return edit.add("concat", parts, frozenset(), **more) if len(parts) > 1 else parts[0]


def _zeros(edit: Edit, type_: Type, axis: int, size: Dim) -> str:
    shape = (*type_.shape[:axis], size, *type_.shape[axis + 1 :])
    return edit.add("zeros", shape=shape)


def _stacked(
    edit: Edit, places: Mapping[int, list[str]], type_: Type, fixed: Mapping[str, int]
) -> str:
    """The cotangents of the places along the first dimension, zeros where there is none."""
    dim = type_.shape[0]
    values = [
        added(edit, places[index]) if index in places else edit.add("zeros", shape=type_.shape[1:])
        for index in range(dim.evaluate(fixed))
    ]
    return edit.add("stack", values, dim=dim)


def _sample(dim: Dim) -> float:
    return dim.estimate({}, _SAMPLE)
