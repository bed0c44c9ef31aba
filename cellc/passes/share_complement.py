"""Complementary gates: one product and one sigmoid serve both, one blend replaces two products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from cellc.ir import Cell, TypeMismatch
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.loops import loops_of
from cellc.passes.rewrite import Firing
from cellc.passes.signs import opposites, signed_numbers
from cellc.passes.sums import Term, added, quotient, roots_of, terms_of

WRITTEN = "f*a + (1 - f)*b => lerp(b, a, f)"
MIRRORED = "sigmoid(a)*b + sigmoid(-a)*c => lerp(c, b, sigmoid(a))"
MOVED = "b + f*(a - b) => lerp(b, a, f)"

#: What becomes a blend. Each is exact to rounding of the larger of the two values; see
#: docs/decisions/0017-complementary-gates.md.
BLENDS = (WRITTEN, MIRRORED, MOVED)


@dataclass(frozen=True)
class ShareComplement:
    """Recognises complementary gates, so that one product and one sigmoid serve both.

    Gates are complementary as ``f`` and ``1 - f``, or as ``sigmoid(a)`` and ``sigmoid(-a)``,
    however ``-a`` is written. A second sigmoid that only takes part in blends falls away;
    one with other uses stays, being exact where ``1 - f`` is not, and shares the product
    of the first. What is known before a loop is left to be computed there.

    Before::

        %f = sigmoid(%a) : [H] over {batch, time}
        %1 = negate(%a) : [H] over {batch, time}
        %i = sigmoid(%1) : [H] over {batch, time}
        %2 = multiply(%f, %c) : [H] over {batch, time}
        %3 = multiply(%i, %g) : [H] over {batch, time}
        %c' = add(%2, %3) : [H] over {batch, time}

    After::

        %f = sigmoid(%a) : [H] over {batch, time}
        %c' = lerp(%g, %c, %f) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        return self.run_logged(cell)[0]

    def run_logged(self, cell: Cell) -> tuple[Cell, list[Firing]]:
        """The cell, and which of :data:`BLENDS` was found where."""
        log: list[Firing] = []
        while True:
            edit = Edit(cell)
            for name in cell.nodes:
                edit.keep(name)
            fired = [f for root, blends in _found(cell) for f in _apply(edit, root, blends)]
            if not fired and not _share_products(edit):
                return cell, log
            log += fired
            cell = Dce().run(cell.replace(in_order(edit.nodes)))


@dataclass(frozen=True)
class _Blend:
    """Two terms of a sum that blend two values by a gate.

    ``falls`` is the factor of the second term that the blend makes superfluous, if nothing
    else uses it. ``gate`` is the factor of the first that it complements. Where it is the
    difference of what the term moves between, ``gate`` is None and ``ends`` are both.
    """

    rule: str
    terms: tuple[Term, Term]
    falls: str
    gate: str | None = None
    ends: tuple[str, str] = ("", "")


def _found(cell: Cell) -> Iterator[tuple[str, list[_Blend]]]:
    """Every sum with the blends to make of its terms, no term in two of them."""
    pairs = _Pairs(cell)
    found: dict[str, list[_Blend]] = {}
    for root in roots_of(cell):
        both = [p for c in combinations(terms_of(cell, root), 2) for p in permutations(c)]
        blends = [blend for first, second in both for blend in pairs.blends(first, second)]
        found[root] = [blend for blend in blends if not pairs.known_before(root, blend)]
    falling = _falling(cell, found.values())
    while True:
        chosen = {root: _disjoint(blends, falling) for root, blends in found.items()}
        fall = [blend.falls for blends in chosen.values() for blend in blends]
        lasting = {gate for gate in falling if fall.count(gate) < cell.uses[gate]}
        if not lasting:
            return ((root, blends) for root, blends in chosen.items() if blends)
        falling -= lasting


def _disjoint(blends: Sequence[_Blend], falling: set[str]) -> list[_Blend]:
    """Blends in their order, no term in two of them, without mirror images that stay."""
    taken: set[str] = set()
    chosen = []
    for blend in blends:
        names = {term.name for term in blend.terms}
        lasting = blend.rule == MIRRORED and blend.falls not in falling
        if not lasting and taken.isdisjoint(names):
            taken |= names
            chosen.append(blend)
    return chosen


class _Pairs:
    """What is known of the values of a cell when two terms are compared."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.loops = cell, loops_of(cell)
        self.numbers = signed_numbers(cell)
        self.mirrors = set(_mirrors(cell))

    def blends(self, first: Term, second: Term) -> Iterator[_Blend]:
        """The ways in which the second term complements the first."""
        if first.sign < 0:
            return
        for falls in second.factors:
            parts = self._difference(falls, second.sign)
            if len(second.factors) == 1:
                continue
            if parts is not None and self._same(parts[1], first.name):
                yield _Blend(MOVED, (first, second), falls, None, (parts[1], parts[0]))
            for gate in dict.fromkeys(first.factors) if len(first.factors) > 1 else ():
                if parts is not None and self._is_one(parts[0]) and self._same(parts[1], gate):
                    yield _Blend(WRITTEN, (first, second), falls, gate)
                elif (gate, falls) in self.mirrors and second.sign > 0:
                    yield _Blend(MIRRORED, (first, second), falls, gate)

    def known_before(self, root: str, blend: _Blend) -> bool:
        """Whether a blend would do at every step what is known before the loop, or less often."""
        terms = [term.name for term in blend.terms]
        parts = terms if blend.gate else [blend.falls]
        if any(self.loops.get(part) != self.loops.get(root) for part in parts):
            return True
        extents = [self.cell.nodes[part].type.extent for part in (*terms, blend.falls)]
        return extents.count(self.cell.nodes[root].type.extent) < 2

    def _difference(self, name: str, sign: int) -> tuple[str, str] | None:
        """What a difference with a sign subtracts from what; None for other values."""
        node = self.cell.nodes[name]
        if node.op.name != "subtract":
            return None
        left, right = node.args
        return (left, right) if sign > 0 else (right, left)

    def _is_one(self, name: str) -> bool:
        node = self.cell.nodes[name]
        return node.op.name == "const" and node.attr("value") == 1

    def _same(self, one: str, other: str) -> bool:
        return self.numbers[one] == self.numbers[other]


def _mirrors(cell: Cell) -> list[tuple[str, str]]:
    """The pairs of sigmoids of a value and of its negative, both ways round."""
    gates = [name for name, node in cell.nodes.items() if node.op.name == "sigmoid"]
    numbers = signed_numbers(cell) if len(gates) > 1 else {}
    arguments = [(gate, numbers[cell.nodes[gate].args[0]]) for gate in gates if numbers]
    pairs = permutations(arguments, 2)
    return [(one, two) for (one, a), (two, b) in pairs if opposites(a, b)]


def _falling(cell: Cell, found: Iterable[list[_Blend]]) -> set[str]:
    """The sigmoids that have no use but in blends with their mirror images.

    Of two such images the one of a negative falls away, else the later one.
    """
    places: dict[str, set[str]] = {}
    partners: dict[str, set[str]] = {}
    for blend in (blend for blends in found for blend in blends if blend.rule == MIRRORED):
        assert blend.gate is not None
        places.setdefault(blend.falls, set()).add(blend.terms[1].name)
        partners.setdefault(blend.falls, set()).add(blend.gate)
    free = [gate for gate in cell.nodes if len(places.get(gate, ())) == cell.uses[gate] > 0]
    free.sort(key=lambda gate: cell.nodes[cell.nodes[gate].args[0]].op.name == "negate")
    falling: set[str] = set()
    for gate in reversed(free):
        if falling.isdisjoint(partners[gate]):
            falling.add(gate)
    return falling


def _apply(edit: Edit, root: str, blends: Sequence[_Blend]) -> Iterator[Firing]:
    """Put blends in the place of their terms."""
    cell, old = edit.cell, edit.nodes[root]
    before = set(edit.nodes)
    instead: dict[str, str | None] = {}
    try:
        for blend in blends:
            first, second = (term.name for term in blend.terms)
            spans = old.spans | spans_of(cell.nodes, [first, second, blend.falls])
            rest = quotient(edit, second, blend.falls, spans)
            near, far = blend.ends
            values: list[str | None] = [near, far, rest]
            if blend.gate is not None:
                values = [rest, quotient(edit, first, blend.gate, spans), blend.gate]
            instead |= {second: None, first: edit.add("lerp", map(str, values), spans)}
        total = added(edit, terms_of(cell, root), instead, old.spans)
    except TypeMismatch:
        total = root
    if edit.nodes[total].type != old.type or total == root:
        for leftover in set(edit.nodes) - before:
            del edit.nodes[leftover]
        return
    edit.nodes[root] = edit.nodes.pop(total)
    yield from (Firing(blend.rule, root) for blend in blends)


def _share_products(edit: Edit) -> bool:
    """Make the argument of a sigmoid the negative of its mirror image's; whether one was found."""
    cell = edit.cell
    for kept, other in _mirrors(cell):
        base, again = (cell.nodes[gate].args[0] for gate in (kept, other))
        ops = [cell.nodes[argument].op.name for argument in (base, again)]
        saved = any(
            cell.uses[argument] == 1 and not cell.nodes[argument].op.leaf
            for argument in cell.nodes[again].args
        )
        if saved and cell.uses[again] == 1 and "negate" not in ops and ops != ["subtract", "add"]:
            negative = edit.add("negate", [base], cell.nodes[again].spans)
            edit.nodes[again] = edit.nodes.pop(negative)
            return True
    return False
