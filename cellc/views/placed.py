"""Places for the things and wires of a picture, where it is not too large for ours."""

from __future__ import annotations

import networkx as nx

from cellc.views.board import Board
from cellc.views.geometry import Geometry
from cellc.views.placement import Placement
from cellc.views.routing import NoWay

#: With more things than that, Graphviz places them and bends wires round boxes.
_MOST_ROUTED = 250


def placed(picture: nx.DiGraph[str], placement: Placement | Board | None = None) -> Geometry | None:
    """The picture with places, unless it is too large or a wire finds no way.

    ``placement`` are columns and rows that are chosen already.
    """
    try:
        return Geometry(picture, placement) if len(picture) <= _MOST_ROUTED else None
    except NoWay:
        return None
