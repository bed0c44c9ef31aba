"""One step of a cell with some of the cells that it applies opened: gates inside frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cellc.views.blocks import Blocks
from cellc.views.closed import contracted
from cellc.views.geometry import Geometry, Size, Spot
from cellc.views.placement import Placement


@dataclass(frozen=True)
class Frame:
    """A frame around an opened cell."""

    title: str
    middle: Spot
    size: Size


def opened(blocks: Blocks) -> tuple[Placement, dict[str, str]]:
    """Gates and closed blocks in their places, and what stands for each value of the step."""
    picture, of = contracted(blocks)
    outermost = {key: labels[0] for key, labels in blocks.opened_in().items()}
    shown = {value: of[key] for value, key in blocks.painter.stands_for.items()}
    return Placement(picture, outermost), shown


def frames(blocks: Blocks, geometry: Geometry) -> Iterator[Frame]:
    """A frame for each opened cell, the outermost first, unless something else is between."""
    inside = blocks.opened_in()
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
