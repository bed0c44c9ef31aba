"""What stays in place while a loop runs step after step, and how a call fills it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from cellc.backends import pyast
from cellc.backends.native.places import size_of
from cellc.backends.native.stages import Gemm
from cellc.backends.pyast import Block, Item, Line, lines, quote, quote_statements
from cellc.backends.triton.kernel import jitted, sizes_of
from cellc.backends.triton.places import Blocks
from cellc.backends.triton.stepwise import FIRST, buffer, table_of
from cellc.backends.triton.values import LoopValues, text_of


class Room:
    """Writes the functions that make room for a loop, and the statements that fill it."""

    def __init__(self, loop: LoopValues) -> None:
        self.loop, self.between, self.cell = loop, loop.between, loop.cell
        found: dict[str, Gemm] = {}
        for gemm in self.between.products:
            found.setdefault(gemm.weight, gemm)
        self.weights = found
        alone = self.between.constants
        self.sizes: list[str] = []
        self.constants = [name for name in alone if loop.number(name) is None]

    def table(self) -> Block:
        """The kernel that writes the addresses of a call to its table."""
        given = [f"{own}_ptr" for own in table_of(self.loop)]
        body = lines(
            """
            '''Write how many steps there are, and where the values of this call are.'''
            tl.store(table + DONE, 0)
            tl.store(table + STEPS, steps)
            tl.store(table + SIZES, sizes_ptr.to(tl.int64))
            """
        )
        for place, pointer in enumerate(given):
            body += lines(f"tl.store(table + {FIRST + place}, {pointer}.to(tl.int64))")
        head = jitted(f"{self.loop.name}_table", ["table", "steps", "sizes_ptr", *given])
        return Block(head, tuple(body))

    def memory(self) -> Block:
        """The function that makes room for what stays in place."""
        text = "'''Room for what stays in place from step to step.'''\n"
        body = lines(text + f"m.dims = {in_tuple(self.sizes)}")
        for name, numbers, shape in self._places():
            body += lines(f"m.{name} = m.{numbers}({', '.join(shape)})")
        arguments = ", ".join(["m", *self.sizes])
        head = quote_statements(f"def {self.loop.name}_memory({arguments}):\n    pass")[0]
        return Block(head, tuple(body))

    def measure(self, step: Iterable[Item]) -> None:
        """Find the sizes that what stays in place, or a statement of a step, depends on."""
        shapes = [quote(f"({', '.join([*shape, ''])})") for _, _, shape in self._places()]
        used = pyast.names_in([*step, *(Line(ast.Expr(shape)) for shape in shapes)])
        self.sizes = [name for name in sizes_of(self.loop) if name in used]

    def _places(self) -> Iterator[tuple[str, str, list[str]]]:
        """What stays in place: what it is called, which numbers it has, and its shape."""
        loop = self.loop
        for state in loop.loop.carries:
            sides = ["2"] if self._has_sides(state) else []
            shape = [*sides, "m.batch", loop.size(state)]
            yield buffer(loop, state, "state"), "wide_numbers", shape
        for name in self.between.vectors:
            sides = ["2"] if name in loop.loop.carries else []
            yield buffer(loop, name, "vector"), "numbers", [*sides, *self._shape(name)]
        for gemm in self.between.products:
            yield buffer(loop, gemm.value, "product"), "numbers", self._of_product(gemm)
        for name in self.between.local:
            yield buffer(loop, name, "local"), "wide_numbers", ["m.batch", loop.size(name)]
        for name in self.constants:
            yield buffer(loop, name, "constant"), "wide_numbers", [loop.size(name)]
        for weight, gemm in self.weights.items():
            yield loop.ids[weight], "numbers", self._of_weight(gemm)

    def _has_sides(self, state: str) -> bool:
        """Whether a state lies on two sides: unless only what it starts with stays in place."""
        gemm = self.between.followed.get(state)
        return gemm is None or gemm.added is not None

    def _shape(self, name: str) -> list[str]:
        """The shape of a vector, without sides."""
        return self._by_block(name, self.between.vectors[name])

    def _of_product(self, gemm: Gemm) -> list[str]:
        return self._by_block(gemm.value, self.between.blocks(gemm))

    def _by_block(self, name: str, blocks: Blocks | None) -> list[str]:
        """The shape of a value for all sequences, each block by itself where there are such."""
        if blocks is None:
            return ["m.batch", self.loop.size(name)]
        each = size_of(self.cell.nodes[name]) / blocks.count
        return [text_of(blocks.count), "m.batch", text_of(each)]

    def _of_weight(self, gemm: Gemm) -> list[str]:
        """The shape of a weight as the product reads it."""
        blocks = self.between.blocks(gemm)
        if blocks is not None:
            rows = text_of(blocks.outputs * blocks.copies)
            return [text_of(blocks.count), rows, text_of(blocks.inputs)]
        shape = [self.loop.size(gemm.value), text_of(gemm.depth)]
        return shape[::-1] if self.between.is_transposed(gemm) else shape

    # a call

    def fill(self) -> list[Item]:
        """The statements that put in place what a call gives."""
        loop, found = self.loop, list[Item]()
        for weight, gemm in self.weights.items():
            found += lines(f"m.{loop.ids[weight]}.copy_({self._laid_out(gemm)})")
        for name in self.constants:
            target = buffer(loop, name, "constant")
            found += lines(f"m.{target}.copy_({loop.ids[name]}.reshape(-1))")
        for state in loop.loop.carries:
            start = f"{loop.ids[state]}_start.reshape(m.batch, -1)"
            side = "[0]" if self._has_sides(state) else ""
            found += lines(f"m.{loop.ids[state]}{side}.copy_({start})")
            if state in self.between.vectors:
                blocks = self.between.vectors[state]
                if blocks is not None:
                    start = f"{start}.unflatten(1, ({text_of(blocks.count)}, -1)).transpose(0, 1)"
                found += lines(f"m.{buffer(loop, state, 'vector')}[0].copy_({start})")
        given = ["m.table", "call.steps", "call.sizes", *table_of(loop)]
        return [*found, *lines(f"{loop.name}_table[(1,)]({', '.join(given)})")]

    def _laid_out(self, gemm: Gemm) -> str:
        """A weight as products read it."""
        own, blocks = self.loop.ids[gemm.weight], self.between.blocks(gemm)
        if blocks is None:
            return f"{own}.reshape(m.{own}.shape)"
        if blocks.copies == 1:
            return own
        return f"{own}.unflatten(0, ({blocks.copies}, -1)).transpose(0, 1).flatten(1, 2)"

    def ends(self) -> list[str]:
        """The states after the last step, in the shapes in which they were given."""
        found = []
        for state in self.loop.loop.carries:
            own = self.loop.ids[state]
            source = f"m.{own}[call.steps % 2]"
            if (gemm := self.between.followed.get(state)) is not None:
                turned = ".transpose(0, 1)" if self.between.blocks(gemm) else ""
                product = f"m.{buffer(self.loop, gemm.value, 'product')}{turned}"
                source = f"({product} + {source})" if gemm.added else product
            found.append(f"like_start({source}, {own}_start)")
        return found


def in_tuple(parts: Iterable[str]) -> str:
    """Expressions as those of a tuple."""
    return f"({''.join(f'{part}, ' for part in parts)})"
