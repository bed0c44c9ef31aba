"""Finds cells by name: in the same file, beside it, among the shipped specs."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Source, Span, fail
from cellc.frontend.elaborate import base_error, elaborate
from cellc.frontend.lower import lower
from cellc.frontend.model import Model
from cellc.frontend.suggest import did_you_mean
from cellc.ir import Cell
from cellc.resources import shipped_specs
from cellc.syntax import parse_file, tree
from cellc.syntax.characters import LARGEST_FILE, read_source

DEEPEST_DERIVATION = 30

#: The file and the name of every cell that waits for its base.
Deriving = tuple[tuple[Path | None, str, str], ...]


def read_cells(source: Source, folder: Path | None = None) -> dict[str, Cell]:
    """All cells of a source text by name, in their order.

    ``folder`` is where base cells that the text lacks are looked for before the
    shipped ones. Raises CellcError with the errors of all cells of the text.
    """
    found = Collector()
    library = Library(source, folder)
    cells = {}
    for name in library.definitions:
        try:
            cells[name] = lower(library.model(name, ()))
        except CellcError as error:
            found.extend(error)
    found.raise_if_any()
    return cells


def read_file(path: Path) -> dict[str, Cell]:
    """All cells of a file; see :func:`read_cells`. Raises CellcError."""
    return read_cells(_source(path), path.parent)


def spec_path(name: str, span: Span | None = None) -> Path:
    """The file of a shipped cell, by its name.

    Raises CellcError ``unknown-cell``.
    """
    specs = shipped_specs()
    if name not in specs:
        fail(
            "unknown-cell",
            f"there is no cell `{name}`",
            span,
            hints=did_you_mean(name, specs) or ("`cellc list` shows the shipped cells",),
        )
    return specs[name]


class Library:
    """The definitions of one file, and the way to those of others."""

    def __init__(self, source: Source, folder: Path | None) -> None:
        self.folder, self._file = folder, source.name
        self.definitions: dict[str, tree.Definition] = {}
        self._models: dict[str, Model] = {}
        found = Collector()
        for definition in parse_file(source).definitions:
            header = definition.header
            if header.name in self.definitions:
                first = self.definitions[header.name].header
                found.add(
                    Diagnostic(
                        "duplicate-cell",
                        f"the file has two cells called `{header.name}`",
                        header.span,
                        related=(Related(first.span, "the first is here"),),
                    )
                )
            self.definitions[header.name] = definition
        found.raise_if_any()

    def model(self, name: str, deriving: Deriving) -> Model:
        """The elaborated cell of this file; ``deriving`` are the cells that wait for it."""
        definition = self.definitions[name]
        span = definition.header.span
        here = (self.folder, self._file, name)
        if here in deriving:
            waiting = [cell for _, _, cell in deriving[deriving.index(here) :]]
            circle = " → ".join([*waiting, name])
            fail("derivation-cycle", f"cells are derived from each other: {circle}", span)
        if len(deriving) >= DEEPEST_DERIVATION:
            message = f"cells are derived from each other more than {DEEPEST_DERIVATION} deep"
            fail("nested-too-deeply", message, span)
        if name not in self._models:
            self._models[name] = elaborate(
                definition, lambda base: self._base(base, name, (*deriving, here))
            )
        return self._models[name]

    def _base(self, base: tree.Name, child: str, deriving: Deriving) -> Model:
        """The model that a name after ``from`` means."""
        if base.name in self.definitions and not (
            base.name == child and base.name in shipped_specs()
        ):
            return self.model(base.name, deriving)
        path = self._path(base, child)
        outer = Library(_source(path), path.parent)
        if base.name not in outer.definitions:
            raise base_error(base, list(outer.definitions))
        return outer.model(base.name, deriving)

    def _path(self, base: tree.Name, child: str) -> Path:
        """The file of a base; that of a cell derived from its namesake is shipped."""
        beside = self.folder / f"{base.name}.cell" if self.folder is not None else None
        if beside is not None and base.name != child and isfile(beside):
            return beside
        specs = shipped_specs()
        if base.name not in specs:
            raise base_error(base, [*self.definitions, *specs])
        return specs[base.name]


def _source(path: Path) -> Source:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fail("unreadable-file", f"{path.name!r} cannot be read: {reason}")
    return read_source(path.name if path.is_absolute() else str(path), data)
