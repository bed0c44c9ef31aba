"""The commands of ``cellc``: list, check, show, compile, draw, ir, explain, diff, fmt, new."""

from __future__ import annotations

import difflib
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import cellc
from cellc import driver
from cellc.backends import BACKENDS
from cellc.cli.options import (
    AsJson,
    CellName,
    Couplings,
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
    load_both,
    load_for_figures,
    load_sized,
    path_of,
    print_json,
    read_sizes,
    transformed,
    transformed_lineage,
)
from cellc.cli.printing import (
    in_families,
    print_difference,
    print_list,
    print_summary,
    sizes_text,
)
from cellc.diagnostics import CellcError, fail
from cellc.files import write_file
from cellc.frontend.library import read_cells, read_file
from cellc.frontend.lineage import lineage_of
from cellc.ir import Cell, print_cell, print_schedule
from cellc.passes.pipelines import firings, optimise, steps
from cellc.passes.plan import gradient, plan
from cellc.resources import shipped_specs
from cellc.syntax import parse_file
from cellc.syntax.characters import read_source
from cellc.syntax.format import format_source
from cellc.transforms.truncate import truncate
from cellc.views.diff import difference
from cellc.views.explain import backward, comparison, fired, sentences
from cellc.views.latex import latex
from cellc.views.summary import Summary, summarise

app = typer.Typer(
    name="cellc",
    help="Compile recurrent cells from the equations a paper prints.",
    epilog="Begin with `cellc list`, `cellc show lstm`, `cellc new mycell`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Compile recurrent cells from the equations a paper prints."""
    if version:
        typer.echo(f"cellc {cellc.__version__}")
        raise typer.Exit


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
    steps: Truncation = None,
    size: Sizes = None,
    couple: Couplings = None,
    pruned: Pruned = False,
    output: Output = None,
) -> None:
    """Emit a file that runs the cell and needs no cellc.

    Example: `cellc compile lstm -o lstm.py`

    Another cell than the file's: `cellc compile vanilla_lstm --couple "f = 1 - i"`
    """
    cell = transformed(load_sized(name, size), couple, pruned)
    cell = cell if steps is None else truncate(cell, steps)
    text = driver.emit(cell, target, known_level(level), memory, scan)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text)
        typer.echo(f"wrote {output}", err=True)


@app.command()
@guarded
def draw(
    name: CellName,
    size: Sizes = None,
    couple: Couplings = None,
    pruned: Pruned = False,
    output: Output = None,
) -> None:
    """Draw the diagram as SVG, PNG, PDF or DOT, by the file's ending.

    Example: `cellc draw lstm -o lstm.svg`
    """
    cell = transformed(load_sized(name, size), couple, pruned)
    path = output or Path(f"{cell.name}.svg")
    driver.draw(cell).save(path)
    typer.echo(f"wrote {path}", err=True)


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
) -> None:
    """Print the intermediate representation.

    Example: `cellc ir lstm -O O2 --print-between`

    The derivative of the cell: `cellc ir lstm -O O2 --derivative --schedule`
    """
    cell, level = transformed(load_sized(name, size), couple, pruned), known_level(level)
    if derived:
        forward = driver.schedule(cell, level, scan).cell
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
            typer.echo(print_schedule(plan(cell, level, memory, starts=True, scan=scan)))
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
    couple: Couplings = None,
    pruned: Pruned = False,
) -> None:
    """Say in sentences what the optimiser does, with figures before and after.

    Example: `cellc explain gru -s H=512`
    """
    (cell, sizes), level = load_for_figures(name, size), known_level(level)
    cell = transformed(cell, couple, pruned)
    before, after = driver.schedule(cell, "O0"), driver.schedule(cell, level, scan)
    console = Console()
    log = [(firing.rule, firing.value) for firing in firings(cell, level)]
    back = gradient(after.cell, level, memory, scan=scan)
    told = [*fired(log), *sentences(after), "", *backward(after, back, sizes)]
    for sentence in told:
        console.print(Text(sentence))
    title = f"for {sizes_text(sizes)}" if sizes else None
    table = Table("", "as written", level, box=None, title=title, title_justify="left")
    for row in comparison(before, after, sizes):
        table.add_row(row.what, row.before, row.after)
    console.print()
    console.print(table)


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


@app.command("fmt")
@guarded
def format_files(
    files: Annotated[list[Path], typer.Argument(help="Files with cells, or - for stdin.")],
    check_only: Annotated[
        bool, typer.Option("--check", help="Only say which files would change; exit 1 if any.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what would change.")] = False,
) -> None:
    """Lay specs out in the canonical form, in place. Comments are kept.

    Example: `cellc fmt mycell.cell`
    """
    changed = [path for path in files if _format(path, check_only, diff)]
    if check_only and changed:
        raise typer.Exit(1)


@app.command("new")
@guarded
def new_cell(
    name: Annotated[str, typer.Argument(help="What the cell is called.")],
    base: Annotated[str | None, typer.Option("--from", help="A cell to derive it from.")] = None,
    output: Output = None,
) -> None:
    """Write a cell to start from: NAME.cell in the current folder.

    A base may be a shipped cell or lie beside the new file.

    Example: `cellc new mycell --from lstm`
    """
    name = name.removesuffix(".cell")
    path = output or Path(f"{name}.cell")
    if path.exists():
        fail("unwritable", f"{path} exists already", hints=("choose another name",))
    if base is None:
        text = _TEMPLATE.format(name=name)
    else:
        base = base.removesuffix(".cell")
        text = (
            f'cell {name} from {base}\n"What differs from {base}."\n\n# redefine an equation here\n'
        )
    read_cells(read_source(path.name, text), path.parent)
    write_file(path, text)
    typer.echo(f"wrote {path}; next: cellc check {path}", err=True)


_TEMPLATE = """\
cell {name}
"What the cell is for, in a sentence."

input x[I]
state h[H]

z  = sigmoid(W·[h, x] + b)      # gate: how much of the old state stays
n  = tanh(W·[h, x] + b)         # candidate
h' = z*h + (1 - z)*n

output h'
"""


def main() -> None:
    """Run the command line."""
    app()


def _summary(cell: Cell) -> Summary:
    return summarise(cell, driver.schedule(cell, "O0"))


def _format(path: Path, check_only: bool, diff: bool) -> bool:
    """Format one file; whether it changed."""
    stdin = str(path) == "-"
    try:
        data = sys.stdin.buffer.read() if stdin else path.read_bytes()
    except OSError as error:
        fail("unreadable-file", f"{path} cannot be read: {error.strerror or error}")
    source = read_source("stdin" if stdin else path.name, data)
    parse_file(source)
    text = format_source(source)
    if diff:
        old, new = source.text.splitlines(keepends=True), text.splitlines(keepends=True)
        typer.echo("".join(difflib.unified_diff(old, new, str(path), str(path))), nl=False)
    elif stdin and not check_only:
        typer.echo(text, nl=False)
    elif text.encode() != data:
        typer.echo(f"{'would format' if check_only else 'formatted'} {path}", err=True)
        if not check_only:
            write_file(path, text)
    return text.encode() != data
