"""Local algebra: a table of rules in the language itself."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import Cell
from cellc.passes.rewrite import Firing, rewrite

#: Rewrites that are exact but for rounding and never cost an operation.
SIMPLIFY = (
    "a + 0 => a",
    "a - 0 => a",
    "0 - a => -a",
    "a*1 => a",
    "a/1 => a",
    "a^1 => a",
    "a^2 => a*a",
    "a^0.5 => sqrt(a)",
    "-(-a) => a",
    "a + (-b) => a - b",
    "a - (-b) => a + b",
    "a*(-1) => -a",
    "max(a, a) => a",
    "min(a, a) => a",
    "max(a, 0) => relu(a)",
    "relu(relu(a)) => relu(a)",
    "abs(abs(a)) => abs(a)",
    "abs(-a) => abs(a)",
    "where(c, a, a) => a",
    "log(1 + exp(a)) => softplus(a) if exp(a) used once",
    "1/(1 + exp(-a)) => sigmoid(a) if exp(-a) used once",
    "2*sigmoid(2*a) - 1 => tanh(a) if sigmoid(2*a) used once",
    "1 - sigmoid(a) => sigmoid(-a) if sigmoid(a) used once",
    "f*a + (1 - f)*b => lerp(b, a, f) if 1 - f used once",
    "b + f*(a - b) => lerp(b, a, f) if a - b used once",
)

#: Pairs of operations that arrays compute in one go.
COMBINE = (
    "w·v + c => matmul_add(w, v, c) if w·v used once",
    "a*b + c => multiply_add(a, b, c) if a*b used once",
)


@dataclass(frozen=True)
class Algebra:
    """Rewrites by the rules where that costs no operation, until none applies.

    Before::

        %1 = negate(%a) : [H] over {batch, time}
        %2 = subtract(%b, %1) : [H] over {batch, time}

    After::

        %2 = add(%b, %a) : [H] over {batch, time}
    """

    rules: tuple[str, ...] = SIMPLIFY

    def run(self, cell: Cell) -> Cell:
        return self.run_logged(cell)[0]

    def run_logged(self, cell: Cell) -> tuple[Cell, list[Firing]]:
        """The cell, and which rule fired where."""
        return rewrite(cell, self.rules, saving=True)


@dataclass(frozen=True)
class Combine:
    """Joins a product with the sum that follows it.

    Before::

        %1 = multiply(%i, %g) : [H] over {batch, time}
        %2 = add(%1, %c) : [H] over {batch, time}

    After::

        %2 = multiply_add(%i, %g, %c) : [H] over {batch, time}
    """

    rules: tuple[str, ...] = COMBINE

    def run(self, cell: Cell) -> Cell:
        return rewrite(cell, self.rules, combining=True)[0]
