"""The values of a loop in the registers of a kernel: tiles of rows by places."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cellc.backends import pyast
from cellc.backends.native.known import with_known_sizes
from cellc.backends.native.places import ZERO, size_of
from cellc.backends.native.stages import Lanes, Segment, Stage, Whole
from cellc.backends.pyast import Block, Item, Line, fill, quote, quote_statements
from cellc.backends.regions import RegionWriter
from cellc.backends.spelling import call_arguments, dimension
from cellc.backends.triton.places import Between, Outside
from cellc.backends.triton.spelling import SPELLER, TAKEN
from cellc.backends.triton.step import ONE, DeviceStep, Read
from cellc.diagnostics import fail
from cellc.ir import Dim, Loop, Schedule
from cellc.ops import TABLE
from cellc.syntax.characters import ascii_name

#: What kernels append to what a value is called, for where it is.
ENDINGS = (
    "ptr", "start", "end", "local", "vector", "product", "constant", "later", "tile", "ahead",
)  # fmt: skip


class LoopValues(RegionWriter):
    """A loop's values: what they are called, where they are, and how they are computed.

    ``always`` are values of it that are read outside, ``saved`` those that only the derivative
    reads, ``name`` is what its kernels begin with. Values ``known`` have names already.
    """

    def __init__(
        self, schedule: Schedule, loop: Loop, name: str,
        always: Iterable[str], saved: Iterable[str], known: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        schedule = replace(schedule, cell=with_known_sizes(schedule.cell))
        if dims := TAKEN.intersection(schedule.cell.dims):
            fail("missing-spelling", f"in kernels no dimension can be called `{min(dims)}`")
        named = [ascii_name(n) for n in schedule.cell.nodes if not n.isdigit()]
        derived = [f"{name}_{ending}" for name in named for ending in ENDINGS]
        taken = {*TAKEN, *derived, *schedule.cell.dims}
        super().__init__(schedule, SPELLER, _free(known or {}, taken), taken)
        self.loop, self.name, self.region = loop, name, loop
        always, saved = tuple(always), tuple(saved)
        self.step = DeviceStep(self.cell, loop, frozenset([*always, *saved]))
        numbers = [n for n in self.cell.nodes if self.number(n) is not None]
        self.outside = Outside(self.step, always, saved, numbers)
        self.between = Between(self.step)

    def option(self, name: str) -> ast.expr:
        return pyast.name(self.ids[name])

    def is_boolean(self, name: str) -> bool:
        """Whether a value is a comparison."""
        return self.cell.nodes[name].type.dtype == "boolean"

    def size(self, name: str) -> str:
        """How many numbers a row of a value has, as an expression."""
        return text_of(size_of(self.cell.nodes[name]))


def _free(known: Mapping[str, str], taken: Container[str]) -> dict[str, str]:
    """Names that values have already, those that nothing else has."""
    counts = Counter(known.values())
    return {n: own for n, own in known.items() if counts[own] == 1 and own not in taken}


class Tiles:
    """What a kernel has in registers, and the statements that bring it there.

    ``lengths`` are those of its rows of places, which have names of their own. A subclass
    tells how what is not in registers is loaded.
    """

    def __init__(self, values: LoopValues, lengths: Sequence[Dim]) -> None:
        self.values, self.step, self.cell = values, values.step, values.cell
        self.lengths = list(lengths)
        self.registers: dict[Read, str] = {}
        self.items: list[Item] = []
        self._kept: list[Item] = []

    def is_product(self, name: str) -> bool:
        """Whether a value is read where a product puts it."""
        return False

    def load(self, read: Read) -> str:
        """The expression that loads what is in no register."""
        raise NotImplementedError

    # names

    def lanes(self, length: Dim, stem: str = "lane") -> str:
        """What the places of a length are called, or by another stem what belongs to them."""
        if length == ONE:
            return f"{stem}_one" if stem.islower() else f"{stem}_ONE"
        if length not in self.lengths:
            self.lengths.append(length)
        number = self.lengths.index(length)
        return f"{stem}_{number}" if number else stem

    def mask(self, length: Dim) -> str:
        """What tells which places of a length there are."""
        return self.lanes(length, "inside")

    def hold(self, read: Read, value: ast.expr, comment: str = "") -> str:
        """Give a variable what is read or computed."""
        own = self.values.ids[read.segment.value]
        taken, number = set(self.registers.values()), 0
        while (name := f"{own}_{number}" if number else own) in taken:
            number += 1
        self.items.append(Line(pyast.assign(name, value), comment))
        self.registers[read] = name
        return name

    # values

    def value(self, read: Read) -> ast.expr:
        """What is read, as it is in registers, loaded where it is not."""
        if read in self.registers:
            return pyast.name(self.registers[read])
        name = read.segment.value
        loaded = quote(f"{self.load(read)}.to(REAL)")
        if self.is_product(name):
            loaded = self.product(read, loaded)
        if self.values.is_boolean(name):
            loaded = quote("v != 0", v=loaded)
        return pyast.name(self.hold(read, loaded, self.values.comment(name)))

    def product(self, read: Read, given: ast.expr) -> ast.expr:
        """What a product becomes with the value that is added to it, if there is one."""
        added = self.values.between.given[read.segment.value].added
        if added is None:
            return given
        return quote("v + c", v=given, c=self._operand(added, read.segment.start, read.length))

    def compute(self, stage: Stage) -> None:
        """The statements for the values of a stage, products apart."""
        if isinstance(stage, Whole):
            self._reduce(stage.value)
            return
        for segment in stage.computed:
            value = self._computed(segment, stage)
            self.hold(Read(segment, stage.length), value, self.values.comment(segment.value))

    def _computed(self, segment: Segment, stage: Lanes) -> ast.expr:
        node = self.cell.nodes[segment.value]
        found: dict[str, ast.expr] = {}
        names = TABLE[node.op.name].operand_names(len(node.args))
        for placeholder, operand in zip(names, node.args, strict=True):
            if operand not in self.step.operands(segment.value):
                continue
            one = self.cell.nodes[operand].type.shape == () != node.type.shape
            place, length = (ZERO, ONE) if one else (segment.start, stage.length)
            found[placeholder] = self._operand(operand, place, length)
        return self._spelled(segment.value, found)

    def _operand(self, name: str, place: Dim, length: Dim) -> ast.expr:
        number = self.values.number(name)
        return number if number is not None else self.value(
            Read(self.step.root(name, place), length))  # fmt: skip

    def _reduce(self, name: str) -> None:
        node = self.cell.nodes[name]
        names = TABLE[node.op.name].operand_names(len(node.args))
        length = size_of(self.cell.nodes[node.args[0]])
        found: dict[str, ast.expr] = {}
        for placeholder, operand in zip(names, node.args, strict=True):
            number, own = self.values.number(operand), size_of(self.cell.nodes[operand])
            found[placeholder] = (
                self.value(Read(self.step.piece(operand), own)) if number is None else number
            )
        found |= {"inside": pyast.name(self.mask(length)), "count": dimension(length)}
        read = Read(Segment(name, ZERO), size_of(node))
        self.hold(read, self._spelled(name, found), self.values.comment(name))

    def _spelled(self, name: str, found: dict[str, ast.expr]) -> ast.expr:
        """The expression of an op, with numbers of the type of all others within calls."""
        node = self.cell.nodes[name]
        template = self.values.template(node)
        names = TABLE[node.op.name].operand_names(len(node.args))
        for placeholder, operand in zip(names, node.args, strict=True):
            if self.values.number(operand) is not None and placeholder in call_arguments(template):
                found[placeholder] = quote("tl.full((), v, REAL)", v=found[placeholder])
        return fill(template, **found)

    def stored(
        self, stage: Stage, wanted: Container[str] | None = None
    ) -> Iterator[tuple[Read, str, ast.expr]]:
        """What a stage has for others, or of that what is wanted; and each value as a number."""
        reads = list(self.step.made(stage)) if isinstance(stage, Whole) else [
            Read(segment, stage.length) for segment in stage.stores
        ]  # fmt: skip
        for read in reads:
            name = read.segment.value
            if wanted is not None and name not in wanted:
                continue
            number = self.values.number(name)
            root = Read(self.step.root(name, read.segment.start), read.length)
            value = number if number is not None else self.value(root)
            if self.values.is_boolean(name):
                value = quote("tl.where(v, 1.0, 0.0)", v=value)
            yield read, name, value

    def keep(self, items: Iterable[Item], always: bool) -> None:
        """Add statements, at the end and for the derivative alone unless they are for all."""
        if always:
            self.items += items
        else:
            self._kept += items

    def kept(self) -> list[Item]:
        """The statements that only the derivative needs."""
        head = quote_statements("if KEEP:\n    pass")[0]
        return [Block(head, tuple(self._kept))] if self._kept else []


def text_of(dim: Dim) -> str:
    """A dimension as an expression."""
    return ast.unparse(dimension(dim))


def times(dim: str) -> str:
    """A dimension as a factor."""
    return dim if dim.isidentifier() or dim.isdigit() else f"({dim})"


def plus(start: Dim) -> str:
    """A place added to an address."""
    return "" if start == ZERO else f" + {text_of(start)}"
