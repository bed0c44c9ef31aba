"""Along which axes each value varies."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
            if not node.op.leaf:
                types = [edit.nodes[argument].type for argument in node.args]
                node = replace(node, type=node.op.infer(types, dict(node.attrs)))
            edit.nodes[name] = node
        return edit.finish()
