"""How a picture is asked for: its colours, and what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cellc.ir import Cell
from cellc.views.canvas import Canvas
from cellc.views.caption import caption
from cellc.views.drawing import Drawing
from cellc.views.geometry import Geometry
from cellc.views.latex import latex
from cellc.views.legend import add_legend
from cellc.views.theme import Theme, theme_called

_BELOW, _LINE = 12.0, 23.0

#: What makes a line of text that high.
_TALL = '<FONT POINT-SIZE="19"> </FONT>'


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

    def finish(self, canvas: Canvas, cell: Cell, geometry: Geometry) -> None:
        """Write what stands beside a picture and below it."""
        middle = canvas.middle
        if self.legend:
            add_legend(canvas, geometry.picture, bool(geometry.rails))
        self.caption(canvas, cell, middle)

    def caption(self, canvas: Canvas, cell: Cell, middle: float | None = None) -> None:
        """Write the equations below a picture, around its middle."""
        if self.captions:
            lines = caption(cell)
            text = "".join(f'{line}{_TALL}<BR ALIGN="LEFT"/>' for line in lines)
            x = canvas.middle if middle is None else middle
            canvas.text(f"<{text}>", (x, canvas.low[1] - _BELOW - _LINE * len(lines) / 2), 14)

    def drawing(self, cell: Cell, dot: str, engine: str, stands_for: Mapping[str, str]) -> Drawing:
        """The finished picture of a cell."""
        return Drawing(dot, cell.name, engine, stands_for, latex(cell))
