"""The value of an op for given numbers, through its NumPy spelling."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from cellc.ops.op import Op


def evaluate(op: Op, *values: Any) -> Any:
    """The op applied to numbers or arrays of equal shape.

    Raises ValueError for an op whose spelling depends on more than its operands.
    """
    spelling = op.spellings.get("numpy", op.spelling)
    if not isinstance(spelling, str) or not spelling:
        raise ValueError(f"{op.name} has no plain NumPy spelling")
    names = dict(zip(op.operand_names(len(values)), values, strict=True))
    with np.errstate(all="ignore"):
        return eval(spelling, _namespace(op), names)  # noqa: S307 - spellings are ours


@cache
def _namespace(op: Op) -> dict[str, Any]:
    space: dict[str, Any] = {"np": np, "xp": np}
    if "numpy" in op.helpers:
        exec(op.helpers["numpy"], space)  # noqa: S102 - helpers are ours
    return space
