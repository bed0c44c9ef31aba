"""Time on a device, and what else is measured to compare with: copies and products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from gpu_cells import DTYPES, GATES, Run
from gpu_grids import Point
from torch import Tensor

#: Seconds that a turn of a fast competitor lasts, and the most runs in one.
TURN, MOST_RUNS = 4e-3, 40
#: The fewest and the most rounds of a race.
FEWEST, MOST = 5, 15
#: Calls before any is timed: the first compiles, the second records what later ones repeat.
WARM = 3
#: Bytes of the tensor that is copied to see what memory can do.
COPIED = 2**31
COPIED_BY_INTERPRETER = 2**20


@dataclass(frozen=True)
class Clock:
    """Times runs: by events of the device, or by the clock of the processor where there is none."""

    device: torch.device

    @property
    def by_events(self) -> bool:
        """Whether there is a device."""
        return self.device.type == "cuda"

    def seconds(self, run: Run, runs: int = 1) -> float:
        """What one of some runs in a row takes."""
        if not self.by_events:
            begin = perf_counter()
            for _ in range(runs):
                run()
            return (perf_counter() - begin) / runs
        start, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        torch.cuda.synchronize()
        start.record()
        for _ in range(runs):
            run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / runs

    def warmed(self, run: Run) -> float:
        """Call a run until it is as fast as it gets; the seconds that this takes."""
        begin = perf_counter()
        for _ in range(WARM if self.by_events else 1):
            run()
        if self.by_events:
            torch.cuda.synchronize()
        return perf_counter() - begin

    def race(self, runs: Mapping[str, Run], seconds: float) -> dict[str, float]:
        """The median time of each run; they have turns within rounds, and the order rotates."""
        if not self.by_events:
            return {name: self.seconds(run) for name, run in runs.items()}
        names = list(runs)
        once = {name: self.seconds(runs[name]) for name in names}
        many = {name: max(1, min(round(TURN / once[name]), MOST_RUNS)) for name in names}
        length = sum(once[name] * many[name] for name in names)
        rounds = min(max(round(seconds / length), FEWEST), MOST)
        times: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                times[name].append(self.seconds(runs[name], many[name]))
        return {name: median(found) for name, found in times.items()}

    def bandwidth(self) -> float:
        """Bytes per second that copying a large tensor reads and writes."""
        size = COPIED if self.by_events else COPIED_BY_INTERPRETER
        source = torch.ones(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        self.warmed(lambda: target.copy_(source))
        times = self.race({"copy": lambda: target.copy_(source)}, 0.1)
        return 2 * size / times["copy"]


def products(point: Point, mode: str, device: torch.device) -> Run:
    """The products of the inputs: one in a forward pass, three in training."""
    rows, wide = point.steps * point.batch, GATES[point.cell] * point.hidden
    like = torch.empty(0, dtype=DTYPES[point.number], device=device)
    x, weight = like.new_ones(rows, point.hidden), like.new_ones(wide, point.hidden)
    bias, slope = like.new_ones(wide), like.new_ones(rows, wide)

    def forward() -> Tensor:
        return torch.addmm(bias, x, weight.t())

    def training() -> Tensor:
        forward()
        torch.mm(slope, weight)
        return torch.mm(slope.t(), x)

    return training if mode == "training" else forward


def scanned_bytes(point: Point, mode: str) -> int:
    """The bytes that a scan of ``min_gru`` must move, each value once.

    Forward it reads gate and candidate and writes the state. Backward it reads the slope of the
    output, gate, candidate and state, and writes the slopes of gate and candidate.
    """
    values = 3 if mode == "forward" else 3 + 6
    number = point.steps * point.batch * point.hidden
    return values * number * DTYPES[point.number].itemsize
