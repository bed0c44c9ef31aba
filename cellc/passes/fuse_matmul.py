"""Products of one vector by several weights become one product by the stacked weight."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import NOWHERE, Cell, Dim
from cellc.passes.edit import Edit, in_order, spans_of

_THROUGH = ("add", "subtract")


@dataclass(frozen=True)
class FuseMatmul:
    """Stacks the weights that multiply one vector; each product becomes a slice.

    Products whose sums meet the same function next to each other are stacked next to
    each other, so that FuseElementwise can apply it once.

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
        groups: dict[str, list[str]] = {}
        for name, node in cell.nodes.items():
            if node.op.name == "matmul" and self._stackable(cell, name):
                groups.setdefault(node.args[1], []).append(name)
        edit = Edit(cell)
        for name in cell.nodes:
            edit.keep(name)
        for vector, products in groups.items():
            if len(products) > 1:
                self._stack(cell, edit, vector, self._neighbours(cell, products))
        return cell.replace(in_order(edit.nodes))

    def _stackable(self, cell: Cell, name: str) -> bool:
        weight, vector = (cell.nodes[argument].type for argument in cell.nodes[name].args)
        return weight.extent == NOWHERE and vector.extent != NOWHERE and len(weight.shape) == 2

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
        weight = self._stacked_weight(edit, [cell.nodes[p].args[0] for p in products])
        whole = edit.add("matmul", [weight, vector], spans)
        start = Dim.of(0)
        for product in products:
            node = cell.nodes[product]
            stop = start + node.type.shape[0]
            piece = edit.add("slice", [whole], node.spans, start=start, stop=stop)
            edit.nodes[product] = edit.nodes.pop(piece)
            start = stop

    def _stacked_weight(self, edit: Edit, weights: list[str]) -> str:
        """The weights joined; equal column ranges of several are cut after joining."""
        nodes = [edit.nodes[weight] for weight in weights]
        spans = spans_of(edit.nodes, weights)
        cuts = {(node.op.name, node.attrs) for node in nodes}
        if len(cuts) == 1 and nodes[0].op.name == "slice" and dict(nodes[0].attrs).get("axis"):
            whole = edit.add("concat", [node.args[0] for node in nodes], spans)
            return edit.add("slice", [whole], spans, **dict(nodes[0].attrs))
        return edit.add("concat", weights, spans)
