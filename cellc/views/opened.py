"""One step of a cell with some of the cells that it applies opened: gates inside frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx

from cellc.views.blocks import Blocks
from cellc.views.geometry import Geometry, Size, Spot, with_bars
from cellc.views.placement import Placement


@dataclass(frozen=True)
class Frame:
    """A frame around an opened cell."""

    title: str
    middle: Spot
    size: Size


def opened(blocks: Blocks) -> tuple[Geometry, dict[str, str], list[Frame]]:
    """The picture, what in it stands for each value of the step, and its frames."""
    painter, of = blocks.painter, blocks.of
    picture: nx.DiGraph[str] = nx.DiGraph()
    for key, item in painter.picture.nodes(data=True):
        where = of[key]
        if where not in picture:
            picture.add_node(where, **(blocks.item(where) if where in blocks.titles else item))
    for a, b, wire in painter.picture.edges(data=True):
        if of[a] != of[b] and not picture.has_edge(of[a], of[b]):
            picture.add_edge(of[a], of[b], **wire)
    picture = with_bars(picture)
    inside = blocks.opened_in()
    outermost = {key: labels[0] for key, labels in inside.items()}
    geometry = Geometry(picture, Placement(picture, outermost))
    shown = {value: of[key] for value, key in painter.stands_for.items()}
    return geometry, shown, list(_frames(blocks, geometry, inside))


def _frames(
    blocks: Blocks, geometry: Geometry, inside: dict[str, tuple[str, ...]]
) -> Iterator[Frame]:
    """A frame for each opened cell, the outermost first, unless something else is between."""
    labels = dict.fromkeys(label for labels in inside.values() for label in labels)
    for label in sorted(labels, key=lambda label: label.count("/")):
        mine = [key for key, where in inside.items() if label in where]
        middle, size = geometry.frame(mine)
        others = (key for key in geometry.at if key not in mine)
        if not any(_overlap(middle, size, geometry.middle(k), geometry.sizes[k]) for k in others):
            title = re.sub(r"<[^>]*>", "", blocks.title(f"in {label}").replace("<BR/>", ": "))
            yield Frame(title, middle, size)


def _overlap(middle: Spot, size: Size, other: Spot, extent: Size) -> bool:
    return all(2 * abs(middle[k] - other[k]) < size[k] + extent[k] for k in (0, 1))
