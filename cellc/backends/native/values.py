"""The expressions of a loop's values in C++."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cellc.backends.native import cpp
from cellc.backends.native.cpp import dimension
from cellc.backends.native.known import with_known_sizes
from cellc.backends.native.memory import Memory
from cellc.backends.native.places import ZERO
from cellc.backends.native.stages import Segment, Step
from cellc.backends.native.writer import Code
from cellc.backends.regions import RegionWriter
from cellc.backends.spelling import Speller
from cellc.ir import Dim, Loop, Node, Schedule
from cellc.ops import TABLE

OWN = {
    "softplus": "softplus(a)",
    "keep": "(where(u >= p, 1, 0)) if training else 1 - p",
    "training": "a if training else b",
    "stop": "a",
    "cut": "a",
    "spread": "a",
    "zeros": "0",
    "zeros_like": "0",
}
SPELLER = Speller("native", "xp", OWN, mode="training")
_WORDS = """
alignas auto bool break case char class const constexpr continue default delete do double else enum
extern false float for friend goto if inline int long mutable namespace new operator private
protected public real register return short signed sizeof static struct switch template this throw
true try typedef union unsigned using vec virtual void volatile whole mask while a s r j n row rows
lanes member team counts steps batch by_rows training height tile count top width turn at from to
given origin begin end share own code kind
"""


class ValueWriter(RegionWriter):
    """Writes the values of one loop, and knows where they are.

    ``always`` are values of it that are read outside, ``saved`` those that only the derivative
    reads. ``registers`` are the segments that variables hold, in the stage being written.
    """

    def __init__(
        self, schedule: Schedule, loop: Loop, name: str,
        always: Iterable[str], saved: Iterable[str],
    ) -> None:  # fmt: skip
        schedule = replace(schedule, cell=with_known_sizes(schedule.cell))
        taken = [*_WORDS.split(), *cpp.KEYWORDS, *cpp.functions()]
        super().__init__(schedule, SPELLER, taken=taken)
        self.loop, self.name, self.region = loop, name, loop
        always, saved = tuple(always), tuple(saved)
        self.step = Step(self.cell, loop, frozenset([*always, *saved]))
        names = {value: self.ids[value] for value in self.cell.nodes}
        names |= {option: self.ids.fresh(self.ids[option]) for option in self.cell.options}
        constants = [n for n in self.cell.nodes if self._constant(n) is not None]
        numbers = [n for n in self._numbers_read() if self._constant(n) is None]
        self.memory = Memory(self.step, always, saved, numbers, constants, names)
        self.registers: dict[Segment, str] = {}

    def _numbers_read(self) -> list[str]:
        read = dict.fromkeys(n for stage in self.step.stages for n in self.step.read(stage))
        return [name for name in read if self.number(name) is not None]

    def _constant(self, name: str) -> str | None:
        """The C++ of a number that the spec or the sizes tell."""
        node = self.cell.nodes[name]
        if node.op.name == "const":
            value = node.attr("value")
            assert isinstance(value, (int, float))
            return cpp.number(value)
        if node.op.name == "size":
            dim = node.attr("dim")
            assert isinstance(dim, Dim)
            return f"(real)({dimension(dim)})"
        return None

    def told(self, name: str) -> str:
        """What is known of a value, as a comment at the end of a line."""
        comment = cpp.remark(self.comment(name))
        return f"  // {comment}" if comment else ""

    def is_boolean(self, name: str) -> bool:
        """Whether a value is a comparison."""
        return self.cell.nodes[name].type.dtype == "boolean"

    def in_one_piece(self, name: str) -> tuple[str, Dim]:
        """The value that contains all of another in one piece, and the place where it begins."""
        found = self.step.places.whole(name)
        return (name, ZERO) if found is None else found

    def hold(self, code: Code, segment: Segment, value: str) -> None:
        """Give a variable the value of a segment."""
        own = self.memory.names[segment.value]
        taken, number = set(self.registers.values()), 0
        while (name := f"{own}_at_{number}" if number else own) in taken:
            number += 1
        kind = "mask" if self.is_boolean(segment.value) else "vec"
        code(f"const {kind} {name} = {value};{self.told(segment.value)}")
        self.registers[segment] = name

    def computed(self, segment: Segment) -> str:
        """The expression of a value at a vector of places."""
        node = self.cell.nodes[segment.value]
        names = TABLE[node.op.name].operand_names(len(node.args))
        found = {}
        for placeholder, operand in zip(names, node.args, strict=True):
            if operand in self.step.operands(segment.value):
                is_one = self.cell.nodes[operand].type.shape == () != node.type.shape
                read = self._scalar(operand) if is_one else self.numbers_at(operand, segment.start)
                found[placeholder] = read
        return self.expression(node, found)

    def expression(self, node: Node, names: Mapping[str, str]) -> str:
        """The expression of an op, with what the names in its spelling stand for."""
        return cpp.expression(self.template(node), {**names, "training": "a.training"})

    def numbers_at(self, name: str, start: Dim) -> str:
        """The numbers of a value at the places from ``start + j`` on."""
        value = self.known(name)
        if value is not None:
            return value
        segment = Segment(*self.step.places.root(name, start))
        if segment in self.registers:
            return self.registers[segment]
        text = f"load<FULL>({self.memory.source(segment.value)}{plus(segment.start)} + j, n)"
        return f"({text} != 0)" if self.is_boolean(segment.value) else text

    def _scalar(self, name: str) -> str:
        """A value that is one number, at all places."""
        value = self.known(name)
        if value is not None:
            return value
        segment = Segment(*self.step.places.root(name, ZERO))
        if segment in self.registers:
            text = f"{self.registers[segment]}[0]"
            return f"(all((real){text}) != 0)" if self.is_boolean(segment.value) else f"all({text})"
        text = f"all(*({self.memory.source(segment.value)}{plus(segment.start)}))"
        return f"({text} != 0)" if self.is_boolean(segment.value) else text

    def known(self, name: str) -> str | None:
        """A value that is a number of the spec or of the caller, at all places."""
        constant = self._constant(name)
        if constant is not None:
            return f"all({constant})"
        if name not in self.memory.numbers:
            return None
        number = f"all(a.{self.memory.names[name]})"
        return f"({number} != 0)" if self.is_boolean(name) else number


def plus(start: Dim) -> str:
    """A place added to an address."""
    return "" if start == ZERO else f" + {dimension(start)}"
