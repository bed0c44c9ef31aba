"""In which order equations are lowered, which of them are needed, and cycles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import networkx as nx

from cellc.diagnostics import Collector, Diagnostic, Related
from cellc.frontend.model import Model
from cellc.syntax import tree

_T = TypeVar("_T")
Change = Callable[[_T], _T]

#: Layers that act on a layer.
COMBINATOR_NAMES = frozenset({"stack", "bidirectional", "residual", "stateful"})


def check_uses(model: Model, found: Collector) -> None:
    """Report states without an update, and own definitions that nothing uses."""
    _check_states(model, found)
    _check_used(model, needed_names(model), found)


def equation_order(model: Model, found: Collector) -> list[str]:
    """The targets that outputs and states need, operands before users.

    Reports cycles.
    """
    graph = _dependencies(model)
    needed = needed_names(model)
    targets = _through_functions(graph, model).subgraph(needed & model.equations.keys())
    rank = {target: place for place, target in enumerate(model.equations)}
    try:
        return list(nx.lexicographical_topological_sort(targets, key=rank.__getitem__))
    except nx.NetworkXUnfeasible:
        _report_cycle(model, targets, found)
        return []


def _through_functions(graph: nx.DiGraph[str], model: Model) -> nx.DiGraph[str]:
    """What equations need of each other, also in the small functions that they apply."""
    inner = graph.subgraph(model.functions)
    direct = nx.DiGraph(graph)
    for function in model.functions:
        applied = {function, *nx.ancestors(inner, function)}
        read = {name for inside in applied for name in graph.predecessors(inside)}
        users = [user for user in graph.successors(function) if user in model.equations]
        direct.add_edges_from((name, user) for name in read for user in users)
    return direct


def reads(expression: tree.Expression, model: Model) -> list[str]:
    """The names whose value of this step an expression needs.

    The value under `prev` of a name whose shape is known belongs to an earlier step.
    """
    names: list[str] = []
    pending = [expression]
    while pending:
        part = pending.pop()
        if isinstance(part, tree.Name):
            names.append(part.name)
        if isinstance(part, tree.Call):
            if part.function in model.functions:
                names.append(part.function)
            if part.function == "prev" and part.args and has_stated_shape(part.args[0], model):
                continue
        if isinstance(part, tree.Flow):
            names += layer_names(part.layer, model)
        pending.extend(reversed(tree.operands(part)))
    return names


def layer_names(layer: tree.Expression, model: Model) -> list[str]:
    """The names that a layer reads: small functions, shared layers, sizes and options.

    A cell or layer is no value, even where a value is called the same:
    ``embedding = x -> embedding(V, 32)``.
    """
    match layer:
        case tree.Name(name=name):
            return [name] if name in model.functions or name in model.shares else []
        case tree.Flow():
            return [*layer_names(layer.value, model), *layer_names(layer.layer, model)]
        case tree.Call():
            acts_on = layer.args[: layer.function in COMBINATOR_NAMES]
            names = [name for part in acts_on for name in layer_names(part, model)]
            values = [*layer.args[len(acts_on) :], *(value for _, value in layer.keywords)]
            names += [name for value in values for name in _all_names(value, model)]
            known = layer.function in model.functions or layer.function in model.shares
            return [layer.function, *names] if known else names
        case _:
            return []


def changed_layer(
    layer: tree.Expression, head: Change[str], value: Change[tree.Expression]
) -> tree.Expression:
    """A layer with the names of what is applied changed, and the values in its brackets."""
    match layer:
        case tree.Name(name=name):
            return replace(layer, name=head(name))
        case tree.Flow():
            sent = changed_layer(layer.value, head, value)
            return replace(changed_flow(layer, head, value), value=sent)
        case tree.Call():
            acts_on = layer.args[: layer.function in COMBINATOR_NAMES]
            args = [changed_layer(part, head, value) for part in acts_on]
            args += [value(part) for part in layer.args[len(acts_on) :]]
            words = tuple((word, value(part)) for word, part in layer.keywords)
            function = head(layer.function)
            return replace(layer, function=function, args=tuple(args), keywords=words)
        case _:
            return value(layer)


def changed_flow(flow: tree.Flow, head: Change[str], value: Change[tree.Expression]) -> tree.Flow:
    """A flow with its layer changed; what is sent stays."""
    layer = changed_layer(flow.layer, head, value)
    assert isinstance(layer, (tree.Name, tree.Call))
    return replace(flow, layer=layer)


def has_stated_shape(expression: tree.Expression, model: Model) -> bool:
    """Whether the shape of a name is known before its equation is lowered."""
    if not isinstance(expression, tree.Name):
        return False
    name = expression.name
    equation = model.equations.get(name)
    return (
        name in model.declarations
        or name.endswith("'")
        or (equation is not None and equation.shape is not None)
    )


def _dependencies(model: Model) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from([*model.equations, *model.functions])
    graph.add_edges_from(
        (name, target)
        for target, equation in model.equations.items()
        for name in reads(equation.value, model)
    )
    graph.add_edges_from(
        (inner, name)
        for name, function in model.functions.items()
        for inner in reads(function.body, model)
        if inner not in function.parameters
    )
    return graph


def needed_names(model: Model) -> set[str]:
    """Everything that outputs, state updates and initial values reach."""
    graph = _dependencies(model)
    ends = [name for value in model.outputs for name in _all_names(value, model)]
    ends += [f"{state.name}'" for state in model.of_kind("state")]
    needed: set[str] = set()
    pending = list(ends)
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in graph:
            pending.extend(graph.predecessors(name))
        if name in model.equations:
            pending.extend(_all_names(model.equations[name].value, model))
        if name in model.shares:
            pending.extend(layer_names(model.shares[name].layer, model))
        if name.rstrip("'") in model.declarations:
            pending.append(name.rstrip("'"))
            declaration = model.declarations[name.rstrip("'")]
            initial = [declaration.initial] if declaration.initial is not None else []
            words = [part for modifier in declaration.modifiers for part in modifier.args]
            pending.extend(inner for value in initial + words for inner in _all_names(value, model))
    return needed


def _all_names(expression: tree.Expression, model: Model) -> list[str]:
    return [name for part in tree.walk(expression) for name in _own_names(part, model)]


def _own_names(part: tree.Expression, model: Model) -> list[str]:
    match part:
        case tree.Name(name=name):
            return [name]
        case tree.Call(function=function):
            return [function]
        case tree.Flow(layer=layer):
            return layer_names(layer, model)
        case _:
            return []


def _check_states(model: Model, found: Collector) -> None:
    states = {state.name: state for state in model.of_kind("state")}
    for name, state in states.items():
        if f"{name}'" not in model.equations:
            found.add(
                Diagnostic(
                    "missing-update",
                    f"the state `{name}` is never updated",
                    state.span,
                    "this state",
                    hints=(f"define the value that the step ends with: `{name}' = …`",),
                )
            )
    for target, equation in model.equations.items():
        if target.endswith("'") and target[:-1] not in states:
            found.add(
                Diagnostic(
                    "update-without-state",
                    f"`{target}` is defined, but `{target[:-1]}` is no state",
                    equation.span,
                    hints=(f"declare it: `state {target[:-1]}[H]`",),
                )
            )


def _check_used(model: Model, needed: set[str], found: Collector) -> None:
    items: dict[str, tree.Declaration | tree.Function | tree.Equation | tree.Share] = {
        **model.declarations,
        **model.functions,
        **model.equations,
        **model.shares,
    }
    for name, item in items.items():
        if name in model.own and name not in needed and not name.endswith("'"):
            found.add(
                Diagnostic(
                    "unused-definition",
                    f"nothing uses `{name}`",
                    item.span,
                    "neither an output nor a state depends on it",
                    hints=("a misspelt name would leave it so; else remove it",),
                )
            )


def _report_cycle(model: Model, targets: nx.DiGraph[str], found: Collector) -> None:
    cycle = [edge[0] for edge in nx.find_cycle(targets)]
    first = min(range(len(cycle)), key=lambda i: model.equations[cycle[i]].span.start)
    cycle = cycle[first:] + cycle[:first]
    equations = [model.equations[target] for target in cycle]
    found.add(
        Diagnostic(
            "cycle",
            f"values of one step depend on each other: {' → '.join([*cycle, cycle[0]])}",
            equations[0].span,
            f"`{cycle[0]}` is read by `{cycle[1 % len(cycle)]}`",
            related=tuple(
                Related(e.span, f"`{e.target}` is read by `{cycle[(i + 2) % len(cycle)]}`")
                for i, e in enumerate(equations[1:4])
            ),
            hints=_ways_out(cycle, equations),
        )
    )


def _ways_out(cycle: list[str], equations: list[tree.Equation]) -> tuple[str, ...]:
    """How to break a cycle; where `prev` is in it already, a stated shape does."""
    for equation in equations:
        for part in tree.walk(equation.value):
            if isinstance(part, tree.Call) and part.function == "prev":
                name = part.args[0]
                if isinstance(name, tree.Name) and name.name in cycle:
                    return (f"the shape of `{name.name}` depends on itself; state it: "
                            f"`{name.name}[H] = …`",)  # fmt: skip
    return ("a value of the step before is a state without a prime, or `prev(v)`",)
