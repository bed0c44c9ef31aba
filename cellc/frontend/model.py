"""An elaborated cell: one flat set of declarations and equations, every name resolved.

Deriving, renaming and the naming of parameters are over; types are still to come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cellc.diagnostics import Span
from cellc.syntax import tree


@dataclass(frozen=True)
class Implied:
    """A parameter that no statement declares: a weight left of ``·`` or a bias."""

    name: str
    kind: Literal["weight", "bias"]
    owner: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class Model:
    """All statements of a cell after deriving it from its base.

    ``own`` holds what the cell's own text declares or defines, which must be used;
    what it inherits may fall away. ``lineage`` are the cells it is derived from, the
    nearest last; ``places`` the positions along all axes of what has been unrolled.
    """

    name: str
    span: Span
    description: str = ""
    citations: tuple[str, ...] = ()
    dims: dict[str, tree.Dimension] = field(default_factory=dict)
    declarations: dict[str, tree.Declaration] = field(default_factory=dict)
    functions: dict[str, tree.Function] = field(default_factory=dict)
    equations: dict[str, tree.Equation] = field(default_factory=dict)
    implied: dict[str, Implied] = field(default_factory=dict)
    outputs: tuple[tree.Expression, ...] = ()
    own: frozenset[str] = frozenset()
    axes: dict[str, tree.Axis] = field(default_factory=dict)
    shares: dict[str, tree.Share] = field(default_factory=dict)
    kind: Literal["cell", "network"] = "cell"
    family: str = ""
    lineage: tuple[str, ...] = ()
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[tree.Declaration]:
        """The declarations of one kind, in order."""
        return [d for d in self.declarations.values() if d.kind == kind]

    def span_of(self, name: str) -> Span:
        """Where a name is defined, with or without a prime; else where the cell is."""
        for written in (name, f"{name}'"):
            if written in self.equations:
                return self.equations[written].span
            if written in self.declarations:
                return self.declarations[written].span
        if name in self.implied:
            return self.implied[name].span
        return self.functions[name].span if name in self.functions else self.span

    def kind_of(self, name: str) -> str | None:
        """What a name stands for, in words; None where it is not known."""
        if name in self.declarations:
            return self.declarations[name].kind
        if name in self.functions:
            return "function"
        if name in self.axes or name in self.shares:
            return "axis" if name in self.axes else "shared layer"
        return "equation" if name in self.equations else None


def article(kind: str) -> str:
    """The kind of a name with its article: ``an input``."""
    words = {"param": "parameter"}
    word = words.get(kind, kind)
    return f"an {word}" if word[0] in "aeio" else f"a {word}"


#: The constructor arguments of dimensions that need no ``dim`` statement.
USUAL_DIMENSIONS = {"I": "input_size", "H": "hidden_size"}

#: The number of positions of an axis that states none.
USUAL_LENGTH = 2
