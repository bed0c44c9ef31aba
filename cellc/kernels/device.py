"""Classes whose calls on a GPU run in the kernels of another emitted file."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from typing import Any

import torch

from cellc.diagnostics import CellcError, Diagnostic
from cellc.loading import class_from


def on_device(device: str) -> Callable[[type[Any]], type[Any]]:
    """A decorator: calls with tensors on a GPU run as the class of the same name in a file does.

    ``device`` is the text of that file. It is read, and Triton imported, when the first such
    tensor comes.
    """

    def decorated(compiled: type[Any]) -> type[Any]:
        load = cache(lambda: _loaded(device, compiled.__name__))
        # what the other class calls for what its kernels cannot run
        compiled._in_python = getattr(compiled, "_in_python", compiled._run)
        compiled._run = _choosing(compiled._run, load)
        compiled.loops = "auto"
        compiled.kernels = getattr(compiled, "kernels", "auto")
        return compiled

    return decorated


def _choosing(plain: Callable[..., Any], load: Callable[[], type[Any] | None]) -> Any:
    """The method that runs rows: on a GPU that of the other class, elsewhere that of its own."""
    names = list(inspect.signature(plain).parameters)[1:]

    @wraps(plain)
    def run(self: Any, *given: Any) -> Any:
        if self.kernels not in ("auto", "triton") or not any(_on_gpu(given)):
            return plain(self, *given)
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            apart: Any = torch.compiler.disable
            return apart(run)(self, *given)
        other = load()
        if other is None:
            if self.kernels == "triton":
                raise CellcError(Diagnostic("no-triton", "Triton is not installed"))
            return plain(self, *given)
        passed = dict(zip(names, given, strict=True))
        wanted = list(inspect.signature(other._run).parameters)[1:]
        return other._run(self, *(passed[name] for name in wanted))

    return run


def _on_gpu(given: Sequence[Any]) -> Iterator[bool]:
    """Whether tensors are on a GPU, those in tuples as well."""
    for value in given:
        if isinstance(value, torch.Tensor):
            yield value.is_cuda
        elif isinstance(value, (tuple, list)):
            yield from (each.is_cuda for each in value if isinstance(each, torch.Tensor))


def _loaded(device: str, name: str) -> type[Any] | None:
    """The class of the other file; None, with a warning, where Triton is not installed."""
    try:
        return class_from(device, name)
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        warnings.warn("cellc runs without kernels: Triton is not installed", stacklevel=6)
        return None
