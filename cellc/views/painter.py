"""What of a cell becomes which thing in its gate diagram.

Everything follows from the ops' kinds and traits and from the structure, never from
names: a nonlinearity over a learned affine expression is one box without its weights,
everything else elementwise is a circle.
"""

from __future__ import annotations

from dataclasses import replace
from html import escape, unescape
from typing import NamedTuple

import networkx as nx

from cellc.ir import Cell
from cellc.ir.types import shape_text
from cellc.ops import TABLE
from cellc.ops.notation import equations_of, expression_of
from cellc.views.kinds import kind_of
from cellc.views.names import Naming, Symbol, moment, step_values

_AFFINE = "linear"

#: What stands behind the name of a sum in that of the learned box before its circle.
_BOX = " (linear)"
_MOST_IN_CIRCLE = 2
_SHORT, _LONGER = 5, "…"

#: What gives a line room for what stands above.
_STRUT = '<FONT POINT-SIZE="17">\u200a</FONT>'


class _Terms(NamedTuple):
    """A sum taken apart: what is weighted, what is added as it is, and what is inside.

    ``weighted`` says of each operand whether its weight is diagonal; ``traits`` are what is
    special about weights that are not.
    """

    weighted: dict[str, bool]
    plain: list[str]
    inside: list[str]
    traits: dict[str, None]


class Painter:
    """Decides what each value of a step becomes in the picture.

    The picture is a graph whose nodes carry ``role``, ``label`` (HTML), ``tooltip`` and
    ``kind``, by which some of a role differ, its edges ``diagonal`` (whether the weight is),
    ``slot`` and ``start`` (whether a state begins with the value). ``stands_for`` names, for
    each value of the step, the node that shows it or has absorbed it.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.same = _merged(cell)
        self.nodes = {
            name: replace(node, args=tuple(self.same[a] for a in node.args))
            for name, node in cell.nodes.items()
            if self.same.get(name) == name
        }
        self.users: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, node in self.nodes.items():
            for argument in node.args:
                self.users[argument].append(name)
        self.equations = equations_of(cell)
        self.naming = Naming(cell)
        self.picture: nx.DiGraph[str] = nx.DiGraph()
        self.stands_for: dict[str, str] = {}

    def paint(self) -> None:
        """Users come before operands, so that what a box absorbs is known in time."""
        self._paint_ends()
        for name in reversed(self.nodes):
            if name not in self.stands_for:
                self._paint_value(name)
        for name, first in self.same.items():
            self.stands_for[name] = self.stands_for[first]

    def _paint_ends(self) -> None:
        """Next values at the right; an output that is one of them is drawn once.

        A start value that is computed has a wire to its state.
        """
        following = self.cell.values("next")
        for state, value in following.items():
            base, back = moment(self.cell, state)
            label = self._label(base, self.naming.step(state, (back or 0) + 1))
            self._paint_end(f"next {state}", "next", label, value)
        for name, value in self.cell.values("output").items():
            if value not in following.values():
                label = self._label(name, self.naming.symbol(value).step)
                self._paint_end(f"output {name}", "output", label, value)
        for state, value in self.cell.values("start").items():
            if self.cell.nodes[value].type.extent:
                self.users[self.same[value]].append(f"start {state}")
                self._wire(self.same[value], state, start=True)

    def _paint_end(self, key: str, role: str, label: str, value: str) -> None:
        value = self.same[value]
        self.users[value].append(key)
        told = self._told(value)
        self.picture.add_node(key, role=role, label=label, tooltip=told, kind="")
        self._wire(value, key)

    def _paint_value(self, name: str) -> None:
        op = TABLE[self.nodes[name].op.name]
        if op.leaf or not self._varies(name):
            self._paint_leaf(name)
        elif (terms := self._terms(name)) and not terms.plain:
            self._paint_box(name, _AFFINE, name, terms)
        elif terms:
            self._paint_mixed_sum(name, terms)
        elif under := self._box_under(name):
            self._paint_box(name, op.glyph, name, under)
        elif self._is_join(name):
            self._add(name, "join", "" if name.isdigit() else self._label(name))
            self._wire_operands(name)
        else:
            self._add(name, *self._pointwise(name))
            self._wire_operands(name)

    def _paint_leaf(self, name: str) -> None:
        """Inputs, states and numbers with a name; what is not drawn belongs to its user."""
        if self.nodes[name].op.name in ("input", "state"):
            self._add(name, self.nodes[name].op.name, label_of(self.naming.symbol(name)))
        elif name in self.picture:
            equation = escape(self.equations.get(name, "")) or self._short(name)
            known_as = (
                "" if name not in self.equations or "'" in name else f"{self._label(name)} = "
            )
            self._add(name, "number", known_as + equation)
        else:
            self.stands_for[name] = self.stands_for[self.users[name][0]]

    def _paint_mixed_sum(self, name: str, terms: _Terms) -> None:
        """A circle that adds to a learned box what enters without a weight."""
        self._add(name, "circle", self._with_name(TABLE["add"].glyph, name))
        self.stands_for |= dict.fromkeys(terms.inside, name)
        box = box_of(name)
        self._paint_box(box, _AFFINE, "", terms._replace(inside=[]))
        del self.stands_for[box]
        for value in (box, *terms.plain):
            self._wire(value, name)

    def _paint_box(self, key: str, glyph: str, name: str, terms: _Terms) -> None:
        traits = "".join(f'<BR/><FONT POINT-SIZE="9">{trait}</FONT>' for trait in terms.traits)
        self._add(key, "learned", self._with_name(escape(glyph), name) + traits)
        self.stands_for |= dict.fromkeys(terms.inside, key)
        for value, diagonal in terms.weighted.items():
            self._wire(value, key, diagonal=diagonal)

    def _box_under(self, name: str) -> _Terms | None:
        """The learned sum that a nonlinearity closes into one box with it."""
        node = self.nodes[name]
        op = TABLE[node.op.name]
        if op.kind not in ("elementwise", "reduction") or op.linear or len(node.args) != 1:
            return None
        terms = self._terms(node.args[0]) if self._is_private(node.args[0]) else None
        return None if terms is None or terms.plain else terms

    def _terms(self, root: str) -> _Terms | None:
        """A sum with at least one matrix product in it, else None."""
        terms = _Terms({}, [], [], {})
        learned = signed = False
        pending = [root]
        while pending:
            name = pending.pop()
            parts = self._parts(name) if name == root or self._is_private(name) else None
            if parts is None:
                terms.plain.append(name)
                continue
            product, summands = parts
            terms.inside.append(name)
            op = TABLE[self.nodes[name].op.name]
            signed |= not product and not op.commutative
            if product:
                full = op.kind == "contraction"
                terms.weighted[product] = not full and terms.weighted.get(product, True)
                learned |= full
                terms.traits.update(dict.fromkeys(self._traits(name)) if full else {})
            pending.extend(name for name in reversed(summands) if self._varies(name))
        return None if not learned or (signed and terms.plain) else terms

    def _traits(self, product: str) -> list[str]:
        """What is special about the weight of a product."""
        node = self.nodes[product]
        frozen = any("frozen" in dict(self.nodes[a].attrs) for a in node.args)
        structure = TABLE[node.op.name].structure
        return [word for word, there in ((structure, structure), ("frozen", frozen)) if there]

    def _parts(self, name: str) -> tuple[str, list[str]] | None:
        """A value as weight times operand plus summands, read from the op's linearity.

        A slot in which the op is linear together with all others is a summand; two slots
        in which it is linear only apart are the factors of a product.
        """
        node = self.nodes[name]
        op = TABLE[node.op.name]
        if op.kind not in ("elementwise", "contraction") or not op.linear:
            return None
        summands = frozenset.intersection(*op.linear)
        factors = [slot for slot in sorted(frozenset.union(*op.linear)) if slot not in summands]
        if len(summands) + len(factors) != len(node.args) or len(factors) not in (0, 2):
            return None
        added = [node.args[slot] for slot in sorted(summands)]
        operands = [node.args[slot] for slot in factors]
        weights = [operand for operand in operands if not self._varies(operand)]
        if not operands:
            return "", added
        if len(weights) != 1 or not self.nodes[weights[0]].type.shape:
            return None
        operands.remove(weights[0])
        return operands[0], added

    def _pointwise(self, name: str) -> tuple[str, str]:
        """Role and label of an op; an operand that is no wire stands beside the glyph."""
        node = self.nodes[name]
        op = TABLE[node.op.name]
        label = escape(op.glyph or op.name)
        fixed = [a for a in node.args if not self._is_wired(a)]
        if fixed and len(node.args) == 2:
            text = self._short(fixed[0])
            before = op.notation and node.args[0] == fixed[0]
            label = f"{text}{label}" if before else f"{label}{'' if op.notation else ' '}{text}"
        elif fixed and not op.variadic:
            told = (f"{p} = {self._short(a)}" for p, a in zip(op.parameters, node.args, strict=True)
                    if a in fixed)  # fmt: skip
            label += f'<BR/><FONT POINT-SIZE="10">{", ".join(told)}</FONT>'
        letters = unescape(label.replace("<I>", "").replace("</I>", ""))
        named = self._with_name(label, name)
        word = named != label and len(self.naming.taken_apart(name).stem) > _MOST_IN_CIRCLE
        wide = word or len(letters) > _MOST_IN_CIRCLE or _LONGER in letters
        role = "mixer" if op.selects else "ellipse" if wide else "circle"
        return role, named

    def _wire_operands(self, name: str) -> None:
        """Where the order of operands matters, small letters at the wires tell it."""
        node = self.nodes[name]
        op = TABLE[node.op.name]
        wired = [slot for slot, argument in enumerate(node.args) if self._is_wired(argument)]
        marked = len(wired) > 1 and not op.commutative and not op.variadic
        for slot in wired:
            self._wire(node.args[slot], name, slot=op.parameters[slot] if marked else "")

    def _add(self, key: str, role: str, label: str) -> None:
        kind = kind_of(self.cell, key) if key in self.nodes and role != "learned" else ""
        self.picture.add_node(key, role=role, label=label, tooltip=self._told(key), kind=kind)
        self.stands_for[key] = key

    def _wire(
        self,
        source: str,
        target: str,
        *,
        diagonal: bool = False,
        slot: str = "",
        start: bool = False,
    ) -> None:
        """A wire; a join that nothing else uses is two wires that meet at the target."""
        if source in self.nodes and self._is_join(source) and len(self.users[source]) == 1:
            self.stands_for[source] = target
            for part in filter(self._is_wired, self.nodes[source].args):
                self._wire(part, target, start=start)
        else:
            self.picture.add_edge(source, target, diagonal=diagonal, slot=slot, start=start)

    def _is_join(self, name: str) -> bool:
        op = TABLE[self.nodes[name].op.name]
        return op.kind == "structural" and op.variadic and self._varies(name)

    def _varies(self, name: str) -> bool:
        return bool(self.nodes[name].type.extent)

    def _is_wired(self, name: str) -> bool:
        return self._varies(name) or (self.nodes[name].op.name == "const" and not name.isdigit())

    def _is_private(self, name: str) -> bool:
        """Whether a value has no name and one user, so that the user may absorb it."""
        return name.isdigit() and self._varies(name) and len(self.users[name]) == 1

    def _with_name(self, label: str, name: str) -> str:
        """A label, and under it the value's name unless that or the right edge shows it."""
        if not name or name.isdigit() or f"next {name.rstrip(chr(39))}" in self.users[name]:
            return label
        if self.naming.taken_apart(name).stem == label:  # the layer `linear`
            return label
        below = self._label(name)
        strut = _STRUT if "<SUP>" in below else ""
        return f'{label}<BR/><FONT POINT-SIZE="12">{below}</FONT>{strut}'

    def _label(self, name: str, step: str = "") -> str:
        return label_of(self.naming.taken_apart(name.rstrip("'"), step))

    def _short(self, name: str) -> str:
        """A number, weight or short expression inside a circle; a longer one is hinted at."""
        node = self.nodes[name]
        if node.op.name == "const":
            return f"{node.attr('value'):g}"
        if not name.isdigit():
            return self._label(name)
        text = expression_of(self.cell, name).replace("-", "−")
        return f"({escape(text)})" if len(text) <= _SHORT else _LONGER

    def _told(self, name: str) -> str:
        """The equation and comment of a value, or what its op does."""
        node = self.cell.nodes.get(name)
        if node is None:
            return ""
        shape = shape_text(node.type.shape) if node.type.shape else "a number"
        comment = self.cell.comments.get(name, "")
        if name in self.equations:
            lines = [f"{name} = {self.equations[name]}", shape, comment]
        else:
            lines = [comment or TABLE[node.op.name].summary, shape]
        return "\n".join(filter(None, lines))


def box_of(value: str) -> str:
    """The learned box of a sum that is a circle, because something enters without a weight."""
    return f"{value}{_BOX}"


def value_of(key: str) -> str:
    """The value that a thing of the picture is."""
    return key.removesuffix(_BOX)


def _merged(cell: Cell) -> dict[str, str]:
    """For each value of the step the first one without a name that computes the same."""
    step = step_values(cell)
    same: dict[str, str] = {}
    seen: dict[object, str] = {}
    for name, node in ((name, node) for name, node in cell.nodes.items() if name in step):
        args = tuple(same[argument] for argument in node.args)
        identity = (node.op.name, args, node.attrs, node.type)
        same[name] = seen.setdefault(identity, name) if name.isdigit() else name
    return same


def label_of(symbol: Symbol) -> str:
    """A symbol as an HTML label: the letter in italics, the rest as sub- and superscript."""
    below = ",".join(filter(None, (*symbol.below, symbol.step.replace("-", "−"))))
    above = f"({','.join(symbol.above)})" if symbol.above else ""
    small = [
        f'<{tag}><FONT POINT-SIZE="10">{escape(text)}</FONT></{tag}>'
        for tag, text in (("SUB", below), ("SUP", above))
        if text
    ]
    return f"<I>{escape(symbol.stem)}</I>" + "".join(small)
