"""The commands that write specs."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from cellc.cli.base import app
from cellc.cli.options import (
    Output,
    guarded,
)
from cellc.diagnostics import fail
from cellc.files import write_file
from cellc.frontend.library import read_cells
from cellc.syntax import parse_file
from cellc.syntax.characters import read_source
from cellc.syntax.format import format_source


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
