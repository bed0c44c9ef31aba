"""Values that are computed row by row of all numbers of their operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cellc.backends.native.cpp import dimension
from cellc.backends.native.writer import Code
from cellc.diagnostics import fail
from cellc.ir import Dim, Node, Type
from cellc.ir.dimension import product
from cellc.ir.types import Shape, positions
from cellc.ops import TABLE
from cellc.ops.blocks import copies_of

Operands = Sequence[str]
#: The most dimensions besides the first that a convolution has.
SPATIAL = 3


def row_by_row(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    """The statements that write a row of a value to ``to``; operands are addresses of theirs.

    Raises CellcError ``missing-spelling`` for an op that is not known here.
    """
    writer = _WRITERS.get(node.op.name)
    if writer is not None:
        writer(code, node, types, operands)
    else:
        fail("missing-spelling", f"compiled kernels cannot compute `{node.op.name}` in a loop")


def broadcast(code: Code, node: Node, types: Sequence[Type], operands: Operands,
              expression: Callable[[dict[str, str]], str]) -> None:  # fmt: skip
    """An elementwise value some of whose operands are repeated, number by number."""
    shape = node.type.shape
    indices = [f"i{k}" for k in range(len(shape))]
    names = TABLE[node.op.name].operand_names(len(node.args))
    found = {}
    for name, type_, operand in zip(names, types, operands, strict=True):
        placed = positions(type_.shape, shape) or ()
        value = f"all({operand}[{_flat([indices[p] for p in placed], type_.shape)}])"
        found[name] = f"({value} != 0)" if type_.dtype == "boolean" else value
    text = expression(found)
    text = f"select({text}, all(1), all(0))" if node.type.dtype == "boolean" else text
    for index, dim in zip(indices, shape, strict=True):
        code(f"for (int64_t {index} = 0; {index} < {dimension(dim)}; {index}++)")
    code(f"    to[{_flat(indices, shape)}] = ({text})[0];")


def _flat(indices: Sequence[str], shape: Shape) -> str:
    """The place of an element among all."""
    terms = [
        f"{index}*{dimension(product(shape[k + 1 :]))}" for k, index in enumerate(indices)
    ]  # fmt: skip
    return " + ".join(terms) or "0"


def _size(shape: Shape) -> str:
    return dimension(product(shape))


def _reduced(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    """Along the last dimension, for each place in the others."""
    shape = types[0].shape
    count = dimension(shape[-1])
    steps = [count if t.shape and len(t.shape) == len(shape) else "1" for t in (*types, node.type)]
    rows = [f"{o} + i*{s}" for o, s in zip([*operands, "to"], steps, strict=True)]
    code(f"for (int64_t i = 0; i < {_size(shape[:-1])}; i++)")
    code(f"    {node.op.name}({count}, {', '.join(rows)});")


def _sum_to(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    outer, shape = types[0].shape, node.type.shape
    kept = positions(shape, outer) or ()
    indices = [f"i{k}" for k in range(len(outer))]
    code(f"clear({_size(shape)}, to);")
    for index, dim in zip(indices, outer, strict=True):
        code(f"for (int64_t {index} = 0; {index} < {dimension(dim)}; {index}++)")
    code(f"    to[{_flat([indices[k] for k in kept], shape)}] += "
         f"{operands[0]}[{_flat(indices, outer)}];")  # fmt: skip


def _around(shape: Shape, axis: int) -> tuple[str, str]:
    """How many numbers there are outside and inside a dimension."""
    return _size(shape[:axis]), _size(shape[axis + 1 :])


def _concat(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    axis = dict(node.attrs).get("axis", 0)
    assert isinstance(axis, int)
    outer, inner = _around(node.type.shape, axis)
    whole, place = dimension(node.type.shape[axis]), Dim.of(0)
    for type_, operand in zip(types, operands, strict=True):
        part = type_.shape[axis]
        length = f"{dimension(part)}*{inner}"
        code(f"for (int64_t i = 0; i < {outer}; i++)")
        code(f"    memcpy(to + (i*{whole} + {dimension(place)})*{inner}, {operand} + i*{length}, "
             f"{length}*sizeof(real));")  # fmt: skip
        place = place + part


def _slice(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    attrs = dict(node.attrs)
    axis, start = attrs.get("axis", 0), attrs["start"]
    assert isinstance(axis, int)
    assert isinstance(start, Dim)
    outer, inner = _around(node.type.shape, axis)
    length = f"{dimension(node.type.shape[axis])}*{inner}"
    whole = dimension(types[0].shape[axis])
    code(f"for (int64_t i = 0; i < {outer}; i++)")
    code(f"    memcpy(to + i*{length}, {operands[0]} + (i*{whole} + {dimension(start)})*{inner}, "
         f"{length}*sizeof(real));")  # fmt: skip


def _outer(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    columns = _size(types[1].shape)
    code(f"clear({_size(node.type.shape)}, to);")
    code(f"for (int64_t i = 0; i < {_size(types[0].shape)}; i++)")
    code(f"    add_times({columns}, {operands[0]}[i], {operands[1]}, to + i*{columns});")


def _spread(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    count = dimension(node.type.shape[-1])
    code(f"for (int64_t i = 0; i < {_size(node.type.shape)}; i++)")
    code(f"    to[i] = {operands[0]}[i/{count}];")


def _matmul(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    outputs, inputs = _size(node.type.shape), _size(types[1].shape)
    code(f"multiply({outputs}, {inputs}, {operands[0]}, {operands[1]}, to);")
    _plus_third(code, node, operands)


def _plus_third(code: Code, node: Node, operands: Operands) -> None:
    if len(operands) > 2:
        code(f"add({_size(node.type.shape)}, {operands[2]}, to);")


def _transposed(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    outputs, inputs = _size(node.type.shape), _size(types[1].shape)
    code(f"clear({outputs}, to);")
    code(f"add_transposed({inputs}, {outputs}, {operands[0]}, {operands[1]}, to);")
    _plus_third(code, node, operands)


def _blocks(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    blocks, rows, columns = map(dimension, types[0].shape)
    own = f"(i % ({blocks}/{copies_of(dict(node.attrs))}))"
    code(f"for (int64_t i = 0; i < {blocks}; i++)")
    code(f"    multiply({rows}, {columns}, {operands[0]} + i*{rows}*{columns}, "
         f"{operands[1]} + {own}*{columns}, to + i*{rows});")  # fmt: skip


def _blocks_back(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    blocks, rows, columns = map(dimension, types[0].shape)
    own = f"(i % ({blocks}/{copies_of(dict(node.attrs))}))"
    code(f"clear({_size(node.type.shape)}, to);", f"for (int64_t i = 0; i < {blocks}; i++)")
    code(f"    add_transposed({rows}, {columns}, {operands[0]} + i*{rows}*{columns}, "
         f"{operands[1]} + i*{rows}, to + {own}*{columns});")  # fmt: skip


def _each(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    _of_vectors(code, node, types, operands, back=False)


def _each_back(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    _of_vectors(code, node, types, operands, back=True)


def _of_vectors(code: Code, node: Node, types: Sequence[Type], operands: Operands,
                back: bool) -> None:  # fmt: skip
    weight, (vectors, inputs) = types[0].shape, types[1].shape
    outputs = dimension(node.type.shape[1])
    own = f" + i*{_size(weight[1:])}" if len(weight) > len(types[1].shape) else ""
    if back:
        code(f"clear({_size(node.type.shape)}, to);")
    sizes = f"{dimension(inputs)}, {outputs}" if back else f"{outputs}, {dimension(inputs)}"
    code(f"for (int64_t i = 0; i < {dimension(vectors)}; i++)")
    code(f"    {'add_transposed' if back else 'multiply'}({sizes}, {operands[0]}{own}, "
         f"{operands[1]} + i*{dimension(inputs)}, to + i*{outputs});")  # fmt: skip
    _plus_third(code, node, operands)


def _convolve(code: Code, node: Node, types: Sequence[Type], operands: Operands) -> None:
    turned = "true" if node.op.name == "convolve_transposed" else "false"
    shapes = []
    for kept, type_ in zip((2, 1), types, strict=True):
        dims = [dimension(dim) for dim in type_.shape]
        ones = ["1"] * (SPATIAL - len(dims) + kept)
        shapes.append(", ".join([*dims[:kept], *ones, *dims[kept:]]))
    with code.block(""):
        code(f"const int64_t w_shape[] = {{{shapes[0]}}}, v_shape[] = {{{shapes[1]}}};")
        code(f"convolve({turned}, w_shape, v_shape, {operands[0]}, {operands[1]}, to);")


_REDUCTIONS = ("standardize", "standardize_slope", "softmax", "sum", "mean", "count")
_WRITERS = dict.fromkeys(_REDUCTIONS, _reduced) | {
    "sum_to": _sum_to,
    "concat": _concat,
    "slice": _slice,
    "outer": _outer,
    "spread": _spread,
    "matmul": _matmul,
    "matmul_add": _matmul,
    "matmul_transposed": _transposed,
    "matmul_transposed_add": _transposed,
    "block_matmul": _blocks,
    "block_matmul_transposed": _blocks_back,
    "each_matmul": _each,
    "each_matmul_add": _each,
    "each_matmul_transposed": _each_back,
    "convolve": _convolve,
    "convolve_transposed": _convolve,
}
