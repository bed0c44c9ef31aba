"""One step of a loop as stages: products with what is computed of them, and the rest.

In a stage of lanes every number depends on numbers at its own place only, so that vectors of
them stay in registers; the products that such a stage begins with are computed for the same
places. What is stored is what another stage, the next step or the caller reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import networkx as nx

from cellc.backends.native.places import ZERO, Places, Unordered, moved, ordered, size_of
from cellc.diagnostics import fail
from cellc.ir import Cell, Dim, Kernel, Loop
from cellc.ir.types import NOWHERE
from cellc.ops import TABLE

#: Products with a weight that all rows share, and those of them with its transpose.
PLAIN = ("matmul", "matmul_add", "matmul_transposed", "matmul_transposed_add")
TRANSPOSED = PLAIN[2:]
#: More cuts than this in the values of a group, in the mean, and they are not followed.
MOST_CUTS = 64


@dataclass(frozen=True)
class Segment:
    """The numbers of a value from a place on."""

    value: str
    start: Dim


@dataclass(frozen=True)
class Gemm:
    """A product of a weight and a vector of ``depth`` numbers.

    Its results stand in segments of one ``length``, which begin at ``starts``; ``added`` is
    added to them, where it is not None.
    """

    value: str
    weight: str
    vector: str
    depth: Dim
    transposed: bool
    length: Dim
    starts: tuple[Dim, ...]
    added: str | None


@dataclass(frozen=True)
class Lanes:
    """Segments of one length, computed place by place, after some products; some are stored."""

    length: Dim
    computed: tuple[Segment, ...]
    stores: tuple[Segment, ...] = ()
    products: tuple[Gemm, ...] = ()

    @property
    def made(self) -> tuple[Segment, ...]:
        """What is in registers: the results of products, and what is computed."""
        results = (Segment(gemm.value, start) for gemm in self.products for start in gemm.starts)
        return (*results, *self.computed)


@dataclass(frozen=True)
class Whole:
    """A value that is computed row by row of all its operands."""

    value: str


Stage = Lanes | Whole


Unit = str | tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """How a loop's step becomes stages; ``kept`` is what the caller or the derivative reads."""

    cell: Cell
    loop: Loop
    kept: frozenset[str]

    @cached_property
    def places(self) -> Places:
        outside = {*self.loop.carries, *self.loop.ahead}
        return Places(self.cell, frozenset(self.loop.values) - outside)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order.

        Raises CellcError ``missing-spelling`` where places cannot be compared.
        """
        try:
            return self._ordered()
        except Unordered:
            fail(
                "missing-spelling",
                f"compiled loops cannot order the parts of `{self.loop.values[-1]}` without sizes",
                hints=("choose sizes now, as by `--size H=64`",),
            )

    def _ordered(self) -> tuple[Stage, ...]:
        """The stages. Raises Unordered."""
        units = self._units()
        needed = self._needed_whole(units)
        found: list[Stage] = []
        pending: list[Gemm] = []
        for unit in units:
            if isinstance(unit, tuple):
                found += Group(self, unit, needed, tuple(pending)).stages()
            elif self.is_plain(unit):
                pending.append(self.gemm(unit))
                continue
            else:
                found += [*map(alone, pending), Whole(unit)]
            pending = []
        return self._storing((*found, *map(alone, pending), *self._handed_on()), needed)

    def _handed_on(self) -> Iterator[Lanes]:
        """Stages for what is kept, or becomes a state, without being computed: other states."""
        nexts = self.cell.values("next")
        names = [*(nexts[state] for state in self.loop.carries), *sorted(self.kept)]
        for name in dict.fromkeys(names):
            if not self.is_computed(name):
                yield Lanes(size_of(self.cell.nodes[name]), (), (Segment(name, ZERO),))

    # what a value is

    def operands(self, name: str) -> tuple[str, ...]:
        """The operands of a value whose numbers it reads."""
        node = self.cell.nodes[name]
        if node.op.name == "spread":
            return node.args[:1]
        return () if node.op.name == "zeros_like" else node.args

    def is_lanes(self, name: str) -> bool:
        """Whether each number of a value depends on numbers at its own place, or on one alone."""
        node = self.cell.nodes[name]
        shapes = [self.cell.nodes[a].type.shape for a in self.operands(name)]
        kind = TABLE[node.op.name].kind
        by_place = kind == "elementwise" or node.op.name in ("spread", "zeros_like", "zeros")
        return by_place and all(shape in ((), node.type.shape) for shape in shapes)

    def is_plain(self, name: str) -> bool:
        """Whether a value is a product with a weight that all rows share."""
        node = self.cell.nodes[name]
        return node.op.name in PLAIN and self.cell.nodes[node.args[0]].type.extent == NOWHERE

    def is_computed(self, name: str) -> bool:
        """Whether the loop computes a value."""
        inside = name in self.loop.values and name not in self.loop.ahead
        return inside and not self.cell.nodes[name].op.leaf

    def is_view(self, name: str) -> bool:
        """Whether a value joins or cuts others, in its first dimension."""
        return self.places.sources(name) is not None

    def roots(self, name: str) -> Iterator[str]:
        """The values that a value is made of, views seen through."""
        sources = self.places.sources(name)
        if sources is None:
            yield name
        for source, _, _ in sources or ():
            yield from self.roots(source)

    def in_one_piece(self, name: str) -> str:
        """The value that contains all of another in one piece."""
        found = self.places.whole(name)
        return name if found is None else found[0]

    # the parts of a step

    def _units(self) -> list[Unit]:
        """Elementwise values and views in groups, and the other values one by one."""
        units: list[Unit] = []
        for part in self.loop.parts:
            group: list[str] = []
            for name in part.values:
                if isinstance(part, Kernel) and (self.is_lanes(name) or self.is_view(name)):
                    group.append(name)
                else:
                    units += [*([tuple(group)] if group else []), name]
                    group = []
            units += [tuple(group)] if group else []
        return units

    def _needed_whole(self, units: Sequence[Unit]) -> frozenset[str]:
        """The computed values that a product, the next step or the caller reads as a whole."""
        nexts = self.cell.values("next")
        needed = {*self.kept, *(nexts[state] for state in self.loop.carries)}
        for name in (unit for unit in units if isinstance(unit, str)):
            args = self.cell.nodes[name].args
            read = args[1:] if self.is_plain(name) else args
            needed |= {self.in_one_piece(argument) for argument in read}
        return frozenset(name for name in needed if self.is_computed(name))

    def gemm(self, name: str) -> Gemm:
        """A value that is a product as such, with its results in one segment."""
        node = self.cell.nodes[name]
        weight, vector, *added = node.args
        depth = size_of(self.cell.nodes[vector])
        transposed = node.op.name in TRANSPOSED
        length = size_of(node)
        return Gemm(name, weight, vector, depth, transposed, length, (ZERO,),
                    added[0] if added else None)  # fmt: skip

    # what is stored

    def _storing(self, stages: tuple[Stage, ...], needed: frozenset[str]) -> tuple[Stage, ...]:
        """The stages, each storing what others read of what it computes."""
        stored = {name for name in needed if not self.is_view(name)}
        for stage in stages:
            own = {segment.value for segment in stage.made} if isinstance(stage, Lanes) else set()
            stored |= {n for n in self.read(stage) if self.is_computed(n) and n not in own}
        return tuple(
            replace(s, stores=(*(m for m in s.made if m.value in stored), *s.stores))
            if isinstance(s, Lanes) else s for s in stages
        )  # fmt: skip

    def read(self, stage: Stage) -> Iterator[str]:
        """The values that a stage reads, views seen through."""
        if isinstance(stage, Whole):
            yield from map(self.in_one_piece, self.cell.nodes[stage.value].args)
            return
        for gemm in stage.products:
            yield self.in_one_piece(gemm.vector)
            yield from self.roots(gemm.added) if gemm.added else ()
        for segment in stage.computed:
            for operand in self.operands(segment.value):
                yield from self.roots(operand)
        for segment in stage.stores:
            yield from self.roots(segment.value)


def alone(gemm: Gemm) -> Lanes:
    """A product that is computed for itself."""
    return Lanes(gemm.length, (), (), (gemm,))


@dataclass(frozen=True)
class Group:
    """Elementwise values and views between products, of which ``needed`` are stored whole.

    ``pending`` are products computed before; those that one stage alone can begin with, do.
    """

    step: Step
    names: tuple[str, ...]
    needed: frozenset[str]
    pending: tuple[Gemm, ...]

    def stages(self) -> list[Lanes]:
        """The products that go with no stage, and the stages in an order that they can run in."""
        cuts = self._cuts()
        lanes: dict[Dim, Lanes] = {}
        for name in self.names:
            is_stored_view = self.step.is_view(name) and name in self.needed
            if self.step.is_view(name) and not is_stored_view:
                continue
            for segment, length in _segments(name, cuts[name]):
                stage = lanes.get(length, Lanes(length, ()))
                lanes[length] = (
                    replace(stage, stores=(*stage.stores, segment)) if is_stored_view
                    else replace(stage, computed=(*stage.computed, segment))
                )  # fmt: skip
        first: list[Lanes] = []
        for gemm in self.pending:
            shared = self._length_with(gemm, cuts, lanes)
            if shared is None:
                first.append(alone(gemm))
            else:
                starts = tuple(s.start for s, _ in _segments(gemm.value, cuts[gemm.value]))
                stage, part = lanes[shared], replace(gemm, length=shared, starts=starts)
                lanes[shared] = replace(stage, products=(*stage.products, part))
        return [*first, *self._in_order(list(lanes.values()))]

    def _length_with(
        self, gemm: Gemm, cuts: Mapping[str, set[Dim]], lanes: Mapping[Dim, Lanes]
    ) -> Dim | None:
        """The length of the one stage that reads a product, if it reads it in such segments."""
        readers = [n for n, stage in lanes.items() if gemm.value in self._roots_of(stage)]
        lengths = {length for _, length in _segments(gemm.value, cuts.get(gemm.value, set()))}
        return readers[0] if len(readers) == 1 and lengths == set(readers) else None

    def _roots_of(self, stage: Lanes) -> set[str]:
        read = [o for s in stage.computed for o in self.step.operands(s.value)]
        read += [s.value for s in stage.stores]
        return {root for name in read for root in self.step.roots(name)}

    def _in_order(self, stages: list[Lanes]) -> list[Lanes]:
        """Stages so that each follows those that it reads."""
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(len(stages)))
        made = [{segment.value for segment in stage.made} for stage in stages]
        for place, stage in enumerate(stages):
            read = self._roots_of(stage)
            others = (k for k, values in enumerate(made) if k != place)
            graph.add_edges_from((k, place) for k in others if read & made[k] - made[place])
        if not nx.is_directed_acyclic_graph(graph):
            raise Unordered
        return [stages[k] for k in nx.lexicographical_topological_sort(graph)]

    def _cuts(self) -> dict[str, set[Dim]]:
        """Where each value is cut so that all that is computed place by place has its parts."""
        step, cuts = self.step, dict[str, set[Dim]]()
        pairs, views = self._alike(), set[str]()
        pending = [*self.names, *(name for pair in pairs for name in pair)]
        while pending:
            name = pending.pop()
            if name not in cuts:
                cuts[name] = {ZERO, size_of(step.cell.nodes[name])}
                pending += [source for source, _, _ in step.places.sources(name) or ()]
                views |= {name} if step.is_view(name) else set()
        before = 0
        while before < (now := sum(map(len, cuts.values()))):
            if now > MOST_CUTS * len(cuts):
                raise Unordered
            before = now
            for one, other in pairs:
                cuts[one] |= cuts[other]
                cuts[other] |= cuts[one]
            for view in views:
                for source, start, here, length in step.places.pieces(view):
                    cuts[source] |= moved(cuts[view], here, length, start)
                    cuts[view] |= moved(cuts[source], start, length, here)
        return cuts

    def _alike(self) -> list[tuple[str, str]]:
        """Pairs of values that are cut at the same places."""
        step, nodes = self.step, self.step.cell.nodes
        shapes = {name: nodes[name].type.shape for name in nodes}
        pairs = [
            (name, operand)
            for name in self.names if step.is_lanes(name)
            for operand in step.operands(name) if shapes[operand] == shapes[name]
        ]  # fmt: skip
        return pairs + [(gemm.value, gemm.added) for gemm in self.pending if gemm.added]


def _segments(name: str, cuts: Iterable[Dim]) -> list[tuple[Segment, Dim]]:
    """The segments of a value between its cuts, with their lengths."""
    return [(Segment(name, begin), end - begin) for begin, end in pairwise(ordered(cuts))]
