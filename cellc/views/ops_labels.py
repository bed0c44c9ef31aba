"""What the ops of a schedule are called in their picture, and what stands in another's label.

Numbers, options, and parameters that one op uses are written in the label of that op; so are
parts of parameters that are stacked with others. Everything else is a thing of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from math import ceil

from cellc.ir import AtConstruction, Cell, Dim, Loop, Once, Region, Scan, Schedule
from cellc.ir.schedule import is_backward
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE
from cellc.ops.notation import equation_of, expression_of, initial_value_of
from cellc.ops.op import Op
from cellc.views.names import Naming, Symbol
from cellc.views.painter import label_of

_NUMBERS = ("const", "option", "size")
_JOINS = ("concat", "stack")
_COTANGENT = "d_"
_MOST_LISTED, _MOST_ROWS = 4, 4
_HIGH = '<FONT POINT-SIZE="17"> </FONT>'
_SMALL_LETTERS = re.compile(r"<SU[BP]><FONT[^>]*>([^<]*)")
_SLOT_SIGN = re.compile(r"([^\w\s$]+)\s*$")
_SIGNS = (("*", " × "), ("-", "−"), (" < ", " &lt; "), (" > ", " &gt; "), ("/", " ÷ "))


class Labels:
    """The texts of a schedule's things, in Graphviz's HTML.

    ``told_by`` names, for each value that is written in the label of others, the first of
    these; ``users`` are those that use a value in regions other than that at construction.
    Of a derivative, ``forward`` knows what values without a name that it reads are called.
    """

    def __init__(self, schedule: Schedule, forward: Labels | None = None) -> None:
        self.forward = forward
        self.cell = schedule.cell
        self.nodes = schedule.cell.nodes
        self.naming = Naming(self.cell)
        self.construction = {
            name
            for region in schedule.regions
            if isinstance(region, AtConstruction)
            for name in region.values
        }
        self.users: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, node in self.nodes.items():
            for argument in dict.fromkeys(node.args):
                if name not in self.construction:
                    self.users[argument].append(name)
        self._given = {r.value for r in self.cell.results if r.role != "initial"}
        self.derived = is_derived(self.cell)
        self.told_by: dict[str, str] = {}
        for name in reversed(list(self.nodes)):
            if name not in self.construction and self._is_told(name):
                self.told_by[name] = self.users[name][0]

    def thing_of(self, name: str) -> str:
        """The value whose thing shows this one."""
        while name in self.told_by:
            name = self.told_by[name]
        return name

    def wired(self, name: str) -> list[str]:
        """The operands of a value that are things, each once."""
        return [a for a in dict.fromkeys(self.nodes[name].args) if a not in self.told_by]

    def tells(self, name: str) -> list[str]:
        """The values that are written in a thing's label."""
        told: list[str] = []
        pending = [name]
        while pending:
            inner = [a for a in self.nodes[pending.pop()].args if a in self.told_by]
            told += inner
            pending += inner
        return told

    @cached_property
    def only_given(self) -> frozenset[str]:
        """Parts and joins of a derivative that nothing reads: each is a result itself."""
        counts = Counter(r.value for r in self.cell.results if r.role in ("sum", "output"))
        return frozenset(
            name
            for name, count in counts.items()
            if count == 1
            and not self.users[name]
            and self.derived
            and self.nodes[name].op.kind == "structural"
            and name not in self.cell.values("next").values()
        )

    @cached_property
    def weights(self) -> frozenset[str]:
        """Parameters, and what is made of parameters and numbers alone."""
        found: set[str] = set()
        for name, node in self.nodes.items():
            known = node.op.leaf or not node.args
            if node.op.name in ("param", *_NUMBERS) or (not known and found.issuperset(node.args)):
                found.add(name)
        return frozenset(found)

    def label(self, name: str) -> str:
        """What a thing says: its op, then its name and its shape in small letters."""
        node = self.nodes[name]
        called, said = self._name(name), self._said(name)
        if name in self.only_given:
            called = self._given_as(name)
        size = self._size(name)
        if node.op.leaf:
            first = called or self.called(name)
            first = first or ("kept" if "saved" in dict(node.attrs) else node.op.name)
            return lines([f"{first}{small(size, ' ')}"])
        below = called + small(size, " " if called else "")
        return lines([said, below])

    def tooltip(self, name: str) -> str:
        """A value's equation, or what kind of leaf it is, then its type and comment."""
        node = self.nodes[name]
        what = f"= {equation_of(self.cell, name)}"
        first = f"{name}: {TABLE[node.op.name].summary}" if node.op.leaf else f"{name} {what}"
        return "\n".join(filter(None, (first, str(node.type), self.cell.comments.get(name))))

    def called(self, name: str) -> str:
        """A value by its name, that of its parts, or as a number; empty where it has none."""
        node = self.nodes[name]
        if node.op.name in _NUMBERS and name.isdigit():
            return escape(expression_of(self.cell, name))
        if not name.isdigit():
            return self._name(name)
        if node.op.name == "slice" and name in self.told_by:
            return f"{self.called(node.args[0])}[{_range(node.attrs)}]"
        if node.op.name in _JOINS:
            return self._joined([self._inner(a) for a in node.args])
        if self.forward is not None and name in self.forward.nodes and "saved" in dict(node.attrs):
            return self.forward.called(name)
        parts = [user for user in self.users[name] if self.nodes[user].op.name == "slice"]
        return self._joined(parts) if len(parts) > 1 else ""

    def result(self, role: str, name: str, value: str) -> str:
        """What a result is called."""
        if role == "sum":
            return _written(_with_sign(self.naming.taken_apart(name)))
        called = name if name in self.nodes else value
        if name.startswith(_COTANGENT) and self.derived:
            return self._cotangent(name, self.naming.step(value))
        if not called.isdigit():
            return self._name(called)
        return _written(self.naming.taken_apart(name, self.naming.step(value)))

    def _given_as(self, name: str) -> str:
        found = [(r.role, r.name) for r in self.cell.results if r.value == name]
        return self.result(*found[0], name)

    def initial_values(self, drawn: Container[str]) -> dict[str, list[tuple[str, str]]]:
        """What begins alike, by what it begins as: parameters and states by name and label.

        States that start with one of the values that are drawn are left out.
        """
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.cell.values("initial"):
            text = initial_value_of(self.cell, param)
            groups.setdefault(text, []).append((param, self.called(param)))
        for state, value in self.cell.values("start").items():
            if value not in drawn:
                called = _written(self.naming.taken_apart(state, "0"))
                groups.setdefault(expression_of(self.cell, value), []).append((state, called))
        return groups

    def slot(self, source: str, target: str) -> str:
        """What a wire is for, where operands may not be exchanged."""
        node = self.nodes[target]
        op = TABLE[node.op.name]
        plain = op.commutative or op.variadic or op.kind != "elementwise"
        if plain or len(self.wired(target)) < 2:
            return ""
        slots = [op.parameters[slot] for slot, arg in enumerate(node.args) if arg == source]
        if not op.notation:
            return ", ".join(slots)
        signs = [_SLOT_SIGN.search(op.notation.partition(f"${slot}")[0]) for slot in slots]
        marks = [sign[1].replace("-", "−").replace("/", "÷") for sign in signs if sign is not None]
        return ", ".join(escape(mark) for mark in marks if mark != "*")

    def _is_told(self, name: str) -> bool:
        """Whether a value is written in the labels of those that use it."""
        node, users = self.nodes[name], self.users[name]
        if name in self._given or not users:
            return False
        if node.op.name in _NUMBERS:
            return True
        parts = all(user in self.told_by for user in users)
        if node.op.name == "param":
            slices = all(self.nodes[user].op.name == "slice" for user in users)
            return len(users) == 1 or (parts and slices)
        whole = self.nodes[node.args[0]] if node.op.name == "slice" else None
        if whole is None or whole.op.name != "param" or len(users) > 1:
            return False
        op = TABLE[self.nodes[users[0]].op.name]
        return op.name in _JOINS or op.kind == "contraction"

    def _name(self, name: str) -> str:
        if name.isdigit():
            return ""
        if self.derived and name.startswith(_COTANGENT):
            return self._cotangent(name, self._cotangent_step(name))
        return _written(self.naming.symbol(name))

    def _cotangent(self, name: str, step: str) -> str:
        local = name.removeprefix(_COTANGENT).rstrip("'_")
        return _written(_with_sign(self.naming.taken_apart(local, step)))

    def _cotangent_step(self, name: str) -> str:
        """A step reads the cotangents of its results, and gives those of what it began with."""
        following = self.cell.values("next")
        given = any(value == name and is_backward(self.cell, s) for s, value in following.items())
        return self.naming.step(name, -1 if given else 0)

    def _said(self, name: str) -> str:
        """The op of a value, with the operands that are no things."""
        node = self.nodes[name]
        op = TABLE[node.op.name]
        if op.name in ("slice", "at"):
            return "" if self._name(name) or name in self.only_given else "part"
        if op.name in _JOINS:
            return "" if name in self.only_given else self._listed(node.args)
        if op.kind == "contraction" and op.notation and any(map(self.called, node.args)):
            return self._filled(op, node.args, "…")
        told = [argument for argument in node.args if argument in self.told_by]
        if told and op.notation:
            return self._filled(op, node.args, "")
        glyph = escape(op.glyph or op.name)
        return " ".join(filter(None, (glyph, ", ".join(map(self.called, told)))))

    def _filled(self, op: Op, args: Sequence[str], other: str) -> str:
        """An op as the language writes it; what has no name is written as something else.

        Of an op that has operands in its label, ``other`` being empty, only these are written.
        """
        text = op.notation
        for sign, better in _SIGNS:
            text = text.replace(sign, better)
        for placeholder, argument in zip(op.parameters, args, strict=True):
            known = other or argument in self.told_by
            text = text.replace(f"${placeholder}", self.called(argument) or other if known else "")
        return " ".join(text.split())

    def _size(self, name: str) -> str:
        """The shape of a value; of a part, where it lies."""
        node = self.nodes[name]
        if node.op.name == "slice":
            return _range(node.attrs)
        if node.op.name == "at":
            return str(node.attr("index"))
        shape = node.type.shape
        return f"[{', '.join(map(_short, shape))}]" if shape else ""

    def _listed(self, args: Sequence[str]) -> str:
        """What is joined: ``[W_f, W_i]``, without the ranges of parts that lie alike."""
        ranges = {_range(self.nodes[a].attrs) for a in args if self._is_part(a)}
        alike = len(ranges) == 1 and all(map(self._is_part, args))
        texts = [self.called(self._inner(a) if alike else a) or "·" for a in args]
        if len(texts) > _MOST_LISTED:
            texts = [*texts[: _MOST_LISTED - 1], "…", texts[-1]]
        where = small(f"columns {ranges.pop()}", " ") if alike else ""
        return f"[{', '.join(texts)}]{where}"

    def _is_part(self, name: str) -> bool:
        return name in self.told_by and self.nodes[name].op.name == "slice"

    def _inner(self, name: str) -> str:
        return self.nodes[name].args[0] if self._is_part(name) else name

    def _joined(self, names: Sequence[str]) -> str:
        """Values side by side under one letter, ``W_{f,i}``; or each by its own."""
        if any(name.isdigit() for name in names):
            return ""
        symbols = [self.naming.symbol(name) for name in names]
        first = symbols[0]
        alike = {(s.stem, s.above, s.step) for s in symbols} == {
            (first.stem, first.above, first.step)
        }
        if alike and all(symbol.below for symbol in symbols):
            below = tuple("".join(symbol.below) for symbol in symbols)
            return _written(replace(first, below=below))
        listed = [_written(symbol) for symbol in symbols]
        return f"[{', '.join(listed)}]" if len(listed) <= _MOST_LISTED else ""


def titles(schedule: Schedule, region: Region) -> tuple[str, str, str]:
    """The kind of a region's frame, its title, and what is to be said besides."""
    work = any(not schedule.cell.nodes[name].op.leaf for name in region.values)
    when = _moment(schedule, region)
    if isinstance(region, Loop):
        kind = "scan" if isinstance(region, Scan) else "loop"
        back = ", from the last to the first" if region.backward else ""
        return "loop", f"each step{back}", f"{kind} along {region.axis}"
    if isinstance(region, Once):
        return "once", "once per call", "" if when.startswith("before") else when
    how = "once per sequence" if sequence_axis(region.extent) is None else "all steps at once"
    return ("at once", when, how if work else "") if schedule.loops else ("at once", how, "")


def _moment(schedule: Schedule, region: Region) -> str:
    """When a region is computed: ``before the loop``, ``between the loops``."""
    place = schedule.regions.index(region)
    loops = [n for n, each in enumerate(schedule.regions) if isinstance(each, Loop)]
    if loops and loops[0] < place < loops[-1]:
        return "between the loops"
    when = "after the loop" if loops and place > loops[-1] else "before the loop"
    return f"{when}s" if len(loops) > 1 else when


def counted(schedule: Schedule) -> str:
    """``4 products, 20 operations in the loop``."""
    kinds = [TABLE[schedule.cell.nodes[name].op.name].kind for name in schedule.values_in_loops()]
    products, work = kinds.count("contraction"), len(kinds) - kinds.count("leaf")
    told = f"{products} product{'' if products == 1 else 's'}"
    told += f", {work} operation{'' if work == 1 else 's'} in the loop"
    return told + ("s" if len(schedule.loops) > 1 else "")


def is_derived(cell: Cell) -> bool:
    """Whether a cell is the derivative of another: it reads what that one kept."""
    kept = any("saved" in dict(node.attrs) for node in cell.nodes.values())
    return kept or bool(cell.values("sum")) or any(is_backward(cell, s) for s in cell.states)


def readable(text: str) -> str:
    """What the language writes, with the signs of a paper: ``−1/√H`` for ``-(1/sqrt(H))``."""
    text = re.sub(r"sqrt\((\w+)\)", r"√\1", text)
    text = re.sub(r"-\(([^()+-]*)\)", r"-\1", text)
    return text.replace("-", "−")


def in_rows(texts: Sequence[str]) -> list[str]:
    """Texts in lines of a few each."""
    rows = [texts[n : n + _MOST_LISTED] for n in range(0, len(texts), _MOST_LISTED)]
    if len(rows) > _MOST_ROWS:
        rows = [*rows[: _MOST_ROWS - 1], [f"… {texts[-1]}"]]
    return [", ".join(row) for row in rows]


def lines(texts: Iterable[str]) -> str:
    """Lines below each other, with room for what hangs below a letter.

    Graphviz takes small letters for narrower than some viewers draw them: behind a line is
    room for these.
    """
    told = [text for text in texts if text]
    wide = [len("".join(_SMALL_LETTERS.findall(text))) for text in told]
    room = [
        f'<FONT POINT-SIZE="9">{"&#160;" * ceil(letters / 3)}</FONT>' if letters else ""
        for letters in wide
    ]
    high = [_HIGH if letters else "" for letters in (0, *wide)]
    return "<BR/>".join(map("".join, zip(told, room, high, strict=False)))


def _written(symbol: Symbol) -> str:
    """A symbol in the size of these labels."""
    return label_of(symbol).replace('POINT-SIZE="10"', 'POINT-SIZE="9"')


def _with_sign(symbol: Symbol) -> Symbol:
    return replace(symbol, stem=f"∂{symbol.stem}")


def _short(dim: Dim) -> str:
    """A dimension without signs of products: ``4H``."""
    return str(dim).replace("*", "").replace(" ", "").replace("-", "−")


def _range(attrs: Iterable[tuple[str, object]]) -> str:
    told = dict(attrs)
    ends = [_short(end) for end in (told["start"], told["stop"]) if isinstance(end, Dim)]
    return ":".join(ends)


def small(text: str, before: str = "") -> str:
    """A text in small letters behind another."""
    return f'{before}<FONT POINT-SIZE="10">{escape(text)}</FONT>' if text else ""
