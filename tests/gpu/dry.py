"""Modules through all of Triton but the launch: ``python -m tests.gpu.dry lstm gru``.

Kernels are specialised, tuned and compiled to machine code for an H100 as on a GPU; to load and to
launch one does nothing but count. It prints JSON: for each cell and way how many kernels the first
call loads, how many are loaded by calls of other lengths and batches, and what a call launches.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

import cellc
from tests.gpu.modules import WAYS, file_of

COUNTS = {"loaded": 0, "launched": 0}
#: What loading a kernel tells: its module and function, registers, spilled bytes, most threads.
LOADED = (1, 1, 64, 0, 1024)


class _Utilities:
    def load_binary(self, *given: Any) -> tuple[int, ...]:
        COUNTS["loaded"] += 1
        return LOADED

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "multiprocessor_count": 132, "warpSize": 32,
                "max_num_regs": 65536}  # fmt: skip

    def unload_module(self, *given: Any) -> None:
        pass


class _Launcher:
    def __init__(self, *given: Any) -> None:
        pass

    def __call__(self, *given: Any, **named: Any) -> None:
        COUNTS["launched"] += 1


class _Driver:
    """What Triton asks of a GPU."""

    utils, launcher_cls, binary_ext = _Utilities(), _Launcher, "cubin"

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_benchmarker(self) -> Any:
        def timed(run: Any, quantiles: Any) -> list[float]:
            run()
            return [1.0, 1.0, 1.0]

        return timed

    def get_empty_cache_for_benchmark(self) -> torch.Tensor:
        return torch.zeros(1)

    def clear_cache(self, cache: torch.Tensor) -> None:
        pass


def counted(module: Any, steps: int, batch: int, sizes: int) -> dict[str, int]:
    """What a call with its gradients loads and launches."""
    before = dict(COUNTS)
    inputs = torch.randn(steps, batch, sizes, dtype=torch.bfloat16, requires_grad=True)
    result = module(inputs)[0]
    torch.autograd.grad(result, [inputs, *module.parameters()], torch.ones_like(result))
    return {name: COUNTS[name] - before[name] for name in COUNTS}


def run(name: str, loops: str, size: int = 32) -> dict[str, int]:
    """A cell one way, in a call and then in others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        compiled = cellc.compile(name, target="triton")
    module = compiled(size, size).bfloat16()
    module.loops, file_of(module).INTERPRETED = loops, True  # type: ignore[attr-defined]
    first, same = counted(module, 6, 2, size), counted(module, 6, 2, size)
    others = [counted(module, steps, batch, size) for steps, batch in ((1, 2), (9, 1), (70, 5))]
    later = sum(other["loaded"] for other in (same, *others))
    return {"first": first["loaded"], "later": later, "launched": same["launched"]}


if __name__ == "__main__":
    assert os.environ.get("TRITON_INTERPRET") != "1"
    driver.set_active(_Driver())
    print(json.dumps({f"{n} {way}": run(n, way) for n in sys.argv[1:] for way in WAYS}))
