"""Places in source text, what is wrong there, and the one way both are shown.

Everything a user can get wrong ends in a :class:`CellcError` that carries
:class:`Diagnostic` records. They are data, so that a program may read them and a
test may compare them; :func:`render` is the only code that turns them into text.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn


@dataclass(frozen=True)
class Source:
    """A named text: ``name`` is what messages print, usually the file's name."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0] + [i + 1 for i, character in enumerate(self.text) if character == "\n"]

    def line_of(self, offset: int) -> int:
        """The line, counted from 1, that holds the character at ``offset``."""
        return bisect_right(self._line_starts, offset)

    def column_of(self, offset: int) -> int:
        """The column, counted from 1, of the character at ``offset``."""
        return offset - self._line_starts[self.line_of(offset) - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a line counted from 1, without its newline."""
        start = self._line_starts[line - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


@dataclass(frozen=True)
class Span:
    """The characters ``start`` up to, not including, ``end`` of a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.line_of(self.start)

    @property
    def column(self) -> int:
        return self.source.column_of(self.start)

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of ``other``."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}"


@dataclass(frozen=True)
class Related:
    """A second place that a diagnostic points at, with what to see there."""

    span: Span
    label: str


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong.

    ``code`` names the kind (see :data:`CODES`), ``message`` says it in a sentence,
    ``span`` and ``label`` show it, ``notes`` are facts and ``hints`` say what to do.
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    related: tuple[Related, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"unknown diagnostic code {self.code!r}")

    def as_dict(self) -> dict[str, Any]:
        """The diagnostic as plain data for ``--json``."""
        return {
            "code": self.code,
            "message": self.message,
            "place": None if self.span is None else _place(self.span),
            "label": self.label,
            "related": [{**_place(r.span), "label": r.label} for r in self.related],
            "notes": list(self.notes),
            "hints": list(self.hints),
        }


#: How many diagnostics of one run are shown as text; the rest are counted.
MOST_SHOWN = 50


class CellcError(Exception):
    """Raised with every diagnostic that one phase found, in the order of the text."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=_position))
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        shown = [render(diagnostic) for diagnostic in self.diagnostics[:MOST_SHOWN]]
        rest = len(self.diagnostics) - len(shown)
        return "\n\n".join([*shown, f"… and {rest:,} more"] if rest else shown)


@dataclass
class Collector:
    """Gathers diagnostics so that one run reports all of a file's errors."""

    found: dict[Diagnostic, None] = field(default_factory=dict)

    def add(self, diagnostic: Diagnostic) -> None:
        self.found.setdefault(diagnostic)

    def extend(self, error: CellcError) -> None:
        for diagnostic in error.diagnostics:
            self.add(diagnostic)

    def raise_if_any(self) -> None:
        if self.found:
            raise CellcError(*self.found)


def fail(code: str, message: str, span: Span | None = None, **details: Any) -> NoReturn:
    """Raise a :class:`CellcError` with one diagnostic."""
    raise CellcError(Diagnostic(code, message, span, **details))


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic as text: message, source line with carets, notes and hints."""
    lines = [f"error[{diagnostic.code}]: {diagnostic.message}"]
    if diagnostic.span is not None:
        lines += _excerpt(diagnostic.span, diagnostic.label)
    for related in diagnostic.related:
        lines += _excerpt(related.span, related.label)
    lines += [f"  note: {note}" for note in diagnostic.notes]
    lines += [f"  hint: {hint}" for hint in diagnostic.hints]
    return "\n".join(lines)


def _place(span: Span) -> dict[str, str | int]:
    return {"file": span.source.name, "line": span.line, "column": span.column}


_WIDEST_EXCERPT = 100


def _excerpt(span: Span, label: str) -> list[str]:
    """Where a span is, its source line, and carets under it."""
    number = str(span.line)
    text = span.source.line_text(span.line)
    start, end = span.column - 1, min(span.column - 1 + max(1, span.end - span.start), len(text))
    end = max(end, start + 1)
    if len(text) > _WIDEST_EXCERPT:
        cut = max(0, start - _WIDEST_EXCERPT // 2)
        text, start, end = text[cut : cut + _WIDEST_EXCERPT], start - cut, end - cut
        end = max(start + 1, min(end, len(text)))
    shown = "".join(_visible(character) for character in text)
    indent = " " * sum(_width(character) for character in text[:start])
    carets = "^" * max(1, sum(_width(character) for character in text[start:end]))
    margin = " " * len(number)
    return [
        f" {margin}--> {span.source.name}:{span.line}:{span.column}",
        f" {margin} |",
        f" {number} | {shown}".rstrip(),
        f" {margin} | {indent}{carets} {label}".rstrip(),
    ]


def _visible(character: str) -> str:
    """A control character as its code point, a tab as a space, others as they are."""
    if character == "\t":
        return " "
    return f"<U+{ord(character):04X}>" if unicodedata.category(character) in HIDDEN else character


def _width(character: str) -> int:
    """How many terminal columns a character takes."""
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    return len(_visible(character))


#: Control and format characters, line separators and lone surrogates. They can hide or
#: reorder text, and the last cannot even be printed.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def _position(diagnostic: Diagnostic) -> tuple[str, int]:
    span = diagnostic.span
    return ("", 0) if span is None else (span.source.name, span.start)


#: Every diagnostic code with what it stands for. `tests/reject/` holds an example of each.
CODES: dict[str, str] = {
    # text and characters
    "empty-file": "The file holds no cell.",
    "not-text": "The file is not UTF-8 text.",
    "file-too-large": "The file exceeds the size limit.",
    "line-too-long": "A line exceeds the length limit.",
    "nested-too-deeply": "Brackets or operators nest beyond the limit.",
    "too-large": "The cell has more nodes than the limit.",
    "control-character": "A control character, which could hide or smuggle text.",
    "glyph-in-name": "A superscript, a subscript or a composed sign in a name.",
    "name-too-long": "A name exceeds the length limit.",
    # syntax
    "syntax": "The text does not follow the grammar.",
    "missing-operator": "Two values stand side by side without an operator.",
    # files and definitions
    "unreadable-file": "The file cannot be read.",
    "unknown-cell": "No shipped or local cell has this name.",
    "outside-a-cell": "A statement stands before the first `cell`.",
    "derivation-cycle": "Cells are derived from each other in a circle.",
    "duplicate-cell": "Two cells of one file share a name.",
    "duplicate-name": "A name is declared or defined twice.",
    "reserved-name": "The name means something else already.",
    "name-collision": "Two names, or their ASCII spellings, are the same.",
    "kind-change": "A derived cell replaces a name by one of another kind.",
    "unknown-rename": "A derived cell renames something its base lacks.",
    "unused-definition": "Nothing uses the definition.",
    "unknown-axis": "A value runs along an axis that is declared nowhere.",
    "mixed-axes": "Values of two sequence axes meet.",
    "varies-along-axis": "An output has a value at every position of an axis.",
    "constant-along-axis": "A value is gathered along an axis along which it does not vary.",
    "wrong-target-count": "A call gives more or fewer values than there are names for them.",
    "wrong-argument": "A call has an argument that its cell, layer or function does not know.",
    "not-a-layer": "A value is sent through something that is no layer.",
    "no-state": "A layer starts from something that has no such state.",
    "bad-probability": "A probability is no number below 1, or nothing is random here.",
    "missing-output": "The cell has no output.",
    "missing-update": "A state is never updated.",
    "update-without-state": "A primed name is defined that is no state.",
    # names and parameters
    "unknown-name": "The name is declared and defined nowhere.",
    "unknown-function": "No operation or small function has this name.",
    "unknown-dimension": "The dimension is declared nowhere.",
    "unknown-modifier": "A parameter's modifier is not known.",
    "modifier-conflict": "Two modifiers of a parameter contradict each other.",
    "bad-modifier": "A modifier's value is out of its bounds.",
    "misplaced-structure": "A structure on a parameter that is no weight of a product.",
    "structured-concatenation": "A structured weight multiplies a concatenation.",
    "wrong-argument-count": "A function is applied to the wrong number of values.",
    "parameter-used-twice": "A parameter appears twice in one equation.",
    "parameter-shared": "A parameter is used by two equations without being declared shared.",
    "bad-option": "An option's default is not a number.",
    "bad-lag": "`prev` takes a name and a whole number from 1 to a limit.",
    "not-finite": "A number is infinite or undefined.",
    "bad-initial-value": "An initial value cannot be computed before training starts.",
    # meaning
    "cycle": "Values of one step depend on each other in a circle.",
    "sequence-in-loop": "An operation over a whole sequence is part of a loop along it.",
    "shape-clash": "Two shapes do not fit.",
    "unknown-shape": "Nothing determines the shape of a parameter.",
    "ambiguous-product": "A matrix product may be read in two ways that both fit.",
    "not-a-dimension": "A shape holds something that is no dimension.",
    # use
    "not-an-equation": "Something else stands where an equation is meant.",
    "bad-ir": "The text form of the IR does not parse or verify.",
    "not-a-step-count": "A number of steps is no whole number from 1.",
    "no-derivative": "An op has no derivative.",
    "unknown-memory": "There is no such way to keep values for the backward pass.",
    "unknown-theme": "There is no such theme of colours.",
    "unknown-part": "The cell applies no other cell of that name.",
    "unknown-view": "There is no such view of a cell.",
    "not-in-this-view": "A view of a cell has no use for an option.",
    "unknown-diagonals": "There is no such choice between loops and diagonals.",
    "no-diagonals": "The backend cannot run a cell along diagonals.",
    "unknown-scan": "There is no such choice between a loop and a parallel scan.",
    "unknown-level": "No optimisation level has this name.",
    "unknown-target": "No backend has this name.",
    "no-class": "A target has files that are no Python, and so no class.",
    "missing-spelling": "A backend has no spelling for an operation.",
    "unwritable": "A file cannot be written.",
    # compiled kernels
    "unknown-kernels": "Kernels are wanted by another word than auto, native, triton and none.",
    "no-compiler": "There is no C++ compiler to build kernels with.",
    "no-triton": "Triton, which runs kernels on a GPU, is not installed.",
    "kernel-build": "The C++ compiler could not build the kernels.",
    "kernel-store": "Built kernels cannot be kept in the cache directory.",
}
