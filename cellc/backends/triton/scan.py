"""A scan inside one kernel: blocks of steps at once, one block after the other.

A program has some places of one sequence. What the steps of a block have in common with the
one before is a number for each place, kept in wide numbers. What the scan's factor and term
are made of, and what is made of its values, is computed in the same registers.
"""

from __future__ import annotations

import networkx as nx

from cellc.backends import pyast
from cellc.backends.native.places import ZERO, size_of
from cellc.backends.native.stages import Lanes, Segment
from cellc.backends.pyast import Block, Item, Line, lines, quote, quote_statements
from cellc.backends.triton.kernel import Kernel, NotInside, jitted, without_unused
from cellc.backends.triton.step import ONE, Read
from cellc.backends.triton.values import LoopValues, text_of
from cellc.ir import Scan

#: Steps, places and warps of a block.
WAYS = ((32, 32, 1), (64, 32, 4), (128, 32, 4), (32, 64, 4))


#: How many blocks are in flight: one is computed while those after it are loaded.
AHEAD = 3


class ScanKernel(Kernel):
    """Writes the kernel. Raises NotInside."""

    kind, ways, there, first = "scan", WAYS, "", "(sequence + 0*nth)"

    def __init__(self, loop: LoopValues) -> None:
        assert isinstance(loop.loop, Scan)
        self.scan = loop.loop
        (self.state,) = self.scan.carries
        length = size_of(loop.cell.nodes[self.state])
        super().__init__(loop, f"{loop.name}_scan", [length])
        self.is_shared, self.length = True, length
        self.following = loop.outside.nexts[self.state]
        self._look("")
        stages = loop.step.stages
        if not all(
            isinstance(s, Lanes) and s.length in (length, ONE) and not s.products for s in stages
        ):
            raise NotInside
        self.stages = [stage for stage in stages if isinstance(stage, Lanes)]
        if self.scan.backward:
            self._exclusive()
        else:
            self._inclusive()
        self.items += self.kept()
        self.block = self._block()

    def _look(self, ending: str) -> None:
        """Look at the steps of a block, or with an ending at those before each of them."""
        self.time, self.row = f"moment{ending}", f"row{ending}"
        self.earlier, self.here = f"earlier{ending}", f"here{ending}"

    def load(self, read: Read) -> str:
        found = self.of_call(read)
        if found is None:
            raise NotInside
        return found

    # the values

    def _inclusive(self) -> None:
        """The state behind every step: the factor and the term are of the same step."""
        for stage in self.stages:
            for segment in stage.computed:
                if segment.value == self.following:
                    self._scan()
                else:
                    self.compute(Lanes(stage.length, (segment,)))
        self._stores()

    def _exclusive(self) -> None:
        """The state before every step: the factor and the term are of the step before that."""
        graph = self.cell.graph.subgraph(self.scan.values)
        ends = {self.scan.factor, self.scan.term} & set(self.scan.values)
        needed = ends.union(*(nx.ancestors(graph, name) for name in ends))
        self._look("_before")
        for stage in self.stages:
            for segment in stage.computed:
                if segment.value in needed:
                    self.compute(Lanes(stage.length, (segment,)))
        self._scan()
        state = Read(Segment(self.state, ZERO), self.length)
        self.registers = {state: self.registers[state]}
        self._look("")
        wanted = {n for stage in self.stages for n in self._ancestors(stage)}
        for stage in self.stages:
            for segment in stage.computed:
                if segment.value in wanted and segment.value != self.following:
                    self.compute(Lanes(stage.length, (segment,)))
        self._stores()

    def _ancestors(self, stage: Lanes) -> set[str]:
        """What is needed for what a stage has for others."""
        graph = self.cell.graph.subgraph(self.scan.values)
        outputs = [s.value for s in stage.stores if s.value in self.values.outside.outputs]
        found = {root for name in outputs for root in self.step.roots(name)}
        return found.union(*(nx.ancestors(graph, n) for n in found if n in graph))

    def _scan(self) -> None:
        """The statements that compute the state of all steps of a block."""
        own = self.values.ids[self.state]
        name = own if self.scan.backward else self.values.ids[self.following]
        parts = []
        for value, without in ((self.scan.factor, "1.0"), (self.scan.term, "0.0")):
            number = self.values.number(value)
            read = Read(self.step.root(value, ZERO), self.length)
            given = number if number is not None else self.value(read)
            parts.append(quote(f"tl.where({self.here} & inside, v, {without}).to(REAL)", v=given))
        self.items += lines("factor = v", v=parts[0])
        self.items += lines("term = v", v=parts[1])
        self.items += lines("factors, terms = tl.associative_scan((factor, term), 0, affine)")
        target = self.state if self.scan.backward else self.following
        comment = self.values.comment(self.following)
        self.items.append(Line(pyast.assign(name, quote("factors*carry + terms")), comment))
        self.items += lines(
            f"carry = tl.sum(tl.where(nth == ROWS - 1, {name}, 0.0), 0, keep_dims=True)"
        )
        self.registers[Read(Segment(target, ZERO), self.length)] = name

    def _stores(self) -> None:
        for stage in self.stages:
            for read, name, value in self.stored(stage, self.values.outside.outputs):
                self.store_output(read, name, value)
        if self.state in self.values.outside.outputs:
            read = Read(Segment(self.state, ZERO), self.length)
            self.store_output(read, self.state, self.value(read))

    # the function

    def _block(self) -> Block:
        loop = self.values
        back, own = loop.loop.backward, loop.ids[self.state]
        start, end = self.pointer(f"{own}_start"), self.pointer(f"{own}_end")
        place = self.places(Read(Segment(self.state, ZERO), self.length))
        before = [
            *lines("sequence = tl.program_id(0).to(tl.int64)"),
            *self.lane_items(),
            *lines(
                f"""
                nth = tl.arange(0, ROWS)[:, None]
                carry = tl.load({start} + sequence*{place}, mask=inside, other=0.0).to(REAL)
                """
            ),
            *self.starts,
        ]
        given = "steps, batch, sequence, sizes_ptr, RAGGED"
        step: list[Item] = [
            *lines(
                f"""
                done = begin + nth
                {", ".join(_STEP)} = rows_of(done, {given}, {back})
                {", ".join(f"{name}_before" for name in _STEP)} = rows_of(done - 1, {given}, {back})
                """
            ),
            *self.items,
        ]
        count = "steps + 1" if back else "steps"
        blocks = f"tl.range(0, {count}, ROWS, num_stages={AHEAD})"
        head = quote_statements(f"for begin in {blocks}:\n    pass")[0]
        after = lines(f"tl.store({end} + sequence*{place}, carry.to(NUMBER), mask=inside)")
        each = Block(head, tuple(without_unused(step, {"carry"})))
        text = "All steps, a block at once; what they have in common goes from block to block."
        body = [pyast.docstring(text), *without_unused([*before, each, *after])]
        arguments = ["sizes_ptr", "steps", "batch", *self.pointers.values()]
        return Block(jitted(self.name, [*arguments, *self.constants(body)]), tuple(body))

    def call(self) -> Item:
        """The launch of the kernel."""
        grid = f"by_sequence(call.batch, {text_of(self.length)})"
        given = ["call.sizes", "call.steps", "call.batch", *self.pointers]
        return self.launched(grid, given, "call.flags", "power_of_2", "")


#: What ``rows_of`` gives.
_STEP = ("moment", "row", "earlier", "here")
