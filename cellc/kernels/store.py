"""The directory in which built objects are kept from one run to the next.

An object lies under the hash of all that it depends on. It is written aside and renamed, so
that processes that build the same at the same time do not disturb each other. The objects not
used for longest go when there are too many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

#: The bytes that the objects may have together, unless ``CELLC_CACHE_BYTES`` says otherwise.
MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Entry:
    """A file of the store: when it was used last, in seconds since 1970, and its bytes."""

    path: Path
    used: float
    size: int


def directory() -> Path:
    """Where objects are kept: in ``CELLC_CACHE`` or the user's cache directory."""
    given = os.environ.get("CELLC_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("cellc")) / "kernels"


def failures() -> Path:
    """Where the source that could not be built last is, and what the compiler said of it."""
    return directory() / "failed"


def most_bytes() -> int:
    """The bytes that the objects may have together."""
    given = os.environ.get("CELLC_CACHE_BYTES", "")
    return int(given) if given.isdigit() else MOST_BYTES


def entries() -> list[Entry]:
    """The objects that there are, those used last first."""
    return sorted(_entries(), key=lambda entry: -entry.used)


def _entries() -> Iterator[Entry]:
    for path in directory().glob("*.so"):
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process was faster
            continue
        yield Entry(path, stat.st_mtime, stat.st_size)


def mark_used(path: Path) -> None:
    """Note that an object is in use."""
    try:
        os.utime(path)
    except OSError:  # it was removed, or belongs to someone else
        return


def clear() -> int:
    """Remove all objects; how many there were. Those that are loaded go on working."""
    found = entries()
    for entry in found:
        entry.path.unlink(missing_ok=True)
    return len(found)


def make_room(keep: Path) -> None:
    """Remove the objects not used for longest until the others are few enough bytes."""
    total = 0
    for entry in entries():
        total += entry.size
        if total > most_bytes() and entry.path != keep:
            entry.path.unlink(missing_ok=True)
