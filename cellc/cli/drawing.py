"""The command that draws cells, once or whenever their file is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from watchfiles import Change, watch

from cellc import pictures
from cellc.cli.base import app
from cellc.cli.options import (
    CellName,
    Couplings,
    Level,
    Output,
    Pruned,
    Sizes,
    guarded,
    known_level,
    load_sized,
    print_error,
    transformed,
)
from cellc.diagnostics import CellcError
from cellc.frontend.library import path_of
from cellc.views.theme import THEMES


@app.command()
@guarded
def draw(
    name: CellName,
    view: Annotated[str, typer.Option(help=f"One of: {', '.join(pictures.VIEWS)}.")] = "gates",
    diff: Annotated[
        str | None, typer.Option(metavar="BASE", help="Tint what differs from another cell.")
    ] = None,
    expand: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Open the applied cells of a name, or `all`."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=20, help="How many, when unrolled.")] = 3,
    level: Level = "O2",
    theme: Annotated[str, typer.Option(help=f"One of: {', '.join(THEMES)}.")] = "light",
    captions: Annotated[
        bool, typer.Option("--captions", help="Write the equations below.")
    ] = False,
    legend: Annotated[bool, typer.Option("--legend", help="Tell what colours mean.")] = False,
    size: Sizes = None,
    couple: Couplings = None,
    pruned: Pruned = False,
    watched: Annotated[
        bool, typer.Option("--watch", help="Draw again whenever the file is saved.")
    ] = False,
    output: Output = None,
) -> None:
    """Draw a cell as SVG, PNG, PDF or DOT, by the file's ending.

    Example: `cellc draw lstm -o lstm.svg`

    What a cell changes in another: `cellc draw cifg --diff lstm`
    """
    known = known_level(level)

    def once() -> None:
        cell = transformed(load_sized(name, size), couple, pruned)
        path = output or Path(f"{cell.name}.svg")
        renamed = None if diff is None else pictures.renamed_in(name, diff)
        drawing = pictures.draw(
            cell, view, base=diff, renamed=renamed, theme=theme, captions=captions,
            legend=legend, expand=expand or (), steps=steps, level=known,
        )  # fmt: skip
        drawing.save(path)
        typer.echo(f"wrote {path}", err=True)

    if watched:
        _whenever_saved(path_of(name), once)
    else:
        once()


def _whenever_saved(path: Path, once: Callable[[], None]) -> None:
    """Draw now and whenever a cell in the folder of the file changes, until interrupted.

    Errors are told; the last picture stays.
    """
    _try(once)
    typer.echo(f"watching {path}; Ctrl-C ends", err=True)
    for _ in watch(path.resolve().parent, watch_filter=_is_cell, raise_interrupt=False):
        _try(once)


def _is_cell(change: Change, path: str) -> bool:
    return path.endswith(".cell")


def _try(once: Callable[[], None]) -> None:
    try:
        once()
    except CellcError as error:
        print_error(error)
