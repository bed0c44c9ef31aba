"""The process that measures a GPU: it reads tasks, one a line, and answers each with a line.

``gpu.py`` starts it, and starts it again where a kernel has broken the device or never ends. With
``TRITON_INTERPRET=1`` it runs kernels in Triton's interpreter instead, where times mean nothing.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import torch
from gpu_cells import set_products
from gpu_checks import Checker
from gpu_clock import Clock
from gpu_grids import Point, Task
from gpu_records import Answer, Device, failed, to_json
from gpu_rows import Bench, reason


def interpreted() -> bool:
    """Whether Triton's interpreter runs kernels."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def refusal() -> str:
    """Why nothing can be measured, in a sentence; empty where it can."""
    if triton() == "none":
        return "Triton is not installed, and without it there are no kernels to measure."
    if not interpreted() and not torch.cuda.is_available():
        return "There is no CUDA device here; --interpret runs all at tiny sizes without one."
    return ""


def triton() -> str:
    """The version of Triton, found without importing it."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return "none"


def driver() -> str:
    """The version of the device's driver."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.partition("\n")[0].strip()


def described(clock: Clock) -> Device:
    """The device, and what runs on it."""
    facts = {"torch": torch.__version__, "triton": triton(), "python": platform.python_version()}
    if not clock.by_events:
        return Device("Triton's interpreter", facts, clock.bandwidth())
    found = torch.cuda.get_device_properties(clock.device)
    facts |= {
        "driver": driver(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "multiprocessors": str(found.multi_processor_count),
        "memory": f"{found.total_memory / 2**30:.0f} GiB",
    }
    return Device(found.name, facts, clock.bandwidth())


def done(task: Task, checker: Checker, bench: Bench) -> Answer:
    """What a task gives; what it raises is part of it."""
    set_products(task.point.number)
    try:
        if task.kind == "check":
            return Answer(checks=[checker.check(task.point)])
        return Answer(rows=bench.rows(task.point))
    except Exception as error:
        return failed(task, reason(error))


def works(clock: Clock) -> bool:
    """Whether the device still answers: an access out of bounds ends all that comes after."""
    try:
        if clock.by_events:
            torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def say(answer: Answer) -> None:
    """Write a line for the process that asked."""
    print(json.dumps(to_json(answer)), flush=True)


def main() -> None:
    """Tell what the device is, then do what is asked for."""
    why = refusal()
    if why:
        say(Answer(refusal=why))
        return
    device = torch.device("cpu" if interpreted() else "cuda")
    clock = Clock(device)
    found = described(clock)
    say(Answer(device=found))
    checker, bench = Checker(device), Bench(clock, found.bandwidth)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = done(Task(asked["kind"], Point(**asked["point"])), checker, bench)
        if not works(clock):
            say(Answer(answer.checks, answer.rows, broken=True))
            return
        say(answer)


if __name__ == "__main__":
    main()
