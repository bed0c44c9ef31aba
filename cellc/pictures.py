"""From a cell to a picture of it, in each of the views that there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cellc import driver
from cellc.diagnostics import fail
from cellc.ir import Cell
from cellc.views.diagram import diagram
from cellc.views.drawing import Drawing
from cellc.views.page import Page


@dataclass(frozen=True)
class Wish:
    """What a picture is to show beside the cell itself; see :func:`draw`."""

    page: Page = field(default_factory=Page)


def draw(
    cell: Cell | str,
    view: str = "gates",
    *,
    theme: str = "light",
    captions: bool = False,
    legend: bool = False,
) -> Drawing:
    """A picture of a cell, or of a shipped one by its name; it displays itself in a notebook.

    ``view`` is ``gates``, the diagram that papers print; of a cell with too many gates its
    loops are drawn. ``theme`` is light, dark or grey, ``captions`` writes the equations
    under the picture and ``legend`` beside it what colours and lines mean. Raises CellcError.
    """
    if view not in VIEWS:
        known = ", ".join(f"`{name}`" for name in VIEWS)
        fail("unknown-view", f"there is no view `{view}`", hints=(f"known: {known}",))
    given = driver.load(cell) if isinstance(cell, str) else cell
    return VIEWS[view](given, Wish(Page(theme, captions, legend)))


def _gates(cell: Cell, wish: Wish) -> Drawing:
    return diagram(cell, driver.schedule(cell, "O0"), wish.page)


#: The views by name.
VIEWS: dict[str, Callable[[Cell, Wish], Drawing]] = {"gates": _gates}
