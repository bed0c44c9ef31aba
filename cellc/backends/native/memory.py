"""Where a compiled loop keeps its values, as addresses in C++."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from cellc.backends.native.arguments import Arguments, Packed
from cellc.backends.native.cpp import dimension
from cellc.backends.native.places import size_of
from cellc.backends.native.stages import Gemm, Lanes, Step
from cellc.ir import BATCH, NOWHERE, Dim
from cellc.ir.types import sequence_axis

#: The most vectors of outputs that one panel of a weight has.
WIDEST = 4


class Memory:
    """The arguments of a loop and the addresses of its values.

    ``always`` are values that the caller reads, ``saved`` those that the derivative reads,
    ``numbers`` those that are one number each, ``names`` what each is called.
    """

    def __init__(
        self, step: Step, always: Iterable[str], saved: Iterable[str],
        numbers: Iterable[str], constants: Iterable[str], names: dict[str, str],
    ) -> None:  # fmt: skip
        self.step, self.cell, self.loop, self.names = step, step.cell, step.loop, names
        self.always, self.saved = tuple(always), tuple(saved)
        self.numbers, self.constants = tuple(numbers), frozenset(constants)
        self.nexts = self.cell.values("next")

    @cached_property
    def arguments(self) -> Arguments:
        """What the loop is given, sorted by what it varies along."""
        outside = [n for n in self._outside() if n not in {*self.numbers, *self.constants}]
        extents = {name: self.cell.nodes[name].type.extent for name in outside}
        shifts = tuple((n, self.nexts[n]) for n in self.loop.values if self._is_shift(n))
        rows = [n for n in outside if sequence_axis(extents[n]) is not None]
        rows += [source for _, source in shifts if source not in rows]
        return Arguments(
            dims=tuple(self.cell.dims),
            numbers=self.numbers,
            rows=tuple(rows),
            held=tuple(n for n in outside if extents[n] == frozenset({BATCH})),
            fixed=tuple(n for n in outside if extents[n] == NOWHERE),
            ahead=self.loop.ahead,
            packed=tuple(self.packed.values()),
            outputs=(*self.always, *self.saved),
            always=len(self.always),
            states=self.loop.carries,
            local=tuple(self._local()),
            shifts=shifts,
        )

    def _is_shift(self, name: str) -> bool:
        return self.cell.nodes[name].op.name == "state" and name not in self.loop.carries

    def _outside(self) -> list[str]:
        """The values of other regions that the stages read one by one or row by row."""
        read = [n for stage in self.step.stages for n in self.step.read(stage)]
        for name in self.loop.ahead:
            gemm = self.step.gemm(name)
            read += [gemm.vector, *([gemm.added] if gemm.added else [])]
        inside = set(self.loop.values)
        nexts = [self.nexts[state] for state in self.loop.carries]
        return [n for n in dict.fromkeys([*read, *nexts]) if n not in inside]

    def _local(self) -> list[str]:
        """Computed values that a stage reads after another has computed them."""
        carried = {self.nexts[state] for state in self.loop.carries}
        found: dict[str, None] = {}
        for stage in self.step.stages:
            own = {s.value for s in stage.made} if isinstance(stage, Lanes) else set()
            found |= dict.fromkeys(
                n for n in self.step.read(stage) if self.step.is_computed(n) and n not in own
            )
        return [n for n in found if n not in carried and n not in self.always]

    @cached_property
    def packed(self) -> dict[tuple[str, int], Packed]:
        """The weights of products in panels, by the product and the number of the panels."""
        lanes = [stage for stage in self.step.stages if isinstance(stage, Lanes)]
        all_ = [(gemm, blocks_of(stage)) for stage in lanes for gemm in stage.products]
        all_ += [(self.step.gemm(name), WIDEST) for name in self.loop.ahead]
        found: dict[tuple[str, int], Packed] = {}
        for gemm, blocks in all_:
            for number, starts in enumerate(_chunks(gemm)):
                name = f"{self.names[gemm.weight]}_panels_{len(found)}"
                size = size_of(self.cell.nodes[gemm.value])
                found[gemm.value, number] = Packed(
                    gemm.weight, name, gemm.transposed, size, gemm.depth, gemm.length,
                    starts, blocks,
                )  # fmt: skip
        return found

    def panels(self, gemm: Gemm) -> list[Packed]:
        """The panels of a product."""
        return [self.packed[gemm.value, number] for number in range(len(_chunks(gemm)))]

    # addresses

    def source(self, name: str) -> str:
        """Where a row of a value begins, for reading."""
        arguments, own = self.arguments, self.names[name]
        if name in arguments.rows:
            return f"a.{own} + row*a.{own}_stride"
        if name in arguments.ahead:
            return f"a.{own} + (row - s.origin)*{self.size(name)}"
        if name in arguments.held:
            return f"a.{own} + r*{self.size(name)}"
        if name in arguments.fixed:
            return f"a.{own}"
        if name in arguments.states:
            return f"a.{own}[s.now] + r*{self.size(name)}"
        for state, source in arguments.shifts:
            if name == state:
                rows = self.names[source]
                earlier = f"a.{rows} + (s.before + r)*a.{rows}_stride"
                return f"(s.t ? {earlier} : a.{own} + r*{self.size(name)})"
        if name in self.always:
            return f"a.{own} + row*{self.size(name)}"
        states = [s for s in arguments.states if self.nexts[s] == name]
        if states:
            return f"a.{self.names[states[0]]}[s.next] + r*{self.size(name)}"
        return f"a.{own}_here[s.now] + r*{self.size(name)}"

    def stride(self, name: str) -> str:
        """How far the rows of a value are from each other."""
        if name in self.arguments.rows:
            return f"a.{self.names[name]}_stride"
        source = dict(self.arguments.shifts).get(name)
        if source is None:
            return self.size(name)
        return f"(s.t ? a.{self.names[source]}_stride : {self.size(name)})"

    def targets(self, name: str) -> list[tuple[str, str]]:
        """Where a row of a value is written to, and under which condition."""
        arguments, own, size = self.arguments, self.names[name], self.size(name)
        found = []
        if name in arguments.outputs:
            field = self.output(name)
            found = [(f"a.{field} + row*{size}", "" if name in self.always else f"a.{field}")]
        for state in arguments.states:
            if self.nexts[state] == name:
                found.append((f"a.{self.names[state]}[s.next] + r*{size}", ""))
        if name in arguments.local:
            found.append((f"a.{own}_here[s.now] + r*{size}", ""))
        return found

    def output(self, name: str) -> str:
        """What an output is called; a state, what it is before each step."""
        return f"{self.names[name]}{'_before' if name in self.loop.carries else ''}"

    def size(self, name: str) -> str:
        """How many numbers a row of a value has."""
        return dimension(size_of(self.cell.nodes[name]))


def blocks_of(stage: Lanes) -> int:
    """How many vectors of one result a panel of a stage's products has."""
    counts = [len(starts) for gemm in stage.products for starts in _chunks(gemm)]
    return 2 if set(counts) == {1} else 1


def _chunks(gemm: Gemm) -> list[tuple[Dim, ...]]:
    """The results of a product in parts that fit the registers."""
    parts = -(-len(gemm.starts) // WIDEST)
    each = -(-len(gemm.starts) // parts)
    return [gemm.starts[k : k + each] for k in range(0, len(gemm.starts), each)]
