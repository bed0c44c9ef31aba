"""Where the things of a gate diagram stand: rows of rails, operators and gates, columns of time.

From top to bottom there are the outputs, the rails of protected states, rows of operators, the
gates in a row, operators before the gates, the rails of other states, and the inputs. Columns
follow the order of use: nothing stands left of what it is computed from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import networkx as nx

Cell = tuple[int, int]

_LEFT = ("state",)
_RIGHT = ("next",)
_GATES = ("learned", "block")
_FAR = 6


def rails_of(picture: nx.DiGraph[str]) -> dict[str, list[str]]:
    """The way of each protected state: from left to right without a learned box.

    What is there does not go by what is gone.
    """
    roles = dict(picture.nodes(data="role"))
    gates = [key for key, role in roles.items() if role in _GATES]
    gone = [(a, b) for a, b, mark in picture.edges(data="mark") if mark == "removed"]
    rails = {}
    for key in (key for key, role in roles.items() if role == "state"):
        is_gone, end = picture.nodes[key].get("mark") == "removed", f"next {key}"
        free = nx.restricted_view(picture, gates, [] if is_gone else gone)
        if end in free and nx.has_path(free, key, end):
            rails[key] = nx.shortest_path(free, key, end)
    return rails


@dataclass
class Placement:
    """Column and row of every thing; rows are counted from the top.

    ``rails`` are the things on the way of each protected state, ``upright`` the upper and lower
    row of each wire between things above each other, by columns. Things of one of the
    ``groups`` have columns of their own.
    """

    picture: nx.DiGraph[str]
    groups: Mapping[str, str] = field(default_factory=dict)
    rails: Mapping[str, list[str]] = field(init=False)
    at: dict[str, Cell] = field(default_factory=dict)
    taken: dict[Cell, str] = field(default_factory=dict)
    upright: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        picture = self.picture
        self.roles = dict(picture.nodes(data="role"))
        self.rails = rails_of(picture)
        self._rows()
        self._place_all()

    def _rows(self) -> None:
        """Which rows there are, and the row of everything whose row follows from its role."""
        states = [key for key in self.picture if self.roles[key] == "state"]
        states = [
            *(s for s in states if s in self.rails),
            *(s for s in states if s not in self.rails),
        ]
        free = sum(role in ("circle", "ellipse", "number") for role in self.roles.values())
        above = len(self.rails)
        room = 3 + free // 8
        self.first_free = 1 + above
        self.gates = self.first_free + room
        self.below = self.gates + 1 + room // 2 + 1
        self.row: dict[str, int] = {}
        lower = self.below
        for place, state in enumerate(states):
            protected = state in self.rails
            row = 1 + place if protected else lower
            lower += not protected
            for key in (state, f"next {state}"):
                if key in self.roles:
                    self.row[key] = row
            if protected:
                self.row |= dict.fromkeys(self.rails[state], row)
        for key, role in self.roles.items():
            if role == "next" and key not in self.row:
                self.row[key] = lower
                lower += 1
        self.inputs = lower
        for key, role in self.roles.items():
            if role == "input":
                self.row[key] = self.inputs
            elif role == "output":
                self.row[key] = 0
            elif role in _GATES and key not in self.row:
                self.row[key] = self.gates

    def _place_all(self) -> None:
        self.floor = 1
        for state in (key for key, role in self.roles.items() if role in _LEFT):
            self._put(state, 0, self.row[state])
        ends = [key for key, role in self.roles.items() if role in _RIGHT]
        if self.groups:
            self._place_groups()
        else:
            for rail in self.rails.values():
                for key in rail[1:]:
                    self._place(key)
        for key in (*ends, *nx.topological_sort(self._forward())):
            self._place(key)
        for key in ends:
            del self.taken[self.at.pop(key)]
        last = 1 + max((column for column, _ in self.at.values()), default=0)
        for key in ends:
            self._put(key, last, self.row[key])

    def _place_groups(self) -> None:
        """Group after group, each behind everything that is there."""
        forward = self._forward()
        whole: nx.DiGraph[str] = nx.DiGraph()
        part = {key: self.groups.get(key, f"alone {key}") for key in forward}
        whole.add_nodes_from(part.values())
        whole.add_edges_from((part[a], part[b]) for a, b in forward.edges if part[a] != part[b])
        together = nx.condensation(whole)
        order = {
            name: place
            for place, number in enumerate(nx.topological_sort(together))
            for name in together.nodes[number]["members"]
        }
        on_rail = {key: n for rail in self.rails.values() for n, key in enumerate(rail)}
        before, late = "", len(forward)
        for key in sorted(
            nx.topological_sort(forward),
            key=lambda key: (order[part[key]], on_rail.get(key, late)),
        ):
            if self.roles[key] in _RIGHT:
                continue
            now = self.groups.get(key, "")
            if now != before:
                self.floor = 1 + max(column for column, _ in self.at.values())
            before = now
            self._place(key)
        self.floor = 1

    def _forward(self) -> nx.DiGraph[str]:
        """The picture without wires into states, which come from the left."""
        edges = [(a, b) for a, b in self.picture.edges if self.roles[b] not in _LEFT]
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.picture)
        graph.add_edges_from(edges)
        return graph

    def _place(self, key: str) -> None:
        """Something behind everything that it is computed from."""
        stack = [key]
        while stack:
            top = stack[-1]
            waiting = [k for k in self.picture.predecessors(top) if k not in self.at]
            if top in self.at or not waiting:
                stack.pop()
                if top not in self.at:
                    self._choose(top)
            else:
                stack.append(waiting[0])

    def _choose(self, key: str) -> None:
        """The free place with the shortest wires."""
        row = self.row.get(key)
        before = [self.at[k] for k in self.picture.predecessors(key) if k in self.at]
        first = max(1 + max((column for column, _ in before), default=0), self.floor)
        users = list(self._users(key))
        rows = list(self._rows_for(key)) if row is None else [row]
        options = [
            (self._cost(column, r, before, users), column, r)
            for column in range(max(first - 1, self.floor), first + _FAR)
            for r in rows
            if (column, r) not in self.taken and self._is_ahead(column, r, before)
        ]
        if not options:
            column = first
            r = row if row is not None else self.first_free
            while (column, r) in self.taken or not self._is_ahead(column, r, before):
                column += 1
            options.append((0.0, column, r))
        _, column, r = min(options)
        self._put(key, column, r)

    def _rows_for(self, key: str) -> Iterator[int]:
        if self.roles[key] not in ("join", "bar"):
            yield from range(self.first_free, self.gates)
        yield from range(self.gates + 1, self.below)

    def _is_ahead(self, column: int, row: int, before: list[Cell]) -> bool:
        """Whether a place is right of what comes before it, or above or below that."""
        return all(c < column or (c == column and r != row) for c, r in before)

    def _users(self, key: str) -> Iterator[tuple[int, float]]:
        """The rows of what uses something, as far as they are known, and what a row costs."""
        for user in self.picture.successors(key):
            if user in self.row:
                yield self.row[user], 0.7
            elif user in self.at:
                yield self.at[user][1], 1.0

    def _cost(
        self, column: int, row: int, before: list[Cell], users: list[tuple[int, float]]
    ) -> float:
        cost = 0.4 * column
        for c, r in before:
            cost += abs(column - c) + abs(row - r)
            if c == column and any(
                (c, between) in self.taken for between in range(min(r, row) + 1, max(r, row))
            ):
                cost += 4
        cost += 6 * any(low < row < high for low, high in self.upright.get(column, ()))
        for r, weight in users:
            cost += weight * abs(row - r)
        return cost

    def _put(self, key: str, column: int, row: int) -> None:
        self.at[key] = (column, row)
        self.taken[column, row] = key
        for other in nx.all_neighbors(self.picture, key):
            place = self.at.get(other)
            if place is not None and place[0] == column:
                low, high = sorted((place[1], row))
                self.upright.setdefault(column, []).append((low, high))
