"""From a cell to all that a backend is given: the schedules of the cell and of its derivative."""

from __future__ import annotations

from dataclasses import replace

from cellc.diagnostics import CellcError
from cellc.ir import Cell, Gradient, Schedule
from cellc.passes.derivative import derivative
from cellc.passes.kernels import with_saved
from cellc.passes.pipelines import optimise, optimise_derived
from cellc.passes.saving import derived_cell, saved_values
from cellc.passes.scan import AffineSteps, known_choice
from cellc.passes.schedule import Scheduler


def scheduled(cell: Cell, scan: str = "never") -> Schedule:
    """The schedule of a cell, with scans for loops that can be, unless that is to be ``never``."""
    if known_choice(scan) != "never":
        cell = AffineSteps().run(cell)
    return Scheduler(scan).run(cell)


def plan(cell: Cell, level: str, memory: str, starts: bool, scan: str = "auto") -> Schedule:
    """The schedule of a cell at a level, with those of its derivative and of it as written.

    Of a cell with an op that has no derivative, there is none. Arguments as for
    :func:`gradient`. Raises CellcError.
    """
    schedule = scheduled(optimise(cell, level), scan)
    written = Scheduler().run(optimise(cell, "O0"))
    try:
        back = gradient(schedule.cell, level, memory, starts, scan)
    except CellcError as error:
        if {diagnostic.code for diagnostic in error.diagnostics} != {"no-derivative"}:
            raise
        back = None
    schedule = schedule if back is None else with_saved(schedule, back.saved)
    return replace(schedule, written=written, gradient=back)


def gradient(
    cell: Cell, level: str, memory: str = "balanced", starts: bool = True, scan: str = "auto"
) -> Gradient:
    """The derivative of a cell: which values it keeps, and when it computes what.

    ``level`` is that of the passes for the derivative, ``memory`` says what is kept rather
    than recomputed, as for :func:`cellc.passes.saving.saved_values`; with ``starts`` states
    that start with a parameter have a derivative by it; ``scan`` as for :func:`scheduled`.
    Raises CellcError.
    """
    joint = derivative(cell, starts)
    saved = saved_values(cell, joint, memory)
    derived = optimise_derived(derived_cell(cell, joint, saved), level)
    used = {a for node in derived.nodes.values() for a in node.args}
    used |= {*(r.value for r in derived.results), *derived.states, *joint.outputs.values()}
    unused = {name for name, node in derived.nodes.items() if node.op.leaf} - used
    derived = derived.replace({n: node for n, node in derived.nodes.items() if n not in unused})
    schedule = scheduled(derived, scan)
    kept = tuple(name for name in saved if name in schedule.cell.nodes)
    return Gradient(schedule, kept, joint.outputs, joint.states, joint.inputs)
