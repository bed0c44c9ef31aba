"""The ops of a cell, each a thing, in frames that tell when they are computed.

What stands in the labels is decided in :mod:`cellc.views.ops_labels`; Graphviz places things
and frames. Dashed wires lead from the next values to the states, against the flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

import graphviz
import networkx as nx

from cellc.ir import AtConstruction, Cell, Kernel, Loop, Region, Schedule, reached
from cellc.ops import TABLE
from cellc.ops.notation import expression_of
from cellc.views import ops_labels as texts
from cellc.views.below import LEFT, label_of_all, row_of
from cellc.views.drawing import Drawing
from cellc.views.latex import latex
from cellc.views.ops_labels import Labels, is_derived
from cellc.views.page import Page
from cellc.views.theme import Theme
from cellc.views.wires import things_told

_GRAPH = {"nodesep": "0.14", "ranksep": "0.26"}
_BACKWARD = "from the last step to the first"
_THING = {"fontsize": "13", "margin": "0.07,0.03", "height": "0.3", "width": "0.3"}

#: How much of which fill, or of the ink, a frame has in the colour of the paper.
_SHADES = {"construction": ("ink", 0.06), "once": ("learned", 0.25), "at once": ("given", 0.8),
           "loop": ("state", 0.45), "kernel": ("ink", 0.0), "whole": ("ink", 0.02)}  # fmt: skip
_SIZES = {"kernel": "10", "whole": "16"}

_KINDS = {"contraction": "learned", "total": "learned", "elementwise": "op",
          "reduction": "reduction", "sequence": "sequence", "structural": "part"}  # fmt: skip

#: What each role is called in a legend.
_ROLES = {"input": "input or output", "state": "state", "weight": "weights",
          "learned": "product with weights", "op": "number by number",
          "reduction": "over features", "sequence": "over steps",
          "part": "joined or a part"}  # fmt: skip

#: Wires that are not plain, and what they mean.
_WIRES = (("next", "dashed", "to the next step"), ("start", "dotted", "what a state starts with"))


@dataclass
class Frame:
    """A region of the picture, or a kernel in one; ``kind`` says in which shade."""

    key: str
    kind: str
    title: str
    more: str = ""
    things: list[str] = field(default_factory=list)
    inner: list[Frame] = field(default_factory=list)

    def everything(self) -> Iterator[str]:
        """The things of the frame and of those in it."""
        yield from self.things
        for frame in self.inner:
            yield from frame.everything()


class Ops:
    """What is drawn of a schedule.

    The nodes of ``picture`` carry ``role``, ``label`` (HTML) and ``tooltip``; its edges are
    told apart by their key: ``uses``, ``next``, ``start`` or ``gives``. ``stands_for`` names,
    for each node of the cell, the thing that shows it or tells of it. Without ``initial``
    nothing is said of what is computed at construction.
    """

    def __init__(
        self, schedule: Schedule, initial: bool = True, forward: Schedule | None = None
    ) -> None:
        self.schedule, self.cell = schedule, schedule.cell
        self.labels = Labels(schedule, None if forward is None else Labels(forward))
        self.picture: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        self.stands_for: dict[str, str] = {}
        self.frames = [
            self._frame(number, region)
            for number, region in enumerate(schedule.regions)
            if not isinstance(region, AtConstruction)
        ]
        self.frames = [frame for frame in self.frames if [*frame.everything()]]
        self._add_wires()
        self._add_ends()
        if initial:
            self._add_initial_values()

    @property
    def flow(self) -> nx.DiGraph[str]:
        """Things and wires without those to the next step."""
        flow: nx.DiGraph[str] = nx.DiGraph()
        flow.add_nodes_from(self.picture)
        edges = self.picture.edges(keys=True)
        flow.add_edges_from((source, target) for source, target, kind in edges if kind != "next")
        return flow

    def _frame(self, number: int, region: Region) -> Frame:
        frame = Frame(f"region.{number}", *texts.titles(self.schedule, region))
        parts = region.parts if isinstance(region, Loop) else ()
        kernels = [part for part in parts if isinstance(part, Kernel)]
        inside = {name: n for n, kernel in enumerate(kernels) for name in kernel.values}
        frame.inner = [
            Frame(f"{frame.key}.kernel.{n}", "kernel", "kernel") for n in range(len(kernels))
        ]
        for name in region.values:
            if name not in self.labels.told_by:
                home = frame if name not in inside else frame.inner[inside[name]]
                home.things.append(name)
                self._add(name)
        frame.inner = [inner for inner in frame.inner if inner.things]
        return frame

    def _add(self, name: str) -> None:
        label, tooltip = self.labels.label(name), self.labels.tooltip(name)
        self.picture.add_node(name, role=self._role(name), label=label, tooltip=tooltip)

    def _role(self, name: str) -> str:
        node = self.cell.nodes[name]
        op = TABLE[node.op.name]
        if op.name in ("input", "draw", "state"):
            return "state" if op.name == "state" else "input"
        if name in self.labels.only_given:
            return "output"
        if name in self.labels.weights and op.kind in ("leaf", "structural"):
            return "weight"
        return _KINDS.get(op.kind, "weight")

    def _add_wires(self) -> None:
        labels = self.labels
        for name in self.cell.nodes:
            if name not in labels.construction:
                self.stands_for[name] = labels.thing_of(name)
        for name in [*self.picture]:
            for told in [name, *labels.tells(name)]:
                for argument in labels.wired(told):
                    slot = labels.slot(argument, name)
                    self.picture.add_edge(argument, name, key="uses", slot=slot)
        for state, value in self.cell.values("next").items():
            self.picture.add_edge(value, state, key="next", slot="")
        for state, value in self.cell.values("start").items():
            if value in self.picture:
                self.picture.add_edge(value, state, key="start", slot="")

    def _add_ends(self) -> None:
        """What the cell gives, unless a part that nothing else reads says so itself."""
        for each in self.cell.results:
            if each.role in ("output", "sum") and each.value not in self.labels.only_given:
                key = f"{each.role}.{each.name}"
                label = self.labels.result(each.role, each.name, each.value)
                told = expression_of(self.cell, each.value)
                self.picture.add_node(key, role="output", label=label, tooltip=told)
                self.picture.add_edge(each.value, key, key="gives", slot="")

    def _add_initial_values(self) -> None:
        """One thing for all parameters that are initialised alike, and for states."""
        groups = self.labels.initial_values(self.picture)
        if not groups:
            return
        frame = Frame("construction", "construction", "at construction")
        ends = self.cell.values("start") | self.cell.values("initial")
        for text, members in groups.items():
            key = f"initial.{members[0][0]}"
            called = texts.in_rows([label for _, label in members])
            label = texts.lines(
                [*called, f'<FONT POINT-SIZE="10">{escape(texts.readable(text))}</FONT>']
            )
            told = f"{', '.join(name for name, _ in members)} = {text}"
            self.picture.add_node(key, role="initial", label=label, tooltip=told)
            frame.things.append(key)
            for name in reached(self.cell.nodes, [ends[name] for name, _ in members]):
                self.stands_for.setdefault(name, key)
        self.frames.insert(0, frame)


def ops_view(schedule: Schedule, page: Page, forward: Schedule | None = None) -> Drawing:
    """All ops of a scheduled cell, or of a derivative, in frames by when they are computed.

    ``forward`` is the schedule that a derivative is of: it tells what is called how that has
    no name in the derivative. Captions are the equations of the cell as written, where the
    schedule knows it. ``stands_for`` names, for each node of the cell, the id of the thing that
    shows it or tells of it. Raises CellcError ``unknown-theme``.
    """
    ops = Ops(schedule, forward=forward)
    title = ("", "")
    if is_derived(schedule.cell):
        back = any(loop.backward for loop in schedule.loops)
        title = f"the derivative of {schedule.cell.name}", _BACKWARD if back else ""
    written = schedule if schedule.written is None else schedule.written
    return _sheet([Side("", title, ops)], page, written.cell, "LR")


def side_by_side(before: Schedule, after: Schedule, page: Page) -> Drawing:
    """A cell as written and as optimised, in two frames beside each other.

    What is computed at construction is left out. The keys of ``stands_for`` are the nodes of
    both, after ``written.`` and ``optimised.``. Raises CellcError ``unknown-theme``.
    """
    sides = [
        Side(f"{key}.", (title, texts.counted(schedule)), Ops(schedule, initial=False))
        for key, title, schedule in (
            ("written", "as written", before),
            ("optimised", "optimised", after),
        )
    ]
    return _sheet(sides, page, before.cell, "TB")


@dataclass
class Side:
    """A schedule in a picture of one or of several; ids of its things begin with ``prefix``."""

    prefix: str
    title: tuple[str, str]
    ops: Ops


def _sheet(sides: Sequence[Side], page: Page, cell: Cell, direction: str) -> Drawing:
    """The finished picture."""
    theme = page.colours
    canvas, things, wires = theme.defaults
    text = {"fontname": "Helvetica", "fontcolor": theme.ink, "labelloc": "b"}
    graph = graphviz.Digraph(
        cell.name,
        graph_attr=canvas | _GRAPH | text | {"rankdir": direction},
        node_attr=things | _THING,
        edge_attr=wires,
    )
    legend = _legend(sides, theme) if page.legend else ""
    graph.attr(**label_of_all([legend, page.inked(page.lines(cell))]))
    stands_for: dict[str, str] = {}
    for side in sides:
        drawer = _Drawer(graph, theme, side)
        drawer.draw()
        if len(sides) > 1:
            drawer.begin_at("top")
        ids = side.ops.stands_for.items()
        stands_for |= {side.prefix + name: side.prefix + key for name, key in ids}
    equations = "" if is_derived(cell) else latex(cell)
    return Drawing(str(graph.source), cell.name, "dot", stands_for, equations)


def _legend(sides: Sequence[Side], theme: Theme) -> str:
    """A row of boxes in the looks of what they name."""
    present = {role for side in sides for _, role in side.ops.picture.nodes(data="role")}
    kinds = {kind for side in sides for *_, kind in side.ops.picture.edges(keys=True)}
    things = [
        (text, {"BGCOLOR": looks(theme, role)["fillcolor"]})
        for role, text in _ROLES.items()
        if role in present
    ]
    wires = [(text, {"STYLE": style}) for kind, style, text in _WIRES if kind in kinds]
    return row_of(theme, [*things, *wires])


class _Drawer:
    """Writes one schedule into a picture."""

    def __init__(self, graph: graphviz.Digraph, theme: Theme, side: Side) -> None:
        self.graph, self.theme, self.side, self.ops = graph, theme, side, side.ops
        picture = self.ops.picture
        self.nodes = {key: f"{side.prefix}n{number}" for number, key in enumerate(picture)}

    def draw(self) -> None:
        """Everything, in a frame of its own where it has a title."""
        title, more = self.side.title
        if not title:
            self._draw_all(self.graph)
            return
        with self.graph.subgraph(name=f"cluster_{self.side.prefix}all") as whole:
            whole.attr(**self._frame_looks(Frame("", "whole", title, more)))
            self._draw_all(whole)

    def begin_at(self, spot: str) -> None:
        """Let the longest way through the things begin behind a spot that is not seen."""
        self.graph.node(spot, "", shape="point", width="0.01", style="invis")
        first = nx.dag_longest_path(self.ops.flow)[0]
        self.graph.edge(spot, self.nodes[first], style="invis", weight="9")

    def _draw_all(self, graph: graphviz.Digraph) -> None:
        picture, frames = self.ops.picture, self.ops.frames
        for frame in frames:
            self._frame(graph, frame)
        framed = {key for frame in frames for key in frame.everything()}
        for key in picture:
            if key not in framed:
                self._thing(graph, key)
        for source, target, kind, slot in picture.edges(keys=True, data="slot"):
            ends = (target, source) if kind == "next" else (source, target)
            graph.edge(*(self.nodes[end] for end in ends), **self._wire(kind, slot))
        self._keep_order(graph)

    def _frame(self, graph: graphviz.Digraph, frame: Frame) -> None:
        key = self.side.prefix + frame.key
        with graph.subgraph(name=f"cluster_{key}") as part:
            part.attr(**self._frame_looks(frame), id=key)
            for thing in frame.things:
                self._thing(part, thing)
            for inner in frame.inner:
                self._frame(part, inner)

    def _frame_looks(self, frame: Frame) -> dict[str, str]:
        """A kernel says what it is below, since dashed wires pass above."""
        kind, share = _SHADES[frame.kind]
        colour = self.theme.fills.get(kind, self.theme.ink)
        small = frame.kind == "kernel"
        title = escape(frame.title) if small else f"<B>{escape(frame.title)}</B>"
        more = f"{texts.small(frame.more)}{LEFT}" if frame.more else ""
        return {
            "label": f"<{title}{LEFT}{more}>",
            "fontsize": _SIZES.get(frame.kind, "13"),
            "labelloc": "b" if small else "t",
            "labeljust": "r" if small else "l",
            "style": "rounded,filled",
            "fillcolor": self.theme.mixed(colour, share),
            "color": self.theme.mixed(self.theme.ink, 0.45),
            "penwidth": "0.7",
            "margin": "8",
        }

    def _thing(self, graph: graphviz.Digraph, key: str) -> None:
        item = self.ops.picture.nodes[key]
        told = things_told(self.side.prefix + key, item)
        graph.node(self.nodes[key], **told, **looks(self.theme, item["role"]))

    def _wire(self, kind: str, slot: str) -> dict[str, str]:
        """Next values lie behind their states, so that dashed wires point back."""
        if kind == "next":
            return {"style": "dashed", "dir": "back", "weight": "0", "penwidth": "1.3"}
        if kind == "start":
            return {"style": "dotted"}
        angle = "28" if slot in ("a", "w") else "-28"
        return {"headlabel": slot, "labeldistance": "1.5", "labelangle": angle} if slot else {}

    def _keep_order(self, graph: graphviz.Digraph) -> None:
        """What a loop reads stands before it, and what reads of it after."""
        frames = self.ops.frames
        homes = {key: n for n, frame in enumerate(frames) for key in frame.everything()}
        flow = self.ops.flow
        between: nx.DiGraph[int] = nx.DiGraph(
            (homes[source], homes[target])
            for source, target in flow.edges
            if source in homes and target in homes and homes[source] != homes[target]
        )
        for tail, head in sorted(nx.transitive_reduction(between).edges):
            if "loop" not in (frames[tail].kind, frames[head].kind):
                continue
            spot = f"{self.side.prefix}between{tail}_{head}"
            graph.node(spot, "", shape="point", width="0.01", style="invis")
            for key in frames[tail].everything():
                if tail not in {homes.get(after) for after in flow.successors(key)}:
                    graph.edge(self.nodes[key], spot, style="invis", weight="0")
            for key in frames[head].everything():
                if head not in {homes.get(before) for before in flow.predecessors(key)}:
                    graph.edge(spot, self.nodes[key], style="invis", weight="0")


def looks(theme: Theme, role: str) -> dict[str, str]:
    """The shape and fill of a thing."""
    fill = theme.fills
    round_ = {"shape": "ellipse", "margin": "0"}
    own = {
        "input": {"fillcolor": fill["given"]},
        "output": {"fillcolor": fill["given"]},
        "state": {"fillcolor": fill["state"], "style": "filled,rounded"},
        "weight": {"fillcolor": theme.mixed(fill["learned"], 0.5)},
        "learned": {"fillcolor": fill["learned"]},
        "op": {"fillcolor": fill["op"], **round_},
        "reduction": {"fillcolor": fill["norm"], **round_},
        "sequence": {"fillcolor": fill["time"], **round_},
        "part": {"fillcolor": theme.paper},
        "initial": {"shape": "plaintext", "style": "solid"},
    }
    outline = theme.mixed(theme.ink, 0.8)
    return {"shape": "box", "style": "filled", "color": outline, "penwidth": "0.8"} | own[role]
