"""The syntax tree: what a spec says, before any name has a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

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
    """An operation, small function or cell applied to values; operators are calls too.

    ``keywords`` are the arguments that are given by name. ``bracketed`` records that the
    author set it in brackets, which settles how a matrix product next to an elementwise
    one is meant.
    """

    function: str
    args: tuple[Expression, ...]
    span: Span = field(compare=False)
    function_span: Span = field(compare=False)
    bracketed: bool = field(default=False, compare=False)
    depth: int = field(default=1, compare=False)
    keywords: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True)
class Flow:
    """``value -> layer``: a value sent through a layer, perhaps ``from`` another's state.

    A layer is a name or a call whose arguments are no values but sizes, options and
    layers: ``linear(K)``, ``stack(lstm, layers=2)``.
    """

    value: Expression
    layer: Name | Call
    origin: Name | None
    span: Span = field(compare=False)
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Pick:
    """One of the several values of a call: ``h', c' = lstm(x, h, c)``."""

    value: Expression
    index: int
    targets: tuple[str, ...]
    span: Span = field(compare=False)
    depth: int = field(default=1, compare=False)


Expression = Number | Name | Call | Flow | Pick


@dataclass(frozen=True)
class Modifier:
    """A word after a parameter, such as ``shared``, that says more about it."""

    name: str
    args: tuple[Expression, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Declaration:
    """An input, state, param or option. ``shape`` is None where none is written.

    ``along`` are the axes that it varies or travels along, ``held`` whether an input is
    one value for the whole sequence, ``integer`` whether it is an index.
    """

    kind: str
    name: str
    shape: tuple[Expression, ...] | None
    modifiers: tuple[Modifier, ...]
    initial: Expression | None
    span: Span = field(compare=False)
    comment: str = field(default="", compare=False)
    along: tuple[str, ...] = ()
    held: bool = False
    integer: bool = False


@dataclass(frozen=True)
class Axis:
    """``axis depth[L] = 2``: a row of positions; without a length a sequence like time.

    ``length`` is the name or number in brackets. The positions of a tied axis share
    their parameters.
    """

    name: str
    length: Expression | None
    default: int | None
    tied: bool
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Share:
    """``share T = lstm``: one set of parameters for every use of the layer ``T``."""

    name: str
    layer: Expression
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Dimension:
    """``dim K heads = 4``: the dimension K is the constructor argument ``heads``.

    A ``fixed`` one is the length of an axis, which is chosen before compiling.
    """

    name: str
    argument: str
    default: int | None
    span: Span = field(compare=False)
    fixed: bool = False


@dataclass(frozen=True)
class Function:
    """A small function: ``k(a) = 2*sigmoid(a) - 1``."""

    name: str
    parameters: tuple[str, ...]
    body: Expression
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Equation:
    """``target = value``. The target carries its prime; ``shape`` may be stated.

    ``label`` is what parameters of cells applied in the equation are called after, where
    it is not the target, and ``place`` the position that the label ends with.
    """

    target: str
    shape: tuple[Expression, ...] | None
    value: Expression
    span: Span = field(compare=False)
    comment: str = field(default="", compare=False)
    label: str = ""
    place: str = ""


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
    """``cell NAME`` or ``network NAME``, perhaps ``from BASE with …``."""

    name: str
    base: Name | None
    renames: tuple[Rename, ...]
    span: Span = field(compare=False)
    kind: Literal["cell", "network"] = "cell"


Statement = Header | Text | Declaration | Dimension | Axis | Share | Function | Equation | Output


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
    pay, or None; ``bound`` what must be known to hold, such as ``a >= 0``, or None.
    """

    before: Expression
    after: Expression
    unshared: Expression | None
    bound: Expression | None


def walk(expression: Expression) -> Iterator[Expression]:
    """Every part of an expression, itself first, from left to right."""
    pending = [expression]
    while pending:
        part = pending.pop()
        yield part
        pending.extend(reversed(operands(part)))


def operands(expression: Expression) -> tuple[Expression, ...]:
    """The values that an expression is made from; arguments of layers are none."""
    match expression:
        case Call():
            return (*expression.args, *(value for _, value in expression.keywords))
        case Flow():
            return (expression.value, *([expression.origin] if expression.origin else []))
        case Pick():
            return (expression.value,)
        case _:
            return ()


def changed(expression: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """The expression with each of its operands changed."""
    match expression:
        case Call():
            keywords = tuple((name, change(value)) for name, value in expression.keywords)
            return replace(expression, args=tuple(map(change, expression.args)), keywords=keywords)
        case Flow():
            origin = expression.origin and change(expression.origin)
            assert origin is None or isinstance(origin, Name)
            return replace(expression, value=change(expression.value), origin=origin)
        case Pick():
            return replace(expression, value=change(expression.value))
        case _:
            return expression
