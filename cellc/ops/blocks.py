"""Products with structured weights: block-diagonal ones and convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import Dim, Node, Type, TypeMismatch
from cellc.ir.dimension import product
from cellc.ir.types import shape_text, union
from cellc.ops.op import CONTRACTION, Attrs, Op, Pull, numbers_only

MOST_SPATIAL = 3


def copies_of(attrs: Attrs) -> int:
    """How many block-diagonal weights are stacked in one, each for the whole vector."""
    copies = attrs.get("copies", 1)
    assert isinstance(copies, int)
    return copies


def _blocks(args: Sequence[Type], attrs: Attrs) -> Type:
    """[K, m, n] and [K*n] give [K*m]; of G stacked weights [G*K, m, n], [G*K*m]."""
    numbers_only(args)
    weight, vector = args
    if weight.extent or len(weight.shape) != 3:
        raise TypeMismatch(f"blocks are a weight [K, m, n], not {shape_text(weight.shape)}", (0,))
    blocks, rows, columns = weight.shape
    if vector.shape != (blocks * columns / copies_of(attrs),):
        raise TypeMismatch(
            f"{shape_text(weight.shape)} are no blocks for {shape_text(vector.shape)}", (0, 1)
        )
    return Type((blocks * rows,), union(args))


def _filtered(args: Sequence[Type], attrs: Attrs) -> Type:
    """[C, D, k, l] and [D, X, Y] give [C, X, Y]; likewise in one or three dimensions."""
    numbers_only(args)
    weight, value = args
    spatial = len(weight.shape) - 2
    if weight.extent or not 1 <= spatial <= MOST_SPATIAL:
        raise TypeMismatch(
            f"a convolution is a weight of 3 to {MOST_SPATIAL + 2} dimensions, "
            f"not {shape_text(weight.shape)}",
            (0,),
        )
    if len(value.shape) != spatial + 1 or value.shape[0] != weight.shape[1]:
        raise TypeMismatch(
            f"{shape_text(weight.shape)} does not filter {shape_text(value.shape)}", (0, 1)
        )
    return Type((weight.shape[0], *value.shape[1:]), union(args))


def _places(args: Sequence[Type], result: Type) -> Dim:
    """Each number of a filter is used once at every place."""
    return product(args[0].shape) * product(result.shape[1:])


def _torch_filter(node: Node, types: Sequence[Type]) -> str:
    return f"F.conv{len(types[0].shape) - 2}d(v, w, padding='same')"


def _call_with_copies(node: Node, types: Sequence[Type]) -> str:
    copies = copies_of(dict(node.attrs))
    return "block_matmul(w, v)" if copies == 1 else "block_matmul(w, v, copies)"


_NUMPY_BLOCKS = '''
def block_matmul(w, v, copies=1):
    """Each block of the weight with its own part of the vector."""
    parts = v.reshape(-1, w.shape[0] // copies, w.shape[2]).swapaxes(0, 1)
    blocks = np.tile(parts, (copies, 1, 1)) @ w.swapaxes(1, 2)
    return blocks.swapaxes(0, 1).reshape(*v.shape[:-1], w.shape[0] * w.shape[1])
'''

_TORCH_BLOCKS = '''
def block_matmul(w, v, copies=1):
    """Each block of the weight with its own part of the vector, as one batched product."""
    parts = v.reshape(-1, w.shape[0] // copies, w.shape[2]).transpose(0, 1)
    parts = parts if copies == 1 else parts.repeat(copies, 1, 1)
    blocks = torch.bmm(parts, w.transpose(1, 2))
    return blocks.transpose(0, 1).reshape(*v.shape[:-1], w.shape[0] * w.shape[1])
'''

_NUMPY_FILTER = '''
def convolve(w, v):
    """Every place of v with its neighbours; beyond the edges are zeros."""
    sizes = w.shape[2:]
    n = len(sizes)
    axes = tuple(range(-n, 0))
    around = [(0, 0)] * (v.ndim - n) + [((size - 1) // 2, size // 2) for size in sizes]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(v, around), sizes, axes)
    return np.moveaxis(np.tensordot(near, w, ((-2 * n - 1, *axes), (1, *axes))), -1, -n - 1)
'''


def _blocks_pullback(p: Pull, slot: int) -> str | None:
    weight, vector = p.args
    copies = copies_of(p.attrs)
    if slot == 1:
        return p.add("block_matmul_transposed", weight, p.g, **dict(p.attrs))
    return p.total("block_outer_sum", p.g, vector, shape=p.type(weight).shape, copies=copies)


def _filter_pullback(p: Pull, slot: int) -> str | None:
    weight, value = p.args
    if slot == 1:
        return p.add("convolve_transposed", weight, p.g)
    return p.total("convolve_sum", p.g, value, shape=p.type(weight).shape)


OPS = (
    Op("block_matmul", "The product with a block-diagonal weight: each of K blocks multiplies "
       "its own part of the vector. Written `w·v` where w is declared `block_diagonal(K)`.",
       "contraction", ("w", "v"), rule=_blocks, spelling=_call_with_copies,
       pullback=_blocks_pullback,
       helpers={"numpy": _NUMPY_BLOCKS, "torch": _TORCH_BLOCKS},
       linear=(frozenset({0}), frozenset({1})), notation="$w·$v", precedence=CONTRACTION,
       latex="$w $v", glyph="·", structure="blocks"),
    Op("convolve", "The convolution (as the field calls the cross-correlation) of a value "
       "[D, X, …] with a filter [C, D, k, …], zeros beyond the edges. Written `w·v` where w is "
       "declared `convolution(k, …)`.",
       "contraction", ("w", "v"), rule=_filtered, spelling="convolve(w, v)",
       pullback=_filter_pullback,
       spellings={"torch": _torch_filter}, helpers={"numpy": _NUMPY_FILTER},
       linear=(frozenset({0}), frozenset({1})), notation="$w·$v", precedence=CONTRACTION,
       latex=r"$w \ast $v", glyph="∗", structure="filter",
       work=_places),
)  # fmt: skip
