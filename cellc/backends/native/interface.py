"""What a compiled cell is called in C: its functions, their arguments, the members of structs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cellc.backends.axes import axes_of, word
from cellc.backends.native.cpp import KEYWORDS
from cellc.ir import BATCH, NOWHERE, TIME, Cell, Extent, Schedule
from cellc.ir.types import sequence_axis
from cellc.syntax.characters import ascii_name

#: Arguments of every call, which nothing of the cell is called.
OWN = ("model", "batch", "start", "end", "threads", "config", "parameters")


@dataclass(frozen=True)
class Output:
    """What a call gives: its name in the cell and in C, the value, what it varies along."""

    name: str
    argument: str
    value: str
    extent: Extent

    @property
    def axis(self) -> str | None:
        """The axis along which it is a sequence."""
        return sequence_axis(self.extent)


class Interface:
    """The names that a program in C has for what a cell has.

    ``source`` is the cell as it was written, whose parameters, states and inputs there are.
    """

    def __init__(self, schedule: Schedule, source: Cell) -> None:
        self.schedule, self.source, self.cell = schedule, source, schedule.cell
        self.prefix = ascii_name(source.name)
        self.axes = axes_of(schedule)
        own = [*OWN, *(word(a, stem) for a in self.axes for stem in ("steps", "lengths"))]
        taken = set(own)
        self.inputs = _named(source.inputs, taken)
        self.outputs = tuple(self._outputs(taken))
        self.params, self.states = _named(source.params, set()), _named(source.states, set())
        members: set[str] = set()
        free = {dim: a.name for dim, a in source.dims.items() if not a.fixed}
        self.dims = dict(zip(free, _named(free.values(), members).values(), strict=True))
        self.options = _named(source.options, members)

    def _outputs(self, taken: set[str]) -> Iterable[Output]:
        given, values = self.source.values("output"), self.cell.values("output")
        arguments = _named([f"output_{n.rstrip(chr(39))}" for n in given], set(taken))
        for name, argument in zip(given, arguments.values(), strict=True):
            extent = self.source.nodes[given[name]].type.extent
            if extent == NOWHERE and self.axes:
                extent = frozenset({BATCH, self.axes[0]})
            single = next(iter(_named(["output"], taken).values()))
            called = single if len(given) == 1 else argument
            yield Output(name, called, values[name], extent or frozenset({BATCH}))

    @cached_property
    def macro(self) -> str:
        """What constants begin with."""
        return self.prefix.upper()

    def name(self, what: str) -> str:
        """A function or a type: ``lstm_forward``."""
        return f"{self.prefix}_{what}"

    def code(self, what: str) -> str:
        """A result of a function: ``LSTM_BAD_SIZE``."""
        return f"{self.macro}_{what}"

    def lead(self, axis: str | None) -> str:
        """The dimensions in front of what varies along an axis."""
        number = "T" if axis == TIME else f"T_{ascii_name(axis or '')}"
        return "B" if axis is None else f"{number}, B"

    def is_integer(self, name: str) -> bool:
        """Whether an input is a whole number."""
        return self.source.nodes[name].type.dtype == "integer"

    def forward(self) -> list[str]:
        """The arguments of a call, in order."""
        real = self.name("real")
        found = [f"const {self.name('model')} *model"]
        found += [f"int64_t {word(axis, 'steps')}" for axis in self.axes]
        found.append("int64_t batch")
        found += [f"const int64_t *{word(axis, 'lengths')}" for axis in self.axes]
        for name, argument in self.inputs.items():
            kind = "int64_t" if self.is_integer(name) else real
            found.append(f"const {kind} *{argument}")
        if self.states:
            found.append(f"const {self.name('state')} *start")
        found += [f"{real} *{output.argument}" for output in self.outputs]
        found += [f"const {self.name('state')} *end"] if self.states else []
        return [*found, "int threads"]


def _named(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """Identifiers of C for names, all different and none of those taken, which they join."""
    found = {}
    for name in names:
        identifier = ascii_name(name)
        while identifier in taken | KEYWORDS:
            identifier += "_"
        taken.add(identifier)
        found[name] = identifier
    return found
