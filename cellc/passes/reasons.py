"""Why a recurrence is of its class, in words that name the value and its line of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from cellc.diagnostics import Span
from cellc.ir import Cell, Dim, reached
from cellc.ops import TABLE
from cellc.ops.notation import equation_of, expression_of
from cellc.passes.parts import Dependence, Part

_MOST_NAMED = 4  # names in a row; of more the first are named
_LONGEST = 60  # characters of an expression that is shown whole


@dataclass(frozen=True)
class Teller:
    """Knows one loop: its members, and how the next value of each state depends on the states."""

    cell: Cell
    inside: Set[str]
    ends: Mapping[str, Dependence]

    def affine(self) -> str:
        """Why it is diagonal affine."""
        states = [*map(self._shown, self.ends)]
        nexts = [*map(self._next, self.ends)]
        if len(states) == 1:
            return f"{nexts[0]} = a*{states[0]} + b, where a and b are known before the loop"
        return f"{_listed(nexts)} are sums of {_listed(states)} times what is known before the loop"

    def bent(self, name: str) -> str:
        """Why it is diagonal but not affine: a value is not linear in the states."""
        return f"{self._told(name)} is not linear in {self._states_of(name)}{self._place(name)}"

    def blocks(self, count: Dim) -> str:
        """Why it is no simpler than block."""
        culprit = self._culprit(complete=False)
        if culprit is None:
            return f"units meet others of their own group, one of {count}"
        state, name = culprit
        node = self.cell.nodes[name]
        start = f"{self._next(state)} depends on {self._states_of(name)} through"
        if node.op.name == "block_matmul":
            weights = self._weights(node.args[0])
            several = "weights" if len(weights) > 1 else "weight"
            words = f"{start} the block-diagonal {several} {_listed(weights)} with {count} blocks"
        else:
            words = f"{start} {self._told(name)}, within each of {count} groups"
        return words + self._place(name)

    def dense(self) -> str:
        """Why it is dense."""
        culprit = self._culprit(complete=True) or self._culprit(complete=False)
        if culprit is None:
            return f"{_listed([*map(self._shown, self.ends)])} do not fit unit by unit"
        state, name = culprit
        node = self.cell.nodes[name]
        kind = TABLE[node.op.name].kind
        operands = node.args[:2] if kind == "contraction" else node.args  # not what is added
        start = f"{self._next(state)} depends on {self._states_of(*operands)} through"
        if kind == "contraction":
            words = f"{start} the product {self._product(name)}"
        elif kind == "reduction":
            words = f"{start} {self._told(name)}, which runs over all units"
        else:
            words = f"{start} {self._told(name)}, where units of different places meet"
        return words + self._place(name)

    def _culprit(self, complete: bool) -> tuple[str, str] | None:
        """A state whose next value is mixed, wholly where ``complete``, and by which value."""

        def guilty(part: Part) -> bool:
            if part.along is None or not part.mixed:
                return False
            return not (complete and any(place is not None for place in part.along))

        for state, parts in self.ends.items():
            for part in parts:
                if guilty(part):
                    return state, part.mixed
        return None

    def _states_of(self, *names: str) -> str:
        """The states that some values depend on within the step."""
        found: set[str] = set()
        pending = [*names]
        while pending:
            value = pending.pop()
            if value in self.inside and value not in found:
                found.add(value)
                pending.extend(self.cell.nodes[value].args)
        return _listed([self._shown(state) for state in self.ends if state in found])

    def _next(self, state: str) -> str:
        """What the next value of a state is called."""
        value = self.cell.values("next")[state]
        return f"{state}'" if value.isdigit() else value

    def _shown(self, name: str) -> str:
        text = expression_of(self.cell, name)
        return text if len(text) <= _LONGEST else "…"

    def _told(self, name: str) -> str:
        """A value with its equation, where that is short: ``f = sigmoid(W·x + v*c)``."""
        text = equation_of(self.cell, name)
        if len(text) > _LONGEST or "%" in text:  # a value that a pass has made says little
            text = f"{self.cell.nodes[name].op.name}(…)"
        return text if name.isdigit() else f"{name} = {text}"

    def _product(self, name: str) -> str:
        """A product, without a sum that is computed along with it: ``[W_f, W_i]·h``."""
        left, right = self.cell.nodes[name].args[:2]
        weights = self._weights(left)
        one = weights[0] if len(weights) == 1 else f"[{_listed(weights, ', ')}]"
        operand = self._shown(right)
        bare = self.cell.nodes[right].op.leaf or operand.startswith("[") or not right.isdigit()
        return f"{one}·{operand if bare else f'({operand})'}"

    def _weights(self, name: str) -> list[str]:
        """The parameters that a weight is joined from, or its expression where it is computed."""
        parts = reached(self.cell.nodes, [name])
        ops = {self.cell.nodes[part].op.name for part in parts}
        if ops <= {"param", "concat", "slice"}:
            return [part for part in self.cell.nodes if part in parts and not part.isdigit()]
        return [self._shown(name)]

    def _place(self, name: str) -> str:
        """Where a value stands in the specs: `` (lstm.cell:9-12)``."""
        lines: dict[str, list[int]] = {}
        for span in sorted(self.cell.nodes[name].spans, key=_order):
            lines.setdefault(span.source.name, []).append(span.line)
        places = [
            f"{source}:{min(some)}" + (f"-{max(some)}" if max(some) > min(some) else "")
            for source, some in lines.items()
        ]
        return f" ({', '.join(places)})" if places else ""


def _order(span: Span) -> tuple[str, int]:
    return span.source.name, span.start


def _listed(names: list[str], last: str = " and ") -> str:
    """``f, i and o``; of many the first, and how many more there are."""
    if len(names) > _MOST_NAMED:
        names = [*names[: _MOST_NAMED - 1], f"{len(names) - _MOST_NAMED + 1} more"]
    return last.join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
