"""Chains of products by weights: the weights are multiplied beforehand where that is cheaper."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cellc.ir import Cell, Dim
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.products import Product, products_of

#: The op that multiplies two weights [m, k] and [k, n]; without it chains stay as written.
COMPOSE = "compose"


@dataclass(frozen=True)
class AssociateProducts:
    """Computes ``(A·B)·x`` for ``A·(B·x)`` where that takes fewer flops per step.

    It must do so whatever the sizes: the difference of the two counts, a polynomial in
    the dimensions, has no negative term. So a product of low rank, ``W·(P·h)`` with R
    rows in P, stays: nobody knows how small R is. And it must repay the product of the
    weights, which is computed once per call, within ``rows`` steps of ``size`` units.

    Before::

        %1 = matmul(%B, %x) : [H] over {batch, time}
        %2 = matmul(%A, %1) : [H] over {batch, time}

    After::

        %3 = compose(%A, %B) : [H, I] over {}
        %2 = matmul(%3, %x) : [H] over {batch, time}

    Attributes:
        rows: steps of all sequences in a call; the default is 32 steps of 32 sequences.
        size: what every name of a dimension is taken to be.
    """

    rows: int = 1024
    size: int = 128

    def run(self, cell: Cell) -> Cell:
        while COMPOSE in TABLE and (changed := self._associated(cell)) is not None:
            cell = changed
        return cell

    def _associated(self, cell: Cell) -> Cell | None:
        """The cell with one chain associated the other way, or None where none pays."""
        products = products_of(cell)
        for name, inner in products.items():
            users = [products[u] for u in cell.graph.successors(name) if u in products]
            if len(users) == cell.uses[name] and self._pays(cell, inner, users):
                return _associated(cell, inner, users)
        return None

    def _pays(self, cell: Cell, inner: Product, users: list[Product]) -> bool:
        """Whether the products of a product are better taken of its vector."""
        if not users or not all(_is_matrix(product) for product in (inner, *users)):
            return False
        if sequence_axis(cell.nodes[inner.name].type.extent) is None:
            return False
        between, columns = inner.shape
        rows = sum((user.shape[0] for user in users), start=Dim.of(0))
        saved = between * (columns + rows) - rows * columns
        if not saved.terms or any(coefficient < 0 for _, coefficient in saved.terms):
            return False
        once = rows * between * columns
        return self._estimate(saved) * self.rows >= self._estimate(once)

    def _estimate(self, count: Dim) -> Fraction:
        return sum(
            (
                c * Fraction(self.size) ** sum(power for _, power in names)
                for names, c in count.terms
            ),
            start=Fraction(0),
        )


def _is_matrix(product: Product) -> bool:
    return product.op == "matmul" and len(product.shape) == 2


def _associated(cell: Cell, inner: Product, users: list[Product]) -> Cell:
    edit = Edit(cell)
    for name in cell.nodes:
        edit.keep(name)
    for user in users:
        spans = spans_of(cell.nodes, [inner.name, user.name])
        weight = edit.add(COMPOSE, [user.weight, inner.weight], spans)
        edit.nodes[user.name] = edit.nodes.pop(edit.add("matmul", [weight, inner.vector], spans))
    return Dce().run(cell.replace(in_order(edit.nodes)))
