"""The commands that show what the optimiser does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellc import driver
from cellc.backends import torch_kernels
from cellc.backends.native import report as native
from cellc.backends.triton import report as device
from cellc.backends.triton.function import loops_of
from cellc.cli.base import app
from cellc.cli.options import (
    AsJson,
    CellName,
    Couplings,
    Diagonal,
    Level,
    Memory,
    Pruned,
    Scanned,
    Sizes,
    guarded,
    known_level,
    load_both,
    load_for_figures,
    load_sized,
    print_json,
    transformed,
)
from cellc.cli.printing import (
    print_difference,
    sizes_text,
)
from cellc.diagnostics import CellcError
from cellc.ir import Cell, print_cell, print_schedule
from cellc.passes.diagonals import choice
from cellc.passes.pipelines import firings, optimise, steps
from cellc.passes.plan import for_device, gradient, plan, with_compiled
from cellc.views.diff import difference
from cellc.views.explain import backward, comparison, fired, sentences, turning


@app.command("ir")
@guarded
def print_ir(
    name: CellName,
    level: Level = "O0",
    size: Sizes = None,
    couple: Couplings = None,
    pruned: Pruned = False,
    scheduled: Annotated[
        bool, typer.Option("--schedule", help="Print the scheduled form.")
    ] = False,
    print_between: Annotated[
        bool, typer.Option("--print-between", help="Print the cell after every pass.")
    ] = False,
    derived: Annotated[
        bool, typer.Option("--derivative", help="Print the derivative in its place.")
    ] = False,
    memory: Memory = "balanced",
    scan: Scanned = "auto",
    diagonals: Diagonal = "never",
) -> None:
    """Print the intermediate representation.

    Example: `cellc ir lstm -O O2 --print-between`

    The derivative of the cell: `cellc ir lstm -O O2 --derivative --schedule`
    """
    cell, level = transformed(load_sized(name, size), couple, pruned), known_level(level)
    if derived:
        forward = driver.schedule(cell, level, scan, diagonals).cell
        back = gradient(forward, level, memory, scan=scan).schedule
        typer.echo(print_schedule(back) if scheduled else print_cell(back.cell))
        return
    if print_between:
        typer.echo(f"# as written\n{print_cell(cell)}")
        before = cell
        for step, after in steps(cell, level):
            text = "# unchanged\n" if after == before else print_cell(after)
            typer.echo(f"# after {step}\n{text}")
            before = after
        cell = before
    if scheduled or not print_between:
        optimised = optimise(cell, level)
        if scheduled:
            typer.echo(print_schedule(plan(cell, level, memory, True, scan, diagonals).inner))
        else:
            typer.echo(print_cell(optimised))


@app.command()
@guarded
def explain(
    name: CellName,
    level: Level = "O2",
    size: Sizes = None,
    memory: Memory = "balanced",
    scan: Scanned = "auto",
    diagonals: Diagonal = "never",
    couple: Couplings = None,
    pruned: Pruned = False,
) -> None:
    """Say in sentences what the optimiser does, with figures before and after.

    Example: `cellc explain gru -s H=512`
    """
    (cell, sizes), level = load_for_figures(name, size), known_level(level)
    cell = transformed(cell, couple, pruned)
    before, after = driver.schedule(cell, "O0"), driver.schedule(cell, level, scan, diagonals)
    console = Console()
    log = [(firing.rule, firing.value) for firing in firings(cell, level)]
    back = gradient(after.cell, level, memory, scan=scan)
    turned = [] if diagonals == "never" else [turning(*choice(optimise(cell, level)))]
    told = [*fired(log), *turned, *sentences(after), "", *backward(after, back, sizes)]
    for sentence in told:
        console.print(Text(sentence))
    title = f"for {sizes_text(sizes)}" if sizes else None
    table = Table("", "as written", level, box=None, title=title, title_justify="left")
    for row in comparison(before, after, sizes):
        table.add_row(row.what, row.before, row.after)
    console.print()
    console.print(table)
    for sentence in _kernels(cell, level, memory, scan, diagonals, sizes):
        console.print(Text(sentence))


def _kernels(
    cell: Cell, level: str, memory: str, scan: str, diagonals: str, sizes: Mapping[str, int]
) -> Iterator[str]:
    """What is compiled for the processor and for a GPU, or why nothing is."""
    planned = plan(cell, level, memory, False, scan, diagonals, True)
    threads = os.cpu_count() or 1
    if (compiled := with_compiled(planned).compiled) is not None:
        yield ""
        yield from _told(lambda: native.report(torch_kernels.loops_of(compiled), sizes, threads))
    if (planned_for_it := for_device(planned).compiled) is not None:
        yield ""
        yield from _told(lambda: device.report(loops_of(planned_for_it), sizes))


def _told(report: Callable[[], list[str]]) -> list[str]:
    try:
        return report()
    except CellcError as error:
        return [f"The loops run in Python: {error.diagnostics[0].message}."]


@app.command("diff")
@guarded
def compare(
    first: CellName,
    second: CellName,
    level: Level = "O2",
    size: Sizes = None,
    as_json: AsJson = False,
) -> None:
    """Compare two cells: their equations, parameters, states, inputs, figures and graphs.

    Example: `cellc diff lstm peephole_lstm`
    """
    level = known_level(level)
    (before, sizes), (after, others) = load_both((first, second), size)
    schedules = [driver.schedule(cell, level) for cell in (before, after)]
    found = difference(schedules[0], schedules[1], (before, after))
    if as_json:
        print_json(found.as_dict(sizes, others))
    else:
        print_difference(found, sizes, others)
