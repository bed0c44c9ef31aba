"""A kernel of one step: what is made of products that a library has computed.

It finds its step, and the values of the call, in a table; states and what products read and give
are in memory that stays in place.
"""

from __future__ import annotations

import ast

from cellc.backends import pyast
from cellc.backends.native.places import ZERO, size_of
from cellc.backends.native.stages import Segment
from cellc.backends.pyast import Block, Item, Line, lines, quote, quote_statements
from cellc.backends.triton.kernel import (
    JIT,
    Kernel,
    can_share,
    jitted,
    lengths_of,
    output,
    typed,
    without_unused,
)
from cellc.backends.triton.places import Blocks
from cellc.backends.triton.step import Launch, Read
from cellc.backends.triton.values import LoopValues, text_of, times
from cellc.ir import Dim
from cellc.kernels.sources import number

#: So many values are told by name.
MOST_NAMES = 6


class StepKernel(Kernel):
    """Writes the kernel of one launch.

    ``buffers`` are what stays in place: the arguments, and what a call gives for each.
    ``is_needed`` says whether it writes anything.
    """

    kind = "stepwise"

    def __init__(self, loop: LoopValues, number: int, launch: Launch) -> None:
        name = f"{loop.name}_kernel_{number}"
        super().__init__(loop, name, lengths_of(loop, launch.stages))
        self.launch, self.buffers = launch, dict[str, str]()
        self.is_shared = can_share(loop, launch.stages)
        for stage in launch.stages:
            self.compute(stage)
            for read, value_name, value in self.stored(stage):
                self._store(read, value_name, value)
        self.items += self.kept()
        self.is_needed = any(_writes(item) for item in self.items)
        self.block = self._block()

    # where things are

    def is_product(self, name: str) -> bool:
        between = self.values.between
        return between.is_given(name) or between.given.get(name) in self.launch.products

    def load(self, read: Read) -> str:
        name = read.segment.value
        if (found := self.of_call(read)) is not None:
            return found
        self.move("numbers" if self.is_product(name) else "wide numbers", read)
        if name in self.values.between.followed:
            return self._followed(read)
        if name in self.values.loop.carries:
            source = f"{self._buffer(name, 'state')} + (now + sequence)*{self.places(read)}"
        elif self.is_product(name):
            source = self._of_product(read)
        else:
            source = f"{self._buffer(name, 'local')} + sequence*{self.places(read)}"
        return self.loaded(source, f"there & {self.mask(read.length)}")

    def _followed(self, read: Read) -> str:
        """A state that a product gave in the step before; of rows that join, what it starts as."""
        name, inside = read.segment.value, self.mask(read.length)
        gemm = self.values.between.followed[name]
        own = Read(Segment(gemm.value, read.segment.start), read.length)
        given = self.loaded(self._of_product(own), f"(sequence < joined) & {inside}")
        if gemm.added is not None:
            other = f"{self._buffer(name, 'state')} + (now + sequence)*{self.places(read)}"
            return f"({given}.to(REAL) + {self.loaded(other, f'there & {inside}')})"
        start = f"{self._buffer(name, 'state')} + sequence*{self.places(read)}"
        return (
            f"({given}.to(REAL) + {self.loaded(start, f'(sequence >= joined) & there & {inside}')})"
        )

    def _buffer(self, name: str, kind: str) -> str:
        """The argument with an address that stays."""
        own = buffer(self.values, name, kind)
        self.buffers[f"{own}_ptr"] = f"m.{own}"
        return f"{own}_ptr"

    def _of_product(self, read: Read) -> str:
        name, between = read.segment.value, self.values.between
        source, blocks = self._buffer(name, "product"), between.blocks(between.given[name])
        if blocks is None:
            return f"{source} + sequence*{self.places(read)}"
        width = blocks.inputs if between.is_transposed(between.given[name]) else blocks.outputs
        return f"{source} + {self._by_block(read, blocks, width)}"

    def _by_block(self, read: Read, blocks: Blocks, width: Dim) -> str:
        """The places of what is read where each block lies by itself: [blocks, batch, numbers].

        ``width`` is how many neighbouring numbers of a row are of one block.
        """
        lane, wide = self.lanes(read.length), times(text_of(width))
        all_ = size_of(self.cell.nodes[read.segment.value]) / blocks.count
        start, each = read.segment.start / blocks.count, times(text_of(all_))
        copy = "" if start == ZERO else f"{text_of(start)} + "
        return f"(({lane} // {wide})*batch + sequence)*{each} + {copy}{lane} % {wide}"

    # what is stored

    def _store(self, read: Read, name: str, value: ast.expr) -> None:
        """The statements that put a value where it is read."""
        outside, between = self.values.outside, self.values.between
        if name in outside.outputs:
            self.store_output(read, name, value)
        for state in self.values.loop.carries:
            if outside.nexts[state] == name and state not in between.followed:
                self._store_state(state, read, value)
        for state, gemm in between.followed.items():
            if gemm.added == name:
                self._store_state(state, read, value)
        here = f"here & {self.mask(read.length)}"
        if name in between.vectors:
            self._store_vector(read, value, "", here)
        if name in between.local and not self._is_there(name):
            self.move("wide numbers", read)
            target = f"{self._buffer(name, 'local')} + sequence*{self.places(read)}"
            self.items += lines(f"tl.store({target}, v, mask={here})", v=typed(value))

    def _is_there(self, name: str) -> bool:
        """Whether a value has been put in place before."""
        own = {read.segment.value for stage in self.launch.stages for read in self.step.made(stage)}
        return self.step.is_computed(name) and not self.step.is_view(name) and name not in own

    def _store_state(self, state: str, read: Read, value: ast.expr) -> None:
        """The next value of a state, on the other side; of rows not in the step, the present."""
        own = Read(Segment(state, read.segment.start), read.length)
        kept = quote("tl.where(here, v, old)", v=value, old=self.value(own))
        self.move("wide numbers", read)
        later = self.values.ids.fresh(f"{self.values.ids[state]}_later")
        self.items.append(Line(pyast.assign(later, kept)))
        target = f"{self._buffer(state, 'state')} + (later + sequence)*{self.places(own)}"
        there = f"there & {self.mask(read.length)}"
        self.items += lines(f"tl.store({target}, {later}, mask={there})")
        if state in self.values.between.vectors:
            self._store_vector(own, pyast.name(later), "later", there)

    def _store_vector(self, read: Read, value: ast.expr, side: str, mask: str) -> None:
        """A value in the place from which products read it; a state, on a side."""
        name = read.segment.value
        blocks, target = self.values.between.vectors[name], self._buffer(name, "vector")
        self.move("numbers", read)
        if blocks is None:
            row = f"({side} + sequence)" if side else "sequence"
            place = f"{row}*{self.places(read)}"
        else:
            place = self._by_block(read, blocks, self.values.between.width(name, blocks))
            place += f" + {side}*{times(self.values.size(name))}" if side else ""
        self.items += lines(
            f"tl.store({target} + {place}, v.to(NUMBER), mask={mask})", v=typed(value)
        )

    # the function

    def _block(self) -> Block:
        """The kernel: which step it is, where values are, and the values."""
        back = self.values.loop.backward
        found = lines(
            f"""
            '''{self._text()}'''
            done = tl.load(table + DONE) + step
            steps = tl.load(table + STEPS)
            sizes_ptr = tl.load(table + SIZES).to(tl.pointer_type(tl.int64))
            moment, first, rows, before = place_of(done, steps, batch, sizes_ptr, RAGGED, {back})
            joined = rows_before(done, steps, batch, sizes_ptr, RAGGED, {back})
            now = (done % 2)*batch
            later = batch - now
            sequence = (tl.program_id(0)*ROWS + tl.arange(0, ROWS))[:, None].to(tl.int64)
            row = first + sequence
            here = sequence < rows
            there = (sequence < batch) & (done < steps)
            """
        )
        table = table_of(self.values)
        addresses = [
            line
            for own, variable in self.pointers.items()
            for line in lines(
                f"{variable} = tl.load(table + {FIRST + table.index(own)})"
                ".to(tl.pointer_type(NUMBER))"
            )
        ]
        parts = [*found, *self.lane_items(), *addresses, *self.starts, *self.items]
        body = without_unused(parts)
        head = ["table", "step", "batch", *self.buffers, *self.constants(body)]
        return Block(jitted(self.name, head), tuple(body))

    def _text(self) -> str:
        way = "backward" if self.values.loop.backward else "forward"
        made = [read for stage in self.launch.stages for read in self.step.made(stage)]
        names = dict.fromkeys(self.values.ids[read.segment.value] for read in made)
        told = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} values"
        return f"One step {way}: {told or 'what is handed on'}."

    def call(self) -> Item:
        """The launch of the kernel."""
        longest = text_of(self.lengths[0]) if self.lengths else "1"
        block = f"part({longest})" if self.is_shared else f"power_of_2({longest})"
        grid = f"(m.batch, triton.cdiv({longest}, {block}))" if self.is_shared else "(m.batch,)"
        blocks = [(self.lanes(n, "BLOCK"), f"power_of_2({text_of(n)})") for n in self.lengths]
        blocks = [("BLOCK", block)] if self.is_shared else blocks
        ways = "".join(f", {name}={value}" for name, value in [("ROWS", "1"), *blocks])
        given = ", ".join(["m.table", "step", "m.batch", *self.buffers.values()])
        sizes = "".join(f", {name}={name}" for name in self.sizes)
        text = f"{self.name}[{grid}]({given}{sizes}{ways}, num_warps=warps({block}), **m.flags)"
        return Line(quote_statements(text)[0])

    def decorators(self) -> list[str]:
        return [JIT]


#: Where addresses begin in the table of a call.
FIRST = number("gpu/places", "FIRST_ADDRESS")


def buffer(loop: LoopValues, name: str, kind: str) -> str:
    """What memory that stays is called."""
    own = loop.ids[name]
    return own if kind == "state" else f"{own}_{kind}"


def table_of(loop: LoopValues) -> list[str]:
    """What the values of a call are called whose addresses are in its table, in order."""
    outside = loop.outside
    given = [*outside.rows, *outside.held, *outside.fixed, *outside.shifts]
    outputs = (output(loop, name) for name in outside.outputs)
    return [*(loop.ids[name] for name in given), *outputs]


def _writes(item: Item) -> bool:
    """Whether a statement writes to memory."""
    return isinstance(item, Block) or isinstance(getattr(item, "statement", None), ast.Expr)
