"""What a misspelt name may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

_MOST_COMPARED = 300


def did_you_mean(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """A hint with the most similar known names; empty where none is similar."""
    folded: dict[str, str] = {}
    for candidate in islice(known, _MOST_COMPARED):
        folded.setdefault(candidate.casefold(), candidate)
    close = get_close_matches(name.casefold(), list(folded), n=2, cutoff=0.6)
    names = [f"`{folded[match]}`" for match in close if folded[match] != name]
    return (f"did you mean {' or '.join(names)}?",) if names else ()
