"""Loops in Triton kernels on a GPU, beside cuDNN and the plain loop: first right, then fast.

    python benchmarks/gpu.py [--json FILE] [--markdown FILE] [--minutes 7.5] [--quick]

A run ends within its minutes: what matters most is done first, and what there was no time for is
told. The status is 1 where a check or a measurement fails and 2 where there is no device;
``--interpret`` runs everything at tiny sizes without one, in Triton's interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Timer
from time import perf_counter

from gpu_grids import Task, tasks
from gpu_records import Answer, Check, Device, Row, failed, from_json
from gpu_report import Found, page, printed, told_check, told_row

WORKER = Path(__file__).with_name("gpu_worker.py")
#: Seconds after which a task, or the start of a process, is given up.
PATIENCE = 120.0
#: The part of the time that checks have before measurements; those left come at the end.
CHECKING = 0.4
#: How many processes are started, the most, and the seconds kept for the report.
MOST_STARTS, REPORTING = 6, 4.0


@dataclass
class Budget:
    """The time that a run has, in seconds."""

    total: float
    start: float = field(default_factory=perf_counter)

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.start

    @property
    def left(self) -> float:
        """Seconds until measuring ends."""
        return self.total - REPORTING - self.used


class Process:
    """A process that measures; ``first`` is what it says of the device."""

    def __init__(self, interpret: bool, patience: float) -> None:
        environment = {**os.environ}
        if interpret:
            environment["TRITON_INTERPRET"] = "1"
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )  # fmt: skip
        self.first = self._answer(patience)

    def ask(self, task: Task, patience: float) -> Answer | None:
        """The answer, or None where the process ended or did not answer in time."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(asdict(task)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._answer(patience)

    def _answer(self, patience: float) -> Answer | None:
        """The next line that is an answer; others are what libraries print."""
        assert self.process.stdout is not None
        timer = Timer(max(patience, 0), self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith('{"checks"'):
                    return from_json(json.loads(line))
        finally:
            timer.cancel()
        return None

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


class Measuring:
    """Does tasks in the processes that this takes, and keeps what they give."""

    def __init__(self, interpret: bool, budget: Budget, say: Callable[[str], None]) -> None:
        self.interpret, self.budget, self.say = interpret, budget, say
        self.process: Process | None = None
        self.starts = 0
        self.device: Device | None = None
        self.refusal = ""
        self.found = Found()

    def begin(self) -> bool:
        """Start a process unless one runs; whether there is one that can measure."""
        if self.process is not None:
            return True
        if self.starts == MOST_STARTS:
            return False
        self.starts += 1
        process = Process(self.interpret, min(PATIENCE, self.budget.left))
        first = process.first
        if first is None or first.device is None:
            self.refusal = first.refusal if first else "The process that measures did not start."
            process.end()
            return False
        self.process = process
        if self.device is None:
            self.device = first.device
        return True

    def do(self, task: Task) -> None:
        """Do a task, and tell what it gave."""
        if self.budget.left <= 0 or not self.begin():
            self.found.left.append(task)
            return
        assert self.process is not None
        patience = min(PATIENCE, self.budget.left)
        answer = self.process.ask(task, patience)
        if answer is None:
            self.end()
            if self.budget.left <= 0:
                self.found.left.append(task)
                return
            answer = failed(task, f"its process ended, or took more than {patience:.0f} s")
        elif answer.broken:
            self.end()
        self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        self.found.checks += answer.checks
        self.found.rows += answer.rows
        for text in (*map(told_check, answer.checks), *map(told_row, answer.rows)):
            self.say(text)

    def end(self) -> None:
        """End the process, if one runs."""
        if self.process is not None:
            self.process.end()
            self.process = None


def in_order(measuring: Measuring, todo: list[Task]) -> None:
    """Do all: checks first, but those that would take too much of the time at the end."""
    late: list[Task] = []
    budget = measuring.budget
    for task in todo:
        if task.kind == "check" and budget.used > CHECKING * budget.total:
            late.append(task)
            continue
        measuring.do(task)
    for task in late:
        measuring.do(task)
    measuring.end()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page of results")
    parser.add_argument("--minutes", type=float, default=7.5, help="that the whole call may take")
    parser.add_argument("--quick", action="store_true", help="few cells, types and sizes")
    parser.add_argument("--interpret", action="store_true", help="tiny sizes, without a device")
    return parser.parse_args()


def write(asked: argparse.Namespace, device: Device, found: Found) -> None:
    """Write the files that are asked for."""
    if asked.json:
        kept = {
            "device": asdict(device),
            "interpreted": asked.interpret,
            "checks": [asdict(check) for check in found.checks],
            "rows": [asdict(row) for row in found.rows],
            "no time for": [asdict(task) for task in found.left],
        }
        asked.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if asked.markdown:
        asked.markdown.write_text(page(device, found, asked.interpret), encoding="utf-8")


def wrong(line: Check | Row) -> bool:
    """Whether a check or a measurement failed."""
    return bool(line.error) or (isinstance(line, Check) and not line.passed)


def main() -> int:
    """Check, measure, report; the exit status."""
    asked = arguments()
    budget = Budget(60 * asked.minutes)
    measuring = Measuring(
        asked.interpret, budget, lambda text: print(f"[{budget.used:4.0f} s] {text}", flush=True)
    )
    if not measuring.begin():
        print(measuring.refusal)
        return 2
    assert measuring.device is not None
    facts = ", ".join(f"{name} {value}" for name, value in measuring.device.facts.items())
    measuring.say(f"{measuring.device.name}: {facts}")
    in_order(measuring, tasks(asked.quick, asked.interpret))
    found = measuring.found
    write(asked, measuring.device, found)
    print(printed(measuring.device, found, asked.interpret))
    return int(any(map(wrong, found.checks)) or any(map(wrong, found.rows)))


if __name__ == "__main__":
    sys.exit(main())
