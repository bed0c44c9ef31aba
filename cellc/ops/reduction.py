"""Ops that look at all elements along the last dimension."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import Type, TypeMismatch
from cellc.ops.op import Attrs, Op, numbers_only


def _over_last(args: Sequence[Type], attrs: Attrs) -> Type:
    _needs_a_dimension(args)
    return Type(args[0].shape, args[0].extent)


def _like_first(args: Sequence[Type], attrs: Attrs) -> Type:
    """As the first operand and the second, which the others summarise."""
    g, a, *summaries = args
    if g.shape != a.shape or any(summary.shape != a.shape[:-1] for summary in summaries):
        raise TypeMismatch("the shapes do not fit together", (0, 1, 2, 3))
    return Type(g.shape, frozenset().union(*(arg.extent for arg in args)))


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

_STANDARDIZE_SLOPE = """
def standardize_slope(g, a, mean, deviation):
    y = (a - mean[..., None]) / deviation[..., None]
    rest = g - g.mean(axis=-1, keepdims=True) - y * (g * y).mean(axis=-1, keepdims=True)
    return rest / deviation[..., None]
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
       derivative=("standardize_slope(g, a, mean(a), "
                   "sqrt(mean((a - spread(mean(a), a))^2) + 0.00001))",),
       latex=r"\operatorname{standardize}($a)", glyph="norm", flops=7),
    Op("standardize_slope", "The cotangent of a from that of standardize(a), g, and the mean and "
       "the deviation of a.", "reduction", ("g", "a", "mean", "deviation"),
       rule=_like_first, spelling="standardize_slope(g, a, mean, deviation)",
       spellings={"torch": "torch.ops.aten.native_layer_norm_backward(g, a, a.shape[-1:], mean, "
                  "1 / deviation, None, None, (True, False, False))[0]"},
       helpers={"numpy": _STANDARDIZE_SLOPE}, linear=(frozenset({0}),),
       latex=r"\operatorname{standardize}'($a, $mean, $deviation)\,$g", glyph="norm", flops=9,
       written=False),
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
