"""What a transform took out of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellc.ir import Cell, Dim
from cellc.ir.dimension import product
from cellc.ir.types import shape_text
from cellc.ops import TABLE
from cellc.ops.notation import equations_of
from cellc.passes.schedule import Scheduler
from cellc.views.summary import cost_of


@dataclass(frozen=True)
class Removed:
    """The difference of two cells, in names, formulas and counts.

    ``equations`` are those that are gone or say something else now, as they were;
    ``parameters`` have their shapes, ``numbers`` is how many numbers all of them hold.
    ``products`` are matrix products, ``flops`` operations per step, as written.
    """

    equations: Mapping[str, str]
    parameters: Mapping[str, str]
    inputs: Sequence[str]
    states: Sequence[str]
    options: Sequence[str]
    numbers: Dim
    products: int
    flops: Dim

    def as_dict(self) -> dict[str, Any]:
        """The difference as plain data."""
        return {
            "equations": dict(self.equations),
            "parameters": dict(self.parameters),
            "inputs": list(self.inputs),
            "states": list(self.states),
            "options": list(self.options),
            "numbers": str(self.numbers),
            "products": self.products,
            "flops_per_step": str(self.flops),
        }

    def lines(self) -> list[str]:
        """The difference in lines to read; empty where nothing was removed."""
        said = [f"removed  {name} = {right}" for name, right in self.equations.items()]
        kinds = {"state": self.states, "input": self.inputs, "option": self.options}
        said += [f"removed  {kind} {name}" for kind, names in kinds.items() for name in names]
        if self.parameters:
            listed = ", ".join(f"{name}{shape}" for name, shape in self.parameters.items())
            said.append(f"removed  {listed}: {self.numbers} numbers")
        if self.products:
            products = (
                "1 matrix product" if self.products == 1 else f"{self.products} matrix products"
            )
            said.append(f"removed  {products}, {self.flops} flops per step")
        return said


def removed(before: Cell, after: Cell) -> Removed:
    """What the second cell lacks of the first."""
    now = equations_of(after)
    gone = [name for name in before.params if name not in after.params]
    shapes = {name: before.nodes[name].type.shape for name in gone}
    costs = [cost_of(Scheduler().run(cell)).flops for cell in (before, after)]
    return Removed(
        {name: right for name, right in equations_of(before).items() if now.get(name) != right},
        {name: shape_text(shape) for name, shape in shapes.items()},
        [name for name in before.inputs if name not in after.inputs],
        [name for name in before.states if name not in after.states],
        [name for name in before.options if name not in after.options],
        sum((product(shape) for shape in shapes.values()), Dim.of(0)),
        _products(before) - _products(after),
        costs[0] - costs[1],
    )


def _products(cell: Cell) -> int:
    return sum(TABLE[node.op.name].kind == "contraction" for node in cell.nodes.values())
