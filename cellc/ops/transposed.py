"""Transposes of linear ops: what the derivatives of products and cuts are made of.

The language does not write these ops; derivatives do. ``over`` names the axes that a
total is taken over, separated by blanks.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import BATCH, NOWHERE, Dim, Node, Type, TypeMismatch
from cellc.ir.dimension import product
from cellc.ir.types import Extent, Shape, positions, shape_text, union
from cellc.ops.blocks import copies_of
from cellc.ops.contraction import is_plain, transposed_form
from cellc.ops.op import CONTRACTION, SUM, Attrs, Op, Spelling, numbers_only


def summed_axes(attrs: Attrs) -> Extent:
    """The axes that a total is taken over."""
    over = attrs["over"]
    assert isinstance(over, str)
    return frozenset(over.split())


def _transposed_product(args: Sequence[Type], attrs: Attrs) -> Type:
    """The left operand's first dimensions are the right operand's; the rest remain."""
    numbers_only(args)
    left, right = args[:2]
    rank = len(right.shape)
    if left.shape[:rank] != right.shape:
        raise TypeMismatch(
            f"{shape_text(left.shape)} does not begin with {shape_text(right.shape)}", (0, 1)
        )
    result = Type(left.shape[rank:], union(args))
    if len(args) > 2 and args[2].shape != result.shape:
        raise TypeMismatch(
            f"{shape_text(result.shape)} and {shape_text(args[2].shape)} do not fit", (0, 2)
        )
    return result


def _composed(args: Sequence[Type], attrs: Attrs) -> Type:
    """[m, k] and [k, n] give [m, n]."""
    return _composed_as(args, 1, 0)


def _composed_right(args: Sequence[Type], attrs: Attrs) -> Type:
    return _composed_as(args, 1, 1)


def _composed_left(args: Sequence[Type], attrs: Attrs) -> Type:
    return _composed_as(args, 0, 0)


def _composed_as(args: Sequence[Type], left: int, right: int) -> Type:
    """The product of two matrices over one dimension of each."""
    numbers_only(args)
    a, b = (operand.shape for operand in args)
    if len(a) != 2 or len(b) != 2 or a[left] != b[right]:
        raise TypeMismatch(f"{shape_text(a)} and {shape_text(b)} do not fit", (0, 1))
    if any(operand.extent for operand in args):
        raise TypeMismatch("only weights are so multiplied", (0, 1))
    return Type((a[1 - left], b[1 - right]), NOWHERE)


def _composing(args: Sequence[Type], result: Type) -> Dim:
    """The multiplications of a product of two weights."""
    return product(args[0].shape) * result.shape[1]


def _summed(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    over = summed_axes(attrs)
    if any(not over <= operand.extent for operand in args):
        raise TypeMismatch(f"only what varies along {', '.join(sorted(over))} can be so summed")
    return Type(args[0].shape, args[0].extent - over)


def _summed_products(args: Sequence[Type], attrs: Attrs) -> Type:
    left, right = (_summed([operand], attrs) for operand in args)
    return Type((*left.shape, *right.shape), union((left, right)))


def _summed_blocks(args: Sequence[Type], attrs: Attrs) -> Type:
    left, right = (_summed([operand], attrs) for operand in args)
    shape = attrs["shape"]
    assert isinstance(shape, tuple)
    return Type(shape, union((left, right)))


def _scattered(args: Sequence[Type], attrs: Attrs) -> Type:
    rows = attrs["rows"]
    assert isinstance(rows, Dim)
    return Type((rows, *args[0].shape), args[0].extent - summed_axes(attrs))


def _without_dims(args: Sequence[Type], attrs: Attrs) -> Type:
    shape = attrs["shape"]
    assert isinstance(shape, tuple)
    if positions(shape, args[0].shape) is None:
        raise TypeMismatch(f"{shape_text(args[0].shape)} does not contain {shape_text(shape)}")
    return Type(shape, args[0].extent)


def _along_last(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    if args[0].shape != args[1].shape[:-1] or args[0].extent != args[1].extent:
        raise TypeMismatch(
            f"{shape_text(args[0].shape)} is not {shape_text(args[1].shape)} without its last"
        )
    return Type(args[1].shape, union(args))


def _blocks_back(args: Sequence[Type], attrs: Attrs) -> Type:
    blocks, _, columns = args[0].shape
    return Type((blocks * columns / copies_of(attrs),), union(args))


def _filter_back(args: Sequence[Type], attrs: Attrs) -> Type:
    return Type((args[0].shape[1], *args[1].shape[1:]), union(args))


def _spell_product(node: Node, types: Sequence[Type]) -> str:
    left, right = types[:2]
    if is_plain(left, right):
        return "g @ w"
    return f"xp.einsum('{transposed_form(left, right)}', w, g)"


def _spell_product_sum(node: Node, types: Sequence[Type]) -> str:
    return f"{_spell_product(node, types)} + c"


def _torch_product_sum(node: Node, types: Sequence[Type]) -> str:
    if is_plain(types[0], types[1]) and types[1].extent:
        return "torch.addmm(c, g, w)"
    return _spell_product_sum(node, types)


def _lead(over: Extent, extent: Extent) -> str:
    """The dimensions of an array that stand for the axes of a total."""
    places = [place for place, axis in enumerate(sorted(extent, key=lambda a: a == BATCH))
              if axis in over]  # fmt: skip
    return str(places[0]) if len(places) == 1 else str(tuple(places))


def _spell_sum(node: Node, types: Sequence[Type]) -> str:
    return f"a.sum({_lead(summed_axes(dict(node.attrs)), types[0].extent)})"


def _torch_sum(node: Node, types: Sequence[Type]) -> str:
    whole = BATCH in summed_axes(dict(node.attrs))
    return "a.sum(0)" if whole else "sum_over_steps(a, sizes, packed)"


def _spell_outer(node: Node, types: Sequence[Type]) -> str:
    places = _lead(summed_axes(dict(node.attrs)), types[0].extent)
    return f"np.tensordot(a, b, ({places}, {places}))"


def _torch_outer(node: Node, types: Sequence[Type]) -> str:
    vectors = all(len(type_.shape) == 1 for type_ in types)
    return "a.T @ b" if vectors else "torch.tensordot(a, b, ((0,), (0,)))"


def _spell_without_dims(node: Node, types: Sequence[Type]) -> str:
    shape = node.attr("shape")
    assert isinstance(shape, tuple)
    outer: Shape = types[0].shape
    kept = positions(shape, outer) or ()
    gone = [place - len(outer) for place in range(len(outer)) if place not in kept]
    return f"a.sum({gone[0] if len(gone) == 1 else tuple(gone)})"


def _with_copies(name: str) -> Spelling:
    def spelling(node: Node, types: Sequence[Type]) -> str:
        operands = ", ".join(node.op.parameters)  # type: ignore[attr-defined]
        copies = "" if copies_of(dict(node.attrs)) == 1 else ", copies"
        return f"{name}({operands}{copies})"

    return spelling


_NUMPY_BLOCKS_BACK = '''
def block_matmul_transposed(w, g, copies=1):
    """Each block of the weight, transposed, with its own part of the vector."""
    parts = g.reshape(-1, w.shape[0], w.shape[1]).swapaxes(0, 1)
    blocks = (parts @ w).reshape(copies, -1, parts.shape[1], w.shape[2]).sum(0)
    return blocks.swapaxes(0, 1).reshape(*g.shape[:-1], -1)
'''

_TORCH_BLOCKS_BACK = '''
def block_matmul_transposed(w, g, copies=1):
    """Each block of the weight, transposed, with its own part of the vector."""
    parts = g.reshape(-1, w.shape[0], w.shape[1]).transpose(0, 1)
    blocks = torch.bmm(parts, w).unflatten(0, (copies, -1)).sum(0)
    return blocks.transpose(0, 1).reshape(*g.shape[:-1], -1)
'''

_NUMPY_BLOCK_SUM = '''
def block_outer_sum(g, v, blocks, copies=1):
    """The sum of the outer products of each block's part of two vectors."""
    g = g.reshape(-1, blocks, g.shape[-1] // blocks).swapaxes(0, 1)
    v = v.reshape(-1, blocks // copies, v.shape[-1] * copies // blocks).swapaxes(0, 1)
    return g.swapaxes(1, 2) @ np.tile(v, (copies, 1, 1))
'''

_TORCH_BLOCK_SUM = '''
def block_outer_sum(g, v, blocks, copies=1):
    """The sum of the outer products of each block's part of two vectors."""
    g = g.reshape(-1, blocks, g.shape[-1] // blocks).permute(1, 2, 0)
    v = v.reshape(-1, blocks // copies, v.shape[-1] * copies // blocks).transpose(0, 1)
    return torch.bmm(g, v.repeat(copies, 1, 1))
'''

_NUMPY_FILTER_BACK = '''
def convolve_transposed(w, g):
    """The filter turned round, from every place of g to the places it came from."""
    sizes = w.shape[2:]
    n = len(sizes)
    axes = tuple(range(-n, 0))
    around = [(0, 0)] * (g.ndim - n) + [(size // 2, (size - 1) // 2) for size in sizes]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(g, around), sizes, axes)
    turned = np.flip(w, axes)
    return np.moveaxis(np.tensordot(near, turned, ((-2 * n - 1, *axes), (0, *axes))), -1, -n - 1)
'''

_TORCH_FILTER_BACK = '''
def convolve_transposed(w, g):
    """The filter turned round, from every place of g to the places it came from."""
    sizes = w.shape[2:]
    around = [side for k in reversed(sizes) for side in (k // 2, (k - 1) // 2)]
    turned = w.flip(tuple(range(2, w.dim()))).transpose(0, 1)
    return (F.conv1d, F.conv2d, F.conv3d)[len(sizes) - 1](F.pad(g, around), turned)
'''

_NUMPY_FILTER_SUM = '''
def convolve_sum(g, v, sizes):
    """The sum over all places of what each number of a filter was multiplied by."""
    n = len(sizes)
    axes = tuple(range(-n, 0))
    around = [(0, 0)] * (v.ndim - n) + [((size - 1) // 2, size // 2) for size in sizes]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(v, around), sizes, axes)
    rows = tuple(range(v.ndim - n - 1))
    places = tuple(range(v.ndim - n, v.ndim))
    return np.tensordot(g, near, ((*rows, *places), (*rows, *places)))
'''

_TORCH_FILTER_SUM = '''
def convolve_sum(g, v, sizes):
    """The sum over all places of what each number of a filter was multiplied by."""
    around = [side for k in reversed(sizes) for side in ((k - 1) // 2, k // 2)]
    of = torch.nn.grad
    back = (of.conv1d_weight, of.conv2d_weight, of.conv3d_weight)[len(sizes) - 1]
    return back(F.pad(v, around), (g.shape[1], v.shape[1], *sizes), g.contiguous())
'''

_NUMPY_SCATTER = '''
def scatter_rows(g, x, rows):
    """Each g added to the row that x names."""
    total = np.zeros((rows, *g.shape[x.ndim :]), g.dtype)
    np.add.at(total, x, g)
    return total
'''

_TORCH_SCATTER = '''
def scatter_rows(g, x, rows):
    """Each g added to the row that x names."""
    return g.new_zeros(rows, *g.shape[1:]).index_add(0, x, g)
'''

OPS = (
    Op("compose", "The product of two weights.", "contraction", ("a", "b"), rule=_composed,
       work=_composing,
       spelling="a @ b", linear=(frozenset({0}), frozenset({1})), notation="$a·$b",
       precedence=CONTRACTION, latex="$a $b", glyph="·", written=False,
       pullback=lambda p, slot: (p.add("compose_right", p.g, p.args[1]) if slot == 0
                                 else p.add("compose_left", p.args[0], p.g))),
    Op("compose_right", "The product of a weight and a transposed one, a·bᵀ.", "contraction",
       ("a", "b"), rule=_composed_right, work=_composing, spelling="a @ b.T", notation="$a·$bᵀ",
       linear=(frozenset({0}), frozenset({1})), precedence=CONTRACTION, latex=r"$a $b^\top",
       glyph="·ᵀ", written=False),
    Op("compose_left", "The product of a transposed weight and another, aᵀ·b.", "contraction",
       ("a", "b"), rule=_composed_left, work=_composing, spelling="a.T @ b", notation="$aᵀ·$b",
       linear=(frozenset({0}), frozenset({1})), precedence=CONTRACTION, latex=r"$a^\top $b",
       glyph="ᵀ·", written=False),
    Op("matmul_transposed", "The product with the transposed weight, wᵀ·g; contracts the first "
       "dimensions of w.", "contraction", ("w", "g"), rule=_transposed_product,
       spelling=_spell_product, linear=(frozenset({0}), frozenset({1})), notation="$wᵀ·$g",
       precedence=CONTRACTION, latex=r"$w^\top $g", glyph="ᵀ·", written=False,
       pullback=lambda p, slot: (p.add("outer", p.args[1], p.g) if slot == 0
                                 else p.add("matmul", p.args[0], p.g))),
    Op("matmul_transposed_add", "A product with a transposed weight and a sum: wᵀ·g + c.",
       "contraction", ("w", "g", "c"), rule=_transposed_product, spelling=_spell_product_sum,
       spellings={"torch": _torch_product_sum}, notation="$wᵀ·$g + $c", precedence=SUM,
       linear=(frozenset({0, 2}), frozenset({1, 2})), latex=r"$w^\top $g + $c", glyph="ᵀ·+",
       written=False),
    Op("block_matmul_transposed", "The product with the transpose of a block-diagonal weight.",
       "contraction", ("w", "g"), rule=_blocks_back,
       spelling=_with_copies("block_matmul_transposed"),
       helpers={"numpy": _NUMPY_BLOCKS_BACK, "torch": _TORCH_BLOCKS_BACK},
       linear=(frozenset({0}), frozenset({1})), notation="$wᵀ·$g", precedence=CONTRACTION,
       latex=r"$w^\top $g", glyph="ᵀ·", written=False),
    Op("convolve_transposed", "A convolution the other way, which carries cotangents.",
       "contraction", ("w", "g"), rule=_filter_back, spelling="convolve_transposed(w, g)",
       helpers={"numpy": _NUMPY_FILTER_BACK, "torch": _TORCH_FILTER_BACK},
       linear=(frozenset({0}), frozenset({1})), latex=r"$w^\top \ast $g", glyph="∗ᵀ",
       written=False),
    Op("sum_over", "The sum over all sequences, over all steps, or both.", "total", ("a",),
       rule=_summed, spelling=_spell_sum, spellings={"torch": _torch_sum},
       linear=(frozenset({0}),), latex=r"\sum_t $a", glyph="Σ", written=False),
    Op("outer_sum", "The sum of outer products over all sequences and steps, as one product.",
       "total", ("a", "b"), rule=_summed_products, spelling=_spell_outer,
       spellings={"torch": _torch_outer}, linear=(frozenset({0}), frozenset({1})),
       latex=r"\sum_t $a $b^\top", glyph="Σ⊗", written=False),
    Op("block_outer_sum", "The sum of outer products block by block: the gradient of a "
       "block-diagonal weight.", "total", ("g", "v"), rule=_summed_blocks,
       spelling="block_outer_sum(g, v, shape[0], copies)",
       helpers={"numpy": _NUMPY_BLOCK_SUM, "torch": _TORCH_BLOCK_SUM},
       linear=(frozenset({0}), frozenset({1})), latex=r"\sum_t $g $v^\top", glyph="Σ⊗",
       written=False),
    Op("convolve_sum", "The gradient of a filter: its cotangents with its places, summed.",
       "total", ("g", "v"), rule=_summed_blocks, spelling="convolve_sum(g, v, shape[2:])",
       helpers={"numpy": _NUMPY_FILTER_SUM, "torch": _TORCH_FILTER_SUM},
       linear=(frozenset({0}), frozenset({1})), latex=r"\sum_t $g \ast $v", glyph="Σ∗",
       written=False),
    Op("scatter_rows", "Values added up in the rows that integers name: the gradient of `take`.",
       "total", ("g", "x"), rule=_scattered, spelling="scatter_rows(g, x, rows)",
       helpers={"numpy": _NUMPY_SCATTER, "torch": _TORCH_SCATTER}, linear=(frozenset({0}),),
       latex=r"\sum_{t: $x} $g", glyph="rows", written=False),
    Op("sum_to", "The sum along the dimensions that a smaller shape lacks.", "reduction", ("a",),
       rule=_without_dims, spelling=_spell_without_dims, linear=(frozenset({0}),),
       latex=r"\sum $a", glyph="Σ", written=False),
    Op("spread", "A value at every place along the last dimension of another.", "structural",
       ("a", "b"), rule=_along_last, flops=0, linear=(frozenset({0}),),
       spelling="xp.broadcast_to(a[..., None], b.shape)",
       latex=r"\operatorname{spread}($a, $b)", glyph="→", written=False),
)  # fmt: skip
