"""The gate diagram of a cell: states run from left to right, gates stand between.

What stands in it is decided in :mod:`cellc.views.painter`; the cells that a cell applies are
closed blocks (:mod:`cellc.views.blocks`), and so are the positions of an axis where gates would
be too many to read. The places of things and wires are our own (:mod:`cellc.views.placement`,
:mod:`cellc.views.routing`, :mod:`cellc.views.geometry`); Graphviz draws.
"""

from __future__ import annotations

from collections.abc import Collection

import networkx as nx

from cellc.diagnostics import fail
from cellc.ir import Cell
from cellc.views.blocks import ALL, Blocks
from cellc.views.canvas import Canvas
from cellc.views.closed import closed
from cellc.views.drawing import Drawing
from cellc.views.geometry import Geometry
from cellc.views.oblique import oblique
from cellc.views.opened import Frame, opened
from cellc.views.page import Page
from cellc.views.painter import Painter
from cellc.views.ranked import ranked
from cellc.views.routing import NoWay
from cellc.views.unrolled import unrolled

#: With more things than that, positions are blocks, and Graphviz bends wires round boxes.
_MOST_THINGS, _MOST_ROUTED = 59, 250

#: With that many axes beside time, a cell over several steps is a grid of three dimensions.
_DEEP = 2


def diagram(cell: Cell, page: Page | None = None) -> Drawing:
    """The gate diagram of one step of a cell, optimised or not, with everything in it.

    ``page`` says in which colours, and what stands beside.
    """
    page, painter = page or Page(), _painted(cell)
    geometry = _placed(painter.picture)
    if geometry is None:
        dot = ranked(cell.name, painter.picture, page)
        return page.drawing(cell, dot, "dot", painter.stands_for)
    return _drawn(cell, geometry, painter.stands_for, page)


def overview(cell: Cell, page: Page, expand: Collection[str]) -> Drawing:
    """The gate diagram with applied cells closed, but for those to ``expand``.

    Raises CellcError ``unknown-part`` for one that is not there.
    """
    painter = _painted(cell)
    places = bool(cell.applied) or len(painter.picture) > _MOST_THINGS
    blocks = Blocks(painter, expand, places)
    _check(blocks)
    if blocks.opened_in():
        geometry, stands_for, frames = opened(blocks)
        return _drawn(cell, geometry, stands_for, page, frames)
    if blocks.closed:
        return _drawn(cell, *closed(blocks), page)
    return diagram(cell, page)


def over_steps(cell: Cell, steps: int, page: Page, expand: Collection[str]) -> Drawing:
    """The cell over so many steps, with applied cells closed, but for those to ``expand``.

    Raises CellcError ``unknown-part`` for one that is not there.
    """
    blocks = Blocks(_painted(cell), expand, whole=ALL not in expand)
    _check(blocks)
    if len(cell.axes) == _DEEP and not expand:
        canvas, stands_for = oblique(blocks, steps, page)
        page.caption(canvas, cell)
        return page.drawing(cell, canvas.source, "nop2", stands_for)
    return _drawn(cell, *unrolled(blocks, steps), page)


def _check(blocks: Blocks) -> None:
    """Every name that is to be opened must be there."""
    for name in blocks.opened:
        if name not in blocks.names():
            known = ", ".join(f"`{other}`" for other in blocks.names())
            message = f"`{blocks.painter.cell.name}` applies nothing called `{name}`"
            fail("unknown-part", message, hints=(f"known: {known}",))


def _painted(cell: Cell) -> Painter:
    painter = Painter(cell)
    painter.paint()
    return painter


def _placed(picture: nx.DiGraph[str]) -> Geometry | None:
    """The picture with places, unless it is too large or a wire finds no way."""
    try:
        return Geometry(picture) if len(picture) <= _MOST_ROUTED else None
    except NoWay:
        return None


def _drawn(
    cell: Cell,
    geometry: Geometry,
    stands_for: dict[str, str],
    page: Page,
    frames: Collection[Frame] = (),
) -> Drawing:
    canvas = Canvas(cell.name, page.colours)
    for frame in frames:
        canvas.frame(frame.title, frame.middle, frame.size)
    canvas.geometry(geometry)
    page.finish(canvas, cell, geometry)
    return page.drawing(cell, canvas.source, "nop2", stands_for)
