"""Products of emitted NumPy code in the form that BLAS runs fastest.

A product ``v @ W.T`` over a sequence would be one small product for each step; as rows of
one matrix it is one large product. In a loop the weight is turned once before it: for many
sequences BLAS reads a contiguous Wᵀ faster than W through its strides, and for one, where
turning costs more than it saves, it stays a view.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from cellc.backends import pyast
from cellc.backends.pyast import Item, Line, quote

TURNED = '''
def turned(w, batch):
    """A weight transposed; for many sequences in the order that BLAS multiplies fastest."""
    return w.T if batch == 1 else np.ascontiguousarray(w.T)
'''

PRODUCT = '''
def product(v, w):
    """The product w·v for all sequences and steps in one."""
    return (v.reshape(-1, v.shape[-1]) @ w.T).reshape(*v.shape[:-1], len(w))
'''


def turn(items: Iterable[Item]) -> list[Line]:
    """Let the products of a loop's statements read turned weights; what turns them before it."""
    turner = _Turner()
    for item in items:
        if isinstance(item, Line):
            turner.visit(item.statement)
    return list(turner.lines.values())


def widen(items: Iterable[Item]) -> bool:
    """Let the products of statements over sequences take all steps as rows; whether any does."""
    widener = _Widener()
    for item in items:
        if isinstance(item, Line):
            widener.visit(item.statement)
    return widener.found


def _turnable(node: ast.BinOp) -> ast.expr | None:
    """The weight W of a product ``v @ W.T`` with a weight that has a name."""
    right = node.right
    if not (isinstance(node.op, ast.MatMult) and isinstance(right, ast.Attribute)):
        return None
    return right.value if right.attr == "T" else None


class _Turner(ast.NodeTransformer):
    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        weight = _turnable(node)
        stem = None if weight is None else _stem(weight)
        if weight is None or stem is None:
            return node
        name = f"{stem}_T"
        self.lines[name] = Line(pyast.assign(name, quote("turned(w, batch)", w=weight)))
        return quote("v.dot(w)", v=node.left, w=name)


class _Widener(ast.NodeTransformer):
    found = False

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        weight = _turnable(node)
        if weight is None:
            return node
        self.found = True
        return quote("product(v, w)", v=node.left, w=weight)


def _stem(weight: ast.expr) -> str | None:
    """The name of a weight: ``W`` of ``W`` and of ``p['W']``."""
    if isinstance(weight, ast.Name):
        return weight.id
    if isinstance(weight, ast.Subscript) and isinstance(weight.slice, ast.Constant):
        return str(weight.slice.value)
    return None
