"""What emitted code calls things of an axis, and which axes and draws a cell has."""

from __future__ import annotations

from collections.abc import Iterable

from cellc.ir import TIME, Schedule
from cellc.ir.schedule import AtConstruction
from cellc.ir.types import sequence_axis
from cellc.syntax.characters import ascii_name

#: What an axis has names for in emitted code.
WORDS = ("steps", "lengths", "ends", "alive", "sizes", "rows", "packed")


def word(axis: str, stem: str) -> str:
    """``steps`` for time, ``target_steps`` for the axis target; likewise ``lengths``."""
    return stem if axis == TIME else f"{ascii_name(axis)}_{stem}"


def words(axes: Iterable[str]) -> list[str]:
    """All names that emitted code may use for what axes other than time have."""
    return [word(axis, stem) for axis in axes if axis != TIME for stem in WORDS]


def axes_of(schedule: Schedule) -> tuple[str, ...]:
    """The sequence axes of the values that a call computes, time first."""
    found: dict[str, None] = {}
    for region in schedule.regions:
        axis = sequence_axis(region.extent)
        if axis is not None and not isinstance(region, AtConstruction):
            found[axis] = None
    return tuple(sorted(found, key=lambda axis: axis != TIME))


def input_along(schedule: Schedule, axis: str) -> str | None:
    """The first input that is a sequence along the axis, which tells the number of steps."""
    nodes = schedule.cell.nodes
    return next((n for n in schedule.cell.inputs if axis in nodes[n].type.extent), None)
