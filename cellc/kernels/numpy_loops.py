"""Compiled loops as functions of NumPy arrays."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellc.kernels.build import library
from cellc.kernels.choice import choose
from cellc.kernels.loops import SPARE, Address, fingerprint, first_of_line, packing, run

_BITS = {np.dtype(np.float32): 32, np.dtype(np.float64): 64}

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass
class Kernels:
    """The compiled loops of a cell, built for a type of numbers when that is first used.

    ``source`` is the text of a file in C++.
    """

    source: str
    libraries: dict[np.dtype[Any], ctypes.CDLL] = field(default_factory=dict)

    def library(self, dtype: np.dtype[Any]) -> ctypes.CDLL:
        """The library for a type of numbers.

        Raises TypeError for one that compiled loops do not know, and CellcError where the loops
        cannot be built.
        """
        if dtype not in _BITS:
            raise TypeError(f"compiled loops compute in float32 or float64, not {dtype}")
        if dtype not in self.libraries:
            self.libraries[dtype] = library(self.source, _BITS[dtype])
        return self.libraries[dtype]


@dataclass(frozen=True)
class Rows:
    """Where the steps of sequences are as the rows that a compiled loop runs over.

    The rows of a step stand together, the longest sequence first; where a sequence has ended
    it has none. ``ends`` (B,) tell where.
    """

    ends: NDArray[np.int64]
    steps: int

    @property
    def batch(self) -> int:
        """How many sequences there are."""
        return len(self.ends)

    @cached_property
    def ragged(self) -> bool:
        """Whether some sequence ends before the last step."""
        return bool((self.ends < self.steps).any())

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The sequences from the longest to the shortest."""
        order: NDArray[np.int64] = np.argsort(-self.ends, kind="stable")
        return order

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The rows of each step, and behind these the first row of each."""
        counts = (np.arange(self.steps)[:, None] < self.ends).sum(1, dtype=np.int64)
        return np.concatenate((counts, counts.cumsum() - counts))

    @cached_property
    def places(self) -> tuple[Array, Array]:
        """The step and the sequence of each row."""
        steps, places = np.nonzero(np.arange(self.steps)[:, None] < self.ends[self.order])
        return steps, self.order[places]

    def rows(self, value: Array) -> Array:
        """An array (T, B, …) as rows (N, n)."""
        if self.ragged:
            value = value[self.places]
        return value.reshape(len(value) * (1 if self.ragged else self.batch), -1)

    def in_order(self, value: Array) -> Array:
        """An array (B, …) in the order of the rows."""
        return value[self.order] if self.ragged else value

    def in_own_order(self, value: Array) -> Array:
        """An array in the order of the rows as (B, …)."""
        if not self.ragged:
            return value
        own = np.empty_like(value)
        own[self.order] = value
        return own

    def over_steps(self, value: Array, shape: Shape, zero: bool) -> Array:
        """Rows as an array (T, B, …).

        Behind the end of a sequence stands what it has at its last step, so that what is
        computed of it is a number there as well; or ``zero``.
        """
        if not self.ragged:
            return value.reshape(self.steps, self.batch, *shape)
        here = np.arange(self.steps)[:, None]
        last = np.clip(np.minimum(here, self.ends - 1), 0, None)
        rank = np.empty_like(self.order)
        rank[self.order] = np.arange(self.batch)
        row = np.minimum(self.counts[self.steps :][last] + rank, len(value) - 1)
        found: Array = value[row].reshape(self.steps, self.batch, *shape)
        if zero:
            found[here >= self.ends] = 0
        return found


@dataclass(frozen=True)
class Loop:
    """One compiled loop.

    The arrays that it takes are, in this order, ``rows`` (T, B, …), ``held`` (B, …), ``fixed``
    ones, ``shifts`` (B, …), weights that are packed in panels (``panels`` tells from which weight
    each) and ``states`` (B, …); ``shapes`` gives those behind T and B by the dimensions, of these
    and of the outputs. It writes ``always`` outputs and, where asked to keep them, others.
    """

    kernels: Kernels
    name: str
    rows: int
    held: int
    fixed: int
    shifts: int
    panels: Sequence[int]
    states: int
    always: int
    meetings: int
    backward: bool
    shapes: Callable[..., tuple[tuple[Shape, ...], tuple[Shape, ...]]]
    packed: dict[tuple[int, ctypes.CDLL], tuple[object, Array]] = field(default_factory=dict)

    def __call__(
        self,
        ends: NDArray[np.int64],
        steps: int,
        dims: Sequence[int],
        numbers: Sequence[float],
        arrays: Sequence[Array],
        dtype: Any,
        keep: bool = False,
        training: bool = False,
    ) -> tuple[Array, ...]:
        """The outputs (T, B, …), and the states (B, …) where each sequence has ended."""
        dtype, rows = np.dtype(dtype), Rows(np.clip(ends, 0, steps), steps)
        given, made = self.shapes(*dims)
        made = made if keep else made[: self.always]
        arrays = self._checked(arrays, given, rows, dtype)
        if not rows.ends.any():
            empty = [np.zeros((steps, rows.batch, *shape), dtype) for shape in made]
            return (*empty, *(state.copy() for state in arrays[len(arrays) - self.states :]))
        outputs, states = self._run(rows, dims, numbers, arrays, made, training)
        pairs = zip(outputs, made, strict=True)
        wholes = [rows.over_steps(rows_, shape, self.backward) for rows_, shape in pairs]
        return (*wholes, *(rows.in_own_order(state) for state in states))

    def _checked(
        self, arrays: Sequence[Array], shapes: Sequence[Shape], rows: Rows, dtype: np.dtype[Any]
    ) -> list[Array]:
        """The arrays in the type of the numbers and, repeated if need be, in their shapes."""
        each: Shape = (rows.batch,)
        leads: list[Shape] = [(rows.steps, rows.batch)] * self.rows
        leads += [each] * self.held + [()] * self.fixed + [each] * self.shifts
        leads += [()] * (len(arrays) - len(leads) - self.states) + [each] * self.states
        return [
            np.broadcast_to(np.asarray(array, dtype), (*lead, *shape))
            for array, lead, shape in zip(arrays, leads, shapes, strict=True)
        ]

    def _run(
        self, rows: Rows, dims: Sequence[int], numbers: Sequence[float],
        arrays: Sequence[Array], made: Sequence[Shape], training: bool,
    ) -> tuple[list[Array], list[Array]]:  # fmt: skip
        """The outputs as rows, and the states in the order of the rows."""
        dtype, last = arrays[-1].dtype, len(arrays) - self.states
        compiled, behind = self.kernels.library(dtype), self.rows + self.held
        own = [_in_rows(rows.rows(array)) for array in arrays[: self.rows]]
        others = [rows.in_order(array) for array in arrays[self.rows : behind]]
        others += arrays[behind : behind + self.fixed]
        behind += self.fixed
        others += [rows.in_order(array) for array in arrays[behind : behind + self.shifts]]
        weights = arrays[behind + self.shifts : last]
        panels = [self._packed(compiled, n, weights[k], dims) for n, k in enumerate(self.panels)]
        starts = [np.ascontiguousarray(rows.in_order(array)) for array in arrays[last:]]
        others = [np.ascontiguousarray(array) for array in others]
        count = int(rows.ends.sum())
        outputs = [np.empty((count, *shape), dtype) for shape in made]
        unkept = [None] * (len(self.shapes(*dims)[1]) - len(made))
        states = [np.empty_like(start) for start in starts]
        work = sum(panel.size for panel in panels) or 64
        way = choose(rows.batch, rows.steps, work, work * dtype.itemsize, self.meetings, _threads())
        counts = rows.counts if rows.ragged else None
        sizes = [rows.steps, rows.batch, way.threads, int(way.by_rows), int(training), *dims]
        sizes += [array.strides[0] // dtype.itemsize for array in own]
        all_ = [counts, *own, *others, *panels, *outputs, *unkept, *starts, *states]
        run(compiled, self.name, sizes, numbers, [_address(array) for array in all_])
        return outputs, states

    def _packed(
        self, compiled: ctypes.CDLL, number: int, weight: Array, dims: Sequence[int]
    ) -> Array:
        """A weight in panels, kept as long as its numbers are the same."""
        weight = np.ascontiguousarray(weight)
        key = (fingerprint(compiled, [weight.ctypes.data], [weight.nbytes]), tuple(dims))
        known, panels = self.packed.get((number, compiled), (None, weight))
        if known != key:
            pack = packing(compiled, self.name, number, dims)
            count = pack(1, None, None)
            memory = np.empty(count + SPARE, weight.dtype)
            panels = memory[first_of_line(memory.ctypes.data, memory.itemsize) :][:count]
            pack(_threads(), Address(weight.ctypes.data), Address(panels.ctypes.data))
            self.packed[number, compiled] = (key, panels)
        return panels


def _in_rows(value: Array) -> Array:
    """Rows (N, n) each of which is in one piece."""
    in_one_piece = value.shape[1] < 2 or value.strides[1] == value.itemsize
    return value if in_one_piece and value.flags.aligned else np.ascontiguousarray(value)


def _address(value: Array | None) -> int:
    return 0 if value is None else value.ctypes.data


def _threads() -> int:
    """How many threads a loop may have, as those of OpenMP are counted."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(asked) if asked.isdigit() and int(asked) else os.cpu_count() or 1
