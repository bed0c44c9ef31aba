"""Ops that only move numbers: joining, cutting and spreading."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import NOWHERE, Dim, Node, Type, TypeMismatch
from cellc.ir.types import shape_text, union
from cellc.ops.op import Attrs, Op, numbers_only


def _joined(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    first = args[0].shape
    total = Dim.of(0)
    for slot, operand in enumerate(args):
        if not operand.shape or operand.shape[1:] != first[1:]:
            message = f"{shape_text(first)} and {shape_text(operand.shape)} cannot be joined"
            raise TypeMismatch(message, (0, slot))
        total = total + operand.shape[0]
    return Type((total, *first[1:]), union(args))


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


def _spell_concat(module: str, keyword: str) -> object:
    def spelling(node: Node, types: Sequence[Type]) -> str:
        names = ", ".join(node.op.operand_names(len(types)))  # type: ignore[attr-defined]
        return f"{module}(({names},), {keyword}={-len(types[0].shape)})"

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


OPS = (
    Op("concat", "Values joined along their first dimension.", "structural", ("a",),
       variadic=True, rule=_joined, spelling=_spell_concat("np.concatenate", "axis"),  # type: ignore[arg-type]
       spellings={"torch": _spell_concat("torch.cat", "dim")},  # type: ignore[dict-item]
       glyph="[ ]", flops=0),
    Op("slice", "A part of a value along one dimension.", "structural", ("a",), rule=_cut,
       spelling=_spell_slice, latex="$a", glyph="⌐", flops=0),
    Op("zeros_like", "Zeros in the shape of a value.", "structural", ("a",),
       rule=lambda args, attrs: Type(args[0].shape, NOWHERE), spelling="xp.zeros_like(a)",
       derivative=(None,), latex=r"0 \cdot $a", glyph="0", flops=0),
    Op("outer", "The outer product: every element of a with every one of b.", "structural",
       ("a", "b"), rule=_spread, spelling=_spell_outer,
       linear=(frozenset({0}), frozenset({1})), latex=r"$a \otimes $b", glyph="⊗"),
)  # fmt: skip
