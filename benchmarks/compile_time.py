"""How long compilation takes: of a shipped cell, and of ever longer generated ones.

    python benchmarks/compile_time.py [--sizes 125,250,500] [--cpu-time] [--write]

First a fresh process each time compiles the LSTM, from its text to a class. Then the whole zoo
goes from text to emitted Torch code, and the cells with the most positions. Then cells of n
equations, of which every fifth is a gate with a product and the others are chains over
several earlier values; the last column of their table is flat where growth is n log n.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable
from math import log2
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from rich.console import Console
from rich.table import Table

import cellc
from cellc.backends import backend
from cellc.backends.naming import class_name
from cellc.ir import Cell, Schedule
from cellc.loading import class_from
from cellc.passes.pipelines import optimise
from cellc.passes.schedule import Scheduler
from cellc.resources import shipped_specs

RESULTS = Path(__file__).parent / "results"
SIZES = (125, 250, 500, 1000, 2000, 4000)
STAGES = ("parse", "optimise", "schedule", "emit", "class")

FRESH = """
import cellc, torch
from time import perf_counter
text = {text!r}
for _ in range(2):
    start = perf_counter()
    cellc.compile(cellc.parse(text), kernels="none")
    print(perf_counter() - start)
    text += "\\n"
"""


def generated(equations: int, seed: int = 0) -> str:
    """A cell with so many equations, all of which something uses."""
    rng = random.Random(seed)
    lines = ["cell generated", "input x[I]", "state h[H], c[H]", ""]
    unused = ["c"]
    recent = ["c"]
    for index in range(equations - 2):
        name = f"v{index}"
        if index % 5 == 0:
            function = rng.choice(("sigmoid", "sigmoid", "tanh"))
            lines.append(f"{name} = {function}(W·[h, x] + b)  # gate {index}")
        else:
            first = unused.pop(0)
            second = unused.pop(0) if len(unused) > 8 else rng.choice(recent)
            third = rng.choice(recent)
            form = rng.choice(
                ("{0}*{1} + {2}", "tanh({0}*{1} - {2})", "{0} + 0.5*{1}*{2}", "{0}*(1 - {1}) + {2}")
            )
            lines.append(f"{name} = " + form.format(first, second, third))
        unused.append(name)
        recent = [*recent[-20:], name]
    total = " + ".join(f"tanh({name})" for name in unused)
    lines += [f"c' = {total}", "h' = tanh(c')", "", "output h'"]
    return "\n".join(lines) + "\n"


def fresh_times() -> tuple[float, float]:
    """Seconds of the first and of the second compilation in a new process."""
    text = (Path(__file__).parents[1] / "specs" / "lstm.cell").read_text(encoding="utf-8")
    script = FRESH.format(text=text)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    first, second = map(float, run.stdout.split())
    return first, second


def stage_times(text: str, now: Callable[[], float]) -> dict[str, float]:
    """Seconds of each stage of the compilation of a text."""
    marks = [now()]
    cell: Cell = cellc.parse(text)
    marks.append(now())
    optimised = optimise(cell, "O2")
    marks.append(now())
    schedule: Schedule = Scheduler().run(optimised)
    marks.append(now())
    source = backend("torch").emit(schedule, cell)
    marks.append(now())
    class_from(source, class_name(cell.name))
    marks.append(now())
    spans = zip(STAGES, marks, marks[1:], strict=False)
    return {stage: end - start for stage, start, end in spans}


def typical_times(size: int, now: Callable[[], float]) -> dict[str, float]:
    """The stages of the middle one of three different cells of one size."""
    runs = []
    for seed in range(3):
        gc.collect()
        runs.append(stage_times(generated(size, seed), now))
    return sorted(runs, key=lambda times: sum(times.values()))[1]


#: Cells with many positions, and the lengths of their axes.
WIDE = (
    ("grid_lstm_3d", {"R": 3, "L": 2}),
    ("grid_lstm_3d", {"R": 4, "L": 4}),
    ("gated_feedback_lstm", {"L": 5}),
    ("stacked_lstm", {"L": 10}),
)


def zoo_times(now: Callable[[], float]) -> dict[str, float]:
    """Seconds from text to emitted code: of every shipped spec together, and of wide ones."""
    start = now()
    for name in shipped_specs():
        cellc.emit(cellc.load(name))
    times = {f"the whole zoo, {len(shipped_specs())} specs": now() - start}
    for name, sizes in WIDE:
        start = now()
        cellc.emit(cellc.load(name, **sizes))
        shown = ", ".join(f"{size} = {length}" for size, length in sizes.items())
        times[f"{name} with {shown}"] = now() - start
    return times


Row = tuple[int, dict[str, float]]


def scaling_table(rows: list[Row]) -> Table:
    """The stages by size."""
    drawn = Table(title="seconds to compile n equations")
    for head in ("n", *STAGES, "total", "µs/(n·log₂n)"):
        drawn.add_column(head, justify="right")
    for size, times in rows:
        total = sum(times.values())
        columns = [f"{seconds:.3f}" for seconds in (*times.values(), total)]
        drawn.add_row(str(size), *columns, f"{total / (size * log2(size)) * 1e6:.0f}")
    return drawn


def plot(rows: list[Row], file: Path) -> None:
    """Draw seconds by size next to n log n through the first point."""
    from matplotlib.figure import Figure

    sizes = [size for size, _ in rows]
    totals = [sum(times.values()) for _, times in rows]
    scale = totals[0] / (sizes[0] * log2(sizes[0]))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.loglog(sizes, [scale * n * log2(n) for n in sizes], "--", color="grey", label="n log n")
    for stage in STAGES[:-1]:
        axes.loglog(sizes, [times[stage] for _, times in rows], alpha=0.6, label=stage)
    axes.loglog(sizes, totals, "o-", color="black", label="total")
    axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("equations")
    axes.set_ylabel("seconds")
    axes.legend()
    figure.savefig(file, dpi=150)


def page(sentence: str, zoo: dict[str, float], rows: list[Row]) -> str:
    """The figures as Markdown."""
    heads = ("n", *STAGES, "total", "µs/(n·log₂n)")
    lines = [
        "# Time to compile",
        "",
        f"{sentence}. Written by `benchmarks/compile_time.py`.",
        "",
        "From text to Torch code, parsing, lowering, O2 and emission together:",
        "",
        "| what | seconds |",
        "| --- | ---: |",
        *(f"| {what} | {seconds:.2f} |" for what, seconds in zoo.items()),
        "",
        "Seconds to compile n equations:",
        "",
        f"| {' | '.join(heads)} |",
        f"|{' ---: |' * len(heads)}",
    ]
    for size, times in rows:
        total = sum(times.values())
        columns = [f"{seconds:.2f}" for seconds in (*times.values(), total)]
        scale = f"{total / (size * log2(size)) * 1e6:.0f}"
        lines.append(f"| {' | '.join([str(size), *columns, scale])} |")
    return "\n".join([*lines, "", "![seconds by equations](compile-time.png)", ""])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--runs", type=int, default=7, help="fresh processes")
    parser.add_argument("--cpu-time", action="store_true", help="scaling on a busy machine")
    parser.add_argument("--write", action="store_true", help="write the page and the curve")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    asked = arguments()
    console, sentence = Console(), ""
    if asked.runs:
        first, second = zip(*(fresh_times() for _ in range(asked.runs)), strict=True)
        sentence = (
            f"lstm, text to class: first {median(first) * 1e3:.0f} ms "
            f"(fastest {min(first) * 1e3:.0f} ms), again {median(second) * 1e3:.0f} ms"
        )
        console.print(sentence)
    now = process_time if asked.cpu_time else perf_counter
    stage_times(generated(50), now)  # grammar tables, imports
    zoo = zoo_times(now)
    for what, seconds in zoo.items():
        console.print(f"{what}: {seconds:.2f} s")
    rows = [(n, typical_times(n, now)) for n in map(int, asked.sizes.split(","))]
    console.print(scaling_table(rows))
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        plot(rows, RESULTS / "compile-time.png")
        (RESULTS / "compile-time.md").write_text(page(sentence, zoo, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
