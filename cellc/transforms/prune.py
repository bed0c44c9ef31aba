"""Takes out what no output depends on."""

from __future__ import annotations

from cellc.ir import Cell
from cellc.transforms.keep import live_states, only


def prune(cell: Cell) -> Cell:
    """The cell without states, inputs, options and parameters that no output depends on.

    It takes and returns less, which is why no pass does it. A cell in which all is needed
    comes back as it is. :func:`cellc.removed` tells what went.
    """
    smaller = only(cell, live_states(cell, ()))
    return cell if len(smaller.nodes) == len(cell.nodes) else smaller
