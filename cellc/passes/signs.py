"""Which values are equal, or each other's negative, whatever way they are written."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import Cell, Node
from cellc.ops import TABLE

#: A sign, 1 or -1, and the number of the value that it belongs to.
Signed = tuple[int, int]

_ODD = ("tanh", "sin", "sign", "slice")
_EVEN = ("abs", "cos")


def signed_numbers(cell: Cell) -> dict[str, Signed]:
    """A sign and a number for each value.

    Values of one number and sign are equal, those of one number and two signs are each
    other's negative: ``a - b`` and ``b - a``, or ``-(W·x) - b`` and ``W·x + b``. Both hold to
    the last bit, since rounding is the same on both sides of zero.
    """
    numbers: dict[object, int] = {}
    found: dict[str, Signed] = {}
    for name, node in cell.nodes.items():
        operands = [found[argument] for argument in node.args]
        if node.op.name == "negate":
            sign, number = operands[0]
            found[name] = -sign, number
        else:
            sign, identity = _signed(name, node, operands)
            found[name] = sign, numbers.setdefault((identity, node.type), len(numbers))
    return found


def _signed(name: str, node: Node, operands: Sequence[Signed]) -> tuple[int, object]:
    """The sign of a value, and what makes another one the same but for its sign."""
    op = node.op.name
    if op == "const":
        value = float(node.attr("value"))  # type: ignore[arg-type]
        return (-1 if value < 0 else 1), (op, abs(value))
    if not node.args:
        return 1, name
    operands = list(operands)
    if op == "subtract":
        op, operands[1] = "add", (-operands[1][0], operands[1][1])
    if TABLE[op].commutative:
        operands.sort(key=lambda operand: operand[::-1])
    sign = 1
    if op in (*_ODD, *_EVEN):
        sign = operands[0][0] if op in _ODD else 1
        operands[0] = 1, operands[0][1]
    for slots in TABLE[op].linear:  # jointly linear: the sign of the first moves out
        lead = operands[min(slots)][0]
        sign *= lead
        for slot in slots:
            operands[slot] = operands[slot][0] * lead, operands[slot][1]
    return sign, (op, tuple(operands), node.attrs)


def opposites(one: Signed, other: Signed) -> bool:
    """Whether two values are each other's negative."""
    return one[1] == other[1] and one[0] == -other[0]
