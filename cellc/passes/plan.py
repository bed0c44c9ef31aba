"""From a cell to all that a backend is given: the schedules of the cell and of its derivative."""

from __future__ import annotations

from dataclasses import replace

from cellc.diagnostics import CellcError, fail
from cellc.ir import Cell, Diagonals, Gradient, Schedule
from cellc.passes.derivative import derivative
from cellc.passes.diagonals import obstacle, retimed
from cellc.passes.kernels import with_saved
from cellc.passes.pack import packed
from cellc.passes.pipelines import optimise, optimise_derived
from cellc.passes.saving import derived_cell, saved_values
from cellc.passes.scan import AffineSteps, can_scan, known_choice
from cellc.passes.schedule import Scheduler
from cellc.passes.sink import sunk

#: Whether the loops of a stack or a grid take their steps together.
CHOICES = ("always", "never")


def scheduled(cell: Cell, scan: str = "never") -> Schedule:
    """The schedule of a cell, with scans for loops that can be, unless that is to be ``never``."""
    if known_choice(scan) != "never":
        cell = AffineSteps().run(cell)
    return Scheduler(scan).run(cell)


def chosen(cell: Cell, scan: str, diagonals: str) -> Schedule:
    """The schedule of an optimised cell, along anti-diagonals if that is chosen and possible."""
    turned = along_diagonals(cell, diagonals)
    return scheduled(cell if turned is None else turned.schedule.cell, scan)


def plan(
    cell: Cell, level: str, memory: str, starts: bool, scan: str = "auto",
    diagonals: str = "never", apart: bool = False,
) -> Schedule:  # fmt: skip
    """The schedule of a cell at a level, with those of its derivative and of it as written.

    Of a cell with an op that has no derivative, there is none. ``diagonals`` as for
    :func:`along_diagonals`, other arguments as for :func:`gradient`. With ``apart`` there are two
    schedules to choose from where scans are to be used if they pay; along diagonals, where
    products are what loops compute, that with loops. Raises CellcError.
    """
    choosing = apart and known_choice(scan) == "auto"
    optimised = optimise(cell, level)
    written = Scheduler().run(optimise(cell, "O0"))
    turned = along_diagonals(optimised, diagonals)
    if turned is None:
        ways = _ways if choosing else _with_gradient
        return replace(ways(optimised, level, memory, starts, scan), written=written)
    way = "never" if choosing else scan
    inner = _with_gradient(turned.schedule.cell, level, memory, starts, way)
    schedule = scheduled(optimised)
    return replace(schedule, written=written, diagonals=replace(turned, schedule=inner))


def _ways(cell: Cell, level: str, memory: str, starts: bool, scan: str) -> Schedule:
    """The schedule with loops only and, where some can be scans, that with scans."""
    loops = _with_gradient(cell, level, memory, starts, "never")
    cells = [cell] if loops.gradient is None else [cell, loops.gradient.schedule.cell]
    if not any(map(can_scan, cells)):
        return loops
    return replace(loops, scanned=_with_gradient(cell, level, memory, starts, "always"))


def _with_gradient(cell: Cell, level: str, memory: str, starts: bool, scan: str) -> Schedule:
    schedule = scheduled(cell, scan)
    try:
        back = gradient(schedule.cell, level, memory, starts, scan)
    except CellcError as error:
        if {diagnostic.code for diagnostic in error.diagnostics} != {"no-derivative"}:
            raise
        return schedule
    return replace(with_saved(schedule, back.saved), gradient=back)


def with_compiled(schedule: Schedule) -> Schedule:
    """A plan with what runs where its loops can be compiled; along diagonals, they are not."""
    gradient = schedule.gradient
    if gradient is None or schedule.diagonals is not None or schedule.scans:
        return schedule
    back = replace(gradient, schedule=sunk(gradient.schedule, shifts=True))
    whole = with_saved(sunk(replace(schedule, scanned=None), gradient.saved), gradient.saved)
    return replace(schedule, compiled=replace(whole, gradient=back))


def for_device(schedule: Schedule) -> Schedule:
    """A plan with what runs where its loops are kernels of a device; along diagonals, they are not.

    Products that do not wait for a loop are computed for all steps at once, and loops that can be
    scans are, where these are wanted.
    """
    source = schedule if schedule.scanned is None else schedule.scanned
    gradient = source.gradient
    if gradient is None or schedule.diagonals is not None:
        return schedule
    back = replace(gradient, schedule=sunk(gradient.schedule, shifts=True, ahead=False))
    whole = with_saved(sunk(source, gradient.saved, ahead=False), gradient.saved)
    return replace(schedule, compiled=replace(whole, gradient=back, scanned=None))


def along_diagonals(cell: Cell, choice: str = "always") -> Diagonals | None:
    """The cell along anti-diagonals, if that is chosen (``always``, ``never``) and possible.

    Raises CellcError ``unknown-diagonals`` for another choice.
    """
    if choice not in CHOICES:
        known = ", ".join(f"`{name}`" for name in CHOICES)
        fail("unknown-diagonals", f"there is no choice `{choice}`", hints=(f"known: {known}",))
    if choice == "never" or obstacle(cell):
        return None
    turned = retimed(cell)
    stacked = packed(turned.cell, turned.registers)
    states = {
        state: () if parts[0] in turned.registers else parts
        for state, parts in ((s, stacked.states.get(s, (s,))) for s in stacked.cell.states)
    }
    return Diagonals(scheduled(stacked.cell), turned.last, turned.inputs, states)


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
