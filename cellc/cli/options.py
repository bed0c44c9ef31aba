"""What the commands share: their options, how sizes are read, how errors end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from cellc import driver
from cellc.diagnostics import CellcError, Diagnostic
from cellc.frontend.lineage import Change, Lineage
from cellc.ir import Cell
from cellc.ops.notation import equations_of
from cellc.passes.pipelines import PIPELINES, level_called
from cellc.transforms.couple import couple
from cellc.transforms.prune import prune
from cellc.transforms.removed import removed

CellName = Annotated[str, typer.Argument(metavar="CELL", help="A shipped cell or a .cell file.")]
Truncation = Annotated[
    int | None, typer.Option("--truncate", help="Cut backpropagation at every so many steps.")
]
Memory = Annotated[
    str, typer.Option("--memory", help="What the backward pass keeps: low, balanced or fast.")
]
Scanned = Annotated[
    str,
    typer.Option(
        "--scan",
        help="Whether linear loops are parallel scans: auto (where faster), always, never.",
    ),
]
Diagonal = Annotated[
    str,
    typer.Option(
        "--diagonals",
        help="Whether loops that follow each other take their steps together: never, always.",
    ),
]
Level = Annotated[str, typer.Option("--level", "-O", help="Optimisation: O0, O1 or O2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size", "-s", metavar="NAME=N", help="A dimension, such as H=256 or the length L=4."
    ),
]
Couplings = Annotated[
    list[str] | None,
    typer.Option(
        "--couple", metavar="EQUATION", help='Redefine a value of the cell, as by "f = 1 - i".'
    ),
]
Pruned = Annotated[
    bool, typer.Option("--prune", help="Take out states and inputs that no output depends on.")
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
                print_json({"errors": [d.as_dict() for d in error.diagnostics]})
            else:
                print_error(error)
            raise typer.Exit(1) from None

    return run


def print_error(error: CellcError) -> None:
    """Print diagnostics to the error stream."""
    Console(stderr=True).print(Text(str(error)), soft_wrap=True, highlight=False)


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))


def known_level(level: str) -> str:
    """The optimisation level, written in full."""
    try:
        return level_called(level)
    except CellcError:
        raise typer.BadParameter(f"{level} is none of {', '.join(PIPELINES)}") from None


def read_sizes(given: list[str] | None) -> dict[str, int]:
    """The sizes of ``H=256`` options."""
    sizes = {}
    for text in given or ():
        dim, _, number = text.partition("=")
        if not dim or not (number.isascii() and number.isdigit()) or int(number) < 1:
            raise typer.BadParameter(
                f"{text!r} is no size; say, H=64: a dimension and a whole number from 1"
            )
        sizes[dim] = int(number)
    return sizes


def chosen(load: Callable[[dict[str, int]], R], sizes: dict[str, int]) -> R:
    """What ``load`` gives for sizes; one that no cell has, or too large a one, is wrong usage."""
    try:
        return load(sizes)
    except CellcError as error:
        for diagnostic in error.diagnostics if sizes else ():
            if _is_unknown(diagnostic) or diagnostic.code == "too-large":
                raise typer.BadParameter(diagnostic.message) from None
        raise


def _is_unknown(diagnostic: Diagnostic) -> bool:
    """Whether a cell was asked for a size that it does not have."""
    return diagnostic.code == "unknown-dimension" and diagnostic.span is None


def _has(name: str, dim: str) -> bool:
    """Whether a cell has a dimension, or an axis of that length."""
    if dim in driver.load(name).dims:
        return True
    try:
        driver.load(name, **{dim: 1})
    except CellcError as error:
        return not any(map(_is_unknown, error.diagnostics))
    return True


def transformed(cell: Cell, couplings: list[str] | None, pruned: bool = False) -> Cell:
    """The cell with the changes of ``--couple`` and ``--prune``; stderr says what went."""
    after = couple(cell, *(couplings or ()))
    after = prune(after) if pruned else after
    for line in removed(cell, after).lines() if after is not cell else ():
        typer.echo(line, err=True)
    return after


def transformed_lineage(lineage: Lineage, loaded: Cell, cell: Cell) -> Lineage:
    """The lineage of what :func:`transformed` made of a loaded cell."""
    if cell is loaded:
        return lineage
    now = equations_of(cell)
    changes = [
        Change(f"{name} = {before}", f"{name} = {now[name]}" if name in now else None)
        for name, before in removed(loaded, cell).equations.items()
    ]
    bases = (loaded.name, *lineage.bases)
    return replace(lineage, bases=bases, renamed={}, changes=tuple(changes))


def load_sized(name: str, given: list[str] | None) -> Cell:
    """The cell with the sizes of ``--size`` fixed before it is compiled."""
    return _load_sized(name, read_sizes(given))


def _load_sized(name: str, sizes: dict[str, int]) -> Cell:
    return chosen(lambda some: driver.load(name, **some), sizes)


def load_for_figures(name: str, given: list[str] | None) -> tuple[Cell, dict[str, int]]:
    """The cell, and a size for each of its dimensions: I is 64, H 128 and others 4 unless said.

    Only lengths are fixed in the cell, so that formulas keep the names of the others.
    """
    return _with_sizes(name, read_sizes(given))


def load_both(
    names: tuple[str, str], given: list[str] | None
) -> tuple[tuple[Cell, dict[str, int]], tuple[Cell, dict[str, int]]]:
    """Two cells as for figures; a size is for the one that has the dimension, or for both."""
    sizes = _sizes_of_both(names, given)
    first, second = (_with_sizes(*each) for each in zip(names, sizes, strict=True))
    return first, second


def load_both_sized(names: tuple[str, str], given: list[str] | None) -> tuple[Cell, Cell]:
    """Two cells as by :func:`load_sized`; a size is for those that have the dimension."""
    sizes = _sizes_of_both(names, given)
    first, second = (_load_sized(*each) for each in zip(names, sizes, strict=True))
    return first, second


def _sizes_of_both(names: tuple[str, str], given: list[str] | None) -> list[dict[str, int]]:
    """The sizes for each of two cells."""
    sizes = read_sizes(given)
    known = [{dim for dim in sizes if _has(name, dim)} for name in names]
    if unknown := sizes.keys() - known[0] - known[1]:
        raise typer.BadParameter(f"neither cell has a dimension `{min(unknown)}`")
    return [{dim: sizes[dim] for dim in sizes if dim in dims} for dims in known]


def _with_sizes(name: str, sizes: dict[str, int]) -> tuple[Cell, dict[str, int]]:
    cell = driver.load(name)
    free = {dim for dim, argument in cell.dims.items() if not argument.fixed}
    lengths = {dim: number for dim, number in sizes.items() if dim not in free}
    if lengths:
        cell = _load_sized(name, lengths)
    usual = {"I": 64, "H": 128}
    found = {dim: argument.default or usual.get(dim, 4) for dim, argument in cell.dims.items()}
    found |= {dim: sizes[dim] for dim in free & sizes.keys()}
    try:
        for node in cell.nodes.values():
            [dim.evaluate(found) for dim in node.type.shape]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return cell, found
