"""A cell back in the language: its equations as text, from the IR."""

from __future__ import annotations

import re

from cellc.ir import Cell, reached
from cellc.ops import TABLE
from cellc.ops.op import CALL, SUM

_DELAY = re.compile(r"prev_(.+)_(\d+)")


def equations_of(cell: Cell) -> dict[str, str]:
    """The right side of each named value, by name, in the language.

    Values without a name are written inside those that use them; a value the passes
    made, such as a stacked product, appears under its number when it is used twice.
    """
    initial = _only_initial(cell)
    named = [
        name
        for name, node in cell.nodes.items()
        if not node.op.leaf and not _is_inline(cell, name) and name not in initial
    ]
    named += [n for n, node in cell.nodes.items() if node.op.name == "const" and not n.isdigit()]
    return {name: _write(cell, name, 0, top=True) for name in named}


def expression_of(cell: Cell, name: str) -> str:
    """A value in the language: its name, or the expression that it is where it has none."""
    return _write(cell, name, 0, top=name.isdigit())


def equation_of(cell: Cell, name: str) -> str:
    """The right side of a value's equation in the language."""
    return _write(cell, name, 0, top=True)


def initial_value_of(cell: Cell, param: str) -> str:
    """What a parameter is initialised with, in the language."""
    return _write(cell, cell.values("initial")[param], 0, top=True)


def _only_initial(cell: Cell) -> set[str]:
    """Nodes that only initial values need."""
    ends = (r.value for r in cell.results if r.role != "initial")
    return set(cell.nodes) - reached(cell.nodes, ends)


def _is_inline(cell: Cell, name: str) -> bool:
    node = cell.nodes[name]
    small = node.op.name == "concat" or not (node.type.shape or node.type.extent)
    return name.isdigit() and (cell.uses[name] < 2 or small)


def _write(cell: Cell, name: str, outer: int, top: bool = False) -> str:
    node = cell.nodes[name]
    if node.op.name == "const" and (top or name.isdigit()):
        return f"{node.attr('value'):g}"
    if node.op.name == "size":
        return str(node.attr("dim"))
    if node.op.name == "state" and (delayed := _DELAY.fullmatch(name)):
        source, lag = delayed.groups()
        return f"prev({source})" if lag == "1" else f"prev({source}, {lag})"
    if node.op.leaf or not (top or (name.isdigit() and (_is_inline(cell, name) or not node.args))):
        return name if not name.isdigit() else f"%{name}"
    op = TABLE[node.op.name]
    if op.name == "concat":
        return f"[{', '.join(_write(cell, a, 0) for a in node.args)}]"
    if op.name == "slice":
        start, stop = node.attr("start"), node.attr("stop")
        return f"{_write(cell, node.args[0], CALL)}[{start}:{stop}]"
    if op.name == "at":
        return f"{_write(cell, node.args[0], CALL)}[{node.attr('index')}]"
    if op.name == "window":
        return f"window({_write(cell, node.args[0], 0)}, {node.attr('width')})"
    names = op.operand_names(len(node.args))
    if not op.notation:
        return f"{_function(op.name)}({', '.join(_write(cell, a, 0) for a in node.args)})"
    text = op.notation
    for position, (placeholder, argument) in enumerate(zip(names, node.args, strict=True)):
        tighter = (position > 0 and not op.associative) or (
            op.precedence not in (SUM,)
            and (cell.nodes[argument].op is node.op and not op.associative)
        )
        text = text.replace(
            f"${placeholder}", _write(cell, argument, op.precedence + (1 if tighter else 0))
        )
    return f"({text})" if op.precedence < outer else text


def _function(name: str) -> str:
    return {"maximum": "max", "minimum": "min"}.get(name, name)
