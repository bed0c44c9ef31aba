"""Finds the grammars and shipped specs, in a checkout and in an installed wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


@cache
def folder(name: str) -> Path:
    """The folder ``grammars`` or ``specs``.

    It lies inside the package in a wheel and beside it in a checkout.
    """
    for home in (_PACKAGE, _PACKAGE.parent):
        if (home / name).is_dir():
            return home / name
    raise FileNotFoundError(f"cellc is installed without its folder {name!r}")


def read_grammar(name: str) -> str:
    """The text of ``grammars/NAME.lark``."""
    return (folder("grammars") / f"{name}.lark").read_text(encoding="utf-8")


def shipped_specs() -> dict[str, Path]:
    """The shipped spec files by the name of their cell, in alphabetical order."""
    return {path.stem: path for path in sorted(folder("specs").glob("*.cell"))}
