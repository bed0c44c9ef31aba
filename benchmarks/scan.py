"""Parallel scans against loops, in emitted modules of one cell.

    python benchmarks/scan.py [--cell min_gru] [--seconds 2] [--cpu-time] [--write]

A step is a forward pass and the gradients of the sum of the outputs by the parameters. The classes
that ``scan="never"``, ``"always"`` and ``"auto"`` give run in turn. A ratio above 1 means that
a scan takes less time than the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from comparing import arguments, clock, timed, write_page
from rich.console import Console
from rich.table import Table
from speed import SIZES, Run, ratio, setting, train

import cellc

LENGTHS = (100, 1000, 10000)
INPUTS = 16
PAGE = "scan-cpu.md"
WAYS = ("never", "always", "auto")
HEADS = ("backend", "T", "B", "H", "loop ms", "loop/scan", "loop/auto")

#: Numbers in one sequence of states beyond which the memory of a small machine does not do.
MOST = 2.5e7


@dataclass(frozen=True)
class Figures:
    """A backend at one size: the time of a loop, and what scans make of it."""

    backend: str
    steps: int
    batch: int
    hidden: int
    loop: float
    scan_ratio: float
    auto_ratio: float

    @property
    def texts(self) -> list[str]:
        """As a line of the table has it."""
        sizes = [f"{size:,}" for size in (self.steps, self.batch, self.hidden)]
        ratios = [f"{value:.2f}" for value in (self.scan_ratio, self.auto_ratio)]
        return [self.backend, *sizes, f"{self.loop * 1e3:.1f}", *ratios]


def torch_runs(kinds: dict[str, type[Any]], x: np.ndarray[Any, Any], hidden: int) -> dict[str, Run]:
    """A training step of each Torch class, in single precision."""
    given = torch.from_numpy(x).float()

    def step(kind: type[Any]) -> Run:
        module = kind(INPUTS, hidden, seed=0)
        return lambda: train(module, given)

    return {way: step(kind) for way, kind in kinds.items()}


def numpy_runs(kinds: dict[str, type[Any]], x: np.ndarray[Any, Any], hidden: int) -> dict[str, Run]:
    """The gradients of each NumPy class, in double precision."""

    def step(kind: type[Any]) -> Run:
        cell = kind(INPUTS, hidden)
        return lambda: cell.grad(x, np.ones_like)

    return {way: step(kind) for way, kind in kinds.items()}


BACKENDS = {"torch": torch_runs, "numpy": numpy_runs}


def measure(
    backend: str, kinds: dict[str, type[Any]], size: tuple[int, int, int], seconds: float,
    now: Callable[[], float],
) -> Figures:  # fmt: skip
    """The times of all ways at one size."""
    steps, batch, hidden = size
    x = np.random.default_rng(0).standard_normal((steps, batch, INPUTS))
    runs = BACKENDS[backend](kinds, x, hidden)
    times = timed(runs, seconds, now)
    ratios = [ratio(times["never"], times[way]) for way in ("always", "auto")]
    return Figures(backend, steps, batch, hidden, median(times["never"]), *ratios)


def write(cell: str, results: list[Figures]) -> None:
    """Write the page."""
    prose = [
        "# Parallel scans",
        "",
        f"`{cell}`, forward and backward, I={INPUTS}; {setting()}.",
        "Torch in single, NumPy in double precision. Written by `benchmarks/scan.py`.",
        "`loop/scan` above 1 means that a scan is the faster one; `loop/auto` is what",
        '`scan="auto"` makes of it.',
    ]
    write_page(PAGE, prose, HEADS, [figures.texts for figures in results])


def main() -> None:
    """Measure, print, write."""
    parser = arguments(__doc__ or "", PAGE)
    parser.add_argument("--cell", default="min_gru")
    asked = parser.parse_args()
    now = clock(asked)
    table, results = Table(*HEADS, title=f"{asked.cell}; {setting()}"), []
    for backend in BACKENDS:
        kinds = {way: cellc.compile(asked.cell, backend, scan=way, kernels="none") for way in WAYS}
        for steps in LENGTHS:
            for batch, hidden in SIZES:
                if steps * batch * hidden <= MOST:
                    size = steps, batch, hidden
                    results.append(measure(backend, kinds, size, asked.seconds, now))
                    table.add_row(*results[-1].texts)
    Console().print(table)
    if asked.write:
        write(asked.cell, results)


if __name__ == "__main__":
    main()
