"""Where the values of a loop are while its steps run on a device.

What varies from call to call is in tensors of that call: values of all steps, of each sequence, and
outputs. What passes from step to step stays in place: states, on two sides that steps use in turn;
vectors, which are what products read; and what products give. Sums are kept in wide numbers,
and vectors in those of the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from cellc.backends.native.places import ZERO, size_of
from cellc.backends.native.stages import TRANSPOSED, Gemm, Segment, Stage
from cellc.backends.triton.step import BLOCKED, DeviceStep, Read
from cellc.diagnostics import fail
from cellc.ir import BATCH, NOWHERE, Dim
from cellc.ir.types import sequence_axis
from cellc.ops.blocks import copies_of


@dataclass(frozen=True)
class Blocks:
    """How a product of blocks lies in memory: block by block, each with ``copies`` results.

    A block is ``outputs`` by ``inputs``.
    """

    count: Dim
    copies: int
    outputs: Dim
    inputs: Dim


class Outside:
    """What a loop reads and writes that is not its own, by the name of the value.

    ``always`` are values that the caller reads, ``saved`` those that the derivative reads.
    """

    def __init__(
        self, step: DeviceStep, always: Iterable[str], saved: Iterable[str],
        known: Iterable[str],
    ) -> None:  # fmt: skip
        self.step, self.cell, self.loop = step, step.cell, step.loop
        self.always, self.saved, self.known = tuple(always), tuple(saved), frozenset(known)
        self.nexts = self.cell.values("next")

    @cached_property
    def shifts(self) -> dict[str, str]:
        """States that are the steps of another value, one step later."""
        found = [n for n in self.loop.values if self.cell.nodes[n].op.name == "state"]
        return {n: self.nexts[n] for n in found if n not in self.loop.carries}

    @cached_property
    def _read(self) -> list[str]:
        """The values of other regions that kernels read."""
        reads = [r.segment.value for stage in self.step.stages for r in self.step.reads(stage)]
        reads += [self.nexts[state] for state in self.loop.carries]
        inside = {*self.loop.values, *self.known}
        return [n for n in dict.fromkeys(reads) if n not in inside]

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """Values with a row for each step of each sequence."""
        found = [n for n in self._read if sequence_axis(self._extent(n)) is not None]
        return tuple(dict.fromkeys([*found, *self.shifts.values()]))

    @cached_property
    def held(self) -> tuple[str, ...]:
        """Values with a row for each sequence."""
        return tuple(n for n in self._read if self._extent(n) == frozenset({BATCH}))

    @cached_property
    def fixed(self) -> tuple[str, ...]:
        """Values that are the same for all."""
        return tuple(n for n in self._read if self._extent(n) == NOWHERE)

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """What products multiply by, each once."""
        gemms = (g for launch in self.step.launches for g in launch.products)
        return tuple(dict.fromkeys(gemm.weight for gemm in gemms))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that are written at all steps."""
        return (*self.always, *self.saved)

    def _extent(self, name: str) -> frozenset[str]:
        return self.cell.nodes[name].type.extent


class Between:
    """What stays in place between launches: what products read and give, and other values."""

    def __init__(self, step: DeviceStep) -> None:
        self.step, self.cell, self.loop = step, step.cell, step.loop
        self.nexts = self.cell.values("next")

    @property
    def products(self) -> Iterator[Gemm]:
        """The products of a step, in order."""
        for launch in self.step.launches:
            yield from launch.products

    def blocks(self, gemm: Gemm) -> Blocks | None:
        """The blocks of a product's weight, if it has such."""
        node = self.cell.nodes[gemm.value]
        if node.op.name not in BLOCKED:
            return None
        copies = copies_of(dict(node.attrs))
        count, outputs, inputs = self.cell.nodes[gemm.weight].type.shape
        return Blocks(count / copies, copies, outputs, inputs)

    def is_transposed(self, gemm: Gemm) -> bool:
        """Whether a product is one with the transpose of its weight."""
        return self.cell.nodes[gemm.value].op.name in (*TRANSPOSED, BLOCKED[1])

    def width(self, vector: str, blocks: Blocks) -> Dim:
        """How many neighbouring numbers of a vector belong to one block."""
        found = (g for g in self.products if self.step.in_one_piece(g.vector) == vector)
        return blocks.outputs if self.is_transposed(next(found)) else blocks.inputs

    @cached_property
    def vectors(self) -> dict[str, Blocks | None]:
        """What products read, with the blocks that it is cut into.

        Raises CellcError ``missing-spelling`` where products would cut it differently.
        """
        found: dict[str, Blocks | None] = {}
        for gemm in self.products:
            name, blocks = self.step.in_one_piece(gemm.vector), self.blocks(gemm)
            inside = name in self.loop.carries or self.step.is_computed(name)
            if not inside or found.setdefault(name, blocks) != blocks:
                self._cannot(gemm)
            if blocks and self.step.piece(gemm.vector).start != ZERO:
                self._cannot(gemm)
        return found

    def _cannot(self, gemm: Gemm) -> None:
        fail("missing-spelling", f"kernels cannot lay out what `{gemm.value}` multiplies")

    @cached_property
    def given(self) -> dict[str, Gemm]:
        """The products by the value that they are, or become with a sum."""
        return {gemm.value: gemm for gemm in self.products}

    @cached_property
    def followed(self) -> dict[str, Gemm]:
        """States that are, after a step, what a product gives: they are read from its place.

        So it is for the cotangents of most states. A product overwrites what it gave in the step
        before, and gives something for rows that are not in the step: all reads come before it,
        and rows only join, as they do on the way back. What is added to the product is computed
        before it, and is what stays in place of the state.
        """
        found: dict[str, Gemm] = {}
        for state in self.loop.carries if self.loop.backward else ():
            gemm = self.given.get(self.nexts[state])
            if gemm is None or state in self.vectors:
                continue
            place = next(k for k, each in enumerate(self.step.launches) if gemm in each.products)
            alone = gemm.added is None or self._makes(gemm.added) in range(place)
            if alone and all(reader < place for reader in self._readers(state)):
                found[state] = gemm
        return found

    def _makes(self, name: str) -> int | None:
        """The number of the launch that computes all of a value in one piece, if there is one."""
        read = Read(Segment(name, ZERO), size_of(self.cell.nodes[name]))
        for number, launch in enumerate(self.step.launches):
            if any(read in self.step.made(stage) for stage in launch.stages):
                return number
        return None

    @cached_property
    def _only_added(self) -> set[str]:
        """Values that nothing in a step but a product reads that becomes a state in place."""
        nexts = Counter(self.nexts[state] for state in self.loop.carries)
        stages = [stage for launch in self.step.launches for stage in launch.stages]
        users = Counter(name for stage in stages for name in {*self._read(stage)})
        return {
            gemm.added for gemm in self.followed.values()
            if gemm.added and users[gemm.added] == 1 and nexts[gemm.value] == 1
            and gemm.value not in self.step.kept and gemm.value not in self.vectors
            and users[gemm.value] == 1
        }  # fmt: skip

    def _readers(self, name: str) -> Iterator[int]:
        """The numbers of the launches that read a value."""
        for number, launch in enumerate(self.step.launches):
            read = {each for stage in launch.stages for each in self._read(stage)}
            if launch.alone:
                read |= set(self._varying(launch.alone))
            if name in read:
                yield number

    @cached_property
    def local(self) -> tuple[str, ...]:
        """Computed values that another launch reads than that which makes them."""
        found: dict[str, None] = {}
        for launch in self.step.launches:
            own = {read.segment.value for stage in launch.stages for read in self.step.made(stage)}
            found |= dict.fromkeys(
                name for stage in launch.stages for name in self._read(stage)
                if self.step.is_computed(name) and name not in own and not self.is_given(name)
                and name not in self._only_added
            )  # fmt: skip
            if launch.alone:
                found |= dict.fromkeys([*self._varying(launch.alone), launch.alone])
        return tuple(found)

    def _read(self, stage: Stage) -> Iterator[str]:
        yield from (read.segment.value for read in self.step.reads(stage))

    def _varying(self, name: str) -> Iterator[str]:
        """What torch reads to compute a value, but for what is the same for all."""
        for argument in self.cell.nodes[name].args:
            root = self.step.in_one_piece(argument)
            if self.cell.nodes[root].type.extent != NOWHERE:
                yield root

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """What torch reads that is the same for all."""
        alone = (launch.alone for launch in self.step.launches if launch.alone)
        args = (argument for name in alone for argument in self.cell.nodes[name].args)
        roots = dict.fromkeys(map(self.step.in_one_piece, args))
        return tuple(n for n in roots if self.cell.nodes[n].type.extent == NOWHERE)

    def is_given(self, name: str) -> bool:
        """Whether a value is what a product gives, and at most what is known before the step."""
        if name not in self.given:
            return False
        added = self.given[name].added
        return added is None or not any(map(self.step.is_computed, self.step.roots(added)))
