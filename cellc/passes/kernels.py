"""One step of a loop as products, reductions, and elementwise kernels between them.

The *stage* of a value is the largest number of products and reductions on a path to it from
the start of the step. Elementwise and structural values of one stage are one kernel: no
product lies on a path between them. A value goes into the kernel of its stage, the earliest
that it can, unless everything it is computed from is at hand where it is first read: then it
goes there, and need not be carried across the products between. Kernels between which there
is nothing else to wait for become one, the earliest pair first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import networkx as nx

from cellc.ir import Cell, Kernel, Loop, Product, Reduction, Region, Schedule, StepPart
from cellc.ops import TABLE

#: The kinds of ops that a kernel is made of.
FUSED = ("elementwise", "structural")


def parts_of(cell: Cell, values: Sequence[str]) -> tuple[StepPart, ...]:
    """The parts of one step of a loop with these values, in the order of computing.

    Carried states are in none of them.
    """
    inside = set(values)
    step = _Step(cell, [name for name in cell.nodes if name in inside])
    place = {name: number for number, name in enumerate(step.values)}
    groups = _grouped(step)
    first = {number: min(map(place.__getitem__, groups[number])) for number in groups}
    order = nx.lexicographical_topological_sort(_between(cell, groups), first.get)
    return tuple(
        kernel_of(cell, sorted(groups[number], key=place.__getitem__))
        if step.is_fused(groups[number][0]) else _alone(cell, groups[number][0])
        for number in order
    )  # fmt: skip


def _grouped(step: _Step) -> dict[int, list[str]]:
    """The values of each part, by a number: kernels of one stage, joined where none is between."""
    stages = step.final_stages()
    kernels: dict[int, list[str]] = {}
    for name in stages:
        if step.is_fused(name):
            kernels.setdefault(stages[name], []).append(name)
    groups = dict(enumerate([*kernels.values(), *([n] for n in stages if not step.is_fused(n))]))
    pairs = list(combinations(range(len(kernels)), 2))
    while pairs:
        first, second = pairs.pop(0)
        graph = _between(step.cell, groups)
        if not (_inner(graph, first, second) or _inner(graph, second, first)):
            groups[first] += groups.pop(second)
            pairs = list(combinations([k for k in range(len(kernels)) if k in groups], 2))
    return groups


def _between(cell: Cell, groups: Mapping[int, Sequence[str]]) -> nx.DiGraph[int]:
    """Which group reads which."""
    group_of = {name: number for number, names in groups.items() for name in names}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(groups)
    for name, number in group_of.items():
        read = {group_of[a] for a in cell.nodes[name].args if a in group_of}
        graph.add_edges_from((other, number) for other in read - {number})
    return graph


def _inner(graph: nx.DiGraph[int], first: int, last: int) -> set[int]:
    """What lies on the paths from one group to another."""
    inner: set[int] = nx.descendants(graph, first) & nx.ancestors(graph, last)
    return inner


def kernel_of(cell: Cell, values: Sequence[str]) -> Kernel:
    """The kernel that some values are, with what it reads and writes."""
    inside = set(values)
    read = dict.fromkeys(a for name in values for a in cell.nodes[name].args if a not in inside)
    given = {result.value for result in cell.results}
    outputs = (name for name in values if name in given or not inside.issuperset(cell.graph[name]))
    return Kernel(tuple(values), tuple(read), tuple(outputs))


def with_saved(schedule: Schedule, saved: Iterable[str]) -> Schedule:
    """A schedule whose parts say which of their values the derivative reads."""
    kept = set(saved)
    return replace(schedule, regions=tuple(_region_saving(r, kept) for r in schedule.regions))


def _region_saving(region: Region, kept: set[str]) -> Region:
    if not isinstance(region, Loop):
        return region
    return replace(region, parts=tuple(_part_saving(part, kept) for part in region.parts))


def _part_saving(part: StepPart, kept: set[str]) -> StepPart:
    if isinstance(part, Kernel):
        return replace(part, saved=tuple(name for name in part.values if name in kept))
    return replace(part, is_saved=part.value in kept)


def _alone(cell: Cell, name: str) -> StepPart:
    reduces = TABLE[cell.nodes[name].op.name].kind == "reduction"
    return Reduction(name) if reduces else Product(name)


@dataclass(frozen=True)
class _Step:
    """The values of one step in an order in which operands precede users."""

    cell: Cell
    values: Sequence[str]

    def is_fused(self, name: str) -> bool:
        return TABLE[self.cell.nodes[name].op.name].kind in FUSED

    def final_stages(self) -> dict[str, int]:
        """The stage of each value but the states; a product follows the kernel of its stage."""
        earliest = self._earliest()
        latest = self._latest(earliest)
        final: dict[str, int] = {}
        for name in earliest:
            final[name] = self._after(final, name)
            last = latest[name]
            if final[name] < last and self._at_hand(name, last, earliest, final):
                final[name] = last
        return final

    def _earliest(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in self.values:
            if not self.cell.nodes[name].op.leaf:
                found[name] = self._after(found, name)
        return found

    def _after(self, stages: Mapping[str, int], name: str) -> int:
        """The first stage in which all operands are known."""
        operands = (a for a in self.cell.nodes[name].args if a in stages)
        return max((stages[a] + (not self.is_fused(a)) for a in operands), default=0)

    def _latest(self, earliest: Mapping[str, int]) -> dict[str, int]:
        """The last stage that is early enough for the readers, which products do not leave."""
        found: dict[str, int] = {}
        for name in reversed(list(earliest)):
            readers = [found[reader] for reader in self._readers(name, earliest)]
            movable = readers and self.is_fused(name)
            found[name] = min(readers) if movable else earliest[name]
        return found

    def _readers(self, name: str, among: Mapping[str, int]) -> Iterator[str]:
        return (reader for reader in self.cell.graph[name] if reader in among)

    def _at_hand(
        self, name: str, stage: int, earliest: Mapping[str, int], final: Mapping[str, int]
    ) -> bool:
        """Whether a kernel has all operands of a value without anything carried for it alone."""
        for operand in self.cell.nodes[name].args:
            outside = operand not in final or not self.is_fused(operand)
            if outside or final[operand] == stage:
                continue
            readers = self._readers(operand, earliest)
            if all(reader == name or earliest[reader] < stage for reader in readers):
                return False
        return True
