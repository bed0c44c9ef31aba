"""The value of an op for given numbers, through its NumPy spelling."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from cellc.ops import find
from cellc.ops.op import Op
from cellc.syntax import parse_expression, tree


def evaluate(op: Op, *values: Any) -> Any:
    """The op applied to numbers or arrays of equal shape, as while training.

    Raises ValueError for an op whose spelling depends on more than its operands.
    """
    spelling = op.spellings.get("numpy", op.spelling)
    if op.by_mode:  # one that broadcasts in arrays is plain in numbers
        spelling = op.spellings.get("number", spelling)
    if not spelling and op.expansion:
        return evaluate_expression(
            parse_expression(op.expansion), dict(zip(op.parameters, values, strict=True))
        )
    if not isinstance(spelling, str) or not spelling:
        raise ValueError(f"{op.name} has no plain NumPy spelling")
    names = dict(zip(op.operand_names(len(values)), values, strict=True))
    with np.errstate(all="ignore"):
        return eval(spelling, _namespace(op), names)  # noqa: S307 - spellings are ours


def evaluate_expression(expression: tree.Expression, known: dict[str, Any]) -> Any:
    """An expression of ops on values known by name, such as an expansion or a derivative."""
    match expression:
        case tree.Number(value=value):
            return value
        case tree.Name(name=name):
            return known[name]
        case tree.Call(function=function, args=args):
            op = find(function)
            assert op is not None, f"the expansion applies `{function}`, which is no op"
            return evaluate(op, *(evaluate_expression(part, known) for part in args))


@cache
def _namespace(op: Op) -> dict[str, Any]:
    space: dict[str, Any] = {"np": np, "xp": np, "training": True}
    if "numpy" in op.helpers:
        exec(op.helpers["numpy"], space)  # noqa: S102 - helpers are ours
    return space
