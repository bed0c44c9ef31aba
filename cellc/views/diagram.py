"""The gate diagram of a cell: states run from left to right, gates stand between.

What stands in it is decided in :mod:`cellc.views.painter`; a cell with too many gates to
be read is drawn as its loops and what flows between them, by :mod:`cellc.views.flow`.
The places of things and wires are our own (:mod:`cellc.views.placement`,
:mod:`cellc.views.routing`, :mod:`cellc.views.geometry`); Graphviz draws.
"""

from __future__ import annotations

import networkx as nx

from cellc.ir import Cell, Schedule
from cellc.views.canvas import Canvas
from cellc.views.drawing import Drawing
from cellc.views.flow import flow
from cellc.views.geometry import Geometry
from cellc.views.page import Page
from cellc.views.painter import Painter
from cellc.views.ranked import ranked
from cellc.views.routing import NoWay

_MOST_THINGS, _MOST_ROUTED = 59, 100


def diagram(cell: Cell, schedule: Schedule | None = None, page: Page | None = None) -> Drawing:
    """The gate diagram of one step of a cell, optimised or not.

    Given the cell's schedule, a cell of many gates is drawn as its loops instead, and what
    is computed at once between them. ``page`` says in which colours, and what stands beside.
    """
    page = page or Page()
    painter = Painter(cell)
    painter.paint()
    picture, stands_for = painter.picture, painter.stands_for
    if schedule is not None and len(picture) > _MOST_THINGS:
        picture, stands_for = flow(painter, schedule)
        return page.drawing(cell, ranked(cell.name, picture, page), "dot", stands_for)
    geometry = _placed(picture)
    if geometry is None:
        return page.drawing(cell, ranked(cell.name, picture, page), "dot", stands_for)
    canvas = Canvas(cell.name, page.colours)
    canvas.geometry(geometry)
    page.finish(canvas, cell, geometry)
    return page.drawing(cell, canvas.source, "nop2", stands_for)


def _placed(picture: nx.DiGraph[str]) -> Geometry | None:
    """The picture with places, unless it is too large or a wire finds no way."""
    try:
        return Geometry(picture) if len(picture) <= _MOST_ROUTED else None
    except NoWay:
        return None
