"""What is compiled of a cell, and how it is run, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cellc.backends.native.meeting import meetings
from cellc.backends.native.places import size_of
from cellc.backends.native.stages import Gemm, Lanes, Whole
from cellc.backends.native.values import ValueWriter
from cellc.kernels.choice import Way, choose

#: The batches and the length that ways are told for, and the bytes of a number.
BATCHES, STEPS, BYTES = (1, 8, 32), 100, 4


def report(loops: Sequence[ValueWriter], sizes: Mapping[str, int], threads: int) -> list[str]:
    """The stages of each loop's step, and by how many threads they are run for some sizes."""
    return [sentence for loop in loops for sentence in _of_loop(loop, sizes, threads)]


def _of_loop(loop: ValueWriter, sizes: Mapping[str, int], threads: int) -> Iterator[str]:
    way = "backward" if loop.loop.backward else "forward"
    stages = [_stage(loop, stage) for stage in loop.step.stages]
    yield f"Compiled, a step {way} along {loop.loop.axis} is: {'; '.join(stages)}."
    if loop.loop.ahead:
        products = ", ".join(_product(loop, loop.step.gemm(name)) for name in loop.loop.ahead)
        yield f"Ahead of it, for a block of steps: {products}."
    work = sum(
        size_of(loop.cell.nodes[name]).evaluate(sizes) * loop.step.gemm(name).depth.evaluate(sizes)
        for name in _products(loop)
    )
    count = len(meetings(loop.memory))
    ways = [(b, choose(b, STEPS, max(work, 64), BYTES * work, count, threads)) for b in BATCHES]
    told = ", ".join(f"{batch}: {_way(way)}" for batch, way in ways)
    yield f"With {threads} {_plural('thread', threads)}, for so many sequences: {told}."


def _products(loop: ValueWriter) -> Iterator[str]:
    for stage in loop.step.stages:
        yield from (gemm.value for gemm in stage.products) if isinstance(stage, Lanes) else ()
    yield from loop.loop.ahead


def _stage(loop: ValueWriter, stage: Lanes | Whole) -> str:
    if isinstance(stage, Whole):
        return f"{loop.cell.nodes[stage.value].op.name}, row by row"
    parts = [_product(loop, gemm) for gemm in stage.products]
    count = len({segment.value for segment in stage.computed})
    parts += [f"{count} elementwise {_plural('value', count)}"] if count else []
    return f"{' with '.join(parts) or 'what is handed on'} over {stage.length}"


def _product(loop: ValueWriter, gemm: Gemm) -> str:
    names, shape = loop.memory.names, size_of(loop.cell.nodes[gemm.value])
    transposed = "ᵀ" if gemm.transposed else ""
    return f"{names[gemm.weight]}{transposed}·{names[gemm.vector]} [{shape} by {gemm.depth}]"


def _way(way: Way) -> str:
    if way.threads == 1:
        return "one thread"
    return f"{way.threads} threads, each with {'sequences' if way.by_rows else 'places'} of its own"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
