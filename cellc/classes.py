"""From a cell to a class that is ready to use, with the kernels that it is to call."""

from __future__ import annotations

from typing import Any

from cellc.backends import Backend, CompilesLoops, RunsOnDevice, backend
from cellc.backends.naming import class_name
from cellc.diagnostics import fail
from cellc.ir import Cell
from cellc.kernels.wanted import wanted, wants_gpu
from cellc.loading import class_from
from cellc.passes.inference import planned
from cellc.passes.plan import plan, with_compiled


def class_of(cell: Cell, to: Backend, kernels: str, level: str, memory: str, scan: str,
             diagonals: str) -> type[Any]:  # fmt: skip
    """The class of a backend's file. Arguments as for :func:`cellc.compile`. Raises CellcError."""
    choice, name = wanted(kernels), class_name(cell.name)
    if choice == "triton" and isinstance(to, RunsOnDevice):
        to = backend(to.device)

    def emitted(by: Backend) -> str:
        return by.emit(planned(cell, by, level, memory, scan, diagonals), cell)

    if getattr(to, "in_kernels", False):
        return _with_triton(emitted(to), name)
    if not (isinstance(to, CompilesLoops) and choice in to.kernels):
        return class_from(emitted(to), name)
    made = with_compiled(plan(cell, level, memory, to.learns_starts, scan, diagonals, True))
    if not (isinstance(to, RunsOnDevice) and wants_gpu(choice)):
        return class_from(*_given(to.emit_with_kernels(made, cell), name))
    return class_from(*_given(to.emit_for_device(made, cell), name), emitted(backend(to.device)))


def _given(emitted: tuple[str, str], name: str) -> tuple[str, str, str]:
    text, source = emitted
    return text, name, source


def _with_triton(text: str, name: str) -> type[Any]:
    """The class of a file that imports Triton. Raises CellcError ``no-triton``."""
    try:
        return class_from(text, name)
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        hints = ("it comes with torch for CUDA, or by `pip install triton`",)
        fail("no-triton", "Triton is not installed", hints=hints)
