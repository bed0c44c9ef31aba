"""Values of a step that no kernel computes: torch does, of what kernels have put in place."""

from __future__ import annotations

import ast

from cellc.backends import pyast
from cellc.backends.native.places import size_of
from cellc.backends.pyast import Item, Line, fill, quote, quote_statements
from cellc.backends.regions import aligned
from cellc.backends.torch_emitter import SPELLER as TORCH
from cellc.backends.triton.stepwise import buffer
from cellc.backends.triton.values import LoopValues, text_of
from cellc.ir import NOWHERE
from cellc.ops import TABLE


def alone(loop: LoopValues, name: str) -> Item:
    """The statement that computes a value in its place."""
    node = loop.cell.nodes[name]
    types = [loop.cell.nodes[argument].type for argument in node.args]
    found: dict[str, pyast.Binding] = {key: loop.attribute(value) for key, value in node.attrs}
    found["training"] = quote("m.flags['TRAINING']")
    names = TABLE[node.op.name].operand_names(len(node.args))
    for placeholder, operand, type_ in zip(names, node.args, types, strict=True):
        value = _in_place(loop, operand)
        if TABLE[node.op.name].kind == "elementwise":
            value = aligned(value, type_.shape, node.type.shape, bool(type_.extent))
        found[placeholder] = value
    helper = TORCH.helper(node)
    loop.helpers |= {node.op.name: helper} if helper else {}
    text = f"m.{buffer(loop, name, 'local')}.copy_((v).reshape(m.batch, -1))"
    statement = quote_statements(text, v=fill(TORCH.spelling(node, types), **found))[0]
    return Line(statement, loop.comment(name))


def _in_place(loop: LoopValues, name: str) -> ast.expr:
    """What torch reads, in its shape."""
    number = loop.number(name)
    if number is not None:
        return quote("torch.full((), v, dtype=m.wide, device=m.like.device)", v=number)
    shape = [text_of(dim) for dim in loop.cell.nodes[name].type.shape]
    piece, size = loop.step.piece(name), size_of(loop.cell.nodes[name])
    varies = loop.cell.nodes[piece.value].type.extent != NOWHERE
    whole = f"m.{buffer(loop, piece.value, 'local' if varies else 'constant')}"
    if size != size_of(loop.cell.nodes[piece.value]):
        start, end = text_of(piece.start), text_of(piece.start + size)
        whole += f"[{':, ' if varies else ''}{start}:{end}]"
    return quote(f"{whole}.reshape(({', '.join([*(['m.batch'] if varies else []), *shape, ''])}))")
