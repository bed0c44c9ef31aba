"""The reference backend: a class in NumPy that is readable first."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from cellc.backends import docs, numpy_kernels, pyast
from cellc.backends.naming import class_name
from cellc.backends.numpy_call import call, drawn_lines, keywords_of, traced
from cellc.backends.numpy_emitter import SPELLER, NumpyEmitter
from cellc.backends.numpy_grad import derived_writer, grad, keeping_writer
from cellc.backends.pyast import (
    Blank,
    Block,
    Item,
    Line,
    bare_or_tuple,
    lines,
    quote,
    quote_statements,
)
from cellc.diagnostics import CellcError, fail
from cellc.ir import TIME, AtConstruction, Cell, Once, Schedule
from cellc.ops import TABLE


def emit(schedule: Schedule, source: Cell) -> str:
    """The text of a file with one class that runs the cell in NumPy.

    ``source`` is the cell as it was written, for the file's documentation. Raises CellcError
    ``no-diagonals``.
    """
    if schedule.diagonals is not None:
        hints = ("leave `diagonals` at `never`, or compile for torch",)
        fail("no-diagonals", "numpy runs loops one after the other", hints=hints)
    back = None
    if schedule.gradient is not None:
        keeping = keeping_writer(schedule)
        back = (keeping, derived_writer(keeping))
    return _text(schedule, source, NumpyEmitter(schedule, SPELLER), back)


def emit_with_kernels(schedule: Schedule, source: Cell) -> tuple[str, str]:
    """As ``emit``, with loops that are compiled; and the file in C++ with these.

    Where there is none, or one that cannot be, the text is as emitted, and that file empty.
    """
    compiled = schedule.compiled
    if compiled is not None and compiled.gradient is not None:
        with suppress(CellcError):
            made = numpy_kernels.writers(compiled)
            text = _text(schedule, source, made.call, (made.keeping, made.derived), made.items)
            if made.loops:
                return text, made.source
    return emit(schedule, source), ""


def _text(
    schedule: Schedule, source: Cell, writer: NumpyEmitter,
    back: tuple[NumpyEmitter, NumpyEmitter] | None,
    kernels: Callable[[], list[Item]] | None = None,
) -> str:  # fmt: skip
    """The file with the writers of its call and of its gradients, and what their loops call."""
    writers = [writer]
    methods = [_constructor(writer), _initial_state(writer), *_reset(writer), call(writer)]
    if schedule.written is not None:
        writers.append(NumpyEmitter(schedule.written, SPELLER))
        methods.append(traced(writers[-1]))
    if back is not None:
        writers += back
        methods.append(grad(*back))
    if _has_steps(writer):
        writers.append(_in_one_region(schedule))
        methods.append(_step(writers[-1], schedule))
    body: list[Item] = [pyast.docstring(_class_text(writer)), *writer.fixed_lines()]
    for method in methods:
        body += [Blank(), _quiet(method)]
    items: list[Item] = [pyast.docstring(docs.module_text(source)), Blank()]
    imports = [*lines("import zlib"), Blank(), *lines("import numpy as np"), Blank(2)]
    if kernels is not None:
        imports[-1:] = [Blank(), *lines("from cellc.kernels.numpy_loops import Kernels, Loop"),
                        Blank(2), *kernels(), Blank(2)]  # fmt: skip
    helpers = {name: text for each in writers for name, text in each.helpers.items()}
    for helper in helpers.values():
        imports += [*lines(helper), Blank(2)]
    name = class_name(source.name)
    imports.append(Block(quote_statements(f"class {name}:\n    pass")[0], tuple(body)))
    if "math" in pyast.names_in(imports):
        items += lines("import math")
    return pyast.write([*items, *imports])


def _quiet(method: Item) -> Item:
    """A method that does not warn of what ops overflow on their way."""
    loud = {name for name, op in TABLE.items() if op.overflows}
    if isinstance(method, Block) and loud & pyast.names_in([method]):
        assert isinstance(method.head, ast.FunctionDef)
        method.head.decorator_list.append(quote("np.errstate(over='ignore')"))
    return method


def _class_text(writer: NumpyEmitter) -> str:
    cell = writer.cell
    return "\n".join([
        cell.description or cell.name,
        "",
        "Arguments:",
        *docs.argument_lines(cell),
        "    seed: what initial values are drawn from, each by its parameter's name.",
        "    dtype: the floating-point type of parameters and results.",
        "",
        "Parameters, in the dictionary ``params``:",
        *docs.parameter_lines(cell),
        "",
    ])  # fmt: skip


def _constructor(writer: NumpyEmitter) -> Item:
    cell = writer.cell
    signature = ", ".join(["self", *docs.signature(cell), "seed=0", "dtype=np.float64"])
    names = [a.name for a in writer.arguments] + [writer.ids[o] for o in cell.options]
    body: list[Item] = [Line(quote_statements(f"self.{n} = {n}")[0]) for n in [*names, "dtype"]]
    body += lines("self.reset_state()") if writer.kept else []
    values = [*writer.initial_numbers(), *(_initial(writer, p) for p in writer.initial_order())]
    values = [*writer.division_lines(), *values]
    body += writer.dimension_lines(values)
    body += lines(
        """
        def draw(label):
            return np.random.default_rng([seed, zlib.crc32(label.encode())])
        p = self.params = {}
        """
    )
    head = quote_statements(f"def __init__({signature}):\n    pass")[0]
    return Block(head, (*body, *values))


def _initial(writer: NumpyEmitter, param: str) -> Line:
    """``p['W_f'] = …`` in the parameter's shape and type."""
    cell = writer.cell
    value = cell.values("initial")[param]
    expression = writer.initial_value(value)
    if cell.nodes[value].type.shape != cell.nodes[param].type.shape:
        shape = writer.attribute(cell.nodes[param].type.shape)
        expression = quote("np.full(shape, v)", shape=shape, v=expression)
    converted = quote("np.asarray(v, dtype)", v=expression)
    return Line(ast.Assign([writer.param(param)], converted, lineno=0), writer.comment(param))


def _initial_state(writer: NumpyEmitter) -> Item:
    """The method that gives the state a sequence starts with."""
    cell = writer.cell
    values = ", ".join(ast.unparse(_start(writer, state)) for state in cell.states)
    bare = f"({values})" if len(cell.states) != 1 else values
    text = "The state that sequences start with unless one is given."
    text += " None stands for a\nstart that a call computes.\n" if writer.computed else ""
    body = [pyast.docstring(text),
            *([Line(quote_statements("p = self.params")[0])] if "p[" in bare else []),
            *lines(f"return {bare}")]  # fmt: skip
    head = quote_statements("def initial_state(self, batch):\n    pass")[0]
    return Block(head, tuple(body))


def _start(writer: NumpyEmitter, state: str) -> ast.expr:
    if state in writer.computed:
        return ast.Constant(None)
    shape, start = writer.state_shape(state, "batch"), writer.start_value(state)
    if start is None:
        return quote("np.zeros(shape, self.dtype)", shape=shape)
    return quote("np.broadcast_to(v, shape)", v=start, shape=shape)


_RESET = '''
def reset_state(self, which=None):
    """Forget the state of the call before, of all sequences or of those where ``which`` is true."""
    if which is None:
        self._kept, self._fresh = {}, np.zeros(0, bool)
    elif self._kept:
        self._fresh = self._fresh | np.asarray(which, bool)
'''

_CARRIED_ON = '''
def _carried_on(self, name, start):
    """What the call before left of a state; its start for sequences that were reset."""
    if name not in self._kept:
        return start
    before = self._kept[name]
    if len(before) != len(start):
        raise ValueError(f'the state kept from the call before has {len(before)} sequences, '
                         f'not {len(start)}; call reset_state first')
    return np.where(self._fresh.reshape(-1, *(1,) * (start.ndim - 1)), start, before)
'''


def _reset(writer: NumpyEmitter) -> list[Item]:
    """The methods that a cell with kept states has."""
    if not writer.kept:
        return []
    parsed = [quote_statements(text)[0] for text in (_RESET, _CARRIED_ON)]
    return [Line(statement) for statement in parsed]


def _has_steps(writer: NumpyEmitter) -> bool:
    """Whether running a single step makes sense: all steps are of time, and none needs others."""
    cell = writer.cell
    counts = any(isinstance(dict(n.attrs).get("axis"), str) for n in cell.nodes.values())
    return writer.axes == (TIME,) and not counts and bool(cell.inputs or cell.states)


def _in_one_region(schedule: Schedule) -> NumpyEmitter:
    """A writer for which all values are in one region, as they are within a step."""
    needed = [n for r in schedule.regions if not isinstance(r, AtConstruction) for n in r.values]
    whole = replace(schedule, regions=(Once(tuple(needed)),), written=None)
    writer = NumpyEmitter(whole, SPELLER)
    writer.stepping = True
    return writer


def _step(writer: NumpyEmitter, schedule: Schedule) -> Item:
    """The method that runs one step."""
    cell, (region,) = writer.cell, writer.schedule.regions
    inputs = [writer.ids[name] for name in cell.inputs]
    states = [writer.ids[name] for name in cell.states]
    core = drawn_lines(writer, "True", steps=False)
    for part in schedule.regions:
        if isinstance(part, AtConstruction):
            continue
        writer.region = region
        for state in writer.computed:
            core += writer.start(state) if state in part.values else []
        core += writer.statements(region, part.values)

    def whole(name: str) -> str:
        """A value for every sequence of the batch."""
        value = writer.reference(name)
        return ast.unparse(value if cell.nodes[name].type.extent else writer.spread(name, value))

    outputs = [whole(n) for n in cell.values("output").values()]
    nexts = cell.values("next")
    ends = [whole(nexts[name]) for name in cell.states]
    core += lines(f"return {bare_or_tuple(outputs)}, {bare_or_tuple(ends)}")
    if "p" in pyast.names_in(core):
        core = [*lines("p = self.params"), *core]
    if "batch" in pyast.names_in(core):
        core = [*lines(f"batch = len({[*inputs, *states][0]})"), *core]
    if states:
        core = [*lines(f"{', '.join(states)} = state"), *core]
    text = ["Run one step.", "", "Arguments:", *docs.shape_lines(cell, cell.inputs, "B"),
            "    state: the state before the step.", "",
            "Returns the outputs (B, …) and the state after the step.", ""]  # fmt: skip
    body = [pyast.docstring("\n".join(text)), *writer.dimension_lines(core), *core]
    keywords = keywords_of(writer)
    parameters = [*inputs, "state", *(["*", *keywords] if keywords else [])]
    head = f"def step(self, {', '.join(parameters)}):\n    pass"
    return Block(quote_statements(head)[0], tuple(body))


@dataclass(frozen=True)
class NumpyBackend:
    """Emits a class that runs on NumPy arrays."""

    name: str = "numpy"
    learns_starts: bool = True
    kernels: tuple[str, ...] = ("native",)

    def emit(self, schedule: Schedule, source: Cell) -> str:
        return emit(schedule, source)

    def emit_with_kernels(self, schedule: Schedule, source: Cell) -> tuple[str, str]:
        """As ``emit``, with the text of the kernels in C++ that the file calls."""
        return emit_with_kernels(schedule, source)


BACKEND = NumpyBackend()
