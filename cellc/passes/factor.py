"""Sums of products that share a weight or a vector become one product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellc.ir import Cell
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.long_sums import Term, added, sums_of
from cellc.passes.loops import loops_of
from cellc.passes.products import Product, products_of


@dataclass(frozen=True)
class FactorProducts:
    """Factors what several products of one sum share, where they are computed together.

    ``W·a + W·b`` is ``W·(a + b)``, and ``W·a + U·a`` is ``(W + U)·a``, where the weights
    are added once per call; likewise for differences. A vector of which other products
    remain stays, so a weight is factored out only where one of its vectors goes.

    Before, with ``%a`` and ``%b`` of one loop or of none::

        %1 = matmul(%W, %a) : [H] over {batch, time}
        %2 = matmul(%W, %b) : [H] over {batch, time}
        %3 = add(%1, %2) : [H] over {batch, time}

    After::

        %4 = add(%a, %b) : [H] over {batch, time}
        %3 = matmul(%W, %4) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        while (changed := _factored(cell)) is not None:
            cell = changed
        return cell


def _factored(cell: Cell) -> Cell | None:
    """The cell with one group of products factored, or None where there is none."""
    loops, products = loops_of(cell), products_of(cell)
    for name, terms in sums_of(cell, loops, ("add", "subtract")).items():
        for slot in (0, 1):
            for group in _groups(cell, loops, products, terms, slot):
                if slot == 1 or _frees_a_vector(products, group):
                    return _replaced(cell, name, terms, group, slot)
    return None


def _groups(
    cell: Cell,
    loops: Mapping[str, int],
    products: Mapping[str, Product],
    terms: Sequence[Term],
    slot: int,
) -> list[list[Term]]:
    """Terms that are products of one kind, place and time with the same operand in a slot."""
    groups: dict[object, list[Term]] = {}
    for term in terms:
        product, node = products.get(term.value), cell.nodes[term.value]
        if product is None or product.copies or cell.uses[term.value] > 1:
            continue
        other = cell.nodes[node.args[1 - slot]].type
        key = (product.op, node.args[slot], other, node.type, loops.get(term.value))
        groups.setdefault(key, []).append(term)
    return [group for group in groups.values() if len(group) > 1]


def _frees_a_vector(products: Mapping[str, Product], group: Sequence[Term]) -> bool:
    """Whether a vector of the group multiplies nothing else, so that a product goes."""
    gone = {term.value for term in group}
    kept = {product.vector for name, product in products.items() if name not in gone}
    return any(products[name].vector not in kept for name in gone)


def _replaced(
    cell: Cell, name: str, terms: Sequence[Term], group: Sequence[Term], slot: int
) -> Cell:
    """The cell in which the sum has one product in place of a group's."""
    edit = Edit(cell)
    for each in cell.nodes:
        edit.keep(each)
    first = group[0]
    node = cell.nodes[first.value]
    spans = spans_of(cell.nodes, [term.value for term in group])
    others = [
        Term(cell.nodes[term.value].args[1 - slot], term.minus != first.minus) for term in group
    ]
    operands = [node.args[slot], added(edit, others, spans)]
    product = edit.add(node.op.name, operands if slot == 0 else operands[::-1], spans)
    rest = [
        Term(product, t.minus) if t is first else t for t in terms if t is first or t not in group
    ]
    total = added(edit, rest, cell.nodes[name].spans)
    edit.nodes[name] = edit.nodes.pop(total)
    return Dce().run(cell.replace(in_order(edit.nodes)))
