"""Compiles the kernels that a module launches, for a GPU that need not be there.

    python -m tests.gpu.offline lstm bfloat16:fused:64 float32:stepwise:768

prints what each kernel needs of a multiprocessor, as JSON. Triton's interpreter has to be off. The
module runs on a processor with launches that are noted and do nothing, forward and backward, in
ragged sequences; so types and sizes are those of real calls.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

import cellc
from tests.gpu.modules import file_of
from tests.running import Trial, gradients

#: What a program can have of the shared memory of a multiprocessor.
MOST_SHARED = 227 * 1024
TARGET = GPUTarget("cuda", 90, 32)
ASSEMBLER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
TYPES = {
    torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32",
    torch.float64: "*fp64", torch.int64: "*i64", torch.int32: "*i32", torch.bool: "*i1",
}  # fmt: skip
#: Kernels by name and what they are compiled for, each with the ways to launch it.
Launches = dict[str, tuple[Any, list[dict[str, Any]]]]


@contextmanager
def noted() -> Iterator[Launches]:
    """Launches of kernels, each kind once."""
    launches: Launches = {}
    tuned = set()

    def note(kernel: Any, given: Any, named: Any, ways: list[dict[str, Any]]) -> None:
        types = [str(value.dtype) for value in given if isinstance(value, torch.Tensor)]
        arguments = dict(zip(kernel.arg_names, given, strict=False)) | named
        key = f"{kernel.__name__} {types} {named}"
        launches[key] = (kernel, [arguments | way for way in ways])

    def run(self: Any, *given: Any, grid: Any, warmup: bool, **named: Any) -> None:
        if self not in tuned:
            note(self, given, named, [{}])

    def run_tuned(self: Any, *given: Any, grid: Any, warmup: bool, **named: Any) -> None:
        tuned.add(self.fn)
        note(self.fn, given, named, [config.all_kwargs() for config in self.configs])
        self.best_config = self.configs[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JITFunction, "run", run)
        patch.setattr(Autotuner, "run", run_tuned)
        yield launches


def class_of(cell: cellc.Cell) -> type[Any]:
    """The class as it is where there is a GPU, with all ways to share the work of its kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        return cellc.compile(cell, target="triton")


def launches_of(name: str, dtype: torch.dtype, loops: str, size: int) -> Launches:
    """All kernels that a cell of a size launches."""
    cell = cellc.load(name)
    trial = Trial(cell, 0, steps=2, batch=2, size=size)
    trial.ends = {axis: np.array([2, 1]) for axis in trial.along}
    module = trial.module_of(class_of(cell)).to(dtype)
    module.loops = loops
    file = vars(file_of(module))
    file["runs_here"] = lambda *_: True
    if "MOST_WEIGHTS" in file:
        file["MOST_WEIGHTS"] = MOST_SHARED * 5 // 8
    trial.inputs = [_cast(value, dtype) for value in trial.inputs]
    trial.state = [_cast(value, dtype) for value in trial.state]
    trial.draws = {name: _cast(value, dtype) for name, value in trial.draws.items()}
    with noted() as launches:
        gradients(trial, module)
    return launches


def _cast(value: Any, dtype: torch.dtype) -> Any:
    tensor = torch.as_tensor(value)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def source_of(kernel: Any, arguments: dict[str, Any]) -> ASTSource:
    """What a launch makes Triton compile."""
    signature, constants, attributes = {}, {}, {}
    for number, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = TYPES[value.dtype]
            attributes[(number,)] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
    return ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)


def needs(kernel: Any, ways: list[dict[str, Any]]) -> dict[str, Any]:
    """What a kernel needs as it is launched in the first of its ways in which it fits."""
    for number, way in enumerate(ways):
        found = {"kernel": kernel.__name__, "way": number, **_needs(kernel, way)}
        if not found["spills"] and found["shared"] <= MOST_SHARED:
            break
    return found


def _needs(kernel: Any, arguments: dict[str, Any]) -> dict[str, int]:
    """Registers, spilled bytes and shared memory."""
    options = {name: arguments[name] for name in ("num_warps",) if name in arguments}
    made: Any = triton.compile(source_of(kernel, arguments), target=TARGET, options=options)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.ptx").write_text(made.asm["ptx"])
        said = subprocess.run(
            [ASSEMBLER, "-v", "-arch=sm_90a", "kernel.ptx", "-o", "kernel.cubin"],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stderr  # fmt: skip
    spills = [int(number) for number in re.findall(r"(\d+) bytes spill", said)]
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", said)]
    return {"registers": max(registers), "spills": max(spills), "shared": made.metadata.shared}


if __name__ == "__main__":
    assert os.environ.get("TRITON_INTERPRET") != "1"
    everything: Launches = {}
    for dtype, loops, size in (way.split(":") for way in sys.argv[2:]):
        everything |= launches_of(sys.argv[1], getattr(torch, dtype), loops, int(size))
    print(json.dumps([needs(*launch) for launch in everything.values()]))
