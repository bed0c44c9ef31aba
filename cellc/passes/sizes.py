"""How many numbers a value has, where constructors choose the dimensions."""

from __future__ import annotations

from cellc.ir import Cell

#: What a dimension that a constructor sets is taken for.
SIZE = 128


def estimated_size(cell: Cell, name: str) -> float:
    """The numbers of a value, for dimensions of ``SIZE`` where they are not fixed."""
    size = 1.0
    fixed = {dim: argument.default or 1 for dim, argument in cell.dims.items() if argument.fixed}
    for dim in cell.nodes[name].type.shape:
        size *= dim.estimate(fixed, SIZE)
    return size
