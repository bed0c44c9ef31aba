"""The scheduled form of a cell: what is computed once, at once, and step by step.

A schedule is a straight line of regions. A value of a region may use values of the
regions before it; inside a loop, the states it carries close the circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cellc.ir.cell import Cell
from cellc.ir.kernels import StepPart
from cellc.ir.types import NOWHERE, Extent

Recurrence = Literal["dense", "block", "diagonal", "diagonal affine"]


@dataclass(frozen=True)
class Once:
    """Values without batch and time: computed once per call, before or after the loops."""

    values: tuple[str, ...]
    extent: Extent = NOWHERE


@dataclass(frozen=True)
class AtOnce:
    """Values computed for the whole of their extent at once."""

    values: tuple[str, ...]
    extent: Extent


@dataclass(frozen=True)
class Loop:
    """Values computed step by step along an axis, because they depend on each other.

    ``carries`` are the states that pass from step to step. ``recurrence`` is the form of
    the Jacobian of their next values by their present ones; ``depth`` is the number of
    matrix products that one step must do one after the other. A ``backward`` loop begins
    with the last step. ``reason`` says in words what makes the recurrence no simpler.
    ``parts`` are what a step does one after the other: ``values`` are the states and then
    the values of the parts, in this order. Where loops are compiled, products that do not wait
    for the loop may belong to it, to be computed for some steps ``ahead``.
    """

    values: tuple[str, ...]
    axis: str
    carries: tuple[str, ...]
    recurrence: Recurrence
    depth: int
    extent: Extent
    backward: bool = False
    reason: str = field(default="", compare=False)
    parts: tuple[StepPart, ...] = ()
    ahead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan(Loop):
    """A loop whose steps are all ``factor*state + term``, which a parallel scan can compute.

    Its values are the one state that it carries and the next value of that; where scans are
    kernels, values that these are made of, and that are made of them, as well. ``always`` says
    that a scan is used, rather than where that is faster than one step after the other.
    """

    factor: str = ""
    term: str = ""
    always: bool = False


@dataclass(frozen=True)
class AtConstruction:
    """Values that only the initial values of parameters and the starts of states need.

    The constructor computes the former, a call without a state the latter.
    """

    values: tuple[str, ...]
    extent: Extent = NOWHERE


Region = Once | AtOnce | Loop | AtConstruction


@dataclass(frozen=True)
class Schedule:
    """A cell and the regions that its values are computed in, in order.

    ``gradient`` is the schedule of its derivative, where one is wanted, ``written`` that of
    the cell as it was written, where a trace is, ``diagonals`` what runs in its place, where
    its loops take their steps together, ``scanned`` what does with scans in place of loops,
    where emitted code is to choose, ``compiled`` what does where its loops are compiled.
    """

    cell: Cell
    regions: tuple[Region, ...]
    gradient: Gradient | None = field(default=None, compare=False, repr=False)
    written: Schedule | None = field(default=None, compare=False, repr=False)
    diagonals: Diagonals | None = field(default=None, compare=False, repr=False)
    scanned: Schedule | None = field(default=None, compare=False, repr=False)
    compiled: Schedule | None = field(default=None, compare=False, repr=False)

    @property
    def inner(self) -> Schedule:
        """What is run: the schedule along diagonals where there is one, else this."""
        return self if self.diagonals is None else self.diagonals.schedule

    @property
    def loops(self) -> tuple[Loop, ...]:
        return tuple(region for region in self.regions if isinstance(region, Loop))

    @property
    def scans(self) -> tuple[Scan, ...]:
        """The scans of the schedule and of its derivative."""
        back = () if self.gradient is None else self.gradient.schedule.loops
        return tuple(loop for loop in (*self.loops, *back) if isinstance(loop, Scan))

    def cell_of(self, loop: Loop) -> Cell:
        """The cell that a loop belongs to, this one or its derivative."""
        back = self.gradient
        return self.cell if loop in self.loops or back is None else back.schedule.cell

    def values_in_loops(self) -> Iterator[str]:
        """The names of all values that are computed step by step."""
        for loop in self.loops:
            yield from loop.values


@dataclass(frozen=True)
class Gradient:
    """The derivative of a scheduled cell: what it reads, and when it computes what.

    The inputs of its cell are ``saved`` values of the cell, inputs of the cell, and the
    cotangents of outputs, which ``outputs`` names by output. Its backward states are the
    cotangents of the cell's, by ``states``; other states are those of the cell. ``inputs``
    names the results for the cell's inputs; those for parameters are named like them.
    """

    schedule: Schedule
    saved: tuple[str, ...]
    outputs: Mapping[str, str]
    states: Mapping[str, str]
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Diagonals:
    """A scheduled cell along anti-diagonals: each loop runs some steps behind those it reads.

    It takes ``last`` steps more than the cell, and gives its outputs ``last`` steps late.
    ``inputs`` tells of which input or draw of the cell, and of how many steps before, each of
    its own is. ``states`` tells of which states of the cell each of its own is a stack; one
    that only waits for its readers is of none.
    """

    schedule: Schedule
    last: int
    inputs: Mapping[str, tuple[str, int]]
    states: Mapping[str, tuple[str, ...]]


def is_backward(cell: Cell, state: str) -> bool:
    """Whether a state travels from the last step to the first."""
    return bool(dict(cell.nodes[state].attrs).get("backward"))
