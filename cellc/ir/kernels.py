"""The parts of one step of a loop: products, reductions, and the kernels between them.

A kernel is a region of elementwise and structural values that one piece of code can compute
for each element by itself. What it reads and what it writes is stated, so that a backend
can emit it without looking at the rest of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """Elementwise and structural values of one step that are computed together.

    ``inputs`` are the values read from outside it: of earlier parts of the step, of regions
    before the loop, and carried states. ``outputs`` are those of its values that later
    parts, other regions or results read, next values of states among them. ``saved`` are
    those that the derivative reads; there are none where no gradient is wanted.
    """

    values: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    saved: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Single:
    """One value that is no part of a kernel; ``is_saved`` says whether the derivative reads it."""

    value: str
    is_saved: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        return (self.value,)

    @property
    def saved(self) -> tuple[str, ...]:
        return self.values if self.is_saved else ()


class Product(_Single):
    """A matrix product or convolution."""


class Reduction(_Single):
    """A reduction over features."""


StepPart = Kernel | Product | Reduction
