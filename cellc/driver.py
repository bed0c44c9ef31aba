"""From text to a class: the whole way, one step a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellc.backends import backend
from cellc.classes import class_of
from cellc.diagnostics import fail
from cellc.frontend.library import path_of, read_cells, read_file
from cellc.ir import Cell, Schedule
from cellc.passes.inference import planned
from cellc.passes.pipelines import optimise
from cellc.passes.plan import chosen
from cellc.syntax.characters import read_source


def load(name: str | Path, /, **sizes: int) -> Cell:
    """A shipped cell by its name, or the cell of a file by its path.

    Of a file with several cells it is the one named like the file, else the last.
    ``sizes`` are dimensions chosen now rather than by the constructor, which those of
    axes must be: ``load("grid_lstm_2d", L=4)``. Raises CellcError.
    """
    path = path_of(str(name))
    cells = read_file(path, sizes)
    return cells.get(path.stem, list(cells.values())[-1])


def parse(text: str, name: str | None = None, **sizes: int) -> Cell:
    """The cell that a text defines: the one of this name, else the last.

    ``sizes`` as for :func:`load`. Raises CellcError.
    """
    cells = read_cells(read_source("text", text), sizes=sizes)
    if name is not None and name not in cells:
        fail("unknown-cell", f"the text defines no cell `{name}`")
    return cells[name] if name is not None else list(cells.values())[-1]


def schedule(cell: Cell | str, level: str = "O2", scan: str = "never",
             diagonals: str = "never") -> Schedule:  # fmt: skip
    """The optimised cell, or shipped one by its name, with what is computed when."""
    return chosen(optimise(_cell(cell), level), scan, diagonals)


def emit(cell: Cell | str, target: str = "torch", level: str = "O2", memory: str = "balanced",
         scan: str = "auto", diagonals: str = "never") -> str:  # fmt: skip
    """The source text of a file that runs the cell and needs no cellc.

    ``target`` is ``torch``, ``triton``, ``numpy`` or ``native``, ``level`` O0, O1 or O2,
    ``memory`` what is kept for the derivative: low, balanced or fast, ``scan`` whether linear
    loops are scans: never, always or if faster (auto), ``diagonals`` whether loops take steps
    together. Raises CellcError.
    """
    cell, to = _cell(cell), backend(target)
    return to.emit(planned(cell, to, level, memory, scan, diagonals), cell)


def compile(cell: Cell | str, target: str = "torch", level: str = "O2", memory: str = "balanced",
            scan: str = "auto", diagonals: str = "never",
            kernels: str = "auto") -> type[Any]:  # fmt: skip
    """The class that the emitted file defines, ready to use, with compiled kernels.

    ``kernels``: compiled loops: native, triton, none, or for torch if possible (auto). Raises
    CellcError.
    """
    cell, to = _cell(cell), backend(target)
    if getattr(to, "inference_only", False):
        fail("no-class", f"for `{target}` there are files, which `emit` gives, and no class")
    return class_of(cell, to, kernels, level, memory, scan, diagonals)


def _cell(given: Cell | str) -> Cell:
    return load(given) if isinstance(given, str) else given
