"""What the benchmarks of one compiler choice against another share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

import torch
from speed import RESULTS, Run, Stopwatch, interleaved


def arguments(doc: str, page: str) -> argparse.ArgumentParser:
    """The options that every such benchmark has."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line of the table")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's choice")
    parser.add_argument("--write", action="store_true", help=f"write results/{page}")
    return parser


def clock(asked: argparse.Namespace) -> Callable[[], float]:
    """The clock that the options ask for; torch is told its threads."""
    if asked.threads:
        torch.set_num_threads(asked.threads)
    return process_time if asked.cpu_time else perf_counter


def timed(runs: dict[str, Run], seconds: float, now: Callable[[], float]) -> dict[str, list[float]]:
    """Times of runs in turn: at least three rounds, and as many as fit the time."""
    once = sum(Stopwatch(1, now).seconds(run) for run in runs.values())
    rounds = min(max(round(seconds / once) - 3, 3), 40)
    return interleaved(runs, Stopwatch(rounds, now))


def write_page(
    page: str, prose: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Write a page of results: what was measured, and a table."""
    lines = [
        *prose,
        "",
        "| " + " | ".join(heads) + " |",
        "| --- |" + " ---: |" * (len(heads) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    (RESULTS / page).write_text("\n".join(lines) + "\n", encoding="utf-8")
