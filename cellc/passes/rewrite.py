"""Applies rules of the form ``before => after``, written in the language, to a fixpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from cellc.ir import Cell, TypeMismatch
from cellc.ops import find
from cellc.passes.bounds import least
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, spans_of
from cellc.passes.loops import loops_of
from cellc.syntax import tree
from cellc.syntax.parse import parse_rule


@dataclass(frozen=True)
class Firing:
    """A rule that was applied, and the value it was applied to."""

    rule: str
    value: str


def _is_product(function: str) -> bool:
    op = find(function)
    return op is not None and op.kind == "contraction"


Bindings = dict[tree.Expression, str]


def rewrite(
    cell: Cell, rules: Sequence[str], combining: bool = False, saving: bool = False
) -> tuple[Cell, list[Firing]]:
    """The cell rewritten until no rule applies, and the log of what fired where.

    With ``saving`` a rule applies only where it costs no operation: what it joins may be used
    elsewhere as well, have fewer elements, or be known before the loop that it is used in.
    With ``combining`` a rule applies only where all operations that it joins are in one
    loop, or all in none, and every name in it stands for a value of the result's shape.
    What is computed once per call or sequence is not joined with what each step computes.
    """
    log: list[Firing] = []
    while True:
        step = _Sweep(cell, rules, combining, saving)
        changed = Dce().run(step.run())
        log += step.log
        if not step.log:
            return cell, log
        cell = changed


@cache
def _parsed(rules: tuple[str, ...]) -> dict[str, list[tuple[str, tree.Rule]]]:
    """Rules by the op at the root of their left side."""
    table: dict[str, list[tuple[str, tree.Rule]]] = {}
    for text in rules:
        rule = parse_rule(text)
        assert isinstance(rule.before, tree.Call)
        op = find(rule.before.function)
        assert op is not None, f"the rule {text!r} names no op"
        table.setdefault(op.name, []).append((text, rule))
    return table


def _flops(expression: tree.Expression) -> int:
    """The operations of an expression, for each element."""
    if not isinstance(expression, tree.Call):
        return 0
    return _flops_of(expression) + sum(map(_flops, expression.args))


def _flops_of(call: tree.Call) -> int:
    op = find(call.function)
    assert op is not None, f"{call.function} is no op"
    return op.flops


class _Sweep:
    """One pass over all nodes, operands first."""

    def __init__(self, cell: Cell, rules: Sequence[str], combining: bool, saving: bool) -> None:
        self.edit, self.uses = Edit(cell), cell.uses
        self.rules = _parsed(tuple(rules))
        self.combining, self.saving = combining, saving
        self.loops = loops_of(cell) if combining or saving else {}
        self.log: list[Firing] = []

    def run(self) -> Cell:
        for name in self.edit.cell.nodes:
            self.edit.keep(name)
            for text, rule in self.rules.get(self.edit.nodes[name].op.name, ()):
                if self._apply(rule, name):
                    self.log.append(Firing(text, name))
                    break
        return self.edit.finish()

    def _apply(self, rule: tree.Rule, name: str) -> bool:
        for bindings in self._matches(rule.before, name, {}):
            if self._permitted(rule, name, bindings):
                return self._replace(rule, name, bindings)
        return False

    def _permitted(self, rule: tree.Rule, name: str, bindings: Bindings) -> bool:
        if rule.unshared is not None and self.uses.get(bindings[rule.unshared], 2) > 1:
            return False
        if rule.bound is not None and not self._holds(rule.bound, bindings):
            return False
        if self.saving and self._saved(rule.before, name, bindings) < _flops(rule.after):
            return False
        if not self.combining:
            return True
        joined = [node for part, node in bindings.items() if isinstance(part, tree.Call)]
        if any(self.loops.get(node) != self.loops.get(name) for node in joined):
            return False
        if any(self._held(node, name) for node in joined):
            return False
        shape = self.edit.nodes[name].type.shape
        named = [node for part, node in bindings.items() if isinstance(part, tree.Name)]
        products = [
            part for part in bindings if isinstance(part, tree.Call) and _is_product(part.function)
        ]
        operands = {bindings[operand] for part in products for operand in part.args[:2]}
        return all(
            self.edit.nodes[node].type.shape == shape for node in named if node not in operands
        )

    def _holds(self, bound: tree.Expression, bindings: Bindings) -> bool:
        """Whether a condition such as ``a >= 0`` is known to hold."""
        assert isinstance(bound, tree.Call), "a condition is a comparison"
        assert bound.function == "greater_equal", "what is known is a lower bound"
        value, number = bound.args
        assert isinstance(number, tree.Number)
        known = least(self.edit.nodes, bindings[value])
        return known is not None and known >= number.value

    def _saved(self, pattern: tree.Expression, root: str, bindings: Bindings) -> int:
        """The operations that are no longer needed for each element of the root."""
        if not isinstance(pattern, tree.Call):
            return 0
        name = bindings[pattern]
        node, like = self.edit.nodes[name], self.edit.nodes[root]
        if name != root and self.uses.get(name, 2) > 1:
            return 0
        same = self.loops.get(name) == self.loops.get(root) and node.type.extent == like.type.extent
        own = _flops_of(pattern) if same and node.type.shape == like.type.shape else 0
        return own + sum(self._saved(part, root, bindings) for part in pattern.args)

    def _held(self, part: str, whole: str) -> bool:
        """Whether a value is computed less often than what it would be joined with."""
        nodes = self.edit.nodes
        return nodes[part].type.extent < nodes[whole].type.extent

    def _replace(self, rule: tree.Rule, name: str, bindings: Bindings) -> bool:
        edit, old = self.edit, self.edit.nodes[name]
        spans = old.spans | spans_of(edit.nodes, (n for p, n in bindings.items()
                                                  if isinstance(p, tree.Call)))  # fmt: skip
        before = set(edit.nodes)
        try:
            value = self._build(rule.after, bindings, spans)
        except TypeMismatch:
            value = ""
        new = edit.nodes.get(value)
        if new is None or new.type.shape != old.type.shape or new.type.dtype != old.type.dtype:
            for leftover in set(edit.nodes) - before:
                del edit.nodes[leftover]
            return False
        if value in before:
            edit.stand_ins[name] = value
            del edit.nodes[name]
        else:
            edit.nodes[name] = edit.nodes.pop(value)
        return True

    def _build(
        self, expression: tree.Expression, bindings: Bindings, spans: frozenset[object]
    ) -> str:
        match expression:
            case tree.Name():
                return bindings[expression]
            case tree.Number():
                return self.edit.constant(expression.value)
            case _:
                assert isinstance(expression, tree.Call)
                args = [self._build(argument, bindings, spans) for argument in expression.args]
                op = find(expression.function)
                assert op is not None
                return self.edit.add(op.name, args, spans)  # type: ignore[arg-type]

    def _matches(self, pattern: tree.Expression, name: str, bound: Bindings) -> list[Bindings]:
        """All ways in which a node matches a pattern, given what is bound already."""
        node = self.edit.nodes[name]
        match pattern:
            case tree.Number():
                same = node.op.name == "const" and node.attr("value") == pattern.value
                return [bound] if same else []
            case tree.Name():
                fits = bound.get(pattern, name) == name
                return [{**bound, pattern: name}] if fits else []
            case _:
                assert isinstance(pattern, tree.Call)
                op = find(pattern.function)
                if node.op is not op or len(node.args) != len(pattern.args):
                    return []
                orders = [node.args]
                if node.op.commutative and node.args[0] != node.args[1]:
                    orders.append(node.args[::-1])
                return [
                    {**found, pattern: name}
                    for order in orders
                    for found in self._match_all(pattern.args, order, bound)
                ]

    def _match_all(
        self, patterns: tuple[tree.Expression, ...], names: tuple[str, ...], bound: Bindings
    ) -> list[Bindings]:
        found = [bound]
        for pattern, name in zip(patterns, names, strict=True):
            found = [more for so_far in found for more in self._matches(pattern, name, so_far)]
        return found
