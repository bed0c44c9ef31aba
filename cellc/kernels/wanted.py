"""Whether compiled loops are wanted."""

from __future__ import annotations

import os
from importlib import import_module

from cellc.diagnostics import fail

CHOICES = ("auto", "native", "triton", "none")


def wanted(choice: str) -> str:
    """The choice that is made: where that is left open (auto), that of ``CELLC_KERNELS``.

    Raises CellcError ``unknown-kernels`` for another than auto, native, triton and none.
    """
    found = os.environ.get("CELLC_KERNELS", "") or choice if choice == "auto" else choice
    if found not in CHOICES:
        known = ", ".join(f"`{name}`" for name in CHOICES)
        fail("unknown-kernels", f"there is no choice `{found}`", hints=(f"known: {known}",))
    return found


def wants_gpu(choice: str) -> bool:
    """Whether kernels of a GPU are wanted, by a choice that :func:`wanted` has made."""
    if choice != "auto":
        return choice == "triton"
    try:
        torch = import_module("torch")
    except ModuleNotFoundError:
        return False
    return bool(torch.cuda.is_available())
