"""How an optimisation level is written."""

from __future__ import annotations

from cellc.diagnostics import fail
from cellc.passes.pipelines import PIPELINES


def level_called(name: str) -> str:
    """The level of a name, in full: ``O1`` of ``1``. Raises CellcError ``unknown-level``."""
    level = name if name.startswith("O") else f"O{name}"
    if level not in PIPELINES:
        known = ", ".join(f"`{each}`" for each in PIPELINES)
        fail("unknown-level", f"there is no level `{name}`", hints=(f"known: {known}",))
    return level
