"""What a value is called on paper: its letter, what stands below and above it, its step.

A paper writes the forget gate of the second layer f with a t below and a (2) above. Here
it is called ``f_2``, and ``lstm_2_f`` where a network applies a cell. This module takes
such names apart; :mod:`cellc.views.latex` and the diagrams write the pieces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from cellc.ir import TIME, Cell, reached
from cellc.ir.types import sequence_axis

DELAY = re.compile(r"prev_.+_\d+")

#: The position of an applied cell: that of the gate ``f`` in ``h1_2_f``.
_PLACED = re.compile(r"(.+_\d+)_(\D.*)")

#: Letters for steps along axes other than time.
_STEPS = "suvw"


@dataclass(frozen=True)
class Symbol:
    """The pieces of a name: ``f_xt`` at position 2, a step ago.

    ``above`` holds the cell that the value belongs to, where it is an applied one, and
    its positions. ``step`` is ``t``, ``t-1`` or empty for what belongs to no step.
    """

    stem: str
    below: tuple[str, ...] = ()
    above: tuple[str, ...] = ()
    step: str = ""


class Naming:
    """The symbols of one cell."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def symbol(self, name: str) -> Symbol:
        """The symbol of a node, with its step."""
        base, back = moment(self.cell, name)
        return self.taken_apart(base, self.step(name, back))

    def step(self, name: str, back: int | None = 0) -> str:
        """The step of a value that lies so many steps back: ``t``, ``t-1``, or empty."""
        axis = sequence_axis(self.cell.nodes[name].type.extent)
        if axis is None or back is None:
            return ""
        return f"{self._letters[axis]}{back or ''}"

    def taken_apart(self, name: str, step: str = "") -> Symbol:
        """The pieces of any name."""
        matches = [pattern.fullmatch(name) for pattern in self._scopes]
        ways = [(match[1], match[2]) for match in matches if match is not None]
        placed = _PLACED.fullmatch(name)
        other = ("", name) if placed is None else (placed[1], placed[2])
        scope, local = max(ways, key=lambda way: len(way[0]), default=other)
        stem, *rest = local.split("_")
        places: list[str] = []
        while rest and rest[-1].isdecimal():
            places.insert(0, rest.pop())
        above = (*scope.split("_"), *places) if scope else tuple(places)
        return Symbol(stem, tuple(rest), above, step)

    @cached_property
    def _scopes(self) -> list[re.Pattern[str]]:
        """How values of applied cells are called: what precedes the letter of a weight.

        Of tied weights the values have positions that the weights lack.
        """
        found = {_scope(name.split("_")) for name in self.cell.params} - {""}
        placed = {re.sub(r"(_\d+)+$", r"(?:_\\d+)+", scope) for scope in found}
        return [re.compile(rf"({scope})_(\D.*)") for scope in sorted(placed)]

    @cached_property
    def _letters(self) -> dict[str, str]:
        """The letter of the steps along each axis."""
        axes = [sequence_axis(node.type.extent) for node in self.cell.nodes.values()]
        others = sorted({axis for axis in axes if axis is not None} - {TIME})
        letters = [_STEPS[k] if k < len(_STEPS) else f"s{k}" for k in range(len(others))]
        return {TIME: "t", **dict(zip(others, letters, strict=True))}


def _scope(parts: list[str]) -> str:
    """What precedes the letter of a weight: ``lstm_1`` of ``lstm_1_W_f``.

    The parameters of a cell's own equation may look alike: ``W_K``, ``b_K``.
    """
    last, least = len(parts) - 1, 1 if len(parts[0]) > 1 else 2
    for k, part in enumerate(parts):
        if len(part) == 1 and part.isupper() and (0 < k < last or k >= least):
            return "_".join(parts[:k])
    return ""


def moment(cell: Cell, name: str) -> tuple[str, int | None]:
    """The name that a paper uses for a value, and its step counted from t.

    ``h`` is ("h", -1) where it is a state and ``h'`` is ("h", 0); a value of an earlier
    step goes back further; what is the same at all steps belongs to none.
    """
    following = cell.values("next")
    seen: set[str] = set()
    while DELAY.fullmatch(name) and name in following and name not in seen:
        seen.add(name)
        name = following[name]
    if sequence_axis(cell.nodes[name].type.extent) is None:
        return name, None
    return name.rstrip("'"), -len(seen) - (name in following)


def step_values(cell: Cell) -> frozenset[str]:
    """The nodes that next values and outputs need, leaves among them.

    Of start values those count that are computed from inputs.
    """
    results = [
        r
        for r in cell.results
        if r.role in ("next", "output") or (r.role == "start" and cell.nodes[r.value].type.extent)
    ]
    return frozenset(reached(cell.nodes, (r.value for r in results)))
