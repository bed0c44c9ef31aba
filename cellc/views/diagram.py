"""The gate diagram of a cell: states run from left to right, gates stand between.

What stands in it is decided in :mod:`cellc.views.painter`; the cells that a cell applies are
closed blocks (:mod:`cellc.views.blocks`), and so are the positions of an axis where gates would
be too many to read. The places of things and wires are our own (:mod:`cellc.views.placement`,
:mod:`cellc.views.routing`, :mod:`cellc.views.geometry`); Graphviz draws.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cellc.diagnostics import fail
from cellc.ir import Cell
from cellc.views.blocks import ALL, Blocks
from cellc.views.board import Board
from cellc.views.bundles import bundled
from cellc.views.canvas import Canvas
from cellc.views.closed import closed
from cellc.views.drawing import Drawing
from cellc.views.oblique import oblique
from cellc.views.opened import frames, opened
from cellc.views.page import Page
from cellc.views.painter import Painter
from cellc.views.placed import placed
from cellc.views.placement import Placement
from cellc.views.ranked import ranked
from cellc.views.unrolled import unrolled

#: With more things than that, positions are blocks.
_MOST_THINGS = 59

#: With that many axes beside time, a cell over several steps is a grid of three dimensions.
_DEEP = 2

#: Things in their places, and what stands for each value of the step.
Layout = tuple[Placement | Board, Mapping[str, str]]


def diagram(cell: Cell, page: Page | None = None) -> Drawing:
    """The gate diagram of one step of a cell, optimised or not, with everything in it.

    ``page`` says in which colours, and what stands beside.
    """
    painter = _painted(cell)
    placement = Placement(bundled(painter.picture))
    return _drawn(cell, (placement, painter.stands_for), page or Page())


def overview(cell: Cell, page: Page, expand: Collection[str]) -> Drawing:
    """The gate diagram with applied cells closed, but for those to ``expand``.

    Raises CellcError ``unknown-part`` for one that is not there.
    """
    painter = _painted(cell)
    places = bool(cell.applied) or len(painter.picture) > _MOST_THINGS
    blocks = Blocks(painter, expand, places)
    _check(blocks)
    if blocks.opened_in():
        return _drawn(cell, opened(blocks), page, blocks)
    if blocks.closed:
        return _drawn(cell, closed(blocks), page)
    return diagram(cell, page)


def over_steps(cell: Cell, steps: int, page: Page, expand: Collection[str]) -> Drawing:
    """The cell over so many steps, with applied cells closed, but for those to ``expand``.

    Raises CellcError ``unknown-part`` for one that is not there.
    """
    blocks = Blocks(_painted(cell), expand, whole=ALL not in expand)
    _check(blocks)
    if len(cell.axes) == _DEEP and not expand:
        canvas, picture, stands_for = oblique(blocks, steps, page)
        page.finish(canvas, cell, picture)
        return page.drawing(cell, canvas.source, "nop2", stands_for)
    return _drawn(cell, unrolled(blocks, steps), page)


def _check(blocks: Blocks) -> None:
    """Every name that is to be opened must be there."""
    for name in blocks.opened:
        if name not in blocks.names():
            cell, known = blocks.painter.cell, ", ".join(f"`{other}`" for other in blocks.names())
            hint = f"known: {known}" if cell.applied else "it applies no other cell"
            fail("unknown-part", f"`{cell.name}` applies nothing called `{name}`", hints=(hint,))


def _painted(cell: Cell) -> Painter:
    painter = Painter(cell)
    painter.paint()
    return painter


def _drawn(cell: Cell, layout: Layout, page: Page, blocks: Blocks | None = None) -> Drawing:
    """The picture of a layout, with frames around what is opened in blocks."""
    placement, stands_for = layout
    geometry = placed(placement.picture, placement)
    if geometry is None:
        dot = ranked(cell, placement.picture, page)
        return page.drawing(cell, dot, "dot", stands_for)
    canvas = Canvas(cell.name, page.colours)
    for frame in () if blocks is None else frames(blocks, geometry):
        canvas.frame(frame.title, frame.middle, frame.size)
    canvas.geometry(geometry)
    page.finish(canvas, cell, geometry)
    return page.drawing(cell, canvas.source, "nop2", stands_for)
