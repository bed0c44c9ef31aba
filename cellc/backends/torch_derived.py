"""Regions of an ``autograd.Function``: of the cell, and of its derivative.

Loops of a derivative run from the last step to the first, in blocks of steps. What a block
needs beforehand is computed for the block at once, while it fits the processor's cache.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from cellc.backends import pyast
from cellc.backends.axes import input_along, word
from cellc.backends.pyast import Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.backends.spelling import Speller, dimension
from cellc.backends.torch_emitter import SPELLER, TorchEmitter
from cellc.ir import BATCH, NOWHERE, Dim, Loop, Scan, Schedule
from cellc.ops import TABLE

_IN_FUNCTION = Speller(SPELLER.backend, SPELLER.module, SPELLER.own, mode="training")


class FunctionEmitter(TorchEmitter):
    """Writes regions in a function to which parameters, options and dimensions are passed."""

    def __init__(
        self, schedule: Schedule, known: Mapping[str, str] | None = None, taken: Iterable[str] = ()
    ) -> None:
        super().__init__(schedule, _IN_FUNCTION, known, taken)
        self.forward: Schedule = schedule

    def param(self, name: str) -> ast.expr:
        return pyast.name(self.ids[name])

    def packed(self, axis: str) -> ast.expr:
        """As in any emitter; the derivative of a cell has the packing of the cell."""
        given = input_along(self.forward, axis) is not None
        return pyast.name(word(axis, "packed")) if given else ast.Constant(None)

    def option(self, name: str) -> ast.expr:
        return pyast.name(self.ids[name])

    def _sized(self, value: ast.expr) -> ast.expr:
        return value

    @property
    def listed(self) -> list[str]:
        """The saved values that a loop keeps step by step, for nothing but the derivative."""
        found: list[str] = []
        loops = [loop for loop in self.schedule.loops if not isinstance(loop, Scan)]
        for loop in loops:
            needed = self.needed_later(loop)
            found += [n for n in loop.values if n in self.saved and n not in needed]
        return found


class DerivedEmitter(FunctionEmitter):
    """Writes the regions of a derivative.

    ``lists`` are values of which the cell has kept every step by itself, ``in_blocks`` those
    that are computed block by block.
    """

    def __init__(
        self, schedule: Schedule, known: Mapping[str, str], taken: Iterable[str],
        lists: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__(schedule, known, taken)
        self.lists = frozenset(lists)
        self.blocking = False
        self.blocks = {
            loop.carries: [] if isinstance(loop, Scan) else self._block_of(loop)
            for loop in schedule.loops
        }
        self.in_blocks = {name for names in self.blocks.values() for name in names}

    def _block_of(self, loop: Loop) -> list[str]:
        """The values that only this loop reads and that a block of its steps can have alone.

        What one statement takes apart is all in a block or not at all.
        """
        without: set[str] = set()
        while True:
            found = self._only_for(loop, without)
            split = {
                piece
                for whole, partition in self.partitions.items()
                for piece in partition.pieces
                if not {whole, *partition.pieces} <= {*found}
            }
            if split.isdisjoint(found):
                return found
            without |= split

    def _only_for(self, loop: Loop, without: set[str]) -> list[str]:
        cell, inside = self.cell, set(loop.values)
        results = {r.value for r in cell.results if r.role != "next"}
        nexts = cell.values("next")
        found: list[str] = []
        for name in reversed(list(cell.nodes)):
            users = {*cell.graph.successors(name), *(s for s, v in nexts.items() if v == name)}
            apart = name in inside or name in results or name in without
            if users and not apart and users <= inside | {*found}:
                found += [name] if self._fits_a_block(name, loop) else []
        return found[::-1]

    def _fits_a_block(self, name: str, loop: Loop) -> bool:
        node = self.cell.nodes[name]
        if node.type.extent != loop.extent:
            return False
        if node.op.name == "state":
            return self.is_shift(name) and self.cell.values("next")[name] in self.lists
        if node.op.leaf:
            return name in self.lists
        extents = [self.cell.nodes[argument].type.extent for argument in node.args]
        alone = all(extent in (NOWHERE, loop.extent) for extent in extents)
        return alone and TABLE[node.op.name].kind not in ("sequence", "total")

    def joined_whole(self) -> list[Item]:
        """The values kept step by step that more than a block's loop reads, as rows."""
        items: list[Item] = []
        for name in self.lists - self.in_blocks:
            if name in self.cell.nodes and self._is_read_whole(name):
                (axis,) = self.cell.nodes[name].type.extent - {BATCH}
                steps, sizes = f"{self.ids[name]}_steps", word(axis, "sizes")
                items += lines(f"{self.ids[name]} = together({steps}, {sizes})")
        return items

    def _is_read_whole(self, name: str) -> bool:
        shifted = [s for s, v in self.cell.values("next").items() if v == name]
        users = any(True for _ in self.cell.graph.successors(name))
        return users or any(state not in self.in_blocks for state in shifted)

    def is_inline(self, name: str) -> bool:
        crosses = any(user in self.in_blocks for user in self.cell.graph.successors(name))
        return (name in self.in_blocks or not crosses) and super().is_inline(name)

    def reference(self, name: str, held: bool = True) -> ast.expr:
        value = super().reference(name, held)
        whole = name not in self.in_blocks and not self.is_inline(name)
        if self.blocking and whole and self.cell.nodes[name].type.extent != NOWHERE:
            return quote("v[here]", v=value)
        return value

    def steps_of(self, name: str, sizes: str) -> str:
        if name in self.in_blocks or sizes.isidentifier():
            return super().steps_of(name, sizes)
        leaving = name in self.leaving or self.cell.nodes[name].op.leaf
        return f"{self.whole(name)}[here].{'' if leaving else 'unsafe_'}split_with_sizes({sizes})"

    def loop(self, region: Loop) -> list[Item]:
        """The loop from the last step to the first, in blocks where it needs something."""
        kept, inner = self.needed_later(region), self.blocks[region.carries]
        carried = [self.ids[state] for state in region.carries]
        core = self.statements(region)
        nexts = self.cell.values("next")
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        core += [line for n in kept for line in self.appended(n)]
        core += lines(f"{', '.join(carried)} = {', '.join(following)}")
        whole = word(region.axis, "sizes")
        sizes = f"{whole}[part]" if inner else whole
        splits = [sizes, *(self.steps_of(name, sizes) for name in self.steps_used)]
        over = ", ".join(f"reversed({split})" for split in splits)
        over = f"zip({over})" if self.steps_used else over
        head = f"for {', '.join(['rows', *self.steps_used.values()])} in {over}:\n    pass"
        body = (Remark("sequences join at their last step"), *self._join(carried), *core)
        steps: list[Item] = [Block(quote_statements(head)[0], body)]
        start = [*self._held_whole(region.axis), *self._start(whole, carried)]
        start += [line for name in kept for line in lines(f"{self.ids[name]}_steps = []")]
        self.steps_used, self.narrowed = {}, {}
        after = [line for n in kept for line in lines(
            f"{self.whole(n)} = together({self.ids[n]}_steps[::-1], {whole})")]  # fmt: skip
        return [*start, *(self._in_blocks(region, inner, steps) if inner else steps), *after]

    def _in_blocks(self, region: Loop, inner: list[str], steps: list[Item]) -> list[Item]:
        """The steps of each block behind what is computed for the block at once."""
        width = ast.unparse(dimension(self._width(inner)))
        sizes = word(region.axis, "sizes")
        like = self.ids[region.carries[0]]
        before: list[Item] = []
        for name in inner:
            node = self.cell.nodes[name]
            if node.op.name == "state":
                source, state = self.cell.values("next")[name], self.ids[name]
                call = f"before({self.ids[source]}_steps, {state}, {sizes}, part)"
                before += lines(f"{self.whole(name)} = {call}")
            elif node.op.leaf:
                call = f"together({self.ids[name]}_steps[part], {sizes}[part])"
                before += lines(f"{self.ids[name]} = {call}")
            else:
                self.region, self.blocking = self.region_of[name], True
                before += self.statements(self.region, [name])
        self.blocking, self.region = False, None
        head = quote_statements(f"for part, here in blocks({sizes}, {width}, {like}):\n    pass")[0]
        return [Block(head, (*before, *steps))]

    def _width(self, names: Iterable[str]) -> Dim:
        """How many numbers the values of one row are."""
        total = Dim.of(0)
        for name in names:
            size = Dim.of(1)
            for dim in self.cell.nodes[name].type.shape:
                size = size * dim
            total = total + size
        return total

    def _start(self, sizes: str, carried: list[str]) -> list[Item]:
        """What flows into the last step of each sequence, and into the last of the longest."""
        lasts = ", ".join(f"{s}_last" for s in carried)
        first = ", ".join(f"{s}[:{sizes}[-1]]" for s in carried)
        names = ", ".join(carried)
        return lines(f"ragged = {sizes}[0] != {sizes}[-1]\n{lasts} = {names}\n{names} = {first}")

    def _held_whole(self, axis: str) -> list[Item]:
        """What the loop reads of each sequence, in the order of the rows."""
        items: list[Item] = []
        for name, held in self.narrowed.items():
            value = self.in_row_order(pyast.name(self.whole(name)), axis)
            items.append(Line(pyast.assign(f"{held}_whole", value)))
            items += lines(f"{held} = {held}_whole[: {word(axis, 'sizes')}[-1]]")
        return items

    def _join(self, carried: list[str]) -> list[Item]:
        """Sequences join the loop at their last step."""
        joined = "".join(f"\n    {s} = torch.cat(({s}, {s}_last[len({s}):rows]))" for s in carried)
        narrow = "".join(f"\n    {h} = {h}_whole[:rows]" for h in self.narrowed.values())
        return lines(f"if ragged and rows > len({carried[0]}):{joined}{narrow}")
