"""Modules with Triton kernels, on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch

import cellc
from tests.running import Trial, check_close, compiled, listed
from tests.running import tensor as padded

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
#: For what Triton's interpreter does not have.
on_a_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="only a GPU shows it")
#: The ways of a loop: its steps launched one after the other, or all of it in one kernel.
WAYS = ("stepwise", "fused")


class DeviceTrial(Trial):
    """A trial whose modules run where the tests of this package run."""

    device = DEVICE


def kernels(cell: cellc.Cell) -> type[Any]:
    """The class with Triton kernels."""
    return compiled(cell, "triton", "O2")


def shipped(name: str, *sizes: int, loops: str = "auto", **options: Any) -> Any:
    """A module of a shipped cell, always with the same parameters."""
    module = kernels(cellc.load(name))(*sizes, seed=3, device=DEVICE, **options)
    module.loops = loops
    return module


def written(text: str, *sizes: int, loops: str = "auto", **options: Any) -> Any:
    """A module of a cell that a test writes."""
    module = kernels(cellc.parse(text))(*sizes, seed=3, device=DEVICE, **options)
    module.loops = loops
    return module


def file_of(module: Any) -> ModuleType:
    """The emitted file, as it runs."""
    return sys.modules[type(module).__module__]


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random numbers, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


@contextmanager
def in_python(module: Any) -> Iterator[Any]:
    """The module with its loops in Python."""
    module.kernels = "none"
    try:
        yield module
    finally:
        module.kernels = "auto"


def results(module: Any, *given: Any) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
    """Outputs with last states, and the gradients of what the call is given and of parameters."""
    leaves = [
        value.detach().requires_grad_() if isinstance(value, torch.Tensor) else value
        for value in given
    ]
    outputs, states = module(*leaves)
    values = [padded(value) for value in (*listed(outputs), *listed(states))]
    slopes = [drawn(*v.shape, seed=n, dtype=v.dtype) for n, v in enumerate(values)]
    wanted = [v for v in (*leaves, *module.parameters()) if isinstance(v, torch.Tensor)]
    found = torch.autograd.grad(values, wanted, slopes, allow_unused=True)
    return values, list(found)


def check_as_in_python(module: Any, *given: Any, tolerance: float = 1e-5) -> None:
    """Kernels give what the loops in Python give, with and without gradients."""
    with in_python(module):
        wanted, wanted_slopes = results(module, *given)
    found, slopes = results(module, *given)
    with torch.no_grad():
        outputs, states = module(*given)
    plain = [padded(value) for value in (*listed(outputs), *listed(states))]
    for one, other in zip(
        [*found, *slopes, *plain], [*wanted, *wanted_slopes, *wanted], strict=True
    ):
        check_close(one, other, tolerance)


class Spy:
    """A function that counts its calls."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        return self.function(*given, **named)


@contextmanager
def watched(module: Any, name: str) -> Iterator[Spy]:
    """The calls of a function of the emitted file."""
    file = file_of(module)
    spy = Spy(getattr(file, name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, name, spy)
        yield spy
