"""A file of C++ with the loops of a schedule."""

from __future__ import annotations

from collections.abc import Iterable

from cellc.backends.native.cpp import header
from cellc.backends.native.loop import LoopWriter

HEADERS = ("numbers", "rows", "products", "team", "panels", "steps", "matrices", "fingerprint")


def unit(loops: Iterable[LoopWriter]) -> str:
    """The text of a file that defines the loops; it needs nothing but a compiler."""
    parts = [header(name) for name in HEADERS]
    return "\n".join([*parts, *(str(loop.code()) for loop in loops)])
