"""Regions of an ``autograd.Function``: of the cell, and of its derivative.

Loops run in blocks of steps; those of a derivative from the last step to the first. What is
made for all steps of a block at once stays in the processor's cache.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from cellc.backends import pyast
from cellc.backends.axes import input_along, word
from cellc.backends.blocks import Blocks
from cellc.backends.pyast import Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.backends.spelling import Speller, dimension
from cellc.backends.torch_emitter import SPELLER, TorchEmitter
from cellc.ir import NOWHERE, Dim, Loop, Region, Scan, Schedule
from cellc.ir.dimension import product
from cellc.ir.types import Extent, sequence_axis
from cellc.ops import TABLE

_IN_FUNCTION = Speller(SPELLER.backend, SPELLER.module, SPELLER.own, mode="training")


class FunctionEmitter(TorchEmitter):
    """Writes regions in a function to which parameters, options and dimensions are passed.

    What a loop alone reads is computed for a block of its steps at once. Of the values
    ``listed`` every step is there by itself.
    """

    summing = False

    def __init__(
        self,
        schedule: Schedule,
        known: Mapping[str, str] | None = None,
        taken: Iterable[str] = (),
        saved: Iterable[str] = (),
        listed: Iterable[str] = (),
    ) -> None:
        super().__init__(schedule, _IN_FUNCTION, known, taken)
        self.forward: Schedule = schedule
        self.saved, self.lists = frozenset(saved), frozenset(listed)
        self.blocking, self.parted = False, set[str]()
        self.blocks = Blocks(schedule, self.partitions, self.lists, self.saved, self.summing)
        self.local, self.stored = self.blocks.local, self.blocks.stored

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

    def statements(self, region: Region, names: Iterable[str] | None = None) -> list[Item]:
        """The statements of a region, without what is computed in blocks; or those named."""
        if names is None:
            names = [name for name in region.values if name not in self.blocks.place]
        return super().statements(region, names)

    def is_inline(self, name: str) -> bool:
        place = self.blocks.place
        users = self.cell.graph.successors(name)
        together = all(place.get(user) == place.get(name) for user in users)
        return together and super().is_inline(name)

    def reference(self, name: str, held: bool = True) -> ast.expr:
        value = super().reference(name, held)
        if self.blocking and not self.is_inline(name) and self._is_whole(name):
            return quote("v[here]", v=value)
        return value

    def count(self, extent: Extent) -> ast.expr:
        axis = sequence_axis(extent)
        if self.blocking and axis is not None:
            return quote(f"sum({word(axis, 'sizes')}[part])")
        return super().count(extent)

    def _is_whole(self, name: str) -> bool:
        varies = self.cell.nodes[name].type.extent != NOWHERE
        return varies and name not in self.local and self.number(name) is None

    def steps_of(self, name: str, sizes: str) -> str:
        if name in self.local or sizes.isidentifier():
            return super().steps_of(name, sizes)
        leaving = name in self.leaving or self.cell.nodes[name].op.leaf
        return f"{self.whole(name)}[here].{'' if leaving else 'unsafe_'}split_with_sizes({sizes})"

    def sizes_of_steps(self, region: Loop) -> str:
        whole = word(region.axis, "sizes")
        return f"{whole}[part]" if self.blocks.of[region.carries].values else whole

    def in_blocks(self, region: Loop, steps: Item) -> list[Item]:
        before = self.blocks.of[region.carries].before
        return [self.block(region, [*self.at_once(before), steps])] if before else [steps]

    def block(self, region: Loop, items: Sequence[Item]) -> Item:
        """Statements for one block of a loop's steps after the other."""
        block, sizes = self.blocks.of[region.carries], word(region.axis, "sizes")
        width = self._width([*block.values, *(block.rows if self.summing else ())])
        call = f"blocks({sizes}, {ast.unparse(dimension(width))}, {self.ids[region.carries[0]]})"
        call = f"reversed({call})" if region.backward else call
        head = quote_statements(f"for part, here in {call}:\n    pass")[0]
        return Block(head, tuple(items))

    def _width(self, names: Iterable[str]) -> Dim:
        """How many numbers one row of values has, views and parts of others apart."""
        own = [name for name in names if not self.is_inline(name) and name not in self.stored]
        rows = [self.cell.nodes[n] for n in own if self.cell.nodes[n].op.name != "slice"]
        sizes = (product(row.type.shape) for row in rows if row.type.extent != NOWHERE)
        return sum(sizes, Dim.of(0))

    def at_once(self, names: Iterable[str]) -> list[Item]:
        """The statements of values that a block computes at once."""
        items: list[Item] = []
        region, self.blocking = self.region, True
        for home, some in groupby(names, key=self.region_of.get):
            assert home is not None
            items += self.statements(home, list(some))
        self.region, self.blocking = region, False
        return joined(items)


class DerivedEmitter(FunctionEmitter):
    """Writes the regions of a derivative.

    ``wanted`` says under which condition a value is needed at all, ``parted`` which sums have
    been taken apart.
    """

    summing = True
    wanted: Mapping[str, str]

    def joined_whole(self) -> list[Item]:
        """The values kept step by step that more than a block reads, as rows."""
        items: list[Item] = []
        for name in self.cell.nodes:
            apart = name in self.lists and name not in self.blocks.place
            if apart and self._is_read_whole(name):
                steps, sizes = f"{self.ids[name]}_steps", self._sizes(name)
                items += lines(f"{self.ids[name]} = together({steps}, {sizes})")
        return items

    def _is_read_whole(self, name: str) -> bool:
        shifted = [s for s, v in self.cell.values("next").items() if v == name]
        users = any(True for _ in self.cell.graph.successors(name))
        return users or any(state not in self.blocks.place for state in shifted)

    def _sizes(self, name: str) -> str:
        axis = sequence_axis(self.cell.nodes[name].type.extent)
        assert axis is not None
        return word(axis, "sizes")

    def statements(self, region: Region, names: Iterable[str] | None = None) -> list[Item]:
        """The statements of values; what some results alone need, for these alone."""
        if isinstance(region, Loop):
            return super().statements(region, names)
        if names is None:
            names = [name for name in region.values if name not in self.blocks.place]
        items: list[Item] = []
        for name in names:
            made = [*self._apart(name), *super().statements(region, [name])]
            items += under(self.wanted.get(name, ""), made)
        return joined(items)

    def count(self, extent: Extent) -> ast.expr:
        """As ever, but by the sizes: an input of a derivative may be there step by step only."""
        axis = sequence_axis(extent)
        if self.blocking or axis is None:
            return super().count(extent)
        return quote(f"sum({word(axis, 'sizes')})")

    def _apart(self, piece: str) -> list[Item]:
        """What takes a sum apart that has grown in blocks, before the first of its pieces."""
        wholes = [w for w, p in self.partitions.items() if piece in p.pieces]
        grown = [w for w in wholes if w in self.blocks.place and self._is_total(w)]
        fresh = [whole for whole in grown if whole not in self.parted]
        self.parted.update(fresh)
        return [self.taken_apart(whole) for whole in fresh]

    def _is_total(self, name: str) -> bool:
        return TABLE[self.cell.nodes[name].op.name].kind == "total"

    def is_silent(self, name: str) -> bool:
        listed = self.blocking and name in self.lists
        return not listed and super().is_silent(name)

    def statement(self, name: str) -> list[Item]:
        """As ever; what is listed is put together, and a sum over all steps grows."""
        if not self.blocking:
            return super().statement(name)
        if name in self.lists:
            steps, sizes = f"{self.ids[name]}_steps", self._sizes(name)
            return lines(f"{self.ids[name]} = together({steps}[part], {sizes}[part])")
        if self._is_total(name):
            return [Line(_grown(self.ids[name], self.spelled(name)), self.comment(name))]
        return super().statement(name)

    def target(self, name: str) -> str:
        stored = self.blocking and name in self.stored
        return f"{self.whole(name)}[here]" if stored else super().target(name)

    def shift(self, name: str) -> list[Item]:
        """A state of the step before; in a block, without its end."""
        if not self.blocking:
            return super().shift(name)
        source, sizes = self.cell.values("next")[name], self._sizes(name)
        call = f"before({self.ids[source]}_steps, {self.ids[name]}, {sizes}, part)"
        return lines(f"{self.whole(name)} = {call}")

    def loop(self, region: Loop) -> list[Item]:
        """The loop from the last step to the first, in blocks where it needs something."""
        block = self.blocks.of[region.carries]
        rows = [name for name in block.rows if name in self.needed_later(region)]
        carried = [self.ids[state] for state in region.carries]
        core = super().statements(region)
        nexts = self.cell.values("next")
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        core += [line for n in rows for line in self.appended(n)]
        core += lines(f"{', '.join(carried)} = {', '.join(following)}")
        whole, those = word(region.axis, "sizes"), self.sizes_of_steps(region)
        splits = [those, *(self.steps_of(name, those) for name in self.steps_used)]
        over = ", ".join(f"reversed({split})" for split in splits)
        over = f"zip({over})" if self.steps_used else over
        head = f"for {', '.join(['rows', *self.steps_used.values()])} in {over}:\n    pass"
        body = (Remark("sequences join at their last step"), *self._join(carried), *core)
        steps: list[Item] = [Block(quote_statements(head)[0], body)]
        start = [*self._held_whole(region.axis), *self._start(whole, carried)]
        self.steps_used, self.narrowed = {}, {}
        empty = [line for name in rows for line in lines(f"{self.ids[name]}_steps = []")]
        together = [line for name in rows for line in self._together(name, those)]
        if not block.values:
            return [*start, *empty, *steps, *together]
        start += self._prepared(region)
        made = [*self.at_once(block.before), *empty, *steps, *together]
        return [*start, self.block(region, [*made, *self.at_once(block.after)])]

    def _together(self, name: str, sizes: str) -> list[Item]:
        """The rows of all steps of a block, or of the loop."""
        self.blocking = not sizes.isidentifier()
        part = "[here]" if self.blocking and name in self.stored else ""
        self.blocking = False
        steps = f"{self.ids[name]}_steps[::-1]"
        return lines(f"{self.whole(name)}{part} = together({steps}, {sizes})")

    def _prepared(self, region: Loop) -> list[Item]:
        """What the blocks of a loop's steps add to, or fill part by part."""
        block, items = self.blocks.of[region.carries], list[Item]()
        sources = {self.cell.values("next")[n] for n in block.values if self.is_shift(n)}
        for name in sorted(sources - self.lists):
            split = f"{self.ids[name]}.split({self._sizes(name)})"
            items += lines(f"{self.ids[name]}_steps = {split}")
        like, sizes = self.ids[region.carries[0]], word(region.axis, "sizes")
        for name in (*block.values, *block.rows):
            node = self.cell.nodes[name]
            shape = [ast.unparse(dimension(dim)) for dim in node.type.shape]
            made: list[Item] = []
            if self._is_total(name):
                made = lines(f"{self.ids[name]} = {like}.new_zeros({_tuple(shape)})")
            elif name in self.stored:
                shape = [f"sum({sizes})", *shape]
                made = lines(f"{self.whole(name)} = {like}.new_empty({_tuple(shape)})")
            items += under(self.wanted.get(name, ""), made)
        return joined(items)

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


def under(guard: str, items: list[Item]) -> list[Item]:
    """Statements under a condition, where there is one."""
    if not guard or not items:
        return items
    return [Block(quote_statements(f"if {guard}:\n    pass")[0], tuple(items))]


def joined(items: Iterable[Item]) -> list[Item]:
    """Neighbours under one condition as one."""
    found: list[Item] = []
    for item in items:
        last = found[-1] if found else None
        if isinstance(last, Block) and isinstance(item, Block) and _same_condition(last, item):
            found[-1] = Block(last.head, (*last.body, *item.body))
        else:
            found.append(item)
    return found


def _same_condition(one: Block, other: Block) -> bool:
    alike = isinstance(one.head, ast.If) and isinstance(other.head, ast.If)
    return alike and ast.unparse(one.head) == ast.unparse(other.head)


def _tuple(parts: Iterable[str]) -> str:
    return f"({''.join(f'{part}, ' for part in parts)})"


def _grown(name: str, value: ast.expr) -> ast.stmt:
    """A sum that grows by a value, in place."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.MatMult):
        return ast.Expr(quote(f"{name}.addmm_(a, b)", a=value.left, b=value.right))
    return ast.AugAssign(ast.Name(name, ast.Store()), ast.Add(), value)
