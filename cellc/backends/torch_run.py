"""The methods of an emitted ``nn.Module`` with the cell's mathematics, over rows."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from cellc.backends import pyast
from cellc.backends.axes import input_along, word
from cellc.backends.pyast import Block, Item, Remark, lines, quote_statements
from cellc.backends.torch_emitter import TorchEmitter
from cellc.ir import BATCH, NOWHERE, AtOnce, Loop, Once, Region
from cellc.ir.types import Extent, sequence_axis


@dataclass(frozen=True)
class Method:
    """A method over rows and the arguments that it takes, by the names ``forward`` has."""

    name: str
    arguments: tuple[str, ...]
    block: Item

    @property
    def call(self) -> str:
        """The call of the method, without the state."""
        return f"self.{self.name}({', '.join(self.arguments)}, state)"


def run(writer: TorchEmitter) -> Method:
    """The method that computes outputs and final states."""
    text = "Run rows: all steps of all sequences, ``sizes`` rows for each step."
    text = text if writer.axes else "Compute the outputs, a row for each sequence."
    core, outputs, states = _core(writer)
    core += lines(f"return ({_tuple(outputs)}, {_tuple(states)})")
    return _method(writer, "_run", text, core)


def traced(writer: TorchEmitter) -> Method:
    """The method that keeps every value that has a name, as the cell is written."""
    shown = writer.traceable
    writer.watched = frozenset(shown.values())
    text = "As ``_run``, equation by equation as written; keeps all values that have names."
    core, outputs, states = _core(writer)
    core += lines("traced = {}")
    for name, value in shown.items():
        extent = extent_of(writer, value)
        taken = ast.unparse(_whole(writer, value))
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


def _tuple(values: list[str]) -> str:
    return f"({''.join(f'{value}, ' for value in values)})"


def _core(writer: TorchEmitter) -> tuple[list[Item], list[str], list[str]]:
    """The statements of all regions, and the outputs and final states."""
    cell = writer.cell
    states = [writer.ids[name] for name in cell.states]
    once: list[Item] = []
    later: list[Item] = []
    for region in writer.schedule.regions:
        writer.region = region
        if isinstance(region, Once):
            once += writer.statements(region)
        else:
            later += _region(writer, region)
    writer.region = None
    outputs = [ast.unparse(_whole(writer, v)) for v in cell.values("output").values()]
    once = [*writer.numbers.values(), *once, *writer.hoisted.values()]
    core: list[Item] = [Remark("once per call"), *once, *later] if once else later
    if states:
        core = [*lines(f"{', '.join(states)}{',' if len(states) == 1 else ''} = state"), *core]
    return core, outputs, states


def _region(writer: TorchEmitter, region: Region) -> list[Item]:
    if isinstance(region, Loop):
        return [Remark("step by step, because each step needs the one before"),
                *writer.loop(region)]  # fmt: skip
    if isinstance(region, AtOnce):
        found = writer.statements(region)
        remark = "for all steps at once" if sequence_axis(region.extent) else "once per sequence"
        return [Remark(remark), *found] if found else []
    return []


def _whole(writer: TorchEmitter, name: str) -> ast.expr:
    """A value over its whole extent; one without batch and steps spread over them."""
    value = writer.reference(name)
    if writer.cell.nodes[name].type.extent != NOWHERE:
        return value
    return writer.repeated(name, value, writer.count(extent_of(writer, name)))


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
