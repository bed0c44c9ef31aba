"""Loops along diagonals against loops one after the other, in emitted Torch modules.

    python benchmarks/diagonals.py [--seconds 2] [--cpu-time] [--write]

A step is a forward pass and the gradients of the sum of the outputs by the parameters. The
classes that ``diagonals="never"`` and ``"always"`` give run in turn; a ratio above 1 means that
diagonals take less time. Operations are what torch computes one after the other in such a step,
views apart: on a GPU each of them is at least one launch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from comparing import arguments, clock, timed, write_page
from rich.console import Console
from rich.table import Table
from speed import SIZES, Run, ratio, setting, train
from torch.utils._python_dispatch import TorchDispatchMode

import cellc

CELLS = ("deep_rnn", "stacked_lstm", "grid_lstm_2d", "grid_lstm_2d_tied")
LAYERS = (2, 6)
STEPS, INPUTS = 100, 64
PAGE = "diagonals-cpu.md"
WAYS = ("never", "always")
HEADS = ("cell", "layers", "B", "H", "loops ms", "loops/diagonals", "operations", "along diagonals")


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that torch computes, views apart."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Figures:
    """A cell at one size: the time of its loops, and what diagonals make of it."""

    cell: str
    layers: int
    batch: int
    hidden: int
    loops: float
    faster: float
    operations: tuple[int, int]

    @property
    def texts(self) -> list[str]:
        """As a line of the table has it."""
        sizes = [str(size) for size in (self.layers, self.batch, self.hidden)]
        times = [f"{self.loops * 1e3:.1f}", f"{self.faster:.2f}"]
        return [self.cell, *sizes, *times, *(f"{count:,}" for count in self.operations)]


def operations(run: Run) -> int:
    """How many operations a run consists of."""
    with Counter() as counter:  # type: ignore[no-untyped-call]
        run()
    return int(counter.count)


def measure(
    cell: str, layers: int, size: tuple[int, int], seconds: float, now: Callable[[], float]
) -> Figures:
    """The times of both ways at one size."""
    batch, hidden = size
    x = torch.randn(STEPS, batch, INPUTS)

    def step(way: str) -> Run:
        kind = cellc.compile(cellc.load(cell, L=layers), diagonals=way, kernels="none")
        module = kind(INPUTS, hidden, seed=0)
        return lambda: train(module, x)

    runs = {way: step(way) for way in WAYS}
    counts = [operations(run) for run in runs.values()]
    times = timed(runs, seconds, now)
    faster = ratio(times["never"], times["always"])
    loops = median(times["never"])
    return Figures(cell, layers, batch, hidden, loops, faster, (counts[0], counts[1]))


def write(results: list[Figures]) -> None:
    """Write the page."""
    prose = [
        "# Diagonals",
        "",
        f"A forward pass and gradients, T={STEPS}, I={INPUTS}; {setting()}.",
        "Written by `benchmarks/diagonals.py`. A ratio above 1 means that diagonals are faster;",
        "operations are what torch computes one after the other, views apart.",
    ]
    write_page(PAGE, prose, HEADS, [figures.texts for figures in results])


def main() -> None:
    """Measure, print, write."""
    asked = arguments(__doc__ or "", PAGE).parse_args()
    now = clock(asked)
    table, results = Table(*HEADS, title=setting()), []
    for cell in CELLS:
        for layers in LAYERS:
            for size in SIZES:
                results.append(measure(cell, layers, size, asked.seconds, now))
                table.add_row(*results[-1].texts)
    Console(width=120).print(table)
    if asked.write:
        write(results)


if __name__ == "__main__":
    main()
