"""What a program that only runs a cell computes, and in which loops.

Without training, nothing is drawn. A compiled program computes all values in loops: a region
that is computed at once is a loop whose steps do not depend on each other, and what a call
computes once is a loop of one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import networkx as nx

from cellc.diagnostics import fail
from cellc.ir import (
    NOWHERE,
    TIME,
    AtConstruction,
    AtOnce,
    Cell,
    Loop,
    Once,
    Region,
    Result,
    Schedule,
    Shape,
    reached,
)
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE
from cellc.passes.edit import Edit
from cellc.passes.kernels import FUSED, parts_of
from cellc.passes.pipelines import optimise
from cellc.passes.plan import along_diagonals, for_device, plan, scheduled
from cellc.passes.scan import known_choice
from cellc.passes.sink import sunk

#: The kinds of ops that loops compute.
LOOPED = (*FUSED, "contraction", "reduction")
#: What depends on training, or only matters there, and its operand that is the value without.
IDENTITIES = {"stop": 0, "cut": 0, "training": 1}
_LEAVES = ("input", "state", "param")


def planned(
    cell: Cell, to: object, level: str, memory: str, scan: str, diagonals: str
) -> Schedule:  # fmt: skip
    """What a backend is given, by its traits; arguments as for :func:`cellc.passes.plan.plan`.

    One that is ``inference_only`` runs loops one after the other, one ``in_kernels`` runs them on a
    device. Raises CellcError.
    """
    starts, apart = (bool(getattr(to, t, False)) for t in ("learns_starts", "scans_apart"))
    if not getattr(to, "inference_only", False):
        found = plan(cell, level, memory, starts, scan, diagonals, apart)
        return for_device(found) if getattr(to, "in_kernels", False) else found
    known_choice(scan)
    if along_diagonals(cell, diagonals) is not None:
        hints = ("leave `diagonals` at `never`, or compile for torch",)
        fail("no-diagonals", "compiled programs run loops one after the other", hints=hints)
    return inference(cell, level)


def inference(cell: Cell, level: str = "O2") -> Schedule:
    """What a program that runs the cell computes, without training. Raises CellcError.

    Leaves and what runs over whole sequences are regions of their own, one value each; all
    other regions are loops. There are no values that only initial values of parameters need.
    """
    prepared = _with_whole_starts(optimise(without_training(cell), level))
    return in_loops(sunk(scheduled(prepared)))


def without_training(cell: Cell) -> Cell:
    """The cell as it is when it is not trained: what would be drawn is its mean."""
    edit = Edit(cell)
    for name, node in cell.nodes.items():
        place = IDENTITIES.get(node.op.name)
        if node.op.name == "keep":
            mean = edit.add("subtract", [edit.constant(1), edit.now(node.args[1])], node.spans)
            edit.stand_ins[name] = _in_shape(edit, mean, node.type.shape)
        elif place is not None:
            edit.stand_ins[name] = _in_shape(edit, edit.now(node.args[place]), node.type.shape)
        else:
            edit.keep(name)
    return _without_unused(edit.finish())


def _in_shape(edit: Edit, name: str, shape: Shape) -> str:
    """A value repeated along the dimensions of a shape that it lacks."""
    if edit.nodes[name].type.shape == shape:
        return name
    return edit.add("add", [name, edit.add("zeros", shape=shape)])


def _without_unused(cell: Cell) -> Cell:
    ends = [result.value for result in cell.results]
    wanted = reached(cell.nodes, ends)
    kept = {n: node for n, node in cell.nodes.items() if n in wanted or node.op.name in _LEAVES}
    return cell.replace(kept)


def _with_whole_starts(cell: Cell) -> Cell:
    """The cell with starts of states that have the dimensions of their states."""
    edit = Edit(cell)
    for name in cell.nodes:
        edit.keep(name)
    shapes = {state: cell.nodes[state].type.shape for state in cell.states}
    results = [
        Result("start", r.name, _in_shape(edit, r.value, shapes[r.name])) if r.role == "start"
        else r for r in cell.results
    ]  # fmt: skip
    return replace(edit.finish(), results=tuple(results))


def in_loops(schedule: Schedule) -> Schedule:
    """The schedule with loops in place of regions that are computed at once."""
    cell, regions = schedule.cell, list[Region]()
    starts = reached(cell.nodes, cell.values("start").values())
    known = {n for r in schedule.regions if not isinstance(r, AtConstruction) for n in r.values}
    for region in schedule.regions:
        if isinstance(region, AtConstruction):
            names = [n for n in region.values if n in starts - known]
            regions[:0] = _regions(cell, Once(tuple(names)))
        elif isinstance(region, Loop):
            regions.append(region)
        else:
            regions += _regions(cell, region)
    return replace(schedule, regions=tuple(regions))


def _regions(cell: Cell, region: Once | AtOnce) -> Iterator[Region]:
    """What runs over sequences and leaves one by one, and the values between in loops.

    A weight is there before the loop that multiplies by it, and the next value of a state of no
    loop before that.
    """
    group, nexts = list[str](), cell.values("next")
    for name in region.values:
        alone = not _is_looped(cell, name)
        multiplies = TABLE[cell.nodes[name].op.name].kind == "contraction"
        waits = alone or (multiplies and isinstance(region, Once))
        read = {*cell.nodes[name].args, nexts.get(name)}
        if waits and not read.isdisjoint(group):
            yield from _loops(cell, group, region)
            group = []
        if alone:
            yield replace(region, values=(name,))
        else:
            group.append(name)
    yield from _loops(cell, group, region)


def _is_looped(cell: Cell, name: str) -> bool:
    op = cell.nodes[name].op
    return TABLE[op.name].kind in LOOPED and op.name != "take"


def _loops(cell: Cell, names: Sequence[str], region: Once | AtOnce) -> Iterator[Loop]:
    """Loops with these values; what is computed once is separate where nothing connects it."""
    groups: Iterable[set[str]] = [set(names)] if names else []
    if isinstance(region, Once):
        groups = nx.weakly_connected_components(cell.graph.subgraph(names))
    for group in sorted(groups, key=lambda group: min(map(names.index, group))):
        parts = parts_of(cell, [name for name in names if name in group])
        values = tuple(name for part in parts for name in part.values)
        axis = sequence_axis(region.extent) or TIME
        yield Loop(values, axis, (), "diagonal affine", 0, region.extent or NOWHERE, parts=parts)
