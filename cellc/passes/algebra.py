"""Local algebra: tables of rules in the language itself.

A rule holds for whatever numbers an array may contain. What would be wrong for an infinite
or undefined one, such as ``0*a => 0``, or would lose digits, such as
``exp(a)*exp(b) => exp(a + b)``, is not here.
"""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import Cell
from cellc.passes.rewrite import Firing, rewrite

#: What does not depend on how numbers are rounded: the result is the same to the last bit.
EXACT = (
    "a + 0 => a",
    "a - 0 => a",
    "0 - a => -a",
    "a*1 => a",
    "a/1 => a",
    "a/2 => 0.5*a",
    "a^1 => a",
    "a^2 => a*a",
    "-(-a) => a",
    "-(a - b) => b - a if a - b used once",
    "a + (-b) => a - b",
    "a - (-b) => a + b",
    "a*(-1) => -a",
    "a/(-1) => -a",
    "(-a)*(-b) => a*b",
    "(-a)/(-b) => a/b",
    "tanh(-a) => -tanh(a) if -a used once",
    "sin(-a) => -sin(a) if -a used once",
    "cos(-a) => cos(a)",
    "abs(-a) => abs(a)",
    "abs(a) => a if a >= 0",
    "relu(a) => a if a >= 0",
    "max(a, a) => a",
    "min(a, a) => a",
    "max(a, 0) => relu(a)",
    "where(c, a, a) => a",
)

#: What is rounded otherwise: never further from the true value than before by more than a few
#: units in the last place, and often nearer, because nothing overflows or cancels on the way.
#: `tests/test_algebra.py` measures it for each.
STABLE = (
    "log(exp(a)) => a",
    "exp(log(a)) => a if a >= 0",
    "sqrt(a)*sqrt(a) => a if a >= 0",
    "sqrt(a*a) => abs(a)",
    "1/(1/a) => a",
    "a^3 => a*a*a",
    "a^4 => (a*a)*(a*a)",
    "a^(-1) => 1/a",
    "a^0.5 => sqrt(a)",
    "a^(-0.5) => 1/sqrt(a)",
    "1/exp(a) => exp(-a) if exp(a) used once",
    "1/(1 + exp(-a)) => sigmoid(a) if exp(-a) used once",
    "1/(1 + exp(a)) => sigmoid(-a) if exp(a) used once",
    "exp(a)/(1 + exp(a)) => sigmoid(a)",
    "(exp(a) - exp(-a))/(exp(a) + exp(-a)) => tanh(a)",
    "2*sigmoid(2*a) - 1 => tanh(a) if sigmoid(2*a) used once",
    "0.5*tanh(0.5*a) + 0.5 => sigmoid(a) if tanh(0.5*a) used once",
    "0.5*(tanh(0.5*a) + 1) => sigmoid(a) if tanh(0.5*a) used once",
    "1 - sigmoid(a) => sigmoid(-a) if sigmoid(a) used once",
    "log(1 + exp(a)) => softplus(a) if exp(a) used once",
    "softplus(a) - a => softplus(-a) if softplus(a) used once",
    "softplus(-a) + a => softplus(a) if softplus(-a) used once",
    "log(sigmoid(a)) => -softplus(-a) if sigmoid(a) used once",
)

#: None of them makes the loop slower.
SIMPLIFY = EXACT + STABLE

#: Where both sides of a quotient vanish, it has a limit that numbers of a machine do not see. These
#: forms do, whatever they cost; they are exact to the last digits of one, not of a tiny share.
LIMITS = ("sigmoid(a)/(sigmoid(a) + sigmoid(b)) => sigmoid(softplus(-b) - softplus(-a))",)

#: Pairs of operations that arrays compute in one go.
COMBINE = (
    "w·v + c => matmul_add(w, v, c) if w·v used once",
    "matmul_transposed(w, v) + c => matmul_transposed_add(w, v, c)"
    " if matmul_transposed(w, v) used once",
    "a*b + c => multiply_add(a, b, c) if a*b used once",
)


@dataclass(frozen=True)
class Algebra:
    """Rewrites by the rules where that costs no operation, until none applies.

    Before that, ``limits`` are applied whatever they cost.

    Before::

        %1 = negate(%a) : [H] over {batch, time}
        %2 = subtract(%b, %1) : [H] over {batch, time}

    After::

        %2 = add(%b, %a) : [H] over {batch, time}
    """

    rules: tuple[str, ...] = SIMPLIFY
    limits: tuple[str, ...] = LIMITS

    def run(self, cell: Cell) -> Cell:
        return self.run_logged(cell)[0]

    def run_logged(self, cell: Cell) -> tuple[Cell, list[Firing]]:
        """The cell, and which rule fired where."""
        cell, defined = rewrite(cell, self.limits)
        cell, simplified = rewrite(cell, self.rules, saving=True)
        return cell, defined + simplified


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
