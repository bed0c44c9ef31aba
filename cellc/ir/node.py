"""Nodes and results: the pieces a cell is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cellc.diagnostics import Span
from cellc.ir.dimension import Dim
from cellc.ir.types import Type

Attribute = bool | int | float | str | Dim | tuple[Dim, ...]
Attributes = tuple[tuple[str, Attribute], ...]
Role = Literal["next", "output", "start", "initial", "sum"]


class Operation(Protocol):
    """What the IR needs to know of an op; the records live in :mod:`cellc.ops`."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def leaf(self) -> bool: ...
    @property
    def commutative(self) -> bool: ...
    @property
    def associative(self) -> bool: ...
    def infer(self, args: Sequence[Type], attrs: Mapping[str, Attribute]) -> Type: ...
    def accepts(self, count: int) -> bool: ...


@dataclass(frozen=True)
class Node:
    """One value: an op applied to named operands.

    ``spans`` are the places in specs it comes from; a fused node has several. They are
    no part of equality.
    """

    op: Operation
    args: tuple[str, ...]
    type: Type
    attrs: Attributes = ()
    spans: frozenset[Span] = field(default=frozenset(), compare=False)

    def attr(self, name: str) -> Attribute:
        """The attribute of this name; raises KeyError where there is none."""
        return dict(self.attrs)[name]


@dataclass(frozen=True)
class Result:
    """A value the cell gives away.

    ``next h``: the state's value for the following step. ``output y``: what the step
    emits. ``start h``: what the state starts with. ``initial W``: what a parameter is
    initialised with. ``sum W``: what a derivative gives for a parameter, over all sequences.
    """

    role: Role
    name: str
    value: str


@dataclass(frozen=True)
class Argument:
    """A constructor argument that sets a dimension: H is ``hidden_size``.

    A ``fixed`` dimension is chosen before the cell is compiled and cannot be passed:
    the length of an axis.
    """

    name: str
    default: int | None = None
    fixed: bool = False


def reached(nodes: Mapping[str, Node], ends: Iterable[str]) -> set[str]:
    """The names of some nodes and of all that they are computed from."""
    found: set[str] = set()
    pending = list(ends)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(nodes[name].args)
    return found
