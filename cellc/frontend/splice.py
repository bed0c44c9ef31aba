"""A cell applied inside another: its nodes, copied under the names of the call.

The applied cell is lowered by itself first; here its sizes, inputs, options and states
take what the call gives, and every other name gets the call's name in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cellc.diagnostics import Span, fail
from cellc.frontend.builder import Builder
from cellc.frontend.labels import joined
from cellc.ir import (
    BATCH,
    NOWHERE,
    TIME,
    Attribute,
    Cell,
    Dim,
    Node,
    Result,
    Type,
    TypeMismatch,
    reached,
)
from cellc.ir.types import Shape, shape_text
from cellc.ops import TABLE


@dataclass(frozen=True)
class Call:
    """How a cell is applied.

    ``values`` are the nodes given for its inputs, states and options; ``dims`` its sizes
    where they are known. New parameters are called after ``params``, new states and
    values after ``values_name``. ``axis`` is what takes the place of its time.
    """

    cell: Cell
    values: Mapping[str, str]
    dims: Mapping[str, Dim]
    params: str
    label: str
    axis: str
    span: Span
    kept: bool = False


@dataclass
class Spliced:
    """What an application gives: outputs, next values, live states and results to add.

    ``inside`` are its named values and states, by their names in the applied cell.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    nexts: dict[str, str] = field(default_factory=dict)
    live: dict[str, str] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    inside: dict[str, str] = field(default_factory=dict)


def splice(builder: Builder, call: Call) -> Spliced:
    """Copy the applied cell's nodes into the builder."""
    return _Splicing(builder, call).run()


def bind(pattern: Shape, actual: Shape, dims: dict[str, Dim]) -> bool:
    """Fit a declared shape to a given one; sizes found on the way go into ``dims``."""
    if len(pattern) != len(actual):
        return False
    for wanted, have in zip(pattern, actual, strict=True):
        name = str(wanted)
        if wanted.names == {name} and name not in dims:
            dims[name] = have
        elif wanted.substitute(dims) != have:
            return False
    return True


class _Splicing:
    def __init__(self, builder: Builder, call: Call) -> None:
        self.builder, self.call, self.cell = builder, call, call.cell
        self.now: dict[str, str] = {}
        self.reused: set[str] = set()

    def run(self) -> Spliced:
        found = Spliced()
        self._params(found)
        needed = reached(self.cell.nodes, [r.value for r in self.cell.results if self._wanted(r)])
        for name, node in self.cell.nodes.items():
            if name in needed and name not in self.now:
                self.now[name] = self._copy(name, node)
                if not name.isdigit() and name not in self.call.values:
                    found.inside[name] = self.now[name]
        for result in self.cell.results:
            if self._wanted(result):
                self._give(result, found)
        return found

    def _wanted(self, result: Result) -> bool:
        """Whether a result is not replaced by what the call gives or made before."""
        if result.role == "start":
            return result.name not in self.call.values
        return not (result.role == "initial" and result.name in self.reused)

    def _give(self, result: Result, found: Spliced) -> None:
        value = self.now[result.value]
        if result.role == "output":
            found.outputs[result.name] = value
        elif result.role == "next":
            found.nexts[result.name] = value
            if result.name not in self.call.values:
                state = self.now.get(result.name) or self._copy(
                    result.name, self.cell.nodes[result.name]
                )
                self.now[result.name] = state
                found.live[result.name] = state
                found.results.append(Result("next", state, value))
        else:
            if result.role == "initial" and self.builder.nodes[value].type.extent:
                owner = f"`{result.name}` of `{self.cell.name}`"
                message = f"the initial value of {owner} depends on the sequence"
                fail("bad-initial-value", message, self.call.span)
            found.results.append(Result(result.role, self.now[result.name], value))

    def _params(self, found: Spliced) -> None:
        """Parameters come first; those that an earlier call shares exist already."""
        for name in self.cell.params:
            node = self.cell.nodes[name]
            full = joined(self.call.params, name)
            type_ = self._type(node.type)
            before = self.builder.nodes.get(full)
            if before is None:
                self.now[name] = self.builder.leaf("param", full, type_, **dict(node.attrs))
                continue
            if before.type != type_:
                fail(
                    "shape-clash",
                    f"the shared parameter `{full}` is {shape_text(before.type.shape)} in one "
                    f"use and {shape_text(type_.shape)} in another",
                    self.call.span,
                )
            self.now[name] = full
            self.reused.add(name)

    def _copy(self, name: str, node: Node) -> str:
        given = self.call.values.get(name)
        if given is not None and node.op.leaf:
            return given
        attrs = {key: self._attribute(key, value) for key, value in node.attrs}
        if node.op.name == "option":
            value = float(attrs["default"])  # type: ignore[arg-type]
            return self.builder.number("const", Type((), NOWHERE), self.call.span, value=value)
        if node.op.leaf:
            return self._leaf(name, node, attrs)
        record, args = TABLE[node.op.name], tuple(self.now[argument] for argument in node.args)
        try:
            type_ = record.infer([self.builder.nodes[a].type for a in args], attrs)
        except TypeMismatch as mismatch:
            fail("shape-clash", f"`{self.cell.name}` does not fit these sizes: {mismatch.message}",
                 self.call.span)  # fmt: skip
        self._check_rate(node, args)
        copied = replace(node, args=args, type=type_, attrs=tuple(attrs.items()))
        return self.builder.graft(copied, None if name.isdigit() else self._name(name))

    def _check_rate(self, node: Node, args: tuple[str, ...]) -> None:
        """What the call gives as a probability must be one."""
        if node.op.name in ("keep", "bernoulli"):
            rate, zero = args[-1], node.op.name == "keep"
            number = self.builder.constants.get(rate)
            inside = number is None or (0 <= number < 1 if zero else 0 < number <= 1)
            if not inside or self.builder.nodes[rate].type != Type((), NOWHERE):
                message = f"what is given to `{self.cell.name}` as a probability is none"
                fail("bad-probability", message, self.call.span)

    def _leaf(self, name: str, node: Node, attrs: dict[str, Attribute]) -> str:
        type_ = self._type(node.type)
        if node.op.name == "state" and self.call.kept:
            attrs["kept"] = True
        if name.isdigit():
            return self.builder.number(node.op.name, type_, self.call.span, **attrs)
        return self.builder.leaf(node.op.name, self._name(name), type_, **attrs)

    def _name(self, name: str) -> str:
        return joined(self.call.label, name)

    def _type(self, type_: Type) -> Type:
        axes = {TIME: self.call.axis}
        extent = frozenset(axes.get(axis, axis) for axis in type_.extent)
        return Type(tuple(self._dim(dim) for dim in type_.shape), extent, type_.dtype)

    def _dim(self, dim: Dim) -> Dim:
        try:
            size = dim.substitute(self.call.dims)
            if size.names or (size.constant or 0) > 0:
                return size
            raise ValueError
        except (ValueError, ZeroDivisionError):
            fail("not-a-dimension", f"the size `{dim}` of `{self.cell.name}` cannot be had from "
                 "the sizes of this call", self.call.span)  # fmt: skip

    def _attribute(self, key: str, value: Attribute) -> Attribute:
        if isinstance(value, Dim):
            return self._dim(value)
        if isinstance(value, tuple):
            return tuple(self._dim(dim) for dim in value)
        if key == "axis":
            return self.call.axis if value == TIME else value
        if key == "label":
            return joined(self.call.params, str(value))
        return value


def sequence_of(types: list[Type]) -> str:
    """The axis along which the given values run; ``time`` where none does."""
    return next((a for t in types for a in t.extent if a != BATCH), TIME)
