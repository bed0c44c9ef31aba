"""Sums as lists of signed terms, and terms as products of factors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from cellc.diagnostics import Span
from cellc.ir import Cell
from cellc.passes.edit import Edit

_SUMS = ("add", "subtract")


@dataclass(frozen=True)
class Term:
    """One term of a sum: its node, and the factors that it is a product of.

    ``outer`` is the sign before the node, ``sign`` the sign before the product of the
    factors, which may be negated further inside.
    """

    name: str
    outer: int
    sign: int
    factors: tuple[str, ...]


def roots_of(cell: Cell) -> Iterator[str]:
    """The sums that are no part of a larger one."""
    inner = {
        argument
        for name, node in cell.nodes.items()
        for argument in node.args
        if _goes_on(cell, name, argument)
    }
    return (n for n, node in cell.nodes.items() if node.op.name in _SUMS and n not in inner)


def terms_of(cell: Cell, name: str, sign: int = 1) -> Iterator[Term]:
    """The terms of a sum, from left to right, through sums that nothing else uses."""
    node = cell.nodes[name]
    signs = (sign, -sign if node.op.name == "subtract" else sign)
    for argument, own in zip(node.args, signs, strict=True):
        if _goes_on(cell, name, argument):
            yield from terms_of(cell, argument, own)
        else:
            turned, factors = _product(cell, argument)
            yield Term(argument, own, own * turned, factors)


def _goes_on(cell: Cell, outer: str, inner: str) -> bool:
    """Whether a sum is a part of another, which alone uses it and has its shape."""
    whole, part = cell.nodes[outer], cell.nodes[inner]
    both = whole.op.name in _SUMS and part.op.name in _SUMS
    return both and cell.uses[inner] == 1 and part.type.shape == whole.type.shape


def _product(cell: Cell, name: str) -> tuple[int, tuple[str, ...]]:
    """The sign and the factors of a product, through products that nothing else uses."""
    if not _is_product(cell, name):
        return 1, (name,)
    node = cell.nodes[name]
    parts = [_product(cell, argument) for argument in node.args]
    sign = -1 if node.op.name == "negate" else 1
    factors = [factor for _, inner in parts for factor in inner]
    return reduce(lambda product, part: product * part[0], parts, sign), tuple(factors)


def _is_product(cell: Cell, name: str) -> bool:
    return cell.uses[name] == 1 and cell.nodes[name].op.name in ("negate", "multiply")


def quotient(edit: Edit, name: str, factor: str, spans: frozenset[Span]) -> str | None:
    """What a product is without one of its factors and its sign; None for nothing else.

    Parts that lack the factor stay as they are. Raises TypeMismatch.
    """
    if name == factor:
        return None
    sign, factors = _product(edit.cell, name)
    if factor not in factors:
        if sign > 0:
            return name
        return reduce(lambda a, b: edit.add("multiply", [a, b], spans), factors)
    parts = list(edit.cell.nodes[name].args)
    place = next(p for p, part in enumerate(parts) if factor in _product(edit.cell, part)[1])
    others = [quotient(edit, part, "", spans) for part in parts[:place] + parts[place + 1 :]]
    left = quotient(edit, parts[place], factor, spans)
    kept = [part for part in [*others[:place], left, *others[place:]] if part is not None]
    return reduce(lambda a, b: edit.add("multiply", [a, b], spans), kept) if kept else None


def added(
    edit: Edit,
    terms: Iterable[Term],
    instead: Mapping[str, str | None],
    spans: frozenset[Span],
) -> str:
    """The sum of the terms, where some are replaced by other values or, by None, left out.

    Raises TypeMismatch.
    """
    parts: list[tuple[int, str]] = []
    for term in terms:
        value = instead.get(term.name, term.name)
        if value is not None:
            parts.append((1 if term.name in instead else term.outer, value))
    parts.sort(key=lambda part: -part[0])  # what is replaced is positive
    total = parts[0][1]
    for sign, value in parts[1:]:
        total = edit.add("add" if sign > 0 else "subtract", [total, value], spans)
    return total
