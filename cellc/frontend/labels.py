"""What the values of layers are called: parameters may be shared, states never are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cellc.diagnostics import fail
from cellc.frontend.order import COMBINATOR_NAMES
from cellc.syntax import tree


@dataclass(frozen=True)
class Label:
    """Prefixes for the parameters and states of a layer, and what stands behind them.

    ``suffix`` is the number in a stack and the direction; its first ``outer`` characters
    were added around a shared layer and are no part of its parameters' names. ``bare``
    leaves out the layer's own name, where the equation names it; ``shared`` parameters are
    the same however often the label is used.
    """

    params: str
    states: str
    suffix: str = ""
    bare: bool = False
    kept: bool = False
    shared: bool = False
    outer: int = 0

    def behind(self, suffix: str) -> Label:
        """The label with something behind it: a number, or a direction."""
        return replace(self, suffix=f"{self.suffix}_{suffix}")

    def within(self, name: str, params: str) -> Label:
        """The label of what stands in a shared layer."""
        states, outer = joined(self.states, name), len(self.suffix)
        return Label(params, states, self.suffix, True, self.kept, shared=True, outer=outer)

    def of_states(self, name: str) -> str:
        """What a layer's states are called after."""
        return self._stem(self.states, name) + self.suffix

    def of_params(self, name: str) -> str:
        """What a layer's parameters are called after."""
        return self._stem(self.params, name) + self.suffix[self.outer :]

    def _stem(self, prefix: str, name: str) -> str:
        return prefix if self.bare else joined(prefix, name)


def title(layer: tree.Expression) -> str:
    """What a layer is called after: the cell that it applies, however often and in which way."""
    while isinstance(layer, (tree.Flow, tree.Call)):
        if isinstance(layer, tree.Flow):
            layer = layer.layer
        elif layer.function in COMBINATOR_NAMES and layer.args:
            layer = layer.args[0]
        else:
            return layer.function
    return layer.name if isinstance(layer, tree.Name) else ""


def cell_of(share: tree.Share) -> tree.Name:
    """The cell that a shared layer is, where it is called like a function."""
    if not isinstance(share.layer, tree.Name):
        fail("not-a-layer", f"`{share.name}` is no single cell", share.span,
             hints=(f"send a value through it: `x -> {share.name}`",))  # fmt: skip
    return share.layer


def joined(label: str, name: str) -> str:
    """Two parts of a name, of which each may be empty."""
    return f"{label}_{name}" if label and name else label or name
