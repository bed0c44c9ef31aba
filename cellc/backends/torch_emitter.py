"""Regions as Torch statements over rows.

Sequences are run as rows: the steps of all sequences one below the other, longest
sequence first, which is how a PackedSequence holds them. ``sizes`` says how many rows
each step has, so that a sequence that has ended costs nothing and keeps its state.
Each axis has ``sizes`` and ``packed`` of its own. What a sequence has once is in the
caller's order until a region along an axis reads it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from cellc.backends import pyast
from cellc.backends.axes import input_along, word
from cellc.backends.base import Emitter
from cellc.backends.partition import partitions
from cellc.backends.pyast import Block, Item, Line, Remark, lines, quote, quote_statements
from cellc.backends.spelling import Speller
from cellc.backends.torch_helpers import HELPERS
from cellc.ir import NOWHERE, Loop, Schedule
from cellc.ir.schedule import is_backward
from cellc.ir.types import Extent, sequence_axis
from cellc.ops import TABLE
from cellc.syntax.characters import ascii_name

SPELLER = Speller(
    "torch",
    "torch",
    {"keep": "(u >= p).to(u.dtype) if training else torch.ones_like(u) - p"},
)

_RESERVED = (
    "torch", "nn", "F", "Tensor", "PackedSequence", "math", "zlib", "self", "state", "sizes",
    "rows", "shifted", "name", "value", "shape", "wrong", "other", "same", "lead", "ended",
    "ragged", "packed", "given", "batched", "draw", "seed", "real", "device", "dtype",
    "batch_first", "steps", "parts", "output", "like", "batch", "outputs", "trace", "traced",
    "draws",
    "ctx", "saved", "keep", "results", "slopes", "training", "here", "part", "_",
    "scan", "scan_pays", "affine_steps", "affine_steps_back",
    "generator", "known", "unknown", "own", "kept", "fresh", "which", "pad_packed_sequence",
    *HELPERS,
)  # fmt: skip


class TorchEmitter(Emitter):
    """Writes regions over rows; weights used in a loop are transposed before it.

    The computed starts of ``recorded`` states are kept for the derivative.
    """

    #: Whether ``loop`` writes scans as well.
    scans_in_kernels = False

    def __init__(
        self,
        schedule: Schedule,
        speller: Speller,
        known: Mapping[str, str] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        used = {node.op.name for node in schedule.cell.nodes.values()}
        self.reserved = (*_RESERVED, *sorted(n for n in used if "torch" in TABLE[n].helpers))
        super().__init__(schedule, speller, known, taken)
        self.numbers: dict[str, Line] = {}
        self.hoisted: dict[str, Line] = {}
        self.narrowed: dict[str, str] = {}
        self.crossed: dict[tuple[str, str], str] = {}
        self.crossings: list[Item] = []
        self.constructing = False
        self.recorded: frozenset[str] = frozenset()
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
        like = self.like
        if self.cell.nodes[name].type.dtype == "boolean":
            return quote("torch.tensor(v, device=like.device)", like=like, v=value)
        for known, line in self.numbers.items():
            if ast.unparse(line.statement).endswith(f".new_tensor({ast.unparse(value)})"):
                return pyast.name(known)
        tensor = self.ids.fresh("number")
        made = pyast.assign(tensor, quote("like.new_tensor(v)", like=like, v=value))
        self.numbers[tensor] = Line(made, self.origin([name]))
        return pyast.name(tensor)

    @property
    def like(self) -> ast.expr:
        """A value with the type and the device that numbers are to have."""
        nodes = self.cell.nodes
        real = [name for name in self.cell.inputs if nodes[name].type.dtype == "real"]
        if real:
            return pyast.name(self.ids[real[0]])
        if self.cell.params:
            return self.param(self.cell.params[0])
        device = f"device={self.ids[self.cell.inputs[0]]}.device" if self.cell.inputs else ""
        return quote(f"torch.zeros({', '.join(['0', device] if device else ['0'])})")

    def along(self, axis: str) -> dict[str, pyast.Binding]:
        return {"sizes": word(axis, "sizes"), "packed": self.packed(axis)}

    def packed(self, axis: str) -> ast.expr:
        """The PackedSequence that has the lengths along an axis; without inputs there is none."""
        given = input_along(self.schedule, axis) is not None
        return pyast.name(word(axis, "packed")) if given else ast.Constant(None)

    def in_row_order(self, value: ast.expr, axis: str) -> ast.expr:
        """A value per sequence in the order of an axis' rows."""
        packed = self.packed(axis)
        if isinstance(packed, ast.Constant):
            return value
        return quote("in_row_order(v, packed)", v=value, packed=packed)

    def own_order(self, value: ast.expr, state: str) -> ast.expr:
        axis = sequence_axis(self.cell.nodes[state].type.extent)
        assert axis is not None
        packed = self.packed(axis)
        if isinstance(packed, ast.Constant):
            return value
        return quote("in_own_order(v, packed)", v=value, packed=packed)

    def held(self, name: str, value: ast.expr) -> ast.expr:
        assert self.region is not None
        axis = sequence_axis(self.region.extent)
        assert axis is not None
        if isinstance(self.region, Loop):
            return pyast.name(self.narrowed.setdefault(name, f"{self.whole(name)}_t"))
        if (name, axis) not in self.crossed:
            self.crossed[name, axis] = self.ids.fresh(f"{self.ids[name]}_{word(axis, 'rows')}")
            rows = quote("on_rows(v, sizes, packed)", v=value, **self.along(axis))
            made = pyast.assign(self.crossed[name, axis], rows)
            self.crossings.append(Line(made, self.comment(name)))
        return pyast.name(self.crossed[name, axis])

    def spread(self, name: str, value: ast.expr) -> ast.expr:
        if self.cell.nodes[name].type.extent != NOWHERE:
            return value  # the crossing to the region's axis has spread it
        assert self.region is not None
        if isinstance(self.region, Loop):
            return self.repeated(name, value, quote("rows"))
        return self.repeated(name, value, self.count(self.region.extent))

    def repeated(self, name: str, value: ast.expr, count: ast.expr) -> ast.expr:
        """A value without batch and steps as often as a count says."""
        if self.number(name) is not None:
            value = quote("like.new_tensor(v)", like=self.like, v=value)
        return quote("v.expand(count, *v.shape)", count=count, v=value)

    def count(self, extent: Extent) -> ast.expr:
        """How many rows a value of an extent has."""
        axis = sequence_axis(extent)
        if axis is None:
            return quote(f"{word(self.axes[0], 'sizes')}[0]" if self.axes else "batch")
        given = input_along(self.schedule, axis)
        return quote(f"len({self.ids[given]})" if given else f"sum({word(axis, 'sizes')})")

    def spelled(self, name: str) -> ast.expr:
        state = self._left_by_loop(name)
        if state is not None:
            return self.own_order(pyast.name(self.ids[state]), state)
        value = super().spelled(name)
        if isinstance(self.region, Loop):
            value = _Transposed(self).visit(value)
        return value

    def _left_by_loop(self, name: str) -> str | None:
        """The state that is, when its loop has ended, what ``last`` gives of its values."""
        node = self.cell.nodes[name]
        if node.op.name != "last" or not isinstance(self.region_of.get(node.args[0]), Loop):
            return None
        nexts = self.cell.values("next")
        return next(
            (s for s, v in nexts.items() if v == node.args[0] and not self.is_shift(s)), None
        )

    def needed_later(self, loop: Loop) -> list[str]:
        kept, inside = {*self.cell.values("output").values(), *self.watched}, set(loop.values)
        kept |= {v for s, v in self.cell.values("next").items() if self.is_shift(s)}

        def is_read(name: str) -> bool:
            users = set(self.cell.graph.successors(name)) - inside
            return any(self._left_by_loop(user) is None for user in users)

        return [n for n in super().needed_later(loop) if n in kept or is_read(n)]

    def is_silent(self, name: str) -> bool:
        return name not in self.partitions and super().is_silent(name)

    def statement(self, name: str) -> list[Item]:
        """A value and, where slices take it apart, the one statement that does so."""
        known = self.cell.nodes[name].op.leaf or name in self.pieces
        found = [] if known else super().statement(name)
        if name in self.partitions:
            found.append(self.taken_apart(name))
        return [*self.taken_crossings(), *found]

    def taken_apart(self, name: str) -> Line:
        """The statement that takes a value apart."""
        pieces = self.partitions[name].pieces
        targets = [self.target(piece) for piece in pieces]
        return Line(pyast.assign(targets, self._split(name)), self.comment(*pieces))

    def taken_crossings(self) -> list[Item]:
        """The statements that the one being written asks for before it."""
        taken, self.crossings = self.crossings, []
        return taken

    def _split(self, name: str) -> ast.expr:
        """A value taken apart, as torch's own cells do it.

        The unsafe forms make no views. They are safe where nothing is changed in place
        and no piece leaves the loop; pieces that do are split the ordinary way.
        """
        partition, whole = self.partitions[name], self.reference(name)
        inner = isinstance(self.region, Loop) and not self.leaving & set(partition.pieces)
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

    @property
    def leaving(self) -> set[str]:
        """Values that the caller gets, who may change them."""
        return {result.value for result in self.cell.results} | self.watched

    def steps_of(self, name: str, sizes: str) -> str:
        """The steps of a value that is known for the whole sequence.

        What a caller handed over is split into views, so that torch notices when the
        caller changes it before the backward pass.
        """
        origin = name
        while self.cell.nodes[origin].op.name == "slice":
            origin = self.cell.nodes[origin].args[0]
        leaving = name in self.leaving or self.cell.nodes[origin].op.leaf
        prefix = "" if leaving else "unsafe_"
        return f"{self.whole(name)}.{prefix}split_with_sizes({sizes})"

    def shift(self, name: str) -> list[Item]:
        assert self.region is not None
        axis = sequence_axis(self.region.extent)
        assert axis is not None
        following = self.cell.values("next")[name]
        value = self.reference(following)
        if self.cell.nodes[following].type.extent < self.cell.nodes[name].type.extent:
            value = self.spread(following, value)
        state = self.ids[name]
        function = "shifted_back" if is_backward(self.cell, name) else "shifted"
        call = quote(f"{function}(v, s, sizes)", v=value, s=state, sizes=word(axis, "sizes"))
        made = Line(pyast.assign([self.whole(name), state], call), self.comment(name))
        return [*self.taken_crossings(), *self.computed_start(name, axis), made]

    def computed_start(self, state: str, axis: str) -> list[Item]:
        """The start of a state that depends on the call, unless a state was given."""
        if state not in self.computed:
            return []
        region, self.region = self.region, None
        value = self.start_of(state)
        self.region = region
        inner = self.cell.nodes[self.computed[state]].type.shape
        if inner != self.cell.nodes[state].type.shape:
            shape = self.state_shape(state, f"{word(axis, 'sizes')}[0]")
            value = quote("v.expand(shape)", v=value, shape=shape)
        start = self.in_row_order(value, axis)
        here = self.ids[state]
        items = lines("if s is None:\n    s = start", s=here, start=start)
        return items + (
            lines(f"{here}_start = {here}.view_as({here})") if state in self.recorded else []
        )

    def loop(self, region: Loop) -> list[Item]:
        """The loop over steps; sequences leave it as they end."""
        kept = self.needed_later(region)
        saved = [name for name in region.values if name in self.saved and name not in kept]
        carried = [self.ids[state] for state in region.carries]
        core = self.statements(region)
        nexts = self.cell.values("next")
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        core += [line for n in kept for line in self.appended(n)]
        core += _if_keep([line for n in saved for line in self.appended(n)])
        core += lines(f"{', '.join(carried)} = {', '.join(following)}")
        sizes, those = word(region.axis, "sizes"), self.sizes_of_steps(region)
        splits = [those, *(self.steps_of(name, those) for name in self.steps_used)]
        over = f"zip({', '.join(splits)})" if self.steps_used else those
        targets = ", ".join(["rows", *self.steps_used.values()])
        head = quote_statements(f"for {targets} in {over}:\n    pass")[0]
        start = [line for s in region.carries for line in self.computed_start(s, region.axis)]
        start += self._narrow_start(region.axis)
        start += [line for n in [*kept, *saved] for line in lines(f"{self.ids[n]}_steps = []")]
        start += lines(f"ragged, ended = {sizes}[0] != {sizes}[-1], []")
        remark = Remark("sequences that have ended leave with their state")
        body = (remark, *self._leave(carried), *core)
        self.steps_used, self.narrowed = {}, {}
        steps = self.in_blocks(region, Block(head, body))
        after = [line for name in kept for line in self._joined(name, sizes)]
        return [*start, *steps, *after, *self._left(carried)]

    def sizes_of_steps(self, region: Loop) -> str:
        """The numbers of rows of those steps that a loop runs through."""
        return word(region.axis, "sizes")

    def in_blocks(self, region: Loop, steps: Item) -> list[Item]:
        """The steps of a loop, with what is computed for a block of them at once."""
        return [steps]

    def _narrow_start(self, axis: str) -> list[Item]:
        """What the loop reads of each sequence, in the order of the rows."""
        pairs = [(held, self.in_row_order(pyast.name(self.whole(name)), axis))
                 for name, held in self.narrowed.items()]  # fmt: skip
        return [Line(pyast.assign(held, value)) for held, value in pairs]

    def _leave(self, carried: list[str]) -> list[Item]:
        """Sequences that have ended leave the loop, what it holds of them as well."""
        left = ", ".join(f"{s}[rows:]" for s in carried)
        stay = ", ".join(f"{s}[:rows]" for s in carried)
        narrow = "".join(f"\n    {held} = {held}[:rows]" for held in self.narrowed.values())
        return lines(
            f"if ragged and rows < len({carried[0]}):\n"
            f"    ended.append(({left},))\n"
            f"    {', '.join(carried)} = {stay}" + narrow
        )

    def appended(self, name: str) -> list[Item]:
        return lines(f"{self.ids[name]}_steps.append({self.ids[name]})")

    def _joined(self, name: str, sizes: str) -> list[Item]:
        """The steps of a value as rows."""
        return lines(f"{self.whole(name)} = together({self.ids[name]}_steps, {sizes})")

    def _left(self, carried: list[str]) -> list[Item]:
        """The states of all sequences together again, where some have left the loop."""
        names, comma = ", ".join(carried), "," if len(carried) == 1 else ""
        return lines(
            f"""
            if ended:
                {names}{comma} = (torch.cat(parts) for parts in zip(({names},), *reversed(ended)))
            """
        )


def _if_keep(items: list[Item]) -> list[Item]:
    """Statements for what only the derivative reads."""
    head = quote_statements("if keep:\n    pass")[0]
    return [Block(head, tuple(items))] if items else []


class _Transposed(ast.NodeTransformer):
    """Replaces ``W.T`` and ``W.mT`` in a loop by a variable that is set before it."""

    def __init__(self, emitter: TorchEmitter) -> None:
        self.emitter = emitter

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if node.attr not in ("T", "mT") or not isinstance(node.value, (ast.Name, ast.Attribute)):
            return node
        weight = ast.unparse(node.value)
        name = f"{weight.removeprefix('self.')}_T"
        self.emitter.hoisted.setdefault(
            name, Line(pyast.assign(name, quote(f"{weight}.{node.attr}")), "transposed once")
        )
        return pyast.name(name)
