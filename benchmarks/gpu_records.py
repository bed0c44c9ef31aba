"""What the benchmark of a GPU keeps: facts of the device, checks, and times."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from gpu_grids import Point, Task


@dataclass(frozen=True)
class Device:
    """The device; ``bandwidth`` is what copying a large tensor moves, in bytes per second."""

    name: str
    facts: dict[str, str]
    bandwidth: float


@dataclass(frozen=True)
class Check:
    """How far a module is from float64, relative to the largest number of each tensor.

    ``errors`` and ``bounds`` are of outputs, states and gradients; ``plain`` are the errors of the
    emitted loop in Python with the same numbers, where these have 16 bits. ``same`` tells whether
    two runs gave the same bits.
    """

    point: Point
    errors: dict[str, float] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    plain: dict[str, float] = field(default_factory=dict)
    same: bool = False
    passed: bool = False
    seconds: float = 0
    error: str = ""


@dataclass(frozen=True)
class Row:
    """A point in one mode, forward or training. Times are medians, in microseconds per step.

    ``product`` is that of the inputs, ``first`` the seconds of the first calls, which compile, and
    ``share`` the part of the bandwidth of a copy that a scan reaches.
    """

    point: Point
    mode: str
    own: float | None = None
    peer: float | None = None
    peer_name: str = ""
    algorithm: str = ""
    eager: float | None = None
    product: float | None = None
    share: float | None = None
    first: float = 0
    error: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as long the peer takes."""
        return self.peer / self.own if self.own and self.peer else None

    @property
    def own_alone(self) -> float | None:
        """The time without the product of the inputs."""
        return _less(self.own, self.product)

    @property
    def peer_alone(self) -> float | None:
        """The peer's time without the product of the inputs."""
        return _less(self.peer, self.product)


def _less(time: float | None, product: float | None) -> float | None:
    """A time without another, where something is left."""
    if time is None or product is None or time <= product:
        return None
    return time - product


@dataclass(frozen=True)
class Answer:
    """What a task has given; ``broken`` where the device answers no more."""

    checks: list[Check] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    device: Device | None = None
    refusal: str = ""
    broken: bool = False


def failed(task: Task, why: str) -> Answer:
    """The answer of a task that has given nothing."""
    if task.kind == "check":
        return Answer(checks=[Check(task.point, error=why)])
    return Answer(rows=[Row(task.point, "both", error=why)])


def to_json(answer: Answer) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(answer)


def from_json(kept: dict[str, Any]) -> Answer:
    """Back from JSON."""

    def pointed(line: dict[str, Any]) -> dict[str, Any]:
        return {**line, "point": Point(**line["point"])}

    device = kept["device"]
    return Answer(
        [Check(**pointed(line)) for line in kept["checks"]],
        [Row(**pointed(line)) for line in kept["rows"]],
        Device(**device) if device else None,
        kept["refusal"],
        kept["broken"],
    )
