r"""The equations of a cell as a paper prints them: ``f_t = \sigma(W_f [h_{t-1}, x_t] + b_f)``.

How an op is printed is its own ``latex`` template. Where brackets are needed follows
from the signs in the template, so that an op added from outside is bracketed too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property

from cellc.ir import Attribute, Cell, Node
from cellc.ops import TABLE
from cellc.ops.op import CALL, COMPARISON, CONTRACTION, POWER, PRODUCT, SIGN, SUM, Op
from cellc.syntax.characters import ACCENTS
from cellc.views.names import DELAY, Naming, Symbol, step_values

#: How tightly the signs of templates bind, and what they ask of their left and right.
_SIGNS: dict[str, tuple[int, int, int]] = {
    "+": (SUM, SUM, SUM),
    "-": (SUM, SUM, PRODUCT),
    r"\odot": (PRODUCT, PRODUCT, PRODUCT),
    r"\otimes": (PRODUCT, PRODUCT, PRODUCT),
    r"\ast": (PRODUCT, PRODUCT, PRODUCT),
    r"\cdot": (PRODUCT, PRODUCT, PRODUCT),
    r"\times": (PRODUCT, PRODUCT, PRODUCT),
    # Readers disagree on how mod binds, so it is bracketed on all sides.
    r"\bmod": (COMPARISON, SIGN, SIGN),
    "<": (COMPARISON, SUM, SUM),
    ">": (COMPARISON, SUM, SUM),
    "=": (COMPARISON, SUM, SUM),
    r"\le": (COMPARISON, SUM, SUM),
    r"\ge": (COMPARISON, SUM, SUM),
    r"\ne": (COMPARISON, SUM, SUM),
}
_OPENING = ("(", "[", "{", r"\left", r"\lfloor", r"\lceil", r"\begin")
_CLOSING = (")", "]", "}", r"\right", r"\rfloor", r"\rceil", r"\end")
_SEPARATING = (",", "&", "\\\\")
_TOKEN = re.compile(
    r"\\(?:begin|end)\{\w+\}|\\(?:left|right)(?:\\?\S)|\\text\{[^}]*\}|\\[A-Za-z]+|\\\\|\$\w+|\S"
)
_PRODUCT = re.compile(r"(\$\w+|\([^()]*\)) \\odot (\$\w+)")

#: Alternatives that are the last alternative of others, which may as well go on in them.
_NESTED_CASES = re.compile(
    r"\\begin\{cases\} ((?:(?!\\begin\{cases\}).)*?) \\end\{cases\} & \\text\{otherwise\}(?= \\end)"
)

#: Capitals that LaTeX knows by name; the others look like Latin ones.
_GREEK_CAPITALS = frozenset("ΓΔΘΛΞΠΣΥΦΨΩ")
_FRESH = "uvwpq"


def latex(cell: Cell) -> str:
    r"""The equations of one step as an ``aligned`` block, a line for each named value.

    Values of the step carry the subscript t, states before it t-1. What only initial
    values need is left out. The block stands in mathematics mode: put it in ``\[ \]``.
    """
    return _Writer(cell).block()


@dataclass
class _Writer:
    """Writes the values of one cell."""

    cell: Cell

    @cached_property
    def _naming(self) -> Naming:
        return Naming(self.cell)

    def block(self) -> str:
        lines = [
            rf"{self._symbol(name)} &= {self._expression(name)[0]}" for name in self._printed()
        ]
        lines += [f"{left} &= {right}" for left, right in dict.fromkeys(self._renamed())]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _printed(self) -> Iterator[str]:
        """The values that get a line, in order."""
        step = step_values(self.cell)
        for name, node in self.cell.nodes.items():
            defined = not node.op.leaf or node.op.name == "const"
            if name in step and defined and not self._is_inline(name):
                yield name

    def _renamed(self) -> Iterator[tuple[str, str]]:
        """Results that are a value of another name or of none: ``y_t = h_t``."""
        for result in self.cell.results:
            right = self._text(result.value, 0)
            if result.role == "next" and not DELAY.fullmatch(result.name):
                left = self._named(result.name, self._naming.step(result.name))
            elif result.role == "output":
                left = self._named(result.name.rstrip("'"), self._naming.step(result.value))
            elif result.role == "start":
                left = self._named(result.name, "0")
            else:
                continue
            if left != right:
                yield left, right

    def _named(self, name: str, step: str) -> str:
        return written(self._naming.taken_apart(name, step))

    def _is_inline(self, name: str) -> bool:
        """As in the text notation: what has no name stands inside what uses it."""
        node = self.cell.nodes[name]
        small = _is_join(node.op) or not (node.type.shape or node.type.extent)
        return name.isdigit() and (self.cell.uses[name] < 2 or small)

    @cached_property
    def _numbers(self) -> dict[str, str]:
        """Symbols for values without a name that are used twice: ``u_1``, ``u_2``."""
        unnamed = [n for n in self.cell.nodes if n.isdigit() and not self._is_inline(n)]
        letter = next((one for one in _FRESH if one not in self.cell.nodes), "u")
        return {name: f"{letter}{count}" for count, name in enumerate(unnamed, 1)}

    def _symbol(self, name: str) -> str:
        if name in self._numbers:
            return self._named(self._numbers[name], self._naming.step(name))
        return written(self._naming.symbol(name))

    def _text(self, name: str, needed: int, first: bool = True) -> str:
        """A value inside another; brackets where it binds more loosely than needed."""
        node = self.cell.nodes[name]
        if name.isdigit() and (node.op.leaf or self._is_inline(name)):
            text, level = self._expression(name)
        else:
            text, level = self._symbol(name), CALL
        if level >= needed and (first or not text.startswith("-")):
            return text
        tall = r"\frac" in text or r"\begin" in text
        return rf"\left({text}\right)" if tall else f"({text})"

    def _expression(self, name: str) -> tuple[str, int]:
        """The right side of a value and how tightly it binds."""
        node = self.cell.nodes[name]
        if node.op.leaf:
            return _leaf(node)
        op = TABLE[node.op.name]
        attrs = dict(node.attrs)
        if {"start", "stop"} <= attrs.keys():
            ends = f"{_dimension(attrs['start'])}:{_dimension(attrs['stop'])}"
            return rf"{{{self._text(node.args[0], CALL)}}}_{{{ends}}}", CALL
        if isinstance(index := attrs.get("index"), int):
            return rf"{{{self._text(node.args[0], CALL)}}}_{{[{index + 1}]}}", CALL
        if not op.latex:
            listed = ", ".join(self._text(argument, 0) for argument in node.args)
            joined = _is_join(op) and "dim" not in attrs
            return (f"[{listed}]" if joined else _call(op, listed)), CALL
        text, level = self._filled(op, node)
        return _NESTED_CASES.sub(r"\1", text), level

    def _filled(self, op: Op, node: Node) -> tuple[str, int]:
        """The op's template with the operands in their places."""
        names = op.operand_names(len(node.args))
        args = dict(zip(names, node.args, strict=True))
        template = self._without_dots(op.latex, args)
        form = _form(op.latex)
        text = re.sub(
            r"\$(\w+)",
            lambda match: self._text(
                args[match[1]], form.needed.get(match[1], 0), match[1] not in form.inner
            ),
            template,
        )
        return text, form.level

    def _without_dots(self, template: str, args: dict[str, str]) -> str:
        """The template without the elementwise dot where one factor is a number."""

        def product(match: re.Match[str]) -> str:
            left, right = (re.findall(r"\$(\w+)", side) for side in match.groups())
            if not any(self._is_scalar(args[n] for n in side) for side in (left, right)):
                return match[0]
            return f"{match[1]}{self._joint(args, left, right)}{match[2]}"

        return _PRODUCT.sub(product, template)

    def _joint(self, args: dict[str, str], left: list[str], right: list[str]) -> str:
        """What stands between a scalar and its neighbour."""
        follower = self._text(args[right[0]], PRODUCT, first=False)
        if follower[0].isdigit() or not self._is_scalar(args[name] for name in left):
            return r" \cdot "
        return " " if self._text(args[left[0]], PRODUCT)[-1].isdigit() else r" \, "

    def _is_scalar(self, names: Iterable[str]) -> bool:
        return all(not self.cell.nodes[name].type.shape for name in names)


@dataclass
class _Form:
    """What brackets a template asks for.

    ``level`` is how tightly the whole binds, ``needed`` how tightly each operand must
    bind; ``inner`` are operands behind a sign, where a leading minus needs brackets.
    """

    level: int = CALL
    needed: dict[str, int] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)


@cache
def _form(template: str) -> _Form:
    form = _Form()
    tokens: list[str] = _TOKEN.findall(template)
    depth = 0
    for position, token in enumerate(tokens):
        before = tokens[position - 1] if position else ""
        behind = tokens[position + 1] if position + 1 < len(tokens) else ""
        if token.startswith("$"):
            _place(form, token[1:], before, behind, tokens[position + 2 : position + 3])
        level = _level(token, before)
        if depth == 0 and level is not None:
            form.level = min(form.level, level)
        if token.startswith(r"\begin"):
            # An alternative has a brace on its left alone: bracket it inside anything.
            form.level = 0
        depth += token.startswith(_OPENING) - token.startswith(_CLOSING)
    return form


def _level(token: str, before: str) -> int | None:
    """How tightly the sign at this place binds, if there is one."""
    if token == "-" and not before:
        return SIGN
    if token in ("^", r"\frac"):
        return POWER
    if token.startswith("$"):
        if before.startswith("$"):
            return CONTRACTION
        if _is_prefix(before):
            return PRODUCT
    return _SIGNS[token][0] if token in _SIGNS else None


def _place(form: _Form, name: str, before: str, behind: str, further: list[str]) -> None:
    """Note what one operand's neighbours ask of it."""
    needed = 0
    if before in _SIGNS:
        needed = _SIGNS[before][2]
        form.inner.add(name)
    elif before.startswith("$") or behind.startswith("$"):
        needed = CONTRACTION
    elif _is_prefix(before):
        needed = PRODUCT
    if behind in _SIGNS:
        needed = max(needed, _SIGNS[behind][1])
    if behind == "^" or (behind == "}" and further == ["^"]):
        needed = CALL
    form.needed[name] = max(needed, form.needed.get(name, 0))


def _is_prefix(token: str) -> bool:
    r"""Whether a command such as ``\sum`` stands before its operand without brackets."""
    known = token in _SIGNS or token.startswith((*_OPENING, *_CLOSING, *_SEPARATING))
    return token.startswith("\\") and not known and not token.startswith(r"\text")


def _is_join(op: object) -> bool:
    return isinstance(op, Op) and op.kind == "structural" and op.variadic


def _call(op: Op, listed: str) -> str:
    name = op.name.replace("_", r"\_")
    return rf"\operatorname{{{name}}}({listed})"


def _leaf(node: Node) -> tuple[str, int]:
    """A number or a size; leaves with names are symbols."""
    if node.op.name == "size":
        text = _dimension(node.attr("dim"))
        return text, SUM if " + " in text or " - " in text else CALL
    mantissa, _, exponent = f"{node.attr('value'):g}".partition("e")
    if not exponent:
        return mantissa, SIGN if mantissa.startswith("-") else CALL
    power = f"10^{{{int(exponent)}}}"
    return (power, POWER) if mantissa == "1" else (rf"{mantissa} \cdot {power}", PRODUCT)


def _dimension(dim: Attribute) -> str:
    return str(dim).replace("*", " ")


def written(symbol: Symbol) -> str:
    r"""A symbol in LaTeX: ``W_{xf}``, ``h_{t-1}``, ``h_{1,t}^{(2)}``, ``\mathrm{leak}``."""
    stem, below = _split(symbol.stem)
    below = ",".join(filter(None, (below, *map(_letters, symbol.below), symbol.step)))
    above = ",".join(_atom(part) for part in symbol.above)
    text = f"{stem}{_below(below)}"
    return f"{text}^{{({above})}}" if above else text


def _below(text: str) -> str:
    """A subscript; none where it is empty."""
    if len(text) < 2:
        return f"_{text}" if text else ""
    return f"_{{{text}}}"


def _split(stem: str) -> tuple[str, str]:
    """The letter or word of a stem, and the digits that it ends with."""
    digits = re.fullmatch(r"(.*\D)(\d+)", stem)
    stem, rest = digits.groups() if digits else (stem, "")
    symbols = _symbols(stem)
    return symbols[0] if len(symbols) == 1 else rf"\mathrm{{{_joined(symbols)}}}", rest


def _atom(part: str) -> str:
    """A part of what stands above: a position, or the name of an applied cell."""
    if part.isdecimal():
        return part
    stem, below = _split(part)
    return f"{stem}{_below(below)}"


def _letters(text: str) -> str:
    return _joined(_symbols(text))


def _joined(symbols: list[str]) -> str:
    """Symbols in a row; a space keeps a command apart from a letter behind it."""
    text = ""
    for symbol in symbols:
        apart = re.search(r"\\[A-Za-z]+$", text) and symbol[0].isalpha()
        text += f" {symbol}" if apart else symbol
    return text


def _symbols(text: str) -> list[str]:
    r"""Letters as LaTeX prints them: ``τ`` is ``\tau``, ``c̃`` is ``\tilde{c}``."""
    found: list[str] = []
    for character in unicodedata.normalize("NFD", text):
        if unicodedata.combining(character):
            accent = ACCENTS.get(character)
            if found and accent:
                found[-1] = rf"\{accent}{{{found[-1]}}}"
        else:
            found.append(_spelled(character))
    return found


def _spelled(letter: str) -> str:
    words = unicodedata.name(letter, "").split()
    if words[:1] != ["GREEK"] or len(words) != 4:
        return r"\'" if letter == "'" else letter
    word = {"lamda": "lambda", "omicron": "o"}.get(words[3].lower(), words[3].lower())
    if words[1] == "SMALL":
        return word if len(word) == 1 else "\\" + word
    return "\\" + word.capitalize() if letter in _GREEK_CAPITALS else rf"\mathrm{{{letter}}}"
