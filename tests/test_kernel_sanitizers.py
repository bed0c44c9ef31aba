"""Compiled loops under the sanitizers of the compiler, as programs without Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cellc
from cellc.kernels import torch_loops
from cellc.kernels.choice import Way
from cellc.kernels.compiler import FLAGS, find_compiler
from tests.kernel_calls import Call, program, recording
from tests.running import Trial, compiled, listed

pytestmark = pytest.mark.slow

CELLS = ["lstm", "gru", "layernorm_lstm", "grid_lstm_2d", "g_lstm", "memory_block", "convolving"]
CONVOLVING = """
cell convolving
input x[2, X, Y]
state h[3, X, Y]
dim X size_x
dim Y size_y
param W_h, U_h convolution(2, 3)
h' = tanh(W·x + U·h)
output h'
"""
SIZE = 19
WAYS = [Way(1, True), Way(2, True), Way(3, True), Way(2, False), Way(3, False)]
SANITIZERS = ["thread", "address,undefined"]
TYPES = {32: torch.float32, 64: torch.float64}


def loaded(name: str) -> cellc.Cell:
    return cellc.parse(CONVOLVING) if name == "convolving" else cellc.load(name)


def calls_of(cell: cellc.Cell, bits: int, patch: pytest.MonkeyPatch) -> tuple[str, list[Call]]:
    """The source of a cell's kernels, and calls forward and backward in every way."""
    kind = compiled(cell, "torch", "O2", kernels="native")
    kernels = kind.forward.__globals__["KERNELS"]
    patch.setattr(torch_loops, "CALLING", 0)
    found: list[Call] = []
    for batch, ragged in ((1, False), (5, True), (14, False), (14, True)):
        trial = Trial(cell, 5, ragged, batch=batch, size=SIZE, steps=5)
        module = trial.module_of(kind).to(TYPES[bits])
        module.kernels = "native"
        trial.inputs = [_as(x, bits) for x in trial.inputs]
        trial.state = [_as(s, bits) for s in trial.state]
        for way in WAYS:
            patch.setattr(torch_loops, "choose", lambda *_, way=way: way)
            patch.setattr(torch, "get_num_threads", lambda way=way: way.threads)
            with recording(kernels, TYPES[bits], patch) as calls:
                outputs, states = trial.call(module)
                values = [v.data if hasattr(v, "batch_sizes") else v
                          for v in (*listed(outputs), *listed(states))]  # fmt: skip
                sum(value.sum() for value in values).backward()
            found += calls
    return kernels.source, found


def _as(value: Any, bits: int) -> Any:
    return value.astype(f"float{bits}") if np.issubdtype(value.dtype, np.floating) else value


def built(source: str, sanitizer: str, bits: int, path: Path) -> Path:
    """The program, with a sanitizer in it."""
    text, made = path / "kernels.cpp", path / "kernels"
    text.write_text(source)
    flags = [flag for flag in FLAGS if flag not in ("-shared", "-O3")]
    command = [*find_compiler().words, *flags, "-O1", "-g", f"-fsanitize={sanitizer}",
               "-fno-sanitize-recover=all", f"-DREAL_BITS={bits}", str(text), "-o", str(made),
               "-lm", "-lpthread"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made


def run(made: Path, data: Path) -> subprocess.CompletedProcess[str]:
    """Run the program, at addresses that the sanitizer of threads can do with."""
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    command = [*fixed, str(made), str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("name", "bits"), [("lstm", 32), ("layernorm_lstm", 32), *((name, 64) for name in CELLS)]
)
def test_kernels_are_clean(
    name: str, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        source, calls = calls_of(loaded(name), bits, patch)
    text, memory = program(source, calls)
    assert any(call.name.startswith("backward") for call in calls)
    data = tmp_path / "data"
    data.write_bytes(memory)
    for sanitizer in SANITIZERS:
        done = run(built(text, sanitizer, bits, tmp_path), data)
        assert done.stdout == f"{len(calls)} calls\n", (sanitizer, done.stdout, done.stderr[:3000])
        assert (done.returncode, done.stderr) == (0, "")
