"""The things of a cell at every one of a few steps, and the wires between them.

What a sequence ends with is read off its last step and a reversed one from behind, so that
`last` and `reverse` are no things of their own here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx

from cellc.views.blocks import Blocks, carried, label_at
from cellc.views.bundles import bundled
from cellc.views.names import moment
from cellc.views.painter import label_of

#: Ops that choose a step rather than compute: the step, of so many, that a value is read at.
_READ_AT: dict[str, Callable[[int, int], int]] = {
    "reverse": lambda step, steps: steps + 1 - step,
    "last": lambda step, steps: steps,
    "first": lambda step, steps: 1,
}


class Copies:
    """The things of a cell at each step, and their wires.

    ``picture`` holds the copies, ``thing`` of which thing and which step each is one; ``homes``
    are the blocks of states, ``turned`` the things that run backward.
    """

    def __init__(self, blocks: Blocks, steps: int) -> None:
        self.blocks, self.steps = blocks, steps
        self.painter, self.source, self.roles = blocks.painter, blocks.painter.picture, blocks.roles
        self.carried = carried(blocks)
        self.homes = {state: home for home, group in self.carried.items() for state in group}
        self.starts = {b: a for a, b, start in self.source.edges(data="start") if start}
        self.nexts = {
            state: list(self.source.predecessors(f"next {state}")) for state in self.homes
        }
        self.turned = self._turned()
        self.picture: nx.DiGraph[str] = nx.DiGraph()
        self.carrying: dict[tuple[str, str], tuple[str, int]] = {}
        self.thing: dict[str, tuple[str, int]] = {}
        self._axes: dict[str, str | None] = {}
        of = self.blocks.of
        self._between = {(of[a], of[b]): dict[str, None]() for a, b in self.source.edges}
        for a, b in self.source.edges:
            self._between[of[a], of[b]][a] = None
        self._copy_things()
        self._copy_wires()

    def bundle(self) -> None:
        """Let wires that are too many for one thing meet before it."""
        self.picture = bundled(self.picture)
        for bar in [key for key in self.picture if " bundle " in key and key not in self.thing]:
            target, _, number = bar.rpartition(" bundle ")
            thing, step = self.thing[target]
            self.thing[bar] = f"{thing} bundle {number}", step
            self._axes[bar] = self._axes[target]

    def node(self, key: str, step: int) -> str:
        """The copy that stands for a thing of the gate diagram at a step."""
        return next(self.nodes(key, step))

    def nodes(self, key: str, step: int) -> Iterator[str]:
        """The copies that a thing of the gate diagram at a step is, or is read off."""
        begin = self.starts.get(key)
        if key in self.homes and step == 1 and begin is None:
            yield f"states {self.homes[key]}"
        elif key in self.homes:
            before = [begin] if step == 1 and begin is not None else self.nexts[key]
            at = self.steps if step == 1 else step - 1
            yield from (copy for each in before for copy in self.nodes(each, at))
        elif key.startswith("next "):
            for each in self.nexts[key.removeprefix("next ")]:
                yield from self.nodes(each, step)
        elif self._reads(key):
            at = _READ_AT[self.painter.nodes[key].op.name](step, self.steps)
            for each in self.source.predecessors(key):
                yield from self.nodes(each, at)
        else:
            yield self._copy(key, step)

    def axis_of(self, copy: str) -> str | None:
        """The axis that a copy is a step of."""
        return self._axes[copy]

    def is_level(self, a: str, b: str) -> bool:
        """Whether a wire joins things of one step, rather than one step and the next."""
        (first, step), (second, other) = self.thing[a], self.thing[b]
        turns = (first in self.turned) != (second in self.turned)
        there = self.steps + 1 - step if turns else step
        return first != second and there == other

    def is_carried(self, a: str, b: str) -> bool:
        """Whether a wire carries what a block has for its next step, or begins or ends with."""
        return (a, b) in self.carrying

    def _carry(self, a: str, b: str, state: str, step: int) -> None:
        """Note that a wire carries states from block to block, read at a step."""
        home = self.homes[state]
        ends = {self.thing[key][0] for key in (a, b) if key in self.thing}
        if home in ends and ends <= self.blocks.titles.keys():
            self.carrying[a, b] = home, step

    def _copy(self, key: str, step: int) -> str:
        thing = self.blocks.of[key]
        return thing if self.blocks.axis(key) is None else f"{thing} @{step}"

    def _reads(self, key: str) -> bool:
        """Whether a thing only chooses the step at which others are read."""
        node = self.painter.nodes.get(key)
        return node is not None and node.op.name in _READ_AT

    def _is_thing(self, key: str) -> bool:
        return self.roles[key] not in ("state", "next") and not self._reads(key)

    def _turned(self) -> set[str]:
        """The things behind an odd number of reversals."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.source)
        graph.add_edges_from(e for e in self.source.edges if self.roles[e[1]] != "state")
        odd: dict[str, bool] = {}
        for key in nx.topological_sort(graph):
            before = [odd[k] for k in graph.predecessors(key) if self.roles[k] != "state"]
            node = self.painter.nodes.get(key)
            reverses = node is not None and node.op.name == "reverse"
            odd[key] = any(before) != reverses
        return {self.blocks.of[key] for key, value in odd.items() if value}

    def _copy_things(self) -> None:
        for key, item in self.source.nodes(data=True):
            if not self._is_thing(key):
                continue
            thing = self.blocks.of[key]
            if thing in self.blocks.titles:
                item = self.blocks.item(thing)
            for step in self._steps_of(key):
                label = self._at_step(key, step) or item["label"]
                copy = self._copy(key, step)
                self.picture.add_node(copy, **{**item, "label": label})
                self.thing[copy] = (thing, step)
                self._axes[copy] = self.blocks.axis(key)
        for name, value in self.painter.cell.values("output").items():
            ends = [s for s in self.homes if self.painter.cell.values("next")[s] == value]
            for step in range(1, self.steps + 1) if ends else ():
                label = label_of(self.painter.naming.taken_apart(name.rstrip("'"), str(step)))
                copy = f"output {name} @{step}"
                self.picture.add_node(copy, role="output", label=label, tooltip=name, kind="")
                self.thing[copy] = (f"output {name}", step)
                self._axes[copy] = self.blocks.axis(ends[0])
                for end in self.nodes(f"next {ends[0]}", step):
                    self._wire(end, copy)

    def _at_step(self, key: str, step: int) -> str:
        """The label of an input or an output at a step; empty for others."""
        if self.roles[key] not in ("input", "output") or self.blocks.axis(key) is None:
            return ""
        name = key.removeprefix("output ")
        value = self.painter.cell.values("output").get(name, name) if key != name else name
        back = moment(self.painter.cell, value)[1] or 0
        return label_of(self.painter.naming.taken_apart(name.rstrip("'"), str(step + back)))

    def _steps_of(self, key: str) -> range:
        return range(1, 2 if self.blocks.axis(key) is None else self.steps + 1)

    def _copy_wires(self) -> None:
        for home, states in self.carried.items():
            self.picture.add_node(
                f"states {home}", role="state", label=label_at(self.painter, states, 1),
                tooltip=", ".join(states), kind="",
            )  # fmt: skip
        for a, b, wire in self.source.edges(data=True):
            if self._is_thing(b):
                for step in self._steps_of(b):
                    for read in self._steps_read(a, b, step):
                        for copy in self.nodes(a, read):
                            self._wire(copy, self._copy(b, step), wire)
                            if a in self.homes:
                                self._carry(copy, self._copy(b, step), a, read)
        for home, states in self.carried.items():
            self._end(home, states)
        unread = [f"states {home}" for home in self.carried]
        self.picture.remove_nodes_from([key for key in unread if not self.picture.degree(key)])
        for a, b in self.picture.edges:
            self.picture.edges[a, b]["label"] = self._carries(a, b)

    def _end(self, home: str, states: list[str]) -> None:
        """What states begin with, and what they end with unless others begin with that."""
        tooltip = ", ".join(states)
        after = f"nexts {home}"
        begun = {c for begin in self.starts.values() for c in self.nodes(begin, self.steps)}
        ends = [c for state in states for c in self.nodes(f"next {state}", self.steps)]
        if not begun.issuperset(ends):
            label = label_at(self.painter, states, self.steps + 1)
            self.picture.add_node(after, role="next", label=label, tooltip=tooltip, kind="")
            for end in ends:
                self._wire(end, after)
                self._carry(end, after, states[0], self.steps + 1)

    def _carries(self, a: str, b: str) -> str:
        """The names of what a wire carries to the next step, or of several values upwards."""
        if a not in self.thing or b not in self.thing:
            return ""
        if (a, b) in self.carrying:
            home, step = self.carrying[a, b]
            return label_at(self.painter, self.carried[home], step)
        (home, step), (other, _) = self.thing[a], self.thing[b]
        names = [key for key in self._between.get((home, other), ()) if not key.isdigit()]
        if len(names) < 2 or not {home, other} <= self.blocks.titles.keys():
            return ""
        return label_at(self.painter, names, step)

    @property
    def blocks_of(self) -> dict[str, str]:
        """The copies that are blocks, and of which."""
        titles = self.blocks.titles
        return {copy: thing for copy, (thing, _) in self.thing.items() if thing in titles}

    def _around(self, key: str) -> tuple[int, int] | None:
        """How many steps a window holds before and behind its own; None for anything else."""
        node = self.painter.nodes.get(key)
        if node is None or node.op.name != "window":
            return None
        given = {dim: argument.default for dim, argument in self.painter.cell.dims.items()}
        chosen = {dim: size for dim, size in given.items() if size is not None}
        width = int(node.type.shape[0].estimate(chosen, self.steps))
        return (width - 1) // 2, width // 2

    def _steps_read(self, a: str, b: str, step: int) -> Iterator[int]:
        """The steps of one thing that a step of another reads."""
        if (around := self._around(b)) is not None:
            yield from range(max(1, step - around[0]), min(self.steps, step + around[1]) + 1)
        elif self.blocks.axis(a) == self.blocks.axis(b) or self.blocks.axis(a) is None:
            yield step
        else:
            yield from range(1, self.steps + 1)

    def _wire(self, a: str, b: str, wire: dict[str, Any] | None = None) -> None:
        if a != b and not self.picture.has_edge(a, b):
            plain = {"diagonal": False, "slot": "", "start": False}
            looks = {**(wire or plain), "diagonal": False, "label": ""}
            self.picture.add_edge(a, b, **looks)
