"""Compiled loops as functions of tensors."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from cellc.diagnostics import CellcError
from cellc.kernels.build import library
from cellc.kernels.choice import CALLING, choose
from cellc.kernels.lending import threads_of_torch
from cellc.kernels.loops import SPARE, Address, Pack, fingerprint, first_of_line, packing, run

_BITS = {torch.float32: 32, torch.float64: 64}
_TENSORS = (torch.Tensor, torch.nn.Parameter)

Given = Sequence[torch.Tensor | None]


@dataclass
class Prepared:
    """What is computed of some parameters alone, for one set of their values.

    ``owned`` are the addresses of these and of the parameters, ``sharing`` is how threads are
    to share the work, ``panels`` are the weights as compiled loops read them, by loop and number.
    """

    key: Hashable
    values: tuple[Any, ...]
    owned: frozenset[int] = frozenset()
    sharing: str = "auto"
    panels: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)

    def in_panels(self, key: tuple[str, int], weight: torch.Tensor, pack: Pack) -> torch.Tensor:
        """A weight in panels, each of which begins at a line of the cache.

        ``pack`` gives their size, and fills them where it is given where they are. They are
        kept for a weight that is one of the parameters or of the values.
        """
        found = self.panels.get(key)
        if found is None:
            weight = weight.contiguous()
            count = pack(1, None, None)
            memory = weight.new_empty((count + SPARE,))
            found = memory[first_of_line(memory.data_ptr(), weight.itemsize) :][:count]
            pack(_threads(count), _address(weight), _address(found))
            if weight.data_ptr() in self.owned:
                self.panels[key] = found
        return found


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
        """Whether to run them: by a choice of auto, native, triton or none, and for these tensors.

        Raises CellcError where the choice is native and they cannot be built.
        """
        if choice in ("triton", "none"):
            return False
        if choice not in ("auto", "native"):
            raise ValueError(f"kernels is {choice!r}, not 'auto', 'native', 'triton' or 'none'")
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
            message = f"cellc runs without compiled kernels: {error.diagnostics[0].message}"
            if not self.failed:
                warnings.warn(message, stacklevel=7)
            self.failed.add(dtype)
            return False
        return True

    def library(self, dtype: torch.dtype) -> ctypes.CDLL:
        """The library for a type of numbers."""
        if dtype not in self.libraries:
            made = library(self.source, _BITS[dtype])
            made.lend(*threads_of_torch())
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
                values = prepare(*params, *numbers)
            tensors = [v for v in (*params, *values) if isinstance(v, torch.Tensor)]
            found = Prepared(key, values, frozenset(value.data_ptr() for value in tensors))
            self._prepared[module] = found
        found.sharing = module.sharing
        return found

    def times(
        self, rows: torch.Tensor, weight: torch.Tensor, prepared: Prepared, name: str,
        transposed: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        """Rows [N, n] by a weight [m, n], or by the transpose of one [n, m]: [N, m]."""
        compiled, whole = self.libraries[rows.dtype], ctypes.c_int64
        rows = _in_rows(rows, rows.dtype)
        outputs, inputs = weight.shape[::-1] if transposed else weight.shape

        def packed(threads: int, source: Address | None, to: Address | None) -> int:
            compiled.pack_weight.restype = whole
            shape = (whole(outputs), whole(inputs), whole(transposed))
            return int(compiled.pack_weight(whole(threads), source, *shape, to))

        panels = prepared.in_panels((name, 0), weight, packed)
        result = rows.new_empty((len(rows), outputs))
        compiled.times(
            whole(_threads(rows.numel() * outputs)), _address(rows), whole(len(rows)),
            whole(inputs), whole(rows.stride(0)), _address(panels), whole(outputs),
            _address(result),
        )  # fmt: skip
        return result

    def outer_sum(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """The sum over rows of the outer products of those of a [N, m] and of b [N, n]: [m, n]."""
        compiled, whole = self.libraries[a.dtype], ctypes.c_int64
        a, b = _in_rows(a, a.dtype), _in_rows(b, a.dtype)
        result = a.new_empty((a.shape[1], b.shape[1]))
        failed = compiled.outer_sum(
            whole(_threads(a.numel() * b.shape[1])), _address(a), whole(a.stride(0)),
            _address(b), whole(b.stride(0)), whole(len(a)), whole(a.shape[1]),
            whole(b.shape[1]), _address(result),
        )  # fmt: skip
        if failed:
            raise MemoryError("no memory for blocks of rows")
        return result

    def _key(self, params: Sequence[torch.Tensor], numbers: Sequence[float]) -> Hashable:
        if not params or not all(param.is_contiguous() for param in params):
            return None
        compiled, places = self.libraries[params[0].dtype], [p.data_ptr() for p in params]
        return (fingerprint(compiled, places, [param.nbytes for param in params]), *numbers)


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
                     torch.get_num_threads(), prepared.sharing)  # fmt: skip
        counts = _counts(sizes) if ragged else None
        arrays = [counts, *own, *others, *packed, *outputs, *starts, *states]
        whole = [steps, batch, way.threads, way.by_rows, training, *dims]
        whole += [value.stride(0) for value in own]
        addresses = [0 if value is None else value.data_ptr() for value in arrays]
        run(compiled, self.name, whole, numbers, addresses)
        return (*outputs, *states)

    def _packed(
        self, prepared: Prepared, number: int, weight: torch.Tensor, dims: Sequence[int]
    ) -> torch.Tensor:
        found = prepared.panels.get((self.name, number))
        if found is not None:
            return found
        pack = packing(self.kernels.libraries[weight.dtype], self.name, number, dims)
        return prepared.in_panels((self.name, number), weight, pack)


def unprepared(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is given what is prepared as its last argument but one, and ignores it."""
    return lambda *given: run(*given[:-2], given[-1])


def _threads(work: int) -> int:
    """The threads for so many multiplications, or so many numbers that are moved."""
    return torch.get_num_threads() if work > CALLING else 1


def _address(value: torch.Tensor) -> Address:
    return Address(value.data_ptr())


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
