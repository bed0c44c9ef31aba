"""Values that slices take apart without a rest, which one statement can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cellc.ir import Cell, Dim, Region
from cellc.ir.types import Shape


@dataclass(frozen=True)
class Partition:
    """The slices of a value in order, along one of its dimensions."""

    pieces: tuple[str, ...]
    sizes: Shape
    axis: int

    @property
    def even(self) -> bool:
        """Whether all pieces have one size."""
        return len(set(self.sizes)) == 1


def partitions(cell: Cell, region_of: Mapping[str, Region]) -> dict[str, Partition]:
    """The values that slices of their own region cover exactly, by name."""
    found: dict[str, Partition] = {}
    for name, node in cell.nodes.items():
        slices = [
            user
            for user in cell.graph.successors(name)
            if cell.nodes[user].op.name == "slice" and region_of.get(user) is region_of.get(name)
        ]
        axes = {dict(cell.nodes[piece].attrs).get("axis", 0) for piece in slices}
        if len(slices) < 2 or len(axes) != 1 or (node.op.leaf and node.op.name != "param"):
            continue
        axis = axes.pop()
        assert isinstance(axis, int)
        ordered = _in_a_row(cell, slices, node.type.shape[axis])
        if ordered:
            sizes = tuple(cell.nodes[piece].type.shape[axis] for piece in ordered)
            found[name] = Partition(tuple(ordered), sizes, axis - len(node.type.shape))
    return found


def _in_a_row(cell: Cell, slices: list[str], end: Dim) -> list[str]:
    """The slices in order, if each begins where the one before ends, up to the end."""
    starts = {cell.nodes[piece].attr("start"): piece for piece in slices}
    place = Dim.of(0)
    ordered: list[str] = []
    while place in starts and len(ordered) < len(slices):
        ordered.append(starts[place])
        stop = cell.nodes[ordered[-1]].attr("stop")
        assert isinstance(stop, Dim)
        place = stop
    return ordered if place == end and len(ordered) == len(slices) else []
