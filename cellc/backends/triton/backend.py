"""A file with an ``nn.Module`` whose loops are Triton kernels, standing alone."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.backends import pyast, torch
from cellc.backends.pyast import Blank, Item, Line
from cellc.backends.torch_method import Method
from cellc.backends.triton.function import DeviceFunction
from cellc.ir import Cell, Schedule
from cellc.kernels.sources import GPU, needed


def _made(compiled: Schedule, name: str, plain: Method) -> torch.Runner:
    """Loops in Triton, with the functions that they call."""
    made = DeviceFunction(compiled, f"{name}Kernels", plain, f"{name}Function")
    function = made.items()
    used = pyast.names_in([*function, made.method.block])
    helpers: list[Item] = []
    for statement in needed(GPU, used):
        helpers += [Line(statement), Blank(2)]
    attributes = "kernels, loops = 'auto', 'auto'"
    return torch.Runner(
        made.method, (), (*helpers, *function), made.writers, attributes, _TOLD, IMPORTS
    )


#: What the definitions of ``cellc/kernels/gpu`` need.
IMPORTS = (
    "import os", "import threading", "from collections import OrderedDict",
    "from functools import cache, lru_cache", "import triton", "import triton.language as tl",
)  # fmt: skip
_TOLD = (
    "",
    "On a GPU loops run in Triton kernels, in Python where the attribute ``kernels`` is 'none'.",
    "``loops`` says how: step by step, with the products of a library (stepwise), inside one",
    "kernel (fused), or in that of these ways which should be the faster (auto).",
)


@dataclass(frozen=True)
class TritonBackend:
    """Emits an ``nn.Module`` whose loops are Triton kernels where its tensors are on a GPU."""

    name: str = "triton"
    scans_apart: bool = True
    learns_starts: bool = False
    in_kernels: bool = True

    def emit(self, schedule: Schedule, source: Cell) -> str:
        return torch.emit(schedule, source, _made)[0]
