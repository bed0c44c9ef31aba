"""Ops that look at all elements along the last dimension."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import Type, TypeMismatch
from cellc.ops.op import Attrs, Op, numbers_only


def _over_last(args: Sequence[Type], attrs: Attrs) -> Type:
    _needs_a_dimension(args)
    return Type(args[0].shape, args[0].extent)


def _without_last(args: Sequence[Type], attrs: Attrs) -> Type:
    _needs_a_dimension(args)
    return Type(args[0].shape[:-1], args[0].extent)


def _needs_a_dimension(args: Sequence[Type]) -> None:
    numbers_only(args)
    if not args[0].shape:
        raise TypeMismatch("a scalar has no dimension to reduce", (0,))


_SOFTMAX = """
def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""

_STANDARDIZE = """
def standardize(a):
    centred = a - a.sum(axis=-1, keepdims=True) / a.shape[-1]
    variance = (centred * centred).sum(axis=-1, keepdims=True) / a.shape[-1]
    return centred / np.sqrt(variance + 1e-05)
"""

OPS = (
    Op("softmax", "Exponentials along the last dimension that sum to one.", "reduction", ("a",),
       rule=_over_last, spelling="softmax(a)", spellings={"torch": "torch.softmax(a, -1)"},
       helpers={"numpy": _SOFTMAX}, derivative=("y*(g - spread(sum(g*y), y))",), range=(0, 1),
       latex=r"\operatorname{softmax}($a)", glyph="softmax", flops=7),
    Op("standardize", "Zero mean and unit variance along the last dimension: "
       "(a - mean(a))/sqrt(var(a) + 0.00001).", "reduction", ("a",),
       rule=_over_last, spelling="standardize(a)",
       spellings={"torch": "F.layer_norm(a, a.shape[-1:])"}, helpers={"numpy": _STANDARDIZE},
       derivative=("(g - spread(mean(g), y) - y*spread(mean(g*y), y))/"
                   "spread(sqrt(mean((a - spread(mean(a), a))^2) + 0.00001), a)",),
       latex=r"\operatorname{standardize}($a)", glyph="norm", flops=7),
    Op("sum", "The sum along the last dimension.", "reduction", ("a",), rule=_without_last,
       spelling="a.sum(-1)", derivative=("spread(g, a)",), linear=(frozenset({0}),),
       latex=r"\sum $a", glyph="Σ"),
    Op("mean", "The mean along the last dimension.", "reduction", ("a",), rule=_without_last,
       spelling="a.mean(-1)", derivative=("spread(g/count(a), a)",), linear=(frozenset({0}),),
       latex=r"\operatorname{mean}($a)", glyph="mean"),
    Op("count", "How many elements lie along the last dimension.", "reduction", ("a",),
       rule=_without_last, spelling="xp.ones_like(a).sum(-1)", derivative=(None,),
       latex=r"\left|$a\right|", glyph="#", flops=0),
)  # fmt: skip
