"""Equations as lines of a picture: ``fₜ = σ(W_f · [hₜ₋₁, xₜ] + b_f)`` with true subscripts."""

from __future__ import annotations

import re
from html import escape

from cellc.ir import Cell
from cellc.ops import TABLE
from cellc.ops.notation import equations_of
from cellc.views.names import Naming, step_values
from cellc.views.painter import label_of

_TOKEN = re.compile(
    r"(?P<delay>prev\((?P<base>\w[\w\u0300-\u036f']*)(?:, (?P<lag>\d+))?\))"
    r"|(?P<word>[^\W\d][\w\u0300-\u036f]*'?)(?P<call>\()?"
    r"|(?P<number>\d[\d.e+]*)(?P<times>\*)?|."
)
_SIGNS = {"-": "−", "*": " ⊙ ", "·": " "}


def caption(cell: Cell) -> list[str]:
    """The equations of one step in Graphviz's HTML, a line for each named value."""
    naming, step = Naming(cell), step_values(cell)
    return [
        f"{label_of(naming.symbol(name))} = {_written(cell, naming, text)}"
        for name, text in equations_of(cell).items()
        if name in step and not name.isdigit()
    ]


def _written(cell: Cell, naming: Naming, text: str) -> str:
    return "".join(_piece(cell, naming, found) for found in _TOKEN.finditer(text))


def _piece(cell: Cell, naming: Naming, found: re.Match[str]) -> str:
    word, call = found["word"], found["call"] or ""
    if found["delay"]:
        back = f"t−{found['lag'] or 1}"
        return label_of(naming.taken_apart(found["base"].rstrip("'"), back))
    if word and word in cell.nodes:
        return label_of(naming.symbol(word)) + call
    if word:
        op = TABLE.get(word)
        glyph = op.glyph if op is not None and len(op.glyph) == 1 and op.glyph.isalpha() else word
        return escape(glyph) + call
    if found["number"]:
        return found["number"] + ("\u2009" if found["times"] else "")
    return _SIGNS.get(found[0], escape(found[0]))
