"""The things of a cell at every one of a few steps, and the wires between them.

What a sequence ends with is read off its last step and a reversed one from behind, so that
`last` and `reverse` are no things of their own here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx

from cellc.ir.types import sequence_axis
from cellc.views.blocks import Blocks, carried, states_label
from cellc.views.painter import label_of, value_of

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
            state: next(iter(self.source.predecessors(f"next {state}"))) for state in self.homes
        }
        self.turned = self._turned()
        self.picture: nx.DiGraph[str] = nx.DiGraph()
        self.thing: dict[str, tuple[str, int]] = {}
        self._axes: dict[str, str | None] = {}
        of = self.blocks.of
        self._between = {(of[a], of[b]): dict[str, None]() for a, b in self.source.edges}
        for a, b in self.source.edges:
            self._between[of[a], of[b]][a] = None
        self._copy_things()
        self._copy_wires()

    def axis(self, key: str) -> str | None:
        """The axis that a thing has steps along."""
        kind, _, name = key.rpartition(" ")
        nodes = self.painter.cell.nodes
        if kind == "output":
            name = self.painter.cell.values("output")[name]
        elif kind != "next":
            name = value_of(key)
        return sequence_axis(nodes[name].type.extent)

    def node(self, key: str, step: int) -> str:
        """The copy of a thing of the gate diagram at a step."""
        if key in self.homes:
            if step > 1:
                return self.node(self.nexts[key], step - 1)
            begin = self.starts.get(key)
            return f"states {self.homes[key]}" if begin is None else self.node(begin, self.steps)
        if key.startswith("next "):
            return self.node(self.nexts[key.removeprefix("next ")], step)
        if read := self._read(key):
            return self.node(read, _READ_AT[self.painter.nodes[key].op.name](step, self.steps))
        return self._copy(key, step)

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
        ends = [self.thing.get(key, (key.partition(" ")[2], 0))[0] for key in (a, b)]
        goes_on = bool(self.picture.edges[a, b]["start"]) and ends[0] in self.carried
        return goes_on or (ends[0] == ends[1] and ends[0] in self.carried)

    def _copy(self, key: str, step: int) -> str:
        thing = self.blocks.of[key]
        return thing if self.axis(key) is None else f"{thing} @{step}"

    def _read(self, key: str) -> str:
        """What is read where a thing only chooses the step."""
        node = self.painter.nodes.get(key)
        return node.args[0] if node is not None and node.op.name in _READ_AT else ""

    def _is_thing(self, key: str) -> bool:
        return self.roles[key] not in ("state", "next") and not self._read(key)

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
                self._axes[copy] = self.axis(key)
        for name, value in self.painter.cell.values("output").items():
            ends = [s for s in self.homes if self.painter.cell.values("next")[s] == value]
            for step in range(1, self.steps + 1) if ends else ():
                label = label_of(self.painter.naming.taken_apart(name.rstrip("'"), str(step)))
                copy = f"output {name} @{step}"
                self.picture.add_node(copy, role="output", label=label, tooltip=name, kind="")
                self.thing[copy] = (f"output {name}", step)
                self._axes[copy] = self.axis(self.nexts[ends[0]])
                self._wire(self.node(self.nexts[ends[0]], step), copy)

    def _at_step(self, key: str, step: int) -> str:
        """The label of an input or an output at a step; empty for others."""
        if self.roles[key] not in ("input", "output") or self.axis(key) is None:
            return ""
        name = key.removeprefix("output ").rstrip("'")
        return label_of(self.painter.naming.taken_apart(name, str(step)))

    def _steps_of(self, key: str) -> range:
        return range(1, 2 if self.axis(key) is None else self.steps + 1)

    def _copy_wires(self) -> None:
        for a, b, wire in self.source.edges(data=True):
            if self._is_thing(b):
                for step in self._steps_of(b):
                    for read in self._steps_read(a, b, step):
                        self._wire(self.node(a, read), self._copy(b, step), wire)
        for home, states in self.carried.items():
            self._end(home, states)
        for a, b in self.picture.edges:
            self.picture.edges[a, b]["label"] = self._carries(a, b)

    def _end(self, home: str, states: list[str]) -> None:
        """What states begin with, and what they end with unless others begin with that."""
        tooltip = ", ".join(states)
        before, after = f"states {home}", f"nexts {home}"
        if before in self.picture:
            label = states_label(self.painter, states, "0")
            self.picture.add_node(before, role="state", label=label, tooltip=tooltip, kind="")
        begun = {self.node(begin, self.steps) for begin in self.starts.values()}
        ends = [self.node(self.nexts[state], self.steps) for state in states]
        if not begun.issuperset(ends):
            label = states_label(self.painter, states, str(self.steps))
            self.picture.add_node(after, role="next", label=label, tooltip=tooltip, kind="")
            for end in ends:
                self._wire(end, after)

    def _carries(self, a: str, b: str) -> str:
        """The names of what a wire carries to the next step, or of several values upwards."""
        if a not in self.thing or b not in self.thing:
            return ""
        (home, step), (other, _) = self.thing[a], self.thing[b]
        if self.is_carried(a, b):
            return states_label(self.painter, self.carried[home], str(step))
        names = [key for key in self._between.get((home, other), ()) if not key.isdigit()]
        if len(names) < 2 or not {home, other} <= self.blocks.titles.keys():
            return ""
        return states_label(self.painter, names, str(step))

    def _goes_on(self, states: list[str]) -> bool:
        """Whether other states begin with what all of these end with."""
        begun = {self.node(begin, self.steps) for begin in self.starts.values()}
        return all(self.node(self.nexts[state], self.steps) in begun for state in states)

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
        elif self.axis(a) == self.axis(b) or self.axis(a) is None or self._read(a):
            yield step
        else:
            yield from range(1, self.steps + 1)

    def _wire(self, a: str, b: str, wire: dict[str, Any] | None = None) -> None:
        if a != b and not self.picture.has_edge(a, b):
            plain = {"diagonal": False, "slot": "", "start": False}
            looks = {**(wire or plain), "diagonal": False, "label": ""}
            self.picture.add_edge(a, b, **looks)
