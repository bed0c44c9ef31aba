"""Truncated backpropagation through time."""

from __future__ import annotations

from dataclasses import replace

from cellc.diagnostics import fail
from cellc.ir import TIME, Cell
from cellc.ir.types import sequence_axis
from cellc.passes.edit import Edit
from cellc.passes.loops import loops_of


def truncate(cell: Cell, steps: int, axis: str = TIME) -> Cell:
    """The cell whose gradients stop at every so many steps of an axis.

    Values stay as they are. Gradients are those of sequences cut into parts of ``steps``
    steps, each of which starts with the state that the one before left, as a number. Raises
    CellcError ``not-a-step-count`` where ``steps`` is no whole number above zero.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        fail(
            "not-a-step-count",
            f"backpropagation cannot be cut at every {steps} steps",
            hints=("a whole number above zero is asked for, such as 20",),
        )
    looped = loops_of(cell)
    states = [
        state for state in cell.states
        if state in looped and sequence_axis(cell.nodes[state].type.extent) == axis
    ]  # fmt: skip
    if not states:
        return cell
    edit = Edit(cell)
    where = edit.add("within", axis=axis, every=steps)
    for state in states:
        edit.nodes[state] = cell.nodes[state]
        edit.stand_ins[state] = edit.add("cut", [state, where], cell.nodes[state].spans)
    for name in cell.nodes:
        if name not in states:
            edit.keep(name)
    return replace(
        edit.finish(), description=f"{cell.description} Truncated: {steps} steps.".lstrip()
    )
