"""The syntax tree: what a spec says, before any name has a meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cellc.diagnostics import Source, Span


@dataclass(frozen=True)
class Number:
    """A literal number."""

    value: float
    span: Span = field(compare=False)
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Name:
    """A name, primed when it means the value that a step ends with."""

    name: str
    span: Span = field(compare=False)
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Call:
    """An operation or small function applied to values; operators are calls too.

    ``bracketed`` records that the author set it in brackets, which settles how a
    matrix product next to an elementwise one is meant.
    """

    function: str
    args: tuple[Expression, ...]
    span: Span = field(compare=False)
    function_span: Span = field(compare=False)
    bracketed: bool = field(default=False, compare=False)
    depth: int = field(default=1, compare=False)


Expression = Number | Name | Call


@dataclass(frozen=True)
class Modifier:
    """A word after a parameter, such as ``shared``, that says more about it."""

    name: str
    args: tuple[Expression, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Declaration:
    """An input, state, param or option. ``shape`` is None where none is written."""

    kind: str
    name: str
    shape: tuple[Expression, ...] | None
    modifiers: tuple[Modifier, ...]
    initial: Expression | None
    span: Span = field(compare=False)
    comment: str = field(default="", compare=False)


@dataclass(frozen=True)
class Dimension:
    """``dim K heads = 4``: the dimension K is the constructor argument ``heads``."""

    name: str
    argument: str
    default: int | None
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Function:
    """A small function: ``k(a) = 2*sigmoid(a) - 1``."""

    name: str
    parameters: tuple[str, ...]
    body: Expression
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Equation:
    """``target = value``. The target carries its prime; ``shape`` may be stated."""

    target: str
    shape: tuple[Expression, ...] | None
    value: Expression
    span: Span = field(compare=False)
    comment: str = field(default="", compare=False)


@dataclass(frozen=True)
class Output:
    """What a step emits."""

    values: tuple[Expression, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Text:
    """A description or a citation."""

    kind: str
    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Rename:
    """``with c' as c̃``."""

    old: Name
    new: Name


@dataclass(frozen=True)
class Header:
    """``cell NAME``, perhaps ``from BASE with …``."""

    name: str
    base: Name | None
    renames: tuple[Rename, ...]
    span: Span = field(compare=False)


Statement = Header | Text | Declaration | Dimension | Function | Equation | Output


@dataclass(frozen=True)
class Definition:
    """One cell of a file: its header and the statements up to the next header."""

    header: Header
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class File:
    """All cells of a file in their order."""

    source: Source
    definitions: tuple[Definition, ...]


@dataclass(frozen=True)
class Rule:
    """A rewrite in the language: ``before => after``.

    ``unshared`` is a part of ``before`` that must have no other use for the rule to
    pay, or None.
    """

    before: Expression
    after: Expression
    unshared: Expression | None


def walk(expression: Expression) -> Iterator[Expression]:
    """Every part of an expression, itself first, from left to right."""
    pending = [expression]
    while pending:
        part = pending.pop()
        yield part
        if isinstance(part, Call):
            pending.extend(reversed(part.args))
