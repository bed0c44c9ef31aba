"""The form of a loop's Jacobian, and how many products one step must do in a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import networkx as nx

from cellc.ir import Cell, Dim, Node
from cellc.ir.schedule import Recurrence
from cellc.ops import TABLE
from cellc.ops.blocks import copies_of


class Form(IntEnum):
    """How a value depends on the states of a loop, from the simplest form on."""

    NONE = 0
    DIAGONAL_AFFINE = 1
    DIAGONAL = 2
    BLOCK = 3
    DENSE = 4


_NAMES: dict[Form, Recurrence] = {
    Form.NONE: "diagonal affine",
    Form.DIAGONAL_AFFINE: "diagonal affine",
    Form.DIAGONAL: "diagonal",
    Form.BLOCK: "block",
    Form.DENSE: "dense",
}


@dataclass(frozen=True)
class Dependence:
    """The form of a value's dependence.

    In a value of the form BLOCK the units of each of ``blocks`` equal parts depend on
    those of the same part of every state; ``copies`` such values may stand one behind
    the other.
    """

    form: Form
    blocks: Dim | None = None
    copies: int = 1


_DENSE = Dependence(Form.DENSE)


def recurrence_of(cell: Cell, members: Iterable[str], states: Iterable[str]) -> Recurrence:
    """The form of ∂(next)/∂(state) over the members of one loop.

    Dense: units mix, through a product or a reduction. Block: only within blocks that
    are the same for all states. Diagonal: each unit depends on itself alone. Diagonal
    affine: linearly so, which a parallel scan could compute.
    """
    states = set(states)
    inside = set(members)
    found: dict[str, Dependence] = {}
    for name in cell.nodes:
        if name in states:
            found[name] = Dependence(Form.DIAGONAL_AFFINE)
        elif name in inside:
            found[name] = _through(cell, name, found)
    nexts = cell.values("next")
    ends = [found[nexts[state]] for state in states if nexts[state] in found]
    blocks = {end.blocks for end in ends if end.form == Form.BLOCK}
    if len(blocks) > 1 or any(end.copies > 1 for end in ends):
        return "dense"
    return _NAMES[max((end.form for end in ends), default=Form.NONE)]


def _through(cell: Cell, name: str, found: dict[str, Dependence]) -> Dependence:
    node = cell.nodes[name]
    depends = {
        slot: found[argument]
        for slot, argument in enumerate(node.args)
        if argument in found and found[argument].form != Form.NONE
    }
    if not depends:
        return Dependence(Form.NONE)
    op = TABLE[node.op.name]
    if op.name == "block_matmul":
        return _by_blocks(cell, node, depends)
    if op.name == "slice":
        return _part(cell, node, depends[0])
    if op.kind != "elementwise":
        return _DENSE
    if any(cell.nodes[node.args[slot]].type.shape != node.type.shape for slot in depends):
        return _DENSE
    return _together(depends, any(depends.keys() <= slots for slots in op.linear))


def _together(depends: dict[int, Dependence], linear: bool) -> Dependence:
    """The dependence of an elementwise operation on values of one shape."""
    forms = [each.form for each in depends.values()]
    layouts = {(d.blocks, d.copies) for d in depends.values() if d.form == Form.BLOCK}
    if Form.DENSE in forms or len(layouts) > 1:
        return _DENSE
    if layouts:
        ((blocks, copies),) = layouts
        alone = all(form == Form.BLOCK for form in forms)
        return Dependence(Form.BLOCK, blocks, copies) if copies == 1 or alone else _DENSE
    return Dependence(max(*forms, Form.DIAGONAL_AFFINE if linear else Form.DIAGONAL))


def _by_blocks(cell: Cell, node: Node, depends: dict[int, Dependence]) -> Dependence:
    """A block-diagonal product keeps blocks where its vector has the same ones, or finer."""
    vector = depends.get(1)
    copies = copies_of(dict(node.attrs))
    blocks = cell.nodes[node.args[0]].type.shape[0] / copies
    if vector is None or 0 in depends or vector.form == Form.DENSE or vector.copies > 1:
        return _DENSE
    if vector.form == Form.BLOCK and vector.blocks != blocks:
        return _DENSE
    return Dependence(Form.BLOCK, blocks, copies)


def _part(cell: Cell, node: Node, whole: Dependence) -> Dependence:
    """Whole copies out of several that stand one behind the other keep their blocks."""
    if whole.form != Form.BLOCK:
        return _DENSE
    size = cell.nodes[node.args[0]].type.shape[0] / whole.copies
    edges: dict[object, int] = {size * count: count for count in range(whole.copies + 1)}
    start, stop = edges.get(node.attr("start")), edges.get(node.attr("stop"))
    if start is None or stop is None:
        return _DENSE
    return Dependence(Form.BLOCK, whole.blocks, stop - start)


def sequential_depth(cell: Cell, members: Iterable[str]) -> int:
    """The number of matrix products on the longest path within one step of a loop."""
    graph = cell.graph.subgraph(members)
    depth: dict[str, int] = {}
    for name in nx.topological_sort(graph):
        product = TABLE[cell.nodes[name].op.name].kind == "contraction"
        before = max((depth[operand] for operand in graph.predecessors(name)), default=0)
        depth[name] = before + product
    return max(depth.values(), default=0)
