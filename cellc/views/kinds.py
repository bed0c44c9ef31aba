"""What sets some things of a gate diagram apart from others that look alike.

``time``: what follows from a clock alone, as the openness of a Phased LSTM; ``norm``: what
brings numbers to one scale; ``chance``: what is drawn anew while training. All of it follows
from the ops and the graph.
"""

from __future__ import annotations

import networkx as nx

from cellc.ir import TIME, Cell
from cellc.ops import TABLE


def kind_of(cell: Cell, name: str) -> str:
    """The kind of a value: ``time``, ``norm``, ``chance`` or empty."""
    node = cell.nodes[name]
    op = TABLE[node.op.name]
    if op.leaf:
        return ""
    sources = [cell.nodes[argument] for argument in node.args]
    if any(source.op.name == "draw" for source in sources):
        return "chance"
    if op.kind == "reduction" and node.type.shape == sources[0].type.shape:
        return "norm"
    return "time" if op.kind == "elementwise" and _is_of_time(cell, name) else ""


def _is_of_time(cell: Cell, name: str) -> bool:
    """Whether a value varies in time, and with nothing but single numbers given to the cell."""
    if TIME not in cell.nodes[name].type.extent:
        return False
    before = nx.ancestors(cell.graph, name)
    if any(TABLE[cell.nodes[each].op.name].kind in ("contraction", "sequence") for each in before):
        return False
    varying = [cell.nodes[each] for each in before if cell.nodes[each].type.extent]
    leaves = [node for node in varying if TABLE[node.op.name].leaf]
    return bool(leaves) and all(node.op.name == "input" and not node.type.shape for node in leaves)
