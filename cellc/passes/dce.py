"""Removes what no result needs."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import Cell

_KEPT = ("input", "state", "param", "option", "draw")


@dataclass(frozen=True)
class Dce:
    """Drops nodes that no result needs. Inputs, states and parameters stay.

    Draws stay as well, so that the numbers drawn are the same at every level.

    Before::

        %1 = tanh(%h) : [H] over {batch, time}
        %h' = sigmoid(%h) : [H] over {batch, time}
        next %h = %h'

    After::

        %h' = sigmoid(%h) : [H] over {batch, time}
        next %h = %h'
    """

    def run(self, cell: Cell) -> Cell:
        needed = {r.value for r in cell.results}
        needed |= {name for name, node in cell.nodes.items() if node.op.name in _KEPT}
        for name in reversed(list(cell.nodes)):
            if name in needed:
                needed.update(cell.nodes[name].args)
        if len(needed) == len(cell.nodes):
            return cell
        return cell.replace({n: node for n, node in cell.nodes.items() if n in needed})
