"""Python source as trees: quoting, and writing one statement at a time with its comment."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Binding = ast.expr | str | int | float | Sequence[ast.stmt]


@dataclass(frozen=True)
class Line:
    """A simple statement and the comment behind it."""

    statement: ast.stmt
    comment: str = ""


@dataclass(frozen=True)
class Block:
    """A compound statement: its head, such as ``for t in range(steps):``, and its body."""

    head: ast.stmt
    body: tuple[Item, ...]


@dataclass(frozen=True)
class Blank:
    """Empty lines."""

    count: int = 1


@dataclass(frozen=True)
class Remark:
    """A comment on a line of its own."""

    text: str


Item = Line | Block | Blank | Remark

_COMMENT_COLUMN = 68


def quote(text: str, **bindings: Binding) -> ast.expr:
    """The tree of an expression, with names replaced by what they are bound to.

    A string binding is a name itself, a number a literal.
    """
    parsed = ast.parse(text.strip(), mode="eval")
    result: ast.expr = _Substitute(bindings).visit(parsed.body)
    return result


def fill(template: ast.expr, **bindings: Binding) -> ast.expr:
    """A copy of a tree with names replaced, as :func:`quote` does from text."""
    result: ast.expr = _filled(template, bindings)
    return result


def _filled(node: Any, bindings: Mapping[str, Binding]) -> Any:
    if isinstance(node, list):
        return [_filled(item, bindings) for item in node]
    if not isinstance(node, ast.AST):
        return node
    if isinstance(node, ast.Name):
        return _Substitute(bindings).visit_Name(node)
    fields = {field: _filled(getattr(node, field), bindings) for field in node._fields}
    return type(node)(**fields)


def quote_statements(text: str, **bindings: Binding) -> list[ast.stmt]:
    """The trees of statements, with names replaced.

    A statement that is nothing but a name bound to statements is replaced by them.
    """
    module = ast.parse(textwrap.dedent(text))
    return list(_Substitute(bindings).visit(module).body)


def lines(text: str, **bindings: Binding) -> list[Item]:
    """Quoted statements as items without comments."""
    return [Line(statement) for statement in quote_statements(text, **bindings)]


def name(identifier: str) -> ast.Name:
    """A name that is read."""
    return ast.Name(identifier, ast.Load())


def literal(value: float | str) -> ast.expr:
    """A number or string as it is best read: ``1`` rather than ``1.0``."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, (int, float)) and value < 0:
        return ast.UnaryOp(ast.USub(), literal(-value))
    return ast.Constant(value)


def assign(targets: str | Sequence[str], value: ast.expr) -> ast.stmt:
    """``target = value`` or ``a, b = value``; a target may be a part, such as ``a[here]``."""
    if isinstance(targets, str):
        left = _target(targets)
    else:
        left = ast.Tuple([_target(target) for target in targets], ast.Store())
    return ast.Assign([left], value, lineno=0)


def _target(text: str) -> ast.expr:
    if text.isidentifier():
        return ast.Name(text, ast.Store())
    (statement,) = quote_statements(f"{text} = 0")
    assert isinstance(statement, ast.Assign)
    return statement.targets[0]


def bare_or_tuple(values: Iterable[str]) -> str:
    """The text of one value bare, of several as a tuple."""
    listed = list(values)
    return listed[0] if len(listed) == 1 else f"({', '.join(listed)})"


def docstring(text: str) -> Line:
    """A docstring; printed over several lines where it has several."""
    return Line(ast.Expr(ast.Constant(text)))


def names_in(items: Iterable[Item]) -> set[str]:
    """All names that the statements of items read."""
    found: set[str] = set()
    for item in items:
        if isinstance(item, Block):
            found |= names_in([Line(item.head), *item.body])
        elif isinstance(item, Line):
            found |= _read(item.statement)
    return found


def _read(statement: ast.AST) -> set[str]:
    """The names in a statement; as ``ast.walk`` finds them, in a third of the time."""
    found: set[str] = set()
    pending = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name):
            found.add(node.id)
            continue
        for value in vars(node).values():
            if isinstance(value, ast.AST):
                pending.append(value)
            elif isinstance(value, (list, tuple)):
                pending += [part for part in value if isinstance(part, ast.AST)]
    return found


def write(items: Iterable[Item]) -> str:
    """The source text of items."""
    return "\n".join(_written(items, 0)) + "\n"


def _written(items: Iterable[Item], depth: int) -> Iterable[str]:
    indent = "    " * depth
    for item in items:
        match item:
            case Blank(count):
                yield from [""] * count
            case Remark(text):
                yield f"{indent}# {text}"
            case Block(head, body):
                first = ast.unparse(head).splitlines()
                while first and first[-1].strip() in ("pass", ""):
                    first.pop()
                yield from (indent + text for text in first)
                yield from _written(body, depth + 1)
            case Line(statement, comment):
                written = [indent + line if line else "" for line in _unparsed(statement)]
                if comment:
                    written[-1] = f"{written[-1]:<{_COMMENT_COLUMN}}  # {comment}"
                yield from written


def _unparsed(statement: ast.stmt) -> list[str]:
    """A statement's lines; a string statement becomes a docstring in triple quotes."""
    return ast.unparse(ast.Module([statement], [])).strip("\n").split("\n")


class _Substitute(ast.NodeTransformer):
    """Replaces names by what they are bound to."""

    def __init__(self, bindings: Mapping[str, Binding]) -> None:
        self.bindings = bindings

    def visit_Name(self, node: ast.Name) -> ast.expr:
        bound = self.bindings.get(node.id)
        if bound is None:
            return node
        if isinstance(bound, str):
            return ast.Name(bound, node.ctx)
        if isinstance(bound, (int, float)):
            return literal(bound)
        assert isinstance(bound, ast.expr)
        return bound

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        if isinstance(node.value, ast.Name):
            bound = self.bindings.get(node.value.id)
            if isinstance(bound, (list, tuple)):
                return list(bound)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        bound = self.bindings.get(node.name)
        if isinstance(bound, str):
            node.name = bound
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        bound = self.bindings.get(node.name)
        if isinstance(bound, str):
            node.name = bound
        self.generic_visit(node)
        return node
