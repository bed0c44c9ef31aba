"""A cell: named nodes that cannot be written, results, and the graph derived from them.

Recurrence is no edge. The graph of one step is acyclic; the result ``next h`` says
which value the state ``h`` has in the step that follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import networkx as nx

from cellc.ir.key import CanonicalForm, canonical_form
from cellc.ir.node import Argument, Node, Result, Role

Kind = Literal["cell", "network"]

_MAPPINGS = ("nodes", "dims", "comments", "applied", "inside", "axes", "places")


@dataclass(frozen=True, repr=False)
class Cell:
    """An immutable cell. ``nodes`` come in an order in which operands precede users.

    ``family`` is the heading it is listed under, ``lineage`` the cells that it is derived
    from, the nearest last. ``applied`` are the cells that it applies, by their
    labels, with a slash behind each cell that they are in; ``inside`` says which of them a named
    value is in. ``axes`` are those with positions, with their lengths, and ``places`` the
    position along all of them of what has one, without primes.
    """

    name: str
    nodes: Mapping[str, Node]
    results: tuple[Result, ...]
    dims: Mapping[str, Argument] = field(default_factory=dict)
    description: str = ""
    citations: tuple[str, ...] = ()
    comments: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "cell"
    family: str = ""
    lineage: tuple[str, ...] = ()
    applied: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        """Equal cells have equal hashes."""
        return hash((self.name, *self.nodes))

    def __post_init__(self) -> None:
        for name in _MAPPINGS:
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __repr__(self) -> str:
        return f"<Cell {self.name}: {len(self.nodes)} nodes, key {self.key()}>"

    def __reduce__(self) -> tuple[object, ...]:
        return Cell, (
            self.name,
            dict(self.nodes),
            self.results,
            dict(self.dims),
            self.description,
            self.citations,
            dict(self.comments),
            self.kind,
            self.family,
            self.lineage,
            dict(self.applied),
            dict(self.inside),
            dict(self.axes),
            dict(self.places),
        )

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """Edges run from operand to user and carry the ``slots`` that they fill.

        The graph is frozen: passes ask it and build new cells.
        """
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        for name, node in self.nodes.items():
            for slot, argument in enumerate(node.args):
                if graph.has_edge(argument, name):
                    graph.edges[argument, name]["slots"] += (slot,)
                else:
                    graph.add_edge(argument, name, slots=(slot,))
        return nx.freeze(graph)

    def leaves(self, op: str) -> tuple[str, ...]:
        """The names of all leaves of one op, in order: ``leaves("param")``."""
        return tuple(name for name, node in self.nodes.items() if node.op.name == op)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        return self.leaves("input")

    @cached_property
    def states(self) -> tuple[str, ...]:
        """The states in the order declared, whatever the order of the nodes."""
        return tuple(self.values("next")) or self.leaves("state")

    @cached_property
    def params(self) -> tuple[str, ...]:
        """The parameters in the order declared, whatever the order of the nodes."""
        return tuple(self.values("initial")) or self.leaves("param")

    @cached_property
    def options(self) -> tuple[str, ...]:
        return self.leaves("option")

    def values(self, role: Role) -> dict[str, str]:
        """The nodes behind the results of one role, by result name."""
        return {r.name: r.value for r in self.results if r.role == role}

    @cached_property
    def uses(self) -> Mapping[str, int]:
        """How many slots and results use each node."""
        counts = dict.fromkeys(self.nodes, 0)
        for node in self.nodes.values():
            for argument in node.args:
                counts[argument] += 1
        for result in self.results:
            counts[result.value] += 1
        return counts

    def replace(self, nodes: Mapping[str, Node], results: Iterable[Result] | None = None) -> Cell:
        """The cell with other nodes, and other results where given."""
        kept = self.results if results is None else tuple(results)
        comments = {name: text for name, text in self.comments.items() if name in nodes}
        return replace(self, nodes=nodes, results=kept, comments=comments)

    def key(self) -> str:
        """Equal for two cells that are the same cell under other names.

        Commutative operands may stand in any order; names of values, spans and initial
        values of parameters do not matter. Names of dimensions, what states start with,
        defaults of options, structure and the sharing of parameters do.
        """
        return self.canonical.key

    @cached_property
    def canonical(self) -> CanonicalForm:
        """The cell with all names taken out; see :mod:`cellc.ir.key`."""
        return canonical_form(self.nodes, self.results)
