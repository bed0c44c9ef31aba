"""One picture of two cells: everything is in it once, and what differs is marked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import permutations

import networkx as nx
import pytest

import cellc
from cellc.diagnostics import CellcError
from cellc.frontend.lineage import lineage_of
from cellc.resources import shipped_specs
from cellc.views.geometry import Geometry
from cellc.views.matching import GHOST
from cellc.views.overlay import lines_that_differ, named_alike, overlay, union
from cellc.views.page import Page
from cellc.views.painter import Painter
from cellc.views.placed import placed
from cellc.views.placement import Placement, rails_of
from cellc.views.routing import NoWay, Router, Wire
from cellc.views.theme import THEMES
from cellc.views.wires import rank_of
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
    new, old = named_alike(cell, base, renamed or {})
    return union(painted(new), painted(old))


@cache
def shipped(name: str, base: str) -> nx.DiGraph[str]:
    return both(*loaded(name, base))


def pairs() -> list[tuple[str, str]]:
    return [(name, cellc.load(name).lineage[-1]) for name in DERIVED] + UNRELATED


def toy(body: str, more: str = "") -> cellc.Cell:
    return cellc.parse(f"cell toy\ninput x[H]\nstate h[H]\n{more}{body}\noutput h'\n")


def marks(picture: nx.DiGraph[str]) -> dict[str, str]:
    return {key: mark for key, mark in picture.nodes(data="mark") if mark != "both"}


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
    assert are_alike(
        part(picture, "added"), bare(painted(named_alike(cell, other, renamed)[1]).picture)
    )
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
            if wires[ends]["mark"] == "both" and not wires[ends]["diagonal"]:
                assert others & {"both", "changed"} or geometry.rails.intersection(through)


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
    assert {mark for *_, mark in picture.edges(data="mark")} == {"both"}
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
    assert picture.edges["x", "h'"]["mark"] == "both"


def test_what_is_put_between_two_things_leaves_both() -> None:
    picture = shipped("layernorm_lstm", "lstm")
    (tanh,) = [key for key, mark in marks(picture).items() if mark == "changed"]
    assert picture.nodes[tanh]["label"] == "tanh"
    assert {mark for *_, mark in picture.in_edges(tanh, data="mark")} == {"added", "removed"}


@pytest.mark.parametrize("name", RENAMING)
def test_renamed_values_are_the_same(name: str) -> None:
    picture = shipped(name, cellc.load(name).lineage[-1])
    for new in renames(name).values():
        assert picture.nodes[new]["mark"] == "both"
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


#: The operands of a box of the base, and those of two boxes of the cell; the second one is it.
LIKEST = {
    "more operands in common": ("abc", "a", "abdeg"),
    "fewer other operands": ("abc", "abde", "abd"),
}


def boxes(*operands: str) -> cellc.Cell:
    """A cell with one or two boxes that have no names, with these operands, in one product."""
    given = [f"{name} = exp({number}*x)" for number, name in enumerate("abcdeg", 2)]
    sums = [" + ".join(f"W_{n}{a}·{a}" for a in names) for n, names in enumerate(operands)]
    factors = [f"tanh({text})" for text in sums] + ["x"][: 2 - len(sums)]
    return toy("\n".join([*given, f"p = {'*'.join(factors)}", "h' = p + h*(a+b+c+d+e+g)"]))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("case", LIKEST)
def test_of_two_boxes_the_one_that_is_more_alike_is_that_of_the_base(
    case: str, first: bool
) -> None:
    before, less, more = LIKEST[case]
    picture = both(boxes(*((more, less) if first else (less, more))), boxes(before))
    kept = {k for k, item in picture.nodes.items() if item["role"] == "learned"} - {
        k for k, mark in marks(picture).items() if mark == "added"
    }
    wires = [(a, b) for a, b, mark in picture.edges(data="mark") if mark != "removed"]
    assert sorted(a for a, b in wires if b in kept) == sorted(more)


def test_a_box_with_the_same_operands_goes_before_one_with_the_same_use() -> None:
    given = "a = exp(x)\nb = exp(h)\nc = exp(2*x)\n"
    base = toy(f"{given}p = tanh(W·a + U·b)*x\nh' = p + c*h")
    cell = toy(f"{given}p = tanh(W·a + U·b + V·c)*x\nq = tanh(A·a + B·b)*h\nh' = p*q + c*h")
    picture = both(cell, base)
    found = {picture.in_degree(k): item["mark"] for k, item in picture.nodes.items()
             if item["role"] == "learned"}  # fmt: skip
    assert found == {2: "both", 3: "added"}


def test_what_is_there_does_not_go_by_what_is_gone() -> None:
    cell, base = cellc.load("lstm"), cellc.load("gru")
    rails = rails_of(both(cell, base))
    assert rails == rails_of(painted(cell).picture)
    assert rails_of(both(base, cell))[f"{GHOST}c"][-1] == f"next {GHOST}c"


def test_a_base_that_derives_from_the_cell_gives_the_names() -> None:
    cell, base = cellc.load("lstm"), cellc.load("zoneout_lstm")
    back = {new: old for old, new in renames("zoneout_lstm").items()}
    picture = both(cell, base, back)
    mirrored = shipped("zoneout_lstm", "lstm")
    opposite = {"added": "removed", "removed": "added"}
    counts = [Counter(mark for _, mark in each.nodes(data="mark")) for each in (picture, mirrored)]
    assert counts[0] == {opposite.get(m, m): n for m, n in counts[1].items()}
    drawing = overlay(cell, base, back, Page("light", True, True))
    assert drawing.stands_for["c'"] == "m"
    assert drawing.stands_for.keys() == painted(cell).stands_for.keys()


def test_names_that_would_be_those_of_two_values_stay() -> None:
    cell, base = toy("a = tanh(x)\nb = exp(h)\nh' = a*b"), toy("a = exp(x)\nb = exp(h)\nh' = a*b")
    assert named_alike(cell, base, {"a": "b"}) == (cell, base)
    swapped = both(cell, toy("b = tanh(x)\na = exp(h)\nh' = a*b"), {"a": "b", "b": "a"})
    assert not marks(swapped)


def test_wires_of_both_find_their_way_first() -> None:
    wires = [
        {"mark": mark, "diagonal": diagonal, "start": False}
        for mark, diagonal in [("both", False), ("added", False), ("both", True), ("added", True),
                               ("removed", False), ("removed", True)]
    ]  # fmt: skip
    ranks = [rank_of(wire) for wire in wires]
    assert ranks == sorted(set(ranks))
    assert rank_of({"diagonal": False, "start": False}) == rank_of(wires[0])
    assert rank_of({"diagonal": False, "start": True}) == rank_of(wires[2])


def test_states_and_their_next_values_stay_together() -> None:
    picture = shipped("gru", "lstm")
    assert picture.nodes[f"{GHOST}c"]["role"] == "state"
    assert picture.nodes[f"next {GHOST}c"]["mark"] == "removed"
    assert picture.nodes["h"]["mark"] == picture.nodes["x"]["mark"] == "both"


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


@pytest.mark.parametrize("theme", THEMES)
def test_large_pictures_are_told_too(theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellc.views.placed._MOST_ROUTED", 10)
    drawing = overlay(*loaded("cifg", "vanilla_lstm"), Page(theme, True, True))
    assert drawing.engine == "dot"
    for ink, _ in (THEMES[theme].marks[mark] for mark in ("added", "removed")):
        assert ink in drawing.dot
    shown = [
        re.sub(r"<[^>]*>", "", line).replace("\xa0", " ") for line in drawing.svg().splitlines()
    ]
    for says in ("in both", "only in cifg", "only in vanilla_lstm", "one op", "diagonal weight",
                 "weights, then the function", "+  ft = 1 − it"):  # fmt: skip
        assert says in shown
    assert "other operands or weights" not in shown
    bare = overlay(*loaded("cifg", "vanilla_lstm"), Page(theme))
    assert "only in" not in bare.svg()
    assert "ft = " not in re.sub(r"<[^>]*>", "", bare.svg())


def test_there_are_places_for_a_picture_unless_it_is_too_large() -> None:
    picture = painted(cellc.load("lstm")).picture
    geometry = placed(picture)
    assert geometry is not None
    assert set(geometry.at) == set(picture)
    placement = Placement(picture)
    again = placed(picture, placement)
    assert again is not None
    assert again.placement is placement
    many: nx.DiGraph[str] = nx.DiGraph()
    many.add_nodes_from(map(str, range(251)), role="circle", label="+", tooltip="", kind="")
    assert placed(many) is None


def test_a_wire_without_a_way_leaves_a_picture_without_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Router, wires: list[Wire]) -> None:
        raise NoWay(wires[0])

    monkeypatch.setattr("cellc.views.geometry.Router.route", refuse)
    assert placed(painted(cellc.load("lstm")).picture) is None


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
