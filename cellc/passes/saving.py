"""Save or recompute: which values of a cell its derivative reads, and which it computes anew.

The choice is a cut through the graph from the inputs to the values that the derivative
reads, of the fewest bytes. What is recomputed is recomputed for the whole sequence at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import networkx as nx

from cellc.diagnostics import fail
from cellc.ir import BATCH, NOWHERE, Cell, Node, Result, reached
from cellc.ops import TABLE
from cellc.passes.dce import Dce
from cellc.passes.derivative import Derivative
from cellc.passes.edit import in_order
from cellc.passes.loops import loops_of
from cellc.passes.sizes import SIZE, estimated_size

#: What each mode never computes twice: the least number of operations of an elementwise op,
#: and whether products are among what is not.
MODES = {"low": (1000, False), "balanced": (1000, True), "fast": (2, True)}

#: The sizes for which bytes are weighed: of every dimension, of the batch, and of steps.
_BATCH, _STEPS = 16, 100

#: What a value costs that the caller has as an output anyway.
_HELD = 0.1


def saved_values(cell: Cell, joint: Derivative, memory: str = "balanced") -> tuple[str, ...]:
    """The values of a cell that are kept for its derivative, in order.

    ``low`` keeps states only and recomputes everything else, ``balanced`` keeps what a
    product would have to recompute, ``fast`` keeps all that costs more than one operation.
    Raises CellcError ``unknown-memory``.
    """
    if memory not in MODES:
        known = ", ".join(f"`{name}`" for name in MODES)
        fail("unknown-memory", f"there is no mode `{memory}`", hints=(f"known: {known}",))
    nodes = joint.cell.nodes
    read = {a for n, node in nodes.items() if n not in cell.nodes for a in node.args}
    read |= {r.value for r in joint.cell.results if r.role != "next"}
    read &= set(cell.nodes)
    graph = _graph(cell, read, memory)
    if graph is None:
        return ()
    _, (far, near) = nx.minimum_cut(graph, "source", "sink")
    cut = {name for name in cell.nodes if (name, 0) in far and (name, 1) in near}
    return tuple(name for name, node in cell.nodes.items() if name in cut and not node.op.leaf)


def _graph(cell: Cell, read: set[str], memory: str) -> nx.DiGraph[object] | None:
    """The flow network: a value is an edge that costs what keeping the value costs.

    Of cuts that cost the same, networkx gives the one nearest to what is read.
    """
    graph: nx.DiGraph[object] = nx.DiGraph()
    nexts = cell.values("next")
    kept = set(_never_recomputed(cell, memory))
    fleeting = _numbers(cell) | _of_starts(cell)
    pending, seen = list(read), set(read)
    while pending:
        name = pending.pop()
        node = cell.nodes[name]
        operands = [nexts[name]] if node.op.name == "state" else list(node.args)
        cost = float("inf") if name in fleeting and node.args else _cost(cell, name, memory)
        graph.add_edge((name, 0), (name, 1), capacity=cost)
        if name in read:
            graph.add_edge((name, 1), "sink")
        if (name in kept and name not in fleeting) or not operands:
            graph.add_edge("source", (name, 0))
        for operand in operands:
            graph.add_edge((operand, 1), (name, 0))
        new = set(operands) - seen
        seen |= new
        pending += new
    return graph if "source" in graph and "sink" in graph else None


def _numbers(cell: Cell) -> set[str]:
    """What is made of numbers of the spec and of the constructor only: no need to keep it."""
    found: set[str] = set()
    for name, node in cell.nodes.items():
        known = node.args and found.issuperset(node.args)
        if not node.type.shape and (known or node.op.name in ("const", "option", "size")):
            found.add(name)
    return found


def _of_starts(cell: Cell) -> set[str]:
    """What only the starts of states need: a call that is given a state does not compute it."""
    called = [r.value for r in cell.results if r.role in ("output", "next")]
    return set(cell.nodes) - reached(cell.nodes, called)


def _never_recomputed(cell: Cell, memory: str) -> Iterator[str]:
    """Next values that loops compute, and what the mode holds too dear."""
    most, products = MODES[memory]
    looped = loops_of(cell)
    nexts = (v for s, v in cell.values("next").items() if s in looped)
    yield from (v for v in nexts if cell.nodes[v].op.name != "state")
    for name, node in cell.nodes.items():
        op = TABLE[node.op.name]
        dear = op.flops >= most or (op.kind == "reduction" and most < SIZE)
        if products and (op.kind == "contraction" or dear):
            yield name


def _cost(cell: Cell, name: str, memory: str) -> float:
    """How much memory it takes to keep a value, in numbers per step."""
    node = cell.nodes[name]
    if node.op.leaf:
        return _infinite(node)
    size = estimated_size(cell, name)
    if node.type.extent == NOWHERE:
        return size / (_STEPS * _BATCH) if memory == "low" else 0.0
    if node.type.extent == {BATCH}:
        return size / _STEPS
    return size * (_HELD if name in cell.values("output").values() else 1)


def _infinite(node: Node) -> float:
    """What is given costs nothing; a state is not kept but shifted from its next value."""
    return float("inf") if node.op.name == "state" else 0.0


def derived_cell(cell: Cell, joint: Derivative, saved: tuple[str, ...]) -> Cell:
    """The derivative as a cell of its own, with the saved values as inputs."""
    nodes = dict(joint.cell.nodes)
    leaf = TABLE["input"]
    for name in saved:
        nodes[name] = replace(nodes[name], op=leaf, args=(), attrs=(("saved", True),))
    results = [r for r in joint.cell.results if r.role != "next" or r.name not in cell.states]
    nexts = cell.values("next")
    leaves = [*joint.states.values(), *joint.outputs.values()]
    needed = reached(nodes, [*(r.value for r in results), *leaves])
    while missing := [s for s in cell.states if s in needed and nexts[s] not in needed]:
        needed |= reached(nodes, [nexts[state] for state in missing])
    results += [Result("next", s, v) for s, v in nexts.items() if s in needed]
    kept = {name: node for name, node in in_order(nodes).items() if name in needed}
    return Dce().run(joint.cell.replace(kept, results))
