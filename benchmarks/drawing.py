"""How long drawing takes: every shipped cell gate by gate, and ever larger generated ones.

    python benchmarks/drawing.py [--sizes 50,100,200,400] [--cpu-time] [--write]

A cell is painted (which value becomes what), then its things are placed and its wires routed,
then Graphviz writes the SVG. The first table is of the zoo and of its slowest cells; the second
of cells with about so many things, of which two in five are gates that mix values of before.
Its last column is what ``diagram`` makes of the cell, from the cell to the SVG.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from rich.console import Console
from rich.table import Table

import cellc
from cellc.ir import Cell
from cellc.resources import shipped_specs
from cellc.views.diagram import diagram
from cellc.views.geometry import Geometry
from cellc.views.painter import Painter

RESULTS = Path(__file__).parent / "results"
SIZES = (50, 100, 200, 400)
SLOWEST = 5

#: How many things stand for one gate and what it mixes.
_OF_A_GATE = 5.6

Clock = Callable[[], float]
ZOO_HEADS = ("cell", "things", "painted", "placed and routed", "to SVG", "crossings")
SIZE_HEADS = (
    "things", "wires", "painted", "placed and routed", "crossings", "`diagram` to SVG",
)  # fmt: skip


def generated(things: int) -> str:
    """A cell of gates, each of which mixes two values of before, with about so many things."""
    gates = round(things / _OF_A_GATE)
    lines = ["cell generated", "input x[I]", "state h[H], c[H]", "v0 = c", "v1 = h"]
    for k in range(2, gates + 2):
        lines.append(f"g{k} = sigmoid(W·[v{k // 2}, x] + b)")
        lines.append(f"v{k} = tanh(g{k}*v{k - 1} - {0.5 + k / 1000}*v{k - 2})")
    lines += [f"c' = v{gates + 1}", "h' = tanh(c')", "output h'"]
    return "\n".join(lines) + "\n"


def drawn(cell: Cell, now: Clock) -> tuple[Geometry, float, float]:
    """A cell's picture, and the seconds that painting and the rest took."""
    start = now()
    painter = Painter(cell)
    painter.paint()
    middle = now()
    geometry = Geometry(painter.picture)
    return geometry, middle - start, now() - middle


def svg_time(cell: Cell, now: Clock) -> float:
    """Seconds from a cell to its SVG."""
    start = now()
    diagram(cell).svg()
    return now() - start


def zoo_rows(now: Clock) -> list[list[str]]:
    """Seconds of all shipped cells, and of the slowest ones."""
    rows = []
    for name in shipped_specs():
        cell = cellc.load(name)
        geometry, painting, routing = drawn(cell, now)
        things, crossings = len(geometry.picture), len(geometry.crossings)
        rows.append((name, things, painting, routing, svg_time(cell, now), crossings))
    rows.sort(key=lambda row: -row[3])
    sums = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    every = (f"the whole zoo, {len(rows)} cells", *sums)
    return [texts(row) for row in (every, *rows[:SLOWEST])]


def size_rows(sizes: list[int], now: Clock) -> list[list[str]]:
    """Seconds of generated cells."""
    rows = []
    for size in sizes:
        cell = cellc.parse(generated(size))
        geometry, painting, routing = drawn(cell, now)
        things, wires = len(geometry.picture), geometry.picture.number_of_edges()
        seconds = svg_time(cell, now)
        rows.append(texts((things, wires, painting, routing, len(geometry.crossings), seconds)))
    return rows


def texts(row: tuple[object, ...]) -> list[str]:
    """A line of a table; seconds have two places."""
    return [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row]


def table(title: str, heads: tuple[str, ...], rows: list[list[str]]) -> Table:
    """A table for a terminal."""
    made = Table(title=title)
    for head in heads:
        made.add_column(head, justify="left" if head == "cell" else "right")
    for row in rows:
        made.add_row(*row)
    return made


def markdown(heads: tuple[str, ...], rows: list[list[str]]) -> str:
    """A table for a page."""
    sides = ["---" if head == "cell" else "---:" for head in heads]
    lines = [heads, sides, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(zoo: list[list[str]], sizes: list[list[str]]) -> str:
    """Both tables with what they show."""
    where = platform.processor() or platform.machine()
    return (
        f"# Time to draw\n\nSeconds on {where}, Python {platform.python_version()}. "
        "Written by `benchmarks/drawing.py`.\n\nShipped cells, gate by gate, and the slowest:\n\n"
        + markdown(ZOO_HEADS, zoo)
        + "\nGenerated cells:\n\n"
        + markdown(SIZE_HEADS, sizes)
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="things of a cell")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine")
    parser.add_argument("--write", action="store_true", help="write results/drawing-cpu.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    now = process_time if asked.cpu_time else perf_counter
    drawn(cellc.load("lstm"), now)
    zoo, sizes = zoo_rows(now), size_rows([int(size) for size in asked.sizes.split(",")], now)
    console = Console()
    console.print(table("Seconds for shipped cells", ZOO_HEADS, zoo))
    console.print(table("Seconds for generated cells", SIZE_HEADS, sizes))
    if asked.write:
        (RESULTS / "drawing-cpu.md").write_text(page(zoo, sizes), encoding="utf-8")


if __name__ == "__main__":
    main()
