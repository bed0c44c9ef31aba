"""Where a GPU is measured: cells, types of numbers and sizes, the most important first.

The sizes are those of two published libraries. FlashRNN measures heads of several widths, numbers
of sequences and lengths; haste measures short sequences over many widths. The whole product of
cells, types and sizes takes hours, so every cell is measured at the main size, the cells that
torch has too at all others, and the rest at a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

#: The cells, the most important first. Those in FULL are measured on all grids.
FULL = ("lstm", "gru_reset_after")
OTHERS = ("gru", "peephole_lstm", "cifg", "layernorm_lstm", "min_gru", "phased_lstm")
CELLS = (*FULL, *OTHERS)
#: The cells of FULL with a recurrent weight that consists of blocks.
WITH_HEADS = {"lstm": "heads_lstm", "gru_reset_after": "heads_gru"}
#: Cells without a product of the state.
WITHOUT_PRODUCT = ("min_gru",)

#: Types of numbers: those in memory, and whether products of 32 bits are rounded (tf32).
NUMBERS = ("bf16", "fp32", "fp16", "tf32")
CHECKED_NUMBERS = ("fp32", "bf16", "fp16")

#: The main size, and grids around it, the most telling values first.
STEPS, BATCH, WIDTH = 1024, 16, 768
BATCHES = (64, 2, 256, 8, 128, 32, 4)
LENGTHS = (256, 2048, 512)
HEAD_WIDTHS = (64, 16, 128, 256, 32)
#: The sizes of haste: sequences and width.
HASTE_STEPS = 50
HASTE_SIZES = (
    (32, 256), (1, 1024), (128, 1024), (1, 128), (64, 512),
    (32, 1024), (64, 2048), (8, 128), (1, 256), (128, 128),
    *((batch, width) for width in (128, 256, 512, 1024, 2048) for batch in (1, 8, 32, 64, 128)),
)  # fmt: skip
#: How many values of each grid come before the rest.
FIRST = 3
#: The length of sequences in checks; their float64 reference is a loop in Python.
CHECKED_STEPS = 24

TITLES = {
    "main": f"The main size: T={STEPS}, B={BATCH}, width {WIDTH}",
    "heads": f"Heads: T={STEPS}, B={BATCH}, heads times width {WIDTH}",
    "batch": f"Numbers of sequences: T={STEPS}, width {WIDTH}",
    "length": f"Lengths: B={BATCH}, width {WIDTH}",
    "haste": f"The grid of haste: T={HASTE_STEPS}",
    "loops": "Both ways to run the loop",
}


@dataclass(frozen=True)
class Point:
    """A cell at one size; ``hidden`` units are shared by ``heads``, ``loops`` is a module's."""

    grid: str
    cell: str
    number: str
    steps: int = STEPS
    batch: int = BATCH
    hidden: int = WIDTH
    heads: int = 1
    loops: str = "auto"

    @property
    def size(self) -> str:
        """The sizes, for people."""
        heads = f"{self.heads}x{self.hidden // self.heads}" if self.heads > 1 else str(self.hidden)
        loops = "" if self.loops == "auto" else f" {self.loops}"
        return f"T={self.steps} B={self.batch} H={heads}{loops}"

    def __str__(self) -> str:
        return f"{self.cell} {self.number} {self.size}"


@dataclass(frozen=True)
class Task:
    """One thing to do: ``kind`` is check or row."""

    kind: str
    point: Point


def checks(quick: bool) -> Iterator[Point]:
    """What is checked: at sizes that are measured too, so that kernels are compiled once.

    At the main width loops run step by step. Narrow ones run inside one kernel.
    """
    cells = (*FULL, "min_gru") if quick else CELLS
    steps = CHECKED_STEPS
    for number in CHECKED_NUMBERS:
        yield from (Point("check", cell, number, steps) for cell in cells)
        yield Point("check", "heads_lstm", number, steps, heads=WIDTH // HEAD_WIDTHS[0])
        for cell in FULL:
            yield Point("check", cell, number, steps, hidden=128, loops="fused")
    if not quick:
        for number in CHECKED_NUMBERS:
            yield Point("check", "heads_gru", number, steps, heads=WIDTH // HEAD_WIDTHS[0])
            for cell in OTHERS:
                if cell not in WITHOUT_PRODUCT:
                    yield Point("check", cell, number, steps, hidden=64, loops="fused")


def main_points(cells: tuple[str, ...], numbers: tuple[str, ...]) -> Iterator[Point]:
    """The main size."""
    yield from (Point("main", cell, number) for cell in cells for number in numbers)


def grids(cell: str, number: str, most: int | None) -> Iterator[Point]:
    """All grids of a cell, or the first values of each."""
    for width in HEAD_WIDTHS[:most]:
        yield Point("heads", WITH_HEADS[cell], number, heads=WIDTH // width)
    yield from (Point("batch", cell, number, batch=batch) for batch in BATCHES[:most])
    yield from (Point("length", cell, number, steps=steps) for steps in LENGTHS[:most])
    for batch, width in HASTE_SIZES[: None if most is None else 2 * most]:
        yield Point("haste", cell, number, HASTE_STEPS, batch, width)


def ways(number: str) -> Iterator[Point]:
    """Narrow loops step by step and inside one kernel: what ``auto`` chooses from."""
    for loops in ("fused", "stepwise"):
        for width in HEAD_WIDTHS[:FIRST]:
            yield Point("loops", "heads_lstm", number, heads=WIDTH // width, loops=loops)
        yield Point("loops", "lstm", number, HASTE_STEPS, 32, 128, loops=loops)


def rows(quick: bool) -> Iterator[Point]:
    """What is measured; a point may come twice."""
    if quick:
        yield from main_points((*FULL, "min_gru"), NUMBERS[:2])
        yield from (point for cell in FULL for point in grids(cell, "bf16", 1))
        return
    yield from main_points(FULL, NUMBERS)
    yield from main_points(OTHERS, NUMBERS[:2])
    for number in NUMBERS[:2]:
        for cell in FULL:
            yield from grids(cell, number, FIRST)
    yield from main_points(OTHERS, NUMBERS[2:])
    yield from ways("bf16")
    for number in NUMBERS[:2]:
        for cell in FULL:
            yield from grids(cell, number, None)
        for cell in OTHERS:
            yield from (Point("batch", cell, number, batch=batch) for batch in BATCHES[:FIRST])
            yield Point("length", cell, number, steps=LENGTHS[0])


def tiny(task: Task) -> Task:
    """The same in a size that an interpreter can run, and step by step unless told otherwise."""
    point = task.point
    heads = min(point.heads, 2)
    loops = "stepwise" if point.loops == "auto" else point.loops
    small = replace(point, steps=3, batch=2, hidden=16 * heads, heads=heads, loops=loops)
    return Task(task.kind, small)


def interpretable(task: Task) -> bool:
    """Whether the interpreter runs a task: it is slow, and multiplies no matrices of bf16."""
    point = task.point
    if point.loops == "fused" and point.number == "bf16":
        return False
    return task.kind == "check" or point.cell == "lstm" or point.number in NUMBERS[:2]


def tasks(quick: bool, interpret: bool) -> list[Task]:
    """All that there is to do, each thing once."""
    found = [Task("check", point) for point in checks(quick)]
    found += [Task("row", point) for point in rows(quick)]
    if interpret:
        found = [tiny(task) for task in found if interpretable(task)]
    return list(dict.fromkeys(found))
