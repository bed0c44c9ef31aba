"""Calls of loops in C++, and of what runs over whole sequences between them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from cellc.backends.axes import word
from cellc.backends.naming import Identifiers
from cellc.backends.native.cpp import dimension, number, remark
from cellc.backends.native.interface import Interface
from cellc.backends.native.known import with_known_sizes
from cellc.backends.native.loop import LoopWriter
from cellc.backends.native.meeting import meetings
from cellc.backends.native.places import size_of
from cellc.backends.native.writer import Code
from cellc.diagnostics import fail
from cellc.ir import BATCH, NOWHERE, Dim, Loop, Schedule
from cellc.ir.schedule import is_backward
from cellc.ir.types import sequence_axis, shape_text
from cellc.syntax.characters import ascii_name

#: Ops over whole sequences that give a row for each row, or a value for each sequence.
OVER_SEQUENCES = {
    "reverse": "reverse_rows", "first": "first_rows", "last": "last_rows",
    "mean_over": "mean_rows",
}  # fmt: skip


class ProgramLoop(LoopWriter):
    """A loop that a program calls, for which options alone are numbers."""

    def number(self, name: str) -> ast.expr | None:
        """What is computed of options is a value as any other."""
        is_leaf = self.cell.nodes[name].op.leaf
        return super().number(name) if is_leaf else None

    @property
    def at_once(self) -> bool:
        """Whether its steps do not depend on each other, so that all rows are as those of one."""
        return not self.loop.carries and not self.memory.arguments.held


class Values:
    """The values that calls read and write, and where they are.

    ``known`` are expressions of C++ for where values are, by name.
    """

    def __init__(self, schedule: Schedule, interface: Interface) -> None:
        self.schedule, self.interface = schedule, interface
        self.cell = with_known_sizes(schedule.cell)
        self.ids = Identifiers(self.cell, ())
        self.nexts = self.cell.values("next")
        self.known: dict[str, str] = {}
        self.loops: dict[int, ProgramLoop] = {}
        for place, region in enumerate(schedule.regions):
            if isinstance(region, Loop):
                loop = f"{ascii_name(self.cell.name)}_loop_{place}"
                read = self.read_outside(region)
                self.loops[place] = ProgramLoop(schedule, region, loop, read, ())

    def read_outside(self, loop: Loop) -> list[str]:
        """The values of a loop that others read as a whole."""
        inside, results = set(loop.values), set()
        for result in self.cell.results:
            is_shift = result.role == "next" and result.name not in loop.carries
            if result.role in ("output", "start") or is_shift:
                results.add(result.value)
        graph = self.cell.graph
        return [n for n in loop.values if n in results or not inside.issuperset(graph[n])]

    def id(self, name: str) -> str:
        """The variable that holds where a value is."""
        return f"v_{self.ids[name]}"

    def axis(self, name: str) -> str | None:
        """The axis along which a value is a sequence."""
        return sequence_axis(self.cell.nodes[name].type.extent)

    def size(self, name: str) -> str:
        """How many numbers a row of a value has."""
        return dimension(size_of(self.cell.nodes[name]), "d.")

    def told(self, name: str) -> str:
        """The shape of a value, and what is said of it, as a comment."""
        note = remark(self.cell.comments.get(name, ""))
        shape = shape_text(self.cell.nodes[name].type.shape)
        return f"  // {shape}" + (f"  {note}" if note else "")

    def number(self, name: str) -> str | None:
        """The expression of a number that is no array."""
        node = self.cell.nodes[name]
        if node.op.name == "const":
            value = node.attr("value")
            assert isinstance(value, (int, float))
            return number(value)
        if node.op.name == "size":
            dim = node.attr("dim")
            assert isinstance(dim, Dim)
            return f"(real)({dimension(dim, 'd.')})"
        if node.op.name == "option":
            return f"(real)m.config.{self.interface.options[name]}"
        return None


class CallWriter:
    """Writes the statements of one function that calls loops, into ``code``.

    Memory that the function allots is in ``store``; ``outputs`` are values that may be written
    where the caller wants them, with the argument that says where.
    """

    def __init__(self, values: Values, code: Code, store: str, outputs: dict[str, str]) -> None:
        self.values, self.code, self.store, self.outputs = values, code, store, outputs
        self.cell, self.known = values.cell, values.known
        self.failed = f"return {values.interface.code('NO_MEMORY')};"

    # memory

    def allot(self, name: str, store: str = "") -> None:
        """Room for a value of its extent."""
        own, taken = self.values.id(name), f"numbers({store or self.store}, {self.room(name)})"
        target = self.outputs.get(name)
        if target:
            axis = self.values.axis(name)
            free = f"{target} && !{word(axis, 'along')}.order" if axis else target
            taken = f"{free} ? {target} : {taken}"
        self.code(f"real *const {own} = {taken};{self.values.told(name)}",
                  f"if (!{own}) {self.failed}")  # fmt: skip
        self.known[name] = own

    def room(self, name: str) -> str:
        """How many numbers a value has in all."""
        extent, size = self.cell.nodes[name].type.extent, self.values.size(name)
        axis = sequence_axis(extent)
        if axis is not None:
            return f"{word(axis, 'along')}.rows*{size}"
        return f"batch*{size}" if extent else size

    def _variable(self, stem: str, count: str, kind: str = "real") -> str:
        taker = "numbers" if kind == "real" else "integers"
        self.code(f"{kind} *const {stem} = {taker}({self.store}, {count});",
                  f"if (!{stem}) {self.failed}")  # fmt: skip
        return stem

    # loops

    def loop(self, place: int, panels: Iterable[str]) -> None:
        """The call of a loop, with weights in panels that are there already."""
        made = self.values.loops[place]
        given, code = made.memory.arguments, self.code
        for name in given.outputs:
            self.allot(name)
        for state in given.states:
            self.start(state)
        axis = sequence_axis(made.loop.extent)
        turned = [self._held(name, axis, made) for name in given.held]
        steps, batch, counts = self._span(made, axis)
        work = f"m.work_{place}" if made.loop.extent else "0"
        strides = [f"{self.values.size(n)}" for n in given.rows]
        sizes = [*(f"d.{dim}" for dim in given.dims), *strides]
        states = [f"s_{self.values.ids[state]}" for state in given.states]
        arrays = [counts, *(self.known[n] for n in given.rows), *turned,
                  *(self.known[n] for n in given.fixed), *panels,
                  *(self.known[n] for n in given.outputs), *states, *states]  # fmt: skip
        options = [f"m.config.{self.values.interface.options[n]}" for n in given.numbers]
        threads = "threads" if made.loop.extent else "1"
        with code.block(""):
            code(f"const Way how = way({batch}, {steps}, {work}, {len(meetings(made.memory))}, "
                 f"{threads});")  # fmt: skip
            head = [steps, batch, "how.threads", "how.by_rows", "0"]
            code(f"const int64_t sizes[] = {{{', '.join([*head, *sizes])}}};",
                 f"const double options[] = {{{', '.join([*options, '0'])}}};",
                 f"const void *const arrays[] = {{{', '.join(arrays)}}};",
                 f"if ({made.name}(sizes, options, (void *const *)arrays)) {self.failed}",
                 )  # fmt: skip

    def _span(self, made: ProgramLoop, axis: str | None) -> tuple[str, str, str]:
        """The steps and the sequences of a loop, and how many sequences each step has."""
        if axis is None:
            return "1", "batch" if made.loop.extent else "1", "0"
        along = word(axis, "along")
        if made.at_once:
            return "1", f"{along}.rows", "0"
        return f"{along}.steps", "batch", f"{along}.counts"

    def _held(self, name: str, axis: str | None, made: ProgramLoop) -> str:
        """A value of each sequence in the order that rows have."""
        if axis is None:
            return self.known[name]
        along, turned = word(axis, "along"), f"{self.values.id(name)}_in_{made.name}"
        size, value = self.values.size(name), self.known[name]
        self.code(f"const real *{turned} = {value};")
        with self.code.block(f"if ({along}.order)"):
            rows = self._variable("turned", f"batch*{size}")
            self.code(f"to_row_order({along}, {size}, {value}, {rows});", f"{turned} = {rows};")
        return turned

    # states

    def start(self, state: str) -> None:
        """What a state starts with, in the order of the rows."""
        own, size = f"s_{self.values.ids[state]}", self.values.size(state)
        along, code = word(str(self.values.axis(state)), "along"), self.code
        code(f"real *const {own} = numbers({self.store}, batch*{size});{self.values.told(state)}",
             f"if (!{own}) {self.failed}")  # fmt: skip
        given = f"start->{self.values.interface.states[state]}"
        turned = f"to_row_order({along}, {size}, {{}}, {own});"
        code(f"if (start && {given})", f"    {turned.format(given)}", "else")
        value = self.cell.values("start").get(state)
        if value is None:
            code(f"    clear(batch*{size}, {own});")
        elif self.cell.nodes[value].type.extent == NOWHERE:
            code(f"    for_each(batch, {size}, {self.known[value]}, {own});")
        else:
            code(f"    {turned.format(self.known[value])}")

    def end(self, state: str) -> None:
        """Give a state back after the last step, in the caller's order."""
        wanted, size = f"end->{self.values.interface.states[state]}", self.values.size(state)
        along, own = word(str(self.values.axis(state)), "along"), f"s_{self.values.ids[state]}"
        self.code(f"if (end && {wanted})", f"    to_own_order({along}, {size}, {own}, {wanted});")

    # what is no loop

    def single(self, name: str) -> None:
        """A value that is a region of its own. Raises CellcError ``missing-spelling``."""
        writers: dict[str, Callable[[str], None]] = {
            "input": self._input, "state": self._shift, "take": self._take,
            "window": self._window, **dict.fromkeys(OVER_SEQUENCES, self._over_sequence),
        }  # fmt: skip
        op = self.cell.nodes[name].op.name
        if op in writers:
            writers[op](name)
        elif op not in ("param", "option", "const", "size"):
            fail("missing-spelling", f"compiled programs cannot compute `{op}`",
                 hints=("choose another target",))  # fmt: skip

    def _input(self, name: str) -> None:
        """An input as rows; one of whole numbers as these, and as numbers where that is read."""
        interface, own, axis = self.values.interface, self.values.id(name), self.values.axis(name)
        whole, argument, code = interface.is_integer(name), interface.inputs[name], self.code
        kind, here = ("int64_t", f"{own}_whole") if whole else ("real", own)
        code(f"const {kind} *{here} = {argument};{self.values.told(name)}")
        if axis is not None:
            along, size = word(axis, "along"), self.values.size(name)
            with code.block(f"if ({along}.order)"):
                rows = self._variable("rows", self.room(name), kind)
                call = f"pack_indices({along}, " if whole else f"pack_rows({along}, {size}, "
                code(f"{call}{argument}, {rows});", f"{here} = {rows};")
        self.known[name] = own
        if whole and any(self.cell.nodes[u].op.name != "take" for u in self.cell.graph[name]):
            self._variable(own, self.room(name))
            code(f"as_numbers({self.room(name)}, {here}, {own});")

    def rows(self, name: str, axis: str, stem: str) -> str:
        """Where the rows of a value along an axis are, repeated where it does not vary along it."""
        extent, value = self.cell.nodes[name].type.extent, self.known[name]
        if axis in extent:
            return value
        along, size = word(axis, "along"), self.values.size(name)
        self._variable(stem, f"{along}.rows*{size}")
        each = f"for_each({along}.rows, " if extent == NOWHERE else f"for_each_step({along}, "
        self.code(f"{each}{size}, {value}, {stem});")
        return stem

    def _over_sequence(self, name: str) -> None:
        node = self.cell.nodes[name]
        operand, axis = node.args[0], str(node.attr("axis"))
        if axis not in self.cell.nodes[operand].type.extent:
            self.known[name] = self.known[operand]
            return
        self.allot(name)
        self.code(f"{OVER_SEQUENCES[node.op.name]}({word(axis, 'along')}, "
                  f"{self.values.size(name)}, {self.known[operand]}, {self.known[name]});"
                  )  # fmt: skip

    def _window(self, name: str) -> None:
        node = self.cell.nodes[name]
        axis, width = str(node.attr("axis")), node.attr("width")
        assert isinstance(width, Dim)
        rows = self.rows(node.args[0], axis, f"{self.values.id(name)}_of")
        self.allot(name)
        self.code(f"window_rows({word(axis, 'along')}, {self.values.size(node.args[0])}, "
                  f"{dimension(width, 'd.')}, {rows}, {self.known[name]});")  # fmt: skip

    def _shift(self, state: str) -> None:
        """A state of no loop: what another value has been one step before."""
        axis, own = str(self.values.axis(state)), f"s_{self.values.ids[state]}"
        self.start(state)
        rows = self.rows(self.values.nexts[state], axis, f"{own}_of")
        self.allot(state)
        back = "_back" if is_backward(self.cell, state) else ""
        self.code(f"shift_rows{back}({word(axis, 'along')}, {self.values.size(state)}, {rows}, "
                  f"{own}, {self.known[state]});")  # fmt: skip

    def _take(self, name: str) -> None:
        table, index = self.cell.nodes[name].args
        if self.cell.nodes[index].op.name != "input":
            fail("missing-spelling", "compiled programs take rows by an input alone",
                 hints=("choose another target",))  # fmt: skip
        height = dimension(self.cell.nodes[table].type.shape[0], "d.")
        self.allot(name)
        self.code(f"if (!take_rows({self.room(index)}, {self.values.size(name)}, {height}, "
                  f"{self.known[table]}, {self.known[index]}_whole, {self.known[name]}))",
                  f"    return {self.values.interface.code('BAD_INDEX')};")  # fmt: skip

    def output(self, name: str, target: str, axis: str | None) -> None:
        """Write an output where the caller wants it, unless it is there."""
        size, own = self.values.size(name), self.known[name]
        with self.code.block(f"if ({target} && {target} != {own})"):
            if axis is not None:
                rows = self.rows(name, axis, "rows")
                self.code(f"unpack_rows({word(axis, 'along')}, {size}, {rows}, {target});")
            elif BATCH in self.cell.nodes[name].type.extent:
                self.code(f"copy({target}, {own}, batch*{size});")
            else:
                self.code(f"for_each(batch, {size}, {own}, {target});")
