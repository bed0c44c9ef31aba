"""Along which axes each value varies."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import Cell
from cellc.passes.edit import Edit


@dataclass(frozen=True)
class Extents:
    """Infers every type anew from the leaves, so that extents are as small as they are.

    A value that lost its last operand with a batch or time extent is computed once.

    Before, after a rewrite took ``%x`` away::

        %k = sigmoid(%p) : [H] over {batch, time}

    After::

        %k = sigmoid(%p) : [H] over {}
    """

    def run(self, cell: Cell) -> Cell:
        edit = Edit(cell)
        for name, node in cell.nodes.items():
            if node.op.leaf:
                edit.keep(name)
                continue
            types = [edit.nodes[argument].type for argument in node.args]
            type_ = node.op.infer(types, dict(node.attrs))
            edit.put(type(node)(node.op, node.args, type_, node.attrs, node.spans), name)
        return edit.finish()
