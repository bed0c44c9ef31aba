"""Redefines a value of a cell by others, such as a gate by its complement."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx

from cellc.diagnostics import fail
from cellc.frontend.builder import Builder, check_axes
from cellc.frontend.expressions import Lowering
from cellc.frontend.model import Model
from cellc.frontend.shapes import shape_of
from cellc.frontend.suggest import did_you_mean
from cellc.ir import BATCH, Cell, Node, Result, TypeMismatch, reached
from cellc.ir.types import shape_text
from cellc.ops import TABLE
from cellc.ops.notation import equations_of, expression_of
from cellc.passes.edit import in_order
from cellc.syntax import parse_equation, tree
from cellc.transforms.keep import live_states, only

_GIVEN = ("input", "state", "param", "option", "draw", "size")


def couple(cell: Cell, *equations: str) -> Cell:
    """The cell with some of its values redefined by equations in the language.

    ``couple(vanilla_lstm, "f = 1 - i")`` has the key of ``cifg``. Parameters, inputs and
    options that nothing needs any more fall away, as they do from a derived cell; all
    states stay. :func:`cellc.removed` tells what went. Raises CellcError.
    """
    for text in equations:
        cell = _coupled(cell, parse_equation(text))
    return cell


def _coupled(cell: Cell, equation: tree.Equation) -> Cell:
    _check_target(cell, equation)
    builder, value, delays = _lowered(cell, equation)
    _check_cycle(builder.nodes, value, equation)
    nodes = _placed(cell, builder.nodes, value, equation)
    target = equation.target
    new = {target: target if target in nodes else value}
    results = [Result(r.role, r.name, new.get(r.value, r.value)) for r in cell.results]
    results += [Result("next", state, new.get(v, v)) for state, v in delays]
    results = _ordered(cell, results, {state for state, _ in delays})
    coupled = cell.replace(_retyped(nodes, new[target], equation), results)
    visible = [state for state in coupled.states if not _is_delay(coupled, state)]
    coupled = only(coupled, live_states(coupled, visible))
    _check_results(coupled, equation)
    name = cell.name.removesuffix("_coupled")
    written = equations_of(coupled).get(target) or expression_of(coupled, value)
    return replace(
        coupled,
        name=f"{name}_coupled",
        description=f"{cell.description} Coupled: {target} = {written}.".lstrip(),
        lineage=(*cell.lineage, cell.name),
    )


def _is_delay(cell: Cell, state: str) -> bool:
    """Whether a state is a hidden one that `prev` made."""
    return expression_of(cell, state) != state


def _ordered(cell: Cell, results: list[Result], added: set[str]) -> list[Result]:
    """The results as a derived cell has them: next values first, those of delays last."""
    visible = [s for s in cell.states if not _is_delay(cell, s)]

    def place(state: str) -> tuple[int, str]:
        source = state.removeprefix("prev_").rpartition("_")[0]
        return (visible.index(source) if source in visible else len(visible), state)

    nexts = [r for r in results if r.role == "next"]
    delays = [r for r in nexts if r.name in added or r.name not in visible]
    shown = [r for r in nexts if r not in delays]
    delays.sort(key=lambda result: place(result.name))
    return [*shown, *delays, *(r for r in results if r.role != "next")]


def _check_target(cell: Cell, equation: tree.Equation) -> None:
    """Refuse to redefine what no equation defines."""
    target, nodes = equation.target, cell.nodes
    if target not in nodes or target.isdigit():
        known = [name for name in nodes if not name.isdigit() and not nodes[name].op.leaf]
        message = f"`{cell.name}` has no value `{target}`"
        fail("unknown-name", message, equation.span, hints=did_you_mean(target, known))
    kind = nodes[target].op.name
    if kind in _GIVEN:
        words = {"param": "a parameter", "input": "an input", "option": "an option"}
        hint = f"the value that a step ends with is `{target}'`"
        fail(
            "not-an-equation",
            f"`{target}` is {words.get(kind, f'a {kind}')} of `{cell.name}`, and has no equation",
            equation.span,
            hints=(hint,) if kind == "state" else (),
        )


def _lowered(cell: Cell, equation: tree.Equation) -> tuple[Builder, str, list[tuple[str, str]]]:
    """The cell's nodes with those of an expression, its node, and new delays with theirs."""
    dims = {
        name: tree.Dimension(name, a.name, a.default, equation.span, a.fixed)
        for name, a in cell.dims.items()
    }
    model = Model(cell.name, equation.span, dims=dims)
    builder = Builder(cell.nodes)
    lowering = Lowering(model, builder, None, {})
    lowering.layers = _NoLayers()
    lowering.values.update({name: name for name in cell.nodes if not name.isdigit()})
    lowering.enter(equation.target)
    shape = cell.nodes[equation.target].type.shape
    if equation.shape is not None:
        shape = shape_of(equation.shape, model)
    value = lowering.lower(equation.value, shape)
    _check_products(cell, builder.nodes, equation)
    have = builder.nodes[value].type.shape
    if have not in ((), shape) or (equation.shape is not None and have != shape):
        old = shape_text(shape)
        message = f"`{equation.target}` is {old}, and the new value {shape_text(have)}"
        fail("shape-clash", message, equation.value.span)
    return builder, value, lowering.delayed_values()


def _check_products(cell: Cell, nodes: dict[str, Node], equation: tree.Equation) -> None:
    """Refuse products by parameters, each of which belongs to one equation."""
    products = [
        node
        for name, node in nodes.items()
        if name not in cell.nodes and TABLE[node.op.name].kind == "contraction"
    ]
    for product in products:
        weight = product.args[0]
        if nodes[weight].op.name == "param":
            message = f"the parameter `{weight}` belongs to another equation"
            hint = "a coupling is made of values; name one that the product is part of"
            fail("parameter-shared", message, equation.value.span, hints=(hint,))


class _NoLayers:
    """The cells and layers that a coupling may apply: none."""

    def call(self, call: tree.Call) -> None:
        return None

    def pick(self, pick: tree.Pick, wanted: object) -> str:
        fail("not-a-layer", "a coupling applies no cells", pick.span)

    def flow(self, flow: tree.Flow) -> str:
        fail("not-a-layer", "a coupling applies no layers", flow.span)


def _check_cycle(nodes: dict[str, Node], value: str, equation: tree.Equation) -> None:
    """Refuse a value that depends on the one it redefines, within one step."""
    target = equation.target
    if target not in reached(nodes, [value]):
        return
    graph = nx.DiGraph((argument, name) for name, node in nodes.items() for argument in node.args)
    path = nx.shortest_path(graph, target, value) if value != target else [target]
    names = [name for name in path if not name.isdigit() and name != value]
    fail(
        "cycle",
        f"values of one step depend on each other: {' → '.join([*names, target])}",
        equation.span,
        hints=("a value of the step before is a state without a prime, or `prev(v)`",),
    )


def _placed(
    cell: Cell, nodes: dict[str, Node], value: str, equation: tree.Equation
) -> dict[str, Node]:
    """All nodes in order, the new ones where the target was, which gets a node without name."""
    target, named = equation.target, not value.isdigit()
    placed: dict[str, Node] = {}
    for name in cell.nodes:
        if name != target:
            placed[name] = nodes[name]
            continue
        placed |= {n: nodes[n] for n in nodes if n not in cell.nodes and (named or n != value)}
        if not named:
            placed[target] = nodes[value]
    if named:
        for name, node in placed.items():
            args = tuple(value if argument == target else argument for argument in node.args)
            placed[name] = replace(node, args=args)
    return in_order(placed)


def _retyped(nodes: dict[str, Node], start: str, equation: tree.Equation) -> dict[str, Node]:
    """The nodes, those that depend on ``start`` with types that follow from its own."""
    retyped: dict[str, Node] = {}
    changed = {start}
    for name, node in nodes.items():
        if not changed.isdisjoint(node.args):
            changed.add(name)
            types = [retyped[argument].type for argument in node.args]
            try:
                node = replace(node, type=node.op.infer(types, dict(node.attrs)))
            except TypeMismatch as mismatch:
                where = "" if name.isdigit() else f" in `{name}`"
                message = f"the new value does not fit{where}: {mismatch.message}"
                fail("shape-clash", message, equation.span)
            check_axes(node.type.extent, equation.span)
        retyped[name] = node
    return retyped


def _check_results(cell: Cell, equation: tree.Equation) -> None:
    """Refuse next values of another shape than their states, and outputs of truth values."""
    for result in cell.results:
        type_ = cell.nodes[result.value].type
        state = cell.nodes.get(result.name)
        if result.role == "next" and state is not None and type_.shape != state.type.shape:
            message = f"`{result.name}'` becomes {shape_text(type_.shape)}, its state is "
            fail("shape-clash", message + shape_text(state.type.shape), equation.span)
        if result.role != "initial" and type_.dtype == "boolean":
            message = "a comparison is no number; `where(…, 1, 0)` makes it one"
            fail("shape-clash", message, equation.span)
        if result.role == "start" and type_.extent - {BATCH}:
            message = f"the initial value of `{result.name}` depends on the steps of the sequence"
            fail("bad-initial-value", message, equation.span)
