"""Emitted NumPy code, forward, against loops written by hand in NumPy.

    OMP_NUM_THREADS=1 python benchmarks/numpy_speed.py [--cells lstm,gru] [--quick] [--write NAME]

The two run in turn within each round, first the one, then the other, and every ratio is the
median over rounds of the ratio within a round. A ratio above 1 means that the emitted code is
the faster one.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from handwritten_numpy import PEERS

import cellc

LENGTH = 100
SIZES = ((1, 64), (1, 256), (32, 64), (32, 256))
TYPES = ("float64", "float32")
RESULTS = Path(__file__).parent / "results"
HEADS = ("cell", "type", "B", "H", "emitted µs", "hand µs", "hand/emitted")


@dataclass(frozen=True)
class Result:
    """One line of the table; times in microseconds per step."""

    cell: str
    dtype: str
    batch: int
    hidden: int
    emitted: float
    hand: float
    ratio: float

    def texts(self) -> list[str]:
        """The line's texts."""
        first = [self.cell, self.dtype, str(self.batch), str(self.hidden)]
        return [*first, f"{self.emitted:.1f}", f"{self.hand:.1f}", f"{self.ratio:.2f}"]


def measure(cell: str, dtype: str, batch: int, hidden: int, asked: argparse.Namespace) -> Result:
    """Time one cell at one size, after making sure that the two agree."""
    emitted: Any = cellc.compile(cell, "numpy")(hidden, hidden, seed=0, dtype=np.dtype(dtype))
    hand = PEERS[cell](emitted.params)
    x = np.random.default_rng(0).standard_normal((LENGTH, batch, hidden)).astype(dtype)
    exact = 1e-10 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(emitted(x)[0], hand(x), rtol=0, atol=exact)
    now = process_time if asked.cpu_time else perf_counter
    times: dict[Any, list[float]] = {emitted: [], hand: []}
    rounds = asked.rounds or (10 if asked.quick else 40)
    for number in range(rounds + 2):
        for run in (emitted, hand) if number % 2 else (hand, emitted):
            start = now()
            run(x)
            times[run].append(now() - start)
    ours, theirs = times[emitted][2:], times[hand][2:]
    ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
    first, second = (median(seconds) / LENGTH * 1e6 for seconds in (ours, theirs))
    return Result(cell, dtype, batch, hidden, first, second, ratio)


def markdown(results: list[Result]) -> str:
    """The results as a page."""
    where = f"{platform.processor() or platform.machine()}, NumPy {np.__version__}, one thread"
    lines = [
        "# Speed of emitted NumPy code",
        "",
        f"Forward, µs per step; T={LENGTH}, I=H; {where}. Written by `benchmarks/numpy_speed.py`.",
        "A ratio hand/emitted above 1 means that the emitted code is the faster one.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + " --- |" * 2 + " ---: |" * (len(HEADS) - 2),
    ]
    lines += ["| " + " | ".join(result.texts()) + " |" for result in results]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", default=",".join(PEERS), help="names, with commas between")
    parser.add_argument("--types", default=",".join(TYPES), help="of numbers, likewise")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--rounds", type=int, help="how often each is timed")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine")
    parser.add_argument("--write", metavar="NAME", help="write benchmarks/results/NAME.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    results = []
    for cell in asked.cells.split(","):
        for dtype in asked.types.split(","):
            for batch, hidden in SIZES:
                results.append(measure(cell, dtype, batch, hidden, asked))
                print("  ".join(results[-1].texts()), flush=True)
    if asked.write:
        (RESULTS / f"{asked.write}.md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
