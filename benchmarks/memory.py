"""How much memory a training step takes, counted from the allocator's own events.

Every allocation and release of the step is added up in order, so that the figures are exact and
the same in every run. What exists before the step, parameters and inputs, does not count.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of each start and stop


@dataclass
class Log:
    """The bytes that were allocated, or released where negative, in order."""

    changes: list[int] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Add the events of what runs meanwhile."""
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            yield
        assert recorded.profiler is not None
        events = recorded.profiler.kineto_results.events()
        memory = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
        self.changes += [size for _, size in sorted(memory, key=lambda event: event[0])]

    @property
    def now(self) -> int:
        """Bytes allocated and not released."""
        return sum(self.changes)

    @property
    def peak(self) -> int:
        """The most that was allocated at any time."""
        return max(accumulate(self.changes), default=0)


def total(outputs: list[Tensor]) -> Tensor:
    """The sum of all outputs."""
    return torch.stack([output.sum() for output in outputs]).sum()


def step_memory(forward: Callable[[], list[Tensor]]) -> tuple[int, int]:
    """Bytes at the peak of a step, and bytes kept from the forward pass for the backward pass.

    The loss is the sum of the outputs that ``forward`` returns. They do not count as kept.
    """
    forward()  # what the first call alone allocates does not count
    gc.collect()
    gc.disable()
    try:
        log = Log()
        with log.recording():
            outputs = forward()
        kept = log.now - sum(output.numel() * output.element_size() for output in outputs)
        with log.recording():
            total(outputs).backward()  # type: ignore[no-untyped-call]
    finally:
        gc.enable()
    return log.peak, kept
