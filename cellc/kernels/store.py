"""The directory in which built objects are kept from one run to the next.

An object lies under the hash of all that it depends on, and of its own bytes, so that one that
was damaged is noticed before the machine runs it. It is written aside and renamed, so that
processes that build the same at the same time do not disturb each other. The objects not used
for longest go when there are too many.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from cellc.diagnostics import fail

#: The bytes that the objects may have together, unless ``CELLC_CACHE_BYTES`` says otherwise.
MOST_BYTES = 256 * 2**20
#: What was written aside is forgotten after so many seconds; its process was killed.
FORGOTTEN = 3600.0
#: How the names of the directories begin in which objects are written aside.
ASIDE = "building-"


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
    return int(given) if given.isdecimal() else MOST_BYTES


def found(key: str) -> Path | None:
    """The whole object of a key; those of the key that are damaged are removed."""
    for path in sorted(directory().glob(f"{key}-*.so")):
        try:
            if path == place(key, path):
                return path
            path.unlink()
        except OSError:  # it was removed, or belongs to someone else
            continue
    return None


def place(key: str, made: Path) -> Path:
    """Where an object of a key belongs that was made aside."""
    return directory() / f"{key}-{hashlib.sha256(made.read_bytes()).hexdigest()[:16]}.so"


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
    with suppress(OSError):  # it was removed, or belongs to someone else
        os.utime(path)


def clear() -> int:
    """Remove all objects; how many there were. Those that are loaded go on working.

    Raises CellcError ``kernel-store`` where that is not allowed.
    """
    found = entries()
    try:
        for entry in found:
            entry.path.unlink(missing_ok=True)
    except OSError as error:
        fail("kernel-store", f"kernels in {directory()} cannot be removed: {error.strerror}")
    shutil.rmtree(failures(), ignore_errors=True)
    _forget()
    return len(found)


def make_room(keep: Path) -> None:
    """Remove the objects not used for longest until the others are few enough bytes."""
    total = 0
    for entry in entries():
        total += entry.size
        if total > most_bytes() and entry.path != keep:
            with suppress(OSError):  # it belongs to someone else
                entry.path.unlink()
    _forget()


def _forget() -> None:
    """Remove what processes left aside that were killed while they built."""
    for path in directory().glob(f"{ASIDE}*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - FORGOTTEN:
                shutil.rmtree(path)
