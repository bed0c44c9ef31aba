"""Dimensions: polynomials over names, such as ``4*H`` and ``H + I``.

A dimension is kept in normal form, so that equal sizes are equal objects. Division by
a name is exact: ``H/K`` has a value only where K divides H.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Dim:
    """A sum of products of names with rational coefficients, in normal form.

    Build one with :meth:`of` and arithmetic rather than from ``terms``.
    """

    terms: tuple[tuple[Monomial, Fraction], ...]

    @staticmethod
    def of(value: int | str | Dim) -> Dim:
        """The dimension of a number or a name."""
        if isinstance(value, Dim):
            return value
        if isinstance(value, int):
            return _normal({(): Fraction(value)})
        return _normal({((value, 1),): Fraction(1)})

    @property
    def names(self) -> frozenset[str]:
        """The names that the value depends on."""
        return frozenset(name for monomial, _ in self.terms for name, _ in monomial)

    @property
    def constant(self) -> int | None:
        """The value, where it depends on no name."""
        return None if self.names else self.evaluate({})

    def estimate(self, sizes: Mapping[str, int], otherwise: int) -> float:
        """The value for some sizes, whole or not; ``otherwise`` is that of all other names."""
        total = 0.0
        for monomial, coefficient in self.terms:
            value = float(coefficient)
            for name, power in monomial:
                value *= float(sizes.get(name, otherwise)) ** power
            total += value
        return total

    def __add__(self, other: int | Dim) -> Dim:
        total = dict(self.terms)
        for monomial, coefficient in Dim.of(other).terms:
            total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        return _normal(total)

    def __sub__(self, other: int | Dim) -> Dim:
        return self + Dim.of(other) * -1

    def __mul__(self, other: int | Dim) -> Dim:
        total: dict[Monomial, Fraction] = {}
        for left, a in self.terms:
            for right, b in Dim.of(other).terms:
                monomial = _multiply(left, right)
                total[monomial] = total.get(monomial, Fraction(0)) + a * b
        return _normal(total)

    __radd__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: int | Dim) -> Dim:
        """Division by a number or a product of names.

        Raises ValueError for a sum and ZeroDivisionError for zero.
        """
        divisor = Dim.of(other).terms
        if not divisor:
            raise ZeroDivisionError("division of a dimension by zero")
        if len(divisor) > 1:
            raise ValueError(f"`{self}` cannot be divided by the sum `{other}`")
        monomial, coefficient = divisor[0]
        inverse = tuple((name, -power) for name, power in monomial)
        return self * _normal({inverse: 1 / coefficient})

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The value for given sizes; raises ValueError where a division is not exact."""
        total = Fraction(0)
        for monomial, coefficient in self.terms:
            for name, power in monomial:
                coefficient *= Fraction(sizes[name]) ** power
            total += coefficient
        if total.denominator != 1:
            raise ValueError(f"`{self}` is no whole number for {dict(sizes)}")
        return int(total)

    def substitute(self, dims: Mapping[str, Dim]) -> Dim:
        """The dimension with names replaced by dimensions.

        Raises ValueError where that divides by a sum.
        """
        total = Dim.of(0)
        for monomial, coefficient in self.terms:
            term = _normal({(): coefficient})
            for name, power in monomial:
                value = dims.get(name, Dim.of(name))
                for _ in range(abs(power)):
                    term = term * value if power > 0 else term / value
            total = total + term
        return total

    def divisions(self) -> list[tuple[str, str]]:
        """The divisions that must be exact: a dividend and a divisor for each term with one."""
        texts = [_term(monomial, coefficient).split("/") for monomial, coefficient in self.terms]
        return [(dividend, "*".join(divisors)) for dividend, *divisors in texts if divisors]

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        parts = [_term(monomial, coefficient) for monomial, coefficient in self.terms]
        return " + ".join(parts).replace("+ -", "- ")


def product(dims: tuple[Dim, ...]) -> Dim:
    """The product of dimensions: the number of elements of a shape."""
    total = Dim.of(1)
    for dim in dims:
        total = total * dim
    return total


def _multiply(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _normal(terms: Mapping[Monomial, Fraction]) -> Dim:
    kept = [(monomial, c) for monomial, c in terms.items() if c]
    return Dim(tuple(sorted(kept, key=lambda term: (-_degree(term[0]), term[0]))))


def _degree(monomial: Monomial) -> int:
    return sum(power for _, power in monomial)


def _term(monomial: Monomial, coefficient: Fraction) -> str:
    """A term in the language: ``4*H*I``, ``H/K``, ``H^2``."""
    above = [_power(name, power) for name, power in monomial if power > 0]
    below = [_power(name, -power) for name, power in monomial if power < 0]
    if coefficient.denominator != 1:
        below.insert(0, str(coefficient.denominator))
    numerator = coefficient.numerator
    if abs(numerator) != 1 or not above:
        above.insert(0, str(abs(numerator)))
    sign = "-" if numerator < 0 else ""
    return sign + "/".join(["*".join(above), *below])


def _power(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"
