"""One step of a loop as launches: products of a library, then a kernel of what is made of them.

A kernel computes whole stages after each other as long as all that a stage reads of another is
in registers: the same numbers at the same places. What is read otherwise goes through memory, and
ends the kernel. A value that no kernel can compute is computed by torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cellc.backends.native.places import ZERO, size_of
from cellc.backends.native.stages import Gemm, Lanes, Segment, Stage, Step, Whole
from cellc.backends.triton.spelling import can_write
from cellc.ir import NOWHERE, Dim

#: Products with a weight of blocks, each with its own part of a vector.
BLOCKED = ("block_matmul", "block_matmul_transposed")
#: Reductions along the last dimension that kernels compute, of values with one.
REDUCED = ("standardize", "standardize_slope", "softmax", "sum", "mean", "count")
ONE = Dim.of(1)


@dataclass(frozen=True)
class Read:
    """Numbers that a stage reads: ``length`` of them, from a place of a value on."""

    segment: Segment
    length: Dim


@dataclass(frozen=True)
class Launch:
    """Products that a library computes, and a kernel for the stages that follow.

    ``alone`` is a value that torch computes in place of a kernel.
    """

    products: tuple[Gemm, ...]
    stages: tuple[Stage, ...] = ()
    alone: str = ""


class DeviceStep(Step):
    """How a step becomes stages for a device, where products of blocks are products as well."""

    def is_plain(self, name: str) -> bool:
        node = self.cell.nodes[name]
        blocks = node.op.name in BLOCKED and self.cell.nodes[node.args[0]].type.extent == NOWHERE
        return blocks or super().is_plain(name)

    def is_lanes(self, name: str) -> bool:
        node = self.cell.nodes[name]
        types = [self.cell.nodes[argument].type for argument in node.args]
        return super().is_lanes(name) and can_write(node, types)

    @cached_property
    def launches(self) -> tuple[Launch, ...]:
        """The launches of a step, in order."""
        return tuple(_Launches(self).run())

    def reads(self, stage: Stage) -> Iterator[Read]:
        """What a stage reads to compute its values, besides the vectors of its products."""
        nodes = self.cell.nodes
        if isinstance(stage, Whole):
            for argument in nodes[stage.value].args:
                yield Read(self.piece(argument), size_of(nodes[argument]))
            return
        for gemm in stage.products:
            for start in gemm.starts if gemm.added else ():
                yield Read(self.root(gemm.added or "", start), gemm.length)
        for segment in stage.computed:
            shape = nodes[segment.value].type.shape
            for operand in self.operands(segment.value):
                one = nodes[operand].type.shape == () != shape
                place, length = (ZERO, ONE) if one else (segment.start, stage.length)
                yield Read(self.root(operand, place), length)
        for segment in stage.stores:
            yield Read(self.root(segment.value, segment.start), stage.length)

    def made(self, stage: Stage) -> Iterator[Read]:
        """What a stage computes, as it can be read."""
        if isinstance(stage, Whole):
            yield Read(Segment(stage.value, ZERO), size_of(self.cell.nodes[stage.value]))
        else:
            yield from (Read(segment, stage.length) for segment in stage.made)

    def root(self, name: str, place: Dim) -> Segment:
        """Where a number of a value is, views seen through."""
        return Segment(*self.places.root(name, place))

    def piece(self, name: str) -> Segment:
        """Where all numbers of a value are, one behind the other."""
        return Segment(*(self.places.whole(name) or (name, ZERO)))

    def is_reduction(self, name: str) -> bool:
        """Whether a kernel can compute a value of whole rows of its operands."""
        node = self.cell.nodes[name]
        shapes = [self.cell.nodes[argument].type.shape for argument in node.args]
        return node.op.name in REDUCED and all(len(shape) <= 1 for shape in shapes)


class _Launches:
    """Gathers stages into launches."""

    def __init__(self, step: DeviceStep) -> None:
        self.step = step
        self.products: list[Gemm] = []
        self.stages: list[Stage] = []
        self.made: set[Read] = set()
        self.copied: set[str] = set()

    def run(self) -> Iterator[Launch]:
        for stage in self.step.stages:
            if isinstance(stage, Whole) and not self.step.is_reduction(stage.value):
                yield from self._ended()
                yield from self._alone(stage.value)
                continue
            if not self._can_follow(stage):
                yield from self._ended()
            if isinstance(stage, Lanes):
                self.products += stage.products
            self.stages.append(stage)
            self.made |= set(self.step.made(stage))
        yield from self._ended()

    def _ended(self) -> Iterator[Launch]:
        if self.stages:
            yield Launch(tuple(self.products), tuple(self.stages))
        self.products, self.stages, self.made = [], [], set()

    def _alone(self, name: str) -> Iterator[Launch]:
        """A value that torch computes: before it, what varies is put in place, and after, kept."""
        nodes, step = self.step.cell.nodes, self.step
        roots = dict.fromkeys(step.piece(argument).value for argument in nodes[name].args)
        varying = [n for n in roots if nodes[n].type.extent != NOWHERE and not step.is_computed(n)]
        varying = [n for n in varying if n not in self.copied]
        self.copied |= set(varying)
        if copies := tuple(_kept(step, n) for n in varying):
            yield Launch((), copies)
        yield Launch((), (), name)
        yield Launch((), (_kept(step, name),))

    def _can_follow(self, stage: Stage) -> bool:
        """Whether a stage finds in registers what the kernel's other stages computed."""
        inside = {read.segment.value for read in self.made}
        vectors = stage.products if isinstance(stage, Lanes) else ()
        before = (s for s in self.stages if isinstance(s, Lanes))
        stored = {segment.value for earlier in before for segment in earlier.stores}
        for gemm in vectors:
            read = {self.step.in_one_piece(gemm.vector), *self.step.roots(gemm.vector)}
            if read & (inside | stored):
                return False
        own = set(self.step.made(stage))
        found = self.made | own
        others = inside - {read.segment.value for read in own}
        return all(
            read in found for read in self.step.reads(stage)
            if read.segment.value in others | inside
        )  # fmt: skip


def _kept(step: DeviceStep, name: str) -> Lanes:
    """A stage that puts a value where others read it."""
    return Lanes(size_of(step.cell.nodes[name]), (), (Segment(name, ZERO),))
