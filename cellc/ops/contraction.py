"""Matrix products: ops that contract dimensions of a weight with those of a value."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

from cellc.ir import NOWHERE, Node, Type, TypeMismatch
from cellc.ir.types import shape_text, union
from cellc.ops.op import CONTRACTION, SUM, Attrs, Op, Pull, numbers_only


def _product(args: Sequence[Type], attrs: Attrs) -> Type:
    """The left operand's last dimensions are the right operand's; the rest remain."""
    numbers_only(args)
    left, right = args[0], args[1]
    rank = len(right.shape)
    if rank == 0:
        raise TypeMismatch("a matrix product with a scalar has nothing to contract", (1,))
    if left.shape[-rank:] != right.shape:
        raise TypeMismatch(
            f"{shape_text(left.shape)} does not end in {shape_text(right.shape)}", (0, 1)
        )
    return Type(left.shape[:-rank], union((left, right)))


def _product_sum(args: Sequence[Type], attrs: Attrs) -> Type:
    product = _product(args, attrs)
    if args[2].shape != product.shape:
        raise TypeMismatch(
            f"{shape_text(product.shape)} and {shape_text(args[2].shape)} do not fit", (0, 2)
        )
    return Type(product.shape, union((product, args[2])))


def is_plain(left: Type, right: Type) -> bool:
    """Whether a product is a weight matrix times a vector, the usual case."""
    return left.extent == NOWHERE and len(left.shape) == 2 and len(right.shape) == 1


def einsum_form(left: Type, right: Type) -> str:
    """The subscripts of a product for einsum: ``mns,...ns->...m``."""
    contracted = len(right.shape)
    letters = ascii_lowercase[: len(left.shape)]
    kept, summed = letters[: len(letters) - contracted], letters[len(letters) - contracted :]
    spread = ["..." if type_.extent else "" for type_ in (left, right)]
    result = "..." if any(spread) else ""
    return f"{spread[0]}{letters},{spread[1]}{summed}->{result}{kept}"


def transposed_form(left: Type, right: Type) -> str:
    """The subscripts of a product with the transposed weight: ``mns,...m->...ns``."""
    letters = ascii_lowercase[: len(left.shape)]
    summed, kept = letters[: len(right.shape)], letters[len(right.shape) :]
    spread = ["..." if type_.extent else "" for type_ in (left, right)]
    result = "..." if any(spread) else ""
    return f"{spread[0]}{letters},{spread[1]}{summed}->{result}{kept}"


def _spelled(node: Node, types: Sequence[Type]) -> str:
    left, right = types[:2]
    return "b @ w.T" if is_plain(left, right) else f"xp.einsum('{einsum_form(left, right)}', w, b)"


def _spelled_sum(node: Node, types: Sequence[Type]) -> str:
    return f"{_spelled(node, types)} + c"


def _pullback(p: Pull, slot: int) -> str | None:
    if slot == 2:
        return p.g
    weight, vector = p.args[:2]
    if slot == 0:
        return p.add("outer", p.g, vector)
    return p.add("matmul_transposed", weight, p.g)


def _torch_sum(node: Node, types: Sequence[Type]) -> str:
    if is_plain(types[0], types[1]) and types[1].extent:
        return "torch.addmm(c, b, w.T)"
    return _spelled_sum(node, types)


OPS = (
    Op("matmul", "The matrix product; contracts every dimension of its right operand.",
       "contraction", ("w", "b"), rule=_product, spelling=_spelled, pullback=_pullback,
       linear=(frozenset({0}), frozenset({1})), notation="$w·$b", precedence=CONTRACTION,
       latex="$w $b", glyph="·", aliases=("matvec",)),
    Op("matmul_add", "A matrix product and a sum: w·b + c.", "contraction", ("w", "b", "c"),
       rule=_product_sum, spelling=_spelled_sum, spellings={"torch": _torch_sum},
       pullback=_pullback,
       expansion="w·b + c", linear=(frozenset({0, 2}), frozenset({1, 2})),
       notation="$w·$b + $c", precedence=SUM, latex="$w $b + $c", glyph="·+"),
)  # fmt: skip
