"""The command that draws cells, once or whenever their file is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from watchfiles import watch

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
    load_both_sized,
    load_sized,
    print_error,
    read_sizes,
    transformed,
)
from cellc.diagnostics import CellcError, fail
from cellc.frontend.library import path_of
from cellc.ir import Cell
from cellc.syntax.characters import LARGEST_FILE
from cellc.views.drawing import Drawing
from cellc.views.theme import THEMES

#: An empty picture, which can be written where others can.
_NOTHING = Drawing("digraph {}")

#: For how many milliseconds a folder that is gone may go unseen.
_PATIENCE = 500


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
    known, opened = known_level(level), expand or ()
    pictures.check_wish(view, theme, steps, against=diff is not None, opened=bool(opened))

    def once() -> None:
        cell, base, renamed = _loaded(name, diff, size)
        cell = transformed(cell, couple, pruned)
        path = output or Path(f"{cell.name}.svg")
        drawing = pictures.draw(
            cell, view, base=base, renamed=renamed, theme=theme, captions=captions,
            legend=legend, expand=opened, steps=steps, level=known,
        )  # fmt: skip
        drawing.save(path)
        typer.echo(f"wrote {path}", err=True)

    if watched:
        _check_usage(diff, size, output)
        _whenever_saved(path_of(name), once)
    else:
        once()


def _loaded(
    name: str, diff: str | None, size: list[str] | None
) -> tuple[Cell, Cell | None, Mapping[str, str] | None]:
    """The cell, the one that it is compared with, if any, and what values of that are called."""
    if diff is None:
        return load_sized(name, size), None, None
    return *load_both_sized((name, diff), size), pictures.renamed_in(name, diff)


def _check_usage(diff: str | None, size: list[str] | None, output: Path | None) -> None:
    """Find what is wrong with the options and no save mends."""
    read_sizes(size)
    if diff is not None:
        path_of(diff)
    if output is not None:
        _NOTHING.file(output.suffix, output.name)


def _whenever_saved(path: Path, once: Callable[[], None]) -> None:
    """Draw now and whenever a cell in the folder of the file changes, until interrupted.

    Errors are told; the last picture stays. Raises CellcError ``unreadable-file`` where there is
    no folder, now or later.
    """
    folder = path.absolute().parent
    _check_folder(folder)
    drawn = _texts(path)
    _try(once)
    typer.echo(f"watching {path}; Ctrl-C ends", err=True)
    changes = watch(
        folder, watch_filter=None, recursive=False, rust_timeout=_PATIENCE, yield_on_timeout=True,
        raise_interrupt=False,
    )  # fmt: skip
    for _ in changes:
        _check_folder(folder)
        if (texts := _texts(path)) != drawn:
            drawn = texts
            _try(once)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        fail("unreadable-file", f"there is no folder {str(folder)!r} to watch")


def _texts(path: Path) -> dict[Path, bytes]:
    """What is in a file and in the cells beside it, as far as it can be read."""
    found = {}
    for each in {path, *path.parent.glob("*.cell")}:
        with suppress(OSError), each.open("rb") as file:
            found[each] = file.read(LARGEST_FILE + 1)
    return found


def _try(once: Callable[[], None]) -> None:
    """Draw; what is wrong is told."""
    try:
        once()
    except CellcError as error:
        print_error(error)
    except typer.BadParameter as error:
        typer.echo(f"error: {error.format_message()}", err=True)
