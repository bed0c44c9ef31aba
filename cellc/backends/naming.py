"""Python identifiers for the values of a cell, telling ones for those the passes made."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from itertools import takewhile
from keyword import iskeyword

from cellc.ir import NOWHERE, Cell
from cellc.kernels.sources import GPU, definitions
from cellc.ops import TABLE
from cellc.syntax.characters import IMPORTED_NAMES, ascii_name

_LONGEST = 16

#: What emitters append for a value's sequence, its steps, its transpose and the like.
_ENDINGS = ("_all", "_steps", "_before", "_chain", "_t", "_T")


class Identifiers:
    """An identifier for every node, all different and none of the reserved ones.

    A named value keeps its name in ASCII. A value that a pass made is named when it is
    first asked for, after the values it becomes: ``W_fiog`` is the stacked weight of the
    gates f, i, o and g. Values that are ``known`` already have their identifiers.
    """

    def __init__(
        self, cell: Cell, reserved: Iterable[str], known: Mapping[str, str] | None = None
    ) -> None:
        self._cell, self._taken = cell, {*reserved, *(known or {}).values()}
        self._stems = {ascii_name(name) for name in cell.nodes if not name.isdigit()}
        self._owners = _owners(cell)
        self._found = dict(known or {})
        for name in cell.nodes:
            if name in self._found:
                continue
            if name in cell.options:  # an attribute and an argument, never a variable
                self._found[name] = ascii_name(name)
            elif not name.isdigit():
                self._found[name] = self._free(ascii_name(name))

    def __getitem__(self, name: str) -> str:
        if name not in self._found:
            hint = _hint(self._cell, name, self._owners)
            self._found[name] = self._free(hint)
        return self._found[name]

    @property
    def taken(self) -> frozenset[str]:
        """All identifiers given so far, and those reserved."""
        return frozenset(self._taken)

    def fresh(self, identifier: str) -> str:
        """An identifier that nothing else has, for a variable of the emitter's own."""
        return self._free(identifier)

    def _free(self, identifier: str) -> str:
        candidate, number = identifier, 1
        while candidate in self._taken or self._is_derived(candidate):
            number += 1
            candidate = f"{identifier}_{number}"
        self._taken.add(candidate)
        return candidate

    def _is_derived(self, identifier: str) -> bool:
        """Whether an emitter may derive the identifier from that of another value."""
        stem, _, _ = identifier.rpartition("_")
        return identifier.endswith(_ENDINGS) and stem in self._stems


def _owners(cell: Cell) -> dict[str, tuple[str, ...]]:
    """For every node made by a pass, the named values it becomes, in order."""
    owners: dict[str, tuple[str, ...]] = {}
    for name in reversed(list(cell.nodes)):
        if not name.isdigit():
            owners[name] = (name,)
            continue
        users = sorted(cell.graph.successors(name), key=lambda user: _place(cell, user))
        merged = dict.fromkeys(owner for user in users for owner in owners[user])
        owners[name] = tuple(merged)[:8]
    return owners


def _place(cell: Cell, name: str) -> int:
    """Where a slice begins, so that owners come in the order of the stack."""
    node = cell.nodes[name]
    if node.op.name != "slice":
        return 0
    coefficients = [int(c) for _, c in getattr(node.attr("start"), "terms", ())]
    return sum(coefficients)


def _joined(names: Iterable[str]) -> str:
    """``fiog`` for f, i, o and g, ``encoder_fiog`` where all names begin with ``encoder_``."""
    prefix, words = _without_prefix([ascii_name(name) for name in names])
    text = ("" if all(len(word) == 1 for word in words) else "_").join(words)
    text = "_".join(words) if iskeyword(text) else text
    return prefix + text if len(text) <= _LONGEST else ""


def _without_prefix(names: list[str]) -> tuple[str, list[str]]:
    """What several names begin with, up to an underscore, and the rest of each."""
    alike = zip(min(names), max(names), strict=False) if len(names) > 1 else ()
    prefix = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], alike))
    prefix = prefix[: prefix.rfind("_") + 1]
    return prefix, [name[len(prefix) :] for name in names]


def _hint(cell: Cell, name: str, owners: dict[str, tuple[str, ...]]) -> str:
    node = cell.nodes[name]
    fallback = f"v{name}"
    kind = TABLE[node.op.name].kind
    for user in cell.graph.successors(name):
        op = TABLE[cell.nodes[user].op.name]
        if op.kind == "random":
            return op.parameters[cell.nodes[user].args.index(name)]
    if node.op.name == "zeros_like":
        return "zeros"
    if kind == "sequence":
        named = [ascii_name(operand) for operand in node.args if not operand.isdigit()]
        return "_".join([*named, node.op.name])
    if kind == "contraction":
        vector = node.args[1]
        base = _joined(owners[name])
        return f"{base}_{ascii_name(vector)}" if base and not vector.isdigit() else base or fallback
    if node.op.name == "slice" and "axis" in dict(node.attrs) and not node.args[0].isdigit():
        return f"{ascii_name(node.args[0])}{_multiplied(cell, name)}"
    if node.type.extent == NOWHERE and node.op.name == "concat":
        return _stacked_name(cell, name) or fallback
    return _joined(owners[name]) or fallback


def _stacked_name(cell: Cell, name: str) -> str:
    """``W_fi`` for the stack of ``W_f`` and ``W_i``, ``W_fi_x`` for what multiplies x."""
    args = cell.nodes[name].args
    whole = [_cut_from(cell, argument) for argument in args]
    prefix, rest = _without_prefix([ascii_name(part) for part in whole if not part.isdigit()])
    subscripts = _joined(rest)
    if not prefix or not subscripts:
        return ""
    stacked = prefix + subscripts
    return stacked + (_multiplied(cell, name) if tuple(whole) != args else "")


def _multiplied(cell: Cell, name: str) -> str:
    """``_x`` for a part of a weight that multiplies x alone."""
    vectors = set()
    for user in cell.graph.successors(name):
        node = cell.nodes[user]
        if TABLE[node.op.name].kind == "contraction":
            vectors.add(f"_{ascii_name(node.args[1])}")
        elif node.op.name == "concat":
            vectors.add(_multiplied(cell, user))
    vector = vectors.pop() if len(vectors) == 1 else ""
    return "" if vector[1:].isdigit() else vector


def _cut_from(cell: Cell, name: str) -> str:
    """The parameter that a slice is a part of, else the value itself."""
    node = cell.nodes[name]
    return node.args[0] if node.op.name == "slice" else name


def class_name(cell_name: str) -> str:
    """``gru_reset_after`` as a class: ``GruResetAfter``; ``none`` is ``NoneCell``.

    It is plain ASCII and no name that an emitted file needs for something else.
    """
    parts = [part for part in ascii_name(cell_name).split("_") if part]
    name = "".join(part[0].upper() + part[1:] for part in parts)
    taken = iskeyword(name) or hasattr(builtins, name) or name in IMPORTED_NAMES
    contained = any(name in definitions(module) for module in GPU) or name == "OrderedDict"
    return f"{name}Cell" if taken or contained else name
