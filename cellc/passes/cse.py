"""Computes equal values once."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import Cell
from cellc.passes.edit import Edit

_THEMSELVES = (
    "input", "state", "param", "option", "draw", "uniform", "normal", "orthogonal",
)  # fmt: skip


@dataclass(frozen=True)
class Cse:
    """Merges nodes that apply one op to the same operands, in any order if it commutes.

    Leaves are themselves: two weights of one shape never merge, nor do two masks.

    Before::

        %1 = concat(%h, %x) : [H + I] over {batch, time}
        %2 = concat(%h, %x) : [H + I] over {batch, time}

    After::

        %1 = concat(%h, %x) : [H + I] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        edit = Edit(cell)
        seen: dict[object, str] = {}
        for name, node in cell.nodes.items():
            args = tuple(edit.now(argument) for argument in node.args)
            operands = tuple(sorted(args)) if node.op.commutative else args
            identity = (node.op.name, operands, node.attrs, node.type)
            if node.op.name in _THEMSELVES or identity not in seen:
                seen[identity] = edit.keep(name)
                continue
            first = seen[identity]
            merged = edit.nodes[first]
            spans = merged.spans | node.spans
            edit.nodes[first] = type(merged)(
                merged.op, merged.args, merged.type, merged.attrs, spans
            )
            edit.stand_ins[name] = first
        return edit.finish()
