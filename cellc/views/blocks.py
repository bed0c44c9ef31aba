"""A gate diagram with applied cells closed: each is one block, whatever is in it.

The IR knows which named values are in an applied cell, and which stand at one position of a
cell with axes; both are blocks. What runs in a circle between blocks joins them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile

import networkx as nx

from cellc.ir.types import sequence_axis
from cellc.views.names import moment
from cellc.views.painter import Painter, label_of, value_of

_SMALL = '<FONT POINT-SIZE="11">'
_ENDS = ("state", "next", "input", "output")
_WHOLE, _DROPPED = "in itself", "dropped by "
ALL = "all"

#: How many states have their names beside a wire.
_MOST_NAMED, _MORE = 4, "…"


@dataclass
class Blocks:
    """The blocks of a painted cell.

    ``opened`` are applied cells that stay open, by what they are called in the cell (``lstm_1``)
    or by their own name; ``places`` says whether positions of axes are blocks, ``whole`` whether
    a cell with neither is one block itself. ``of`` gives the block or thing that each thing of
    the gate diagram is in, ``titles`` the label of each block.
    """

    painter: Painter
    opened: Collection[str] = ()
    places: bool = True
    whole: bool = False
    of: dict[str, str] = field(default_factory=dict, init=False)
    titles: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        picture = self.painter.picture
        self.roles = dict(picture.nodes(data="role"))
        named = {key: self._named(key) for key in picture if self.roles[key] not in _ENDS}
        self.of = {key: key for key in picture} | {k: g for k, g in named.items() if g}
        if self.whole and not any(named.values()):
            self._close_whole(list(named))
            return
        self._take_nameless([key for key, group in named.items() if group is None])
        self._gather_entries()
        self._gather_dropout()
        self._join_circles()
        self._leave_alone_what_is_alone()
        for block in dict.fromkeys(self.of.values()):
            if block not in picture:
                self.titles[block] = self.title(block)

    def axis(self, key: str) -> str | None:
        """The axis that a thing has steps along."""
        kind, _, name = key.rpartition(" ")
        cell = self.painter.cell
        if kind == "output":
            name = cell.values("output")[name]
        elif kind != "next":
            name = value_of(key)
        return sequence_axis(cell.nodes[name].type.extent)

    def _close_whole(self, keys: list[str]) -> None:
        """All that has steps along one axis is a block."""
        axes = {key: axis for key in keys if (axis := self.axis(key)) is not None}
        for key, axis in axes.items():
            self.of[key] = f"{_WHOLE} {axis}"
            several = f" {axis}" if len(set(axes.values())) > 1 else ""
            self.titles[self.of[key]] = f"{self.painter.cell.name}{several}"

    @property
    def closed(self) -> bool:
        """Whether a block is more than a dropout."""
        return any(not block.startswith(_DROPPED) for block in self.titles)

    def item(self, block: str) -> dict[str, str]:
        """What a block looks like and says, as a thing of a picture."""
        role, kind = ("ellipse", "chance") if block.startswith(_DROPPED) else ("block", "")
        return {"role": role, "label": self.titles[block], "tooltip": self.told(block),
                "kind": kind}  # fmt: skip

    def members(self, block: str) -> list[str]:
        """The things in a block."""
        return [key for key, where in self.of.items() if where == block]

    def told(self, block: str) -> str:
        """The equations of a block, a line each."""
        equations, place = self.painter.equations, list(self.painter.cell.nodes)
        names = {value_of(key) for key in self.members(block)}
        found = sorted(names & equations.keys(), key=place.index)
        return "\n".join(f"{name} = {equations[name]}" for name in found)

    def _named(self, key: str) -> str | None:
        """The block of a thing by its name; empty for none, None where it has no name."""
        name = value_of(key)
        if name.isdigit():
            return None
        labels = [label for label in self._labels(name) if not self._is_open(label)]
        place = self._place(name) or self._place(labels[0] if labels else "")
        if place:
            return f"at {' '.join(map(str, place))}"
        return f"in {labels[0]}" if labels else ""

    def _labels(self, name: str) -> list[str]:
        """The labels of the cells that a value is in, the outermost first."""
        path = self.painter.cell.inside.get(name, "").split("/")
        return ["/".join(path[: n + 1]) for n in range(len(path)) if path[0]]

    def _is_open(self, label: str) -> bool:
        names = {ALL, _flat(label), self.painter.cell.applied[label]}
        return bool(names & set(self.opened))

    def _place(self, name: str) -> tuple[int, ...]:
        """The position of a value or a label along all axes; empty where it has none."""
        cell = self.painter.cell
        if not self.places or ALL in self.opened:
            return ()
        place = cell.places.get(name.split("/")[0].rstrip("'"), ())
        return place if len(cell.axes) > 1 or 0 not in place else ()

    def _take_nameless(self, keys: list[str]) -> None:
        """A value without a name is where its users are, if an operand of it is there too."""
        picture = self.painter.picture
        states = {key for key, role in self.roles.items() if role == "state"}
        home = {key: self._named(key) for key in states}
        order = [key for key in reversed(list(_topological(picture, states))) if key in set(keys)]
        for key in order:
            users = {self.of[user] for user in picture.successors(key)}
            sources = {home.get(k) or self.of[k] for k in picture.predecessors(key)}
            group = users.pop() if len(users) == 1 else ""
            below = {s for k in picture.predecessors(key) for s in self._below(k)}
            if group not in picture and group in sources | below:
                self.of[key] = group

    def _below(self, key: str) -> Iterator[str]:
        """The blocks from which a nameless value gets what it needs."""
        pending = [key]
        while pending:
            top = pending.pop()
            if self.of[top] != top:
                yield self.of[top]
            elif self.roles[top] == "state":
                yield self._named(top) or top
            elif top.isdigit():
                pending += self.painter.picture.predecessors(top)

    def _gather_entries(self) -> None:
        """What is computed for one position alone, before the first one, belongs to it."""
        picture = self.painter.picture
        states = [key for key, role in self.roles.items() if role == "state"]
        for key in reversed(list(_topological(picture, states))):
            users = {self.of[user] for user in picture.successors(key)}
            if self.roles[key] not in _ENDS and len(users) == 1 and self.of[key] == key:
                block = users.pop()
                if block.startswith("at ") and "0" in block.split():
                    self.of[key] = block

    def _gather_dropout(self) -> None:
        """A mask and what it multiplies is one thing, where there is no more to its block."""
        picture = self.painter.picture
        for mask, item in picture.nodes(data=True):
            home = self.of[mask]
            chain = [*picture.predecessors(mask), mask]
            users = list(picture.successors(mask))
            while len(users) == 1 and self._is_scaling(users[0]):
                chain.append(users[0])
                users = [] if not users[0].isdigit() else list(picture.successors(users[0]))
            alone = home == mask or set(self.members(home)) <= set(chain)
            if item["kind"] == "chance" and alone:
                self.of |= dict.fromkeys(chain, f"{_DROPPED}{mask}")

    def _is_scaling(self, key: str) -> bool:
        node = self.painter.nodes.get(key)
        return node is not None and node.op.name in ("multiply", "divide")

    def _join_circles(self) -> None:
        """What lies between two parts of a block belongs to it."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        for source, target in self.painter.picture.edges:
            if self.roles[target] != "state" and self.of[source] != self.of[target]:
                graph.add_edge(self.of[source], self.of[target])
        for circle in nx.strongly_connected_components(graph):
            blocks = [block for block in self.of.values() if block in circle]
            blocks.sort(key=lambda block: block in self.painter.picture)
            if len(circle) > 1:
                self.of = {k: blocks[0] if b in circle else b for k, b in self.of.items()}

    def _leave_alone_what_is_alone(self) -> None:
        """One thing without a state is no block."""
        keeping = {self._named(key) for key, role in self.roles.items() if role == "state"}
        for block in dict.fromkeys(self.of.values()):
            inside = self.members(block)
            if len(inside) == 1 and block not in keeping:
                self.of[inside[0]] = inside[0]

    def opened_in(self) -> dict[str, tuple[str, ...]]:
        """The opened cells that things and closed blocks are in, the outermost first."""
        picture, found = self.painter.picture, dict[str, tuple[str, ...]]()
        for key in picture:
            if self.roles[key] not in _ENDS:
                found[self.of[key]] = found.get(self.of[key]) or self._opened_of(key)
        states = [key for key, role in self.roles.items() if role == "state"]
        order = [key for key in _topological(picture, states) if key in found and key.isdigit()]
        for key in (key for key in order[::-1] if not found[key]):
            users = {found.get(self.of[user], ()) for user in picture.successors(key)}
            homes = {found.get(self.of[k]) or self._opened_of(k) for k in picture.predecessors(key)}
            if len(users) == 1 and users <= homes:
                found[key] = users.pop()
        return {key: labels for key, labels in found.items() if labels}

    def _opened_of(self, key: str) -> tuple[str, ...]:
        """The opened cells that a value is in by its name."""
        name = value_of(key)
        return tuple(label for label in self._labels(name) if self._is_open(label))

    def names(self) -> list[str]:
        """What can be opened: labels of applied cells, and their own names."""
        applied = self.painter.cell.applied
        return [ALL, *dict.fromkeys([*applied.values(), *map(_flat, applied)])]

    def title(self, block: str) -> str:
        """What stands in a block: what it is called, and of which cell it is."""
        applied = self.painter.cell.applied
        if block.startswith(_DROPPED):
            return "dropout"
        kind, _, name = block.partition(" ")
        if kind == "in":
            cell, name = applied[name], _flat(name)
            rest = name.removeprefix(cell).strip("_").replace("_", " ")
            if name.startswith(cell):
                return f"{cell} {rest}".strip()
            return f"{name.replace('_', ' ')}<BR/>{_SMALL}{cell}</FONT>"
        if "0" in name.split():
            return "in"
        axes = ", ".join(
            f"{axis} {n}" for axis, n in zip(self.painter.cell.axes, name.split(), strict=True)
        )
        here = tuple(map(int, name.split()))
        inside = ", ".join(dict.fromkeys(c for p, c in applied.items() if self._place(p) == here))
        return f"{axes}<BR/>{_SMALL}{inside}</FONT>" if inside else axes


def carried(blocks: Blocks) -> dict[str, list[str]]:
    """The states that enter and leave by one block and are read nowhere else, by that block.

    Any other state stands for itself.
    """
    picture = blocks.painter.picture
    found: dict[str, list[str]] = {}
    for state in (state for state in blocks.painter.cell.states if state in picture):
        ways = {blocks.of[user] for user in picture.successors(state)}
        end = f"next {state}"
        ways |= (
            {blocks.of[source] for source in picture.predecessors(end)} if end in picture else {""}
        )
        block = ways.pop() if len(ways) == 1 else ""
        found.setdefault(block if block in blocks.titles else state, []).append(state)
    return found


def label_at(painter: Painter, names: list[str], step: int | None = None, later: int = 0) -> str:
    """The names of some values as a step reads them, without what all are named after.

    ``step`` is its number, where steps are counted; ``later`` how many steps later they are.
    """
    back = [moment(painter.cell, name)[1] for name in names]
    symbols = [painter.naming.symbol(name) for name in names[:_MOST_NAMED]]
    if len(symbols) > 1:
        levels = zip(*(symbol.above for symbol in symbols), strict=False)
        common = sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, levels))
        symbols = [replace(symbol, above=symbol.above[common:]) for symbol in symbols]
    for n, (name, ago) in enumerate(zip(names, back, strict=True)):
        if ago is not None and n < len(symbols):
            text = painter.naming.step(name, ago + later) if step is None else str(step + ago)
            symbols[n] = replace(symbols[n], step=text)
    more = [_MORE] if len(names) > _MOST_NAMED else []
    return ", ".join([*map(label_of, symbols), *more])


def _flat(path: str) -> str:
    """What stands before the names of the values of an applied cell."""
    return path.replace("/", "_")


def _topological(picture: nx.DiGraph[str], states: Collection[str]) -> Iterator[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(picture)
    graph.add_edges_from((a, b) for a, b in picture.edges if b not in states)
    yield from nx.topological_sort(graph)
