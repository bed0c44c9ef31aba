"""Multiplies what is known beforehand outside the loop, and once for joined values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from cellc.ir import Cell
from cellc.passes.dce import Dce
from cellc.passes.edit import Edit, in_order, spans_of
from cellc.passes.loops import loops_of


@dataclass(frozen=True)
class KnownFactors:
    """Groups the factors of a loop's products that are known before it, or after it.

    A derivative is linear in the cotangents that its loop carries: all else is known for
    the whole sequence. Values that are joined after a product each are joined before one
    product. Nothing is computed more often than before.

    Before, with ``%d`` and ``%e`` of a loop::

        %1 = multiply(%d, %f) : [H] over {batch, time}
        %2 = multiply(%1, %g) : [H] over {batch, time}
        %3 = multiply(%e, %i) : [H] over {batch, time}
        %4 = concat(%2, %3) : [2*H] over {batch, time}

    After::

        %5 = multiply(%f, %g) : [H] over {batch, time}
        %6 = concat(%d, %e) : [2*H] over {batch, time}
        %7 = concat(%5, %i) : [2*H] over {batch, time}
        %4 = multiply(%6, %7) : [2*H] over {batch, time}
    """

    def run(self, cell: Cell) -> Cell:
        while True:
            changed = _joined(_grouped(cell))
            if changed == cell:
                return cell
            cell = changed


@dataclass(frozen=True)
class _Product:
    """The factors of a product: those of the loop, those known outside it, and its sign."""

    inside: tuple[str, ...]
    known: tuple[str, ...]
    negative: bool = False


def _grouped(cell: Cell) -> Cell:
    """Every product of a loop as what the loop computes times what is known."""
    loops, edit = loops_of(cell), Edit(cell)
    for name in cell.nodes:
        edit.keep(name)
        if name in loops and _is_root(cell, loops, name):
            product = _factors(cell, loops, name)
            if len(product.known) + product.negative > 1 and product.inside:
                _rebuild(edit, name, product)
    return Dce().run(cell.replace(in_order(edit.nodes), edit.finish().results))


def _is_root(cell: Cell, loops: Mapping[str, int], name: str) -> bool:
    """Whether a product is not itself a factor of a larger one."""
    if cell.nodes[name].op.name not in ("multiply", "negate"):
        return False
    (user, *more) = [*cell.graph.successors(name)] or [""]
    if more or cell.uses[name] != 1 or not user:
        return True
    inner = cell.nodes[user].op.name in ("multiply", "negate") and loops.get(user) == loops[name]
    return not inner or cell.nodes[user].type.shape != cell.nodes[name].type.shape


def _factors(cell: Cell, loops: Mapping[str, int], name: str) -> _Product:
    inside: list[str] = []
    known: list[str] = []
    negative = False
    for factor, sign in _leaves(cell, loops, name, name, top=True):
        negative ^= sign
        if factor:
            (inside if loops.get(factor) == loops[name] else known).append(factor)
    return _Product(tuple(inside), tuple(known), negative)


def _leaves(
    cell: Cell, loops: Mapping[str, int], root: str, name: str, top: bool = False
) -> Iterator[tuple[str, bool]]:
    """The factors of a product through those that nothing else uses, and signs."""
    node = cell.nodes[name]
    open_ = top or (
        loops.get(name) == loops[root]
        and cell.uses[name] == 1
        and node.type.shape == cell.nodes[root].type.shape
    )
    if open_ and node.op.name == "multiply":
        for argument in node.args:
            yield from _leaves(cell, loops, root, argument)
    elif open_ and node.op.name == "negate":
        yield "", True
        yield from _leaves(cell, loops, root, node.args[0])
    else:
        yield name, False


def _rebuild(edit: Edit, name: str, product: _Product) -> None:
    spans = edit.nodes[name].spans

    def times(factors: tuple[str, ...]) -> str:
        return reduce(lambda a, b: edit.add("multiply", [a, b], spans), map(edit.now, factors))

    if not product.known:
        return
    known = times(product.known)
    known = edit.add("negate", [known], spans) if product.negative else known
    whole = edit.add("multiply", [times(product.inside), known], spans)
    if edit.nodes[whole].type == edit.cell.nodes[name].type:
        edit.nodes[name] = edit.nodes.pop(whole)


def _joined(cell: Cell) -> Cell:
    """Joined products as one product of joined values."""
    loops, edit = loops_of(cell), Edit(cell)
    for name, node in cell.nodes.items():
        edit.keep(name)
        if name not in loops:
            continue
        found = _pairs(cell, loops, name)
        if not found or any(_pairs(cell, loops, inside) for inside, _ in found):
            continue
        spans = spans_of(cell.nodes, node.args)
        parts = [part for inside, _ in found for part in _parts(cell, loops, name, inside)]
        inside = edit.add("concat", [edit.now(part) for part in parts], spans)
        known = edit.add("concat", [edit.now(known) for _, known in found], spans)
        whole = edit.add("multiply", [inside, known], spans)
        edit.nodes[name] = edit.nodes.pop(whole)
    return Dce().run(cell.replace(in_order(edit.nodes), edit.finish().results))


def _pairs(cell: Cell, loops: Mapping[str, int], name: str) -> list[tuple[str, str]]:
    """The factors of everything a value is joined from; nothing where one part has none."""
    node = cell.nodes[name]
    if node.op.name != "concat" or dict(node.attrs).get("axis", 0):
        return []
    pairs = [_pair(cell, loops, name, argument) for argument in node.args]
    found = [pair for pair in pairs if pair is not None]
    return found if len(found) == len(pairs) else []


def _pair(cell: Cell, loops: Mapping[str, int], name: str, argument: str) -> tuple[str, str] | None:
    """The factors of a joined product: one of the loop, one known, both of its shape."""
    node = cell.nodes[argument]
    inner = node.op.name == "multiply" and cell.uses[argument] == 1
    if not inner or loops.get(argument) != loops[name]:
        return None
    inside = [a for a in node.args if loops.get(a) == loops[name]]
    known = [a for a in node.args if loops.get(a) != loops[name]]
    alike = all(cell.nodes[a].type.shape == node.type.shape for a in node.args)
    return (inside[0], known[0]) if len(inside) == len(known) == 1 and alike else None


def _parts(cell: Cell, loops: Mapping[str, int], name: str, inside: str) -> tuple[str, ...]:
    """What a joined value is joined from, where nothing else uses it."""
    node = cell.nodes[inside]
    flat = node.op.name == "concat" and not dict(node.attrs).get("axis", 0)
    same = loops.get(inside) == loops[name] and cell.uses[inside] == 1
    return node.args if flat and same else (inside,)
