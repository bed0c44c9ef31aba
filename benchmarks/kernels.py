"""Compiled kernels against torch, ONNX Runtime, loops in Python, and what the machine can do.

    python benchmarks/kernels.py [--only torch,zoo] [--quick] [--details] [--threads 1,2]

Sections: ``torch`` (cells that torch has), ``onnx`` (forward), ``zoo`` (training of all others
against loops in Python), ``costs`` (cells beside an LSTM), ``peak`` (share of the rate of a large
product) and ``build``. Each number of threads has a process of its own. The full run writes
results/kernels-cpu.json and .md; others write where ``--write NAME`` says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from kernels_build import builds, inductor
from kernels_contests import against_onnx, against_torch, costs, peak
from kernels_report import DETAILS, SUMMARY, TITLES, detail, drawn, page, place, summary
from kernels_rounds import Record, Setting
from kernels_zoo import zoo
from rich.console import Console

from cellc.kernels.compiler import find_compiler

RESULTS = Path(__file__).parent / "results"
PAGE = "kernels-cpu"

SECTIONS: dict[str, Callable[[Setting], Iterator[Record]]] = {
    "torch": against_torch,
    "onnx": against_onnx,
    "zoo": zoo,
    "costs": costs,
    "peak": peak,
}
#: Seconds of a race by section, in a full run and in a quick one.
SECONDS = {
    "torch": (0.4, 0.2),
    "onnx": (0.3, 0.1),
    "zoo": (0.15, 0.1),
    "costs": (0.4, 0.2),
    "peak": (0.7, 0.3),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    every = ",".join((*SECTIONS, "build"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default=every, help="sections, with commas between")
    parser.add_argument("--threads", default="1,2", help="numbers of threads")
    parser.add_argument("--quick", action="store_true", help="few sizes and rounds")
    parser.add_argument("--details", action="store_true", help="print all lines")
    parser.add_argument("--inductor", action="store_true", help="torch.compile as well; minutes")
    parser.add_argument("--write", metavar="NAME", help="write results/NAME.md and .json")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = set(asked.only.split(",")) - {*SECTIONS, "build"}
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {every}")
    if asked.only == every and asked.threads == "1,2" and not asked.quick:
        asked.write = asked.write or PAGE
    return asked


def work(asked: argparse.Namespace) -> None:
    """Measure in this process, and print each record as a line of JSON."""
    for section in asked.only.split(","):
        seconds = SECONDS[section][asked.quick]
        setting = Setting(int(asked.threads), seconds, asked.quick)
        for record in SECTIONS[section](setting):
            print(json.dumps(asdict(record)), flush=True)


def worked(asked: argparse.Namespace, sections: list[str], threads: str) -> Iterator[Record]:
    """The records of sections by a process with so many threads."""
    only = ",".join(sections)
    words = [sys.executable, __file__, "--worker", "--only", only, "--threads", threads]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    quick = ["--quick"] if asked.quick else []
    with subprocess.Popen(
        [*words, *quick], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield Record(**json.loads(line))
    if process.returncode:
        raise SystemExit(f"the process with {threads} threads failed")


def measured(asked: argparse.Namespace) -> Iterator[Record]:
    """All that is asked for."""
    sections = asked.only.split(",")
    timed = [section for section in sections if section != "build"]
    for threads in asked.threads.split(",") if timed else ():
        yield from worked(asked, timed, threads)
    if "build" in sections:
        yield from builds(asked.quick)
    if asked.inductor:
        yield from inductor()


def machine() -> dict[str, str]:
    """The processor, what runs on it, and how many others were busy with it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    compiler = find_compiler()
    told = ""
    if compiler is not None:
        asked = [*compiler.words, "--version"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "torch": version("torch"),
        "onnxruntime": version("onnxruntime"),
        "compiler": told.partition("\n")[0],
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def write(name: str, found: dict[str, str], records: list[Record]) -> None:
    """Keep the records, and the page of them; ``found`` is the machine as it was before."""
    RESULTS.mkdir(exist_ok=True)
    kept = {"machine": found, "records": [asdict(record) for record in records]}
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(page(found, records), encoding="utf-8")


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    if asked.worker:
        work(asked)
        return
    start, records = perf_counter(), list[Record]()
    console = Console(width=None if Console().is_terminal else 160)
    found = machine()
    console.print(", ".join(f"{name} {value}" for name, value in found.items()))
    with console.status("kernels") as status:
        for record in measured(asked):
            records.append(record)
            status.update(f"{record.section}: {place(record)}")
    for section, title in TITLES.items():
        own = [detail(record) for record in records if record.section == section]
        if own and asked.details:
            console.print(drawn(title, DETAILS, own))
    console.print(drawn(f"Bars, after {perf_counter() - start:.0f} s", SUMMARY, summary(records)))
    if asked.write:
        write(asked.write, found, records)


if __name__ == "__main__":
    main()
