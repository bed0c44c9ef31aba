"""The command line: ``cellc list | check | show | compile | draw | ir | explain | fmt | new``.

Exit status 0 when all is well, 1 for a faulty spec, 2 for wrong usage.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import cellc
from cellc import driver
from cellc.backends import BACKENDS
from cellc.diagnostics import CellcError, fail
from cellc.files import write_file
from cellc.frontend.library import read_cells, read_file
from cellc.ir import Cell, print_cell, print_schedule
from cellc.ops.notation import equations_of
from cellc.passes.algebra import Algebra
from cellc.passes.pipelines import PIPELINES, optimise, steps
from cellc.resources import shipped_specs
from cellc.syntax import parse_file
from cellc.syntax.characters import ascii_name, display_width, padded, read_source
from cellc.syntax.format import format_source
from cellc.views.explain import comparison, fired, sentences
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

CellName = Annotated[str, typer.Argument(metavar="CELL", help="A shipped cell or a .cell file.")]
Level = Annotated[str, typer.Option("--level", "-O", help="Optimisation: O0, O1 or O2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", "-s", metavar="NAME=N", help="A dimension, such as H=256."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")]

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Show diagnostics instead of a traceback and exit with status 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except CellcError as error:
            if kwargs.get("as_json"):
                _print_json({"errors": [d.as_dict() for d in error.diagnostics]})
            else:
                Console(stderr=True).print(Text(str(error)), soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None

    return run


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
    """List the shipped cells with their states, parameters and recurrence.

    Example: `cellc list`
    """
    summaries = [_summary(driver.load(name)) for name in shipped_specs()]
    if as_json:
        _print_json([s.as_dict({}) for s in summaries])
        return
    rows = [
        (s.cell.name, ", ".join(s.cell.states), str(s.parameters), s.recurrence, s.cell.description)
        for s in summaries
    ]
    headings = ("cell", "states", "parameters", "recurrence", "description")
    table = Table(box=None)
    for heading, column in zip(headings, zip(*rows, strict=True), strict=True):
        wide = None if heading == "description" else max(map(len, (heading, *column)))
        table.add_column(heading, no_wrap=wide is not None, min_width=wide)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else 1_000).print(table)


@app.command()
@guarded
def check(
    files: Annotated[list[Path], typer.Argument(help="Files with cells.")], as_json: AsJson = False
) -> None:
    """Check specs and report every error in them.

    Example: `cellc check mycell.cell`
    """
    found: list[Any] = []
    names: list[str] = []
    for path in files:
        try:
            names += read_file(path)
        except CellcError as error:
            found += error.diagnostics
    if found:
        raise CellcError(*found)
    if as_json:
        _print_json({"cells": names, "errors": []})
    else:
        typer.echo(f"{', '.join(names)}: no errors")


@app.command()
@guarded
def show(
    name: CellName,
    size: Sizes = None,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the LaTeX.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a cell: equations, shapes, parameters, flops and bytes per step.

    Example: `cellc show lstm -s I=64 -s H=256`
    """
    cell = driver.load(name)
    sizes = _sizes(cell, size)
    if as_latex:
        typer.echo(latex(cell))
    elif as_json:
        _print_json(_summary(cell).as_dict(sizes))
    else:
        _print_summary(_summary(cell), sizes)


@app.command("compile")
@guarded
def compile_cell(
    name: CellName,
    target: Annotated[str, typer.Option(help=f"One of: {', '.join(BACKENDS)}.")] = "torch",
    level: Level = "O2",
    output: Output = None,
) -> None:
    """Emit a file that runs the cell and needs no cellc.

    Example: `cellc compile lstm -o lstm.py`
    """
    text = driver.emit(driver.load(name), target, _level(level))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text)
        typer.echo(f"wrote {output}", err=True)


@app.command()
@guarded
def draw(name: CellName, output: Output = None) -> None:
    """Draw the gate diagram as SVG, PNG, PDF or DOT, by the file's ending.

    Example: `cellc draw lstm -o lstm.svg`
    """
    cell = driver.load(name)
    path = output or Path(f"{cell.name}.svg")
    driver.draw(cell).save(path)
    typer.echo(f"wrote {path}", err=True)


@app.command("ir")
@guarded
def print_ir(
    name: CellName,
    level: Level = "O0",
    scheduled: Annotated[
        bool, typer.Option("--schedule", help="Print the scheduled form.")
    ] = False,
    print_between: Annotated[
        bool, typer.Option("--print-between", help="Print the cell after every pass.")
    ] = False,
) -> None:
    """Print the intermediate representation.

    Example: `cellc ir lstm -O O2 --print-between`
    """
    cell, level = driver.load(name), _level(level)
    if print_between:
        typer.echo(f"# as written\n{print_cell(cell)}")
        before = cell
        for step, after in steps(cell, level):
            text = "# unchanged\n" if after == before else print_cell(after)
            typer.echo(f"# after {step}\n{text}")
            before = after
        cell = before
    if scheduled or not print_between:
        schedule = driver.schedule(cell, level)
        typer.echo(print_schedule(schedule) if scheduled else print_cell(optimise(cell, level)))


@app.command()
@guarded
def explain(name: CellName, level: Level = "O2", size: Sizes = None) -> None:
    """Say in sentences what the optimiser does, with figures before and after.

    Example: `cellc explain gru -s H=512`
    """
    cell, level = driver.load(name), _level(level)
    sizes = _sizes(cell, size)
    before, after = driver.schedule(cell, "O0"), driver.schedule(cell, level)
    _, log = Algebra().run_logged(cell)
    console = Console()
    for sentence in [*fired([(f.rule, f.value) for f in log]), *sentences(after)]:
        console.print(Text(sentence))
    shown = ", ".join(f"{dim} = {value}" for dim, value in sizes.items())
    table = Table("", "as written", level, box=None, title=f"for {shown}", title_justify="left")
    for row in comparison(before, after, sizes):
        table.add_row(row.what, row.before, row.after)
    console.print()
    console.print(table)


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


def _level(level: str) -> str:
    level = level if level.startswith("O") else f"O{level}"
    if level not in PIPELINES:
        raise typer.BadParameter(f"{level} is none of {', '.join(PIPELINES)}")
    return level


def _sizes(cell: Cell, given: list[str] | None) -> dict[str, int]:
    """Sizes from ``H=256`` options; I is 64, H 128 and others 4 unless said."""
    usual = {"I": 64, "H": 128}
    sizes = {dim: argument.default or usual.get(dim, 4) for dim, argument in cell.dims.items()}
    for text in given or ():
        dim, _, number = text.partition("=")
        if dim not in sizes or not number.isdigit() or int(number) < 1:
            raise typer.BadParameter(
                f"{text!r} is no size of this cell; say, {next(iter(sizes))}=64"
            )
        sizes[dim] = int(number)
    return sizes


def _print_summary(summary: Summary, sizes: dict[str, int]) -> None:
    cell, facts = summary.cell, summary.as_dict(sizes)
    console = Console()

    def say(text: str = "", style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    say(cell.name, "bold")
    for line in (cell.description, *cell.citations):
        say(f"  {line}")
    say()
    equations = equations_of(cell)
    wide = max(map(display_width, equations))
    column = max(wide + 3 + display_width(right) for right in equations.values()) + 4
    for name, right in equations.items():
        line = f"  {padded(name, wide)} = {right}"
        comment = cell.comments.get(name)
        say(f"{padded(line, column)}# {comment}" if comment else line)
    say()
    for kind in ("inputs", "states"):
        say(f"{kind:<12}" + ", ".join(f"{n}{shape}" for n, shape in facts[kind].items()))
    for name in cell.options:
        say(f"{'option':<12}{name} = {cell.nodes[name].attr('default'):g}")
    arguments = ", ".join(f"{dim} = {argument.name}" for dim, argument in cell.dims.items())
    say(f"{'dimensions':<12}{arguments}")
    say(f"{'recurrence':<12}{summary.recurrence}")
    say(f"{'key':<12}{facts['key']}")
    say()
    table = Table("parameter", "in state_dict", "shape", "initial value", box=None)
    for name in cell.params:
        fact = facts["params"][name]
        table.add_row(*map(Text, (name, ascii_name(name), fact["shape"], fact["initial"])))
    console.print(table)
    say()
    shown = ", ".join(f"{dim} = {value}" for dim, value in sizes.items())
    for what in ("parameters", "flops_per_step", "bytes_per_step"):
        fact = facts[what]
        count = f"{fact['count']:,}" if fact["count"] is not None else "?"
        say(f"{what.replace('_', ' '):<15} {fact['formula']} = {count} for {shown}")


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


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
