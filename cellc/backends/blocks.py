"""What can be computed for a block of a loop's steps rather than for all steps at once.

Steps are run in blocks so that what is made for all steps of a block at once stays in the
processor's cache, and so that no more of it than one block is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cellc.backends.partition import Partition
from cellc.ir import NOWHERE, Loop, Node, Scan, Schedule
from cellc.ir.schedule import is_backward
from cellc.ops import TABLE
from cellc.ops.transposed import summed_axes

_ROWWISE = ("elementwise", "contraction", "structural", "reduction")


@dataclass(frozen=True)
class Block:
    """The values that belong to a block of a loop's steps, in order.

    ``before`` is what the steps read, ``after`` what is made of them; ``rows`` are those of
    the loop's own values that ``after`` or anything later reads.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        return (*self.before, *self.after)


@dataclass
class Blocks:
    """The blocks of all loops of a schedule.

    ``listed`` are leaves that are there step by step; ``untouched`` stay as they are.
    With ``summing``, what is made of the steps belongs to the blocks as well, sums over all
    steps included.
    """

    schedule: Schedule
    partitions: Mapping[str, Partition]
    listed: frozenset[str] = frozenset()
    untouched: frozenset[str] = frozenset()
    summing: bool = False
    of: dict[tuple[str, ...], Block] = field(init=False)
    place: dict[str, tuple[str, tuple[str, ...]]] = field(init=False)

    def __post_init__(self) -> None:
        self.cell, regions = self.schedule.cell, self.schedule.regions
        self.order = {name: k for k, region in enumerate(regions) for name in region.values}
        self.looped = set(self.schedule.values_in_loops())
        self.nexts = self.cell.values("next")
        self.shifts: dict[str, list[str]] = {}
        carried = {state for loop in self.schedule.loops for state in loop.carries}
        for state in (s for s in self.nexts if s not in carried):
            self.shifts.setdefault(self.nexts[state], []).append(state)
        self.results = {result.value for result in self.cell.results if result.role != "next"}
        self.of, self.place = {}, {}
        for loop in self.schedule.loops:
            block = self.of[loop.carries] = Block() if isinstance(loop, Scan) else self._block(loop)
            for part, names in (("before", block.before), ("after", block.after)):
                self.place |= dict.fromkeys(names, (part, loop.carries))

    @property
    def local(self) -> set[str]:
        """The values that no more than a block of is there at a time."""
        whole = self.stored
        rows = {name for block in self.of.values() for name in block.rows}
        return {name for name in {*self.place} | rows if name not in whole}

    @property
    def stored(self) -> set[str]:
        """The values of blocks, and of loops, that something else reads for all steps."""
        rows = {name: c for c, block in self.of.items() for name in block.rows}
        homes = {name: carries for name, (_, carries) in self.place.items()} | rows
        return {n for n, home in homes.items() if self._extent(n) and self._is_read_whole(n, home)}

    def _is_read_whole(self, name: str, home: tuple[str, ...]) -> bool:
        after = {*self.of[home].after}
        inside = {name for loop in self.schedule.loops if loop.carries == home
                  for name in loop.values} | {*self.of[home].before}  # fmt: skip
        return name in self.results or any(user not in after | inside for user in self._users(name))

    def _users(self, name: str) -> Iterator[str]:
        """What reads a value, but for what takes the end of a loop."""
        users = self.cell.graph.successors(name)
        yield from (user for user in users if self.cell.nodes[user].op.name != "final")
        yield from self.shifts.get(name, ())

    def _extent(self, name: str) -> bool:
        return self.cell.nodes[name].type.extent != NOWHERE

    def _block(self, loop: Loop) -> Block:
        """What one statement takes apart is all in one part of a block or not at all."""
        without: set[str] = set()
        while True:
            after = self._after(loop, without) if self.summing else ()
            found = self._only_for(loop, {*after}, without)
            needed = {*loop.values}
            before: list[str] = []
            for name in reversed(found):
                if needed & {*self._users(name)}:
                    before, needed = [name, *before], needed | {name}
            late = tuple(name for name in found if name not in before)
            block = Block(tuple(before), (*late, *after), self._rows(loop))
            torn = set(self._torn(block.before)) | set(self._torn(block.after))
            if not torn:
                return block
            without |= torn

    def _torn(self, names: tuple[str, ...]) -> Iterator[str]:
        """The values of a part that one statement makes together with others."""
        for whole, partition in self.partitions.items():
            pieces = {*partition.pieces}
            if pieces & {*names} and not {whole, *pieces} <= {*names}:
                yield from pieces & {*names}

    def _rows(self, loop: Loop) -> tuple[str, ...]:
        inside = {*loop.values}
        return tuple(
            name
            for name in loop.values
            if name in self.results or any(user not in inside for user in self._users(name))
        )

    def _after(self, loop: Loop, without: set[str]) -> tuple[str, ...]:
        rows, found = {*loop.values}, []
        for name, node in self.cell.nodes.items():
            free = name not in self.looped and name not in self.place and name not in without
            if not free or node.op.leaf or rows.isdisjoint(node.args):
                continue
            if self._follows(node, rows, loop):
                found.append(name)
                rows |= {name} if node.type.extent != NOWHERE else set()
        return tuple(found)

    def _follows(self, node: Node, rows: set[str], loop: Loop) -> bool:
        """Whether a value is made of rows of a block and of what is known before the loop."""
        kind = TABLE[node.op.name].kind
        if kind == "total":
            fits = summed_axes(dict(node.attrs)) == loop.extent and node.type.extent == NOWHERE
        else:
            fits = kind in _ROWWISE and node.type.extent == loop.extent
        known = all(a in rows or self._known_before(a, loop) for a in node.args)
        return fits and known and node.type.dtype == "real"

    def _known_before(self, name: str, loop: Loop) -> bool:
        node, here = self.cell.nodes[name], self.order[loop.values[0]]
        if node.type.extent not in (NOWHERE, loop.extent):
            return False
        if node.op.name == "state":
            return self._known_before(self.nexts[name], loop)
        return node.op.leaf or self.order.get(name, here) < here

    def _only_for(self, loop: Loop, after: set[str], without: set[str]) -> list[str]:
        """What only this loop, and what is made of its steps, reads."""
        inside = {*loop.values} | after
        found: list[str] = []
        for name in reversed(list(self.cell.nodes)):
            users = {*self._users(name)}
            apart = name in self.looped or name in self.results or name in without | after
            apart = apart or name in self.untouched or name in self.place
            if users and not apart and users <= inside | {*found}:
                found += [name] if self._fits(name, loop) else []
        return found[::-1]

    def _fits(self, name: str, loop: Loop) -> bool:
        node = self.cell.nodes[name]
        if node.type.extent != loop.extent:
            return False
        if node.op.name == "state":
            source = self.cell.nodes[self.nexts[name]]
            given = source.op.leaf and source.op.name != "state" and self.summing
            return given and source.type.extent == loop.extent and not is_backward(self.cell, name)
        if node.op.leaf:
            return name in self.listed
        extents = [self.cell.nodes[argument].type.extent for argument in node.args]
        alone = all(extent in (NOWHERE, loop.extent) for extent in extents)
        return alone and TABLE[node.op.name].kind in _ROWWISE
