"""Types: what kind of numbers, of which shape, varying along which axes.

Extent, not shape, carries the axes along which a value varies. Batch and time are two
of them: a weight has none, a weight per layer has ``{depth}``, a mask per sequence
``{batch}``, an input ``{batch, time}``. Shapes hold only what the equations speak of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cellc.ir.dimension import Dim

DType = Literal["real", "integer", "boolean"]
Shape = tuple[Dim, ...]
Extent = frozenset[str]

BATCH = "batch"
TIME = "time"
NOWHERE: Extent = frozenset()
EVERYWHERE: Extent = frozenset({BATCH, TIME})


@dataclass(frozen=True)
class Type:
    """The type of a value: ``[H] over {batch, time}``."""

    shape: Shape
    extent: Extent
    dtype: DType = "real"

    def __str__(self) -> str:
        prefix = "" if self.dtype == "real" else f"{self.dtype} "
        return f"{prefix}{shape_text(self.shape)} over {extent_text(self.extent)}"


class TypeMismatch(Exception):
    """Operands do not fit an operation.

    ``slots`` are the positions of the operands that clash, for a message to point at.
    """

    def __init__(self, message: str, slots: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.slots = message, slots


def shape_text(shape: Shape) -> str:
    """``[H, 4*H]``; a scalar is ``[]``."""
    return f"[{', '.join(map(str, shape))}]"


def extent_text(extent: Iterable[str]) -> str:
    """``{batch, time}``, in alphabetical order."""
    return f"{{{', '.join(sorted(extent))}}}"


def union(types: Iterable[Type]) -> Extent:
    """The axes along which any of the types varies."""
    return frozenset(axis for type_ in types for axis in type_.extent)


def sequence_axis(extent: Extent) -> str | None:
    """The axis along which a value is a sequence: what it varies along besides the batch."""
    return next(iter(extent - {BATCH}), None)


def positions(inner: Shape, outer: Shape) -> tuple[int, ...] | None:
    """Where the dimensions of ``inner`` stand in ``outer``, in order and without doubt.

    None where ``outer`` does not contain ``inner``, or contains it in two ways.
    """
    found = [()] if not inner else _placements(inner, outer, 0)
    return found[0] if len(found) == 1 else None


def _placements(inner: Shape, outer: Shape, start: int) -> list[tuple[int, ...]]:
    if not inner:
        return [()]
    return [
        (index, *rest)
        for index in range(start, len(outer))
        if outer[index] == inner[0]
        for rest in _placements(inner[1:], outer, index + 1)
    ]
