"""The commands that cells are listed, checked, shown, compiled and drawn with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cellc import driver
from cellc.backends import BACKENDS, backend
from cellc.cli.base import app
from cellc.cli.options import (
    AsJson,
    CellName,
    Couplings,
    Diagonal,
    Level,
    Memory,
    Output,
    Pruned,
    Scanned,
    Sizes,
    Truncation,
    chosen,
    guarded,
    known_level,
    load_for_figures,
    load_sized,
    print_json,
    read_sizes,
    transformed,
    transformed_lineage,
)
from cellc.cli.printing import (
    in_families,
    print_list,
    print_summary,
)
from cellc.diagnostics import CellcError
from cellc.files import write_file
from cellc.frontend.library import path_of, read_file
from cellc.frontend.lineage import lineage_of
from cellc.ir import Cell
from cellc.passes.inference import planned
from cellc.resources import shipped_specs
from cellc.transforms.truncate import truncate
from cellc.views.latex import latex
from cellc.views.summary import Summary, summarise


@app.command("list")
@guarded
def list_cells(as_json: AsJson = False) -> None:
    """List the shipped cells by family, with their states, parameters and recurrence.

    Example: `cellc list`
    """
    summaries = in_families([_summary(driver.load(name)) for name in shipped_specs()])
    if as_json:
        print_json([summary.as_dict({}) for summary in summaries])
    else:
        print_list(summaries)


@app.command()
@guarded
def check(
    files: Annotated[list[Path], typer.Argument(help="Files with cells.")],
    size: Sizes = None,
    as_json: AsJson = False,
) -> None:
    """Check specs and report every error in them.

    Example: `cellc check mycell.cell`
    """
    found: list[Any] = []
    names: list[str] = []
    sizes = read_sizes(size)
    for path in files:
        try:
            cells = chosen(partial(read_file, path), sizes)
            for cell in cells.values():
                driver.schedule(cell, "O0")  # finds what needs a whole sequence inside its own loop
            names += cells
        except CellcError as error:
            found += error.diagnostics
    if found:
        raise CellcError(*found)
    if as_json:
        print_json({"cells": names, "errors": []})
    else:
        typer.echo(f"{', '.join(names)}: no errors")


@app.command()
@guarded
def show(
    name: CellName,
    size: Sizes = None,
    couple: Couplings = None,
    pruned: Pruned = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the LaTeX.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a cell: equations, what it is derived from, shapes, parameters, flops and bytes.

    Example: `cellc show lstm -s I=64 -s H=256`
    """
    loaded, sizes = load_for_figures(name, size)
    cell = transformed(loaded, couple, pruned)
    if as_latex:
        typer.echo(latex(cell))
        return
    lineage = transformed_lineage(lineage_of(path_of(name), read_sizes(size)), loaded, cell)
    if as_json:
        print_json({**_summary(cell).as_dict(sizes), "lineage": lineage.as_dict()})
    else:
        print_summary(_summary(cell), sizes, lineage)


@app.command("compile")
@guarded
def compile_cell(
    name: CellName,
    target: Annotated[str, typer.Option(help=f"One of: {', '.join(BACKENDS)}.")] = "torch",
    level: Level = "O2",
    memory: Memory = "balanced",
    scan: Scanned = "auto",
    diagonals: Diagonal = "never",
    steps: Truncation = None,
    size: Sizes = None,
    couple: Couplings = None,
    pruned: Pruned = False,
    output: Output = None,
) -> None:
    """Emit a file that runs the cell and needs no cellc.

    Example: `cellc compile lstm -o lstm.py`

    A program in C++ with a header for C, in a directory:
    `cellc compile lstm --target native -o lstm/`

    Another cell than the file's: `cellc compile vanilla_lstm --couple "f = 1 - i"`
    """
    cell = transformed(load_sized(name, size), couple, pruned)
    cell = cell if steps is None else truncate(cell, steps)
    text = driver.emit(cell, target, known_level(level), memory, scan, diagonals)
    if output is None:
        typer.echo(text, nl=False)
        return
    several = getattr(backend(target), "files", None)
    found = {output: text}
    if several is not None:
        schedule = planned(cell, backend(target), known_level(level), memory, scan, diagonals)
        found = {output / name: text for name, text in several(schedule, cell).items()}
    for path, text in found.items():
        write_file(path, text)
        typer.echo(f"wrote {path}", err=True)


def _summary(cell: Cell) -> Summary:
    return summarise(cell, driver.schedule(cell, "O0"))
