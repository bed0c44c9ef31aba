"""When each value is known: the scheduled form of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import networkx as nx

from cellc.diagnostics import CellcError, Diagnostic
from cellc.ir import (
    BATCH,
    NOWHERE,
    AtConstruction,
    AtOnce,
    Cell,
    Loop,
    Once,
    Region,
    Scan,
    Schedule,
)
from cellc.ir.schedule import is_backward
from cellc.ir.types import Extent, sequence_axis
from cellc.ops import TABLE
from cellc.passes.kernels import parts_of
from cellc.passes.loops import computed_starts, with_recurrence
from cellc.passes.recurrence import recurrence_of, sequential_depth
from cellc.passes.scan import affine_step


@dataclass(frozen=True)
class Scheduler:
    """Condenses the cell into loops and regions that run at once.

    A value without extent is computed once per call. A cyclic component of the graph
    with recurrence is a loop; all other values are computed at once for their whole
    extent, as early as what they need is known. Unless ``scan`` is ``never``, a loop in the
    form of one is a scan: ``always``, or where emitted code finds that faster.
    """

    scan: str = "never"

    def run(self, cell: Cell) -> Schedule:
        """The schedule. Raises CellcError ``sequence-in-loop``."""
        graph = with_recurrence(cell)
        components = list(nx.strongly_connected_components(graph))
        level = _levels(graph, components)
        needed = _needed(cell)
        regions: list[Region] = []
        known = _known_beforehand(cell)
        once = [name for name in cell.nodes if name in known and name in needed]
        if once:
            regions.append(Once(tuple(once)))
        done = set(once)
        cyclic = [c for c in components if _is_loop(graph, c)]
        looped = {name for component in cyclic for name in component}
        rank = {name: place for place, name in enumerate(cell.nodes)}
        order = nx.lexicographical_topological_sort(graph.subgraph(set(rank) - looped), rank.get)
        order = list(order)
        for stage in range(max(level.values(), default=0) + 1):
            plain = [n for n in order if level[n] == stage and n in needed and n not in done]
            regions.extend(_by_extent(cell, graph, plain))
            done.update(plain)
            for component in cyclic:
                if level[next(iter(component))] == stage:
                    regions.append(self._as_scan(cell, _loop(cell, component)))
        placed = {name for region in regions for name in region.values}
        rest = tuple(name for name in cell.nodes if name not in placed)
        if rest:
            regions.append(AtConstruction(rest))
        names = dict.fromkeys(cell.inputs)  # whose order is that of the call's arguments
        names.update(dict.fromkeys(name for region in regions for name in region.values))
        return Schedule(cell.replace({n: cell.nodes[n] for n in names}), tuple(regions))

    def _as_scan(self, cell: Cell, loop: Loop) -> Loop:
        step = affine_step(cell, {*loop.values}) if self.scan != "never" else None
        if step is None:
            return loop
        return Scan(**vars(loop), factor=step.factor, term=step.term, always=self.scan == "always")


def _known_beforehand(cell: Cell) -> set[str]:
    """The values without extent that are no totals, and so need nothing that has one."""
    found: set[str] = set()
    for name, node in cell.nodes.items():
        if node.type.extent == NOWHERE and found.issuperset(node.args):
            found.add(name)
    return found


def _needed(cell: Cell) -> set[str]:
    """Every value that a call computes, and all inputs, states and draws."""
    needed = {r.value for r in cell.results if r.role not in ("initial", "start")}
    needed |= {*cell.inputs, *cell.states, *cell.leaves("draw"), *computed_starts(cell).values()}
    for name in reversed(list(cell.nodes)):
        if name in needed:
            needed.update(cell.nodes[name].args)
    return needed


def _is_loop(graph: nx.DiGraph[str], component: set[str]) -> bool:
    return len(component) > 1 or any(graph.has_edge(name, name) for name in component)


def _levels(graph: nx.DiGraph[str], components: list[set[str]]) -> dict[str, int]:
    """How many loops precede a value; a loop's own values count without it."""
    condensed = nx.condensation(graph, components)
    level: dict[int, int] = {}
    for number in nx.topological_sort(condensed):
        before = [
            level[p] + _is_loop(graph, condensed.nodes[p]["members"])
            for p in condensed.predecessors(number)
        ]
        level[number] = max(before, default=0)
    return {
        name: level[number] for number in condensed for name in condensed.nodes[number]["members"]
    }


def _by_extent(cell: Cell, graph: nx.DiGraph[str], names: Sequence[str]) -> Iterator[Region]:
    """Regions of one extent each for values in order; those of a sequence come first."""
    waiting = list(names)
    while waiting:
        ready = _ready(cell, graph, waiting, frozenset({BATCH}))
        extent = frozenset({BATCH}) if ready else cell.nodes[waiting[0]].type.extent
        ready = ready or _ready(cell, graph, waiting, extent)
        yield AtOnce(tuple(ready), extent) if extent else Once(tuple(ready))
        waiting = [name for name in waiting if name not in ready]


def _ready(
    cell: Cell, graph: nx.DiGraph[str], names: Sequence[str], extent: Extent
) -> dict[str, None]:
    """The values of an extent that need none of the others, in order."""
    pending = set(names)
    ready: dict[str, None] = {}
    for name in names:
        if cell.nodes[name].type.extent == extent and pending.isdisjoint(graph.predecessors(name)):
            pending.remove(name)
            ready[name] = None
    return ready


def _loop(cell: Cell, component: set[str]) -> Loop:
    values = tuple(name for name in cell.nodes if name in component)
    for name in values:
        if TABLE[cell.nodes[name].op.name].kind in ("sequence", "total"):
            _refuse(cell, name)
    carries = tuple(name for name in values if cell.nodes[name].op.name == "state")
    extent = cell.nodes[carries[0]].type.extent
    axis = sequence_axis(extent)
    assert axis is not None, "a state travels along an axis"
    finding, depth = recurrence_of(cell, values, carries), sequential_depth(cell, values)
    back = is_backward(cell, carries[0])
    parts = parts_of(cell, values)
    ordered = (*carries, *(name for part in parts for name in part.values))
    return Loop(
        ordered, axis, carries, finding.recurrence, depth, extent, back, finding.reason, parts
    )


def _refuse(cell: Cell, name: str) -> NoReturn:
    """Raise the error for an op over a whole sequence within a loop."""
    node = cell.nodes[name]
    operand = node.args[0]
    written = f"{node.op.name}({'…' if operand.isdigit() else operand})"
    value = written if name.isdigit() else name
    span = min(node.spans, key=lambda span: span.start, default=None)
    raise CellcError(
        Diagnostic(
            "sequence-in-loop",
            f"`{value}` needs the whole sequence, whose steps need `{value}`",
            span,
            hints=("what runs over a whole sequence can follow a loop but not be part of it",),
        )
    )
