"""Sums of several terms: chains of additions that nothing else looks into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cellc.diagnostics import Span
from cellc.ir import Cell
from cellc.passes.edit import Edit


@dataclass(frozen=True)
class Term:
    """A term of a sum, and whether it is taken away rather than added."""

    value: str
    minus: bool = False


def sums_of(
    cell: Cell, loops: Mapping[str, int], ops: tuple[str, ...] = ("add",)
) -> dict[str, list[Term]]:
    """The terms of every sum by the value of the whole, in order.

    A sum reaches through ``ops`` of one loop (or of none) and one shape, as long as
    nothing else uses the part; ``ops`` are ``add`` and perhaps ``subtract``. Sums with
    terms that are spread along a dimension, which may not be added in any order, are
    left out; numbers may be.
    """
    inner: set[str] = set()
    found: dict[str, list[Term]] = {}
    for name in reversed(list(cell.nodes)):
        if cell.nodes[name].op.name in ops and name not in inner:
            terms = list(_terms(cell, loops, ops, Term(name), inner))
            shapes = {cell.nodes[term.value].type.shape for term in terms}
            if shapes <= {(), cell.nodes[name].type.shape}:
                found[name] = terms
    return dict(reversed(found.items()))


def _terms(
    cell: Cell, loops: Mapping[str, int], ops: tuple[str, ...], whole: Term, inner: set[str]
) -> Iterable[Term]:
    """The terms below a part of a sum; the parts themselves are noted as ``inner``."""
    pending = [whole]
    while pending:
        part = pending.pop()
        node = cell.nodes[part.value]
        belongs = part is whole or (
            node.op.name in ops
            and cell.uses[part.value] == 1
            and node.type.shape == cell.nodes[whole.value].type.shape
            and loops.get(part.value) == loops.get(whole.value)
        )
        if not belongs:
            yield part
            continue
        inner.add(part.value)
        first, second = node.args
        takes = part.minus != (node.op.name == "subtract")
        pending += [Term(second, takes), Term(first, part.minus)]


def added(edit: Edit, terms: Iterable[Term], spans: frozenset[Span]) -> str:
    """The terms added up from left to right; the first is one that is added."""
    first, *rest = terms
    assert not first.minus, "the first term of a sum is added"
    total = first.value
    for term in rest:
        total = edit.add("subtract" if term.minus else "add", [total, term.value], spans)
    return total
