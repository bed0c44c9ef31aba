"""The invariants of a cell, stated once. They are checked after every pass in tests."""

from __future__ import annotations

from collections import Counter

from cellc.diagnostics import CellcError, Diagnostic
from cellc.ir.cell import Cell
from cellc.ir.node import Node
from cellc.ir.types import BATCH, TypeMismatch


def verify(cell: Cell) -> None:
    """Raise CellcError ``bad-ir`` with everything that is wrong with a cell.

    Operands precede their users, every op has as many operands as it takes and the type
    it infers from them, every state has exactly one next value of its shape, every
    result names a node, and there is an output or, of a derivative, a sum.
    """
    faults = [*_node_faults(cell), *_result_faults(cell)]
    if faults:
        raise CellcError(*(Diagnostic("bad-ir", f"{cell.name}: {fault}") for fault in faults))


def _node_faults(cell: Cell) -> list[str]:
    faults: list[str] = []
    seen: set[str] = set()
    for name, node in cell.nodes.items():
        missing = [argument for argument in node.args if argument not in seen]
        seen.add(name)
        if missing:
            faults.append(f"%{name} uses %{missing[0]}, which does not precede it")
        elif not node.op.accepts(len(node.args)):
            faults.append(f"%{name}: {node.op.name} does not take {len(node.args)} operands")
        elif len(node.type.extent - {BATCH}) > 1:
            faults.append(f"%{name} is a sequence along two axes: {node.type}")
        elif not node.op.leaf:
            faults += _type_faults(cell, name, node)
    return faults


def _type_faults(cell: Cell, name: str, node: Node) -> list[str]:
    try:
        inferred = node.op.infer([cell.nodes[a].type for a in node.args], dict(node.attrs))
    except TypeMismatch as mismatch:
        return [f"%{name}: {mismatch.message}"]
    if inferred != node.type:
        return [f"%{name} has the type {node.type} where {inferred} is inferred"]
    return []


def _result_faults(cell: Cell) -> list[str]:
    faults = [f"{r.role} {r.name} names no node" for r in cell.results if r.value not in cell.nodes]
    if faults:
        return faults
    seen = Counter((r.role, r.name) for r in cell.results)
    faults += [f"{role} {name} is given twice" for (role, name), n in seen.items() if n > 1]
    nexts = [r.name for r in cell.results if r.role == "next"]
    if sorted(nexts) != sorted(cell.leaves("state")):
        faults.append("states and next values do not match one to one")
    for result in cell.results:
        if result.role in ("next", "start") and result.name in cell.nodes:
            have, want = cell.nodes[result.value].type, cell.nodes[result.name].type
            if have.shape != want.shape and not (result.role == "start" and not have.shape):
                faults.append(f"{result.role} {result.name} has the shape of {have}, not {want}")
            within = want.extent if result.role == "next" else {BATCH}
            if not have.extent <= within:
                faults.append(f"{result.role} {result.name} varies too much: {have}")
    if not (cell.values("output") or cell.values("sum")):
        faults.append("the cell has no output")
    return faults
