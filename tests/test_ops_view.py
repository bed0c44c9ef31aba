"""The op view: every op is a thing in the frame of its region, and wires are dependencies."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from functools import cache

import pygraphviz
import pytest

import cellc
from cellc.diagnostics import CellcError
from cellc.ir import AtConstruction, Loop, Schedule
from cellc.ops import TABLE
from cellc.passes.plan import plan
from cellc.resources import shipped_specs
from cellc.views.drawing import Drawing
from cellc.views.ops_view import looks, ops_view, side_by_side
from cellc.views.page import Page
from cellc.views.theme import THEMES

SPECS = list(shipped_specs())
LEVELS = ("O0", "O2")
PAGE = Page()
SVG = "{http://www.w3.org/2000/svg}"
HIDDEN = "invis"


@cache
def scheduled(name: str, level: str) -> Schedule:
    """The schedule of a cell; ``back`` is that of its derivative."""
    if level != "back":
        return cellc.schedule(name, level)
    whole = plan(cellc.load(name), "O2", "balanced", False)
    assert whole.gradient is not None
    return whole.gradient.schedule


class Seen:
    """A picture, read back from its source: things by id, their frames, and wires."""

    def __init__(self, drawing: Drawing) -> None:
        graph = pygraphviz.AGraph(string=drawing.dot)
        shown = [node for node in graph.nodes() if node.attr["style"] != HIDDEN]
        self.ids = {str(node): node.attr["id"] for node in shown}
        self.labels = {node.attr["id"]: node.attr["label"] for node in shown}
        self.fills = Counter(node.attr["fillcolor"] for node in shown)
        self.frames: dict[str, list[str]] = {}
        self._enter(graph, ())
        self.wires: dict[str, list[tuple[str, str]]] = {"": [], "dashed": [], "dotted": []}
        for wire in graph.edges():
            style = wire.attr["style"] or ""
            if style != HIDDEN:
                self.wires[style].append((self.ids[str(wire[0])], self.ids[str(wire[1])]))

    def _enter(self, graph: pygraphviz.AGraph, outer: tuple[str, ...]) -> None:
        for part in graph.subgraphs():
            inside = (*outer, part.graph_attr["id"] or "")
            for node in part.nodes():
                if str(node) in self.ids:
                    found = self.frames.setdefault(self.ids[str(node)], [])
                    found[:] = inside if len(inside) > len(found) else found
            self._enter(part, inside)


@cache
def drawn(name: str, level: str) -> tuple[Drawing, Seen]:
    drawing = ops_view(scheduled(name, level), PAGE)
    return drawing, Seen(drawing)


CASES = [(name, level) for name in SPECS for level in LEVELS]
BACK = [("lstm", "back"), ("gru", "back"), ("esn", "back"), ("bidirectional_lstm", "back"),
        ("embedding", "back"), ("phased_lstm", "back")]  # fmt: skip


@pytest.mark.parametrize(("name", "level"), CASES + BACK)
def test_every_node_is_drawn_or_told_in_one_place(name: str, level: str) -> None:
    schedule = scheduled(name, level)
    drawing, seen = drawn(name, level)
    nodes = [value for region in schedule.regions for value in region.values]
    assert drawing.stands_for.keys() == {*nodes}
    assert {*drawing.stands_for.values()} <= seen.labels.keys()
    assert len(seen.labels) == len(seen.ids)
    ends = {key for key in seen.labels if key.startswith(("output.", "sum.", "initial."))}
    assert seen.labels.keys() - ends == {n for n in nodes if drawing.stands_for[n] == n}
    assert not any(" " in key for key in seen.labels)


@pytest.mark.parametrize(("name", "level"), CASES + BACK)
def test_things_stand_in_the_frame_of_their_region(name: str, level: str) -> None:
    schedule = scheduled(name, level)
    drawing, seen = drawn(name, level)
    for number, region in enumerate(schedule.regions):
        parts = region.parts if isinstance(region, Loop) else ()
        kernels = {v for part in parts if type(part).__name__ == "Kernel" for v in part.values}
        for value in region.values:
            if isinstance(region, AtConstruction) or drawing.stands_for[value] != value:
                continue
            frames = [frame for frame in seen.frames[value] if frame]
            assert frames[0] == f"region.{number}"
            assert len(frames) == 1 + (value in kernels)
    outside = {key for key in seen.labels if key not in seen.frames or not any(seen.frames[key])}
    assert all(key.startswith(("output.", "sum.")) for key in outside)


@pytest.mark.parametrize(("name", "level"), CASES + BACK)
def test_wires_are_dependencies(name: str, level: str) -> None:
    schedule = scheduled(name, level)
    cell, (drawing, seen) = schedule.cell, drawn(name, level)
    region = {v: r for r in schedule.regions for v in r.values}
    things = {name for name, key in drawing.stands_for.items() if key == name}
    needed = {
        (argument, drawing.stands_for[user])
        for user, node in cell.nodes.items()
        if not isinstance(region[user], AtConstruction)
        for argument in node.args
        if argument in things
    }
    plain = [(s, t) for s, t in seen.wires[""] if not t.startswith(("output.", "sum."))]
    assert Counter(plain) == Counter(dict.fromkeys(needed, 1))
    following = cell.values("next")
    assert Counter(seen.wires["dashed"]) == Counter(
        (state, following[state]) for state in following
    )
    starts = {(value, state) for state, value in cell.values("start").items() if value in things}
    assert {*seen.wires["dotted"]} == starts


@pytest.mark.parametrize(("name", "level"), CASES)
def test_products_look_like_products(name: str, level: str) -> None:
    schedule = scheduled(name, level)
    nodes = schedule.cell.nodes
    values = [v for r in schedule.regions for v in r.values if not isinstance(r, AtConstruction)]
    products = [v for v in values if TABLE[nodes[v].op.name].kind in ("contraction", "total")]
    seen = drawn(name, level)[1]
    assert seen.fills[looks(PAGE.colours, "learned")["fillcolor"]] == len(products)


@pytest.mark.parametrize("name", SPECS)
def test_pictures_are_well_formed_and_the_same_twice(name: str) -> None:
    page = Page(captions=True, legend=True)
    first = ops_view(scheduled(name, "O2"), page).svg()
    assert ET.fromstring(first).tag == f"{SVG}svg"
    assert ops_view(cellc.schedule(name, "O2"), page).svg() == first


def texts(drawing: Drawing) -> list[str]:
    """What is written in a picture, a line each."""
    return ["".join(text.itertext()) for text in ET.fromstring(drawing.svg()).iter(f"{SVG}text")]


def test_what_an_lstm_says() -> None:
    said = texts(ops_view(scheduled("lstm", "O2"), PAGE))
    assert {"each step", "loop along time", "once per call", "before the loop",
            "at construction", "kernel"} <= {*said}  # fmt: skip
    assert "Wf,i,o,g·ht−1 + …" in said
    assert "Wf,i,o,g·xt + bf,i,o,g" in said
    assert "uniform(−1/√H, 1/√H)" in said
    assert "ft 0:H" in said
    assert "[4H]" in said


def test_as_written_and_optimised_beside_each_other() -> None:
    before, after = scheduled("lstm", "O0"), scheduled("lstm", "O2")
    drawing = side_by_side(before, after, PAGE)
    said = texts(drawing)
    assert {"as written", "optimised"} <= {*said}
    assert "4 products, 21 operations in the loop" in said
    assert "1 product, 12 operations in the loop" in said
    seen = Seen(drawing)
    for side, schedule in (("written", before), ("optimised", after)):
        (loop,) = schedule.loops
        values = {f"{side}.{value}" for value in loop.values}
        assert values <= seen.labels.keys() & drawing.stands_for.keys()
    assert side_by_side(before, after, PAGE).svg() == drawing.svg()


@pytest.mark.parametrize("name", ["gru", "grid_lstm_2d", "embedding", "seq2seq_lstm"])
def test_both_sides_hold_all_that_runs(name: str) -> None:
    both = scheduled(name, "O0"), scheduled(name, "O2")
    drawing = side_by_side(*both, PAGE)
    for side, schedule in zip(("written", "optimised"), both, strict=True):
        runs = [r for r in schedule.regions if not isinstance(r, AtConstruction)]
        assert {f"{side}.{v}" for r in runs for v in r.values} <= drawing.stands_for.keys()


def test_a_derivative_says_whence_it_goes_and_what_it_gives() -> None:
    whole = plan(cellc.load("lstm"), "O2", "balanced", False)
    assert whole.gradient is not None
    drawing = ops_view(whole.gradient.schedule, PAGE, whole)
    said = texts(drawing)
    assert "the derivative of lstm" in said
    assert "each step, from the last to the first" in said
    assert {"∂xt", "∂outputt [H]", "∂Wf [H, H+I]", "∂bo 2H:3H"} <= {*said}
    assert "Wf,i,o,g [4H, H]" in said
    assert "kept [4H, H]" in texts(ops_view(whole.gradient.schedule, PAGE))


def test_legend_and_equations_stand_below() -> None:
    schedule = replace(scheduled("lstm", "O2"), written=scheduled("lstm", "O0"))
    plain, said = (texts(ops_view(schedule, page)) for page in (PAGE, Page("light", True, True)))
    more = Counter(said) - Counter(plain)
    assert {"input or output", "state", "weights", "to the next step"} <= {*more}
    assert "ct = ft ⊙ ct−1 + it ⊙ gt" in more
    assert "what a state starts with" not in more
    assert "what a state starts with" in texts(
        ops_view(scheduled("one_to_many", "O2"), Page(legend=True))
    )


def test_names_and_comments_survive() -> None:
    text = """
cell odd
input x[I]
state h̃[H]
param τ[H]
ĝ  = tanh(W·x)        # a <gate> & "more"
h̃' = ĝ*h̃ + τ
output h̃'
"""
    drawing = ops_view(cellc.schedule(cellc.parse(text), "O0"), PAGE)
    said = " ".join(texts(drawing))
    assert all(name in said for name in ("ĝ", "h̃", "τ"))
    titles = [t.text or "" for t in ET.fromstring(drawing.svg()).iter(f"{SVG}title")]
    assert any('a <gate> & "more"' in title for title in titles)
    assert any("ĝ = tanh(W_ĝ·x)" in title for title in titles)


def test_themes_differ() -> None:
    pictures = {ops_view(scheduled("gru", "O2"), Page(theme)).svg() for theme in THEMES}
    assert len(pictures) == len(THEMES)
    dark = ops_view(scheduled("gru", "O2"), Page("dark", legend=True)).dot
    assert THEMES["light"].paper not in dark
    with pytest.raises(CellcError, match="no theme"):
        ops_view(scheduled("gru", "O2"), Page("pink"))


def test_a_scan_says_so() -> None:
    said = texts(ops_view(cellc.schedule("min_gru", "O2", "always"), PAGE))
    assert "scan along time" in said
