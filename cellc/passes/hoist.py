"""Moves the part of a loop's arithmetic that is known beforehand out of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from cellc.ir import BATCH, NOWHERE, Cell, Dim
from cellc.passes.edit import Edit, in_order
from cellc.passes.loops import loops_of
from cellc.passes.products import LAYOUTS, Cut, Product, products_of, sliced


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
        products = products_of(cell)
        for name in cell.nodes:
            product = products.get(name)
            if product is not None and self._pays(cell, loops, product):
                self._split(edit, product)
            else:
                edit.keep(name)
        return edit.finish()

    def _pays(self, cell: Cell, loops: dict[str, int], product: Product) -> bool:
        vector = cell.nodes[product.vector]
        if vector.op.name != "concat" or vector.attrs or product.name not in loops:
            return False
        inside = [loops.get(part) == loops[product.name] for part in vector.args]
        return product.columns is not None and any(inside) and not all(inside)

    def _split(self, edit: Edit, product: Product) -> None:
        spans = edit.cell.nodes[product.name].spans
        axis = product.columns
        assert axis is not None
        start, products = Dim.of(0), []
        for part in edit.nodes[product.vector].args:
            stop = start + edit.nodes[part].type.shape[0]
            piece = sliced(edit, Cut(product.weight, start, stop), axis, spans)
            products.append(edit.add(product.op, [piece, part], spans))
            start = stop
        total = reduce(lambda a, b: edit.add("add", [a, b], spans), products)
        edit.nodes[product.name] = edit.nodes.pop(total)


@dataclass(frozen=True)
class RegroupSums:
    """Adds the terms of a sum that are known before the loop first, outside it.

    A product of the loop comes first, of those the one whose vector most products share,
    and what is known is added to it, which arrays do in one go; then the other products
    are, likewise, and other terms of the loop follow. Of what is known, the terms that are
    the same at every step of a sequence are added first.

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
        products = _widest_first(cell, [term for term in looped if _is_product(cell, term)])
        rest = [term for term in looped if term not in products]
        known = _by_sequence(cell, known)
        together = [_added(known)] if known else []
        if products:
            return _added([products[0], *together, *products[1:], *rest])
        return _added([*rest, *together])

    def _rebuild(self, edit: Edit, name: str, wanted: Sum) -> None:
        spans = edit.nodes[name].spans

        def build(part: Sum) -> str:
            if isinstance(part, str):
                return edit.now(part)
            return edit.add("add", [build(part[0]), build(part[1])], spans)

        edit.nodes[name] = edit.nodes.pop(build(wanted))


def _is_product(cell: Cell, name: str) -> bool:
    return cell.nodes[name].op.name in LAYOUTS


def _widest_first(cell: Cell, products: Sequence[str]) -> list[str]:
    """Products in the order of how many others of their kind their vectors have."""

    def width(name: str) -> int:
        node = cell.nodes[name]
        users = cell.graph.successors(node.args[1])
        return sum(cell.nodes[user].op is node.op for user in users)

    return sorted(products, key=width, reverse=True)


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
