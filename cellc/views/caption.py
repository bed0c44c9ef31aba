"""Equations as lines of a picture: ``fₜ = σ(W_f · [hₜ₋₁, xₜ] + b_f)`` with true subscripts."""

from __future__ import annotations

import re
from html import escape

from cellc.ir import Cell
from cellc.ops import TABLE
from cellc.ops.notation import equations_of
from cellc.views.names import Naming, Symbol, step_values
from cellc.views.painter import label_of

_TOKEN = re.compile(
    r"(?P<delay>prev\((?P<base>\w[\w\u0300-\u036f']*)(?:, (?P<lag>\d+))?\))"
    r"|%(?P<unnamed>\d+)"
    r"|(?P<word>[^\W\d][\w\u0300-\u036f]*'?)(?P<call>\()?"
    r"|(?P<number>\d[\d.e+]*)(?P<times>\*)?|."
)
_FRESH = "vuwpqr"
_SIGNS = {"-": "−", "*": " ⊙ ", "·": " "}


def caption(cell: Cell) -> dict[str, str]:
    """The equations of one step in Graphviz's HTML, by value.

    A value without a name that is read more than once gets a letter and a number.
    """
    step = step_values(cell)
    equations = {name: text for name, text in equations_of(cell).items() if name in step}
    writer = _Writer(cell, [name for name in equations if name.isdigit()])
    return {name: writer.line(name, text) for name, text in equations.items()}


class _Writer:
    """Writes equations of a cell, in which ``unnamed`` values are numbered."""

    def __init__(self, cell: Cell, unnamed: list[str]) -> None:
        self.cell, self.naming = cell, Naming(cell)
        taken = {self.naming.taken_apart(name).stem for name in cell.nodes}
        letter = next((letter for letter in _FRESH if letter not in taken), _FRESH[0])
        self.numbered = {
            name: label_of(Symbol(letter, (str(number),), step=self.naming.step(name)))
            for number, name in enumerate(unnamed, 1)
        }

    def line(self, name: str, text: str) -> str:
        """An equation."""
        right = "".join(map(self._piece, _TOKEN.finditer(text)))
        return f"{self._symbol(name)} = {right}"

    def _symbol(self, name: str) -> str:
        return self.numbered.get(name) or label_of(self.naming.symbol(name))

    def _piece(self, found: re.Match[str]) -> str:
        word, call = found["word"], found["call"] or ""
        if found["unnamed"]:
            return self.numbered.get(found["unnamed"], escape(found[0]))
        if found["delay"]:
            back = f"t−{found['lag'] or 1}"
            return label_of(self.naming.taken_apart(found["base"].rstrip("'"), back))
        if word and word in self.cell.nodes:
            return self._symbol(word) + call
        if word:
            op = TABLE.get(word)
            letter = op is not None and len(op.glyph) == 1 and op.glyph.isalpha()
            return escape(op.glyph if op is not None and letter else word) + call
        if found["number"]:
            return found["number"] + ("\u2009" if found["times"] else "")
        return _SIGNS.get(found[0], escape(found[0]))
