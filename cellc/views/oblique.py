"""A grid with two axes beside time: steps to the right, one axis into the page, one upwards.

Blocks stand where their positions are, what feeds them below, what they feed above; wires are
straight. This is how papers draw a Grid LSTM of three dimensions.
"""

from __future__ import annotations

from statistics import mean

import networkx as nx

from cellc.views.blocks import Blocks
from cellc.views.canvas import Canvas
from cellc.views.copies import Copies
from cellc.views.geometry import Size, Spot, size_of
from cellc.views.page import Page
from cellc.views.wires import things_told

Place = tuple[float, float, float]

_IN, _BLOCK, _STATE = (100.0, 60.0), (50.0, 34.0), 150.0
_BESIDE, _ROOM = 62.0, (90.0, 60.0)

#: How far along a wire its name stands, and where beside it.
_NAMED = 0.66


def oblique(
    blocks: Blocks, steps: int, page: Page
) -> tuple[Canvas, nx.DiGraph[str], dict[str, str]]:
    """What is drawn over so many steps, its graph, and what stands for each value of the step."""
    copies = Copies(blocks, steps)
    picture = copies.picture
    for copy, thing in copies.blocks_of.items():
        if thing.startswith("at ") and "0" not in thing.split():
            picture.nodes[copy]["label"] = ", ".join(thing.split()[1:])
    spots = _spots(copies)
    sizes = {
        key: _BLOCK if item["role"] == "block" else size_of(item["role"], item["label"])
        for key, item in picture.nodes(data=True)
    }
    canvas = Canvas(blocks.painter.cell.name, page.colours)
    canvas.graph.attr(outputorder="edgesfirst")
    nodes: dict[str, str] = {}
    for key, item in picture.nodes(data=True):
        nodes[key] = canvas.thing(spots[key], sizes[key], item, things_told(key, item))
    for a, b, wire in picture.edges(data=True):
        ends = [_edge(spots[a], spots[b], sizes[a]), _edge(spots[b], spots[a], sizes[b])]
        looks = {"penwidth": "2"} if copies.is_carried(a, b) else {}
        canvas.wire((nodes[a], nodes[b]), ends, (), looks)
        if wire["label"]:
            canvas.text(f"<{wire['label']}>", _beside(*ends), 12)
    axes = [
        "time →",
        *(f"{axis} {arrow}" for axis, arrow in zip(blocks.painter.cell.axes, "↗↑", strict=True)),
    ]
    canvas.text(",   ".join(axes), (canvas.low[0] + 110, canvas.low[1] + 10), 12)
    shown = {v: copies.node(key, steps) for v, key in blocks.painter.stands_for.items()}
    return canvas, picture, shown


def _spots(copies: Copies) -> dict[str, Spot]:
    """Where everything is; what shares a place stands side by side."""
    places = _places(copies)
    spots: dict[str, Spot] = {}
    together: dict[Place, int] = {}
    deep = max(place[1] for place in places.values())
    right, high = (_IN[k] * deep + _ROOM[k] for k in (0, 1))
    for key in copies.picture:
        step, inwards, up = place = places[key]
        shift = {"states": -_STATE, "nexts": _STATE}.get(key.partition(" ")[0])
        if shift is None:
            shift = _BESIDE * together.setdefault(place, 0)
            together[place] += 1
        x = right * step + _IN[0] * inwards + shift
        spots[key] = x, high * up + _IN[1] * inwards
    return spots


def _places(copies: Copies) -> dict[str, Place]:
    """Step, position along the first axis and along the second."""
    picture, places = copies.picture, dict[str, Place]()
    for copy, (thing, step) in copies.thing.items():
        if copy in copies.blocks_of and thing.startswith("at "):
            inwards, up = map(float, thing.split()[1:])
            places[copy] = (float(step), inwards, up)
    for home in copies.carried:
        there = [places[copy] for copy, thing in copies.blocks_of.items() if thing == home]
        if there:
            (first, inwards, up), (last, _, _) = min(there), max(there)
            places |= {
                f"states {home}": (first, inwards, up),
                f"nexts {home}": (last, inwards, up),
            }
    waiting = [key for key in picture if key not in places]
    while waiting:
        key = next((k for k in waiting if _near(copies, k, places)), waiting[0])
        waiting.remove(key)
        below, near = _near(copies, key, places) or (True, [(0.0, 0.0, 0.0)])
        up = min(p[2] for p in near) - 0.6 if below else max(p[2] for p in near) + 0.6
        places[key] = (mean(p[0] for p in near), mean(p[1] for p in near), up)
    return {key: places[key] for key in picture}


def _near(copies: Copies, key: str, places: dict[str, Place]) -> tuple[bool, list[Place]] | None:
    """Whether something stands below what is placed, and where that is; None if nothing is."""
    after = [places[k] for k in copies.picture.successors(key) if k in places]
    before = [places[k] for k in copies.picture.predecessors(key) if k in places]
    return (True, after) if after else (False, before) if before else None


def _beside(start: Spot, end: Spot) -> Spot:
    """Where the name of what a wire carries stands: above a level one, else to its right."""
    x, y = (start[k] + (end[k] - start[k]) * _NAMED for k in (0, 1))
    if abs(start[1] - end[1]) < 1:
        return x, y + 10
    return (x + 31, y - 6) if abs(start[0] - end[0]) < 1 else (x - 28, y + 4)


def _edge(spot: Spot, other: Spot, size: Size) -> Spot:
    """Where the straight way from the middle of a box to another leaves it."""
    dx, dy = other[0] - spot[0], other[1] - spot[1]
    reach = max(2 * abs(dx) / size[0], 2 * abs(dy) / size[1], 1e-9)
    return spot[0] + dx / reach, spot[1] + dy / reach
