"""The methods of an emitted ``nn.Module`` with the cell's mathematics, over rows."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from cellc.backends import pyast
from cellc.backends.axes import input_along, word
from cellc.backends.pyast import Block, Item, Remark, lines, quote_statements
from cellc.backends.scans import remark
from cellc.backends.torch_emitter import TorchEmitter
from cellc.backends.torch_method import Method
from cellc.backends.torch_scan import scan
from cellc.ir import BATCH, NOWHERE, AtConstruction, Loop, Once, Region, Scan, Schedule
from cellc.ir.types import Extent, sequence_axis


def run(writer: TorchEmitter, name: str = "_run") -> Method:
    """The method that computes outputs and final states."""
    text = "Run rows: all steps of all sequences, ``sizes`` rows for each step."
    text = text if writer.axes else "Compute the outputs, a row for each sequence."
    core, outputs, states = _with_states(writer)
    core += lines(f"return ({_tuple(outputs)}, {_tuple(states)})")
    return _method(writer, name, text, core)


def traced(writer: TorchEmitter) -> Method:
    """The method that keeps every value that has a name, as the cell is written."""
    shown = writer.traceable
    writer.watched = frozenset(shown.values())
    text = "As ``_run``, equation by equation as written; keeps all values that have names."
    core, outputs, states = _with_states(writer)
    core += lines("traced = {}")
    for name, value in shown.items():
        extent = extent_of(writer, value)
        taken = ast.unparse(whole_of(writer, value, extent))
        if not is_plain(writer):
            taken = f"({taken}, {form(writer, extent)})"
        core += lines(f"traced[{name!r}] = {taken}")
    core += lines(f"return ({_tuple(outputs)}, {_tuple(states)}, traced)")
    return _method(writer, "_traced", text, core)


def extent_of(writer: TorchEmitter, name: str) -> Extent:
    """The extent in which a value leaves the cell: what has none is spread."""
    extent = writer.cell.nodes[name].type.extent
    if extent != NOWHERE:
        return extent
    return frozenset({BATCH, *writer.axes[:1]})


def is_plain(writer: TorchEmitter) -> bool:
    """Whether all values that leave the cell are sequences along one axis."""
    leaving = {*writer.traceable.values(), *writer.cell.values("output").values()}
    found = {sequence_axis(extent_of(writer, name)) for name in leaving}
    return len(found) == 1 and None not in found


def form(writer: TorchEmitter, extent: Extent) -> str:
    """What says where the steps of a value are: ``sizes, packed``; without steps, None."""
    axis = sequence_axis(extent)
    if axis is None:
        return "None, None"
    return f"{word(axis, 'sizes')}, {ast.unparse(writer.packed(axis))}"


def _with_states(writer: TorchEmitter) -> tuple[list[Item], list[str], list[str]]:
    """As ``core_of``, in a method that is given the state."""
    core, outputs, states = core_of(writer)
    if states:
        core = [*lines(f"{', '.join(states)}{',' if len(states) == 1 else ''} = state"), *core]
    return core, outputs, states


def _tuple(values: list[str]) -> str:
    return f"({''.join(f'{value}, ' for value in values)})"


def core_of(writer: TorchEmitter) -> tuple[list[Item], list[str], list[str]]:
    """The statements of all regions, and the outputs and final states."""
    cell = writer.cell
    once: list[Item] = []
    later: list[Item] = []
    for place, region in enumerate(writer.schedule.regions):
        writer.region = region
        if is_first(writer.schedule, place):
            once += writer.statements(region)
        else:
            later += _region(writer, region)
    writer.region = None
    outputs = [
        ast.unparse(whole_of(writer, v, extent_of(writer, v)))
        for v in cell.values("output").values()
    ]
    once = [*writer.numbers.values(), *once, *writer.hoisted.values()]
    core: list[Item] = [Remark("once per call"), *once, *later] if once else later
    return core, outputs, [writer.ids[name] for name in cell.states]


def is_first(schedule: Schedule, place: int) -> bool:
    """Whether a region holds what is computed once per call before anything else."""
    return all(isinstance(region, Once) for region in schedule.regions[: place + 1])


def remark_of(region: Region) -> str:
    """How a region's values are computed, in words."""
    if isinstance(region, Scan):
        return remark(region)
    if isinstance(region, Loop):
        return "step by step, because each step needs the one " + (
            "after" if region.backward else "before"
        )
    if isinstance(region, Once):
        return "once per call"
    return "for all steps at once" if sequence_axis(region.extent) else "once per sequence"


def _region(writer: TorchEmitter, region: Region) -> list[Item]:
    if isinstance(region, Loop):
        return [Remark(remark_of(region)), *looped(writer, region)]
    if isinstance(region, AtConstruction):
        return []
    found = writer.statements(region)
    return [Remark(remark_of(region)), *found] if found else []


def looped(writer: TorchEmitter, region: Loop) -> list[Item]:
    """The statements of a loop, as a scan where it is one."""
    if isinstance(region, Scan) and not writer.scans_in_kernels:
        return scan(writer, region)
    return writer.loop(region)


def whole_of(writer: TorchEmitter, name: str, extent: Extent) -> ast.expr:
    """A value over an extent; one without batch and steps is spread over it."""
    value = writer.reference(name)
    if writer.cell.nodes[name].type.extent != NOWHERE:
        return value
    return writer.repeated(name, value, writer.count(extent))


def _method(writer: TorchEmitter, name: str, text: str, core: list[Item]) -> Method:
    body = [pyast.docstring(text), *writer.dimension_lines(core), *core]
    arguments = tuple(_arguments(writer, pyast.names_in(core)))
    head = f"def {name}(self, {', '.join(arguments)}, state):\n    pass"
    return Method(name, arguments, Block(quote_statements(head)[0], tuple(body)))


def _arguments(writer: TorchEmitter, used: set[str]) -> Iterable[str]:
    """What a method over rows takes, besides the state."""
    yield from (writer.ids[name] for name in writer.cell.inputs)
    yield from (writer.ids[name] for name in writer.draws)
    for axis in writer.axes:
        yield word(axis, "sizes")
        if word(axis, "packed") in used and input_along(writer.schedule, axis):
            yield word(axis, "packed")
    if "batch" in used:
        yield "batch"
