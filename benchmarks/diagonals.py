"""Loops along diagonals against loops one after the other, in emitted Torch modules.

    python benchmarks/diagonals.py [--seconds 2] [--cpu-time] [--write]

A step is a forward pass and the gradients of the sum of the outputs by the parameters. The
classes that ``diagonals="never"`` and ``"always"`` give run in turn; a ratio above 1 means that
diagonals take less time. Operations are what torch computes one after the other in such a step,
views apart: on a GPU each of them is at least one launch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from speed import RESULTS, SIZES, Run, Stopwatch, interleaved, ratio, setting, train
from torch.utils._python_dispatch import TorchDispatchMode

import cellc

CELLS = ("deep_rnn", "stacked_lstm", "grid_lstm_2d", "grid_lstm_2d_tied")
LAYERS = (2, 6)
STEPS, INPUTS = 100, 64
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
    """The times of both ways at one size; at least three rounds, and as many as fit the time."""
    batch, hidden = size
    x = torch.randn(STEPS, batch, INPUTS)

    def step(way: str) -> Run:
        kind = cellc.compile(cellc.load(cell, L=layers), diagonals=way)
        module = kind(INPUTS, hidden, seed=0)
        return lambda: train(module, x)

    runs = {way: step(way) for way in WAYS}
    counts = [operations(run) for run in runs.values()]
    once = sum(Stopwatch(1, now).seconds(run) for run in runs.values())
    rounds = min(max(round(seconds / once) - 3, 3), 40)
    times = interleaved(runs, Stopwatch(rounds, now))
    faster = ratio(times["never"], times["always"])
    loops = median(times["never"])
    return Figures(cell, layers, batch, hidden, loops, faster, (counts[0], counts[1]))


def markdown(results: list[Figures]) -> str:
    """The page."""
    lines = [
        "# Diagonals",
        "",
        f"A forward pass and gradients, T={STEPS}, I={INPUTS}; {setting()}.",
        "Written by `benchmarks/diagonals.py`. A ratio above 1 means that diagonals are faster;",
        "operations are what torch computes one after the other, views apart.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "| --- |" + " ---: |" * (len(HEADS) - 1),
        *("| " + " | ".join(figures.texts) + " |" for figures in results),
    ]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line of the table")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's choice")
    parser.add_argument("--write", action="store_true", help="write results/diagonals-cpu.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    now = process_time if asked.cpu_time else perf_counter
    table, results = Table(*HEADS, title=setting()), []
    for cell in CELLS:
        for layers in LAYERS:
            for size in SIZES:
                results.append(measure(cell, layers, size, asked.seconds, now))
                table.add_row(*results[-1].texts)
    Console(width=120).print(table)
    if asked.write:
        (RESULTS / "diagonals-cpu.md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
