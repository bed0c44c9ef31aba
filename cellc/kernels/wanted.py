"""Whether compiled loops are wanted."""

from __future__ import annotations

import os

from cellc.diagnostics import fail

CHOICES = ("auto", "native", "none")


def wanted(choice: str) -> str:
    """The choice that is made: where that is left open (auto), that of ``CELLC_KERNELS``.

    Raises CellcError ``unknown-kernels`` for another than auto, native and none.
    """
    found = os.environ.get("CELLC_KERNELS", "") or choice if choice == "auto" else choice
    if found not in CHOICES:
        known = ", ".join(f"`{name}`" for name in CHOICES)
        fail("unknown-kernels", f"there is no choice `{found}`", hints=(f"known: {known}",))
    return found
