"""Is this the same cell? A canonical form whose text answers it.

Equal computations count once, however often the cell writes them. Colours are refined
upwards and downwards over the graph; commutative operands are ordered by colour, sums
and products are flattened, leaves are numbered by first visit from the ordered results.
The text describes the cell in full, so equal keys mean equal cells. Where operands are
alike in every respect, either order gives the same text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cellc.ir.node import Attribute, Node, Result
from cellc.ir.types import shape_text

_ROUNDS = 3
_THEMSELVES = ("input", "state", "param", "option", "draw")
_COUNTED = ("next", "output", "start")


@dataclass(frozen=True)
class CanonicalForm:
    """The text of a cell with all names taken out, and its parameters in text order."""

    text: str
    params: tuple[str, ...]

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that stand for the text."""
        return _digest(self.text)


def canonical_form(nodes: Mapping[str, Node], results: Sequence[Result]) -> CanonicalForm:
    """The canonical form of the nodes that the results need."""
    states = [r.name for r in results if r.role == "next"]
    ends = [
        (
            f"{r.role} {states.index(r.name)}" if r.name in states else r.role,
            r.value,
        )
        for r in results
        if r.role in _COUNTED
    ]
    ends.sort(key=lambda end: end[0])
    nodes, first = _merged(nodes)
    ends = [(role, first[value]) for role, value in ends]
    operands = _flattened(nodes, [value for _, value in ends])
    labels = _labels(nodes, operands, states)
    colours = _refine(nodes, operands, labels, ends)
    return _number(nodes, operands, labels, colours, ends)


Operands = dict[str, tuple[str, ...]]


def computations(nodes: Mapping[str, Node], results: Sequence[Result]) -> Operands:
    """The distinct computations that the results need, with operands; chains are made flat.

    Operands come before what uses them.
    """
    kept, first = _merged(nodes)
    return _flattened(kept, [first[r.value] for r in results if r.role in _COUNTED])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _merged(nodes: Mapping[str, Node]) -> tuple[dict[str, Node], dict[str, str]]:
    """The nodes without those that compute what another does, and who stands for whom."""
    first: dict[str, str] = {}
    seen: dict[object, str] = {}
    kept: dict[str, Node] = {}
    for name, node in nodes.items():
        args = tuple(first[argument] for argument in node.args)
        order = tuple(sorted(args)) if node.op.commutative else args
        identity: object = (node.op, order, node.attrs, node.type)
        if node.op.name in _THEMSELVES:
            identity = name
        first[name] = seen.setdefault(identity, name)
        if first[name] == name:
            kept[name] = replace(node, args=args)
    return kept, first


def _flattened(nodes: Mapping[str, Node], ends: list[str]) -> Operands:
    """Operands of every needed node in topological order, with chains made flat."""
    uses: dict[str, int] = dict.fromkeys(nodes, 0)
    for node in nodes.values():
        for argument in node.args:
            uses[argument] += 1
    for end in ends:
        uses[end] += 1
    flat: Operands = {}
    for name, node in nodes.items():
        parts: list[str] = []
        for argument in node.args:
            inner = nodes[argument]
            chained = node.op.commutative and node.op.associative and inner.op is node.op
            if chained and uses[argument] == 1 and inner.type == node.type:
                parts.extend(flat[argument])
            else:
                parts.append(argument)
        flat[name] = tuple(parts)
    needed: set[str] = set()
    pending = list(ends)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(flat[name])
    return {name: flat[name] for name in nodes if name in needed}


def _labels(nodes: Mapping[str, Node], operands: Operands, states: list[str]) -> dict[str, str]:
    """What a node is, apart from its operands. Inputs and states count in their order."""
    inputs = [name for name, node in nodes.items() if node.op.name == "input"]
    numbers = {name: place for names in (inputs, states) for place, name in enumerate(names)}
    labels = {}
    for name in operands:
        node = nodes[name]
        known = [] if node.op.name == "draw" else node.attrs  # a draw's label is a name
        attrs = ",".join(f"{key}={_shown(value)}" for key, value in known)
        number = f"#{numbers[name]}" if name in numbers else ""
        labels[name] = f"{node.op.name}{number}{{{attrs}}}:{node.type}"
    return labels


def _shown(value: Attribute) -> str:
    return shape_text(value) if isinstance(value, tuple) else str(value)


def _refine(
    nodes: Mapping[str, Node],
    operands: Operands,
    labels: dict[str, str],
    ends: list[tuple[str, str]],
) -> dict[str, str]:
    """A colour for each node that tells nodes of different surroundings apart."""
    colours = {name: _digest(label) for name, label in labels.items()}
    for _ in range(_ROUNDS):
        for name, args in operands.items():
            below = [colours[argument] for argument in args]
            if nodes[name].op.commutative:
                below.sort()
            colours[name] = _digest("|".join([colours[name], *below]))
        above: dict[str, list[str]] = {name: [] for name in operands}
        for role, value in ends:
            above[value].append(role)
        for name in reversed(operands):
            colours[name] = _digest("|".join([colours[name], *sorted(above[name])]))
            commutative = nodes[name].op.commutative
            for slot, argument in enumerate(operands[name]):
                above[argument].append(f"{0 if commutative else slot}:{colours[name]}")
    return colours


def _number(
    nodes: Mapping[str, Node],
    operands: Operands,
    labels: dict[str, str],
    colours: dict[str, str],
    ends: list[tuple[str, str]],
) -> CanonicalForm:
    """Nodes numbered by first visit, operands before users."""
    numbers: dict[str, int] = {}
    lines: list[str] = []
    pending: list[tuple[str, bool]] = [(value, False) for _, value in reversed(ends)]
    while pending:
        name, ready = pending.pop()
        if name in numbers:
            continue
        args = operands[name]
        if nodes[name].op.commutative:
            args = tuple(sorted(args, key=lambda a: (colours[a], numbers.get(a, -1))))
        if not ready:
            pending.append((name, True))
            pending.extend((argument, False) for argument in reversed(args))
            continue
        numbers[name] = len(numbers)
        shown = [numbers[argument] for argument in args]
        if nodes[name].op.commutative:
            shown.sort()
        lines.append(f"{labels[name]}({','.join(map(str, shown))})")
    lines += [f"{role}={numbers[value]}" for role, value in ends]
    params = tuple(name for name in numbers if nodes[name].op.name == "param")
    return CanonicalForm("\n".join(lines), params)
