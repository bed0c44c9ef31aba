"""Lark's parse tree to the syntax tree, one method per grammar rule."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from lark import Token
from lark.visitors import Transformer_NonRecursive

from cellc.diagnostics import CellcError, Diagnostic, Source, Span
from cellc.syntax import tree
from cellc.syntax.characters import LONGEST_NAME, canonical, is_name, raised_glyphs

DEEPEST_EXPRESSION = 200
LARGEST_DIMENSION = 1_000_000_000

_COMPARISONS = {
    "<": "less",
    "<=": "less_equal",
    "≤": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "≥": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
    "≠": "not_equal",
}


class TreeBuilder(Transformer_NonRecursive[Token, Any]):
    """Builds the tree bottom-up; a method is named after its grammar rule or alias."""

    def __init__(self, source: Source, offset: int) -> None:
        super().__init__(visit_tokens=False)
        self.source, self.offset = source, offset

    def _call_userfunc(self, node: Any, new_children: Any = None) -> Any:
        children = node.children if new_children is None else new_children
        handler: Callable[[Any, Span], Any] = getattr(self, node.data)
        meta = node.meta
        empty = meta.empty
        start, end = (0, 0) if empty else (meta.start_pos, meta.end_pos)
        return handler(children, Span(self.source, self.offset + start, self.offset + end))

    def _span(self, token: Token) -> Span:
        start = token.start_pos or 0
        return Span(self.source, self.offset + start, self.offset + start + len(token))

    def _name(self, token: Token, prime: Token | None = None) -> tree.Name:
        span = self._span(token)
        _check_name(span, str(token))
        span = span if prime is None else span.to(self._span(prime))
        return tree.Name(canonical(token) + ("" if prime is None else "'"), span)

    def _operation(
        self, function: str, args: Sequence[tree.Expression], span: Span, at: Span | None = None
    ) -> tree.Call:
        depth = 1 + max((argument.depth for argument in args), default=0)
        if depth > DEEPEST_EXPRESSION:
            raise CellcError(_too_deep(span))
        return tree.Call(function, tuple(args), span, at or span, depth=depth)

    # expressions

    def number(self, children: list[Any], span: Span) -> tree.Number:
        value = float(children[0])
        if not isfinite(value):
            raise CellcError(Diagnostic("not-finite", "the number is too large", span))
        return tree.Number(value, span)

    def name(self, children: list[Any], span: Span) -> tree.Name:
        return self._name(children[0], children[1])

    def call(self, children: list[Any], span: Span) -> tree.Call:
        function = self._name(children[0])
        args, keywords = _sorted_arguments(children[1:])
        call = self._operation(function.name, args, span, function.span)
        return replace(call, keywords=keywords)

    def keyword(self, children: list[Any], span: Span) -> tuple[str, tree.Expression]:
        return self._name(children[0]).name, children[1]

    def layer(self, children: list[Any], span: Span) -> tree.Name | tree.Call:
        if len(children) == 1 or children[1] is None:
            return self._name(children[0])
        return self.call(children, span)

    def step(self, children: list[Any], span: Span) -> tree.Flow:
        value, layer, *origin = children
        depth = 1 + max(value.depth, layer.depth)
        if depth > DEEPEST_EXPRESSION:
            raise CellcError(_too_deep(span))
        return tree.Flow(value, layer, self._name(origin[0]) if origin else None, span, depth)

    def bracketed(self, children: list[Any], span: Span) -> tree.Expression:
        inner: tree.Expression = children[0]
        return replace(inner, bracketed=True) if isinstance(inner, tree.Call) else inner

    def comparison(self, children: list[Any], span: Span) -> tree.Call:
        function = _COMPARISONS[str(children[1])]
        return self._operation(function, [children[0], children[2]], span)

    def power(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("power", [children[0], children[2]], span)

    def add(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("add", children, span)

    def subtract(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("subtract", children, span)

    def multiply(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("multiply", children, span)

    def divide(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("divide", children, span)

    def negate(self, children: list[Any], span: Span) -> tree.Expression:
        if isinstance(children[0], tree.Number):
            return tree.Number(-children[0].value, span)
        return self._operation("negate", children, span)

    def matmul(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("matmul", children, span)

    def concat(self, children: list[Any], span: Span) -> tree.Call:
        return self._operation("concat", children, span)

    def rule(self, children: list[Any], span: Span) -> tree.Rule:
        before, after, (unshared, bound) = children[0], children[1], children[2] or (None, None)
        return tree.Rule(before, after, unshared, bound)

    def unshared(self, children: list[Any], span: Span) -> Any:
        return children[0], None

    def bound(self, children: list[Any], span: Span) -> Any:
        return None, children[0]

    # statements

    def header(self, children: list[Any], span: Span) -> tree.Header:
        kind, name, derivation = children
        base, renames = derivation or (None, ())
        return tree.Header(self._name(name).name, base, renames, span, str(kind))  # type: ignore[arg-type]

    def derivation(self, children: list[Any], span: Span) -> Any:
        renames = tuple(child for child in children[1:] if child is not None)
        return self._name(children[0]), renames

    def rename(self, children: list[Any], span: Span) -> tree.Rename:
        return tree.Rename(children[0], children[1])

    def value(self, children: list[Any], span: Span) -> tree.Name:
        return self._name(children[0], children[1])

    def _text(self, kind: str, token: Token, span: Span) -> tree.Text:
        place = self._span(token)
        return tree.Text(kind, self.source.text[place.start + 1 : place.end - 1], span)

    def description(self, children: list[Any], span: Span) -> tree.Text:
        return self._text("description", children[0], span)

    def cite(self, children: list[Any], span: Span) -> tree.Text:
        return self._text("cite", children[0], span)

    def family(self, children: list[Any], span: Span) -> tree.Text:
        return self._text("family", children[0], span)

    def _declarations(self, kind: str, children: list[Any], span: Span) -> list[tree.Declaration]:
        *declared, initial = children
        return [replace(d, kind=kind, initial=initial) for d in declared]

    def inputs(self, children: list[Any], span: Span) -> list[tree.Declaration]:
        return self._declarations("input", [*children, None], span)

    def states(self, children: list[Any], span: Span) -> list[tree.Declaration]:
        return self._declarations("state", children, span)

    def params(self, children: list[Any], span: Span) -> list[tree.Declaration]:
        *weights, initial = children
        last = weights[-1].modifiers
        weights = [w if w.modifiers else replace(w, modifiers=last) for w in weights]
        return self._declarations("param", [*weights, initial], span)

    def declared(self, children: list[Any], span: Span) -> tree.Declaration:
        name, shape, *traits = children
        said: dict[str, Any] = {}
        for trait, value in traits:
            if trait in said:
                message = f"`{name}` says twice what it varies along"
                raise CellcError(Diagnostic("syntax", message, span))
            said[trait] = value
        return tree.Declaration("", self._name(name).name, shape, (), None, span, **said)

    def along(self, children: list[Any], span: Span) -> tuple[str, Any]:
        return "along", (self._name(children[0]).name,)

    def held(self, children: list[Any], span: Span) -> tuple[str, Any]:
        return "held", True

    def integer(self, children: list[Any], span: Span) -> tuple[str, Any]:
        return "integer", True

    def axis(self, children: list[Any], span: Span) -> tree.Axis:
        name, shape, default, tied = children
        if shape is not None and len(shape) != 1:
            message = "an axis has one length"
            raise CellcError(Diagnostic("not-a-dimension", message, span))
        count = None if default is None else self._count(default)
        length = None if shape is None else shape[0]
        if length is None and (count is not None or tied is not None):
            hint = f"write `axis {name}[L]` for an axis with positions"
            message = f"the axis `{name}` has no length"
            raise CellcError(Diagnostic("not-a-dimension", message, span, hints=(hint,)))
        return tree.Axis(self._name(name).name, length, count, tied is not None, span)

    def share(self, children: list[Any], span: Span) -> tree.Share:
        return tree.Share(self._name(children[0]).name, children[1], span)

    def _count(self, token: Token) -> int:
        value = float(token)
        if not is_size(value):
            message = f"a dimension is a whole number from 1 to {LARGEST_DIMENSION:,}"
            raise CellcError(Diagnostic("not-a-dimension", message, self._span(token)))
        return int(value)

    def weight(self, children: list[Any], span: Span) -> tree.Declaration:
        name, shape, *modifiers = children
        return tree.Declaration("", self._name(name).name, shape, tuple(modifiers), None, span)

    def modifier(self, children: list[Any], span: Span) -> tree.Modifier:
        args = tuple(child for child in children[1:] if child is not None)
        return tree.Modifier(self._name(children[0]).name, args, span)

    def option(self, children: list[Any], span: Span) -> tree.Declaration:
        name = self._name(children[0])
        return tree.Declaration("option", name.name, (), (), children[1], name.span)

    def dimension(self, children: list[Any], span: Span) -> tree.Dimension:
        name, argument = self._name(children[0]).name, self._name(children[1]).name
        default = None if children[2] is None else self._count(children[2])
        return tree.Dimension(name, argument, default, span)

    def output(self, children: list[Any], span: Span) -> tree.Output:
        return tree.Output(tuple(children), span)

    def function(self, children: list[Any], span: Span) -> tree.Function:
        *names, body = children
        name, *parameters = [self._name(token).name for token in names]
        return tree.Function(name, tuple(parameters), body, span)

    def target(self, children: list[Any], span: Span) -> Any:
        return self._name(children[0], children[1]), children[2]

    def shape(self, children: list[Any], span: Span) -> tuple[tree.Expression, ...]:
        return tuple(child for child in children if child is not None)

    def equation(self, children: list[Any], span: Span) -> list[tree.Equation]:
        *targets, value = children
        names = tuple(target.name for target, _ in targets)
        return [
            tree.Equation(
                target.name,
                shape,
                value if len(targets) == 1 else tree.Pick(value, index, names, span, value.depth),
                span,
            )
            for index, (target, shape) in enumerate(targets)
        ]


def _sorted_arguments(
    children: list[Any],
) -> tuple[tuple[tree.Expression, ...], tuple[tuple[str, tree.Expression], ...]]:
    """Arguments by position and those by name."""
    named = tuple(child for child in children if isinstance(child, tuple))
    return tuple(c for c in children if c is not None and not isinstance(c, tuple)), named


def _too_deep(span: Span) -> Diagnostic:
    return Diagnostic(
        "nested-too-deeply",
        f"an expression of more than {DEEPEST_EXPRESSION} nested operations",
        span,
        hints=("give a part of it a name with an equation of its own",),
    )


def _check_name(span: Span, name: str) -> None:
    """Refuse names that are too long, or no names once they are in canonical form."""
    glyphs = raised_glyphs(name)
    if glyphs:
        raise CellcError(_glyph(span, name, glyphs))
    if not is_name(canonical(name)):
        raise CellcError(
            Diagnostic(
                "glyph-in-name",
                f"`{name}` is no name: it stands for `{canonical(name)}`",
                span,
                "letters, digits and underscores make a name",
            )
        )
    if len(canonical(name)) > LONGEST_NAME:
        message = f"a name of {len(name):,} characters; the limit is {LONGEST_NAME}"
        raise CellcError(Diagnostic("name-too-long", message, span))


def _glyph(span: Span, name: str, glyphs: str) -> Diagnostic:
    """What to write instead of ``x²`` or ``h₁``."""
    plain = canonical(glyphs)
    stem = "".join(character for character in name if character not in glyphs)
    raised = "SUPERSCRIPT" in unicodedata.name(glyphs[0])
    hint = f"write `{stem}^{plain}`" if raised else f"write `{stem}{plain}` or `{stem}_{plain}`"
    return Diagnostic(
        "glyph-in-name",
        f"`{glyphs}` is no letter of a name",
        span,
        "a raised or lowered glyph",
        hints=(hint,),
    )


def is_size(value: float) -> bool:
    """Whether a number may be a dimension: whole, positive, and not absurdly large."""
    return 1 <= value <= LARGEST_DIMENSION and value == int(value)
