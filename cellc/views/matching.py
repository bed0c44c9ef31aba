"""Which thing of one picture is which of another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import networkx as nx

#: What precedes the name of a thing that only the base has; no name of a cell has such a sign.
GHOST = "before-"

_UNNAMED = re.compile(r"\d+\b")


class Pairs:
    """Which thing of a base, the old picture, is which of a cell.

    ``partners`` holds what takes the same place, ``once`` what of that is drawn once: it does
    the same. Named things go by their names, the others by what they are computed from and
    what they are used for.
    """

    def __init__(self, new: nx.DiGraph[str], old: nx.DiGraph[str]) -> None:
        self.new, self.old = new, old
        self.partners = {key: key for key in old if key in new and not _UNNAMED.match(key)}
        while best := self._best():
            for key, twin in best:
                if key not in self.partners and twin not in self.partners.values():
                    self.partners[key] = twin
        alike = [key for key, twin in self.partners.items() if self._alike(key, twin)]
        self.once: dict[str, str] = {key: self.partners[key] for key in alike}
        for key in [key for key in old if f"next {key}" in old and key not in self.once]:
            self.once.pop(f"next {key}", None)
        self._break_cycles()

    def shown(self, key: str) -> str:
        """What a thing of the base is called in the picture of both."""
        role, _, state = key.partition(" ")
        ghost = f"next {GHOST}{state}" if role == "next" else f"{GHOST}{key}"
        return self.once.get(key, ghost)

    def differ(self, key: str, twin: str) -> bool:
        """Whether partners have operands that are none."""
        return self._operands(key) != _operands_of(self.new, twin)

    def _alike(self, key: str, twin: str) -> bool:
        """Whether two things do the same, whatever their operands are."""
        item: Mapping[str, str] = self.old.nodes[key]
        return item == {**self.new.nodes[twin], "tooltip": item["tooltip"]}

    def _operands(self, key: str) -> set[object]:
        """The operands of a thing of the base, as their partners."""
        return {(self.partners.get(a, (a,)), looks) for a, looks in _operands_of(self.old, key)}

    def _best(self) -> list[tuple[str, str]]:
        """The unnamed things without partners that are most alike."""
        taken = {*self.partners.values()}
        new = [key for key in self.new if _UNNAMED.match(key) and key not in taken]
        old = [key for key in self.old if _UNNAMED.match(key) and key not in self.partners]
        pairs = [pair for pair in product(old, new) if self._alike(*pair)]
        found = {pair: likeness for pair in pairs if (likeness := self._likeness(*pair))}
        most = max(found.values(), default=())
        return [pair for pair, likeness in found.items() if likeness == most]

    def _likeness(self, key: str, twin: str) -> tuple[int, ...]:
        """How much two things have in common, the more the larger; empty if too little."""
        before, after = self._operands(key), _operands_of(self.new, twin)
        users = {self.partners.get(user) for user in self.old.successors(key)}
        shared, equal = len(users & {*self.new.successors(twin)}), len(before & after)
        is_only = len(before) == len(after) == 1
        is_other = before != after and not (shared and (equal or is_only))
        return () if is_other else (before == after, equal + shared, -len(before ^ after))

    def _break_cycles(self) -> None:
        """What both have is drawn twice where else it would follow from itself."""
        while True:
            graph = nx.DiGraph(_forward(self.new))
            graph.add_edges_from((self.shown(a), self.shown(b)) for a, b in _forward(self.old))
            loops = [loop for loop in nx.strongly_connected_components(graph) if len(loop) > 1]
            inside = [key for key, twin in self.once.items() if any(twin in x for x in loops)]
            if not inside:
                return
            del self.once[min(inside, key=lambda key: not self.differ(key, self.once[key]))]


def _operands_of(picture: nx.DiGraph[str], key: str) -> set[Any]:
    wires = picture.in_edges(key, data=True)
    return {(source, tuple(sorted(wire.items()))) for source, _, wire in wires}


def _forward(picture: nx.DiGraph[str]) -> list[tuple[str, str]]:
    """The wires without those to states, which come from the left."""
    return [(a, b) for a, b in picture.edges if picture.nodes[b]["role"] != "state"]
