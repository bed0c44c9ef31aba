"""Products of one vector by several weights become one product by the stacked weight."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.diagnostics import Span
from cellc.ir import NOWHERE, Cell, Dim
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.loops import loops_of
from cellc.passes.products import Product, joined, products_of

_THROUGH = ("add", "subtract")


@dataclass(frozen=True)
class FuseMatmul:
    """Stacks the weights that multiply one vector; each product becomes a slice.

    Biases are stacked along, zeros standing in where a product has none. Products whose
    sums meet the same function are stacked next to each other, so that FuseElementwise
    can apply it once. Weights stack with their own kind, along the dimension that
    :mod:`cellc.passes.products` says: filters along their channels, block-diagonal
    weights along their blocks. What runs in a loop and what does not stay apart.

    Before::

        %1 = matmul(%W_f, %v) : [H] over {batch, time}
        %2 = matmul(%W_i, %v) : [H] over {batch, time}

    After::

        %3 = concat(%W_f, %W_i) : [2*H, I] over {}
        %4 = matmul(%3, %v) : [2*H] over {batch, time}
        %1 = slice(%4) {start=(0), stop=(H)} : [H] over {batch, time}
        %2 = slice(%4) {start=(H), stop=(2*H)} : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        loops = loops_of(cell)
        groups: dict[object, list[Product]] = {}
        for name, product in products_of(cell).items():
            group = (product.vector, loops.get(name), product.stacking)
            groups.setdefault(group, []).append(product)
        edit = Edit(cell)
        for name in cell.nodes:
            edit.keep(name)
        for products in groups.values():
            if len(products) > 1:
                self._stack(cell, edit, self._neighbours(cell, products))
        return cell.replace(in_order(edit.nodes))

    def _neighbours(self, cell: Cell, products: list[Product]) -> list[Product]:
        """The products, those that meet the same function side by side."""
        groups: dict[tuple[str, ...], list[Product]] = {}
        for product in products:
            groups.setdefault(self._fate(cell, product.name), []).append(product)
        return [product for group in groups.values() for product in group]

    def _fate(self, cell: Cell, name: str) -> tuple[str, ...]:
        """The op that a product meets after the sums it takes part in."""
        fate: list[str] = []
        users = list(cell.graph.successors(name))
        while len(users) == 1:
            fate.append(cell.nodes[users[0]].op.name)
            if fate[-1] not in _THROUGH:
                break
            users = list(cell.graph.successors(users[0]))
        return tuple(op for op in fate if op not in _THROUGH)

    def _stack(self, cell: Cell, edit: Edit, products: list[Product]) -> None:
        names, first = [product.name for product in products], products[0]
        spans = spans_of(cell.nodes, names)
        weight = joined(edit, [product.weight for product in products], first.rows, spans)
        attrs = {"copies": len(products)} if first.copies else {}
        whole = edit.add(first.op, [weight, first.vector], spans, **attrs)
        biases = [_bias_of(cell, name) for name in names]
        if any(biases) and len({cell.nodes[name].type for name in names}) == 1:
            whole = edit.add("add", [whole, self._stacked_bias(edit, biases, spans)], spans)
        else:
            biases = [None] * len(products)
        start = Dim.of(0)
        for name, bias in zip(names, biases, strict=True):
            node = cell.nodes[name]
            stop = start + node.type.shape[0]
            piece = edit.add("slice", [whole], node.spans, start=start, stop=stop)
            del edit.nodes[name]
            edit.nodes[name if bias is None else bias.total] = edit.nodes.pop(piece)
            start = stop

    def _stacked_bias(self, edit: Edit, biases: list[Bias | None], spans: frozenset[Span]) -> str:
        """The biases joined, with zeros for products that have none."""
        like = next(bias.value for bias in biases if bias is not None)
        values = [
            edit.add("zeros_like", [like], spans) if bias is None else bias.value for bias in biases
        ]
        return edit.add("concat", values, spans)


@dataclass(frozen=True)
class Bias:
    """What is added to a product before anything else is done with it."""

    value: str
    total: str


def _bias_of(cell: Cell, product: str) -> Bias | None:
    """The bias of a product whose only user adds one."""
    users = list(cell.graph.successors(product))
    if len(users) != 1 or cell.uses[product] != 1 or cell.nodes[users[0]].op.name != "add":
        return None
    (value,) = [a for a in cell.nodes[users[0]].args if a != product] or [product]
    node = cell.nodes[value]
    same = node.type.shape == cell.nodes[product].type.shape
    return Bias(value, users[0]) if same and node.type.extent == NOWHERE else None
