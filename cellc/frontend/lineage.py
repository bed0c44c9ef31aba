"""What a cell is derived from and what it changes, in its authors' words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from pathlib import Path

from cellc.diagnostics import Source, Span
from cellc.frontend.library import Library, open_library
from cellc.frontend.order import needed_names
from cellc.syntax import tree
from cellc.syntax.format import format_source
from cellc.syntax.layout import tokens_of

#: Statements that may declare several names.
_LISTED = ("input", "state", "param")


@dataclass(frozen=True)
class Change:
    """A statement of the nearest base and what stands in its place; None for nothing."""

    before: str | None
    after: str | None


@dataclass(frozen=True)
class Lineage:
    """Where a cell comes from.

    ``bases`` has the nearest first; ``renamed`` and ``changes`` tell what differs from it.
    ``lengths`` are the sizes that may be chosen before the cell is compiled, with what
    was chosen. ``text`` is the whole cell, with what it inherits.
    """

    bases: tuple[str, ...]
    renamed: Mapping[str, str]
    changes: tuple[Change, ...]
    lengths: Mapping[str, int]
    text: str

    def as_dict(self) -> dict[str, object]:
        """The lineage as plain data."""
        both = [(change.before, change.after) for change in self.changes]
        return {
            "bases": list(self.bases),
            "renamed": dict(self.renamed),
            "new": [after for before, after in both if before is None],
            "changed": [{"before": b, "after": a} for b, a in both if b and a],
            "gone": [before for before, after in both if after is None],
        }


@dataclass(frozen=True)
class _Statement:
    """What gives a name its meaning. ``shared`` is what neighbours must have in common."""

    kind: str
    text: str
    shared: str = ""
    comment: str = ""

    @property
    def alone(self) -> str:
        """The statement as if it were about this name alone."""
        words = f"{self.kind} {self.text}" if self.kind else self.text
        return words + self.shared


def lineage_of(path: Path, sizes: Mapping[str, int] | None = None) -> Lineage:
    """The lineage of the cell that a file is named after, else of its last.

    ``sizes`` are those that were chosen. Raises CellcError.
    """
    library = open_library(path)
    name = path.stem if path.stem in library.definitions else [*library.definitions][-1]
    model, origin = library.model(name, ()), library.origin(name)
    statements = _statements(library, name)
    renames = library.definitions[name].header.renames
    renamed = {rename.old.name: rename.new.name for rename in renames}
    changes: tuple[Change, ...] = ()
    if origin is not None:
        inherited = _renamed(_statements(*origin), renamed)
        before = {renamed.get(n, n): statement for n, statement in inherited.items()}
        own = {n: s for n, s in statements.items() if n in dict(_own(library.definitions[name]))}
        gone = [s.alone for n, s in before.items() if n not in statements]
        changes = (*_changes(before, own), *(Change(text, None) for text in gone))
    lengths = {d.name: d.default for d in model.dims.values() if d.default is not None}
    lengths |= {name: size for name, size in (sizes or {}).items() if name in lengths}
    text = format_source(Source(name, "\n".join(_lines(statements.values()))))
    return Lineage(model.lineage[::-1], renamed, changes, lengths, text)


def _changes(before: Mapping[str, _Statement], own: Mapping[str, _Statement]) -> Iterator[Change]:
    """One for every own statement that says something else than what it replaces."""
    new = [replace(statement, comment="") for name, statement in own.items() if name not in before]
    told: dict[str, list[str]] = {}
    for name, statement in own.items():
        if name in before and before[name].alone != statement.alone:
            told.setdefault(statement.alone, []).append(before[name].alone)
    for text, old in told.items():
        yield Change("; ".join(dict.fromkeys(old)), text)
    yield from (Change(None, line) for line in _lines(new) if line)


def _statements(library: Library, name: str) -> dict[str, _Statement]:
    """Every statement of a cell that has an effect, inherited ones under their new names."""
    definition, model = library.definitions[name], library.model(name, ())
    origin = library.origin(name)
    found: dict[str, _Statement] = {}
    if origin is not None:
        renamed = {r.old.name: r.new.name for r in definition.header.renames}
        inherited = _statements(*origin)
        emitted = {old: new for old, new in renamed.items() if old not in model.own}
        output = _renamed({"output": inherited.pop("output")}, emitted)
        found = {renamed.get(n, n): s for n, s in _renamed(inherited, renamed).items()} | output
    own = dict(_own(definition))
    found |= {n: s for n, s in own.items() if n not in found or found[n].text != s.text}
    needed = {*needed_names(model), *model.axes, *model.dims, "output"}
    order = [*model.dims, *model.axes, *model.declarations, *model.shares]
    order += [*model.equations, *model.functions, "output"]
    return {n: found[n] for n in dict.fromkeys(order) if n in found and n in needed}


def _own(definition: tree.Definition) -> Iterator[tuple[str, _Statement]]:
    """The statements of a definition by the name that each gives a meaning to."""
    for statement in definition.statements:
        match statement:
            case tree.Declaration():
                yield statement.name, _declared(statement)
            case tree.Equation():
                yield statement.target, _Statement("", _text(statement.span), "", statement.comment)
            case tree.Function():
                yield statement.name, _Statement("", _text(statement.span))
            case tree.Dimension() | tree.Axis() | tree.Share():
                yield statement.name, _Statement(*_text(statement.span).split(" ", 1))
            case tree.Output():
                yield "output", _Statement(*_text(statement.span).split(" ", 1))


def _declared(declaration: tree.Declaration) -> _Statement:
    """One of the names that a statement may declare."""
    span, behind = declaration.span, ""
    for modifier in declaration.modifiers:
        if span.start < modifier.span.start < span.end:
            span = replace(span, end=modifier.span.start)
        behind += f" {_text(modifier.span)}"
    if declaration.initial is not None:
        behind += f" = {_text(declaration.initial.span)}"
    return _Statement(declaration.kind, _text(span), behind, declaration.comment)


def _lines(statements: Iterable[_Statement]) -> Iterator[str]:
    """The statements as lines, what is declared before an empty one, the output behind one."""
    section: str | None = None
    for (kind, shared, comment), group in groupby(dict.fromkeys(statements), _alike):
        for line in [[*group]] if kind in _LISTED else [[statement] for statement in group]:
            text = ", ".join(statement.text for statement in line)
            now = "declared" if kind not in ("", "output") else kind
            if section not in (None, now):
                yield ""
            section = now
            end = f"  # {comment}" if comment else ""
            yield f"{kind} {text}{shared}{end}" if kind else f"{text}{end}"


def _alike(statement: _Statement) -> tuple[str, str, str]:
    return statement.kind, statement.shared, statement.comment


def _renamed(
    statements: Mapping[str, _Statement], renamed: Mapping[str, str]
) -> dict[str, _Statement]:
    """The statements with names replaced in their texts."""
    return {
        name: replace(s, text=_with_names(s.text, renamed), shared=_with_names(s.shared, renamed))
        for name, s in statements.items()
    }


def _text(span: Span) -> str:
    """The text of a statement in one line, without comments."""
    source = Source(span.source.name, span.text)
    pieces = []
    for token in tokens_of(source):
        if token.kind in ("newline", "space"):
            pieces.append(" ")
        elif token.kind != "comment":
            pieces.append(source.text[token.start : token.end])
    return " ".join("".join(pieces).split())


def _with_names(text: str, renamed: Mapping[str, str]) -> str:
    """A text with names replaced, primed ones among them."""
    pieces: list[str] = []
    tokens = [*tokens_of(Source("", text))]
    for token, behind in zip_longest(tokens, tokens[1:]):
        piece = text[token.start : token.end]
        if behind is not None and behind.text == "'":
            pieces.append(renamed.get(f"{piece}'", f"{piece}'"))
        elif token.text != "'":
            pieces.append(renamed.get(piece, piece))
    return "".join(pieces)
