"""How a loop is run: by how many threads, and what each of them has of the work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

#: Multiplications that one thread does while a team is called together, and while it meets.
CALLING, MEETING = 400_000, 15_000
#: Bytes of weights that one core reads over and over without waiting.
NEAR = 2**20


@dataclass(frozen=True)
class Way:
    """How a loop is run: so many threads, each with sequences of its own or places of its own."""

    threads: int
    by_rows: bool


@lru_cache(maxsize=1024)
def choose(
    batch: int, steps: int, work: int, weights: int, meetings: int, threads: int,
    sharing: str = "auto",
) -> Way:  # fmt: skip
    """The way that is fastest by a small model, or the fastest of those that share as asked for.

    ``sharing`` is ``rows``, where each thread has sequences of its own, ``places``, where each
    has a part of the places of all sequences, or ``auto``. Raises ValueError for another.

    ``work`` are the multiplications of one sequence in one step, ``weights`` the bytes that
    every step reads, ``meetings`` how often in a step threads that share the places wait for
    each other.
    """
    if sharing not in ("auto", "rows", "places"):
        raise ValueError(f"sharing is {sharing!r}, not 'auto', 'rows' or 'places'")
    if sharing != "auto":
        count = min(threads, batch) if sharing == "rows" else threads
        return Way(count, sharing == "rows")
    alone = batch * steps * work
    if threads < 2 or alone < CALLING:
        return Way(1, True)
    rows = min(threads, batch)
    by_rows = CALLING + alone / rows * (1 if weights <= NEAR else 1.3)
    by_places = CALLING + alone / threads + steps * meetings * MEETING
    best = min((alone, 0), (by_rows, 1), (by_places, 2))[1]
    return (Way(1, True), Way(rows, True), Way(threads, False))[best]
