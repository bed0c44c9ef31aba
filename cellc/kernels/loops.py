"""Compiled loops as functions of numbers and addresses, for the arrays of any library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

#: A line of the cache, where panels of weights begin, and at most so many numbers before it.
LINE_BYTES = 64
SPARE = 16

Address = ctypes.c_void_p
Pack = Callable[[int, Address | None, Address | None], int]


def run(
    compiled: ctypes.CDLL, name: str, sizes: Sequence[int], numbers: Sequence[float],
    addresses: Sequence[int | None],
) -> None:  # fmt: skip
    """Run a loop; the second of ``sizes`` is the number of sequences.

    Raises MemoryError.
    """
    failed = getattr(compiled, name)(
        (ctypes.c_int64 * len(sizes))(*sizes),
        (ctypes.c_double * max(1, len(numbers)))(*numbers),
        (ctypes.c_void_p * len(addresses))(*addresses),
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
    where = (ctypes.c_void_p * count)(*addresses)
    return int(compiled.fingerprint(count, where, (ctypes.c_int64 * count)(*sizes)))


def first_of_line(address: int, itemsize: int) -> int:
    """How many numbers behind an address the next line of the cache begins."""
    return -address % LINE_BYTES // itemsize
