"""What the optimiser did, in sentences and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cellc.ir import (
    NOWHERE,
    AtOnce,
    Cell,
    Dim,
    Gradient,
    Kernel,
    Loop,
    Once,
    Region,
    Scan,
    Schedule,
    reached,
)
from cellc.ir.dimension import product
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE
from cellc.ops.notation import expression_of
from cellc.ops.op import Kind
from cellc.views.summary import costs_of


@dataclass(frozen=True)
class Row:
    """One line of the comparison: what is counted, before and after."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Measure:
    """A figure of a schedule, as a formula over the dimensions.

    One that is not ``always`` shown is left out where it is zero before and after.
    """

    what: str
    of: Callable[[Schedule], Dim]
    always: bool = True


def count(kind: Kind, *regions: type[Region]) -> Callable[[Schedule], Dim]:
    """Counts the operations of a kind in regions of some types."""

    def counted(schedule: Schedule) -> Dim:
        values = [n for r in schedule.regions if isinstance(r, regions) for n in r.values]
        kinds = [TABLE[schedule.cell.nodes[name].op.name].kind for name in values]
        return Dim.of(kinds.count(kind))

    return counted


def kernels_of(schedule: Schedule) -> list[Kernel]:
    """The elementwise kernels of all loops."""
    return [part for x in schedule.loops for part in x.parts if isinstance(part, Kernel)]


#: What `cellc explain` compares, in the order of its table.
MEASURES: tuple[Measure, ...] = (
    Measure("matrix products before or after the loop", count("contraction", AtOnce, Once)),
    Measure("matrix products in the loop", count("contraction", Loop)),
    Measure("products in a row in one step", lambda s: Dim.of(sum(x.depth for x in s.loops))),
    Measure("elementwise operations before or after the loop",
            count("elementwise", AtOnce, Once)),
    Measure("elementwise operations in the loop", count("elementwise", Loop)),
    Measure("elementwise kernels in the loop", lambda s: Dim.of(len(kernels_of(s)))),
    Measure("flops per step in the loop", lambda s: costs_of(s).loop.flops),
    Measure("flops per step", lambda s: costs_of(s).step.flops),
    Measure("flops once per call or sequence", lambda s: costs_of(s).once.flops, always=False),
    Measure("bytes per step in the loop", lambda s: costs_of(s).loop.bytes),
    Measure("bytes per step", lambda s: costs_of(s).step.bytes),
)  # fmt: skip


def backward(schedule: Schedule, back: Gradient, sizes: Mapping[str, int]) -> list[str]:
    """The derivative told in order, and what a step keeps for it in single precision."""
    cell = schedule.cell
    outputs = set(cell.values("output").values())
    kept = [
        name for name in back.saved
        if sequence_axis(cell.nodes[name].type.extent) and name not in outputs
    ]  # fmt: skip
    numbers = Dim.of(0)
    for name in kept:
        numbers = numbers + product(cell.nodes[name].type.shape)
    cost = f"{numbers} numbers" if kept else "nothing"
    cost += f", {4 * numbers.evaluate(sizes):,} bytes," if kept else ""
    first = f"Backward, from the last step to the first: a step keeps {cost} beside its outputs."
    return [first, *sentences(back.schedule)]


def sentences(schedule: Schedule) -> list[str]:
    """The schedule told in order."""
    told = [_sentence(schedule, region) for region in schedule.regions]
    return [sentence for sentence in told if sentence]


def comparison(
    before: Schedule,
    after: Schedule,
    sizes: Mapping[str, int],
    measures: Sequence[Measure] = MEASURES,
) -> list[Row]:
    """What the passes changed, evaluated for the given sizes.

    Raises ValueError where a size does not divide another that must be a multiple of it.
    """
    rows = []
    for measure in measures:
        figures = [measure.of(schedule).evaluate(sizes) for schedule in (before, after)]
        if measure.always or any(figures):
            rows.append(Row(measure.what, *(f"{figure:,}" for figure in figures)))
    return rows


def fired(rules: Sequence[tuple[str, str]]) -> list[str]:
    """The algebra that was applied, a sentence each."""
    return [f"`{rule}` rewrote `{value}`." for rule, value in rules if not value.isdigit()]


def turning(last: int, obstacle: str) -> str:
    """Whether loops that follow each other take their steps together."""
    if obstacle:
        return f"Its loops take their steps one after the other: {obstacle}."
    steps = "one step" if last == 1 else f"{last} steps"
    return f"Its loops take their steps together, the last loop {steps} behind the first."


def _sentence(schedule: Schedule, region: Region) -> str:
    cell = schedule.cell
    work = [n for n in region.values if not cell.nodes[n].op.leaf]
    counts = _counted(schedule, work)
    if not work:
        return ""
    stacked = _stacked(cell, work)
    if isinstance(region, Once):
        first = all(cell.nodes[a].type.extent == NOWHERE for n in work for a in cell.nodes[n].args)
        whence = "from weights alone" if first else "summed over all steps and sequences"
        return f"Once per call, {whence}: {counts}."
    if isinstance(region, AtOnce):
        axis = sequence_axis(region.extent)
        when = "Once per sequence" if axis is None else "For all steps at once"
        return " ".join([f"{when}: {counts}.", *stacked])
    if isinstance(region, Loop):
        states = ", ".join(region.carries)
        how = "As a scan" if isinstance(region, Scan) else "Step by step"
        parts = [f"{how} along {region.axis}, carrying {states}: {counts}."]
        parts += [*stacked, *_told_of_parts(region), *_told_of_recurrence(region)]
        return " ".join(parts)
    return ""


def _told_of_parts(loop: Loop) -> list[str]:
    """What a step does in order: ``A step is, in order: product, kernel, 4 reductions, kernel.``"""
    kinds = [type(part).__name__.lower() for part in loop.parts]
    runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    told = [kind if count == 1 else f"{count} {kind}s" for kind, count in runs]
    return [f"A step is, in order: {', '.join(told)}."] if len(told) > 1 else []


def _told_of_recurrence(loop: Loop) -> list[str]:
    """What the recurrence of a loop is and why, and how much of a step waits for itself."""
    reason = f": {loop.reason}" if loop.reason else ""
    told = [f"The recurrence is {loop.recurrence}{reason}."]
    if loop.depth > 1:
        told.append(f"A step must do {loop.depth} products one after the other.")
    if loop.recurrence == "diagonal affine":
        told.append(_told_of_scan(loop))
    return told


def _told_of_scan(loop: Loop) -> str:
    """Whether a parallel scan computes a loop that is diagonal and affine, or why none does."""
    if isinstance(loop, Scan):
        where = "" if loop.always else ", where that is faster than T steps one by one"
        return f"So T steps take about 2*log2(T) operations one after the other{where}."
    if len(loop.carries) > 1:
        return "It runs step by step: a scan is made of loops that carry one state."
    return f"A parallel scan along {loop.axis} could compute all steps together."


def _stacked(cell: Cell, names: Sequence[str]) -> list[str]:
    """Which weights have become one product: ``W_f, W_i multiply h in one.``"""
    told = []
    for name in names:
        node = cell.nodes[name]
        if TABLE[node.op.name].kind != "contraction":
            continue
        weight, operand = node.args[:2]
        if cell.nodes[weight].op.name == "concat":
            some = reached(cell.nodes, [weight])
            weights = [param for param in cell.params if param in some]
            if weights:
                told.append(f"{', '.join(weights)} multiply {expression_of(cell, operand)} in one.")
    return told


def _counted(schedule: Schedule, names: Sequence[str]) -> str:
    """``1 matrix product, 8 elementwise operations``."""
    words = {
        "contraction": ("matrix product", "matrix products"),
        "elementwise": ("elementwise operation", "elementwise operations"),
        "reduction": ("reduction", "reductions"),
        "total": ("sum of products", "sums of products"),
        "structural": ("join or slice", "joins and slices"),
        "sequence": ("operation over whole sequences", "operations over whole sequences"),
    }
    kinds = [TABLE[schedule.cell.nodes[name].op.name].kind for name in names]
    parts = []
    for kind, (one, many) in words.items():
        count = kinds.count(kind)  # type: ignore[arg-type]
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    return ", ".join(parts)
