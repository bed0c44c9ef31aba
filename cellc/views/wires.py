"""What things say and how wires look, wherever they are placed."""

from __future__ import annotations

from collections.abc import Mapping

import graphviz
import networkx as nx

#: A backslash whose next letter Graphviz does not take for the name of a node.
_BACKSLASH = "\\\u2060"


def wire_looks(picture: nx.DiGraph[str], source: str, target: str) -> dict[str, str]:
    """How a wire looks: dashed through a diagonal weight, dotted where a state starts with it."""
    wire = picture.edges[source, target]
    looks = {"style": "dotted"} if wire["start"] else {}
    looks |= {"style": "dashed"} if wire["diagonal"] else {}
    return looks | ({"arrowhead": "none"} if picture.nodes[target]["role"] == "join" else {})


def things_told(key: str, item: Mapping[str, str]) -> dict[str, str]:
    """The label of a thing, what it says when pointed at, and its name for programs."""
    label = f"<{item['label']}>" if item["label"] else ""
    place = "xlabel" if label and item["role"] in ("join", "bar") else "label"
    tooltip = graphviz.escape(item["tooltip"].replace("\\", _BACKSLASH) or " ")
    return {place: label, "tooltip": tooltip, "id": key.replace(" ", "_")}
