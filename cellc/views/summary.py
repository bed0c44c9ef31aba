"""What a cell is, in figures: shapes, parameters, arithmetic and memory traffic per step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellc.ir import AtConstruction, Cell, Dim, Loop, Schedule
from cellc.ir.dimension import product
from cellc.ir.types import sequence_axis, shape_text
from cellc.ops import TABLE
from cellc.ops.notation import equations_of, expression_of, initial_value_of

_BYTES_PER_NUMBER = 4
_NONE = Dim.of(0)


@dataclass(frozen=True)
class Cost:
    """What one step of one sequence costs, as formulas over the dimensions.

    ``flops`` counts a multiplication and an addition as two and a tanh as four;
    ``bytes`` is what operations read and write in float32 if each stands alone.
    """

    flops: Dim = _NONE
    bytes: Dim = _NONE

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


@dataclass(frozen=True)
class Costs:
    """What is computed when, for one sequence: step by step, and for all steps at once.

    ``loop`` and ``at_once`` are those of one step; ``once`` is what a call computes from
    weights alone or once for a whole sequence.
    """

    loop: Cost = Cost()
    at_once: Cost = Cost()
    once: Cost = Cost()

    @property
    def step(self) -> Cost:
        """All that is computed for each step, whenever it is."""
        return self.loop + self.at_once


@dataclass(frozen=True)
class Summary:
    """The facts that `cellc show` prints.

    ``parameters`` counts the trainable ones, ``frozen`` those that stay as they are drawn.
    ``recurrence`` tells the class of each loop, ``kinds`` those that occur.
    """

    cell: Cell
    recurrence: str
    kinds: str
    parameters: Dim
    cost: Cost
    frozen: Dim

    def as_dict(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """The facts as plain data, with counts for the given sizes."""
        cell = self.cell
        nodes = cell.nodes
        return {
            "name": cell.name,
            "kind": cell.kind,
            "family": cell.family,
            "lineage": list(cell.lineage[::-1]),
            "description": cell.description,
            "citations": list(cell.citations),
            "equations": equations_of(cell),
            "comments": dict(cell.comments),
            "inputs": {name: shape_text(nodes[name].type.shape) for name in cell.inputs},
            "states": {name: shape_text(nodes[name].type.shape) for name in cell.states},
            "outputs": {n: expression_of(cell, v) for n, v in cell.values("output").items()},
            "params": {
                name: {"shape": shape_text(nodes[name].type.shape),
                       "initial": initial_value_of(cell, name)}
                for name in cell.params
            },
            "options": {name: nodes[name].attr("default") for name in cell.options},
            "arguments": {dim: argument.name for dim, argument in cell.dims.items()},
            "recurrence": self.recurrence,
            "recurrence_classes": self.kinds.split(", "),
            "key": cell.key(),
            "sizes": dict(sizes),
            "parameters": counted(self.parameters, sizes),
            "frozen_parameters": counted(self.frozen, sizes),
            "flops_per_step": counted(self.cost.flops, sizes),
            "bytes_per_step": counted(self.cost.bytes, sizes),
        }  # fmt: skip


def summarise(cell: Cell, schedule: Schedule) -> Summary:
    """The facts about a cell; ``schedule`` is its scheduled form, optimised or not.

    Lengths of axes are chosen before compiling; the formulas have their numbers.
    """
    chosen = {n: Dim.of(a.default or 1) for n, a in cell.dims.items() if a.fixed}
    counts = {False: Dim.of(0), True: Dim.of(0)}
    for name in cell.params:
        node = cell.nodes[name]
        frozen = "frozen" in dict(node.attrs)
        counts[frozen] = counts[frozen] + product(node.type.shape).substitute(chosen)
    several = len(schedule.loops) > 1
    kinds = [
        f"{loop.recurrence} ({', '.join(loop.carries)})" if several else loop.recurrence
        for loop in schedule.loops
    ]
    recurrence = ", ".join(kinds) or "none"
    classes = ", ".join(dict.fromkeys(loop.recurrence for loop in schedule.loops)) or "none"
    cost = cost_of(schedule)
    cost = Cost(cost.flops.substitute(chosen), cost.bytes.substitute(chosen))
    return Summary(cell, recurrence, classes, counts[False], cost, counts[True])


def cost_of(schedule: Schedule) -> Cost:
    """The cost of one step along every axis: all that is computed for each step."""
    return costs_of(schedule).step


def costs_of(schedule: Schedule) -> Costs:
    """The costs by when they arise. What only the constructor computes is no part of them."""
    found = {"loop": Cost(), "at_once": Cost(), "once": Cost()}
    for region in schedule.regions:
        if isinstance(region, AtConstruction):
            continue
        for name in region.values:
            if schedule.cell.nodes[name].op.leaf:
                continue
            stepwise = "loop" if isinstance(region, Loop) else "at_once"
            when = stepwise if _for_each_step(schedule.cell, name) else "once"
            found[when] = found[when] + _cost_of_value(schedule.cell, name)
    return Costs(**found)


def _for_each_step(cell: Cell, name: str) -> bool:
    """Whether a value costs something for each step, as a mean over the steps does too."""
    node = cell.nodes[name]
    over = [name, *node.args] if TABLE[node.op.name].kind == "sequence" else [name]
    return any(sequence_axis(cell.nodes[value].type.extent) is not None for value in over)


def _cost_of_value(cell: Cell, name: str) -> Cost:
    node = cell.nodes[name]
    numbers = Dim.of(0)
    if TABLE[node.op.name].kind != "structural":
        for value in (*node.args, name):
            numbers = numbers + product(cell.nodes[value].type.shape)
    return Cost(flops_of(cell, name), numbers * _BYTES_PER_NUMBER)


def flops_of(cell: Cell, name: str) -> Dim:
    """The floating-point operations of one value."""
    node = cell.nodes[name]
    op = TABLE[node.op.name]
    if op.kind == "contraction":
        types = [cell.nodes[argument].type for argument in node.args]
        work = product(types[0].shape) if op.work is None else op.work(types, node.type)
        extra = product(node.type.shape) if len(node.args) > 2 else Dim.of(0)
        return work * 2 + extra
    if op.kind == "reduction":
        return product(cell.nodes[node.args[0]].type.shape) * op.flops
    return product(node.type.shape) * op.flops


def counted(dim: Dim, sizes: Mapping[str, int]) -> dict[str, Any]:
    """A formula and, where the sizes give it one, its value."""
    known = dim.names <= sizes.keys()
    return {"formula": str(dim), "count": dim.evaluate(sizes) if known else None}
