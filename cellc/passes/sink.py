"""Values that a loop alone reads, or that are made of it alone, as part of its steps.

A compiled loop computes an elementwise value or a reduction where it is read for the price of the
arithmetic; over whole sequences it would be written to memory and read back. So the reverse of
what pays in an interpreter pays here: work that has left the loop goes back into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import networkx as nx

from cellc.ir import AtOnce, Cell, Loop, Once, Region, Scan, Schedule
from cellc.ir.types import NOWHERE, sequence_axis
from cellc.ops import TABLE
from cellc.passes.kernels import FUSED, parts_of

#: Products of one weight and a vector, with the weight or its transpose, and at most a sum.
PRODUCTS = ("matmul", "matmul_add", "matmul_transposed", "matmul_transposed_add")


def sunk(
    schedule: Schedule, saved: Iterable[str] = (), shifts: bool = False, ahead: bool = True
) -> Schedule:
    """A schedule whose loops compute the elementwise values and reductions around them as well.

    What the derivative reads is ``saved``; a product is computed ahead if it is not. With
    ``shifts`` loops read states that are other values' sequences one step later
    themselves, as those of a derivative; of a cell the last one is wanted as well. With ``ahead``
    products that do not wait for a loop belong to it, and scans are left as they are.
    """
    for place, region in enumerate(schedule.regions):
        if isinstance(region, Loop) and not (ahead and isinstance(region, Scan)):
            schedule = _Sink(schedule, place, region, frozenset(saved), shifts, ahead).run()
    kept = tuple(r for r in schedule.regions if r.values)
    return replace(schedule, regions=kept)


@dataclass(frozen=True)
class _Sink:
    """What goes into one loop of a schedule."""

    schedule: Schedule
    place: int
    loop: Loop
    saved: frozenset[str]
    shifts: bool
    ahead: bool

    @property
    def cell(self) -> Cell:
        return self.schedule.cell

    def run(self) -> Schedule:
        if isinstance(self.loop, Scan):
            behind = self._behind()
            moved = self._before(behind) | behind
        else:
            moved = self._before() | self._behind()
        regions = [_without(region, moved) for region in self.schedule.regions]
        inside = moved | set(self.loop.values)
        carried = [name for name in self.loop.values if name in self.loop.carries]
        shifted = [n for n in self.cell.nodes if n in moved and self.cell.nodes[n].op.leaf]
        ahead = tuple(n for n in self.cell.nodes if n in moved and self._is_product(n))
        parts = parts_of(self.cell, [n for n in self.cell.nodes if n in inside.difference(ahead)])
        values = (*carried, *shifted, *ahead, *(name for part in parts for name in part.values))
        regions[self.place] = replace(self.loop, values=values, parts=parts, ahead=ahead)
        return replace(self.schedule, regions=tuple(regions))

    def _before(self, behind: Iterable[str] = ()) -> set[str]:
        """Values of earlier regions that nothing but the loop, and some behind it, reads."""
        inside = {*self.loop.values, *behind}
        results = {result.value for result in self.cell.results}
        for region in reversed(self.schedule.regions[: self.place]):
            for name in reversed(self._movable(region, with_products=self.ahead)):
                if name not in results and inside.issuperset(self.cell.graph[name]):
                    inside.add(name)
        products = [n for n in self.cell.nodes if n in inside and n not in self.loop.values]
        for name in filter(self._is_product, products):
            inside -= nx.ancestors(self.cell.graph, name) - set(self.loop.values)
        return inside - {*self.loop.values, *behind}

    def _behind(self) -> set[str]:
        """Values of later regions that are made of the loop's, and of what is known before."""
        inside = set(self.loop.values)
        known = {name for region in self.schedule.regions[: self.place] for name in region.values}
        for region in self.schedule.regions[self.place + 1 :]:
            for name in self._movable(region):
                args = set(self.cell.nodes[name].args)
                if args & inside and args <= inside | known and args.isdisjoint(self._other):
                    inside.add(name)
        return inside - set(self.loop.values)

    @property
    def _other(self) -> set[str]:
        """That of the two values of a scan which it does not give: it goes one way."""
        if not isinstance(self.loop, Scan):
            return set()
        following = self.cell.values("next")[self.loop.carries[0]]
        return {following if self.loop.backward else self.loop.carries[0]}

    def _movable(self, region: Region, with_products: bool = False) -> list[str]:
        """The values of a region that a step, or a block of steps, can compute, in order."""
        at_once = isinstance(region, AtOnce)
        along = sequence_axis(region.extent) == self.loop.axis
        names: Iterable[str] = region.values if at_once and along else ()
        return [
            name for name in names
            if self._is_movable(name) or (with_products and self._is_product(name))
        ]  # fmt: skip

    def _is_product(self, name: str) -> bool:
        """Whether a value is the product of one weight and a vector, and at most a bias."""
        node = self.cell.nodes[name]
        if name in self.saved or node.op.name not in PRODUCTS:
            return False
        if node.type.extent != self.loop.extent:
            return False
        weight, vector, *added = (self.cell.nodes[argument].type for argument in node.args)
        fixed = all(type_.extent == NOWHERE for type_ in (weight, *added))
        return fixed and vector.extent == self.loop.extent and vector.dtype == "real"

    def _is_movable(self, name: str) -> bool:
        node = self.cell.nodes[name]
        if node.type.extent != self.loop.extent:
            return False
        if node.op.name == "state":
            return self.shifts and self._is_shift_of_known(name)
        real = all(self.cell.nodes[a].type.dtype != "integer" for a in node.args)
        if isinstance(self.loop, Scan):
            return real and self._is_alike(name)
        return TABLE[node.op.name].kind in (*FUSED, "reduction") and real

    def _is_alike(self, name: str) -> bool:
        """Whether a value is one of the places of a scan's state, or cut from another."""
        node, shape = self.cell.nodes[name], self.cell.nodes[self.loop.carries[0]].type.shape
        if node.op.name == "slice":
            return dict(node.attrs).get("axis", 0) == 0
        shapes = {self.cell.nodes[argument].type.shape for argument in node.args}
        by_place = TABLE[node.op.name].kind == "elementwise"
        return by_place and node.type.shape == shape and shapes <= {(), shape}

    def _is_shift_of_known(self, state: str) -> bool:
        """Whether a state is what an input has been one step before."""
        if dict(self.cell.nodes[state].attrs).get("backward"):
            return False
        source = self.cell.nodes[self.cell.values("next")[state]]
        return source.op.name == "input" and source.type.extent == self.loop.extent


def _without(region: Region, names: set[str]) -> Region:
    if isinstance(region, (Loop, Once)):
        return region
    return replace(region, values=tuple(n for n in region.values if n not in names))
