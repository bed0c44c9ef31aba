"""Regions as Torch statements over rows.

Sequences are run as rows: the steps of all sequences one below the other, longest
sequence first, which is how a PackedSequence holds them. ``sizes`` says how many rows
each step has, so that a sequence that has ended costs nothing and keeps its state.
"""

from __future__ import annotations

import ast

from cellc.backends import pyast
from cellc.backends.base import Emitter
from cellc.backends.partition import partitions
from cellc.backends.pyast import Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.backends.spelling import Speller
from cellc.ir import Loop, Schedule
from cellc.syntax.characters import ascii_name

SPELLER = Speller("torch", "torch")

_RESERVED = (
    "torch", "nn", "F", "Tensor", "PackedSequence", "math", "zlib", "self", "state", "sizes",
    "rows", "shifted", "name", "value", "shape", "wrong", "other", "same", "lead", "ended",
    "ragged", "packed", "batched", "draw", "seed", "real", "device", "dtype", "batch_first",
    "steps", "parts", "output", "like", "batch",
)  # fmt: skip


class TorchEmitter(Emitter):
    """Writes regions over rows; weights used in a loop are transposed before it."""

    reserved = _RESERVED

    def __init__(self, schedule: Schedule, speller: Speller) -> None:
        super().__init__(schedule, speller)
        self.numbers: dict[str, Line] = {}
        self.hoisted: dict[str, Line] = {}
        self.constructing = False
        self.partitions = partitions(self.cell, self.region_of)
        self.pieces = {piece for part in self.partitions.values() for piece in part.pieces}

    def param(self, name: str) -> ast.expr:
        return quote(f"self.{ascii_name(name)}")

    def is_inline(self, name: str) -> bool:
        return name not in self.pieces and super().is_inline(name)

    def call_argument(self, name: str, value: ast.expr) -> ast.expr:
        if self.constructing:
            return quote("torch.tensor(v, dtype=real)", v=value)
        if self.starting:
            return quote("like.new_tensor(v)", v=value)
        like = self.ids[self.cell.inputs[0]]
        if self.cell.nodes[name].type.dtype == "boolean":
            return quote("torch.tensor(v, device=like.device)", like=like, v=value)
        for known, line in self.numbers.items():
            if ast.unparse(line.statement).endswith(f".new_tensor({ast.unparse(value)})"):
                return pyast.name(known)
        tensor = self.ids.fresh("number")
        made = pyast.assign(tensor, quote("like.new_tensor(v)", like=like, v=value))
        self.numbers[tensor] = Line(made, self.origin([name]))
        return pyast.name(tensor)

    def spread(self, name: str, value: ast.expr) -> ast.expr:
        if self.number(name) is not None:
            value = quote("like.new_tensor(v)", like=self.ids[self.cell.inputs[0]], v=value)
        count = "rows" if isinstance(self.region, Loop) else f"len({self.ids[self.cell.inputs[0]]})"
        return quote("v.expand(count, *v.shape)", count=quote(count), v=value)

    def spelled(self, name: str) -> ast.expr:
        value = super().spelled(name)
        if isinstance(self.region, Loop):
            value = _Transposed(self).visit(value)
        return value

    def is_silent(self, name: str) -> bool:
        return name not in self.partitions and super().is_silent(name)

    def statement(self, name: str) -> list[Item]:
        """A value and, where slices take it apart, the one statement that does so."""
        if name in self.pieces:
            return []
        found = [] if self.cell.nodes[name].op.leaf else super().statement(name)
        if name in self.partitions:
            pieces = self.partitions[name].pieces
            targets = [self.ids[piece] for piece in pieces]
            found.append(Line(pyast.assign(targets, self._split(name)), self.comment(*pieces)))
        return found

    def _split(self, name: str) -> ast.expr:
        """A value taken apart, as torch's own cells do it.

        The unsafe forms make no views. They are safe where nothing is changed in place
        and no piece leaves the loop; pieces that do are split the ordinary way.
        """
        partition, whole = self.partitions[name], self.reference(name)
        leaving = {result.value for result in self.cell.results}
        inner = isinstance(self.region, Loop) and not leaving & set(partition.pieces)
        prefix = "unsafe_" if inner else ""
        if partition.even:
            count = len(partition.pieces)
            call = quote(f"whole.{prefix}chunk(count, axis)", count=count, axis=partition.axis,
                         whole=whole)  # fmt: skip
        else:
            sizes = self.attribute(partition.sizes)
            call = quote(f"whole.{prefix}split_with_sizes(sizes, axis)", sizes=sizes,
                         axis=partition.axis, whole=whole)  # fmt: skip
        return call

    def _steps_of(self, name: str) -> str:
        """The steps of a value that is known for the whole sequence.

        What a caller handed over is split into views, so that torch notices when the
        caller changes it before the backward pass.
        """
        origin = name
        while self.cell.nodes[origin].op.name == "slice":
            origin = self.cell.nodes[origin].args[0]
        prefix = "" if self.cell.nodes[origin].op.leaf else "unsafe_"
        return f"{self.whole(name)}.{prefix}split_with_sizes(sizes)"

    def shift(self, name: str) -> list[Item]:
        following = self.cell.values("next")[name]
        value = self.reference(following)
        if self.cell.nodes[following].type.extent < self.cell.nodes[name].type.extent:
            value = self.spread(following, value)
        self.helpers["shifted"] = _SHIFTED
        state = self.ids[name]
        call = quote("shifted(v, s, sizes)", v=value, s=state)
        return [Line(pyast.assign([self.whole(name), state], call), self.comment(name))]

    def loop(self, region: Loop) -> list[Item]:
        """The loop over steps; sequences leave it as they end."""
        kept = self.needed_later(region)
        carried = [self.ids[state] for state in region.carries]
        core = self.statements(region)
        nexts = self.cell.values("next")
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        core += [line for n in kept for line in lines(f"{self.ids[n]}_steps.append({self.ids[n]})")]
        core += lines(f"{', '.join(carried)} = {', '.join(following)}")
        targets = ["rows", *self.steps_used.values()]
        splits = [self._steps_of(name) for name in self.steps_used]
        over = f"zip({', '.join(['sizes', *splits])})" if splits else "sizes"
        self.steps_used = {}
        head = quote_statements(f"for {', '.join(targets)} in {over}:\n    pass")[0]
        left = ", ".join(f"{s}[rows:]" for s in carried)
        stay = ", ".join(f"{s}[:rows]" for s in carried)
        names = ", ".join(carried)
        leave = lines(
            f"""
            if ragged and rows < len({carried[0]}):
                ended.append(({left},))
                {names} = {stay}
            """
        )
        before = [line for n in kept for line in lines(f"{self.ids[n]}_steps = []")]
        together = "{whole} = torch.cat({steps}) if ragged else torch.stack({steps}).flatten(0, 1)"
        after = [line for n in kept for line in lines(
            together.format(whole=self.whole(n), steps=f"{self.ids[n]}_steps"))]  # fmt: skip
        comma = "," if len(carried) == 1 else ""
        after += lines(
            f"""
            if ended:
                {names}{comma} = (torch.cat(parts) for parts in zip(({names},), *reversed(ended)))
            """
        )
        remark = Remark("sequences that have ended leave with their state")
        start = lines("ragged, ended = sizes[0] != sizes[-1], []")
        return [*start, *before, Block(head, (remark, *leave, *core)), *after]


class _Transposed(ast.NodeTransformer):
    """Replaces ``W.T`` in a loop by a variable that is set before it."""

    def __init__(self, emitter: TorchEmitter) -> None:
        self.emitter = emitter

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if node.attr != "T" or not isinstance(node.value, (ast.Name, ast.Attribute)):
            return node
        weight = ast.unparse(node.value)
        name = f"{weight.removeprefix('self.')}_T"
        self.emitter.hoisted.setdefault(
            name, Line(pyast.assign(name, quote(f"{weight}.T")), "transposed once")
        )
        return pyast.name(name)


_SHIFTED = '''
def shifted(value, first, sizes):
    """The rows of the step before, ``first`` at the start, and each sequence's last row."""
    steps = value.split(sizes)
    before = torch.cat([first, *(step[:rows] for step, rows in zip(steps, sizes[1:]))])
    ends = zip(reversed(steps), [0, *reversed(sizes[1:])])
    return before, torch.cat([step[rows:] for step, rows in ends])
'''
