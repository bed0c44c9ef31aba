"""How a picture is asked for: its colours, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from cellc.ir import Cell
from cellc.views.below import lined
from cellc.views.canvas import Canvas
from cellc.views.caption import caption
from cellc.views.drawing import Drawing
from cellc.views.geometry import Geometry, width_of
from cellc.views.latex import latex
from cellc.views.legend import add_legend
from cellc.views.theme import Theme, theme_called

_BELOW, _LINE = 12.0, 23.0

#: Room for fonts that are wider than most.
_LOOSE = 1.45

#: A line of text in Graphviz's HTML with the mark whose ink it has, or none.
Line = tuple[str, str]


@dataclass(frozen=True)
class Page:
    """``theme`` is light, dark or grey; ``captions`` writes the equations under the picture,
    ``legend`` beside it what colours and lines mean.
    """

    theme: str = "light"
    captions: bool = False
    legend: bool = False

    @property
    def colours(self) -> Theme:
        """The theme. Raises CellcError ``unknown-theme``."""
        return theme_called(self.theme)

    def finish(
        self,
        canvas: Canvas,
        cell: Cell,
        shown: Geometry | nx.DiGraph[str],
        lines: Sequence[Line] | None = None,
        marks: Mapping[str, str] | None = None,
    ) -> None:
        """Write what stands beside a picture and below it.

        ``shown`` is what is on the canvas, with rails or without. Below are the equations of the
        cell, or other lines; ``marks`` says in words what those in the picture mean.
        """
        middle = canvas.middle
        if self.legend and isinstance(shown, Geometry):
            add_legend(canvas, shown.picture, bool(shown.rails), marks or {})
        elif self.legend:
            add_legend(canvas, shown, False, marks or {})
        if below := self.lines(cell, lines):
            wide = _LOOSE * max(width_of(line) for _, line in below)
            spot = middle, canvas.low[1] - _BELOW - _LINE * len(below) / 2
            canvas.text(f"<{self.inked(below)}>", spot, 14, width=f"{wide / 72:.3f}")

    def lines(self, cell: Cell, lines: Sequence[Line] | None = None) -> Sequence[Line]:
        """What is written below: the equations, or other lines; nothing where it is not asked."""
        if not self.captions:
            return ()
        return [("", line) for line in caption(cell).values()] if lines is None else lines

    def inked(self, lines: Iterable[Line]) -> str:
        """Lines below each other, each in the ink of its mark."""
        return lined(self._inked(*line) for line in lines)

    def _inked(self, mark: str, text: str) -> str:
        return f'<FONT COLOR="{self.colours.marks[mark][0]}">{text}</FONT>' if mark else text

    def drawing(self, cell: Cell, dot: str, engine: str, stands_for: Mapping[str, str]) -> Drawing:
        """The finished picture of a cell."""
        return Drawing(dot, cell.name, engine, stands_for, latex(cell))
