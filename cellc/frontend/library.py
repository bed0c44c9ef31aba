"""Finds cells by name: in the same file, beside it, among the shipped specs."""

from __future__ import annotations

from dataclasses import replace
from os.path import exists, isfile
from pathlib import Path

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Source, Span, fail
from cellc.frontend.elaborate import base_error, elaborate
from cellc.frontend.layers import Found
from cellc.frontend.lower import lower
from cellc.frontend.model import USUAL_DIMENSIONS, Model
from cellc.frontend.suggest import did_you_mean
from cellc.ir import Cell
from cellc.resources import shipped_specs
from cellc.syntax import parse_file, tree
from cellc.syntax.build import LARGEST_DIMENSION, is_size
from cellc.syntax.characters import LARGEST_FILE, read_source

DEEPEST_DERIVATION = 30

#: Chosen dimensions by name.
Sizes = dict[str, int]

#: The file and the name of every cell that waits for its base.
Deriving = tuple[tuple[Path | None, str, str], ...]


def read_cells(
    source: Source, folder: Path | None = None, sizes: Sizes | None = None
) -> dict[str, Cell]:
    """All cells of a source text by name, in their order.

    ``folder`` is where cells that the text lacks are looked for before the shipped
    ones. ``sizes`` chooses dimensions, lengths of axes among them, before compiling.
    Raises CellcError with the errors of all cells of the text.
    """
    found = Collector()
    for name, size in (sizes or {}).items():
        if not isinstance(size, int) or not is_size(size):
            message = f"`{name}` is a whole number from 1 to {LARGEST_DIMENSION:,}, not {size!r}"
            fail("not-a-dimension", message)
    library = Library(source, folder)
    cells = {}
    for name in library.definitions:
        try:
            cells[name] = library.cell(name, sizes or {})
        except CellcError as error:
            found.extend(error)
    found.raise_if_any()
    unknown = [name for name in sizes or {} if name not in library.sized]
    if unknown:
        fail("unknown-dimension", f"no cell of {source.name} has a dimension `{unknown[0]}`")
    return cells


def read_file(path: Path, sizes: Sizes | None = None) -> dict[str, Cell]:
    """All cells of a file; see :func:`read_cells`. Raises CellcError."""
    return read_cells(_source(path), path.parent, sizes)


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


def path_of(name: str) -> Path:
    """The file of a cell that is given by its name or its path. Raises CellcError."""
    path = Path(name)
    return path if path.suffix == ".cell" or exists(path) else spec_path(name)


def open_library(path: Path) -> Library:
    """The definitions of a file. Raises CellcError."""
    return Library(_source(path), path.parent)


class Library:
    """The definitions of one file, and the way to those of others."""

    def __init__(self, source: Source, folder: Path | None) -> None:
        self.folder, self._file = folder, source.name
        self.definitions: dict[str, tree.Definition] = {}
        self._models: dict[str, Model] = {}
        self._cells: dict[tuple[str, tuple[tuple[str, int], ...]], Cell] = {}
        self._others: dict[Path, Library] = {}
        self.sized: set[str] = set()
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

    def origin(self, name: str) -> tuple[Library, str] | None:
        """Where the base of a cell of this file is defined, and its name."""
        base = self.definitions[name].header.base
        return None if base is None else (self._home(base, name), base.name)

    def _base(self, base: tree.Name, child: str, deriving: Deriving) -> Model:
        """The model that a name after ``from`` means."""
        return self._home(base, child).model(base.name, deriving)

    def _home(self, base: tree.Name, child: str) -> Library:
        """Where the cell that a name after ``from`` means is defined."""
        if base.name in self.definitions and not (
            base.name == child and base.name in shipped_specs()
        ):
            return self
        path = self._path(base.name, child)
        if path is None:
            raise base_error(base, [*self.definitions, *shipped_specs()])
        outer = self._other(path)
        if base.name not in outer.definitions:
            raise base_error(base, list(outer.definitions))
        return outer

    def cell(self, name: str, sizes: Sizes, applying: Deriving = ()) -> Cell:
        """A cell of this file, lowered; ``applying`` are the cells that wait for it."""
        here = (self.folder, self._file, name)
        span = self.definitions[name].header.span
        if here in applying:
            waiting = [cell for _, _, cell in applying[applying.index(here) :]]
            circle = " → ".join([*waiting, name])
            fail("derivation-cycle", f"cells are applied inside each other: {circle}", span)
        if len(applying) >= DEEPEST_DERIVATION:
            message = f"cells are applied inside each other more than {DEEPEST_DERIVATION} deep"
            fail("nested-too-deeply", message, span)
        key = (name, tuple(sorted(sizes.items())))
        if key not in self._cells:
            model = self._sized(self.model(name, ()), sizes)
            self._cells[key] = lower(
                model, lambda used, chosen: self._applied(used, chosen, name, (*applying, here))
            )
        return self._cells[key]

    def _sized(self, model: Model, sizes: Sizes) -> Model:
        """The model with the dimensions it has chosen, by their names or their arguments'."""
        dims = dict(model.dims)
        for word, size in sizes.items():
            name = dimension_called(word, model)
            if name is not None:
                self.sized.add(word)
                usual = USUAL_DIMENSIONS.get(name, name)
                old = dims.get(name) or tree.Dimension(name, usual, None, model.span)
                dims[name] = replace(old, default=size, fixed=True)
        return replace(model, dims=dims)

    def _applied(
        self, used: tree.Name, sizes: Sizes, user: str, applying: Deriving
    ) -> Found | None:
        """The cell that a name in an equation means; None where there is none."""
        if used.name in self.definitions and used.name != user:
            return self._found(used.name, sizes, applying)
        path = self._path(used.name, user)
        if path is None:
            if used.name == user:
                return self._found(user, sizes, applying)
            return None
        outer = self._other(path)
        if used.name not in outer.definitions:
            return None
        return outer._found(used.name, sizes, applying)

    def _found(self, name: str, sizes: Sizes, applying: Deriving) -> Found:
        """A cell of this file, and which of the sizes it has a dimension for."""
        model = self.model(name, ())
        chosen = frozenset(word for word in sizes if dimension_called(word, model) is not None)
        return self.cell(name, {word: sizes[word] for word in chosen}, applying), chosen

    def _other(self, path: Path) -> Library:
        if path not in self._others:
            self._others[path] = Library(_source(path), path.parent)
            self._others[path]._others = self._others
        return self._others[path]

    def _path(self, name: str, user: str) -> Path | None:
        """The file of another cell; that of a cell's own namesake is shipped."""
        beside = self.folder / f"{name}.cell" if self.folder is not None else None
        if beside is not None and name != user and isfile(beside):
            return beside
        return shipped_specs().get(name)


def dimension_called(word: str, model: Model) -> str | None:
    """The dimension of a model that a word means: its name, or that of its argument."""
    if word in model.dims or word in USUAL_DIMENSIONS:
        return word
    by_argument = {d.argument: name for name, d in model.dims.items()}
    return by_argument.get(word)


def _source(path: Path) -> Source:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fail("unreadable-file", f"{path.name!r} cannot be read: {reason}")
    return read_source(path.name if path.is_absolute() else str(path), data)
