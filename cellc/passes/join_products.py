"""Products of several vectors that are added become one product of the joined vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from cellc.ir import Cell
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.long_sums import Term, added, sums_of
from cellc.passes.loops import loops_of
from cellc.passes.products import Cut, Product, cut_of, joined, joined_cuts, products_of


@dataclass(frozen=True)
class JoinProducts:
    """Adds products of one loop by joining their weights and vectors, where that saves one.

    Which sums multiply which vectors is a table; a product computes a rectangle of it.
    Two ways to cover the table by rectangles without holes are weighed: vectors that the
    same sums multiply stand together, or sums that multiply the same vectors do. Neither
    multiplies by zeros. If the better one needs fewer products than the cell as it is
    written, it is taken; FuseMatmul then stacks the weights of a rectangle.

    Before, with ``%a`` and ``%b`` of one loop::

        %1 = matmul(%W, %a) : [H] over {batch, time}
        %2 = matmul(%U, %b) : [H] over {batch, time}
        %3 = add(%1, %2) : [H] over {batch, time}

    After::

        %4 = concat(%W, %U) {axis=1} : [H, 2*H] over {}
        %5 = concat(%a, %b) : [2*H] over {batch, time}
        %3 = matmul(%4, %5) : [H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        edit = Edit(cell)
        for name in cell.nodes:
            edit.keep(name)
        sums = _Sums(cell)
        changed: dict[str, None] = {}
        for table in _tables(cell, sums):
            for rectangle in table.cover():
                _write(edit, sums, table, rectangle)
                changed |= dict.fromkeys(rectangle.sums)
        for name in changed:
            spans = spans_of(cell.nodes, [name])
            total = added(edit, sums.terms[name], spans)
            edit.nodes[name] = edit.nodes.pop(total)
        if not changed:
            return cell
        return Dce().run(cell.replace(in_order(edit.nodes)))


class _Sums:
    """The sums of all loops, and for every product the sum that it is a term of.

    A product that is no term of a sum is a sum of one term.
    """

    def __init__(self, cell: Cell) -> None:
        self.loops = loops_of(cell)
        self.products = {n: p for n, p in products_of(cell).items() if n in self.loops}
        self.terms: dict[str, list[Term]] = {}
        self.owner: dict[str, str] = {}
        for name, terms in sums_of(cell, self.loops).items():
            if name in self.loops:
                self.terms[name] = terms
        for name, terms in self.terms.items():
            for term in terms:
                if cell.uses[term.value] == 1:
                    self.owner[term.value] = name
        for name in self.products:
            if name not in self.owner:
                self.owner[name] = name
                self.terms[name] = [Term(name)]


@dataclass(frozen=True)
class _Rectangle:
    """Sums and parts of vectors of which each sum multiplies each part."""

    sums: tuple[str, ...]
    parts: tuple[str, ...]


@dataclass
class _Table:
    """Which sums multiply which parts of vectors, and with which part of which weight.

    ``order`` gives the parts that a concatenation of the cell has in its order.
    """

    cuts: dict[str, dict[str, Cut]] = field(default_factory=dict)
    members: dict[str, list[Product]] = field(default_factory=dict)
    order: dict[frozenset[str], tuple[str, ...]] = field(default_factory=dict)

    def add(self, cell: Cell, owner: str, product: Product, parts: Sequence[str]) -> None:
        """Enter a product, part by part."""
        row = self.cuts.setdefault(owner, {})
        if row.keys() & set(parts):  # it multiplies the part already: a line of its own
            row = self.cuts.setdefault(product.name, {})
            owner = product.name
        assert product.columns is not None
        whole = cut_of(cell.nodes, product.weight, product.columns)
        start = whole.start
        for part in parts:
            stop = start + cell.nodes[part].type.shape[0]
            row[part] = Cut(whole.weight, start, stop)
            start = stop
        self.members.setdefault(owner, []).append(product)
        self.order.setdefault(frozenset(parts), tuple(parts))

    def cover(self) -> Iterator[_Rectangle]:
        """The rectangles of the better cover of each component that one improves."""
        graph: nx.Graph[tuple[str, str]] = nx.Graph()
        graph.add_edges_from(
            (("sum", s), ("part", part)) for s, row in self.cuts.items() for part in row
        )
        for component in nx.connected_components(graph):
            rows = {s: row for s, row in self.cuts.items() if ("sum", s) in component}
            written = {product.vector for s in rows for product in self.members[s]}
            best = min(self._by_part(rows), self._by_sum(rows), key=_cost)
            if len(best) < len(written):
                yield from best

    def _by_part(self, rows: Mapping[str, Mapping[str, Cut]]) -> list[_Rectangle]:
        """Parts that the same sums multiply stand together."""
        users: dict[str, list[str]] = {}
        for name, row in rows.items():
            for part in row:
                users.setdefault(part, []).append(name)
        groups: dict[tuple[str, ...], list[str]] = {}
        for part, names in users.items():
            groups.setdefault(tuple(names), []).append(part)
        return [_Rectangle(names, self._in_order(parts)) for names, parts in groups.items()]

    def _by_sum(self, rows: Mapping[str, Mapping[str, Cut]]) -> list[_Rectangle]:
        """Sums that multiply the same parts stand together."""
        groups: dict[frozenset[str], list[str]] = {}
        for name, row in rows.items():
            groups.setdefault(frozenset(row), []).append(name)
        return [
            _Rectangle(tuple(names), self._in_order(list(rows[names[0]])))
            for names in groups.values()
        ]

    def _in_order(self, parts: list[str]) -> tuple[str, ...]:
        return self.order.get(frozenset(parts), tuple(parts))


def _cost(cover: Sequence[_Rectangle]) -> tuple[int, int]:
    """The number of products, and of the vectors that are copied for them."""
    return len(cover), sum(len(each.parts) for each in cover if len(each.parts) > 1)


def _tables(cell: Cell, sums: _Sums) -> list[_Table]:
    """The tables of all loops, one for each kind of product."""
    tables: dict[object, _Table] = {}
    for name, product in sums.products.items():
        if product.columns is None:
            continue
        behind = cell.nodes[product.vector].type.shape[1:]
        kind = (sums.loops[name], product.joining, behind)
        parts = _parts(cell, sums.loops, product)
        tables.setdefault(kind, _Table()).add(cell, sums.owner[name], product, parts)
    return list(tables.values())


def _parts(cell: Cell, loops: Mapping[str, int], product: Product) -> list[str]:
    """What a product's vector is a concatenation of, within its loop; else the vector."""
    flat: list[str] = []
    pending = [product.vector]
    while pending:
        part = pending.pop()
        node = cell.nodes[part]
        joins = node.op.name == "concat" and not node.attrs
        if joins and loops.get(part) == loops[product.name]:
            pending += reversed(node.args)
        else:
            flat.append(part)
    inside = all(loops.get(part) == loops[product.name] for part in flat)
    return flat if inside and len(set(flat)) == len(flat) else [product.vector]


def _write(edit: Edit, sums: _Sums, table: _Table, rectangle: _Rectangle) -> None:
    """Let each sum of a rectangle add one product in place of those that it is made of."""
    cells = edit.cell.nodes
    vector = joined(edit, rectangle.parts, 0, spans_of(cells, rectangle.parts))
    for name in rectangle.sums:
        members = table.members[name]
        assert members[0].columns is not None
        spans = spans_of(cells, [member.name for member in members])
        cuts = [table.cuts[name][part] for part in rectangle.parts]
        weight = joined_cuts(edit, cuts, members[0].columns, spans)
        new = Term(edit.add(members[0].op, [weight, vector], spans))
        gone = {member.name for member in members}
        terms = sums.terms.get(name, [Term(name)])
        sums.terms[name] = [new, *(term for term in terms if term.value not in gone)]
