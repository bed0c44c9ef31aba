"""One picture of two cells: everything is in it once, and what differs is marked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from itertools import permutations

import networkx as nx
import pytest

import cellc
from cellc.diagnostics import CellcError
from cellc.frontend.lineage import lineage_of
from cellc.resources import shipped_specs
from cellc.views.geometry import Geometry
from cellc.views.overlay import GHOST, lines_that_differ, overlay, placed, under_new_names, union
from cellc.views.page import Page
from cellc.views.painter import Painter
from tests.test_geometry import check

DERIVED = [name for name in shipped_specs() if cellc.load(name).lineage]
RENAMING = ["phased_lstm", "zoneout_lstm"]
UNRELATED = [("gru", "lstm"), ("min_lstm", "lstm"), ("cifg", "lstm"), ("mut3", "mut2")]


@cache
def renames(name: str) -> dict[str, str]:
    return dict(lineage_of(shipped_specs()[name]).renamed)


def loaded(name: str, base: str) -> tuple[cellc.Cell, cellc.Cell, dict[str, str]]:
    cell = cellc.load(name)
    return cell, cellc.load(base), renames(name) if cell.lineage[-1:] == (base,) else {}


def painted(cell: cellc.Cell) -> Painter:
    painter = Painter(cell)
    painter.paint()
    return painter


def both(
    cell: cellc.Cell, base: cellc.Cell, renamed: dict[str, str] | None = None
) -> nx.DiGraph[str]:
    return union(painted(cell), painted(under_new_names(base, renamed or {})))


@cache
def shipped(name: str, base: str) -> nx.DiGraph[str]:
    return both(*loaded(name, base))


def pairs() -> list[tuple[str, str]]:
    return [(name, cellc.load(name).lineage[-1]) for name in DERIVED] + UNRELATED


def toy(body: str, more: str = "") -> cellc.Cell:
    return cellc.parse(f"cell toy\ninput x[H]\nstate h[H]\n{more}{body}\noutput h'\n")


def marks(picture: nx.DiGraph[str]) -> dict[str, str]:
    return {key: mark for key, mark in picture.nodes(data="mark") if mark}


def part(picture: nx.DiGraph[str], without: str) -> nx.DiGraph[str]:
    """What one of the two cells has, as it looks there."""
    kept: nx.DiGraph[str] = nx.DiGraph()
    for key, item in picture.nodes(data=True):
        if item["mark"] != without:
            kept.add_node(key, look=(item["role"], item["label"], item["kind"]))
    for source, target, wire in picture.edges(data=True):
        if wire["mark"] != without:
            was = wire.get("was", wire) if without == "added" else wire
            look = was["diagonal"], was["slot"], was["start"]
            kept.add_edge(source, target, look=look)
    return kept


def bare(picture: nx.DiGraph[str]) -> nx.DiGraph[str]:
    """A painted picture in the same form."""
    marked = picture.copy()
    nx.set_node_attributes(marked, "", "mark")
    nx.set_edge_attributes(marked, "", "mark")
    return part(marked, "none")


def are_alike(one: nx.DiGraph[str], other: nx.DiGraph[str]) -> bool:
    def same(a: dict[str, object], b: dict[str, object]) -> bool:
        return a["look"] == b["look"]

    return bool(nx.is_isomorphic(one, other, node_match=same, edge_match=same))


@pytest.mark.parametrize(("name", "base"), pairs())
def test_everything_of_both_is_there_once(name: str, base: str) -> None:
    cell, other, renamed = loaded(name, base)
    picture = shipped(name, base)
    own = part(picture, "removed")
    expected = bare(painted(cell).picture)
    assert dict(own.nodes.items()) == dict(expected.nodes.items())
    assert dict(own.edges.items()) == dict(expected.edges.items())
    assert are_alike(part(picture, "added"), bare(painted(under_new_names(other, renamed)).picture))
    if not renamed:
        assert are_alike(part(picture, "added"), bare(painted(other).picture))
    forward = [(a, b) for a, b in picture.edges if picture.nodes[b]["role"] != "state"]
    assert nx.is_directed_acyclic_graph(nx.DiGraph(forward))
    ghosts = {key for key, mark in marks(picture).items() if mark == "removed"}
    assert ghosts == {key for key in picture if GHOST in key}


@pytest.mark.parametrize(("name", "base"), pairs())
def test_the_layout_is_sound(name: str, base: str) -> None:
    geometry = placed(shipped(name, base))
    assert geometry is not None
    check(geometry)
    wires = geometry.picture.edges
    assert all(wire.items() >= shipped(name, base).edges[e].items() for e, wire in wires.items())
    hangs_well(geometry)


def hangs_well(geometry: Geometry) -> None:
    """No wire of both forks from one that is marked, none that is there from one that is gone."""
    wires = geometry.picture.edges
    for ends, way in geometry.ways.items():
        through = [e for e, w in geometry.ways.items() if e[0] == ends[0] and way[0] in w[1:]]
        others = {wires[e]["mark"] for e in through if e != ends}
        if way[0] in [w[0] for w in geometry.ways.values()] and others:
            assert wires[ends]["mark"] == "removed" or others != {"removed"}
            if not wires[ends]["mark"] and not wires[ends]["diagonal"]:
                assert others & {"", "changed"} or geometry.rails.intersection(through)


def test_two_cells_of_the_zoo_always_make_one_picture() -> None:
    names = ["lstm", "gru", "mut2", "phased_lstm", "layernorm_lstm", "ind_rnn", "highway", "qrnn"]
    pictures = {name: painted(cellc.load(name)) for name in names}
    for name, base in permutations(names, 2):
        picture = union(pictures[name], pictures[base])
        assert dict(part(picture, "removed").nodes.items()) == dict(
            bare(pictures[name].picture).nodes.items()
        )
        count = sum(mark != "added" for _, mark in picture.nodes(data="mark"))
        assert count == len(pictures[base].picture)


@pytest.mark.parametrize("name", ["lstm", "gru", "phased_lstm", "qrnn", "grid_lstm_2d"])
def test_a_cell_changes_nothing_of_itself(name: str) -> None:
    cell = cellc.load(name)
    picture = both(cell, cell)
    assert not marks(picture)
    assert not any(mark for *_, mark in picture.edges(data="mark"))
    expected = bare(painted(cell).picture)
    assert dict(part(picture, "none").nodes.items()) == dict(expected.nodes.items())
    assert lines_that_differ(cell, cell, {}) == []
    assert "no equation differs" in overlay(cell, cell, {}, Page("light", True, True)).svg()


def test_the_coupled_gate_takes_the_place_of_the_learned_one() -> None:
    picture = shipped("cifg", "vanilla_lstm")
    assert marks(picture) == {"f": "added", f"{GHOST}f": "removed"}
    assert picture.nodes["f"]["label"].startswith("1−")
    assert picture.nodes[f"{GHOST}f"]["role"] == "learned"
    gone = {(a, b) for a, b, mark in picture.edges(data="mark") if mark == "removed"}
    assert {a for a, b in gone if b == f"{GHOST}f"} == {"c", "1"}
    assert len([b for a, b in gone if a == f"{GHOST}f"]) == 1
    told = lines_that_differ(*loaded("cifg", "vanilla_lstm"))
    assert [mark for mark, _ in told] == ["removed", "added"]
    assert [re.sub(r"<[^>]*>", "", line) for _, line in told] == [
        "ft = σ(Wf [ht−1, xt] + pf ⊙ ct−1 + bf)", "ft = 1 − it",
    ]  # fmt: skip
    picture = shipped("cifg_forget", "vanilla_lstm")
    assert marks(picture) == {"i": "added", f"{GHOST}i": "removed"}


def test_other_operands_are_a_change() -> None:
    picture = shipped("cifg", "lstm")
    assert marks(picture) == {"f": "added", f"{GHOST}f": "removed", "i": "changed", "o": "changed"}
    assert picture.edges["c", "i"]["mark"] == "added"
    assert "\nbefore: i = sigmoid(W_i·[h, x] + b_i)" in picture.nodes["i"]["tooltip"]
    picture = both(toy("h' = relu(tanh(x)*h)"), toy("h' = relu(sigmoid(x)*h)"))
    assert {picture.nodes[key]["label"]: mark for key, mark in marks(picture).items()} == {
        "×": "changed", "tanh": "added", "σ": "removed",
    }  # fmt: skip
    assert not marks(both(toy("h' = x*h + tanh(x)"), toy("h' = tanh(x) + h*x")))


def test_other_weights_are_a_change_too() -> None:
    plain, biased = toy("f = tanh(W·x)\nh' = f*h"), toy("f = tanh(W·x + b)\nh' = f*h")
    assert marks(both(plain, biased)) == {"f": "changed"}
    diagonal = toy("h' = tanh(W·x + u*h + b)", "param u[H]\n")
    picture = both(diagonal, toy("h' = tanh(W·x + U·h + b)"))
    assert marks(picture) == {"h'": "changed"}
    assert picture.edges["h", "h'"]["mark"] == "changed"
    assert (picture.edges["h", "h'"]["diagonal"], picture.edges["h", "h'"]["was"]["diagonal"]) == (
        True, False,
    )  # fmt: skip
    assert picture.edges["x", "h'"]["mark"] == ""


def test_what_is_put_between_two_things_leaves_both() -> None:
    picture = shipped("layernorm_lstm", "lstm")
    (tanh,) = [key for key, mark in marks(picture).items() if mark == "changed"]
    assert picture.nodes[tanh]["label"] == "tanh"
    assert {mark for *_, mark in picture.in_edges(tanh, data="mark")} == {"added", "removed"}


@pytest.mark.parametrize("name", RENAMING)
def test_renamed_values_are_the_same(name: str) -> None:
    picture = shipped(name, cellc.load(name).lineage[-1])
    for new in renames(name).values():
        assert picture.nodes[new]["mark"] == ""
    assert {mark for key, mark in marks(picture).items() if not key.startswith("next")} == {"added"}
    assert picture.nodes["next c"]["mark"] == "changed"
    base = cellc.load(name).lineage[-1]
    assert {mark for mark, _ in lines_that_differ(*loaded(name, base))} == {"added"}


def test_a_renamed_state_takes_its_next_value_with_it() -> None:
    base = toy("h' = tanh(x)*h")
    cell = cellc.parse("cell toy\ninput x[H]\nstate s[H]\ns' = tanh(x)*s\noutput s'\n")
    assert marks(both(cell, base))
    assert not marks(both(cell, base, {"h": "s"}))


def test_what_would_follow_from_itself_is_drawn_twice() -> None:
    cell, base = (
        toy("b = tanh(x)\na = relu(b)\nh' = a*b + h"),
        toy("a = relu(x)\nb = tanh(a)\nh' = a*b + h"),
    )
    picture = both(cell, base)
    assert nx.is_directed_acyclic_graph(picture)
    assert sorted(marks(picture).values()) == ["added", "changed", "removed"]
    assert are_alike(part(picture, "added"), bare(painted(base).picture))
    assert are_alike(part(picture, "removed"), bare(painted(cell).picture))


def test_states_and_their_next_values_stay_together() -> None:
    picture = shipped("gru", "lstm")
    assert picture.nodes[f"{GHOST}c"]["role"] == "state"
    assert picture.nodes[f"next {GHOST}c"]["mark"] == "removed"
    assert picture.nodes["h"]["mark"] == picture.nodes["x"]["mark"] == ""


def test_marks_are_told_without_colours() -> None:
    drawing = overlay(*loaded("cifg", "lstm"), Page("grey"))
    things = re.findall(r"<g id=\"([^\"]*)\" class=\"node\">.*?</g>", drawing.svg(), re.DOTALL)
    assert {"f", f"{GHOST}f", "i"} <= {*things}
    dot = drawing.dot
    (ghost,) = re.findall(rf"\t(n\d+) \[.*id=\"{GHOST}f\"", dot)
    for line in (line for line in dot.splitlines() if re.search(rf"\b{ghost}\b", line)):
        assert "dashed" in line
    assert "penwidth=2.8" in dot
    assert "arrowhead=empty" in dot
    colours = {*re.findall(r"#([0-9a-f]{6})", drawing.svg())}
    assert all(c[:2] == c[2:4] == c[4:] for c in colours)


@pytest.mark.parametrize("theme", ["light", "dark", "grey"])
def test_the_legend_explains_the_marks_that_are_there(theme: str) -> None:
    text = overlay(*loaded("cifg", "lstm"), Page(theme, legend=True)).svg()
    for says in ("in both", "only in cifg", "only in lstm", "other operands or weights"):
        assert says in text
    text = overlay(*loaded("cifg", "vanilla_lstm"), Page(theme, legend=True)).svg()
    assert "other operands or weights" not in text
    assert "only in" not in overlay(*loaded("cifg", "lstm"), Page(theme)).svg()


def test_captions_are_what_differs() -> None:
    drawing = overlay(*loaded("nig", "vanilla_lstm"), Page(captions=True))
    text = re.sub(r"<[^>]*>", "", drawing.svg())
    assert "i = 1" in text
    assert "ot = " not in text
    told = [line for _, line in lines_that_differ(*loaded("irnn", "relu_rnn"))]
    assert "param W_h[H, H] = identity()" in told


def test_large_pictures_are_marked_too() -> None:
    cell, base = cellc.load("seq2seq_lstm"), cellc.load("grid_lstm_3d")
    drawing = overlay(cell, base, {}, Page())
    assert drawing.engine == "dot"
    assert "#0a7d45" in drawing.dot
    assert "#c23b2e" in drawing.dot


def test_an_unknown_theme_is_refused() -> None:
    with pytest.raises(CellcError, match="there is no theme"):
        overlay(*loaded("cifg", "lstm"), Page("pink"))


ALIKE = """cell toy
input x[H]
state h[H]
{0} = exp(x)
{1} = sin(h)
h' = tanh({0})*tanh({1})
output h'
"""
PROGRAM = """
import sys, cellc
from cellc.views.overlay import overlay
from cellc.views.page import Page
pairs = [(cellc.load("cifg"), cellc.load("lstm"))]
pairs.append((cellc.parse(sys.argv[1]), cellc.parse(sys.argv[2])))
print(*(overlay(cell, base, {}, Page("light", True, True)).svg() for cell, base in pairs))
"""


def test_the_picture_is_the_same_in_every_run() -> None:
    command = [sys.executable, "-c", PROGRAM, ALIKE.format(*"ab"), ALIKE.format(*"pq")]
    runs = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    ]
    assert runs[0]
    assert len({*runs}) == 1
