"""Products of one vector by several weights become one product by the stacked weight."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.diagnostics import Span
from cellc.ir import NOWHERE, Cell, Dim
from cellc.ir.types import Shape
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.loops import loops_of

_THROUGH = ("add", "subtract")


@dataclass(frozen=True)
class FuseMatmul:
    """Stacks the weights that multiply one vector; each product becomes a slice.

    Biases are stacked along, zeros standing in where a product has none. Products whose
    sums meet the same function are stacked next to each other, so that FuseElementwise
    can apply it once. Block-diagonal weights stack along their blocks. What can be computed
    for all steps at once is not stacked with what a loop must compute.

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
        groups: dict[tuple[str, Shape, int | None], list[str]] = {}
        for name, node in cell.nodes.items():
            kind = self._kind(cell, name)
            if kind is not None:
                groups.setdefault((node.args[1], kind, loops.get(name)), []).append(name)
        edit = Edit(cell)
        for name in cell.nodes:
            edit.keep(name)
        for (vector, *_), products in groups.items():
            if len(products) > 1:
                self._stack(cell, edit, vector, self._neighbours(cell, products))
        return cell.replace(in_order(edit.nodes))

    def _kind(self, cell: Cell, name: str) -> Shape | None:
        """Equal for products that stack; None for what does not.

        Block-diagonal weights stack where their blocks are alike.
        """
        node = cell.nodes[name]
        if node.op.name not in ("matmul", "block_matmul"):
            return None
        weight, vector = (cell.nodes[argument].type for argument in node.args)
        if weight.extent != NOWHERE or vector.extent == NOWHERE or node.attrs:
            return None
        if node.op.name == "block_matmul":
            return weight.shape
        return () if len(weight.shape) == 2 else None

    def _neighbours(self, cell: Cell, products: list[str]) -> list[str]:
        """The products, those that meet the same function side by side."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for product in products:
            groups.setdefault(self._fate(cell, product), []).append(product)
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

    def _stack(self, cell: Cell, edit: Edit, vector: str, products: list[str]) -> None:
        spans = spans_of(cell.nodes, products)
        weight = edit.add("concat", [cell.nodes[p].args[0] for p in products], spans)
        op = cell.nodes[products[0]].op.name
        attrs = {"copies": len(products)} if op == "block_matmul" else {}
        whole = edit.add(op, [weight, vector], spans, **attrs)
        biases = [_bias_of(cell, product) for product in products]
        if any(biases) and len({cell.nodes[product].type for product in products}) == 1:
            whole = edit.add("add", [whole, self._stacked_bias(edit, biases, spans)], spans)
        else:
            biases = [None] * len(products)
        start = Dim.of(0)
        for product, bias in zip(products, biases, strict=True):
            node = cell.nodes[product]
            stop = start + node.type.shape[0]
            piece = edit.add("slice", [whole], node.spans, start=start, stop=stop)
            del edit.nodes[product]
            edit.nodes[product if bias is None else bias.total] = edit.nodes.pop(piece)
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
