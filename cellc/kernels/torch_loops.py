"""Compiled loops as functions of tensors."""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from cellc.diagnostics import CellcError
from cellc.kernels.build import library
from cellc.kernels.choice import choose

_BITS = {torch.float32: 32, torch.float64: 64}
_TENSORS = (torch.Tensor, torch.nn.Parameter)

Given = Sequence[torch.Tensor | None]


@dataclass
class Prepared:
    """What is computed of some parameters alone, for one set of their values.

    ``panels`` are weights as compiled loops read them, by loop and number.
    """

    key: Hashable
    values: tuple[Any, ...]
    panels: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)


class Kernels:
    """The compiled loops of a cell, built for a type of numbers when that is first used.

    ``source`` is the text of a file in C++.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.libraries: dict[torch.dtype, ctypes.CDLL] = {}
        self.failed: set[torch.dtype] = set()
        self._prepared: WeakKeyDictionary[Any, Prepared] = WeakKeyDictionary()

    def run(self, choice: str, tensors: Given) -> bool:
        """Whether to run them: by a choice of auto, native or none, and for these tensors.

        Raises CellcError where the choice is native and they cannot be built.
        """
        if choice == "none":
            return False
        if choice not in ("auto", "native"):
            raise ValueError(f"kernels is {choice!r}, not 'auto', 'native' or 'none'")
        dtype = _common_type(tensors)
        if dtype is None or not _is_here_and_now():
            return False
        return dtype in self.libraries or self._build(choice, dtype)

    def _build(self, choice: str, dtype: torch.dtype) -> bool:
        if dtype in self.failed and choice == "auto":
            return False
        try:
            self.library(dtype)
        except CellcError as error:
            if choice == "native":
                raise
            self.failed.add(dtype)
            message = f"cellc runs without compiled kernels: {error.diagnostics[0].message}"
            warnings.warn(message, stacklevel=5)
            return False
        return True

    def library(self, dtype: torch.dtype) -> ctypes.CDLL:
        """The library for a type of numbers."""
        if dtype not in self.libraries:
            made = library(self.source, _BITS[dtype])
            made.fingerprint.restype = ctypes.c_uint64
            made.lend(*_threads_of_torch())
            self.libraries[dtype] = made
        return self.libraries[dtype]

    def prepared(
        self, module: Any, prepare: Callable[..., tuple[Any, ...]],
        params: Sequence[torch.Tensor], numbers: Sequence[float],
    ) -> Prepared:  # fmt: skip
        """What ``prepare`` makes of the parameters, as long as their numbers are the same.

        The numbers themselves are compared, by a hash of 64 bits: parameters can change without
        a change of their version, by way of ``data``.
        """
        key = self._key(params, numbers)
        found = self._prepared.get(module)
        if found is None or key is None or found.key != key:
            with torch.no_grad():
                found = Prepared(key, prepare(*params, *numbers))
            self._prepared[module] = found
        return found

    def _key(self, params: Sequence[torch.Tensor], numbers: Sequence[float]) -> Hashable:
        if not params or not all(param.is_contiguous() for param in params):
            return None
        count = len(params)
        where = (ctypes.c_void_p * count)(*[param.data_ptr() for param in params])
        bytes_ = (ctypes.c_int64 * count)(*[param.nbytes for param in params])
        compiled = self.libraries[params[0].dtype]
        return (compiled.fingerprint(count, where, bytes_), *numbers)


@cache
def _threads_of_torch() -> tuple[ctypes.c_void_p, ...]:
    """How torch's OpenMP runs a function by several threads; nothing where it has another.

    Its threads wait for work for a while before they sleep, and would take the processor from
    threads of our own.
    """
    name = {"linux": "libtorch_cpu.so", "darwin": "libtorch_cpu.dylib"}.get(sys.platform, "")
    functions = ("GOMP_parallel", "omp_get_num_threads", "omp_get_thread_num")
    try:
        own = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        return tuple(ctypes.cast(getattr(own, f), ctypes.c_void_p) for f in functions)
    except (OSError, AttributeError):
        return tuple(ctypes.c_void_p() for _ in functions)


def _common_type(tensors: Given) -> torch.dtype | None:
    """The type of the numbers of ordinary tensors in the memory of the processor, if they agree."""
    found = None
    for value in tensors:
        if value is None:
            continue
        if type(value) not in _TENSORS or not value.is_cpu:
            return None
        dtype = value.dtype
        if dtype is not found and dtype.is_floating_point:
            if found is not None or dtype not in _BITS:
                return None
            found = dtype
    return found


def _is_here_and_now() -> bool:
    """Whether operations run as they are called, rather than being traced or transformed."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or torch.is_autocast_enabled("cpu")
    )


class Loop:
    """One compiled loop.

    The arrays that it takes are, in this order, ``rows`` with a row for each step of each
    sequence, ``others`` with one for each sequence or one for all, ``weights`` that are packed
    in panels (``panels`` tells from which weight each), and ``states``. It writes ``always``
    outputs and, where the derivative is to be computed, others.
    """

    def __init__(
        self, kernels: Kernels, name: str, rows: int, others: int, panels: Sequence[int],
        states: int, always: int, meetings: int,
    ) -> None:  # fmt: skip
        self.kernels, self.name, self.panels = kernels, name, tuple(panels)
        self.rows, self.others, self.states, self.always = rows, others, states, always
        self.meetings = meetings

    def __call__(
        self,
        sizes: Sequence[int],
        dims: Sequence[int],
        numbers: Sequence[float],
        tensors: Sequence[torch.Tensor],
        shapes: Sequence[tuple[int, ...]],
        prepared: Prepared,
        keep: bool,
        training: bool = False,
    ) -> tuple[torch.Tensor | None, ...]:
        """The outputs, each (rows, *shape), and the states after the last step.

        ``sizes`` are the rows of each step, as those of a PackedSequence.
        """
        like = tensors[-1]
        dtype, batch, steps = like.dtype, sizes[0], len(sizes)
        compiled = self.kernels.libraries[dtype]
        own = [_in_rows(value, dtype) for value in tensors[: self.rows]]
        behind, last = self.rows + self.others, len(tensors) - self.states
        others = [_plain(value, dtype) for value in tensors[self.rows : behind]]
        starts = [_plain(value, dtype) for value in tensors[last:]]
        weights = tensors[behind:last]
        packed = [self._packed(prepared, n, weights[k], dims) for n, k in enumerate(self.panels)]
        ragged = sizes[0] != sizes[-1]
        count = sum(sizes) if ragged else batch * steps
        outputs = [
            like.new_empty((count, *shape)) if keep or k < self.always else None
            for k, shape in enumerate(shapes)
        ]
        states = [torch.empty_like(start) for start in starts]
        work = sum(panels.numel() for panels in packed) or 64
        way = choose(batch, steps, work, work * dtype.itemsize, self.meetings,
                     torch.get_num_threads())  # fmt: skip
        counts = _counts(sizes) if ragged else None
        arrays = [counts, *own, *others, *packed, *outputs, *starts, *states]
        whole = [steps, batch, way.threads, way.by_rows, training, *dims]
        whole += [value.stride(0) for value in own]
        failed = getattr(compiled, self.name)(
            (ctypes.c_int64 * len(whole))(*whole),
            (ctypes.c_double * max(1, len(numbers)))(*numbers),
            (ctypes.c_void_p * len(arrays))(*[None if a is None else a.data_ptr() for a in arrays]),
        )
        if failed:
            raise MemoryError(f"no memory for the states of {batch} sequences")
        return (*outputs, *states)

    def _packed(
        self, prepared: Prepared, number: int, weight: torch.Tensor, dims: Sequence[int]
    ) -> torch.Tensor:
        """A weight in panels, each of which begins at a line of the cache."""
        key = (self.name, number)
        if key not in prepared.panels:
            compiled = self.kernels.libraries[weight.dtype]
            pack = getattr(compiled, f"{self.name}_pack_{number}")
            pack.restype = ctypes.c_int64
            given = (ctypes.c_int64 * max(1, len(dims)))(*dims)
            count = pack(given, None, None)
            panels = weight.new_empty((count + 16,))
            panels = panels[-panels.data_ptr() % 64 // weight.itemsize :][:count]
            weight = weight.contiguous()
            pack(given, ctypes.c_void_p(weight.data_ptr()), ctypes.c_void_p(panels.data_ptr()))
            prepared.panels[key] = panels
        return prepared.panels[key]


def unprepared(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is given what is prepared as its last argument but one, and ignores it."""
    return lambda *given: run(*given[:-2], given[-1])


def _counts(sizes: Sequence[int]) -> torch.Tensor:
    """The rows of each step, and behind these the first row of each."""
    counts = torch.tensor(sizes)
    return torch.cat((counts, counts.cumsum(0) - counts))


def _in_rows(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A value whose rows are each in one piece."""
    value = value if value.dtype is dtype else value.to(dtype)
    if value.is_contiguous() or (value.dim() == 2 and value.stride(1) == 1):
        return value
    return value.contiguous()


def _plain(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    value = value if value.dtype is dtype else value.to(dtype)
    return value.contiguous()
