"""What surrounds kernels, measured in fresh processes: their build, and torch's own compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from kernels_rounds import Record, spread

CELLS = ("lstm", "layernorm_lstm", "grid_lstm_3d")
INDUCTOR_SECONDS = 300

BUILD = """
import sys, torch, cellc
from time import perf_counter
made = cellc.compile(sys.argv[1], kernels="native")
kernels = sys.modules[made.__module__].KERNELS
start = perf_counter()
kernels.library(torch.float32)
print(perf_counter() - start)
"""

INDUCTOR = """
import json, sys, torch
from time import perf_counter
sys.path.insert(0, sys.argv[1])
from handwritten_zoo import ALL_PEERS
from kernels_contests import made, sequence
from kernels_rounds import Pass, agree, race
module, x = made("lstm", 256), sequence(8, 256)
fused = torch.compile(ALL_PEERS["lstm"](module))
own, other = Pass.of(module, x), Pass.of(fused, x)
start = perf_counter()
other.results()
seconds = perf_counter() - start
agree("lstm", own.results(), other.results())
times = race({"own": own.training(), "other": other.training()}, 3)
print(json.dumps([seconds, times["own"], times["other"]]))
"""


def one_build(cell: str, store: Path) -> float:
    """Seconds until a library is loaded, in a new process with this store."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, cell], capture_output=True, text=True, check=True,
        env={**os.environ, "CELLC_CACHE": str(store)},
    )  # fmt: skip
    return float(done.stdout)


def line(cell: str, mode: str, seconds: list[float]) -> Record:
    """The record of times that stand for themselves."""
    spreads = spread(seconds * 2 if len(seconds) == 1 else seconds)
    return Record("build", cell, "", mode, 1, 0, 0, len(seconds), spreads[0], None, *spreads)


def builds(quick: bool) -> Iterator[Record]:
    """The first build with an empty store, and the load from the store that it leaves."""
    for cell in CELLS[:2] if quick else CELLS:
        cold, kept = [], []
        for _ in range(1 if quick else 3):
            with tempfile.TemporaryDirectory() as store:
                cold.append(one_build(cell, Path(store)))
                kept.append(one_build(cell, Path(store)))
        yield line(cell, "build", cold)
        yield line(cell, "load", kept)


def inductor() -> Iterator[Record]:
    """``torch.compile`` of the LSTM's loop by hand at one size, with the time that it compiles."""
    words = [sys.executable, "-c", INDUCTOR, str(Path(__file__).parent)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, text=True, check=True, env=environment,
            timeout=INDUCTOR_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield line("lstm", f"not compiled in {INDUCTOR_SECONDS} s", [INDUCTOR_SECONDS])
        return
    seconds, own, other = json.loads(done.stdout.splitlines()[-1])
    found = spread([a / b for a, b in zip(other, own, strict=True)])
    yield line("lstm", "torch.compile", [seconds])
    yield Record("inductor", "lstm", "torch.compile", "training", 1, 8, 256, len(own),
                 median(own), median(other), *found)  # fmt: skip
