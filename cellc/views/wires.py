"""What things say and how wires look, wherever they are placed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphviz
import networkx as nx

from cellc.views.theme import MARKS, Theme

#: A backslash whose next letter Graphviz does not take for the name of a node.
_BACKSLASH = "\\\u2060"

#: A wire: its ends and what is known of it.
Edge = tuple[str, str, Mapping[str, Any]]


def wire_looks(theme: Theme, picture: nx.DiGraph[str], source: str, target: str) -> dict[str, str]:
    """How a wire looks: dashed through a diagonal weight, dotted where a state starts with it."""
    wire = picture.edges[source, target]
    looks = theme.wire_looks(wire.get("mark", ""))
    looks |= {"style": "dotted"} if wire["start"] else {}
    looks |= {"style": "dashed"} if wire["diagonal"] else {}
    return looks | ({"arrowhead": "none"} if picture.nodes[target]["role"] == "join" else {})


def rank_of(wire: Mapping[str, Any]) -> int:
    """When a wire finds its way: it may fork from those of lower ranks, not from later ones.

    Solid lines go before broken ones, what two cells have in common before what only the new
    one has, and all of that before what is gone.
    """
    mark: str = wire.get("mark", "")
    return 4 * (mark == "removed") + 2 * bool(wire["diagonal"] or wire["start"]) + (mark == "added")


def to_the_front(picture: nx.DiGraph[str]) -> list[Edge]:
    """The wires from the back to the front, by their marks."""
    return sorted(picture.edges(data=True), key=lambda wire: MARKS.index(wire[2].get("mark", "")))


def things_told(key: str, item: Mapping[str, str]) -> dict[str, str]:
    """The label of a thing, what it says when pointed at, and its name for programs.

    That is the name of its value. What is no value has a hyphen in it, as no name has.
    """
    label = f"<{item['label']}>" if item["label"] else ""
    place = "xlabel" if label and item["role"] in ("join", "bar") else "label"
    tooltip = graphviz.escape(item["tooltip"].replace("\\", _BACKSLASH) or " ")
    return {place: label, "tooltip": tooltip, "id": key.replace(" ", "-")}
