"""Writing files so that a failure leaves nothing half done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cellc.diagnostics import fail


def write_file(path: Path, data: bytes | str) -> None:
    """Write a file aside and move it into place.

    Folders on the way are made. Raises CellcError ``unwritable``.
    """
    if isinstance(data, str):
        data = data.encode("utf-8")
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    except OSError as error:
        if aside is not None and os.path.exists(aside):
            os.unlink(aside)
        fail("unwritable", f"{path} cannot be written: {error.strerror or error}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
