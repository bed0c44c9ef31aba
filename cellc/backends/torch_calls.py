"""Regions of an ``autograd.Function`` whose loops are calls, of C++ or of kernels on a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cellc.backends.blocks import Blocks
from cellc.backends.pyast import Item
from cellc.backends.torch_derived import FunctionEmitter
from cellc.ir import Loop, Schedule


class LoopCalls(FunctionEmitter):
    """Writes the regions of a function whose loops are calls.

    A loop is not in blocks of steps, and what the derivative reads of it is there for all steps.
    ``made`` are what writes the loops, in the order of the calls.
    """

    direction = "forward"
    made: list[Any]

    def __init__(
        self, schedule: Schedule, known: dict[str, str] | None = None,
        taken: Iterable[str] = (), saved: Iterable[str] = (), listed: Iterable[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(schedule, known, taken, saved, listed)
        self.blocks = Blocks(replace(schedule, regions=()), {})
        self.local, self.stored = set(), set()
        self.made = []

    @property
    def listed(self) -> list[str]:
        return []

    def read_of(self, region: Loop) -> tuple[list[str], list[str]]:
        """The values of a loop that are read of it, and those that only the derivative reads."""
        always = self.needed_later(region)
        return always, [n for n in region.values if n in self.saved and n not in always]

    def starts_of(self, region: Loop) -> list[Item]:
        """The starts of states that depend on the call; a derivative has none."""
        if self.direction == "backward":
            return []
        starts = (self.computed_start(state, region.axis) for state in region.carries)
        return [line for lines in starts for line in lines]
