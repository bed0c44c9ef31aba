"""A loop inside one kernel: weights are loaded once, and states stay in registers.

A program has some sequences and all places of their states, or those of one block where weights
are block-diagonal, or some places where there are no products at all. No program waits for another.
"""

from __future__ import annotations

import ast

from cellc.backends import pyast
from cellc.backends.native.places import ZERO, size_of
from cellc.backends.native.stages import Gemm, Segment
from cellc.backends.pyast import Block, Item, Line, lines, quote, quote_statements
from cellc.backends.triton.kernel import (
    Kernel,
    NotInside,
    can_share,
    has_sums,
    jitted,
    lengths_of,
    without_unused,
)
from cellc.backends.triton.step import ONE, Read
from cellc.backends.triton.values import LoopValues, text_of, times
from cellc.backends.triton.weights import parts_of_vector, place_in_weight
from cellc.ir import Dim

#: Ways for a loop without products, for one with products, whose tiles have at least 16 rows, and
#: for one that has sums over places instead.
CHANNELS = ((1, 32, 1), (1, 128, 4), (4, 32, 1))
WITH_PRODUCTS = ((16, 0, 4), (16, 0, 8), (16, 0, 16))
WITH_SUMS = ((1, 0, 4), (1, 0, 8))


class FusedKernel(Kernel):
    """Writes the kernel. Raises NotInside.

    ``tiles`` are the parts of weights that a program keeps, by their variables, with their
    outputs and inputs.
    """

    def __init__(self, loop: LoopValues) -> None:
        launches = loop.step.launches
        stages = [stage for launch in launches for stage in launch.stages]
        self.gemms = [gemm for launch in launches for gemm in launch.products]
        self.kind = "fused" if self.gemms else "diagonal"
        super().__init__(loop, f"{loop.name}_{self.kind}", _lengths(loop))
        blocks = {loop.between.blocks(gemm) for gemm in self.gemms}
        self.blocks = next(iter(blocks), None)
        self.is_shared = not self.gemms and can_share(loop, stages) and len(self.lengths) == 1
        sums = has_sums(stages)
        self.ways = CHANNELS if self.is_shared else WITH_PRODUCTS if self.gemms else WITH_SUMS
        if len(blocks) > 1 or any(launch.alone for launch in launches):
            raise NotInside
        if self.blocks and (sums or not self._fits_blocks()):
            raise NotInside
        self.tiles: dict[str, tuple[Dim, Dim]] = {}
        self.taken, self.ahead = list[Item](), list[Item]()
        self._states()
        for launch in launches:
            for gemm in launch.products:
                self._product(gemm)
            for stage in launch.stages:
                self.compute(stage)
                for read, name, value in self.stored(stage, loop.outside.outputs):
                    self.store_output(read, name, value)
        self.items += self.kept()
        self._next()
        self.block = self._block()

    def _fits_blocks(self) -> bool:
        """Whether all that is computed has the places of the blocks, block by block."""
        assert self.blocks is not None
        wide = self.blocks.count * self.blocks.outputs
        return self.blocks.outputs == self.blocks.inputs and self.lengths == [wide]

    def load(self, read: Read) -> str:
        found = self.of_call(read)
        if found is None:
            raise NotInside
        return found

    def value(self, read: Read) -> ast.expr:
        """As ever; what is known of all steps is loaded a step ahead, so that no step waits."""
        name, outside = read.segment.value, self.values.outside
        if read in self.registers or name not in (*outside.rows, *outside.shifts):
            return super().value(read)
        self._look("_ahead")
        loaded = quote(self.load(read))
        self._look("")
        items, self.items = self.items, self.taken
        own = self.hold(read, loaded, self.values.comment(name))
        self.items = items
        ahead = f"{own}_ahead"
        self.ahead.append(Line(pyast.assign(ahead, loaded)))
        here = quote(f"{ahead} != 0" if self.values.is_boolean(name) else f"{ahead}.to(REAL)")
        self.taken[-1] = Line(pyast.assign(own, here), self.values.comment(name))
        return pyast.name(own)

    def _look(self, ending: str) -> None:
        """Look at the step that is done, or with an ending at the next."""
        self.time, self.row, self.here = f"moment{ending}", f"row{ending}", f"here{ending}"
        self.earlier = f"(before{ending} + sequence)"

    # states

    def _own(self, state: str) -> Read:
        return Read(Segment(state, ZERO), size_of(self.cell.nodes[state]))

    def _states(self) -> None:
        """The states before the first step, in registers."""
        for state in self.values.loop.carries:
            own, read = self.values.ids[state], self._own(state)
            source = f"{self.pointer(f'{own}_start')} + sequence*{self.places(read)}"
            value = self.loaded(source, f"there & {self.mask(read.length)}")
            self.starts += lines(f"{own} = {value}.to(REAL)")
            self.registers[read] = own

    def _next(self) -> None:
        """The states of the next step; of rows that are not in this one they stay."""
        targets, values = [], list[ast.expr]()
        for state in self.values.loop.carries:
            own, following = self.values.ids[state], self.values.outside.nexts[state]
            number = self.values.number(following)
            read = Read(self.step.root(following, ZERO), size_of(self.cell.nodes[state]))
            value = self.value(read) if number is None else number
            targets.append(own)
            values.append(quote("tl.where(here, v, s)", v=value, s=own))
        if len(targets) == 1:
            self.items.append(Line(pyast.assign(targets[0], values[0])))
        elif targets:
            self.items.append(Line(pyast.assign(targets, ast.Tuple(values, ast.Load()))))

    # products

    def _product(self, gemm: Gemm) -> None:
        """The results of a product, each a sum over the parts of the vector."""
        parts = list(parts_of_vector(self.step, gemm.vector, self.registers))
        if not parts or ONE in {gemm.length, *(read.length for read, _ in parts)}:
            raise NotInside
        for start in gemm.starts:
            total: ast.expr | None = None
            for read, offset in parts:
                weight = self._weight(gemm, start, offset, read.length)
                inside = self.mask(read.length)
                vector = quote("tl.where(i, v, 0.0).to(NUMBER)", i=inside, v=self.value(read))
                text = "tl.dot(v, w, input_precision=PRECISION, out_dtype=REAL)"
                part = quote(text, v=vector, w=weight)
                total = part if total is None else quote("a + b", a=total, b=part)
            assert total is not None
            result = Read(Segment(gemm.value, start), gemm.length)
            value = self.product(result, quote("v.to(REAL)", v=total))
            self.hold(result, value, self.values.comment(gemm.value))

    def _weight(self, gemm: Gemm, start: Dim, offset: Dim, inputs: Dim) -> str:
        """The variable with the part of a weight that makes some results of a part of a vector."""
        own = self.values.ids[gemm.weight]
        name = self.values.ids.fresh(f"{own}_tile")
        across, down = self.lanes(gemm.length), f"tl.trans({self.lanes(inputs)})"
        if self.blocks is not None:
            across = self.lanes(gemm.length, "within")
            down = f"tl.trans({across})"
        place = place_in_weight(self.values.between, gemm, (across, start), (down, offset))
        mask = f"{self.mask(gemm.length)} & tl.trans({self.mask(inputs)})"
        source = f"{self.pointer(own)} + {place}"
        self.starts += lines(f"{name} = {self.loaded(source, mask)}")
        self.tiles[name] = (gemm.length, inputs)
        return name

    # the function

    @property
    def numbers(self) -> str:
        """How many numbers the weights in a program have, as an expression."""
        sizes = [f"{self._wide(a)}*{self._wide(b)}" for a, b in self.tiles.values()]
        return " + ".join(f"{sizes.count(size)}*{size}" for size in dict.fromkeys(sizes)) or "0"

    def _wide(self, length: Dim) -> str:
        return f"tile({text_of(length if self.blocks is None else self.blocks.outputs)})"

    def lane_items(self) -> list[Item]:
        if self.blocks is None:
            return super().lane_items()
        wide, found = times(text_of(self.blocks.outputs)), list[Item]()
        for length in self.lengths:
            within = self.lanes(length, "within")
            found += lines(
                f"""
                {within} = tl.arange(0, {self.lanes(length, "BLOCK")})[None, :]
                {self.lanes(length)} = tl.program_id(1)*{wide} + {within}
                {self.mask(length)} = {within} < {wide}
                """
            )
        return found

    def _block(self) -> Block:
        """The kernel: what is loaded once, the loop, and what it leaves."""
        back = self.values.loop.backward
        before = lines(
            """
            sequence = (tl.program_id(0)*ROWS + tl.arange(0, ROWS))[:, None].to(tl.int64)
            there = sequence < batch
            """
        )
        step = [*_place("done", "", back), *self.taken]
        step += [*_place("done + 1", "_ahead", back), *self.ahead] if self.ahead else []
        before += [*self.lane_items(), *self.starts, *_place("0", "_ahead", back), *self.ahead]
        after = [line for state in self.values.loop.carries for line in self._ended(state)]
        head = quote_statements("for done in range(steps):\n    pass")[0]
        each = Block(head, (*step, *self.items))
        way = "backward" if back else "forward"
        text = f"All steps {way}: weights are loaded once, states stay in registers."
        body = [pyast.docstring(text), *without_unused([*before, each, *after])]
        given = ["sizes_ptr", "steps", "batch", *self.pointers.values()]
        return Block(jitted(self.name, [*given, *self.constants(body)]), tuple(body))

    def _ended(self, state: str) -> list[Item]:
        own, read = self.values.ids[state], self._own(state)
        target = f"{self.pointer(f'{own}_end')} + sequence*{self.places(read)}"
        mask = f"there & {self.mask(read.length)}"
        return lines(f"tl.store({target}, {own}.to(NUMBER), mask={mask})")

    def call(self) -> Item:
        """The launch of the kernel."""
        count = "" if self.blocks is None else f", {text_of(self.blocks.count)}"
        grid = f"by_rows(call.batch{count})"
        if self.is_shared:
            grid = f"shared(call.batch, {text_of(self.lengths[0])})"
        given = ["call.sizes", "call.steps", "call.batch", *self.pointers]
        wide = "tile" if self.gemms else "power_of_2"
        size = "" if self.blocks is None else text_of(self.blocks.outputs)
        return self.launched(grid, given, "call.flags", wide, size)


def _place(done: str, ending: str, back: bool) -> list[Item]:
    """The statements that find a step by how many are done, with names that end so."""
    return lines(
        f"""
        moment{ending}, first{ending}, rows{ending}, before{ending} = place_of(
            {done}, steps, batch, sizes_ptr, RAGGED, {back})
        row{ending} = first{ending} + sequence
        here{ending} = sequence < rows{ending}
        """
    )


def _lengths(loop: LoopValues) -> list[Dim]:
    """The lengths of all rows of places, those of states as well."""
    stages = [stage for launch in loop.step.launches for stage in launch.stages]
    states = [size_of(loop.cell.nodes[state]) for state in loop.loop.carries]
    found = dict.fromkeys([*lengths_of(loop, stages), *states])
    return [length for length in found if length != ONE]
