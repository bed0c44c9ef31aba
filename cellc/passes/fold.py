"""Computes what is made of numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from cellc.ir import Cell
from cellc.ops import TABLE
from cellc.ops.evaluate import evaluate
from cellc.passes.edit import Edit


@dataclass(frozen=True)
class Fold:
    """Replaces an elementwise operation on numbers by its value.

    Before::

        %1 = const() {value=2.0} : [] over {}
        %2 = multiply(%1, %1) : [] over {}

    After::

        %2 = const() {value=4.0} : [] over {}
    """

    def run(self, cell: Cell) -> Cell:
        edit = Edit(cell)
        for name, node in cell.nodes.items():
            operands = [edit.nodes[edit.now(argument)] for argument in node.args]
            numbers = [float(o.attr("value")) for o in operands  # type: ignore[arg-type]
                       if o.op.name == "const"]  # fmt: skip
            op = TABLE.get(node.op.name)
            real = op is not None and not op.by_mode and node.type.dtype == "real"
            if not node.args or len(numbers) < len(node.args) or not real or node.type.shape:
                edit.keep(name)
                continue
            value = float(evaluate(TABLE[node.op.name], *numbers))
            if isfinite(value):
                edit.nodes[name] = edit.nodes.pop(edit.constant(value, node.spans))
            else:
                edit.keep(name)
        return edit.finish()
