"""Loops that do alike, as one loop over the values of all of them.

The states of loops of one form are stacked, the first loop's first, and then what their next
values are computed from, operand by operand, as long as all of them are computed alike: K
values [H] become one [K, H], and K products one. What is not alike is computed by itself and
stacked. This is how compilers find vector instructions in straight code (superword-level
parallelism; Larsen & Amarasinghe 2000, PLDI).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import networkx as nx

from cellc.diagnostics import Span
from cellc.ir import NOWHERE, Attributes, Cell, Dim, Node, Result, TypeMismatch
from cellc.ops import TABLE
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.loops import with_recurrence

Names = tuple[str, ...]

#: Structural ops, which count dimensions from the first.
_ALONG = ("concat", "slice")


@dataclass(frozen=True)
class Packed:
    """A cell with stacked states; ``states`` tells, of each, what it is a stack of."""

    cell: Cell
    states: Mapping[str, Names]


def packed(cell: Cell, registers: Collection[str] = ()) -> Packed:
    """The cell with its loops of one form packed, as far as they are alike.

    ``registers`` are states that are stacked with their like only.
    """
    first = _Packing(cell, registers, {})
    first.run()
    found = _Packing(cell, registers, first.members).run()
    return replace(found, cell=Dce().run(found.cell))


def alike(cell: Cell) -> Iterator[Names]:
    """The states of loops of one form, place by place."""
    nodes = cell.nodes
    graph = with_recurrence(cell)
    groups: dict[tuple[object, ...], list[Names]] = {}
    members = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    for states in (tuple(s for s in cell.states if s in each) for each in members):
        form = tuple((nodes[s].type, nodes[s].attrs) for s in states)
        groups.setdefault(form, []).append(states)
    rank = {state: place for place, state in enumerate(cell.states)}
    for each in groups.values():
        yield from zip(*sorted(each, key=lambda states: rank[states[0]]), strict=True)


@dataclass
class _Packing:
    """One way through a cell, from the next values of packed states to what they need.

    ``known`` tells in which pack, and where in it, an earlier way has found a value.
    """

    cell: Cell
    registers: Collection[str]
    known: Mapping[str, tuple[Names, int]]
    members: dict[str, tuple[Names, int]] = field(default_factory=dict)
    stacks: dict[Names, str] = field(default_factory=dict)
    singles: dict[str, str] = field(default_factory=dict)
    states: dict[str, Names] = field(default_factory=dict)

    def run(self) -> Packed:
        cell = self.cell
        self.edit = Edit(cell)
        self.nexts = cell.values("next")
        self.dynamic = self._dynamic()
        for names in alike(cell):
            if len(names) > 1:
                self._state(names)
        done: set[str] = set()
        nexts: dict[str, str] = {}
        while pending := [state for state in self.states if state not in done]:
            for state in pending:
                done.add(state)
                nexts[state] = self.whole(tuple(self.nexts[s] for s in self.states[state]))
        return Packed(self._finish(nexts), dict(self.states))

    def _finish(self, nexts: Mapping[str, str]) -> Cell:
        cell, results = self.cell, []
        gone = {name for names in self.states.values() for name in names}
        for result in cell.results:
            if result.role not in ("next", "start") or result.name not in gone:
                results.append(Result(result.role, result.name, self.single(result.value)))
        results += [Result("next", state, value) for state, value in nexts.items()]
        results += self._starts()
        for name in (*cell.params, *cell.inputs, *cell.leaves("draw")):
            self.edit.nodes.setdefault(name, cell.nodes[name])
        for name in cell.states:
            if name not in gone:
                self.edit.nodes.setdefault(name, cell.nodes[name])
        return cell.replace(in_order(self.edit.nodes), results)

    def _starts(self) -> Iterator[Result]:
        """What packed states start with: zeros where nothing is said."""
        starts = self.cell.values("start")
        for state, names in self.states.items():
            if any(name in starts for name in names):
                zeros = self.edit.add("zeros", shape=self.cell.nodes[names[0]].type.shape)
                parts = [
                    self.edit.add("add", [zeros, self.single(starts[name])])
                    if name in starts else zeros
                    for name in names
                ]  # fmt: skip
                yield Result("start", state, self._stack(parts))

    def _dynamic(self) -> set[str]:
        """What depends on a loop."""
        found: set[str] = set()
        for name, node in self.cell.nodes.items():
            if node.op.name == "state" or not found.isdisjoint(node.args):
                found.add(name)
        return found

    def single(self, name: str) -> str:
        """A value by itself."""
        if name not in self.singles:
            self.singles[name] = self._single(name)
        return self.singles[name]

    def _single(self, name: str) -> str:
        pack, place = self.members.get(name) or self.known.get(name, ((), 0))
        if len(pack) > 1:
            return self.edit.add("at", [self.whole(pack)], self._spans([name]), index=place)
        node = self.cell.nodes[name]
        args = tuple(self.single(argument) for argument in node.args)
        self.edit.nodes[name] = Node(node.op, args, node.type, node.attrs, node.spans)
        return name

    def whole(self, names: Names) -> str:
        """Values as one, each at its own place along a new first dimension."""
        if names not in self.stacks:
            self.stacks[names] = self._cut(names) or self._whole(names)
        return self.stacks[names]

    def _cut(self, names: Names) -> str | None:
        """Neighbours in a larger pack."""
        pack, start = self.members.get(names[0], ((), 0))
        if len(pack) <= len(names) or pack[start : start + len(names)] != names:
            return None
        ends = {"start": Dim.of(start), "stop": Dim.of(start + len(names))}
        return self.edit.add("slice", [self.whole(pack)], self._spans(names), **ends)

    def _whole(self, names: Names) -> str:
        runs = [tuple(run) for _, run in groupby(names, key=self._form)]
        if len(runs) == 1 and names[0] in self.dynamic and len(set(names)) == len(names):
            value = self._alike(names)
            if value is not None:
                return value
        if len(runs) in (1, len(names)):
            return self._stack([self.single(name) for name in names], self._spans(names))
        parts = [
            self.whole(run) if len(run) > 1 else self._stack([self.single(run[0])]) for run in runs
        ]
        return self.edit.add("concat", parts, self._spans(names))

    def _stack(self, parts: Sequence[str], spans: frozenset[Span] = frozenset()) -> str:
        return self.edit.add("stack", parts, spans, dim=Dim.of(len(parts)))

    def _form(self, name: str) -> tuple[object, ...]:
        """What values have in common that are computed alike."""
        nodes = self.cell.nodes
        node = nodes[name]
        if name not in self.dynamic:
            return (False, node.type.shape)
        if node.op.name == "state":
            return (True, name in self.registers, node.type)
        types = tuple((nodes[a].type.shape, nodes[a].type.dtype) for a in node.args)
        return (True, node.op.name, node.attrs, node.type, types)

    def _alike(self, names: Names) -> str | None:
        """Values that one operation computes together, where there is one for that."""
        if any(name in self.members for name in names):
            return None
        node = self.cell.nodes[names[0]]
        if node.op.name == "state":
            return self._state(names)
        self.members |= {name: (names, place) for place, name in enumerate(names)}
        try:
            return self._made(names, node)
        except TypeMismatch:
            for name in names:
                del self.members[name]
            return None

    def _made(self, names: Names, node: Node) -> str:
        kind, op, attrs = TABLE[node.op.name].kind, node.op.name, node.attrs
        slots = list(zip(*(self.cell.nodes[name].args for name in names), strict=True))
        if op in ("matmul", "matmul_add"):
            args, op = self._product(slots), f"each_{op}"
        elif kind in ("elementwise", "reduction"):
            args = [self._operand(slot) for slot in slots]
        elif op in _ALONG:
            args, attrs = [self.whole(slot) for slot in slots], _behind(attrs)
        else:
            raise TypeMismatch(f"`{op}` is not computed for several values at once")
        value = self.edit.add(op, args, self._spans(names), **dict(attrs))
        if not any(name.isdigit() for name in names):
            value = self._renamed(value, self._named(names))
        if self.edit.nodes[value].type.shape != (Dim.of(len(names)), *node.type.shape):
            raise TypeMismatch("the shapes of operands differ")
        return value

    def _renamed(self, value: str, name: str) -> str:
        self.edit.nodes[name] = self.edit.nodes.pop(value)
        return name

    def _operand(self, slot: Names) -> str:
        """An operand of each value; as it is where all have the same."""
        return self.single(slot[0]) if len(set(slot)) == 1 else self.whole(slot)

    def _product(self, slots: Sequence[Names]) -> list[str]:
        """The operands of a product: a weight of each or of all, and a vector of each."""
        weights, vectors, *added = slots
        weight, vector = (self.cell.nodes[each[0]].type for each in (weights, vectors))
        if len(weight.shape) != 2 or len(vector.shape) != 1 or weight.extent != NOWHERE:
            raise TypeMismatch("only weights and vectors are multiplied together")
        return [self._operand(weights), self.whole(vectors), *(self.whole(each) for each in added)]

    def _state(self, names: Names) -> str | None:
        """The stack of states, as a state."""
        if any(name in self.members for name in names):
            return None
        self.members |= {name: (names, place) for place, name in enumerate(names)}
        node, state = self.cell.nodes[names[0]], self._named(names)
        type_ = replace(node.type, shape=(Dim.of(len(names)), *node.type.shape))
        self.edit.nodes[state] = Node(node.op, (), type_, node.attrs, self._spans(names))
        self.stacks[names], self.states[state] = state, names
        return state

    def _named(self, names: Names) -> str:
        """What the names have in common, else the first and the last."""
        first, last = names[0], names[-1]
        same = [a for a, b in zip(first.split("_"), last.split("_"), strict=False) if a == b]
        name = "_".join(same) or f"{first}_to_{last}"
        while name in self.cell.nodes or name in self.edit.nodes:
            name += "_all"
        return name

    def _spans(self, names: Sequence[str]) -> frozenset[Span]:
        return spans_of(self.cell.nodes, names)


def _behind(attrs: Attributes) -> Attributes:
    """The attributes of an op that counts dimensions, with one more before them."""
    place = dict(attrs).get("axis", 0)
    assert isinstance(place, int)
    return tuple((dict(attrs) | {"axis": place + 1}).items())
