"""What a pass is."""

from __future__ import annotations

from typing import Protocol

from cellc.ir import Cell


class Pass(Protocol):
    """A frozen dataclass whose fields are its options, with a pure ``run``."""

    def run(self, cell: Cell) -> Cell: ...


def name_of(step: Pass) -> str:
    """The name under which a pass is reported: ``FuseMatmul`` is ``fuse_matmul``."""
    letters = [f"_{c.lower()}" if c.isupper() else c for c in type(step).__name__]
    return "".join(letters).lstrip("_")
