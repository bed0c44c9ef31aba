"""Reverse mode on the IR: the derivative of a cell is a cell.

Its backward states are the cotangents of the cell's states, and its inputs are values of
the cell and the cotangents of what a step emits. A cotangent is summed over exactly the
extent and the dimensions that its value lacks. Nothing here knows a cell or an op by name
but for the cuts, whose cotangents are joined rather than padded and added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cellc.diagnostics import Span, fail
from cellc.ir import BATCH, NOWHERE, Attribute, Cell, Extent, Node, Result, Type, reached
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE, find
from cellc.ops.op import Attrs, Op
from cellc.passes.cotangents import Cotangent, Piece, collected, fitted
from cellc.passes.edit import Edit
from cellc.passes.loops import computed_starts
from cellc.syntax import parse_expression, tree

_PRIME = "'"


@dataclass(frozen=True)
class Derivative:
    """A cell together with its derivative, as one graph.

    Attributes:
        cell: the nodes of both. Its states are those of the cell and their cotangents, its
            results the derivative's.
        outputs: the inputs that are cotangents of outputs, by the output's name.
        states: the backward states, by the state whose cotangent they are.
        inputs: the results that are cotangents of inputs, by the input's name.
    """

    cell: Cell
    outputs: Mapping[str, str]
    states: Mapping[str, str]
    inputs: Mapping[str, str]


def derivative(cell: Cell, starts: bool = True) -> Derivative:
    """The derivative of a cell by its inputs, states and parameters.

    With ``starts`` the starts of states that are no function of the call count as well.
    Raises CellcError ``no-derivative`` where an op has none.
    """
    return _Reverse(cell, starts).run()


@dataclass
class _Reverse:
    """One pass over a cell, users before operands."""

    source: Cell
    with_starts: bool
    flows: dict[str, Cotangent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = self.source
        ends = [r.value for r in source.results if r.role in ("next", "output")]
        self.starts = computed_starts(source)
        if self.with_starts:
            self.starts = {
                s: v for s, v in source.values("start").items() if self._learns(v)
            } | self.starts
        ends += self.starts.values()
        kept = reached(source.nodes, ends) | set(source.states) | set(source.inputs)
        self.nodes = {name: node for name, node in source.nodes.items() if name in kept}
        self.edit = Edit(source)
        self.edit.nodes.update(self.nodes)
        self.taken = set(source.nodes)
        self.fixed = {d: a.default or 1 for d, a in source.dims.items() if a.fixed}
        self.active = self._active()

    def run(self) -> Derivative:
        source, nodes = self.source, self.nodes
        given = source.values("output")
        outputs = {
            name: self._leaf("input", of, _given(nodes[value].type, source))
            for (name, value), of in zip(given.items(), _named(given), strict=True)
        }
        for name, value in given.items():
            self._flow(value, outputs[name])
        states = {
            name: self._leaf("state", name, nodes[name].type, backward=True)
            for name in source.states
        }
        for name, value in source.values("next").items():
            self._flow(value, states[name])
        for name, value in self.starts.items():
            axis = sequence_axis(nodes[name].type.extent)
            assert axis is not None
            self._flow(value, self.edit.add("final", [states[name]], axis=axis, start=True))
        totals = {n: self._visit(n) for n in reversed(list(nodes)) if n in self.active}
        return self._result(totals, outputs, states)

    def _result(
        self, totals: Mapping[str, str | None], outputs: dict[str, str], states: dict[str, str]
    ) -> Derivative:
        source, edit = self.source, self.edit
        results = []
        for state, d_state in states.items():
            value = totals.get(state) or edit.add("zeros", shape=self.nodes[state].type.shape)
            results.append(Result("next", d_state, value))
        results += [Result("next", s, v) for s, v in source.values("next").items()]
        inputs = {}
        for name in source.inputs:
            total = totals.get(name)
            if total is not None:
                inputs[name] = self._name(name)
                results.append(Result("output", inputs[name], total))
        for name in source.params:
            total = totals.get(name)
            if total is not None:
                results.append(Result("sum", name, total))
        cell = source.replace(edit.nodes, results)
        return Derivative(cell, outputs, states, inputs)

    def _active(self) -> set[str]:
        """The values that depend on something whose cotangent is wanted."""
        found: set[str] = set()
        for name, node in self.nodes.items():
            depends = self._is_wanted(node) or any(a in found for a in node.args)
            if depends and node.type.dtype == "real":
                found.add(name)
        return found

    def _is_wanted(self, node: Node) -> bool:
        frozen = dict(node.attrs).get("frozen")
        return node.op.name in ("input", "state", "param") and not frozen

    def _learns(self, start: str) -> bool:
        """Whether a start depends on a parameter that is learnt."""
        nodes = self.source.nodes
        return any(self._is_wanted(nodes[n]) for n in reached(nodes, [start]))

    def _name(self, value: str) -> str:
        """``d_f`` for the cotangent of f."""
        bare = value.rstrip("'")
        name = f"d_{bare}{value[len(bare) :]}"
        while name in self.taken:
            name = f"{name}_"
        self.taken.add(name)
        return name

    def _leaf(self, op: str, of: str, type_: Type, **attrs: Attribute) -> str:
        name = self._name(of)
        self.edit.nodes[name] = Node(TABLE[op], (), type_, tuple(attrs.items()))
        return name

    def _flow(self, value: str, contribution: str) -> None:
        fit = fitted(self.edit, contribution, self.nodes[value].type)
        self.flows.setdefault(value, Cotangent()).whole.append(fit)

    def _visit(self, name: str) -> str | None:
        """The cotangent of a value, which flows on into its operands."""
        flow = self.flows.get(name)
        if not flow:
            return None
        node, edit = self.nodes[name], self.edit
        before = set(edit.nodes)
        total = collected(edit, flow, node.type, self.fixed)
        if total not in before and not name.isdigit():
            named = self._name(name)
            edit.nodes[named] = edit.nodes.pop(total)
            total = named
        for slot, argument in enumerate(node.args):
            self._flow_on(name, node, slot, argument, total)
        return total

    def _flow_on(self, name: str, node: Node, slot: int, argument: str, g: str) -> None:
        operand = self.nodes[argument]
        if operand.type.dtype != "real" or argument not in self.active:
            return
        op, attrs = TABLE[node.op.name], dict(node.attrs)
        flow = self.flows.setdefault(argument, Cotangent())
        if op.name == "slice":
            axis = attrs.get("axis", 0)
            flow.pieces.append(Piece(g, attrs["start"], attrs["stop"], axis))  # type: ignore[arg-type]
        elif op.name == "at":
            flow.places.setdefault(attrs["index"], []).append(g)  # type: ignore[arg-type]
        else:
            value = self._pulled(op, name, node, slot, g)
            if value is not None:
                flow.whole.append(fitted(self.edit, value, operand.type))

    def _pulled(self, op: Op, name: str, node: Node, slot: int, g: str) -> str | None:
        """The cotangent of one operand of a node, as the op's record has it."""
        if op.pullback is not None:
            return op.pullback(_Node(self.edit, node, name, g), slot)
        if slot >= len(op.derivative):
            fail(
                "no-derivative",
                f"the op `{op.name}` has no derivative",
                min(node.spans, key=lambda span: span.start, default=None),
                hints=("give its record one: `derivative` or `pullback`",),
            )
        text = op.derivative[slot]
        if text is None:
            return None
        known = dict(zip(op.operand_names(len(node.args)), node.args, strict=True))
        return self._written(parse_expression(text), known | {"g": g, "y": name}, node.spans)

    def _written(
        self, expression: tree.Expression, known: Mapping[str, str], spans: frozenset[Span]
    ) -> str:
        match expression:
            case tree.Name(name=name):
                return known[name]
            case tree.Number(value=value):
                return self.edit.constant(value)
            case _:
                assert isinstance(expression, tree.Call)
                op = find(expression.function)
                assert op is not None
                args = [self._written(argument, known, spans) for argument in expression.args]
                return self.edit.add(op.name, args, spans)


@dataclass(frozen=True)
class _Node:
    """A node as a derivative that is a function sees it."""

    edit: Edit
    node: Node
    y: str
    g: str

    @property
    def args(self) -> tuple[str, ...]:
        return self.node.args

    @property
    def attrs(self) -> Attrs:
        return dict(self.node.attrs)

    def type(self, name: str) -> Type:
        return self.edit.nodes[name].type

    def add(self, op: str, *args: str, **attrs: Attribute) -> str:
        return self.edit.add(op, args, self.node.spans, **attrs)

    def total(self, op: str, *args: str, **attrs: Attribute) -> str:
        extents: list[Extent] = [self.type(name).extent for name in args]
        over = " ".join(sorted(frozenset.intersection(*extents)))
        return self.edit.add(op, args, self.node.spans, over=over, **attrs)


def _named(outputs: Mapping[str, str]) -> list[str]:
    """``output``, or of several ``output_y`` for each."""
    return (
        ["output"] if len(outputs) == 1 else [f"output_{name.rstrip(_PRIME)}" for name in outputs]
    )


def _given(type_: Type, cell: Cell) -> Type:
    """The type in which an output leaves the cell: what has no extent is spread."""
    if type_.extent != NOWHERE:
        return Type(type_.shape, type_.extent)
    axes = {sequence_axis(node.type.extent) for node in cell.nodes.values()} - {None}
    first = sorted((str(axis) for axis in axes), key=lambda axis: (axis != "time", axis))
    return Type(type_.shape, frozenset({BATCH, *first[:1]}))
