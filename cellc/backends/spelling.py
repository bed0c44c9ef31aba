"""How a backend writes an op: its own table, the op's entry, the canonical one, else expanded."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cellc.backends.pyast import fill, literal, quote
from cellc.diagnostics import fail
from cellc.ir import Dim, Node, Type
from cellc.ops import TABLE, Op, find
from cellc.ops.op import Spelling
from cellc.syntax import tree
from cellc.syntax.parse import parse_expression


@dataclass(frozen=True)
class Speller:
    """Writes ops for one backend.

    ``module`` is the array module that ``xp`` stands for; ``own`` holds spellings of
    the backend's own, by op. ``mode`` says whether the cell is being trained.
    """

    backend: str
    module: str
    own: Mapping[str, Spelling] = field(default_factory=dict)
    mode: str = "self.training"

    def spelling(self, node: Node, types: Sequence[Type]) -> ast.expr:
        """The expression for a node, operands as plain names (``a``, ``b``, ``a0``, …)."""
        op = TABLE[node.op.name]
        found = self._text(op)
        if found:
            text = found if isinstance(found, str) else found(node, types)
            return quote(text, xp=self.module)
        if op.expansion:
            return self._expand(parse_expression(op.expansion))
        fail(
            "missing-spelling",
            f"the backend `{self.backend}` cannot write the op `{op.name}`",
            hints=(
                f"give the op a spelling where it is defined (cellc/ops), under "
                f"`spellings['{self.backend}']`",
                f"or the backend one of its own (cellc/backends/{self.backend}.py)",
            ),
        )

    def number(self, node: Node) -> ast.expr | None:
        """The expression for a node whose operands are Python numbers, if there is one."""
        op = TABLE[node.op.name]
        text = op.spellings.get("number", op.spelling)
        if op.kind != "elementwise" or not isinstance(text, str) or not text:
            return None
        parsed = quote(text, xp="math", training=quote(self.mode))
        for part in ast.walk(parsed):
            if isinstance(part, ast.Call):
                function = part.func
                if not (isinstance(function, ast.Attribute) and hasattr(math, function.attr)):
                    return None
        return parsed

    def helper(self, node: Node) -> str | None:
        """The definition that the spelling calls, where it needs one."""
        op = TABLE[node.op.name]
        return None if op.name in self.own else op.helpers.get(self.backend)

    def _text(self, op: Op) -> Spelling:
        return self.own.get(op.name) or op.spellings.get(self.backend) or op.spelling

    def _expand(self, expression: tree.Expression) -> ast.expr:
        match expression:
            case tree.Number():
                return literal(expression.value)
            case tree.Name():
                return ast.Name(expression.name, ast.Load())
            case _:
                assert isinstance(expression, tree.Call)
                op = find(expression.function)
                assert op is not None
                args = [self._expand(argument) for argument in expression.args]
                names = op.operand_names(len(args))
                scalar = Type((), frozenset())
                inner = self.spelling(
                    Node(op, (), scalar), [Type((Dim.of(1),), frozenset())] * len(args)
                )
                return fill(inner, **dict(zip(names, args, strict=True)))


def dimension(dim: Dim) -> ast.expr:
    """A dimension as an expression over its names, with whole-number division."""
    text = str(dim).replace("^", "**").replace("/", "//")
    return ast.parse(text, mode="eval").body


def call_arguments(template: ast.expr) -> set[str]:
    """The placeholders that stand as arguments of calls."""
    found: set[str] = set()
    for part in ast.walk(template):
        if isinstance(part, ast.Call):
            found.update(a.id for a in part.args if isinstance(a, ast.Name))
            tuples = [a for a in part.args if isinstance(a, ast.Tuple)]
            found.update(e.id for t in tuples for e in t.elts if isinstance(e, ast.Name))
    return found
