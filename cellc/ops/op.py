"""The record of an op: everything about it that is mathematics, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cellc.ir import Attribute, Dim, Node, Type, TypeMismatch
from cellc.ir.types import Shape, positions, shape_text, union

Attrs = Mapping[str, Attribute]
TypeRule = Callable[[Sequence[Type], Attrs], Type]
Spelling = str | Callable[[Node, Sequence[Type]], str]
Kind = Literal[
    "leaf", "elementwise", "contraction", "structural", "reduction", "sequence", "total", "random"
]


class Pull(Protocol):
    """What a derivative that is a function works with: one node of the cell being derived.

    ``args`` are its operands, ``y`` its value, ``g`` the cotangent of that.
    """

    @property
    def args(self) -> tuple[str, ...]: ...
    @property
    def y(self) -> str: ...
    @property
    def g(self) -> str: ...
    @property
    def attrs(self) -> Attrs: ...

    def type(self, name: str) -> Type:
        """The type of an operand, of ``y`` or of what was added."""
        ...

    def add(self, op: str, *args: str, **attrs: Attribute) -> str:
        """Add an operation and return its name."""
        ...

    def total(self, op: str, *args: str, **attrs: Attribute) -> str:
        """Add an operation that sums over all sequences and steps that its operands have."""
        ...


#: The cotangent of the operand in a slot; None where it is zero.
Pullback = Callable[[Pull, int], str | None]

#: How tightly an op's notation binds; a function call binds tightest.
COMPARISON, SUM, PRODUCT, SIGN, CONTRACTION, POWER, CALL = range(1, 8)


@dataclass(frozen=True, eq=False)
class Op:
    """One operation.

    Attributes:
        name: what the language and the IR call it; ``aliases`` are other spellings.
        summary: one sentence for ``docs/ops.md``.
        kind: leaf, elementwise, contraction, structural, reduction, sequence, total (a sum
            over sequences or steps) or random.
        parameters: names of the operands. All texts below use these names.
        variadic: whether the last parameter may be repeated.
        rule: the type of the result from the types of the operands.
        spelling: a Python expression, or a function that writes one from the node and the
            operands' types. ``xp`` stands for the array module. Used where a backend has
            neither its own spelling nor one in ``spellings``.
        spellings: spellings that hold for one backend, by its name.
        helpers: a function definition that a backend's spelling calls, by backend.
        expansion: the op in terms of simpler ones, in the language; the last resort.
        derivative: the cotangent of each operand in the language, where ``g`` is the
            cotangent of the result and ``y`` the result; None where it is zero.
        pullback: the derivative as a function, of an op whose operands differ in shape.
        range: bounds of the result, None on a side without one. A gate is a value
            known to lie in [0, 1].
        notation, precedence: how the language writes it, ``$a`` standing for an operand.
        latex: how a paper prints it, likewise.
        glyph: what a diagram shows; ``selects``: it is drawn as a mixer, since it chooses or
            moves between operands; ``structure``: what is said of the weight that it multiplies.
        linear: sets of slots in which the op is jointly linear.
        flops: floating-point operations per element of the result.
        work: the multiplications of a contraction from the types of operands and result,
            where they are not as many as its weight has numbers.
        by_mode: whether the value is another while training than otherwise.
        overflows: whether its helper overflows on the way to a right result, and what calls it
            must not warn of that.
        written: whether the language writes it; others are made by passes only.
    """

    name: str
    summary: str
    kind: Kind
    parameters: tuple[str, ...] = ()
    variadic: bool = False
    rule: TypeRule = field(default=lambda args, attrs: elementwise(args, attrs))
    spelling: Spelling = ""
    spellings: Mapping[str, Spelling] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    expansion: str = ""
    derivative: tuple[str | None, ...] = ()
    pullback: Pullback | None = None
    range: tuple[float | None, float | None] = (None, None)
    notation: str = ""
    precedence: int = CALL
    latex: str = ""
    glyph: str = ""
    selects: bool = False
    structure: str = ""
    aliases: tuple[str, ...] = ()
    commutative: bool = False
    associative: bool = False
    linear: tuple[frozenset[int], ...] = ()
    flops: int = 1
    work: Callable[[Sequence[Type], Type], Dim] | None = None
    by_mode: bool = False
    overflows: bool = False
    written: bool = True

    @property
    def leaf(self) -> bool:
        return self.kind == "leaf"

    def accepts(self, count: int) -> bool:
        """Whether the op takes this many operands."""
        least = len(self.parameters)
        return count >= least if self.variadic else count == least

    def infer(self, args: Sequence[Type], attrs: Attrs) -> Type:
        """The type of the result; raises TypeMismatch where operands do not fit."""
        return self.rule(args, attrs)

    def operand_names(self, count: int) -> list[str]:
        """The names that texts use for ``count`` operands: ``a``, ``b`` or ``a0``, ``a1``."""
        if not self.variadic:
            return list(self.parameters)
        return [f"{self.parameters[-1]}{number}" for number in range(count)]

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __deepcopy__(self, memo: object) -> Op:
        return self


def numbers_only(args: Sequence[Type]) -> None:
    """Raise TypeMismatch where an operand is a truth value."""
    for slot, operand in enumerate(args):
        if operand.dtype == "boolean":
            raise TypeMismatch("a comparison is no number; `where(…, 1, 0)` makes it one", (slot,))


def elementwise(args: Sequence[Type], attrs: Attrs) -> Type:
    """Operands broadcast by the names of their dimensions; one contains the others."""
    numbers_only(args)
    return Type(broadcast([a.shape for a in args]), union(args))


def comparison(args: Sequence[Type], attrs: Attrs) -> Type:
    """As elementwise, with a truth value as result."""
    numbers_only(args)
    return Type(broadcast([a.shape for a in args]), union(args), "boolean")


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that contains all others.

    Raises TypeMismatch naming the two that do not fit.
    """
    outer = max(range(len(shapes)), key=lambda slot: len(shapes[slot]))
    for slot, shape in enumerate(shapes):
        if positions(shape, shapes[outer]) is None:
            first, second = sorted((slot, outer))
            raise TypeMismatch(
                f"{shape_text(shapes[first])} and {shape_text(shapes[second])} do not fit",
                (first, second),
            )
    return shapes[outer]
