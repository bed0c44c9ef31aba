"""Compiled loops as functions of numbers and addresses, for the arrays of any library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct

#: A line of the cache, where panels of weights begin, and at most so many numbers before it.
LINE_BYTES = 64
SPARE = 16

Address = ctypes.c_void_p
Pack = Callable[[int, Address | None, Address | None], int]


def run(
    compiled: ctypes.CDLL, name: str, sizes: Sequence[int], numbers: Sequence[float],
    addresses: Sequence[int],
) -> None:  # fmt: skip
    """Run a loop; the second of ``sizes`` is the number of sequences, an address of 0 is none.

    Raises MemoryError.
    """
    failed = getattr(compiled, name)(
        _format(len(sizes), "q").pack(*sizes),
        _format(len(numbers), "d").pack(*numbers),
        _format(len(addresses), "P").pack(*addresses),
    )
    if failed:
        raise MemoryError(f"no memory for the states of {sizes[1]} sequences")


def packing(compiled: ctypes.CDLL, name: str, number: int, dims: Sequence[int]) -> Pack:
    """What puts a weight of a loop in panels: it takes threads, the weight's place and theirs.

    It gives how many numbers they have, and without places does nothing else.
    """
    pack = getattr(compiled, f"{name}_pack_{number}")
    pack.restype = ctypes.c_int64
    given = (ctypes.c_int64 * max(1, len(dims)))(*dims)

    def packed(threads: int, source: Address | None, to: Address | None) -> int:
        return int(pack(ctypes.c_int64(threads), given, source, to))

    return packed


def fingerprint(compiled: ctypes.CDLL, addresses: Sequence[int], sizes: Sequence[int]) -> int:
    """A hash of 64 bits of what is in memory at some addresses, so many bytes each."""
    count = len(addresses)
    compiled.fingerprint.restype = ctypes.c_uint64
    where = _format(count, "P").pack(*addresses)
    return int(compiled.fingerprint(count, where, _format(count, "q").pack(*sizes)))


@cache
def _format(count: int, letter: str) -> Struct:
    """So many numbers of the machine, one behind the other."""
    return Struct(f"{count}{letter}")


def first_of_line(address: int, itemsize: int) -> int:
    """How many numbers behind an address the next line of the cache begins."""
    return -address % LINE_BYTES // itemsize
