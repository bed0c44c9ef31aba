"""A NumPy class whose loops are calls of compiled ones, forward and in the derivative."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cellc.backends.axes import word
from cellc.backends.native.loop import LoopWriter
from cellc.backends.native.meeting import meetings
from cellc.backends.native.unit import unit
from cellc.backends.numpy_emitter import SPELLER, NumpyEmitter
from cellc.backends.numpy_grad import derived_writer, keeping_writer
from cellc.backends.pyast import Item, lines
from cellc.backends.spelling import Speller, dimension
from cellc.ir import Loop, Schedule


class CompiledLoops(NumpyEmitter):
    """Writes regions whose loops are calls of compiled ones.

    ``made`` are the writers of those, in the order of the calls. With ``keeps`` they give what
    the derivative reads as well.
    """

    reserved = (*NumpyEmitter.reserved, "KERNELS", "SOURCE", "Kernels", "Loop")
    direction, keeps = "forward", False

    def __init__(
        self, schedule: Schedule, speller: Speller = SPELLER,
        known: Mapping[str, str] | None = None, taken: Iterable[str] = (),
    ) -> None:  # fmt: skip
        names = (f"{way}_{n}" for way in ("forward", "backward") for n in range(_count(schedule)))
        super().__init__(schedule, speller, known, [*taken, *names])
        back = schedule.gradient
        self.saved = frozenset() if back is None else frozenset(back.saved)
        self.made: list[LoopWriter] = []

    def loop(self, region: Loop) -> list[Item]:
        """The call of a compiled loop, which gives what is read of it and leaves the states."""
        always = self.needed_later(region)
        saved = [n for n in region.values if n in self.saved and n not in always]
        name = f"{self.direction}_{len(self.made)}"
        made = LoopWriter(self.schedule, region, name, always, saved)
        self.made.append(made)
        given = made.memory.arguments
        self.region = None
        states = [self.ids[state] for state in given.states]
        arrays = [
            *map(self._text, (*given.rows, *given.held, *given.fixed)),
            *(self.ids[state] for state, _ in given.shifts), *map(self._text, given.weights),
            *states,
        ]  # fmt: skip
        numbers = map(self._text, given.numbers)
        passed = [word(region.axis, "ends"), word(region.axis, "steps"), _tuple(self.cell.dims),
                  _tuple(numbers), _tuple(arrays), "self.dtype"]  # fmt: skip
        self.region = region
        kept = given.outputs if self.keeps else given.outputs[: given.always]
        passed += ["keep=True"] if self.keeps and saved else []
        passed += ["training=training"] if self.by_mode else []
        targets = [*map(self.whole, kept), *states]
        return lines(f"{', '.join(targets)}, = {name}({', '.join(passed)})")

    def _text(self, name: str) -> str:
        return ast.unparse(self.reference(name))

    def definitions(self) -> list[Item]:
        """The compiled loops as names of the emitted file."""
        found: list[Item] = []
        for made in self.made:
            given = made.memory.arguments
            shifts = [state for state, _ in given.shifts]
            before = (*given.rows, *given.held, *given.fixed)
            taken = self._shapes([*before, *shifts, *given.weights, *given.states])
            shapes = f"lambda {', '.join(self.cell.dims)}: ({taken}, {self._shapes(given.outputs)})"
            found += lines(
                f"{made.name} = Loop(KERNELS, {made.name!r}, rows={len(given.rows)}, "
                f"held={len(given.held)}, fixed={len(given.fixed)}, shifts={len(shifts)}, "
                f"panels={given.panels}, states={len(given.states)}, always={given.always}, "
                f"meetings={len(meetings(made.memory))}, backward={self.zero_behind}, "
                f"shapes={shapes})"
            )
        return found

    @property
    def zero_behind(self) -> bool:
        """Whether values are zero behind the end of a sequence, as those of a derivative are."""
        return self.direction == "backward"

    def _shapes(self, names: Iterable[str]) -> str:
        nodes = (self.cell.nodes[name] for name in names)
        return _tuple(
            _tuple(ast.unparse(dimension(dim)) for dim in node.type.shape) for node in nodes
        )


class KeepingLoops(CompiledLoops):
    """As ``CompiledLoops``, before a derivative."""

    keeps = True


class DerivedLoops(CompiledLoops):
    """Writes the regions of a derivative whose loops are calls of compiled ones."""

    direction = "backward"


@dataclass(frozen=True)
class Compiled:
    """The writers of a class whose loops are compiled: of the call, and of the gradients."""

    call: CompiledLoops
    keeping: NumpyEmitter
    derived: CompiledLoops

    def items(self) -> list[Item]:
        """The statements of the emitted file that define the loops, once all are written."""
        defined = [item for w in (self.call, self.derived) for item in w.definitions()]
        return [*lines("KERNELS = Kernels(SOURCE)"), *defined]

    @property
    def loops(self) -> list[LoopWriter]:
        """Those of both directions."""
        return [*self.call.made, *self.derived.made]

    @property
    def source(self) -> str:
        """The file in C++ with the loops of both directions."""
        return unit(self.loops)


def writers(schedule: Schedule) -> Compiled:
    """The writers for a schedule of compiled loops that has a gradient."""
    keeping = keeping_writer(schedule, KeepingLoops)
    keeping.watched = frozenset()
    derived = derived_writer(keeping, DerivedLoops)
    assert isinstance(derived, CompiledLoops)
    return Compiled(CompiledLoops(schedule), keeping, derived)


def _count(schedule: Schedule) -> int:
    """More loops than a schedule or its derivative has."""
    back = schedule.gradient
    return len(schedule.loops) + (0 if back is None else len(back.schedule.loops))


def _tuple(parts: Iterable[str]) -> str:
    return f"({''.join(f'{part}, ' for part in parts)})"
