"""Products that do not wait for the loop, computed for a block of its steps at a time.

What a block has made is still in the cache when its steps read it.
"""

from __future__ import annotations

from cellc.backends.native.cpp import dimension
from cellc.backends.native.lanes import vectors
from cellc.backends.native.places import ZERO
from cellc.backends.native.values import ValueWriter
from cellc.backends.native.writer import Code


def ahead(values: ValueWriter, code: Code, number: int, name: str) -> None:
    """The function that computes a product for some rows behind the ``origin`` of a block."""
    memory = values.memory
    gemm = values.step.gemm(name)
    packed = memory.packed[name, 0]
    head = f"const {values.name}_given &a, int64_t origin, Range rows"
    depth, size, own = dimension(gemm.depth), memory.size(name), memory.names[name]
    height = f"most_rows({vectors(packed)})"
    added = f"some({memory.source(gemm.added)} + at, n)" if gemm.added else "vec{}"
    with code.block(f"static void {values.name}_ahead_{number}({head})"):
        code(f"const int64_t width = {packed.blocks}*LANES;",
             f"const int64_t height = even(rows.end - rows.begin, {height});",
             f"const real *const given = {_rows(values, gemm.vector)};")  # fmt: skip
        stride = memory.stride(gemm.vector)
        with (
            code.block(f"for (int64_t j = 0; j < {size}; j += width)"),
            code.block("for (int64_t top = rows.begin; top < rows.end; top += height)"),
        ):
            code("const int64_t count = top + height < rows.end ? height : rows.end - top;",
                 f"alignas(64) real tile[{height}*{vectors(packed)}*LANES];",
                 f"Products<{vectors(packed)}, {height}>::run(count, {depth}, "
                 f"given + top*{stride}, {stride}, 1, "
                 f"a.{packed.name} + j/width*{depth}*{vectors(packed)}*LANES, tile);")  # fmt: skip
            with (
                code.block("for (int64_t i = 0; i < count; i++)"),
                code.block(f"for (int64_t at = j; at < {size} && at < j + width; at += LANES)"),
            ):
                code(f"const int64_t n = {size} - at < LANES ? {size} - at : LANES;",
                     "const vec sum = load<true>(tile + i*width + at - j, n);",
                     f"put(a.{own} + (top + i)*{size} + at, sum + {added}, n);")  # fmt: skip


def _rows(values: ValueWriter, vector: str) -> str:
    """The first row of a block."""
    assert values.in_one_piece(vector)[1] == ZERO
    own = values.memory.names[vector]
    return f"a.{own} + origin*a.{own}_stride"
