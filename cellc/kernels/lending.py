"""The threads of torch, which compiled loops borrow."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

import torch

_FUNCTIONS = ("GOMP_parallel", "omp_get_num_threads", "omp_get_thread_num")
_STAT = Path("/proc/self/stat")
#: The flags of a process among what Linux tells of it, counted from behind its name, and that of
#: one that was forked and runs the program of its parent.
_FLAGS, _FORKED = 6, 0x40


def threads_of_torch() -> tuple[ctypes.c_void_p, ...]:
    """How torch's OpenMP runs a function by several threads; nothing where it cannot.

    Its threads wait for work for a while before they sleep, and would take the processor from
    threads of our own. In a process that was forked they are those of the parent, and who calls
    them waits for ever.
    """
    return tuple(ctypes.c_void_p() for _ in _FUNCTIONS) if is_forked() else _functions()


def is_forked() -> bool:
    """Whether this process is a copy of its parent, as far as the system tells."""
    try:
        told = _STAT.read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return bool(int(told[_FLAGS]) & _FORKED)


@cache
def _functions() -> tuple[ctypes.c_void_p, ...]:
    name = {"linux": "libtorch_cpu.so", "darwin": "libtorch_cpu.dylib"}.get(sys.platform, "")
    try:
        own = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        return tuple(ctypes.cast(getattr(own, f), ctypes.c_void_p) for f in _FUNCTIONS)
    except (OSError, AttributeError):
        return tuple(ctypes.c_void_p() for _ in _FUNCTIONS)
