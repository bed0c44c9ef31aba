"""Divisions that a multiplication can stand in for."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.diagnostics import Span
from cellc.ir import Cell, Node
from cellc.passes.edit import Edit

#: Numbers up to this one, and their reciprocals, are finite and normal at any precision.
_LARGEST = 2.0**14


@dataclass(frozen=True)
class Strength:
    """Divides once where it can, and multiplies at every step.

    What varies along fewer axes than the quotient, such as a parameter, is inverted once;
    the quotient is then at most one unit in the last place from where it was. Division by a
    power of two becomes an exact multiplication.

    Before, with ``%τ`` a parameter::

        %1 = divide(%t, %τ) : [H] over {batch, time}

    After::

        %2 = const() {value=1.0} : [] over {}
        %3 = divide(%2, %τ) : [H] over {}
        %1 = multiply(%t, %3) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        edit, inverses = Edit(cell), dict[str, str]()
        for name, node in cell.nodes.items():
            edit.keep(name)
            if node.op.name != "divide" or not self._pays(cell, node):
                continue
            divisor = edit.nodes[name].args[1]
            if divisor not in inverses:
                inverses[divisor] = self._inverse(edit, divisor, node.spans)
            args = [edit.nodes[name].args[0], inverses[divisor]]
            edit.nodes[name] = edit.nodes.pop(edit.add("multiply", args, node.spans))
        return edit.finish()

    def _pays(self, cell: Cell, node: Node) -> bool:
        divisor = cell.nodes[node.args[1]]
        if divisor.op.name == "const":
            number = abs(float(divisor.attr("value")))  # type: ignore[arg-type]
            return bool(node.type.extent) and 1 / _LARGEST <= number <= _LARGEST
        return divisor.type.extent < node.type.extent

    def _inverse(self, edit: Edit, divisor: str, spans: frozenset[Span]) -> str:
        node = edit.nodes[divisor]
        if node.op.name == "const":
            return edit.constant(1 / float(node.attr("value")), spans)  # type: ignore[arg-type]
        return edit.add("divide", [edit.constant(1.0, spans), divisor], spans)
