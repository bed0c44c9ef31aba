"""The invariants of a scheduled form: what a text may claim of the parts of a step."""

from __future__ import annotations

from collections.abc import Iterator

from cellc.diagnostics import CellcError, Diagnostic
from cellc.ir.kernels import Kernel, Product, Reduction, StepPart
from cellc.ir.schedule import Loop, Schedule
from cellc.ir.verify import verify

#: The kinds of ops that each sort of part is made of.
_KINDS = {
    Kernel: ("elementwise", "structural"),
    Product: ("contraction",),
    Reduction: ("reduction",),
}


def verify_schedule(schedule: Schedule) -> None:
    """Raise CellcError ``bad-ir`` with everything that is wrong with a schedule.

    The cell verifies. Every value is in one region, and every value of a loop but its states
    in one part, after all that it reads. A kernel has elementwise and structural values only;
    it reads from outside what it declares as inputs, all of it known there; its outputs are
    what others read; and it saves values of its own.
    """
    verify(schedule.cell)
    faults = list(_region_faults(schedule))
    known = {name for r in schedule.regions if not isinstance(r, Loop) for name in r.values}
    for loop in schedule.loops:
        known |= set(loop.carries)
        others = {name for other in schedule.loops if other != loop for name in other.values}
        faults += _loop_faults(schedule, loop, known | others)
    if faults:
        name = schedule.cell.name
        raise CellcError(*(Diagnostic("bad-ir", f"{name}: {fault}") for fault in faults))


def _region_faults(schedule: Schedule) -> Iterator[str]:
    seen: set[str] = set()
    for region in schedule.regions:
        for name in region.values:
            if name in seen:
                yield f"%{name} is computed twice"
            seen.add(name)
    yield from (f"%{name} is in no region" for name in schedule.cell.nodes if name not in seen)


def _loop_faults(schedule: Schedule, loop: Loop, known: set[str]) -> Iterator[str]:
    """What is wrong with the parts of one loop; ``known`` is what its step starts with."""
    cell = schedule.cell
    placed = [name for part in loop.parts for name in part.values]
    rest = [name for name in loop.values if name not in set(placed)]
    yield from (f"%{n} is in no part of its loop" for n in rest if n not in loop.carries)
    if tuple(rest + placed) != loop.values:
        yield f"the values of the loop along {loop.axis} are not those of its parts in order"
    known = set(known)
    for part in loop.parts:
        for name in part.values:
            missing = [a for a in cell.nodes[name].args if a not in known]
            yield from (f"%{name} reads %{a}, which is not known there" for a in missing)
            known.add(name)
            if cell.nodes[name].op.kind not in _KINDS[type(part)]:
                yield f"%{name}: {cell.nodes[name].op.name} belongs in no {_word(part)}"
        if isinstance(part, Kernel):
            yield from _kernel_faults(schedule, part, known)


def _kernel_faults(schedule: Schedule, kernel: Kernel, known: set[str]) -> Iterator[str]:
    cell, inside = schedule.cell, set(kernel.values)
    where = f"the kernel of %{kernel.values[0]}" if kernel.values else "a kernel"
    if not inside:
        yield "a kernel has no values"
    read = {a for name in kernel.values for a in cell.nodes[name].args} - inside
    given = {result.value for result in cell.results}
    written = {n for n in kernel.values if n in given or not inside.issuperset(cell.graph[n])}
    for name in dict.fromkeys(kernel.inputs):
        if name in inside or name not in known:
            yield f"{where} has the input %{name}, which is not known before it"
        elif name not in read:
            yield f"{where} has the input %{name}, which it does not read"
    yield from (f"{where} reads %{n}, no input of it" for n in sorted(read - {*kernel.inputs}))
    for name in dict.fromkeys(kernel.outputs):
        if name not in inside:
            yield f"{where} has the output %{name}, which it does not compute"
        elif name not in written:
            yield f"{where} has the output %{name}, which nothing else reads"
    hidden = sorted(written - {*kernel.outputs})
    yield from (f"{where} computes %{n}, which others read, and no output" for n in hidden)
    foreign = [name for name in kernel.saved if name not in inside]
    yield from (f"{where} saves %{name}, which it does not compute" for name in foreign)
    for what in ("inputs", "outputs", "saved"):
        names = getattr(kernel, what)
        if len(set(names)) < len(names):
            yield f"{where} names one of its {what} twice"


def _word(part: StepPart) -> str:
    return type(part).__name__.lower()
