"""Regions as NumPy statements over arrays (T, B, …)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType

from cellc.backends import pyast
from cellc.backends.axes import word
from cellc.backends.base import Emitter
from cellc.backends.numpy_products import PRODUCT, TURNED, turn, widen
from cellc.backends.pyast import Block, Item, Line, lines, quote, quote_statements
from cellc.backends.spelling import Speller
from cellc.ir import NOWHERE, Extent, Loop, Region
from cellc.ir.schedule import is_backward
from cellc.ir.types import sequence_axis
from cellc.ops import TABLE
from cellc.syntax.characters import ascii_name

SPELLER = Speller("numpy", "np", mode="training")

_RESERVED = (
    "np", "math", "zlib", "self", "p", "state", "lengths", "steps", "batch", "now", "alive",
    "ends", "batched", "draw", "seed", "dtype", "given", "training", "draws", "rng", "drawn",
    "trace", "traced", "name", "value", "d_state", "d_output", "d_outputs",
    "gradients", "cotangent", "later", "turned", "product",
    "_", "scan", "affine_steps", "affine_steps_back",
)  # fmt: skip


class NumpyEmitter(Emitter):
    """Parameters live in the dictionary ``p``; sequences are arrays (T, B, …).

    For the derivative, the starts of ``recorded`` states are kept, and whether a state was
    ``given``, in the variable of that name. ``stepping`` is for a single step.
    """

    reserved = (*_RESERVED, *TABLE)
    stepping = False
    recorded: frozenset[str] = frozenset()
    given: Mapping[str, str] = MappingProxyType({})

    def param(self, name: str) -> ast.expr:
        return ast.Subscript(pyast.name("p"), ast.Constant(ascii_name(name)), ast.Load())

    def spread(self, name: str, value: ast.expr) -> ast.expr:
        lead = [] if self.cell.nodes[name].type.extent else ["batch"]
        axis = self._axis_at_once()
        if axis is not None:
            lead = [word(axis, "steps"), *lead]
        if not lead:
            return value
        shape = quote(f"({', '.join(lead)},)")
        return quote("np.broadcast_to(v, (*lead, *np.shape(v)))", v=value, lead=shape)

    def _axis_at_once(self) -> str | None:
        """The axis that arrays of the region being written begin with, if there is one."""
        if self.stepping or isinstance(self.region, Loop):
            return None
        if self.region is None:
            return self.axes[0] if self.axes else None
        return sequence_axis(self.region.extent)

    def along(self, axis: str) -> dict[str, pyast.Binding]:
        return {"ends": word(axis, "ends"), "steps": word(axis, "steps")}

    def start(self, state: str) -> list[Item]:
        """The statements for what a state starts with, where that is computed or kept."""
        here, items = self.ids[state], []
        if state in self.computed:
            value, shape = self.start_of(state), self.state_shape(state, "batch")
            begun = quote("np.broadcast_to(v, shape)", v=value, shape=shape)
            items += (
                lines(f"{self.given[state]} = {here} is not None") if state in self.given else []
            )
            items += lines(f"if {here} is None:\n    {here} = v", v=begun)
        if state in self.kept:
            items += lines(f"if not given:\n    {here} = self._carried_on('{here}', {here})")
        return items

    def shift(self, name: str) -> list[Item]:
        chain, state = f"{self.ids[name]}_chain", self.ids[name]
        following = self.cell.values("next")[name]
        axis = sequence_axis(self.cell.nodes[name].type.extent)
        assert axis is not None
        value = self.reference(following)
        if self.cell.nodes[following].type.extent < self.cell.nodes[name].type.extent:
            value = self.spread(following, value)
        if is_backward(self.cell, name):
            return self._shift_back(name, value, axis)
        joined = quote("np.concatenate((s[None], v))", s=state, v=value)
        names = {"s": state, "chain": chain, "ends": word(axis, "ends")}
        return [
            Line(pyast.assign(chain, joined), self.comment(name)),
            *lines("before = chain[:-1]", before=self.whole(name), chain=chain),
            *lines("s = chain[ends, np.arange(batch)]", **names),
        ]

    def _shift_back(self, name: str, value: ast.expr, axis: str) -> list[Item]:
        """As ``shift``, of a state that travels from the last step to the first."""
        self.helpers["shifted_back"] = _SHIFTED_BACK
        call = quote("shifted_back(v, s, ends)", v=value, s=self.ids[name], ends=word(axis, "ends"))
        targets = [self.whole(name), self.ids[name]]
        return [Line(pyast.assign(targets, call), self.comment(name))]

    def at_once(self, region: Region) -> list[Item]:
        """The statements of a region that is no loop."""
        items = self.statements(region)
        if sequence_axis(region.extent) is not None and widen(items):
            self.helpers["product"] = PRODUCT
        return items

    def loop(self, region: Loop) -> list[Item]:
        """The loop over steps, with room for the values that are read after it."""
        kept = self.needed_later(region)
        body = self.statements(region)
        turned = turn(body)
        self.helpers |= {"turned": TURNED} if turned else {}
        nexts = self.cell.values("next")
        for n in kept:
            body += lines("all[now] = v", all=self.whole(n), v=self.ids[n])
        following = [ast.unparse(self.reference(nexts[state])) for state in region.carries]
        body += self._passed_on(region, following)
        reads = [
            Line(quote_statements("step = whole[now]", step=step, whole=self.whole(n))[0])
            for n, step in self.steps_used.items()
        ]
        self.steps_used = {}
        steps = word(region.axis, "steps")
        order = f"reversed(range({steps}))" if region.backward else f"range({steps})"
        head = quote_statements(f"for now in {order}:\n    pass")[0]
        rooms = [
            Line(quote_statements("a = np.empty((steps, *np.shape(s)), self.dtype)",
                                  a=self.whole(n), s=self._like(region, n), steps=steps)[0])
            for n in kept
        ]  # fmt: skip
        held = self._held_back(region) if region.backward else []
        return [*turned, *rooms, Block(head, (*held, *reads, *body))]

    def _held_back(self, region: Loop) -> list[Item]:
        """Zeros for the cotangents of sequences that the loop has not come to yet."""
        states = [self.ids[state] for state in region.carries]
        alone = [self._frozen(region.axis, s, self.ids[s], "0") for s in region.carries]
        comma = "," if len(states) == 1 else ""
        return lines(
            f"""
            if {word(region.axis, "lengths")} is not None:
                later = {", ".join(states)}{comma}
                {", ".join(states)} = {", ".join(alone)}
            """
        )

    def _passed_on(self, region: Loop, following: list[str]) -> list[Item]:
        """The statements that hand the states on, those of ended sequences as they are."""
        carried = ", ".join(self.ids[state] for state in region.carries)
        places = range(len(following))
        kept = [f"later[{k}]" if region.backward else self.ids[region.carries[k]] for k in places]
        frozen = [
            self._frozen(region.axis, state, value, held)
            for state, value, held in zip(region.carries, following, kept, strict=True)
        ]
        return lines(
            f"""
            if {word(region.axis, "lengths")} is None:
                {carried} = {", ".join(following)}
            else:
                {carried} = {", ".join(frozen)}
            """
        )

    def _like(self, region: Loop, name: str) -> ast.expr:
        """An expression with the shape of one step of a value."""
        shape = self.cell.nodes[name].type.shape
        for state in region.carries:
            if self.cell.nodes[state].type.shape == shape:
                return pyast.name(self.ids[state])
        dims = ", ".join(ast.unparse(self.size(dim)) for dim in shape)
        return quote(f"np.empty((batch, {dims}))")

    def _frozen(self, axis: str, state: str, value: str, held: str) -> str:
        """A next value, or what is held in its place where a sequence has ended."""
        rank = len(self.cell.nodes[state].type.shape)
        index = ", ".join(["now", ":", *["None"] * rank])
        return f"np.where({word(axis, 'alive')}[{index}], {value}, {held})"

    def masked(self, name: str, extent: Extent, own: bool = False) -> ast.expr:
        """A value as a call gives it away: zero where its sequence has ended.

        ``extent`` is what it varies along as the cell is written. One that nobody else will
        have is given away as it is where no sequence ends early, rather than copied.
        """
        type_, value = self.cell.nodes[name].type, self.reference(name)
        axis = self.axis_given(extent)
        if type_.extent == NOWHERE and axis is None:
            return quote("np.broadcast_to(v, (batch, *np.shape(v)))", v=value)
        if axis is None:
            return value
        if type_.extent == NOWHERE:
            value = self.spread(name, value)
        index = ", ".join([":", ":", *["None"] * len(type_.shape)])
        given = quote(f"np.where({word(axis, 'alive')}[{index}], v, 0)", v=value)
        if not own or not isinstance(self.region_of.get(name), Loop):
            return given
        return quote(f"v if {word(axis, 'lengths')} is None else w", v=value, w=given)

    def axis_given(self, extent: Extent) -> str | None:
        """The axis along which a value is a sequence when a call gives it away."""
        if extent == NOWHERE and self.axes:
            return self.axes[0]
        return sequence_axis(extent)


_SHIFTED_BACK = '''
def shifted_back(a, end, ends):
    """The values of the step that follows, ``end`` at each sequence's last, and the first."""
    here = np.arange(len(a))[:, None]
    here = here.reshape(*here.shape, *(1,) * (a.ndim - 2))
    ends = ends.reshape(-1, *(1,) * (a.ndim - 2))
    after = np.concatenate((a[1:], end[None]))
    first = np.where(ends > 0, a[0], end) if len(a) else end
    return np.where(here < ends - 1, after, np.where(here == ends - 1, end, 0)), first
'''
