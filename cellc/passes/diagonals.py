"""Loops that follow each other, turned into one loop that runs along anti-diagonals.

Layer k of a stack reads what the layer below has computed for the same step. If it runs one
step behind that layer, it reads what the layer below has computed in the step before, and all
layers take their steps together. This is the retiming of Leiserson & Saxe (1991, Algorithmica
6): every value gets a lag, and a value that is read more steps later than it is computed waits
in a register, which is a state. A loop of T steps becomes one of T + last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import networkx as nx

from cellc.ir import BATCH, EVERYWHERE, TIME, Cell, Node, Result
from cellc.ir.schedule import is_backward
from cellc.ops import TABLE
from cellc.passes.edit import Edit, in_order
from cellc.passes.loops import computed_starts, loops_of, with_recurrence
from cellc.passes.sizes import estimated_size

#: What has no value or no slope somewhere. A loop that has not begun computes with zeros.
_PARTIAL = ("divide", "mod", "log", "sqrt", "power")


@dataclass(frozen=True)
class Retimed:
    """A cell that runs along anti-diagonals, for sequences that ``last`` steps are added to.

    Its outputs come ``last`` steps late. ``inputs`` tells of which leaf, and of how many steps
    before, each of its inputs and draws is; ``registers`` are the states that it adds.
    """

    cell: Cell
    last: int
    inputs: Mapping[str, tuple[str, int]]
    registers: tuple[str, ...]


def obstacle(cell: Cell) -> str:
    """Why a cell cannot run along anti-diagonals, in words; empty where it can."""
    nodes = cell.nodes.values()
    if any(node.type.extent - {BATCH, TIME} for node in nodes):
        return "it has more than one axis that sequences run along"
    if any(is_backward(cell, state) for state in cell.states):
        return "a state runs from the last step to the first"
    if any(TABLE[node.op.name].kind == "sequence" or node.op.name == "within" for node in nodes):
        return "it looks at whole sequences"
    if computed_starts(cell):
        return "a state starts with what a call is given"
    if any(cell.nodes[v].type.extent != EVERYWHERE for v in cell.values("output").values()):
        return "an output is not one for each step"
    lags = _Lags(cell)
    if len(lags.of_products()) < 2:
        return "no loop with a product follows another"
    if partial := lags.partial():
        return f"a loop would begin with zeros, for which `{partial}` has no value or no slope"
    return ""


def choice(cell: Cell) -> tuple[int, str]:
    """By how many steps the last loop would run behind the first, and what speaks against it."""
    return _Lags(cell).last, obstacle(cell)


def retimed(cell: Cell) -> Retimed:
    """The cell along anti-diagonals; one that :func:`obstacle` finds nothing against."""
    return _Retiming(cell, _Lags(cell)).run()


class _Lags:
    """By how many steps each value is computed behind the first loop.

    ``of`` holds those of what depends on a loop; what does not is known at any lag.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell, self.nexts = cell, cell.values("next")
        graph = with_recurrence(cell)
        self.home = {v: s for s, v in reversed(self.nexts.items())}
        groups = nx.condensation(graph)
        self.group: Mapping[str, int] = groups.graph["mapping"]
        self.together = Counter(self.group.values())
        self.of: dict[str, int] = {}
        for number in nx.topological_sort(groups):
            self._place(set(groups.nodes[number]["members"]))
        self.last = max((self.of[v] for v in self.of), default=0)
        self._delay()

    def _place(self, members: set[str]) -> None:
        """A loop runs a step behind the loops that it reads."""
        nodes = self.cell.nodes
        looped = any(nodes[name].op.name == "state" for name in members)
        if not looped and nodes[next(iter(members))].type.extent != EVERYWHERE:
            return
        reads = {a for name in members for a in nodes[name].args} - members
        reads |= {self.nexts[s] for s in members & self.nexts.keys()} - members
        before = [self.of[name] for name in reads if name in self.of]
        if len(members) > 1:
            self.of |= dict.fromkeys(members, max((lag + 1 for lag in before), default=0))
        elif before or looped:
            self.of |= dict.fromkeys(members, max(before, default=0))

    def _delay(self) -> None:
        """What is free to wait is computed as late as that takes no more registers."""
        fixed = {name for name in self.of if self._is_fixed(name)}
        for name in reversed(list(self.cell.nodes)):
            if name not in self.of or name in fixed:
                continue
            latest = min(self._read_at(name), default=self.last)
            before = self._registers({name, *self.cell.nodes[name].args})
            early = self.of[name]
            self.of[name] = latest
            if self._registers({name, *self.cell.nodes[name].args}) > before:
                self.of[name] = early

    def _is_fixed(self, name: str) -> bool:
        """States, what is in a loop with them, and what is the next value of one."""
        return self.together[self.group[name]] > 1 or name in self.nexts or name in self.home

    def _read_at(self, name: str) -> Iterator[int]:
        """The lags at which a value is read."""
        yield from (self.of[u] for u in self.cell.graph.successors(name) if u in self.of)
        if name in self.cell.values("output").values():
            yield self.last

    def _registers(self, names: set[str]) -> float:
        """How many numbers wait in registers for the readers of some values."""
        waiting = (name for name in names if name in self.of)
        return sum(self._waits(name) * estimated_size(self.cell, name) for name in waiting)

    def _waits(self, name: str) -> int:
        """For how many steps a value waits, beside the one that it is a state in anyway."""
        latest = max(self._read_at(name), default=self.of[name])
        return max(0, latest - self.of[name] - (name in self.home))

    def of_products(self) -> set[int]:
        """The lags of the loops that compute a product."""
        looped = loops_of(self.cell)
        ops = {name: TABLE[self.cell.nodes[name].op.name] for name in looped}
        return {self.of[name] for name, op in ops.items() if op.kind == "contraction"}

    def partial(self) -> str:
        """An op of a loop that runs behind, and that zeros may be no operands for."""
        behind = (self.cell.nodes[name] for name, lag in self.of.items() if lag)
        return next((n.op.name for n in behind if self._is_partial(n)), "")

    def _is_partial(self, node: Node) -> bool:
        if node.op.name not in _PARTIAL:
            return False
        if node.op.name == "power":
            exponent = self.cell.nodes[node.args[1]]
            number = dict(exponent.attrs).get("value") if exponent.op.name == "const" else None
            return not (isinstance(number, float) and number >= 1)
        return node.args[-1] in self.of


@dataclass
class _Retiming:
    """Builds the cell, value by value, each at the lags that it is read at."""

    cell: Cell
    lags: _Lags
    found: dict[tuple[str, int], str] = field(default_factory=dict)
    inputs: dict[str, tuple[str, int]] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)

    def run(self) -> Retimed:
        cell, lags = self.cell, self.lags
        self.edit = Edit(cell)
        for name in cell.states:
            self.edit.nodes[name] = cell.nodes[name]
        results = []
        for role, name, value in ((r.role, r.name, r.value) for r in cell.results):
            if role == "next":
                results.append(Result("next", name, self._held(name, value)))
            elif role == "output":
                results.append(Result("output", name, self.at(value, lags.last)))
            else:
                results.append(Result(role, name, self.at(value, 0)))
        results += [Result("next", register, v) for register, v in self.registers.items()]
        for name in cell.params:
            self.edit.nodes.setdefault(name, cell.nodes[name])
        made = replace(cell, nodes=in_order(self.edit.nodes), results=tuple(results), comments={})
        return Retimed(made, lags.last, self.inputs, tuple(self.registers))

    def _held(self, state: str, value: str) -> str:
        """The next value, or the state as it is before its loop begins and after it has ended."""
        behind = self.lags.of[state]
        if behind not in self.runs:
            self.runs[behind] = self.edit.add("runs", axis=TIME, behind=behind, last=self.lags.last)
        spans = self.cell.nodes[value].spans
        return self.edit.add("where", [self.runs[behind], self.at(value, behind), state], spans)

    def at(self, name: str, lag: int) -> str:
        """The name of a value as it is so many steps behind the first loop."""
        node = self.cell.nodes[name]
        if TIME not in node.type.extent:
            lag = 0
        if (name, lag) not in self.found:
            self.found[name, lag] = self._made(name, node, lag)
        return self.found[name, lag]

    def _made(self, name: str, node: Node, lag: int) -> str:
        own = self.lags.of.get(name)
        if own is not None and lag > own:
            return self._waiting(name, node, lag)
        if node.op.name == "state":
            return name
        if node.op.leaf:
            return self._leaf(name, node, lag)
        args = tuple(self.at(argument, lag) for argument in node.args)
        made = Node(node.op, args, node.type, node.attrs, node.spans)
        if name in self.edit.nodes:
            return self.edit.put(made)
        self.edit.nodes[name] = made
        return name

    def _leaf(self, name: str, node: Node, lag: int) -> str:
        new = name
        if TIME in node.type.extent:
            new = self._free(f"{name}_before_{lag}") if lag else name
            self.inputs[new] = (name, lag)
        self.edit.nodes[new] = node
        return new

    def _waiting(self, name: str, node: Node, lag: int) -> str:
        """A value of the step before: the state that it is the next value of, or a register."""
        own, home = self.lags.of[name], self.lags.home.get(name)
        if home is not None and lag == own + 1 and self.lags.of[home] == own:
            return home
        source = self.at(name, lag - 1)
        told = f"v{name}" if name.isdigit() else name.replace("'", "")
        register = self._free(f"{told}_waits_{lag - own}")
        self.registers[register] = source
        self.edit.nodes[register] = Node(TABLE["state"], (), node.type, (), node.spans)
        return register

    def _free(self, name: str) -> str:
        while name in self.cell.nodes or name in self.edit.nodes:
            name += "_"
        return name
