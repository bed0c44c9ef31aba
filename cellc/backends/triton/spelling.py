"""How ops are written in Triton, and what nothing in a kernel can be called."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from cellc.backends.spelling import Speller
from cellc.diagnostics import CellcError
from cellc.ir import Node, Type
from cellc.kernels.sources import GPU, definitions

OWN = {
    "sigmoid": "sigmoid(a)",
    "tanh": "tanh(a)",
    "relu": "tl.where(a < 0, 0.0, a)",
    "softplus": "softplus(a)",
    "exp": "tl.exp(a)",
    "log": "tl.log(a)",
    "sqrt": "tl.sqrt(a)",
    "abs": "tl.abs(a)",
    "sign": "sign(a)",
    "floor": "tl.floor(a)",
    "sin": "tl.sin(a)",
    "cos": "tl.cos(a)",
    "relu_slope": "tl.where(y > 0, g, 0.0)",
    "power": "power(a, b)",
    "maximum": "maximum(a, b)",
    "minimum": "minimum(a, b)",
    "mod": "mod(a, b)",
    "where": "tl.where(c, a, b)",
    "clip": "minimum(maximum(a, lo), hi)",
    "keep": "drop_mask(u, p, TRAINING)",
    "training": "chosen(a, b, TRAINING)",
    "stop": "a",
    "cut": "a",
    "spread": "a",
    "zeros": "0.0",
    "zeros_like": "0.0",
    "standardize": "standardize(a, inside, count)",
    "standardize_slope": "standardize_slope(g, a, mean, deviation, inside, count)",
    "softmax": "softmax(a, inside)",
    "sum": "total(a, inside)",
    "mean": "total(a, inside) / count",
    "count": "count",
}
SPELLER = Speller("triton", "tl", OWN, mode="TRAINING")
_OF_TRITON = frozenset(
    [
        "where",
        "exp",
        "exp2",
        "log",
        "log2",
        "sqrt",
        "rsqrt",
        "abs",
        "floor",
        "ceil",
        "sin",
        "cos",
        "erf",
        "fma",
    ]
)
_WORDS = """
tl triton torch table step batch steps sizes sizes_ptr moment first rows before now later sequence
row here there done begin nth joined carry factor term factors terms earlier moment_before
row_before earlier_before here_before ROWS KEEP RAGGED TRAINING NUMBER REAL PRECISION self call m
keep training loops range moment_ahead first_ahead rows_ahead before_ahead row_ahead here_ahead
"""
_NUMBERED = ("", "_one", *(f"_{number}" for number in range(1, 100)))
#: What the functions that emitted files contain are called, and the names within kernels.
TAKEN = frozenset([
    *_WORDS.split(),
    *(f"{stem}{end}" for stem in ("lane", "inside", "within", "BLOCK") for end in _NUMBERED),
    *(name for module in GPU for name in definitions(module)),
])  # fmt: skip


def can_write(node: Node, types: Sequence[Type]) -> bool:
    """Whether a kernel can compute an op: whether its spelling is made of what Triton has."""
    if node.op.name in OWN:
        return True
    try:
        spelled = SPELLER.spelling(node, types)
    except CellcError:
        return False
    parts = list(ast.walk(spelled))
    if any(isinstance(part, ast.Pow) for part in parts):
        return False
    return all(_is_known(part.func) for part in parts if isinstance(part, ast.Call))


def _is_known(function: ast.expr) -> bool:
    """Whether a function is one of Triton's, or one that emitted files contain."""
    if isinstance(function, ast.Attribute):
        return ast.unparse(function.value) == "tl" and function.attr in _OF_TRITON
    return isinstance(function, ast.Name) and function.id in TAKEN
