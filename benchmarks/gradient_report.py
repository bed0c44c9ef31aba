"""The figures of ``gradient.py``, and the tables and the page that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

from rich.table import Table
from speed import LENGTH, setting

MEMORIES = ("low", "balanced", "fast")


@dataclass(frozen=True)
class Figures:
    """A cell at one size.

    ``derived`` is in microseconds per step of the sequence, ``peak`` and ``kept`` are in bytes.
    """

    cell: str
    batch: int
    hidden: int
    derived: float
    autograd_ratio: float
    hand_ratio: float | None
    peak: dict[str, int]
    kept: dict[str, int]

    @property
    def size(self) -> tuple[int, int]:
        """Sequences and units."""
        return self.batch, self.hidden

    def peak_ratio(self, memory: str) -> float:
        """How many times the derived step's peak autograd's is."""
        return self.peak["autograd"] / self.peak[memory]

    @property
    def keeps(self) -> bool:
        """Whether something is kept for the backward pass, whoever computes it."""
        return all(size > 0 for size in self.kept.values())

    def kept_ratio(self, memory: str) -> float:
        """How many times what the derived step keeps autograd keeps."""
        return self.kept["autograd"] / self.kept[memory]

    def vectors(self, name: str) -> float:
        """What is kept for the backward pass, in vectors of H numbers for each step."""
        return self.kept[name] / (4 * LENGTH * self.batch * self.hidden)


@dataclass(frozen=True)
class Sheet:
    """A table, for a terminal and for a page."""

    title: str
    heads: tuple[str, ...]
    rows: list[list[str]]

    def drawn(self) -> Table:
        """The table for a terminal."""
        table = Table(title=self.title)
        for index, head in enumerate(self.heads):
            table.add_column(head, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> list[str]:
        """The table as lines of a page."""
        lines = ["| " + " | ".join(self.heads) + " |"]
        lines += ["| --- |" + " ---: |" * (len(self.heads) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return ["", f"## {self.title}", "", *lines]


def mean(ratios: Iterable[float]) -> float | None:
    """The geometric mean of some ratios, if there are any."""
    logs = [log(ratio) for ratio in ratios]
    return exp(sum(logs) / len(logs)) if logs else None


def shown(value: float | None, digits: int = 2) -> str:
    """A number as a table has it."""
    return "" if value is None else f"{value:.{digits}f}"


def sizes_of(results: Sequence[Figures]) -> list[tuple[int, int]]:
    """The sizes, in their order."""
    return list(dict.fromkeys(figures.size for figures in results))


def label(size: tuple[int, int]) -> str:
    """A size as a column's head."""
    return f"{size[0]} × {size[1]}"


def in_total(results: Sequence[Figures]) -> dict[str, list[Figures]]:
    """The figures of each size, and all of them."""
    sizes = {label(size): [f for f in results if f.size == size] for size in sizes_of(results)}
    return {**sizes, "all": list(results)}


def time_summary(results: Sequence[Figures]) -> Sheet:
    """Means of times over the cells."""
    rows = []
    for name, some in in_total(results).items():
        slowest = min(some, key=lambda figures: figures.autograd_ratio)
        fastest = max(some, key=lambda figures: figures.autograd_ratio)
        faster = sum(figures.autograd_ratio > 1 for figures in some)
        rows.append(
            [
                name,
                shown(mean(f.autograd_ratio for f in some)),
                f"{faster} of {len(some)}",
                f"{slowest.cell} {slowest.autograd_ratio:.2f}",
                f"{fastest.cell} {fastest.autograd_ratio:.2f}",
                shown(mean(f.hand_ratio for f in some if f.hand_ratio is not None)),
            ]
        )
    heads = ("B × H", "autograd/derived", "above 1", "slowest", "fastest", "hand/derived")
    return Sheet("Time, geometric means over the cells", heads, rows)


def memory_summary(results: Sequence[Figures]) -> Sheet:
    """Means of memory over the cells; of what is kept, over those that keep something."""
    rows = []
    for name, some in in_total(results).items():
        peaks = [mean(f.peak_ratio(memory) for f in some) for memory in MEMORIES]
        kept = [mean(f.kept_ratio(memory) for f in some if f.keeps) for memory in MEMORIES]
        rows.append([name, *map(shown, peaks), *map(shown, kept)])
    heads = [f"{what}, {memory}" for what in ("peak", "kept") for memory in MEMORIES]
    return Sheet("Memory, geometric means of autograd/derived", ("B × H", *heads), rows)


def by_cell(
    title: str, results: Sequence[Figures], ratio: Callable[[Figures], float | None]
) -> Sheet:
    """A ratio of each cell that has it at all sizes, with their mean; µs of the derived step."""
    sizes = sizes_of(results)
    found = {(f.cell, f.size): f for f in results}
    rows = []
    for cell in dict.fromkeys(f.cell for f in results):
        mine = [found[cell, size] for size in sizes]
        ratios = [value for f in mine if (value := ratio(f)) is not None]
        if ratios:
            texts = [*(shown(f.derived, 1) for f in mine), *map(shown, ratios)]
            rows.append([cell, *texts, shown(mean(ratios))])
    rows.sort(key=lambda row: float(row[-1]))
    heads = ["cell", *(f"µs, {label(size)}" for size in sizes), *map(label, sizes), "mean"]
    return Sheet(title, tuple(heads), rows)


def memory(results: Sequence[Figures]) -> Sheet:
    """Memory of each cell at the largest size."""
    size = sizes_of(results)[-1]
    rows = [
        [
            f.cell,
            shown(f.peak["autograd"] / 2**20, 1),
            *(shown(f.peak_ratio(memory)) for memory in MEMORIES),
            *(shown(f.vectors(name)) for name in ("autograd", *MEMORIES)),
        ]
        for f in results
        if f.size == size
    ]
    peaks = (f"autograd/{memory}" for memory in MEMORIES)
    kept = (f"kept, {name}" for name in ("autograd", *MEMORIES))
    heads = ("cell", "peak MiB, autograd", *peaks, *kept)
    return Sheet(f"Memory at {label(size)}", heads, rows)


def sheets(results: Sequence[Figures]) -> list[Sheet]:
    """All tables."""
    found = [
        time_summary(results),
        memory_summary(results),
        by_cell("Time, autograd/derived", results, lambda f: f.autograd_ratio),
        by_cell("Time, by hand/derived", results, lambda f: f.hand_ratio),
        memory(results),
    ]
    return [sheet for sheet in found if sheet.rows]


def drawn(results: Sequence[Figures]) -> list[Table]:
    """The tables for a terminal."""
    return [sheet.drawn() for sheet in sheets(results)]


def page(results: Sequence[Figures], clock: str) -> str:
    """The results as a page; ``clock`` is the kind of time that was measured."""
    text = f"""
# The derived backward pass

A training step, forward and backward, of emitted Torch modules with their derived backward pass
against autograd through the same emitted loop and, of some cells, through a loop written by hand.
The derived step keeps what `memory="balanced"` says unless another name stands there.

T={LENGTH}, I=H, float32; {setting()}; {clock}, 5 to 40 rounds.
Written by `benchmarks/gradient.py`.
A ratio above 1 means that the derived backward pass takes less. Times are µs per step of the
sequence, of the derived training step; cells come with the smallest ratio first. The peak is that
of all tensors that live during the step beyond parameters and inputs, gradients included. What is
kept is what lies between the forward and the backward pass beyond the outputs, in vectors of H
numbers for each step of each sequence; weights that were put side by side for the loop count.
"""
    lines = text.strip().splitlines()
    for sheet in sheets(results):
        lines += sheet.markdown()
    return "\n".join(lines) + "\n"
