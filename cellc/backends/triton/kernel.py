"""What all kernels of a loop have: their arguments, places of rows, and what they write."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from cellc.backends import pyast
from cellc.backends.native.places import ZERO
from cellc.backends.native.stages import Lanes, Stage, Whole
from cellc.backends.pyast import Item, Line, lines, quote, quote_statements
from cellc.backends.triton.step import ONE, Read
from cellc.backends.triton.values import LoopValues, Tiles, plus, text_of, times
from cellc.ir import Dim

#: What kernels are compiled for, besides sizes.
FLAGS = ("RAGGED", "KEEP", "TRAINING", "NUMBER", "REAL")
#: Rows, places and warps that programs of a kernel may have, as lists of ways to choose from.
Ways = Sequence[tuple[int, int, int]]


class NotInside(Exception):
    """The loop of a cell cannot run inside one kernel."""


class Kernel(Tiles):
    """A kernel of a loop.

    With ``is_shared`` several programs share the places of a row. What is loaded once for all
    steps is in ``starts``.

    Attributes:
        row, here: what the rows of a step are called, and what tells which of them there are.
        time, earlier: what the number of the step is called, and the rows of the step before.
        first: what the rows of starts are called. there: what tells which sequences there are.
        moved: how many numbers, and wide ones, a step reads and writes for each sequence.
    """

    kind: str
    ways: Ways = ()
    is_shared = False
    first = "sequence"
    row, here, time, earlier, there = "row", "here", "moment", "(before + sequence)", "there & "

    def __init__(self, loop: LoopValues, name: str, lengths: Sequence[Dim]) -> None:
        super().__init__(loop, lengths)
        self.name = name
        self.pointers: dict[str, str] = {}
        self.moved = {"numbers": ZERO, "wide numbers": ZERO}
        self.starts: list[Item] = []
        self.sizes: list[str] = []

    # where things are

    def flat(self, read: Read) -> str:
        """The places of what is read within a row."""
        return f"{self.lanes(read.length)}{plus(read.segment.start)}"

    def places(self, read: Read) -> str:
        """Behind a row: how many numbers it has, and the places of what is read."""
        return f"{times(self.values.size(read.segment.value))} + {self.flat(read)}"

    def pointer(self, own: str) -> str:
        """The variable with the address of a value of this call, by what that is called."""
        self.pointers[own] = f"{own}_ptr"
        return f"{own}_ptr"

    def move(self, kind: str, read: Read) -> None:
        """Count what a step reads or writes for each sequence, in numbers or in wide ones."""
        self.moved[kind] = self.moved[kind] + read.length

    def loaded(self, source: str, known: str) -> str:
        """What is at some places, zero where there is nothing."""
        return f"tl.load({source}, mask={known}, other=0.0)"

    def of_call(self, read: Read) -> str | None:
        """The expression that loads a value of the call, if it is one."""
        name, outside, inside = read.segment.value, self.values.outside, self.mask(read.length)
        if name in outside.shifts:
            return self._shifted(read)
        if name not in (*outside.rows, *outside.held, *outside.fixed):
            return None
        pointer = self.pointer(self.values.ids[name])
        if name in outside.rows:
            self.move("numbers", read)
            source = f"{pointer} + {self.row}*{self.places(read)}"
            return self.loaded(source, f"{self.here} & {inside}")
        if name in outside.held:
            return self.loaded(f"{pointer} + sequence*{self.places(read)}", f"{self.there}{inside}")
        return self.loaded(f"{pointer} + {self.flat(read)}", inside)

    def _shifted(self, read: Read) -> str:
        """A state that is another value one step before, at the first step what it starts as."""
        name, there = read.segment.value, f"{self.here} & {self.mask(read.length)}"
        ids, places = self.values.ids, self.places(read)
        self.move("numbers", read)
        source = self.pointer(ids[self.values.outside.shifts[name]])
        earlier = self.loaded(f"{source} + {self.earlier}*{places}", f"{there} & ({self.time} > 0)")
        begin = f"{self.pointer(ids[name])} + {self.first}*{places}"
        start = self.loaded(begin, f"{there} & ({self.time} == 0)")
        return f"({earlier} + {start})"

    def value(self, read: Read) -> ast.expr:
        """As ever; what does not vary from step to step is loaded before the first."""
        outside = self.values.outside
        if read in self.registers or read.segment.value not in (*outside.held, *outside.fixed):
            return super().value(read)
        items, self.items = self.items, self.starts
        found = super().value(read)
        self.items = items
        return found

    def store_output(self, read: Read, name: str, value: ast.expr) -> None:
        """The statement that writes a value for the caller, or for the derivative alone."""
        pointer = self.pointer(output(self.values, name))
        self.move("numbers", read)
        target = f"{pointer} + {self.row}*{self.places(read)}"
        mask = f"{self.here} & {self.mask(read.length)}"
        written = lines(f"tl.store({target}, v.to(NUMBER), mask={mask})", v=typed(value))
        self.keep(written, always=name in self.values.outside.always)

    # the function

    def lane_items(self) -> list[Item]:
        """The places of each length, and which of them there are."""
        found = lines("lane_one = tl.arange(0, 1)[None, :]\ninside_one = lane_one < 1")
        for length in self.lengths:
            lane, block = self.lanes(length), self.lanes(length, "BLOCK")
            part = f"tl.program_id(1)*{block} + " if self.is_shared else ""
            found += lines(f"{lane} = ({part}tl.arange(0, {block}))[None, :]")
            found += lines(f"{self.mask(length)} = {lane} < {text_of(length)}")
        return found

    def constants(self, body: Iterable[Item]) -> list[str]:
        """The arguments that a kernel with some statements is compiled for."""
        used = pyast.names_in(body)
        self.sizes = [name for name in sizes_of(self.values) if name in used]
        blocks = (self.lanes(length, "BLOCK") for length in self.lengths)
        names = [*self.sizes, *FLAGS, "PRECISION", "ROWS", *blocks]
        return [f"{name}: tl.constexpr" for name in names]

    def decorators(self) -> list[str]:
        """What finds the fastest way, and what kernels are not compiled anew for."""
        ways = ", ".join(map(str, self.ways))
        return [f"@tuned({self.sizes!r}, {ways})", JIT]

    def launched(self, grid: str, given: Iterable[str], flags: str, wide: str, size: str) -> Item:
        """The launch of a kernel; ``wide`` gives the places of a program that has all of a row."""
        sizes = "".join(f", {name}={name}" for name in self.sizes)
        blocks = "" if self.is_shared else "".join(
            f", {self.lanes(n, 'BLOCK')}={wide}({size or text_of(n)})" for n in self.lengths
        )  # fmt: skip
        text = f"{self.name}[{grid}]({', '.join(given)}{sizes}{blocks}, **{flags})"
        return Line(quote_statements(text)[0])


JIT = "@triton.jit(do_not_specialize=['step', 'steps', 'batch'])"


def jitted(name: str, arguments: Iterable[str]) -> ast.stmt:
    """The head of a kernel."""
    return quote_statements(f"def {name}({', '.join(arguments)}):\n    pass")[0]


def typed(value: ast.expr) -> ast.expr:
    """A value as one that has a type, which a number of the spec has not."""
    is_number = isinstance(value, (ast.Constant, ast.UnaryOp))
    return quote("tl.full((), v, REAL)", v=value) if is_number else value


def lengths_of(loop: LoopValues, stages: Iterable[Stage]) -> list[Dim]:
    """The lengths of the rows of places of some stages, the most used first."""
    found: dict[Dim, int] = {}
    for stage in stages:
        for read in (*loop.step.made(stage), *loop.step.reads(stage)):
            found[read.length] = found.get(read.length, 0) + 1
    found.pop(ONE, None)
    return sorted(found, key=lambda length: -found[length])


def can_share(loop: LoopValues, stages: Iterable[Stage]) -> bool:
    """Whether several programs can share the places of a row."""
    stages = list(stages)
    alone = all(isinstance(stage, Lanes) for stage in stages)
    return alone and len(lengths_of(loop, stages)) == 1


def has_sums(stages: Iterable[Stage]) -> bool:
    """Whether a stage computes sums over places."""
    return any(isinstance(stage, Whole) for stage in stages)


def sizes_of(loop: LoopValues) -> tuple[str, ...]:
    """The dimensions and options that kernels are compiled for."""
    return (*loop.cell.dims, *(loop.ids[option] for option in loop.cell.options))


def output(loop: LoopValues, name: str) -> str:
    """What an output is called; a state, what it is before each step."""
    return f"{loop.ids[name]}_{'before' if name in loop.loop.carries else 'all'}"


def without_unused(items: Iterable[Item], used: Iterable[str] = ()) -> list[Item]:
    """Statements without those that only give names to what nothing reads.

    Names that are ``used`` are read by others.
    """
    kept: list[Item] = []
    read = set(used)
    for item in reversed(list(items)):
        if isinstance(item, Line) and isinstance(item.statement, ast.Assign):
            nodes = [n for target in item.statement.targets for n in ast.walk(target)]
            if read.isdisjoint(n.id for n in nodes if isinstance(n, ast.Name)):
                continue
        kept.append(item)
        read |= pyast.names_in([item])
    return kept[::-1]
