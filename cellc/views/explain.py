"""What the optimiser did, in sentences and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellc.ir import AtOnce, Loop, Once, Region, Schedule
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE
from cellc.views.summary import cost_of

_REASONS = {
    "dense": "every unit depends on every other through a product",
    "block": "units depend on those of their own block, through a product",
    "diagonal": "each unit depends on itself alone, but not linearly",
    "diagonal affine": "each unit depends on itself alone and linearly, as a scan could run",
}


@dataclass(frozen=True)
class Row:
    """One line of the comparison: what is counted, before and after."""

    what: str
    before: str
    after: str


def sentences(schedule: Schedule) -> list[str]:
    """The schedule told in order."""
    told = [_sentence(schedule, region) for region in schedule.regions]
    return [sentence for sentence in told if sentence]


def comparison(before: Schedule, after: Schedule, sizes: Mapping[str, int]) -> list[Row]:
    """What the passes changed. Costs are evaluated for the given sizes."""
    rows = [
        Row(what, str(count(before)), str(count(after)))
        for what, count in (
            ("matrix products before or after the loop", lambda s: _products(s, AtOnce)),
            ("matrix products in the loop", lambda s: _products(s, Loop)),
            ("products in a row in one step", lambda s: sum(loop.depth for loop in s.loops)),
            ("elementwise operations in the loop", _elementwise),
        )
    ]
    costs = [cost_of(before), cost_of(after)]
    flops = [f"{cost.flops.evaluate(sizes):,}" for cost in costs]
    moved = [f"{cost.bytes.evaluate(sizes):,}" for cost in costs]
    return [*rows, Row("flops per step", *flops), Row("bytes per step", *moved)]


def fired(rules: Sequence[tuple[str, str]]) -> list[str]:
    """The algebra that was applied, a sentence each."""
    return [f"`{rule}` rewrote `{value}`." for rule, value in rules if not value.isdigit()]


def _sentence(schedule: Schedule, region: Region) -> str:
    cell = schedule.cell
    work = [n for n in region.values if not cell.nodes[n].op.leaf]
    counts = _counted(schedule, work)
    if not work:
        return ""
    if isinstance(region, Once):
        return f"Once per call, from weights alone: {counts}."
    if isinstance(region, AtOnce):
        axis = sequence_axis(region.extent)
        return f"{'Once per sequence' if axis is None else 'For all steps at once'}: {counts}."
    if isinstance(region, Loop):
        states = ", ".join(region.carries)
        return (
            f"Step by step along {region.axis}, carrying {states}: {counts}. "
            f"The recurrence is {region.recurrence}: {_REASONS[region.recurrence]}."
        )
    return ""


def _counted(schedule: Schedule, names: Sequence[str]) -> str:
    """``1 matrix product, 8 elementwise operations``."""
    words = {
        "contraction": ("matrix product", "matrix products"),
        "elementwise": ("elementwise operation", "elementwise operations"),
        "reduction": ("reduction", "reductions"),
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


def _products(schedule: Schedule, kind: type[Region]) -> int:
    return sum(
        TABLE[schedule.cell.nodes[name].op.name].kind == "contraction"
        for region in schedule.regions
        if isinstance(region, kind)
        for name in region.values
    )


def _elementwise(schedule: Schedule) -> int:
    return sum(
        TABLE[schedule.cell.nodes[name].op.name].kind == "elementwise"
        for name in schedule.values_in_loops()
    )
