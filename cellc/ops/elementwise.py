"""Ops that act on each element by itself, and the leaves they start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellc.ir import Type, TypeMismatch
from cellc.ir.types import union
from cellc.ops.op import (
    COMPARISON,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Attrs,
    Op,
    broadcast,
    comparison,
    elementwise,
)


def _leaf(name: str, summary: str) -> Op:
    return Op(name, summary, "leaf", flops=0)


def _unary(name: str, summary: str, spelling: str, derivative: str | None, **rest: Any) -> Op:
    latex = rest.pop("latex", rf"\{name}($a)")
    return Op(
        name,
        summary,
        "elementwise",
        ("a",),
        spelling=spelling,
        derivative=(derivative,),
        latex=latex,
        glyph=rest.pop("glyph", name),
        **rest,
    )


def _binary(
    name: str, summary: str, spelling: str, derivative: tuple[str | None, ...], **rest: Any
) -> Op:
    return Op(
        name, summary, "elementwise", ("a", "b"), spelling=spelling, derivative=derivative, **rest
    )


def _compare(name: str, sign: str, words: str, latex: str) -> Op:
    return _binary(
        name,
        f"Whether a {words} b.",
        f"a {sign} b",
        (None, None),
        rule=comparison,
        notation=f"$a {sign} $b",
        precedence=COMPARISON,
        latex=f"$a {latex} $b",
        glyph=sign,
    )


def _choice(args: Sequence[Type], attrs: Attrs) -> Type:
    if args[0].dtype != "boolean":
        raise TypeMismatch("`where` asks for a comparison as its first value", (0,))
    elementwise(args[1:], attrs)
    return Type(broadcast([a.shape for a in args]), union(args))


LEAVES = (
    _leaf("input", "A value given to the cell."),
    _leaf("state", "The value a state has when the step starts."),
    _leaf("param", "A learnt value."),
    _leaf("option", "A number given to the constructor."),
    _leaf("const", "A number of the spec."),
    _leaf("size", "A dimension as a number."),
)

_SIGMOID = """
def sigmoid(a):
    return 1 / (1 + np.exp(-a))  # 0 where the exponential overflows
"""

UNARY = (
    _unary("negate", "The negative.", "-a", "-g",
           notation="-$a", precedence=SIGN, latex="-$a", glyph="−", linear=(frozenset({0}),)),
    _unary("sigmoid", "The logistic function 1/(1 + exp(-a)).", "sigmoid(a)", "g*y*(1 - y)",
           spellings={"torch": "torch.sigmoid(a)"}, helpers={"numpy": _SIGMOID},
           overflows=True, range=(0, 1), aliases=("σ",), latex=r"\sigma($a)", glyph="σ", flops=4),
    _unary("tanh", "The hyperbolic tangent.", "xp.tanh(a)", "g*(1 - y*y)",
           range=(-1, 1), flops=4),
    _unary("relu", "The positive part.", "xp.maximum(a, 0)", "relu_slope(g, y)",
           spellings={"torch": "torch.relu(a)"}, range=(0, None),
           latex=r"\operatorname{relu}($a)"),
    _unary("softplus", "log(1 + exp(a)), a smooth relu.", "xp.logaddexp(0, a)", "g*sigmoid(a)",
           spellings={"torch": "F.softplus(a, threshold=40)"}, range=(0, None),
           latex=r"\operatorname{softplus}($a)", flops=6),
    _unary("exp", "The exponential.", "xp.exp(a)", "g*y", range=(0, None), flops=4),
    _unary("log", "The natural logarithm.", "xp.log(a)", "g/a", flops=4),
    _unary("sqrt", "The square root.", "xp.sqrt(a)", "g/(2*y)", range=(0, None),
           latex=r"\sqrt{$a}", glyph="√", flops=4),
    _unary("abs", "The absolute value.", "xp.abs(a)", "g*sign(a)", range=(0, None),
           latex=r"\left|$a\right|", glyph="|·|"),
    _unary("sign", "-1, 0 or 1 as a is negative, zero or positive.", "xp.sign(a)", None,
           range=(-1, 1), latex=r"\operatorname{sign}($a)", glyph="±"),
    _unary("floor", "The largest whole number not above a.", "xp.floor(a)", None,
           latex=r"\lfloor $a \rfloor", glyph="⌊·⌋"),
    _unary("sin", "The sine.", "xp.sin(a)", "g*cos(a)", range=(-1, 1), flops=4),
    _unary("cos", "The cosine.", "xp.cos(a)", "-g*sin(a)", range=(-1, 1), flops=4),
)  # fmt: skip

CUTS = (
    _unary("stop", "The value itself, through which no gradient flows.", "a", None,
           spellings={"torch": "a.detach()"}, latex=r"\operatorname{stop}($a)", flops=0),
    Op("cut", "The value itself; a gradient flows through it where w is 1.", "elementwise",
       ("a", "w"), spelling="a", spellings={"torch": "torch.where(w > 0, a, a.detach())"},
       derivative=("g*w", None), latex="$a", glyph="✂", flops=0, written=False),
    Op("relu_slope", "The cotangent of a from that of relu(a), g, and relu(a), y.", "elementwise",
       ("g", "y"), spelling="xp.where(y > 0, g, 0)",
       spellings={"torch": "torch.ops.aten.threshold_backward(g, y, 0)"},
       derivative=("relu_slope(g, y)", None), linear=(frozenset({0}),),
       latex=r"\operatorname{relu}'($y)\,$g", glyph="relu'", written=False),
)  # fmt: skip

_BOTH = (frozenset({0, 1}),)
_EACH = (frozenset({0}), frozenset({1}))

BINARY = (
    _binary("add", "The sum.", "a + b", ("g", "g"), notation="$a + $b", precedence=SUM,
            latex="$a + $b", glyph="+", commutative=True, associative=True, linear=_BOTH),
    _binary("subtract", "The difference.", "a - b", ("g", "-g"), notation="$a - $b",
            precedence=SUM, latex="$a - $b", glyph="−", linear=_BOTH),
    _binary("multiply", "The elementwise product.", "a * b", ("g*b", "g*a"),
            notation="$a*$b", precedence=PRODUCT, latex=r"$a \odot $b", glyph="×",
            commutative=True, associative=True, linear=_EACH),
    _binary("divide", "The elementwise quotient.", "a / b", ("g/b", "-g*y/b"),
            notation="$a/$b", precedence=PRODUCT, latex=r"\frac{$a}{$b}", glyph="÷",
            linear=(frozenset({0}),), flops=4),
    _binary("power", "a raised to b.", "a ** b",
            ("g*b*a^(b - 1)", "where(a > 0, g*y*log(max(a, 1e-300)), 0)"),
            notation="$a^$b", precedence=POWER, latex="{$a}^{$b}", glyph="^", flops=8),
    _binary("maximum", "The larger of two values.", "xp.maximum(a, b)",
            ("where(a > b, g, where(a == b, g/2, 0))", "where(b > a, g, where(a == b, g/2, 0))"),
            aliases=("max",), commutative=True, associative=True,
            latex=r"\max($a, $b)", glyph="max"),
    _binary("minimum", "The smaller of two values.", "xp.minimum(a, b)",
            ("where(a < b, g, where(a == b, g/2, 0))", "where(b < a, g, where(a == b, g/2, 0))"),
            aliases=("min",), commutative=True, associative=True,
            latex=r"\min($a, $b)", glyph="min"),
    _binary("mod", "The remainder with the sign of b: a - b*floor(a/b).", "xp.mod(a, b)",
            ("g", "-g*floor(a/b)"), spellings={"torch": "torch.remainder(a, b)"},
            latex=r"$a \bmod $b", glyph="mod", flops=4),
)  # fmt: skip

COMPARISONS = (
    _compare("less", "<", "is less than", "<"),
    _compare("less_equal", "<=", "is at most", r"\le"),
    _compare("greater", ">", "is greater than", ">"),
    _compare("greater_equal", ">=", "is at least", r"\ge"),
    _compare("equal", "==", "equals", "="),
    _compare("not_equal", "!=", "differs from", r"\ne"),
)

TERNARY = (
    Op("where", "a where the condition holds, b elsewhere.", "elementwise", ("c", "a", "b"),
       rule=_choice, spelling="xp.where(c, a, b)",
       spellings={"number": "a if c else b"},
       derivative=(None, "where(c, g, 0)", "where(c, 0, g)"), linear=(frozenset({1, 2}),),
       latex=r"\begin{cases} $a & \text{if } $c \\ $b & \text{otherwise} \end{cases}",
       glyph="?", selects=True),
    Op("clip", "a held between lo and hi.", "elementwise", ("a", "lo", "hi"),
       spelling="xp.clip(a, lo, hi)", spellings={"torch": "torch.clamp(a, lo, hi)"},
       derivative=("where(a < lo, 0, where(a > hi, 0, g))",
                   "where(a < lo, g, 0)", "where(a > hi, g, 0)"),
       latex=r"\operatorname{clip}($a, $lo, $hi)", glyph="clip", flops=2),
    Op("lerp", "a moved towards b by the share w: a + w*(b - a).", "elementwise",
       ("a", "b", "w"), spelling="a + w * (b - a)",
       spellings={"torch": "torch.lerp(a, b, w)"}, expansion="a + w*(b - a)",
       derivative=("g*(1 - w)", "g*w", "g*(b - a)"),
       linear=(frozenset({0, 1}), frozenset({2})),
       latex=r"(1 - $w) \odot $a + $w \odot $b", glyph="mix", selects=True, flops=3),
    Op("multiply_add", "a*b + c.", "elementwise", ("a", "b", "c"), spelling="a * b + c",
       spellings={"torch": "torch.addcmul(c, a, b)"}, expansion="a*b + c",
       derivative=("g*b", "g*a", "g"), linear=(frozenset({0, 2}), frozenset({1, 2})),
       notation="$a*$b + $c", precedence=SUM,
       latex=r"$a \odot $b + $c", glyph="×+", flops=2),
)  # fmt: skip

OPS = (*LEAVES, *UNARY, *CUTS, *BINARY, *COMPARISONS, *TERNARY)
