"""Initial values: what parameters are drawn from and states start with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import networkx as nx

from cellc.diagnostics import CellcError, Collector, Diagnostic, Span, fail
from cellc.frontend.expressions import Lowering
from cellc.ir import BATCH, NOWHERE, Dim, Result, Type, TypeMismatch, reached
from cellc.ir.dimension import product
from cellc.ir.types import Shape
from cellc.ops import find
from cellc.syntax import tree

_FILLS = {"ones": 1.0, "zeros": 0.0}


def lower_starts(lowering: Lowering, found: Collector) -> list[Result]:
    """Results ``start`` for the states that state what they start with."""
    results: list[Result] = []
    for state in lowering.model.of_kind("state"):
        try:
            if state.initial is not None:
                results.append(Result("start", state.name, _start(lowering, state)))
        except CellcError as error:
            found.extend(error)
    return results


def lower_initial_values(
    lowering: Lowering, brought: Iterable[Result], found: Collector
) -> list[Result]:
    """Results ``initial`` for every parameter.

    A parameter without an initial value is drawn uniformly from ±1/√H, as torch's
    recurrent layers are, where H is the number of units of the first state. What applied
    cells have ``brought`` along is initialised as they say.
    """
    results: list[Result] = []
    known = {result.name for result in brought if result.role == "initial"}
    nodes = lowering.builder.nodes
    for name in [n for n, node in nodes.items() if node.op.name == "param" and n not in known]:
        try:
            results.append(Result("initial", name, _initial(lowering, name)))
        except CellcError as error:
            found.extend(error)
    _check_circles(lowering, results, found)
    return results


def _initial(lowering: Lowering, name: str) -> str:
    """The node of a parameter's initial value."""
    declaration = lowering.model.declarations.get(name)
    if name in lowering.weights.masks:
        value = lowering.weights.pattern(name, lowering.weights.masks[name])
    elif declaration is not None and declaration.initial is not None:
        value = _Initial(lowering, name).lower(declaration.initial)
    else:
        shape, span = lowering.builder.nodes[name].type.shape, lowering.model.span
        bound = _default_bound(lowering, span)
        value = lowering.builder.add("uniform", bound, span, **_draw(name, shape))
    return lowering.weights.initial(name, value)


def _check_circles(lowering: Lowering, results: list[Result], found: Collector) -> None:
    """Report parameters whose initial values need each other."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, node in lowering.builder.nodes.items():
        graph.add_edges_from((argument, name) for argument in node.args)
    graph.add_edges_from((r.value, r.name) for r in results if r.role == "initial")
    if nx.is_directed_acyclic_graph(graph):
        return
    model = lowering.model
    for circle in nx.strongly_connected_components(graph):
        names = [n for n in model.declarations if n in circle]
        if len(circle) > 1 or graph.has_edge(names[0], names[0]) if names else False:
            found.add(
                Diagnostic(
                    "cycle",
                    f"initial values need each other: {' → '.join([*names, names[0]])}",
                    model.declarations[names[0]].span,
                )
            )


def _start(lowering: Lowering, state: tree.Declaration) -> str:
    """The node of a state's initial value, which may be learnt."""
    assert state.initial is not None
    nodes = lowering.builder.nodes
    shape = nodes[state.name].type.shape
    lowering.enter(state.name)
    value = lowering.lower(state.initial, shape)
    if nodes[value].type.extent - {BATCH}:
        fail(
            "bad-initial-value",
            f"the initial value of `{state.name}` depends on the steps of the sequence",
            state.initial.span,
            hints=("it may use parameters, options, numbers and inputs `per sequence`",),
        )
    if nodes[value].type.shape not in ((), shape):
        fail(
            "bad-initial-value",
            f"the initial value of `{state.name}` has not the shape of the state",
            state.initial.span,
        )
    if BATCH not in nodes[value].type.extent:
        _check_mode(lowering, state.name, value, state.initial.span)
    return value


def _check_mode(lowering: Lowering, name: str, value: str, span: Span) -> None:
    """Refuse a value that is computed before any call and yet depends on the mode of the call."""
    nodes = lowering.builder.nodes
    if any(nodes[inner].op.name == "training" for inner in reached(nodes, [value])):
        message = f"the initial value of `{name}` depends on whether the cell is training"
        fail("bad-initial-value", message, span)


def _default_bound(lowering: Lowering, span: Span) -> tuple[str, str]:
    """The nodes of -1/√H and 1/√H, which all parameters without an initial value share."""
    builder = lowering.builder
    if lowering.bound is not None:
        return lowering.bound
    nodes = builder.nodes.values()
    shapes = [node.type.shape for node in nodes if node.op.name == "state"]
    shapes += [lowering.agreed] if lowering.agreed is not None else []
    shapes += [node.type.shape for node in nodes if node.op.name == "input"]
    units = product(shapes[0]) if shapes else Dim.of(1)
    size = builder.number("size", Type((), NOWHERE), span, dim=units)
    one = builder.number("const", Type((), NOWHERE), span, value=1.0)
    bound = builder.add("divide", [one, builder.add("sqrt", [size], span)], span)
    lowering.bound = builder.add("negate", [bound], span), bound
    return lowering.bound


def _draw(name: str, shape: Shape) -> dict[str, str | Shape]:
    return {"label": name, "shape": shape}


class _Initial:
    """Lowers the initial value of one parameter."""

    def __init__(self, lowering: Lowering, parameter: str) -> None:
        self.lowering, self.parameter = lowering, parameter
        self.shape = lowering.builder.nodes[parameter].type.shape
        self.draws = 0

    def lower(self, expression: tree.Expression) -> str:
        """The node of the value; its shape is contained in the parameter's."""
        value = self._lower(expression)
        node = self.lowering.builder.nodes[value]
        if node.type.extent:
            self._varies(expression)
        if node.type.shape and node.type.shape != self.shape:
            fail(
                "bad-initial-value",
                f"the initial value of `{self.parameter}` does not fit its shape",
                expression.span,
            )
        _check_mode(self.lowering, self.parameter, value, expression.span)
        return value

    def _varies(self, expression: tree.Expression) -> NoReturn:
        fail(
            "bad-initial-value",
            f"the initial value of `{self.parameter}` depends on the sequence",
            expression.span,
            hints=("it may use other parameters, options and numbers",),
        )

    def _lower(self, expression: tree.Expression) -> str:
        if not isinstance(expression, tree.Call):
            return self.lowering.lower(expression)
        builder = self.lowering.builder
        if expression.function in _FILLS and not expression.args:
            return builder.number(
                "const", Type((), NOWHERE), expression.span, value=_FILLS[expression.function]
            )
        op = find(expression.function)
        small = expression.function in self.lowering.model.functions
        if op is None or op.leaf or not op.written or small:
            return self.lowering.lower(expression)
        args = [self._lower(argument) for argument in expression.args]
        if not op.accepts(len(args)):
            fail(
                "wrong-argument-count",
                f"`{expression.function}` takes {len(op.parameters)} values, not {len(args)}",
                expression.span,
            )
        attrs: dict[str, str | Shape] = {}
        if any(builder.nodes[argument].type.extent for argument in args):
            self._varies(expression)
        if op.kind == "random":
            self.draws += 1
            suffix = "" if self.draws == 1 else f" {self.draws}"
            attrs = _draw(self.parameter + suffix, self.shape)
        try:
            return builder.add(op.name, args, expression.span, **attrs)
        except TypeMismatch as mismatch:
            raise CellcError(
                Diagnostic("bad-initial-value", mismatch.message, expression.span)
            ) from None
