"""The kinds of products by a weight, as a table: how weights stack and how they join.

For a product ``w·v`` a weight has one dimension along which its results lie, its *rows*,
and one along which it meets the vector, its *columns*. Weights that multiply one vector
stack along the rows, and their results lie one behind the other:
``[W; U]·v = [W·v, U·v]``. Weights whose products are added join along the columns, and
their vectors are concatenated: ``[W, U]·[a, b] = W·a + U·b``. A kind of product is one
row of :data:`LAYOUTS`; the passes know no op by name beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cellc.diagnostics import Span
from cellc.ir import NOWHERE, Cell, Dim, Node
from cellc.ir.types import Shape
from cellc.passes.edit import Edit

Place = Callable[[Shape, Shape], int]


@dataclass(frozen=True)
class Layout:
    """Where a weight has its rows and columns, from its shape and its vector's.

    ``columns`` is None where products of this kind cannot be added by joining weights.
    With ``copies`` only weights of one shape stack, and the op is told how many there are.
    """

    rows: Place
    columns: Place | None
    copies: bool = False


#: The ops that multiply a value by a weight. An op that is in no table never meets its row.
LAYOUTS: Mapping[str, Layout] = {
    "matmul": Layout(
        rows=lambda weight, vector: 0,
        columns=lambda weight, vector: len(weight) - len(vector),
    ),
    "matmul_transposed": Layout(
        rows=lambda weight, vector: len(vector),
        columns=lambda weight, vector: 0,
    ),
    "convolve": Layout(
        rows=lambda weight, vector: 0,
        columns=lambda weight, vector: 1,
    ),
    "block_matmul": Layout(rows=lambda weight, vector: 0, columns=None, copies=True),
}


@dataclass(frozen=True)
class Product:
    """A product of a weight that is known before the call's first step, and a vector that is not.

    ``rows`` and ``columns`` are dimensions of the weight; ``shape`` is the weight's.
    """

    name: str
    op: str
    weight: str
    vector: str
    shape: Shape
    rows: int
    columns: int | None
    copies: bool

    @property
    def stacking(self) -> tuple[str, Shape]:
        """Equal for products of one vector that stack."""
        return self.op, self.shape if self.copies else _without(self.shape, self.rows)

    @property
    def joining(self) -> tuple[str, Shape]:
        """Equal for products that stack or join where their rows or columns allow it."""
        assert self.columns is not None
        return self.op, _without(self.shape, self.rows, self.columns)


def product_at(nodes: Mapping[str, Node], name: str) -> Product | None:
    """The product that a node is, or None where it is not one that passes may rearrange."""
    node = nodes[name]
    layout = LAYOUTS.get(node.op.name)
    if layout is None or node.attrs or not node.type.shape:
        return None
    weight, vector = (nodes[argument].type for argument in node.args)
    if weight.extent != NOWHERE or vector.extent == NOWHERE:
        return None
    rows = layout.rows(weight.shape, vector.shape)
    columns = layout.columns and layout.columns(weight.shape, vector.shape)
    first, second = node.args
    return Product(
        name, node.op.name, first, second, weight.shape, rows, columns, layout.copies
    )  # fmt: skip


def products_of(cell: Cell) -> dict[str, Product]:
    """All products of a cell that passes may rearrange, by name."""
    found = ((name, product_at(cell.nodes, name)) for name in cell.nodes)
    return {name: product for name, product in found if product is not None}


@dataclass(frozen=True)
class Cut:
    """The part of a weight from ``start`` to ``stop`` along one dimension."""

    weight: str
    start: Dim
    stop: Dim


def cut_of(nodes: Mapping[str, Node], weight: str, axis: int) -> Cut:
    """A weight as a part of the one that it is sliced from, or as all of itself."""
    node = nodes[weight]
    if node.op.name == "slice" and dict(node.attrs).get("axis", 0) == axis:
        start, stop = node.attr("start"), node.attr("stop")
        assert isinstance(start, Dim)
        assert isinstance(stop, Dim)
        return Cut(node.args[0], start, stop)
    return Cut(weight, Dim.of(0), node.type.shape[axis])


def joined(edit: Edit, values: Iterable[str], axis: int, spans: frozenset[Span]) -> str:
    """Values one behind the other along a dimension; one value is itself."""
    values = list(values)
    if len(values) == 1:
        return values[0]
    return edit.add("concat", values, spans, **({"axis": axis} if axis else {}))


def joined_cuts(edit: Edit, cuts: Iterable[Cut], axis: int, spans: frozenset[Span]) -> str:
    """Parts of weights one behind the other; neighbours in one weight stay together."""
    merged: list[Cut] = []
    for cut in cuts:
        last = merged[-1] if merged else None
        if last is not None and last.weight == cut.weight and last.stop == cut.start:
            merged[-1] = Cut(cut.weight, last.start, cut.stop)
        else:
            merged.append(cut)
    return joined(edit, [sliced(edit, cut, axis, spans) for cut in merged], axis, spans)


def sliced(edit: Edit, cut: Cut, axis: int, spans: frozenset[Span]) -> str:
    """A part of a weight as a value; all of it is the weight itself."""
    if cut.start == Dim.of(0) and cut.stop == edit.nodes[cut.weight].type.shape[axis]:
        return cut.weight
    place = {"axis": axis} if axis else {}
    return edit.add("slice", [cut.weight], spans, start=cut.start, stop=cut.stop, **place)


def _without(shape: Shape, *axes: int) -> Shape:
    return tuple(dim for place, dim in enumerate(shape) if place not in axes)
