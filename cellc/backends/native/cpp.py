"""Expressions of Python, as ops spell them, in C++ over vectors."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from cellc.diagnostics import fail
from cellc.ir import Dim

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "/",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_KEYWORDS = """
alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor bool
break case catch char char16_t char32_t char8_t class co_await co_return co_yield compl concept
const const_cast consteval constexpr constinit continue decltype default delete do double
dynamic_cast else enum explicit export extern false float for friend goto if inline int int64_t
int32_t linux long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast requires restrict return short signed size_t sizeof
static static_assert static_cast struct switch template this thread_local throw true try typedef
typeid typename typeof uint64_t union unix unsigned using virtual void volatile wchar_t while xor
xor_eq NULL INFINITY NAN I REAL_BITS EXPORT INLINE SHARED HELD LANES FULL REGISTERS VECTOR_BYTES
LANE_BY_LANE OF_LIBRARY store
"""
#: Words that nothing can be called in C or C++, or beside the functions of the headers.
KEYWORDS = frozenset(_KEYWORDS.split())
#: Functions of arrays that have another name over vectors.
_RENAMED = {"where": "select"}


@cache
def header(name: str) -> str:
    """The text of one of the headers that emitted files contain."""
    return files(__package__).joinpath(f"{name}.hpp").read_text()


@cache
def functions() -> frozenset[str]:
    """The functions of vectors that emitted files can call."""
    found = re.findall(r"INLINE (?:vec|mask) (\w+)\(|LANE_BY_LANE\((\w+),", header("numbers"))
    return frozenset(name for pair in found for name in pair if name)


def remark(text: str) -> str:
    """A text as one that a comment at the end of a line can have: it does not go on below."""
    return " ".join(text.replace("\\", "/").replace("??/", "??").splitlines())


def number(value: float) -> str:
    """A number of a spec as one of the kernel's real numbers."""
    if math.isnan(value):
        return '(real)__builtin_nan("")'
    if math.isinf(value):
        return f"(real){'-' if value < 0 else ''}__builtin_inf()"
    return f"(real){float(value)!r}"


def expression(tree: ast.expr, names: Mapping[str, str]) -> str:
    """The C++ of an expression, with names replaced by what they stand for.

    Raises CellcError ``missing-spelling`` for what has no counterpart.
    """
    match tree:
        case ast.Name():
            return names[tree.id]
        case ast.Constant():
            assert isinstance(tree.value, (int, float))
            return f"all({number(tree.value)})"
        case ast.UnaryOp(op=ast.USub()):
            return f"(-{expression(tree.operand, names)})"
        case ast.BinOp():
            left, right = expression(tree.left, names), expression(tree.right, names)
            if isinstance(tree.op, ast.Pow):
                return f"power({left}, {right})"
            if type(tree.op) in _BINARY:
                return f"({left} {_BINARY[type(tree.op)]} {right})"
        case ast.Compare(ops=[comparison]):
            first, second = expression(tree.left, names), expression(tree.comparators[0], names)
            return f"({first} {_COMPARE[type(comparison)]} {second})"
        case ast.IfExp():
            test = expression(tree.test, names)
            return f"({test} ? {expression(tree.body, names)} : {expression(tree.orelse, names)})"
        case ast.Call():
            return _call(tree, names)
    return _missing(tree)


def _call(tree: ast.Call, names: Mapping[str, str]) -> str:
    function = tree.func
    name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
    name = _RENAMED.get(name, name)
    if name not in functions() or tree.keywords:
        return _missing(tree)
    return f"{name}({', '.join(expression(part, names) for part in tree.args)})"


def _missing(tree: ast.expr) -> str:
    fail("missing-spelling", f"compiled kernels cannot compute `{ast.unparse(tree)}`")


def dimension(dim: Dim, prefix: str = "a.") -> str:
    """A dimension as an expression over whole numbers, whose names begin with a prefix."""
    text = [
        _term({f"{prefix}{name}": power for name, power in monomial}, c.numerator, c.denominator)
        for monomial, c in dim.terms
    ]
    return f"({' + '.join(text)})" if len(text) > 1 else "".join(text) or "0"


def _term(powers: Mapping[str, int], numerator: int, denominator: int) -> str:
    above = [name for name, power in powers.items() for _ in range(power)]
    below = [name for name, power in powers.items() for _ in range(-power)]
    above = [str(numerator), *above] if numerator != 1 or not above else above
    below = [str(denominator), *below] if denominator != 1 else below
    text = "*".join(above)
    return f"({text})/({'*'.join(below)})" if below else text
