"""Wires that are too many for one thing meet in bars before it.

A dot joins two wires; what joins more is a bar. A bar, a box or a circle has room for so many
wires and no more, and those that are too many come through bars of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

#: How many wires each role has room for.
_ROOM = {"join": 2, "bar": 4, "block": 4, "output": 4, "learned": 5, "circle": 5, "ellipse": 5,
         "mixer": 5, "loop": 5}  # fmt: skip
_TOLD = "Wires that go the same way."


def bundled(picture: nx.DiGraph[str]) -> nx.DiGraph[str]:
    """The picture in which no thing has more wires than there is room for."""
    changed = picture.copy()
    for key, role in picture.nodes(data="role"):
        if role == "join" and picture.in_degree(key) > _ROOM["join"]:
            changed.nodes[key]["role"] = "bar"
    for key in picture:
        _bundle(changed, key)
    return changed


def _bundle(picture: nx.DiGraph[str], target: str) -> None:
    room = _ROOM.get(picture.nodes[target]["role"])
    number = 0
    while room is not None and picture.in_degree(target) > room:
        loose = [
            source for source in picture.predecessors(target) if _is_plain(picture, source, target)
        ]
        taken = loose[-_ROOM["bar"] :]
        if len(taken) < 2:
            return
        number += 1
        bar = f"{target} bundle {number}"
        wire = dict(picture.edges[taken[0], target])
        mark = {picture.edges[source, target].get("mark", "") for source in taken}
        looks = {"mark": mark.pop()} if len(mark) == 1 and mark != {""} else {}
        picture.add_node(bar, role="bar", label="", tooltip=_TOLD, kind="", **looks)
        for source in taken:
            picture.add_edge(source, bar, **picture.edges[source, target])
            picture.remove_edge(source, target)
        picture.add_edge(bar, target, **wire)


def _is_plain(picture: nx.DiGraph[str], source: str, target: str) -> bool:
    """Whether a wire says no more than that there is one; those of states stay apart."""
    wire: Mapping[str, object] = picture.edges[source, target]
    told = wire["slot"] or wire["diagonal"] or wire["start"] or wire.get("label")
    return not told and picture.nodes[source]["role"] != "state"
