"""Loops that a parallel scan can compute, in the one form that a scan takes: ``a*h + b``.

Two steps of ``h' = a*h + b`` are one step of that kind: ``(a2, b2)`` behind ``(a1, b1)`` is
``(a2*a1, a2*b1 + b2)``. So steps can be joined in pairs, and pairs of pairs, rather than
computed one after the other. There is no division and no logarithm in it, so ``a`` may be
anything, zero and negative included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import networkx as nx

from cellc.diagnostics import Span, fail
from cellc.ir import Cell, Shape
from cellc.ops import TABLE, find
from cellc.passes.cse import Cse
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, spans_of
from cellc.passes.fold import Fold
from cellc.passes.loops import with_recurrence
from cellc.syntax import parse_expression, tree

#: When a scan is used: where it pays, which emitted code decides, always, or never.
CHOICES = ("auto", "always", "never")

#: A value that may be known as a number, by which arithmetic with 0 and 1 is left out.
Value = str | float


def known_choice(scan: str) -> str:
    """The choice; raises CellcError ``unknown-scan`` where it is none of ``CHOICES``."""
    if scan not in CHOICES:
        known = ", ".join(f"`{name}`" for name in CHOICES)
        fail("unknown-scan", f"a scan cannot be used `{scan}`", hints=(f"known: {known}",))
    return scan


@dataclass(frozen=True)
class Step:
    """One step of a loop: the next value of ``state`` is ``following = factor*state + term``."""

    state: str
    following: str
    factor: str
    term: str


def affine_step(cell: Cell, members: Set[str]) -> Step | None:
    """The step of a loop that is in the form of a scan; None where the loop is not."""
    states = [name for name in members if cell.nodes[name].op.name == "state"]
    if len(states) != 1 or len(members) != 2:
        return None
    (state,), (following,) = states, members - {*states}
    node = cell.nodes[following]
    if node.op.name != "multiply_add" or following != cell.values("next")[state]:
        return None
    left, right, term = node.args
    factor = right if left == state else left
    operands = [cell.nodes[name].type for name in (factor, term)]
    known = {factor, term}.isdisjoint(members)
    alike = all(type_.shape == cell.nodes[state].type.shape for type_ in operands)
    return Step(state, following, factor, term) if known and alike else None


@dataclass(frozen=True)
class AffineSteps:
    """Brings loops that carry one state, unit by unit and linearly, into the form of a scan.

    What else the loop computed leaves it: known beforehand, or read from the steps afterwards.

    Before, with ``%z`` and ``%n`` known before the loop::

        %1 = subtract(%n, %h) : [H] over {batch, time}
        %2 = multiply(%z, %1) : [H] over {batch, time}
        %h' = add(%h, %2) : [H] over {batch, time}

    After::

        %3 = const() {value=1.0} : [] over {}
        %4 = subtract(%3, %z) : [H] over {batch, time}
        %5 = multiply(%z, %n) : [H] over {batch, time}
        %h' = multiply_add(%4, %h, %5) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        graph = with_recurrence(cell)
        edit = Edit(cell)
        edit.nodes.update(cell.nodes)
        changed = False
        for members in nx.strongly_connected_components(graph):
            if affine_step(cell, members) is None:
                changed |= _Loop(edit, members).rewrite()
        if not changed:
            return cell
        return Dce().run(Cse().run(Fold().run(edit.finish())))


def can_scan(cell: Cell) -> bool:
    """Whether a loop of a cell can be a scan."""
    cell = AffineSteps().run(cell)
    groups = nx.strongly_connected_components(with_recurrence(cell))
    return any(affine_step(cell, members) is not None for members in groups)


class _Loop:
    """A loop whose values are told as ``a*h + b``, operands first.

    ``slopes`` are the ``a`` of its values and ``rests`` the ``b``.
    """

    def __init__(self, edit: Edit, members: Set[str]) -> None:
        self.edit, self.cell = edit, edit.cell
        self.members = [name for name in self.cell.nodes if name in members]
        self.slopes: dict[str, Value] = {}
        self.rests: dict[str, Value] = {}

    def rewrite(self) -> bool:
        """Bring the loop into form; False where it cannot be, and then nothing is changed."""
        cell, edit = self.cell, self.edit
        states = [name for name in self.members if cell.nodes[name].op.name == "state"]
        nexts = cell.values("next")
        if len(states) != 1 or nexts[states[0]] not in self.members[1:]:
            return False
        (state,) = states
        if not all(self._fits(name, cell.nodes[state].type.shape) for name in self.members):
            return False
        self.slopes[state], self.rests[state] = 1.0, 0.0
        for name in self.members:
            if name != state:
                self._tell(name)
        following = nexts[state]
        shape, spans = cell.nodes[state].type.shape, spans_of(cell.nodes, self.members)
        factor = self._whole(self.slopes[following], shape, spans)
        term = self._whole(self.rests[following], shape, spans)
        new = edit.add("multiply_add", [factor, state, term], cell.nodes[following].spans)
        edit.nodes[following] = edit.nodes.pop(new)
        return True

    def _fits(self, name: str, shape: Shape) -> bool:
        """Whether a value is the state, or linear in it and of one shape with it."""
        node = self.cell.nodes[name]
        op = TABLE[node.op.name]
        if op.leaf or op.kind != "elementwise":
            return op.name == "state"
        depending = {slot for slot, argument in enumerate(node.args) if argument in self.members}
        derived = [op.derivative[slot] for slot in depending if slot < len(op.derivative)]
        linear = any(depending <= slots for slots in op.linear)
        return linear and len(derived) == len(depending) and node.type.shape == shape

    def _tell(self, name: str) -> None:
        """Find ``a`` and ``b`` of a value: by the derivative of its op, and without the state."""
        node = self.cell.nodes[name]
        op = TABLE[node.op.name]
        known = dict(zip(op.operand_names(len(node.args)), node.args, strict=True))
        parts: list[Value] = []
        for slot, argument in enumerate(node.args):
            text = op.derivative[slot] if argument in self.slopes else None
            if text is not None:
                bindings: dict[str, Value] = {**known, "g": self.slopes[argument]}
                parts.append(self._written(parse_expression(text), bindings, node.spans))
        slope: Value = 0.0
        for part in parts:
            slope = self._add("add", [slope, part], node.spans)
        self.slopes[name] = slope
        rests = [self.rests.get(argument, argument) for argument in node.args]
        self.rests[name] = self._add(op.name, rests, node.spans)

    def _written(
        self, expression: tree.Expression, known: Mapping[str, Value], spans: frozenset[Span]
    ) -> Value:
        match expression:
            case tree.Name(name=name):
                return known[name]
            case tree.Number(value=value):
                return value
            case _:
                assert isinstance(expression, tree.Call)
                op = find(expression.function)
                assert op is not None
                args = [self._written(argument, known, spans) for argument in expression.args]
                return self._add(op.name, args, spans)

    def _add(self, op: str, args: Sequence[Value], spans: frozenset[Span]) -> Value:
        """An operation, unless it is arithmetic with 0 or 1 that changes nothing."""
        match op, *args:
            case ("add", 0.0, a) | ("add", a, 0.0) | ("subtract", a, 0.0):
                return a
            case ("multiply", 1.0, a) | ("multiply", a, 1.0) | ("divide", a, 1.0):
                return a
            case ("multiply", 0.0, _) | ("multiply", _, 0.0) | ("divide", 0.0, _):
                return 0.0
            case ("negate", 0.0) | ("where", _, 0.0, 0.0) | ("training", 0.0, 0.0):
                return 0.0
            case ("subtract", 0.0, a):
                return self._add("negate", [a], spans)
            case ("multiply_add", a, b, c) if 0.0 in (a, b, c):
                return self._add("add", [self._add("multiply", [a, b], spans), c], spans)
            case ("lerp", 0.0, b, w):
                return self._add("multiply", [w, b], spans)
            case ("lerp", a, 0.0, w):
                return self._add("multiply", [self._add("subtract", [1.0, w], spans), a], spans)
        return self.edit.add(op, list(self._named(args, spans)), spans)

    def _named(self, args: Sequence[Value], spans: frozenset[Span]) -> Iterator[str]:
        for value in args:
            yield value if isinstance(value, str) else self.edit.constant(value, spans)

    def _whole(self, value: Value, shape: Shape, spans: frozenset[Span]) -> str:
        """A value in the shape of the state, which it may lack where it is the same for all."""
        (name,) = self._named([value], spans)
        if self.edit.nodes[name].type.shape == shape:
            return name
        return self.edit.add("add", [name, self.edit.add("zeros", shape=shape)], spans)
