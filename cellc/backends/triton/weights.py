"""Products inside a kernel: the parts of a vector in registers, and those of a weight for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cellc.backends.native.places import ZERO, at_most, ordered, size_of
from cellc.backends.native.stages import Gemm
from cellc.backends.triton.kernel import NotInside
from cellc.backends.triton.places import Between
from cellc.backends.triton.step import DeviceStep, Read
from cellc.backends.triton.values import plus, text_of, times
from cellc.ir import Dim


def parts_of_vector(
    step: DeviceStep, vector: str, registers: Iterable[Read]
) -> Iterator[tuple[Read, Dim]]:
    """What of a vector is in which registers, each with its place in the vector.

    Raises NotInside where some of it is in none.
    """
    known = list(registers)
    for root, begin, length, here in _pieces(step, vector):
        reads = {read.segment.start: read for read in known if read.segment.value == root}
        end, total = begin + length, ZERO
        for start in ordered(reads):
            read = reads[start]
            if at_most(begin, start) and at_most(start + read.length, end):
                total = total + read.length
                yield read, here + (start - begin)
        if total != length:
            raise NotInside


def _pieces(step: DeviceStep, name: str) -> Iterator[tuple[str, Dim, Dim, Dim]]:
    """The values that a value joins: each with where it begins, its length, and its place."""
    if not step.is_view(name):
        yield name, ZERO, size_of(step.cell.nodes[name]), ZERO
        return
    for source, start, here, length in step.places.pieces(name):
        if not step.is_view(source):
            yield source, start, length, here
        elif start == ZERO and length == size_of(step.cell.nodes[source]):
            yield from ((v, b, n, here + at) for v, b, n, at in _pieces(step, source))
        else:
            raise NotInside


def place_in_weight(
    between: Between, gemm: Gemm, across: tuple[str, Dim], down: tuple[str, Dim]
) -> str:
    """Where the numbers of a part of a weight are: results across, what they are made of down.

    Each is the places of a tile and where they begin.
    """
    blocks, transposed = between.blocks(gemm), between.is_transposed(gemm)
    (into, start), (given, offset) = across, down
    rows, columns = (given, into) if transposed else (into, given)
    if blocks is not None:
        wide, count = times(text_of(blocks.outputs)), times(text_of(blocks.count))
        copy = text_of((offset if transposed else start) / (blocks.count * blocks.outputs))
        block = f"({copy}*{count} + tl.program_id(1))*{wide}*{wide}"
        return f"{block} + {rows}*{wide} + {columns}"
    first, second = (offset, start) if transposed else (start, offset)
    width = size_of(between.cell.nodes[gemm.value]) if transposed else gemm.depth
    return f"({rows}{plus(first)})*{times(text_of(width))} + {columns}{plus(second)}"
