"""How a value depends on the states of a loop: on which of their units, and whether linearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from cellc.ir import Cell, Dim, Node
from cellc.ir.types import Shape, positions
from cellc.ops import TABLE
from cellc.ops.blocks import copies_of
from cellc.passes.parts import (
    ONE,
    ZERO,
    Dependence,
    Follows,
    Part,
    before,
    behind,
    cut_alike,
    loosened,
    meet,
    one,
    spread,
)


def through(cell: Cell, name: str, found: Mapping[str, Dependence]) -> Dependence:
    """The dependence of a value, given those of its operands; empty where it has none."""
    node = cell.nodes[name]
    op = TABLE[node.op.name]
    depends = {
        slot: found[argument]
        for slot, argument in enumerate(node.args)
        if any(part.along is not None for part in found.get(argument, ()))
    }
    constant = op.kind in ("structural", "reduction") and op.derivative == (None,)
    if not depends or constant:
        return ()
    shapes = [cell.nodes[argument].type.shape for argument in node.args]
    step = _Step(name, node, shapes, depends)
    linear = any(depends.keys() <= slots for slots in op.linear)
    if op.kind == "elementwise":
        return step.together(depends, op.linear)
    if op.kind == "reduction":
        return step.bent_unless(linear, step.over_last())
    rule = _RULES.get(op.name)
    if rule is not None:
        return rule(step)
    return step.bent_unless(linear or op.name in _MOVING, step.mixing())


@dataclass(frozen=True)
class _Step:
    """One operation: its value's name, its node, and what its operands are."""

    name: str
    node: Node
    shapes: Sequence[Shape]
    depends: Mapping[int, Dependence]

    @property
    def shape(self) -> Shape:
        return self.node.type.shape

    @property
    def length(self) -> Dim:
        return self.shape[0] if self.shape else ONE

    def bent_unless(self, linear: bool, value: Dependence) -> Dependence:
        if linear:
            return value
        return tuple(p if p.along is None or p.bent else replace(p, bent=self.name) for p in value)

    def mixing(self) -> Dependence:
        """Every unit of the result may depend on every unit of the operands."""
        parts = [
            part for value in self.depends.values() for part in value if part.along is not None
        ]
        bent = next(filter(None, (part.bent for part in parts)), "")
        before = [part.mixed for part in parts if not any(part.along or ())]
        mixed = before[0] if len(before) == len(parts) else ""
        return (Part(self.length, (None,) * len(self.shape), mixed or self.name, bent),)

    def together(self, depends: Mapping[int, Dependence], linear: Sequence[Set[int]]) -> Dependence:
        """An elementwise operation: operands are spread over the result, then meet part by part.

        ``linear`` has the sets of operands in which it is jointly linear.
        """
        rank = len(self.shape)
        values: list[Dependence] = []
        for slot, value in depends.items():
            placed = positions(self.shapes[slot], self.shape)
            assert placed is not None, "an elementwise operand fits into the result"
            if placed != tuple(range(rank)):
                value = (spread(one(value, self.name), placed, rank, self.length),)
            values.append(value)
        rows = cut_alike(values)
        if rows is None:
            rows = [tuple(one(value, self.name) for value in values)]
        parts: list[Part] = []
        for row in rows:
            slots = {s for s, part in zip(depends, row, strict=True) if part.along is not None}
            straight = any(slots <= known for known in linear)
            parts += self.bent_unless(straight, (meet(row, self.name),))
        return tuple(parts)

    def over_last(self) -> Dependence:
        """A reduction mixes the last dimension and leaves the others where they are."""
        value, given = self.depends[0], self.shapes[0]
        if self.shape not in (given, given[:-1]):
            return self.mixing()
        if len(given) == 1:
            whole = loosened(one(value, self.name), 0, self.name)
            return (replace(whole, size=self.length, along=(None,) * len(self.shape)),)
        kept = len(self.shape)
        loose = [loosened(part, kept - 1 if self.shape == given else kept, self.name)
                 for part in value]  # fmt: skip
        return tuple(
            part if part.along is None else replace(part, along=part.along[:kept]) for part in loose
        )


def _joined(step: _Step) -> Dependence:
    """concat: the parts of all operands, one behind the other."""
    parts: list[Part] = []
    for slot, shape in enumerate(step.shapes):
        parts += step.depends.get(slot, (Part(shape[0], None),))
    return tuple(parts)


def _stacked(step: _Step) -> Dependence:
    """stack: an operand is a part of length one, whose dimensions come one later."""
    parts = []
    for slot in range(len(step.shapes)):
        value = step.depends.get(slot)
        if value is None:
            parts.append(Part(ONE, None))
        else:
            whole = one(value, step.name)
            assert whole.along is not None, "an operand that depends on no state is left out"
            parts.append(replace(whole, size=ONE, along=(None, *whole.along)))
    return tuple(parts)


def _picked(step: _Step) -> Dependence:
    """at: one of the parts where they are of length one, else what all of them come to."""
    value, index = step.depends[0], step.node.attr("index")
    assert isinstance(index, int)
    part = one(value, step.name)
    if len(value) > index and all(each.size == ONE for each in value):
        part = value[index]
    if part.along is None:
        return ()
    lost = part.mixed if part.along[0] is None else step.name
    return (Part(step.length, part.along[1:], lost, part.bent),)


def _cut(step: _Step) -> Dependence:
    """slice: the parts between two places, the outer ones cut."""
    value, node = step.depends[0], step.node
    start, stop = node.attr("start"), node.attr("stop")
    assert isinstance(start, Dim)
    assert isinstance(stop, Dim)
    axis = dict(node.attrs).get("axis", 0)
    if axis != 0:
        assert isinstance(axis, int)
        return tuple(loosened(part, axis, step.name) for part in value)
    rest = behind(value, start, step.name)
    found = None if rest is None else before(rest, stop - start, step.name)
    if found is None:
        return (replace(loosened(one(value, step.name), 0, step.name), size=step.length),)
    return found if any(part.along is not None for part in found) else ()


def _outer(step: _Step) -> Dependence:
    """outer: what depends on a state keeps its place where the other factor does not."""
    if len(step.depends) > 1:
        return step.bent_unless(False, step.mixing())
    ((slot, value),) = step.depends.items()
    if slot == 0:
        rank = len(step.shapes[1])
        return tuple(
            part if part.along is None else replace(part, along=(*part.along, *(None,) * rank))
            for part in value
        )
    rank = len(step.shapes[0])
    whole = one(value, step.name)
    assert whole.along is not None, "an operand that depends on no state is left out"
    along = ((None,) * rank + whole.along) if rank else whole.along
    return (replace(whole, size=step.length, along=along),)


def _product(step: _Step) -> Dependence:
    """matmul, with or without a sum: a matrix made of states keeps the dimensions left over."""
    added = {slot: value for slot, value in step.depends.items() if slot == 2}
    factors = {slot: value for slot, value in step.depends.items() if slot < 2}
    if not factors:
        return added[2]
    if 1 in factors or not step.shape:
        product = step.mixing()
    else:
        kept = len(step.shape)
        product = tuple(
            part
            if part.along is None
            else replace(part, along=part.along[:kept], mixed=step.name)
            for part in factors[0]
        )  # fmt: skip
    product = step.bent_unless(len(factors) == 1, product)
    if not added:
        return product
    terms = replace(step, shapes=(step.shape, step.shape))
    return terms.together({0: product, 1: added[2]}, (frozenset({0, 1}),))


def _by_blocks(step: _Step) -> Dependence:
    """block_matmul: groups follow groups where the vector has the same ones, or finer."""
    value = one(step.depends.get(1, ()), step.name)
    copies = copies_of(dict(step.node.attrs))
    blocks = step.shapes[0][0] / copies
    if 0 in step.depends or value.along is None:
        return step.bent_unless(len(step.depends) == 1, step.mixing())
    (place,) = value.along
    kept = place is not None and place.whole and (place.fine or place.groups == blocks)
    if place is None or not kept:
        return step.mixing()
    part = Part(
        step.length / copies,
        (Follows(place.axis, blocks, ZERO, blocks, fine=False),),
        step.name,
        value.bent,
    )
    return (part,) * copies


#: Ops that move or weigh numbers and have a rule of their own.
_RULES = {
    "concat": _joined,
    "stack": _stacked,
    "at": _picked,
    "slice": _cut,
    "outer": _outer,
    "matmul": _product,
    "matmul_add": _product,
    "block_matmul": _by_blocks,
}
_MOVING = ("concat", "stack", "at", "slice")
