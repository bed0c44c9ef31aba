"""Moves the part of a loop's arithmetic that is known beforehand out of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from cellc.ir import BATCH, NOWHERE, Cell, Dim, Node
from cellc.passes.edit import Edit, in_order
from cellc.passes.loops import loops_of


@dataclass(frozen=True)
class SplitProducts:
    """Splits a product of a concatenation where that lets one half leave the loop.

    Before::

        %1 = concat(%h, %x) : [H + I] over {batch, time}
        %2 = matmul(%W, %1) : [H] over {batch, time}

    After::

        %3 = slice(%W) {start=(0), stop=(H), axis=1} : [H, H] over {}
        %4 = matmul(%3, %h) : [H] over {batch, time}
        %5 = slice(%W) {start=(H), stop=(H + I), axis=1} : [H, I] over {}
        %6 = matmul(%5, %x) : [H] over {batch, time}
        %2 = add(%4, %6) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        loops, edit = loops_of(cell), Edit(cell)
        for name, node in cell.nodes.items():
            if node.op.name == "matmul" and self._pays(cell, loops, name):
                self._split(edit, name, node)
            else:
                edit.keep(name)
        return edit.finish()

    def _pays(self, cell: Cell, loops: dict[str, int], name: str) -> bool:
        weight, vector = (cell.nodes[argument] for argument in cell.nodes[name].args)
        if vector.op.name != "concat" or len(vector.type.shape) != 1 or name not in loops:
            return False
        inside = [loops.get(part) == loops[name] for part in vector.args]
        return weight.type.extent == NOWHERE and any(inside) and not all(inside)

    def _split(self, edit: Edit, name: str, node: Node) -> None:
        weight, vector = node.args
        rank = len(edit.nodes[weight].type.shape)
        start, products = Dim.of(0), []
        for part in edit.nodes[vector].args:
            stop = start + edit.nodes[part].type.shape[0]
            piece = edit.add("slice", [weight], node.spans, start=start, stop=stop, axis=rank - 1)
            products.append(edit.add("matmul", [piece, part], node.spans))
            start = stop
        total = reduce(lambda a, b: edit.add("add", [a, b], node.spans), products)
        edit.nodes[name] = edit.nodes.pop(total)


@dataclass(frozen=True)
class RegroupSums:
    """Adds the terms of a sum that are known before the loop first, outside it.

    Products of the loop come first and what is known is added to them, which arrays do
    in one go; other terms of the loop follow. Of what is known, the terms that are the
    same at every step of a sequence are added first.

    Before, with ``%h`` a state of the loop::

        %1 = add(%Uh, %Wx) : [H] over {batch, time}
        %2 = add(%1, %b) : [H] over {batch, time}

    After::

        %3 = add(%Wx, %b) : [H] over {batch, time}
        %2 = add(%Uh, %3) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        loops, edit = loops_of(cell), Edit(cell)
        for name in cell.nodes:
            edit.keep(name)
            if name in loops and self._is_root(cell, name):
                present = _tree(cell, loops, name)
                wanted = self._wanted(cell, loops, name, list(_leaves(present)))
                if wanted is not None and wanted != present:
                    self._rebuild(edit, name, wanted)
        return edit.cell.replace(in_order(edit.nodes), edit.finish().results)

    def _is_root(self, cell: Cell, name: str) -> bool:
        """Whether a sum is not itself a term of a larger one."""
        if cell.nodes[name].op.name != "add":
            return False
        users = list(cell.graph.successors(name))
        return not (
            len(users) == 1 and cell.uses[name] == 1 and cell.nodes[users[0]].op.name == "add"
        )

    def _wanted(self, cell: Cell, loops: dict[str, int], name: str, terms: list[str]) -> Sum | None:
        """The order in which the terms are best added, or None to leave them alone."""
        shape = cell.nodes[name].type.shape
        if len(terms) < 3 or any(cell.nodes[term].type.shape != shape for term in terms):
            return None
        known: list[Sum] = [term for term in terms if loops.get(term) != loops[name]]
        looped = [term for term in terms if loops.get(term) == loops[name]]
        products = [term for term in looped if cell.nodes[term].op.name == "matmul"]
        rest = [term for term in looped if term not in products]
        first: list[Sum] = list(products or rest)
        known = _by_sequence(cell, known)
        parts = first + ([_added(known)] if known else []) + (rest if products else [])
        return _added(parts)

    def _rebuild(self, edit: Edit, name: str, wanted: Sum) -> None:
        spans = edit.nodes[name].spans

        def build(part: Sum) -> str:
            if isinstance(part, str):
                return edit.now(part)
            return edit.add("add", [build(part[0]), build(part[1])], spans)

        edit.nodes[name] = edit.nodes.pop(build(wanted))


def _by_sequence(cell: Cell, terms: Sequence[str]) -> list[Sum]:
    """The terms, those that are the same at every step of a sequence added first."""
    held = [term for term in terms if cell.nodes[term].type.extent == {BATCH}]
    constant = [term for term in terms if cell.nodes[term].type.extent == NOWHERE]
    if not held:
        return list(terms)
    rest = [term for term in terms if term not in (*held, *constant)]
    return [_added([*held, *constant]), *rest]


#: A sum as a tree: a term, or two sums that are added.
Sum = Any


def _tree(cell: Cell, loops: dict[str, int], name: str, top: bool = True) -> Sum:
    """How a sum is added up, through sums of the same loop that nothing else uses."""
    same_loop = loops.get(name) is not None and cell.nodes[name].op.name == "add"
    if not top and not (same_loop and cell.uses[name] == 1):
        return name
    left, right = cell.nodes[name].args
    inner = [a if loops.get(a) != loops.get(name) else _tree(cell, loops, a, False)
             for a in (left, right)]  # fmt: skip
    return tuple(inner)


def _leaves(tree: Sum) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        for part in tree:
            yield from _leaves(part)


def _added(parts: Sequence[Sum]) -> Sum:
    """The parts added from left to right."""
    return reduce(lambda left, right: (left, right), parts)
