"""A function with a derivative whose loops are compiled, and the method that chooses it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from cellc.backends import pyast
from cellc.backends.axes import word
from cellc.backends.native.loop import LoopWriter
from cellc.backends.native.meeting import meetings
from cellc.backends.native.stages import PLAIN, TRANSPOSED
from cellc.backends.native.unit import unit
from cellc.backends.pyast import Blank, Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.backends.spelling import dimension
from cellc.backends.torch_calls import LoopCalls
from cellc.backends.torch_derived import DerivedEmitter
from cellc.backends.torch_function import GradientFunction
from cellc.backends.torch_method import NONE, Method
from cellc.ir import NOWHERE, Loop, Schedule
from cellc.ir.types import sequence_axis


class CompiledLoops(LoopCalls):
    """Writes the regions of a function whose loops are calls of compiled ones."""

    made: list[LoopWriter]

    def loop(self, region: Loop) -> list[Item]:
        """The call of a compiled loop, which gives what is read of it and leaves the states."""
        always, saved = self.read_of(region)
        name = f"{self.direction}_{len(self.made)}"
        made = LoopWriter(self.schedule, region, name, always, saved)
        self.made.append(made)
        given = made.memory.arguments
        start = self.starts_of(region)
        self.region = None
        held = [self.in_row_order(self.reference(n), region.axis) for n in given.held]
        tensors = [
            *map(self._text, given.rows), *map(ast.unparse, held), *map(self._text, given.fixed),
            *(self.ids[state] for state, _ in given.shifts), *map(self._text, given.weights),
            *(self.ids[state] for state in region.carries),
        ]  # fmt: skip
        numbers = map(self._text, given.numbers)
        shapes = [_tuple(map(_size, self.cell.nodes[n].type.shape)) for n in given.outputs]
        targets = [*(self.whole(n) for n in given.outputs), *(self.ids[s] for s in given.states)]
        self.region = region
        arguments = [
            word(region.axis, "sizes"), _tuple(self.cell.dims), _tuple(numbers), _tuple(tensors),
            _tuple(shapes), "prepared", "keep" if saved else "False",
            *(["training"] if self.by_mode else []),
        ]  # fmt: skip
        return [*start, *lines(f"{', '.join(targets)}, = {name}({', '.join(arguments)})")]

    def spelled(self, name: str) -> ast.expr:
        """As ever, but for products over whole sequences, which the kernels have as well."""
        node = self.cell.nodes[name]
        shapes = [self.cell.nodes[argument].type.shape for argument in node.args]
        if node.op.name == "outer_sum" and all(len(shape) == 1 for shape in shapes):
            a, b = (self.operand(argument, node) for argument in node.args)
            return quote("KERNELS.outer_sum(a, b)", a=a, b=b)
        if node.op.name in PLAIN and self._is_of_rows(name):
            weight, rows, *added = (self.operand(argument, node) for argument in node.args)
            text = (
                f"KERNELS.times(v, w, prepared, {self.ids[name]!r}, {node.op.name in TRANSPOSED})"
            )
            value = quote(text, v=rows, w=weight)
            return quote("v + c", v=value, c=added[0]) if added else value
        return super().spelled(name)

    def _is_of_rows(self, name: str) -> bool:
        """Whether a product is one of a weight and a value over whole sequences."""
        weight, vector = (self.cell.nodes[a].type for a in self.cell.nodes[name].args[:2])
        plain = weight.extent == NOWHERE and len(weight.shape) == 2 and len(vector.shape) == 1
        return plain and sequence_axis(vector.extent) is not None and vector.dtype == "real"

    def _text(self, name: str) -> str:
        return ast.unparse(self.reference(name))

    def definitions(self) -> list[Item]:
        """The compiled loops as names of the emitted file."""
        found: list[Item] = []
        for made in self.made:
            given = made.memory.arguments
            found += lines(
                f"{made.name} = Loop(KERNELS, {made.name!r}, rows={len(given.rows)}, "
                f"others={len(given.others)}, panels={given.panels}, states={len(given.states)}, "
                f"always={given.always}, meetings={len(meetings(made.memory))})"
            )
        return found


class DerivedLoops(CompiledLoops, DerivedEmitter):
    """Writes the regions of a derivative whose loops are calls of compiled ones."""

    direction = "backward"

    def loop(self, region: Loop) -> list[Item]:
        return CompiledLoops.loop(self, region)


@dataclass(frozen=True)
class Preparation:
    """Statements that need nothing but the parameters, dimensions and options called ``names``.

    All of these are compared before what was prepared is used again: weights in panels are
    made of parameters as well.
    """

    items: tuple[Item, ...]
    names: tuple[str, ...]


class KernelFunction(GradientFunction):
    """The function of a cell whose loops are compiled, and the method that chooses it.

    ``plain`` is the method for loops in Python, ``other`` the function with such.
    """

    forward_emitter, derived_emitter = CompiledLoops, DerivedLoops
    runs, keeps = "run", "keep_for_backward"

    def __init__(self, schedule: Schedule, name: str, plain: Method, other: str) -> None:
        self.plain, self.other = plain, other
        self._prepared: tuple[str, ...] = ()
        super().__init__(schedule, name, "_run")

    @property
    def replay(self) -> str:
        return f"unprepared({self.other}.forward)"

    @property
    def prepared(self) -> tuple[str, ...]:
        return self._prepared

    def _arranged(self, core: list[Item]) -> list[Item]:
        """Without what is computed of parameters alone, which is done once for their values."""
        arguments, writer = self.arguments, self.writer
        own = [n for n in arguments.names[arguments.first_param :] if n]
        own += [*writer.cell.dims, *(writer.ids[option] for option in writer.cell.options)]
        made: list[Item] = []
        rest: list[Item] = []
        known = {*own, "torch", "F", "math", *_defined(writer.helpers.values())}
        once = next((k for k, item in enumerate(core[1:], 1) if isinstance(item, Remark)), 0)
        for place, item in enumerate(core):
            if 0 < place < once and isinstance(item, Line) and _read(item) <= known:
                made.append(item)
                known |= _assigned(item)
            else:
                rest.append(item)
        given = {*pyast.names_in(rest), *(self.writer.ids[n] for n in self.back.saved)}
        targets = dict.fromkeys(n for item in made for n in sorted(_assigned(item)))
        self._prepared = tuple(name for name in targets if name in given)
        self.prepares = Preparation(tuple(made), tuple(own))
        arguments.rest.append("prepared")
        arguments.rest_passed.append("prepared")
        emptied = isinstance(core[0], Remark) and len(made) == once - 1
        rest = rest[1:] if emptied else rest
        return [*self._taken(self._prepared), *rest]

    def _taken(self, names: Iterable[str]) -> list[Item]:
        wanted = set(names)
        places = [(k, name) for k, name in enumerate(self._prepared) if name in wanted]
        if len(places) == len(self._prepared) and places:
            return lines(f"{', '.join(self._prepared)}, = prepared.values")
        return [line for k, name in places for line in lines(f"{name} = prepared.values[{k}]")]

    def _unprepared(self, used: set[str]) -> list[Item]:
        return self._taken(name for name in self._prepared if name in used)

    def _method(self, name: str) -> Method:
        """The method that runs rows in compiled loops where these can be used, else in Python."""
        arguments, plain, outputs = self.arguments, self.plain, len(self.outputs)
        cell, count = self.writer.cell, len(arguments.tensors)
        states = [self.writer.ids[state] for state in cell.states]
        looped = self._that_loops_need().replace("given", "tensors")
        numbers = arguments.rest_passed[: len(cell.dims) + len(cell.options)]
        body = [
            pyast.docstring("Run rows, in compiled kernels where these can be used."),
            *(lines(f"{', '.join(states)}, = state") if states else []),
            *lines(
                f"""
                tensors = {_tuple(arguments.passed)}
                if not (self.derived and KERNELS.run(self.kernels, tensors)):
                    return {plain.call}
                params, numbers = tensors[{arguments.first_param}:{count}], {_tuple(numbers)}
                prepared = KERNELS.prepared(self, {self.name}.prepare, params, numbers)
                given = (*tensors, *numbers, {", ".join(arguments.rest_passed[len(numbers) :])})
                if derives({looped}):
                    results = {self.name}.apply(*given, True)
                else:
                    results = {self.name}.{self.runs}(*given, False)
                return (results[:{outputs}], results[{outputs}:{outputs + len(states)}])
                """
            ),
        ]
        own = tuple(dict.fromkeys([*arguments.own, *plain.arguments]))
        head = quote_statements(f"def {name}(self, {', '.join([*own, 'state'])}):\n    pass")[0]
        return Method(name, own, Block(head, tuple(body)))

    def _forward(self, core: list[Item]) -> Item:
        """The function itself, and before it the one that prepares what parameters alone tell."""
        body = [
            pyast.docstring("Compute what the parameters alone tell, once for their values."),
            *self.prepares.items,
            *lines(f"return {_tuple(self._prepared)}"),
        ]
        head = f"@staticmethod\ndef prepare({', '.join(self.prepares.names)}):\n    pass"
        self.preparing = Block(quote_statements(head)[0], tuple(body))
        return super()._forward(core)

    @property
    def writers(self) -> tuple[CompiledLoops, ...]:
        assert isinstance(self.writer, CompiledLoops)
        assert isinstance(self.derived, CompiledLoops)
        return (self.writer, self.derived)

    @cached_property
    def source(self) -> str:
        """The file in C++ with the loops of both directions."""
        return unit(made for writer in self.writers for made in writer.made)

    def items(self) -> tuple[Item, ...]:
        """The statements of the emitted file: the loops, and the function that calls them."""
        defined = [item for writer in self.writers for item in writer.definitions()]
        first, *rest = self.block.body
        block = replace(
            self.block, body=(first, Blank(), self.preparing, Blank(), self.applied(), *rest)
        )
        return (*lines("KERNELS = Kernels(SOURCE)"), *defined, Blank(2), block)


def compiled(schedule: Schedule, name: str, plain: Method, other: str) -> KernelFunction:
    """The function with compiled loops, for a cell that can be run in Python as well.

    Raises CellcError ``missing-spelling`` where the cell has something that they cannot do.
    """
    made = KernelFunction(schedule, name, plain, other)
    assert made.source
    return made


def loops_of(schedule: Schedule) -> list[LoopWriter]:
    """The compiled loops of a schedule and of its derivative. Raises as ``compiled`` does."""
    writers = compiled(schedule, "Kernels", NONE, "Function").writers
    return [loop for writer in writers for loop in writer.made]


def _assigned(item: Item) -> set[str]:
    """The names that a statement gives values."""
    assert isinstance(item, Line)
    nodes = ast.walk(item.statement)
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _read(item: Line) -> set[str]:
    return pyast.names_in([item]) - _assigned(item)


def _defined(helpers: Iterable[str]) -> set[str]:
    """The functions that helpers define."""
    trees = [statement for text in helpers for statement in ast.parse(text).body]
    return {tree.name for tree in trees if isinstance(tree, ast.FunctionDef)}


def _size(dim: object) -> str:
    return ast.unparse(dimension(dim))  # type: ignore[arg-type]


def _tuple(parts: Iterable[str]) -> str:
    return f"({''.join(f'{part}, ' for part in parts)})"
