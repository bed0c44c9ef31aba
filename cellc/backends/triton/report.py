"""What runs on a GPU of a cell, in sentences, with what a step costs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cellc.backends.native.places import size_of
from cellc.backends.native.stages import Gemm
from cellc.backends.triton.fused import FusedKernel
from cellc.backends.triton.loop import DeviceLoop
from cellc.backends.triton.scan import ScanKernel
from cellc.ir import Dim
from cellc.kernels.sources import number

#: The batch that figures are told for, the bytes of its numbers, and of those that sums are in.
BATCH, NARROW, WIDE = 16, 2, 4
_FOR = f"for B = {BATCH} in bfloat16"


def report(loops: Sequence[DeviceLoop], sizes: Mapping[str, int]) -> list[str]:
    """How each loop runs on a GPU for some sizes, and what one step of it reads and computes."""
    return [sentence for loop in loops for sentence in _of_loop(loop, sizes)]


@dataclass(frozen=True)
class Cost:
    """What a step does: multiplications and additions of products, bytes of weights and others."""

    flops: int
    weights: int
    values: int

    def __str__(self) -> str:
        """``9.4 MFLOP, 4.7 MB of weights, 0.6 MB of values``."""
        parts = [f"{self.flops / 1e6:,.3g} MFLOP in products"] if self.flops else []
        parts += [f"{self.weights / 1e6:,.3g} MB of weights"] if self.weights else []
        return ", ".join([*parts, f"{self.values / 1e6:,.3g} MB of values"])


def _of_loop(loop: DeviceLoop, sizes: Mapping[str, int]) -> Iterator[str]:
    way = "backward" if loop.loop.backward else "forward"
    head = f"On a GPU, the loop {way} along {loop.loop.axis}"
    if isinstance(loop.inside, ScanKernel):
        cost = cost_inside(loop, loop.inside, sizes)
        yield f"{head} is a scan in one kernel, blocks at once: a step moves {cost}, {_FOR}."
        return
    inside = loop.inside if isinstance(loop.inside, FusedKernel) else None
    if inside is not None and inside.kind == "diagonal":
        cost = cost_inside(loop, inside, sizes)
        yield f"{head} is inside one kernel, each place by itself: a step moves {cost}, {_FOR}."
        return
    cost = cost_of_step(loop, sizes)
    yield f"{head} launches {_launches(loop)} for each step: {cost}, {_FOR}."
    if inside is None:
        yield "It cannot run inside one kernel."
        return
    kept = NARROW * weights_inside(inside, sizes)
    most = number("gpu/launches", "MOST_WEIGHTS")
    told = f"Its weights are {kept / 1024:,.0f} KiB for a program that keeps them,"
    if kept > most:
        yield f"{told} too many to run inside one kernel."
        return
    yield f"{told} so it runs inside one kernel: {cost_inside(loop, inside, sizes)} for a step."


def _launches(loop: DeviceLoop) -> str:
    products = len(list(loop.between.products))
    kernels = sum(kernel is not None and kernel.is_needed for kernel in loop.kernels)
    alone = sum(kernel is None for kernel in loop.kernels)
    parts = [_counted(products, "product"), _counted(kernels, "kernel")]
    parts += [_counted(alone, "operation of torch")] if alone else []
    return " and ".join(parts)


def _counted(count: int, word: str) -> str:
    first, _, rest = word.partition(" ")
    plural = first if count == 1 else f"{first}s"
    return f"{count} {plural}{f' {rest}' if rest else ''}"


def cost_of_step(loop: DeviceLoop, sizes: Mapping[str, int]) -> Cost:
    """What the launches of one step cost."""
    gemms = list(loop.between.products)
    flops = sum(_multiplications(loop, gemm, sizes) for gemm in gemms)
    values = sum(
        NARROW * (size_of(loop.cell.nodes[gemm.value]) + gemm.depth).evaluate(sizes)
        for gemm in gemms
    )
    for kernel in loop.kernels:
        values += _moved(kernel.moved, sizes) if kernel is not None else 0
    return Cost(2 * BATCH * flops, NARROW * flops, BATCH * values)


def cost_inside(
    loop: DeviceLoop, kernel: FusedKernel | ScanKernel, sizes: Mapping[str, int]
) -> Cost:
    """What one step costs inside a kernel; it reads no weights."""
    flops = sum(_multiplications(loop, gemm, sizes) for gemm in loop.between.products)
    return Cost(2 * BATCH * flops, 0, BATCH * _moved(kernel.moved, sizes))


def weights_inside(kernel: FusedKernel, sizes: Mapping[str, int]) -> int:
    """How many numbers of weights a program keeps."""

    def wide(length: Dim) -> int:
        own = length if kernel.blocks is None else kernel.blocks.outputs
        return max(16, 1 << (own.evaluate(sizes) - 1).bit_length())

    return sum(wide(outputs) * wide(inputs) for outputs, inputs in kernel.tiles.values())


def _multiplications(loop: DeviceLoop, gemm: Gemm, sizes: Mapping[str, int]) -> int:
    blocks = loop.between.blocks(gemm)
    if blocks is not None:
        return (blocks.count * blocks.outputs * blocks.inputs * blocks.copies).evaluate(sizes)
    return (size_of(loop.cell.nodes[gemm.value]) * gemm.depth).evaluate(sizes)


def _moved(moved: Mapping[str, Dim], sizes: Mapping[str, int]) -> int:
    narrow, wide = (moved[kind].evaluate(sizes) for kind in ("numbers", "wide numbers"))
    return NARROW * narrow + WIDE * wide
