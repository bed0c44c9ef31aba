"""Races: competitors that run in turn within each round, and what is kept of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter, sleep

import torch
from torch import Tensor, nn

#: Seconds that a turn of a fast competitor lasts, and the most runs in one.
TURN, MOST_RUNS = 2e-3, 12
#: The fewest and the most rounds of a race; and the fewest where one lasts longer than a second.
FEWEST, MOST, FEWEST_LONG = 4, 25, 2
#: Seconds from which on a run needs no other to warm up.
LONG = 0.1
#: By what weights change between runs: packing them is part of a training step.
STEP = 1 + 1e-7


@dataclass(frozen=True)
class Record:
    """One line of the results: a cell at one size, times in seconds.

    ``ratio`` is the median over rounds of what the section compares, ``low`` and ``high`` are
    the quartiles. There is no ``other`` time where a time stands for itself.
    """

    section: str
    cell: str
    against: str
    mode: str
    threads: int
    batch: int
    hidden: int
    rounds: int
    own: float
    other: float | None
    ratio: float
    low: float
    high: float
    counts: bool = True


@dataclass(frozen=True)
class Setting:
    """What a process measures with: threads, and how many seconds a race may take."""

    threads: int
    seconds: float
    quick: bool


@dataclass(frozen=True)
class Competitor:
    """What is timed, and what happens before every run of it outside of the time."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None

    def seconds(self) -> float:
        """What one run takes."""
        self.before()
        start = perf_counter()
        self.run()
        return perf_counter() - start

    def turn(self, runs: int) -> float:
        """The median of some runs; the first of several warms up and does not count."""
        times = [self.seconds() for _ in range(runs)]
        return median(times[1:] or times)


def race(
    competitors: dict[str, Competitor], seconds: float, pause: float = 0
) -> dict[str, list[float]]:
    """The times of each competitor in each round; the order rotates.

    A pause before every turn lets threads of the one before fall asleep.
    """
    gc.collect()
    names = list(competitors)
    once = {name: competitors[name].seconds() for name in names}
    for name in names:
        if once[name] < LONG:
            once[name] = competitors[name].seconds()
    runs = {name: 1 + min(round(TURN / once[name]), MOST_RUNS) for name in names}
    length = sum(once[name] * runs[name] for name in names)
    fewest = FEWEST if length < 1 else FEWEST_LONG
    rounds = min(max(round(seconds / length), fewest), MOST)
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            sleep(pause)
            times[name].append(competitors[name].turn(runs[name]))
    return times


def spread(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median and the quartiles."""
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return middle, low, high


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


@dataclass(frozen=True)
class Pass:
    """A module and its inputs: passes over a sequence, with gradients and without."""

    module: nn.Module
    inputs: Sequence[Tensor]
    call: Callable[[], Sequence[Tensor]]

    @classmethod
    def of(cls, module: nn.Module, x: Tensor) -> Pass:
        """A module that takes one sequence and gives one, perhaps with a state."""

        def call() -> Sequence[Tensor]:
            result = module(x)
            return [result if isinstance(result, Tensor) else result[0]]

        return cls(module, [x], call)

    @torch.no_grad()
    def outputs(self) -> Sequence[Tensor]:
        """The outputs alone."""
        return self.call()

    @property
    def wanted(self) -> list[Tensor]:
        """All whose gradients a training step computes."""
        return [v for v in (*self.inputs, *self.module.parameters()) if v.requires_grad]

    def training(self) -> Competitor:
        """A step of training: a pass, and all gradients. Weights change before each."""
        wanted = self.wanted
        weights = [p for p in self.module.parameters() if p.requires_grad]
        seeds = [torch.ones_like(value) for value in self.call() if value.requires_grad]

        def run() -> object:
            outputs = [value for value in self.call() if value.requires_grad]
            return torch.autograd.grad(outputs, wanted, seeds, allow_unused=True)

        def change() -> None:
            with torch.no_grad():
                for weight in weights:
                    weight.mul_(STEP)

        return Competitor(run, change)

    def competitor(self, mode: str) -> Competitor:
        """What is timed in a mode, ``forward`` or ``training``."""
        return self.training() if mode == "training" else Competitor(self.outputs)

    def results(self) -> list[Tensor]:
        """Outputs, and gradients by the inputs, with the same masks every time."""
        torch.manual_seed(0)
        outputs = list(self.call())
        told = [value for value in outputs if value.requires_grad]
        asked = [value for value in self.inputs if value.requires_grad]
        if not asked:
            return outputs
        seeds = [torch.ones_like(value) for value in told]
        slopes = torch.autograd.grad(told, asked, seeds, allow_unused=True)
        return [*outputs, *(slope for slope in slopes if slope is not None)]


def agree(name: str, own: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Raise ValueError unless tensors are the same but for what single precision loses."""
    if len(own) != len(others):
        raise ValueError(f"{name}: {len(own)} results, and {len(others)}")
    for a, b in zip(own, others, strict=True):
        error, norm = (a - b).norm().item(), b.norm().item()
        if not error <= 1e-2 * norm + 1e-4:
            raise ValueError(f"{name}: results differ by {error:.3g} of {norm:.3g}")
