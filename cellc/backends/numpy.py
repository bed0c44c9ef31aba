"""The reference backend: a class in NumPy that is readable first."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from cellc.backends import docs, pyast
from cellc.backends.base import Emitter
from cellc.backends.naming import class_name
from cellc.backends.pyast import (
    Blank,
    Block,
    Item,
    Line,
    Remark,
    bare_or_tuple,
    lines,
    quote,
    quote_statements,
)
from cellc.backends.spelling import Speller
from cellc.ir import AtConstruction, AtOnce, Cell, Loop, Once, Schedule
from cellc.ops import TABLE
from cellc.syntax.characters import ascii_name

SPELLER = Speller("numpy", "np")

_RESERVED = (
    "np", "math", "zlib", "self", "p", "state", "lengths", "steps", "batch", "t", "alive",
    "ends", "batched", "draw", "seed", "dtype",
)  # fmt: skip


class NumpyEmitter(Emitter):
    """Parameters live in the dictionary ``p``; sequences are arrays (T, B, …)."""

    reserved = (*_RESERVED, *TABLE)
    stepping = False

    def param(self, name: str) -> ast.expr:
        return ast.Subscript(pyast.name("p"), ast.Constant(ascii_name(name)), ast.Load())

    def spread(self, name: str, value: ast.expr) -> ast.expr:
        lead = "(batch,)" if self.stepping or isinstance(self.region, Loop) else "(steps, batch)"
        return quote("np.broadcast_to(v, (*lead, *np.shape(v)))", v=value, lead=quote(lead))

    def shift(self, name: str) -> list[Item]:
        chain, state = f"{self.ids[name]}_chain", self.ids[name]
        following = self.cell.values("next")[name]
        value = self.reference(following)
        if self.cell.nodes[following].type.extent < self.cell.nodes[name].type.extent:
            value = self.spread(following, value)
        joined = quote("np.concatenate((s[None], v))", s=state, v=value)
        return [
            Line(pyast.assign(chain, joined), self.comment(name)),
            *lines("before = chain[:-1]", before=self.whole(name), chain=chain),
            *lines("s = chain[ends, np.arange(batch)]", s=state, chain=chain),
        ]

    def loop(self, region: Loop) -> list[Item]:
        """The loop over steps, with room for the values that are read after it."""
        kept = self.needed_later(region)
        body = self.statements(region)
        nexts = self.cell.values("next")
        body += [
            Line(quote_statements("all[t] = v", all=self.whole(n), v=self.ids[n])[0]) for n in kept
        ]
        carried = ", ".join(self.ids[state] for state in region.carries)
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        frozen = [
            self._frozen(state, value)
            for state, value in zip(region.carries, following, strict=True)
        ]
        body += lines(
            f"""
            if lengths is None:
                {carried} = {", ".join(following)}
            else:
                {carried} = {", ".join(frozen)}
            """
        )
        reads = [
            Line(quote_statements("step = whole[t]", step=step, whole=self.whole(n))[0])
            for n, step in self.steps_used.items()
        ]
        self.steps_used = {}
        head = quote_statements("for t in range(steps):\n    pass")[0]
        rooms = [
            Line(quote_statements("a = np.empty((steps, *np.shape(s)), self.dtype)",
                                  a=self.whole(n), s=self._like(region, n))[0])
            for n in kept
        ]  # fmt: skip
        return [*rooms, Block(head, (*reads, *body))]

    def _like(self, region: Loop, name: str) -> ast.expr:
        """An expression with the shape of one step of a value."""
        shape = self.cell.nodes[name].type.shape
        for state in region.carries:
            if self.cell.nodes[state].type.shape == shape:
                return pyast.name(self.ids[state])
        dims = ", ".join(ast.unparse(self.size(dim)) for dim in shape)
        return quote(f"np.empty((batch, {dims}))")

    def _frozen(self, state: str, value: str) -> str:
        """A next value, or the state of a sequence that has ended."""
        rank = len(self.cell.nodes[state].type.shape)
        index = ", ".join(["t", ":", *["None"] * rank])
        return f"np.where(alive[{index}], {value}, {self.ids[state]})"


def emit(schedule: Schedule, source: Cell) -> str:
    """The text of a file with one class that runs the cell in NumPy.

    ``source`` is the cell as it was written, for the file's documentation.
    """
    writer = NumpyEmitter(schedule, SPELLER)
    constructor, call = _constructor(writer), _call(writer)
    step, helpers = _step(schedule)
    body: list[Item] = [pyast.docstring(_class_text(writer))]
    for method in (constructor, _initial_state(writer), call, step):
        body += [Blank(), method]
    items: list[Item] = [pyast.docstring(docs.module_text(source)), Blank()]
    imports = [*lines("import zlib"), Blank(), *lines("import numpy as np"), Blank(2)]
    for helper in (writer.helpers | helpers).values():
        imports += [*lines(helper), Blank(2)]
    name = class_name(source.name)
    imports.append(Block(quote_statements(f"class {name}:\n    pass")[0], tuple(body)))
    if "math" in pyast.names_in(imports):
        items += lines("import math")
    return pyast.write([*items, *imports])


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
    names = [a.name for a in cell.dims.values()] + [writer.ids[o] for o in cell.options]
    body: list[Item] = [Line(quote_statements(f"self.{n} = {n}")[0]) for n in [*names, "dtype"]]
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
    body = [pyast.docstring("The state that sequences start with unless one is given."),
            *([Line(quote_statements("p = self.params")[0])] if "p[" in bare else []),
            *lines(f"return {bare}")]  # fmt: skip
    head = quote_statements("def initial_state(self, batch):\n    pass")[0]
    return Block(head, tuple(body))


def _start(writer: NumpyEmitter, state: str) -> ast.expr:
    shape, start = writer.state_shape(state, "batch"), writer.start_value(state)
    if start is None:
        return quote("np.zeros(shape, self.dtype)", shape=shape)
    return quote("np.broadcast_to(v, shape)", v=start, shape=shape)


def _call(writer: NumpyEmitter) -> Item:
    cell = writer.cell
    inputs = [writer.ids[name] for name in cell.inputs]
    core: list[Item] = []
    for region in writer.schedule.regions:
        writer.region = region
        if isinstance(region, Loop):
            core += [Remark("step by step, because each step needs the one before")]
            core += writer.loop(region)
        elif isinstance(region, (Once, AtOnce)):
            found = writer.statements(region)
            words = "once per call" if isinstance(region, Once) else "for all steps at once"
            core += [Remark(words), *found] if found else []
    writer.region = None
    core += _outputs(writer)
    if "p" in pyast.names_in(core):
        core = [*lines("p = self.params"), *core]
    body = [
        pyast.docstring(_call_text(writer)),
        *_prologue(writer, inputs),
        *writer.dimension_lines(core),
        *core,
    ]
    head = f"def __call__(self, {', '.join(inputs)}, state=None, lengths=None):\n    pass"
    return Block(quote_statements(head)[0], tuple(body))


def _call_text(writer: NumpyEmitter) -> str:
    cell = writer.cell
    return "\n".join([
        "Run sequences through the cell.",
        "",
        "Arguments:",
        *docs.shape_lines(cell, cell.inputs, "T, B"),
        "    state: as returned, or None to start afresh.",
        "    lengths (B,): where each sequence ends; there its state stays as it is and",
        "        its outputs are zero. None for T.",
        "",
        "Returns the outputs (T, B, …) and the state after the last step. Without the",
        "dimension B everywhere, one sequence is run. The state holds",
        *docs.shape_lines(cell, cell.states, "B"),
        "",
    ])  # fmt: skip


def _prologue(writer: NumpyEmitter, inputs: list[str]) -> list[Item]:
    cell = writer.cell
    rank = len(cell.nodes[cell.inputs[0]].type.shape)
    states = [writer.ids[name] for name in cell.states]
    each = "state" if len(states) != 1 else "(state,)"
    alone = "state = tuple(np.asarray(value)[None] for value in state)"
    cast = "state = [np.asarray(value, self.dtype) for value in state]"
    if len(states) == 1:
        alone = "state = np.asarray(state)[None]"
        cast = "state = np.asarray(state, self.dtype)"
    items = [
        line
        for x, name in zip(inputs, cell.inputs, strict=True)
        for line in lines(f"{x} = np.asarray({x}, self.dtype)")
    ]
    items += lines(f"batched = {inputs[0]}.ndim == {rank + 2}")
    undone = "; ".join(f"{x} = {x}[:, None]" for x in inputs)
    items += lines(f"if not batched:\n    {undone}")
    items += lines(f"steps, batch = {inputs[0]}.shape[:2]")
    if states:
        items += lines(
            f"""
            if state is None:
                state = self.initial_state(batch)
            elif not batched:
                {alone}
            {cast}
            {", ".join(states)}{"," if len(states) == 1 else ""} = {each}
            """
        )
    return items + lines(
        """
        ends = np.full(batch, steps) if lengths is None else np.asarray(lengths)
        alive = np.arange(steps)[:, None] < ends
        """
    )


def _outputs(writer: NumpyEmitter) -> list[Item]:
    """Outputs, zero where a sequence has ended, and the state."""
    cell = writer.cell
    names: list[str] = []
    items: list[Item] = []
    for value in cell.values("output").values():
        rank = len(cell.nodes[value].type.shape)
        index = ", ".join([":", ":", *["None"] * rank])
        names.append(writer.ids.fresh("output"))
        whole = writer.reference(value)
        if not cell.nodes[value].type.extent:
            whole = writer.spread(value, whole)
        masked = quote(f"np.where(alive[{index}], v, 0).astype(self.dtype, copy=False)", v=whole)
        items.append(Line(pyast.assign(names[-1], masked)))
    states = [writer.ids[name] for name in cell.states]
    alone = (
        f"{bare_or_tuple(f'{n}[:, 0]' for n in names)}, {bare_or_tuple(f'{s}[0]' for s in states)}"
    )
    items += lines(f"if not batched:\n    return {alone}")
    return items + lines(f"return {bare_or_tuple(names)}, {bare_or_tuple(states)}")


def _step(schedule: Schedule) -> tuple[Item, dict[str, str]]:
    """The method that runs one step, with everything in one region, and its helpers."""
    needed = [n for r in schedule.regions if not isinstance(r, AtConstruction) for n in r.values]
    region = Once(tuple(needed))
    writer = NumpyEmitter(Schedule(schedule.cell, (region,)), SPELLER)
    writer.stepping = True
    cell = writer.cell
    core = writer.statements(region)
    inputs = [writer.ids[name] for name in cell.inputs]
    states = [writer.ids[name] for name in cell.states]

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
        core = [*lines(f"batch = len({inputs[0]})"), *core]
    if states:
        core = [*lines(f"{', '.join(states)} = state"), *core]
    text = ["Run one step.", "", "Arguments:", *docs.shape_lines(cell, cell.inputs, "B"),
            "    state: the state before the step.", "",
            "Returns the outputs (B, …) and the state after the step.", ""]  # fmt: skip
    body = [pyast.docstring("\n".join(text)), *writer.dimension_lines(core), *core]
    head = f"def step(self, {', '.join([*inputs, 'state'])}):\n    pass"
    return Block(quote_statements(head)[0], tuple(body)), writer.helpers


@dataclass(frozen=True)
class NumpyBackend:
    """Emits a class that runs on NumPy arrays."""

    name: str = "numpy"

    def emit(self, schedule: Schedule, source: Cell) -> str:
        return emit(schedule, source)


BACKEND = NumpyBackend()
