"""Random expressions in the language, from tables of forms.

In a form ``{e}`` is an expression of the shape that is asked for and ``{n}`` a name of it,
each drawn anew; ``{m}`` is a state, ``{o}`` a value that has a past,
``{v}`` what a product multiplies, ``{s}`` a scalar. ``{i}`` is a fresh
number, ``{g}`` a fresh gate, ``{f}`` a fresh value, ``{q}`` a fresh peephole, ``{D}`` a
fresh structured weight: the same one wherever it stands in the form.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import strategies as st

SMOOTH = (
    "tanh({e})", "sigmoid({e})", "sin({e})", "cos({e})", "softplus({e})", "(-({e}))",
    "softmax({e})", "standardize({e})", "(1 - sigmoid({e}))", "log(1 + exp(tanh({e})))",
    "(1/(1 + exp(-sin({e}))))", "(2*sigmoid(2*({e})) - 1)", "sqrt(0.3 + ({e})^2)",
    "exp(-sigmoid({e}))", "((0.2 + sigmoid({e}))^1.5)", "((0.2 + sigmoid({e}))^0.5)",
    "log(1.5 + cos({e}))", "(({e})*1)", "(({e}) + 0)", "(0 - ({e}))", "(-(-({e})))",
    "(({e})*(-1))", "(({e})/1)", "(({e}) + (-({e})))", "(({e}) - (-({e})))", "soft({e})",
    "(({e})/(1.2 + sin({e})))", "(({e})/H)", "(rate*({e}))", "(({e})*2*0.25)",
)  # fmt: skip
SUMS = (
    "(({e}) + ({e}))", "(({e}) - ({e}))", "(({e})*({e}))", "(({e}) + ({e}) + ({e}))",
    "({s}*({e}))", "(({e}) + {s})", "({e} + o_{i})", "({q}*({e}) + ({e}))", "({q}*{n})",
)  # fmt: skip
KINKS = (
    "abs({e})", "relu({e})", "max({e}, {e})", "min({e}, {e})", "max({e}, 0)", "max({n}, {n})",
    "abs(-({e}))", "clip({e}, -0.9, 1.1)", "where({n} < 0.1372, {e}, {e})",
    "where({n} >= 0.1372, {e}, {n})", "where({n} > {q}, {n}, {n})", "where({n} <= {q}, {e}, 0.5)",
    "where({n} != 0.1372, {n}, {e})", "where({n} == 0.1372, {e}, {e})",
    "where({s} < 0.31, {e}, {e})",
    "mod({e} + 0.3719, 1.3)", "(0.1*floor({e} + 0.3719))", "(sign({e} - 0.1372)*({e}))",
)  # fmt: skip
GATES = (
    "({g}*({e}) + (1 - {g})*({e}))", "((1 - {g})*({e}) + ({e})*{g})",
    "(({f}) + {g}*(({e}) - ({f})))",
    "lerp({e}, {e}, {g})", "({g}*({e}) + {n}*(1 - {g}) + {g}*{n})", "({n} + {g}*(({e}) - {n}))",
    "({g}*{n} + sigmoid({e})*tanh({e}))",
)  # fmt: skip
PRODUCTS = (
    "(W_{i}·{v})", "(W_{i}·{v} + b_{i})", "(W_{i}·{v} + U_{i}·{v})",
    "(b_{i} + W_{i}·{v} + U_{i}·{v})",
    "(W_{i}·{v} + V_{i}·{v} + U_{i}·{v} + b_{i})", "(W_{i}·{v} - U_{i}·{v})",
    "(sigmoid(W_{i}·{v} + b_{i})*tanh(U_{i}·{v} + b_u{i}))", "({D}·{n})", "({D}·{n} + W_{i}·{v})",
    "(W_{i}·({g}*{f}) + b_{i})", "(W_{i}·{f} + U_{i}·({n}*{n}))", "({n}*(W_{i}·{v} + b_{i}))",
)  # fmt: skip
#: One weight in several places, for a vector of the size asked for and for the input.
TIED = (
    "(S_H·{h} + S_H·{h})", "(S_H·({h} + {h}))", "(S_H·{h})", "(S_I·x + S_I·prev(x))",
    "(S_I·(x + prev(x)))", "(S_I·x)", "(S_I·(x - prev(x)) + S_H·{h})",
)  # fmt: skip
MASKS = (
    "dropout({m}, rate)", "dropout(0.1*{m} + {e}, 0.3, per=sequence)", "training({e}, {e})",
    "zoneout({e}, 0.1*{m} + {e}, 0.3)", "zoneout({e}, {m}, rate, per=sequence)",
)  # fmt: skip
APPLIED = ("rnn({f})", "gru({n})", "lstm({f})", "lstm_transform({f}, {n})", "leaky_rnn({f})")
PAST = ("prev({o})", "prev({o}, 2)", "({n} - prev({o}))")

#: Groups that stand here twice are drawn twice as often.
_GROUPS = (
    PRODUCTS, PRODUCTS, SMOOTH, SMOOTH, SUMS, SUMS, GATES, KINKS, MASKS, PAST, TIED, APPLIED,
)  # fmt: skip
_BOUNDS = (
    "tanh({e})", "tanh({e})", "sigmoid({e})", "sin({e})", "softmax({e})",
    "({g}*{n} + (1 - {g})*tanh({e}))", "0.5*tanh({e}) + 0.5*{n}", "tanh({e})*sigmoid({e})",
)  # fmt: skip
_STRUCTURES = ("diagonal", "block_diagonal(2)", "block_diagonal(K)", "sparse(0.5)", "frozen",
               "diagonal frozen")  # fmt: skip
_WHOLE = ("reverse(x)", "last(x)", "first(x)", "mean(x, time)", "window(x, 3)")
_SCALARS = ("sum({n})", "mean({n})", "(1/sqrt(H))", "rate", "tanh(t)")


class Writer:
    """A spec under construction: what may be named, with shapes, and the lines so far.

    ``inside`` is the writer whose lines and numbers one for a part of the cell shares.
    """

    def __init__(self, draw: st.DrawFn, kinks: bool, inside: Writer | None = None) -> None:
        self.draw, self.kinks = draw, kinks
        self.names: dict[str, str] = dict(inside.names) if inside else {}
        self.head: list[str] = inside.head if inside else []
        self.lines: list[str] = inside.lines if inside else []
        self._count: list[int] = inside._count if inside else [0]
        self.groups = [g for g in _GROUPS if kinks or g is not KINKS]

    def equation(self, name: str, shape: str, value: str) -> str:
        """Write an equation, whose value may be named from now on."""
        self.lines.append(f"{name}[{shape}] = {value}" if shape else f"{name} = {value}")
        self.names[name] = shape
        return name

    def bounded(self, shape: str, depth: int) -> str:
        """An expression that stays moderate whatever it reads."""
        return self._fill(self.pick(_BOUNDS), shape, depth)

    def expression(self, shape: str, depth: int) -> str:
        """An expression of a shape."""
        if depth <= 0:
            return self.name(shape)
        forms = self.draw(st.sampled_from(self.groups))
        if shape != "H" and forms in (TIED, APPLIED):
            forms = SMOOTH
        return self._fill(self.pick(forms), shape, depth)

    def name(self, shape: str, among: tuple[str, ...] = ()) -> str:
        """A value of a shape that is there already, one of ``among`` where that is given."""
        known = [name for name, have in self.names.items() if have == shape]
        if among:
            return self.pick([name for name in known if name in among])
        return self.pick([*known, "p"] if shape == "H" else known)

    def operand(self) -> str:
        """What a weight multiplies: a vector, vectors joined, or what the sequence says."""
        vectors = [name for name, shape in self.names.items() if shape]
        forms = ["x", "x", "h", "[h, x]", "[x, h]", "prev(x)", "(h*p)", *_WHOLE, *vectors]
        found: str = self.pick(forms)
        if self.draw(st.integers(0, 7)) == 7:
            parts = [self.pick(vectors) for _ in range(self.draw(st.integers(2, 3)))]
            found = f"[{', '.join(parts)}]"
        return found

    def pick(self, options: tuple[str, ...] | list[str]) -> str:
        """One of the options."""
        return self.draw(st.sampled_from(options))

    def _fill(self, form: str, shape: str, depth: int) -> str:
        """The form with something in each of its gaps."""
        once: dict[str, str] = {}
        fresh: dict[str, Callable[[], str]] = {
            "i": self._number,
            "g": lambda: self._helper("k", shape, f"sigmoid({self.expression(shape, depth - 1)})"),
            "f": lambda: self._helper("u", shape, self.bounded(shape, depth - 1)),
            "q": lambda: self._declared(f"e_{self._number()}", f"[{shape}]"),
            "D": self._structured,
        }
        anew: dict[str, Callable[[], str]] = {
            "e": lambda: self.expression(shape, depth - 1),
            "n": lambda: self.name(shape),
            "m": lambda: self.name(shape, ("h", "c", "m")),
            "h": lambda: self.name("H"),
            "o": lambda: self._past(shape),
            "v": self.operand,
            "s": self._scalar,
        }

        def gap(match: re.Match[str]) -> str:
            letter = match[1]
            if letter in anew:
                return anew[letter]()
            if letter not in once:
                once[letter] = fresh[letter]()
            return once[letter]

        text = re.sub(r"\{(\w)\}", gap, form)
        self._support(form, shape, once.get("i"))
        return text

    def _support(self, form: str, shape: str, number: str | None) -> None:
        """Declare what a form reads by a name of its own."""
        if "o_{i}" in form:
            self.head.append(f"param o_{number}[{shape}]")
        for name, declared in (("S_H", "[H, H] shared"), ("S_I", "[H, I] shared")):
            if name in form and not any(f"param {name}[" in line for line in self.head):
                self.head.append(f"param {name}{declared}")
        if "soft(" in form and "soft(a) = a*sigmoid(a)" not in self.head:
            self.head.append("soft(a) = a*sigmoid(a)")

    def _number(self) -> str:
        self._count[0] += 1
        return str(self._count[0])

    def _helper(self, letter: str, shape: str, value: str) -> str:
        return self.equation(f"{letter}{self._number()}", shape, value)

    def _declared(self, name: str, modifiers: str) -> str:
        self.head.append(f"param {name}{modifiers}")
        return name

    def _structured(self) -> str:
        structure = self.pick(_STRUCTURES)
        if "(K)" in structure and "dim K groups" not in self.head:
            self.head.append("dim K groups")
        return self._declared(f"D_{self._number()}", f" {structure}")

    def _past(self, shape: str) -> str:
        """A name whose earlier value can be asked for."""
        known = [name for name, have in self.names.items()
                 if have == shape and name not in ("s", "p", "far")]  # fmt: skip
        return self.pick(known)

    def _scalar(self) -> str:
        forms = [form for form in _SCALARS if "t)" not in form or "t" in self.names]
        form = self.pick(forms)
        return form.replace("{n}", self.name("H"))
