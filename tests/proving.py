"""What every pass must leave as it is, and how it is measured.

``drawn`` is where a test over random cells starts; ``emitted`` turns a cell, whatever passes
it went through, into a class that runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import cellc
from cellc.backends import backend
from cellc.backends.naming import class_name
from cellc.ir import AtConstruction, Cell, Dim, Schedule
from cellc.ir.dimension import product
from cellc.ir.types import sequence_axis
from cellc.passes.base import Pass, name_of
from cellc.passes.pipelines import PIPELINES, optimise
from cellc.passes.schedule import Scheduler
from cellc.views.summary import flops_of
from tests.running import Result, Trial, distance

CLOSE = 1e-12

#: Sizes at which costs are compared: a column of a weight costs more than a few sums.
_SIZES = ({"H": 8, "I": 8}, {"H": 16, "I": 4}, {"H": 4, "I": 16, "N": 4})


def drawn(text: str, seed: int) -> tuple[Cell, tuple[Trial, ...]]:
    """A cell with all that it takes to run it, twice.

    The first trial has sequences of different lengths and states that are given, the second
    whole ones and states that start by themselves. A trial holds ``sizes``, ``params``,
    ``inputs``, ``state``, ``ends`` (the lengths), ``draws``; ``run`` and ``call`` take a class
    and a module.
    """
    cell = cellc.parse(text)
    return cell, (Trial(cell, seed), Trial(cell, seed + 1, ragged=False))


def emitted(cell: Cell, target: str, source: Cell) -> type[Any]:
    """The class for a cell as it is. ``source`` is the cell as it was written."""
    text = backend(target).emit(Scheduler().run(cell), source)
    namespace: dict[str, Any] = {"__name__": "drawn"}
    exec(text, namespace)
    found: type[Any] = namespace[class_name(source.name)]
    return found


def results(trials: tuple[Trial, ...], kind: type[Any], dtype: Any = np.float64) -> list[Result]:
    """What each trial gives with a class of the NumPy backend."""
    return [trial.run(kind, started=bool(trial.ends), dtype=dtype) for trial in trials]


def results_of_torch(trials: tuple[Trial, ...], kind: type[Any]) -> list[Result]:
    """What each trial gives with a class of the Torch backend."""
    return [trial.run_torch(trial.module_of(kind), started=bool(trial.ends)) for trial in trials]


@dataclass
class Reference:
    """What a cell computes as it is written, in the NumPy backend without any pass."""

    cell: Cell
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        self.kind = emitted(self.cell, "numpy", self.cell)
        self.want = results(self.trials, self.kind)

    def check(self, got: list[Result], what: str) -> None:
        """Assert that results are the same up to rounding.

        Where they differ by more than 1e-12, the cell may multiply errors of rounding. What it
        does to its own is seen in a longer format: nothing may be off by a hundred times that.
        """
        off = max(distance(a, b) for a, b in zip(got, self.want, strict=True))
        if off < CLOSE:
            return
        exact = results(self.trials, self.kind, np.longdouble)
        own = max(distance(a, b) for a, b in zip(self.want, exact, strict=True))
        assert off < 100 * own, f"{what}: off by {off:.1e}, where rounding explains {own:.1e}"


def passes() -> dict[Pass, None]:
    """Every pass of any level, once."""
    return dict.fromkeys(step for steps in PIPELINES.values() for step in steps)


def rewritten(cell: Cell) -> Iterator[tuple[str, Cell, Cell]]:
    """What the passes make of a cell: each alone, each where it stands, and whole levels.

    Every item is a name, the cell before and the cell after. Each pass is run a second time,
    which must change nothing. A level that is run again may still add up a sum in another
    order, because a product that was stacked is none to RegroupSums; that is an item too.
    """
    for step in passes():
        yield f"{name_of(step)} alone", cell, _twice(step, cell)
    seen: set[tuple[Pass, ...]] = set()
    for level, steps in PIPELINES.items():
        now = cell
        for place, step in enumerate(steps):
            if steps[: place + 1] in seen:
                now = step.run(now)
                continue
            seen.add(steps[: place + 1])
            before, now = now, _twice(step, now)
            yield f"{name_of(step)} of {level}", before, now
        yield level, cell, now
        yield f"{level} again", now, optimise(now, level)


def _twice(step: Pass, cell: Cell) -> Cell:
    after = step.run(cell)
    assert step.run(after) == after, f"{name_of(step)} changes what it did"
    return after


#: The batch and the length for which work is counted: what is done once may replace what each
#: sequence or step does.
BATCHES, STEPS = 4, 16


@dataclass(frozen=True)
class Work:
    """The operations of a schedule, counted as :func:`cellc.views.summary.flops_of` does.

    ``looped`` are those of one step within loops, ``total`` those of a call. ``filled`` are
    numbers that stand in for biases which are not there.
    """

    looped: Dim
    total: Dim
    filled: Dim


def work_of(schedule: Schedule) -> Work:
    """The work of a scheduled cell."""
    cell, zero = schedule.cell, Dim.of(0)
    inside = set(schedule.values_in_loops())
    done = [n for r in schedule.regions if not isinstance(r, AtConstruction) for n in r.values]
    flops = {name: flops_of(cell, name) for name in done if not cell.nodes[name].op.leaf}

    def times(name: str) -> Dim:
        extent = cell.nodes[name].type.extent
        steps = STEPS if sequence_axis(extent) else 1
        return Dim.of(steps * BATCHES if extent else 1)

    used = [cell.nodes[argument] for node in cell.nodes.values() for argument in node.args]
    zeros = [node.type.shape for node in used if node.op.name == "zeros_like"]
    return Work(
        sum((count for name, count in flops.items() if name in inside), zero),
        sum((count * times(name) for name, count in flops.items()), zero),
        sum(map(product, zeros), zero),
    )


def check_work(before: Schedule, after: Schedule, what: str) -> None:
    """Assert that a pass makes nothing dearer, at several sizes.

    Two things cost more on purpose. Splitting a product adds sums, one for each part, which
    are never more than what leaves the loop by it. And where biases are stacked, products
    without one are given zeros: these are added in the same operation as the others are.
    """
    dims = before.cell.dims
    had, has = work_of(before), work_of(after)
    for chosen in _SIZES:
        rest = {name: a.default or 8 for name, a in dims.items()} | {"K": 2}
        sizes = rest | chosen
        filled = has.filled.evaluate(sizes) - had.filled.evaluate(sizes)
        more = has.looped.evaluate(sizes) - had.looped.evaluate(sizes)
        assert more <= max(0, filled), f"{what}: {more} operations more in a loop"
        total = has.total.evaluate(sizes) - had.total.evaluate(sizes)
        rows = BATCHES * STEPS
        assert total + rows * more <= max(0, 2 * rows * filled), f"{what}: {total} operations more"
