"""Statements to tree, through the grammar in ``grammars/cell.lark``."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from lark import Lark, UnexpectedCharacters, UnexpectedEOF, UnexpectedToken
from lark.exceptions import UnexpectedInput

from cellc.diagnostics import CellcError, Collector, Diagnostic, Source, Span, fail
from cellc.resources import read_grammar
from cellc.syntax import layout, tree
from cellc.syntax.build import TreeBuilder
from cellc.syntax.characters import FOLDED, read_source
from cellc.syntax.layout import Line


def parse_file(source: Source) -> tree.File:
    """The cells of a source text.

    Raises CellcError with every syntax error of the file.
    """
    found = Collector()
    statements: list[tree.Statement] = []
    for line in layout.statements_of(source):
        try:
            if isinstance(line, Diagnostic):
                found.add(line)
            else:
                statements += _statements(source, line)
        except CellcError as error:
            found.extend(error)
    found.raise_if_any()
    if not statements:
        found.add(
            Diagnostic(
                "empty-file",
                f"{source.name} holds no cell",
                hints=("`cellc new NAME` writes one to start from",),
            )
        )
    definitions = _definitions(statements, found)
    found.raise_if_any()
    return tree.File(source, tuple(definitions))


def parse_expression(text: str) -> tree.Expression:
    """The tree of one expression; for expansions and derivatives in the op table."""
    source = read_source("expression", text)
    result: tree.Expression = _parse(source, text.translate(FOLDED), 0, "expression")
    return result


def parse_equation(text: str) -> tree.Equation:
    """The tree of one equation, ``name = value``.

    Raises CellcError, ``not-an-equation`` where the text is another statement or several.
    """
    source = read_source("equation", text)
    statements: list[tree.Statement] = []
    for line in layout.statements_of(source):
        if isinstance(line, Diagnostic):
            raise CellcError(line)
        statements += _statements(source, line)
    if len(statements) != 1 or not isinstance(statements[0], tree.Equation):
        fail(
            "not-an-equation",
            "this is not one equation",
            Span(source, 0, len(source.text.rstrip())),
            hints=("write one such as `f = 1 - i`",),
        )
    return statements[0]


def parse_rule(text: str) -> tree.Rule:
    """The tree of a rewrite rule, ``before => after [if part used once | if a >= 0]``."""
    result: tree.Rule = _parse(read_source("rule", text), text.translate(FOLDED), 0, "rule")
    return result


def _definitions(statements: list[tree.Statement], found: Collector) -> list[tree.Definition]:
    """Statements grouped under their headers."""
    headers: list[tree.Header] = []
    groups: list[list[tree.Statement]] = []
    for statement in statements:
        if isinstance(statement, tree.Header):
            headers.append(statement)
            groups.append([])
        elif groups:
            groups[-1].append(statement)
        else:
            found.add(
                Diagnostic(
                    "outside-a-cell",
                    "the statement belongs to no cell",
                    statement.span,
                    hints=("begin the cell with `cell NAME`",),
                )
            )
            break
    return [
        tree.Definition(header, tuple(group)) for header, group in zip(headers, groups, strict=True)
    ]


def _statements(source: Source, line: Line) -> list[tree.Statement]:
    """What one line says; a declaration of several names says several things."""
    text = source.text[line.start : line.end].translate(FOLDED)
    parsed = _parse(source, text, line.start, "statement")
    return [
        replace(statement, comment=line.comment)
        if isinstance(statement, (tree.Equation, tree.Declaration))
        else statement
        for statement in (parsed if isinstance(parsed, list) else [parsed])
    ]


def _parse(source: Source, text: str, offset: int, start: str) -> Any:
    try:
        parsed = _parser().parse(text, start=start)
    except UnexpectedInput as error:
        raise CellcError(_explain(error, source, text, offset)) from None
    return TreeBuilder(source, offset).transform(parsed)


@cache
def _parser() -> Lark:
    return Lark(
        read_grammar("cell"),
        parser="lalr",
        start=["statement", "expression", "rule"],
        propagate_positions=True,
        maybe_placeholders=True,
    )


def _explain(error: UnexpectedInput, source: Source, text: str, offset: int) -> Diagnostic:
    """The diagnostic for what Lark stumbled over."""
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return _ends_early(source, offset + len(text))
    if isinstance(error, UnexpectedEOF):
        return _ends_early(source, offset + len(text))
    position = error.pos_in_stream or 0
    tokens = [
        token
        for token in layout.tokens_of(Source(source.name, text))
        if token.kind not in ("space", "newline", "comment")
    ]
    here = next((t for t in tokens if t.end > position), tokens[-1])
    before = next((t for t in reversed(tokens) if t.end <= position), None)
    span = Span(source, offset + here.start, offset + here.end)
    operands = ("name", "number")
    ends = before is not None and (before.kind in (*operands, "close") or before.text == "'")
    stands = here.kind in (*operands, "open")
    if before and ends and stands and before.text not in layout.KEYWORDS:
        return _missing_operator(source, offset, before, here)
    wanted = ""
    if isinstance(error, (UnexpectedToken, UnexpectedCharacters)):
        wanted = _expectation(error)
    return Diagnostic(
        "syntax",
        f"`{span.text}` cannot stand here",
        span,
        wanted,
        hints=_syntax_hints(here, before),
    )


def _ends_early(source: Source, end: int) -> Diagnostic:
    return Diagnostic(
        "syntax",
        "the statement ends too early",
        Span(source, max(0, end - 1), end),
        "something must follow",
    )


def _missing_operator(
    source: Source, offset: int, before: layout.Token, here: layout.Token
) -> Diagnostic:
    left = source.text[offset + before.start : offset + before.end]
    right = source.text[offset + here.start : offset + here.end]
    both = (left, right) if before.kind in ("name", "number") and here.kind != "open" else ()
    hints: tuple[str, ...] = (
        (f"write `{left}·{right}` for the matrix product", f"or `{left}*{right}` elementwise")
        if both
        else ("write `·` for the matrix product", "or `*` for the elementwise one")
    )
    if before.kind == "name" and left.islower():
        hints = (*hints, f"or `{left}(…)` to apply a function")
    return Diagnostic(
        "missing-operator",
        "two values stand side by side without an operator",
        Span(source, offset + before.start, offset + here.end),
        "an operator belongs in between",
        hints=hints,
    )


def _expectation(error: UnexpectedToken | UnexpectedCharacters) -> str:
    wanted = error.accepts if isinstance(error, UnexpectedToken) else error.allowed
    names = {"EQUAL": "`=`", "NAME": "a name", "STRING": "a text in quotes"}
    known = [names[w] for w in sorted(wanted or ()) if w in names]
    return f"expected {' or '.join(known)}" if known and len(wanted or ()) <= 4 else ""


def _syntax_hints(here: layout.Token, before: layout.Token | None) -> tuple[str, ...]:
    for token in (here, before):
        if token is not None and token.text in layout.KEYWORDS:
            return (f"`{token.text}` is a word of the language; another name can stand here",)
    if here.text == ";":
        return ("a comma joins vectors, `[h, x]`; a newline ends a statement",)
    if here.text in ("{", "}"):
        return ("the language has no braces: `h` is the old value of a state, `h'` the new one",)
    if here.text == '"':
        return ("a text in quotes ends on the line where it begins",)
    if here.kind == "operator" and before is None:
        return ("an operator at the end of the line above would continue it",)
    return ()
