"""Ops that only move numbers: joining, cutting and spreading."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import NOWHERE, Dim, Node, Type, TypeMismatch
from cellc.ir.types import shape_text, union
from cellc.ops.op import Attrs, Op, Pull, numbers_only


def place_of(attrs: Attrs) -> int:
    """The dimension along which values are joined or cut, by default the first."""
    axis = attrs.get("axis", 0)
    assert isinstance(axis, int)
    return axis


def _joined(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    first, axis = args[0].shape, place_of(attrs)
    total = Dim.of(0)
    for slot, operand in enumerate(args):
        rest = (*operand.shape[:axis], *operand.shape[axis + 1 :])
        if len(operand.shape) <= axis or rest != (*first[:axis], *first[axis + 1 :]):
            message = f"{shape_text(first)} and {shape_text(operand.shape)} cannot be joined"
            raise TypeMismatch(message, (0, slot))
        total = total + operand.shape[axis]
    return Type((*first[:axis], total, *first[axis + 1 :]), union(args))


def _cut(args: Sequence[Type], attrs: Attrs) -> Type:
    start, stop = attrs["start"], attrs["stop"]
    shape = args[0].shape
    axis = attrs.get("axis", 0)
    if not (isinstance(start, Dim) and isinstance(stop, Dim) and isinstance(axis, int)):
        raise TypeMismatch("`slice` asks for dimensions as its ends", (0,))
    if axis >= len(shape):
        raise TypeMismatch(f"{shape_text(shape)} has no dimension {axis}", (0,))
    return Type((*shape[:axis], stop - start, *shape[axis + 1 :]), args[0].extent)


def _spread(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    return Type((*args[0].shape, *args[1].shape), union(args))


def _picked(args: Sequence[Type], attrs: Attrs) -> Type:
    index, shape = attrs["index"], args[0].shape
    if not shape or not isinstance(index, int):
        raise TypeMismatch(f"{shape_text(shape)} has no places to pick from", (0,))
    if shape[0].constant is not None and not 0 <= index < shape[0].constant:
        raise TypeMismatch(f"{shape_text(shape)} has no place {index}", (0,))
    return Type(shape[1:], args[0].extent, args[0].dtype)


def _stacked(args: Sequence[Type], attrs: Attrs) -> Type:
    dim, first, dtype = attrs["dim"], args[0].shape, args[0].dtype
    for slot, operand in enumerate(args):
        if operand.shape != first or (operand.dtype == "boolean") != (dtype == "boolean"):
            message = f"{shape_text(first)} and {shape_text(operand.shape)} cannot be stacked"
            raise TypeMismatch(message, (0, slot))
    if not isinstance(dim, Dim) or dim.constant not in (None, len(args)):
        raise TypeMismatch(f"{len(args)} values do not make a dimension {dim}", (0,))
    return Type((dim, *first), union(args), "boolean" if dtype == "boolean" else "real")


def _looked_up(args: Sequence[Type], attrs: Attrs) -> Type:
    table, index = args
    if table.dtype == "boolean" or not table.shape or table.extent:
        raise TypeMismatch("rows are taken from a weight [V, …]", (0,))
    if index.shape or index.dtype != "integer":
        raise TypeMismatch("a row is named by one whole number, as an integer input is", (1,))
    return Type(table.shape[1:], index.extent)


def _spell_stack(module: str, keyword: str) -> object:
    def spelling(node: Node, types: Sequence[Type]) -> str:
        names = ", ".join(node.op.operand_names(len(types)))  # type: ignore[attr-defined]
        return f"{module}(({names},), {keyword}={-len(types[0].shape) - 1})"

    return spelling


def _spell_at(node: Node, types: Sequence[Type]) -> str:
    return "a[" + ", ".join(["...", "index", *[":"] * (len(types[0].shape) - 1)]) + "]"


def _spell_concat(module: str, keyword: str) -> object:
    def spelling(node: Node, types: Sequence[Type]) -> str:
        names = ", ".join(node.op.operand_names(len(types)))  # type: ignore[attr-defined]
        axis = place_of(dict(node.attrs))
        return f"{module}(({names},), {keyword}={axis - len(types[0].shape)})"

    return spelling


def _spell_slice(node: Node, types: Sequence[Type]) -> str:
    axis = dict(node.attrs).get("axis", 0)
    assert isinstance(axis, int)
    behind = len(types[0].shape) - axis - 1
    return "a[" + ", ".join(["...", "start:stop", *[":"] * behind]) + "]"


def _spell_outer(node: Node, types: Sequence[Type]) -> str:
    left, right = (len(type_.shape) for type_ in types)
    a = ", ".join(["...", *["None"] * right])
    b = ", ".join(["...", *["None"] * left, *[":"] * right])
    return f"a[{a}] * b[{b}]"


def _torch_take(node: Node, types: Sequence[Type]) -> str:
    return "F.embedding(x, w)" if len(types[0].shape) == 2 else "w[x]"


def _part_of(p: Pull, slot: int) -> str | None:
    axis = place_of(p.attrs)
    start = Dim.of(0)
    for argument in p.args[:slot]:
        start = start + p.type(argument).shape[axis]
    stop = start + p.type(p.args[slot]).shape[axis]
    more = {"axis": axis} if axis else {}
    return p.add("slice", p.g, start=start, stop=stop, **more)


def _outer_pullback(p: Pull, slot: int) -> str | None:
    if slot == 0:
        return p.add("matmul", p.g, p.args[1]) if p.type(p.args[1]).shape else (
            p.add("multiply", p.g, p.args[1]))  # fmt: skip
    if not p.type(p.args[0]).shape:
        return p.add("multiply", p.g, p.args[0])
    return p.add("matmul_transposed", p.g, p.args[0])


def _rows_pullback(p: Pull, slot: int) -> str | None:
    rows = p.type(p.args[0]).shape[0]
    return p.total("scatter_rows", p.g, p.args[1], rows=rows) if slot == 0 else None


OPS = (
    Op("concat", "Values joined along their first dimension, or another.", "structural", ("a",),
       variadic=True, pullback=_part_of, rule=_joined,
       spelling=_spell_concat("np.concatenate", "axis"),  # type: ignore[arg-type]
       spellings={"torch": _spell_concat("torch.cat", "dim")},  # type: ignore[dict-item]
       glyph="[ ]", flops=0),
    Op("slice", "A part of a value along one dimension.", "structural", ("a",), rule=_cut,
       linear=(frozenset({0}),), written=False,
       spelling=_spell_slice, latex="$a", glyph="⌐", flops=0),
    Op("zeros_like", "Zeros in the shape of a value.", "structural", ("a",),
       rule=lambda args, attrs: Type(args[0].shape, NOWHERE), spelling="xp.zeros_like(a)",
       derivative=(None,), latex=r"0 \cdot $a", glyph="0", flops=0),
    Op("zeros", "Zeros of a stated shape.", "structural", (),
       rule=lambda args, attrs: Type(attrs["shape"], NOWHERE),  # type: ignore[arg-type]
       spellings={"numpy": "np.zeros(shape, self.dtype)", "torch": "like.new_zeros(shape)"},
       latex="0", glyph="0", flops=0),
    Op("outer", "The outer product: every element of a with every one of b.", "structural",
       ("a", "b"), rule=_spread, spelling=_spell_outer, pullback=_outer_pullback,
       linear=(frozenset({0}), frozenset({1})), latex=r"$a \otimes $b", glyph="⊗"),
    Op("stack", "Values of one shape, one behind the other along a new first dimension.",
       "structural", ("a",), variadic=True, rule=_stacked, written=False,
       pullback=lambda p, slot: p.add("at", p.g, index=slot),
       spelling=_spell_stack("np.stack", "axis"),  # type: ignore[arg-type]
       spellings={"torch": _spell_stack("torch.stack", "dim")},  # type: ignore[dict-item]
       glyph="[ ]", flops=0),
    Op("at", "One of the values along the first dimension.", "structural", ("a",), rule=_picked,
       spelling=_spell_at, written=False, linear=(frozenset({0}),), latex="$a", glyph="⌐", flops=0),
    Op("take", "The row of a weight that an integer names, as an embedding is looked up.",
       "structural", ("w", "x"), rule=_looked_up, spelling="w[x]", pullback=_rows_pullback,
       spellings={"torch": _torch_take}, linear=(frozenset({0}),), latex="$w[$x]",
       glyph="row", flops=0),
)  # fmt: skip
