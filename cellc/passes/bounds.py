"""What is known of the size of a value, whatever the cell is given."""

from __future__ import annotations

from collections.abc import Mapping

from cellc.ir import Node
from cellc.ops import TABLE

_DEEPEST = 8


def least(nodes: Mapping[str, Node], name: str, depth: int = _DEEPEST) -> float | None:
    """A number that a value is never below, or None where none is known.

    Inputs, states and parameters are unbounded, whatever they start with. What is undefined
    stays undefined and counts as within bounds.
    """
    node = nodes[name]
    if node.op.name == "const":
        return float(node.attr("value"))  # type: ignore[arg-type]
    if node.op.name == "size":
        return 1.0
    if node.op.leaf or not depth:
        return None
    known = TABLE[node.op.name].range[0]
    if known is not None:
        return known
    if node.op.name == "where":
        bounds = [least(nodes, argument, depth - 1) for argument in node.args[1:]]
    else:
        bounds = [least(nodes, argument, depth - 1) for argument in node.args]
    if node.op.name == "maximum":
        return max((bound for bound in bounds if bound is not None), default=None)
    found = [bound for bound in bounds if bound is not None]
    if len(found) < len(bounds) and not _is_square(node):
        return None
    return _combined(node, found)


def _is_square(node: Node) -> bool:
    return node.op.name == "multiply" and len(set(node.args)) == 1


def _combined(node: Node, bounds: list[float]) -> float | None:
    """The bound of a value from those of all its operands."""
    match node.op.name:
        case "add":
            return sum(bounds)
        case "multiply" | "divide" if _is_square(node) or min(bounds) >= 0:
            return 0.0
        case "minimum" | "where" | "concat" | "stack":
            return min(bounds)
        case "slice" | "at" | "mean" | "last" | "first" | "reverse" | "mean_over":
            return bounds[0]
        case "sum" if bounds[0] >= 0:
            return 0.0
        case _:
            return None
