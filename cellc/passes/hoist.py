"""Moves the part of a loop's arithmetic that is known beforehand out of the loop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from cellc.ir import NOWHERE, Cell, Dim, Node
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
            terms = self._terms(cell, loops, name) if self._is_root(cell, name) else []
            known = [term for term in terms if loops.get(term) != loops.get(name)]
            looped = [term for term in terms if loops.get(term) == loops.get(name)]
            if name in loops and len(terms) > 2 and len(known) > 1:
                self._regroup(edit, name, looped, known)
        return edit.cell.replace(in_order(edit.nodes), edit.finish().results)

    def _is_root(self, cell: Cell, name: str) -> bool:
        """Whether a sum is not itself a term of a larger one."""
        if cell.nodes[name].op.name != "add":
            return False
        users = list(cell.graph.successors(name))
        return not (
            len(users) == 1 and cell.uses[name] == 1 and cell.nodes[users[0]].op.name == "add"
        )

    def _terms(self, cell: Cell, loops: dict[str, int], name: str) -> list[str]:
        """The terms of a sum, through sums of the same loop that nothing else uses."""
        terms: list[str] = []
        pending = list(reversed(cell.nodes[name].args))
        while pending:
            term = pending.pop()
            same_loop = loops.get(term) == loops.get(name)
            if same_loop and cell.nodes[term].op.name == "add" and cell.uses[term] == 1:
                pending.extend(reversed(cell.nodes[term].args))
            else:
                terms.append(term)
        shape = cell.nodes[name].type.shape
        return terms if all(cell.nodes[term].type.shape == shape for term in terms) else []

    def _regroup(self, edit: Edit, name: str, looped: list[str], known: list[str]) -> None:
        spans = edit.nodes[name].spans

        def total(terms: list[str]) -> str:
            names = [edit.now(term) for term in terms]
            return reduce(lambda a, b: edit.add("add", [a, b], spans), names)

        first, second = total(looped), total(known)
        edit.nodes[name] = edit.nodes.pop(edit.add("add", [first, second], spans))
