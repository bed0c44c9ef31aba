"""Colours of pictures: readable, told apart by the colour-blind and in print without colours."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest

import cellc
from cellc.views.canvas import Canvas
from cellc.views.legend import add_legend
from cellc.views.page import Page
from cellc.views.theme import MARKS, THEMES, Theme
from tests.running import Array

#: Linear RGB as those see it who lack one kind of cone (Machado, Oliveira & Fernandes 2009,
#: severity 1.0).
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip

#: sRGB to XYZ with the white point D65 (IEC 61966-2-1).
XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
WHITE = XYZ.sum(1)
COLOUR = r"#[0-9a-f]{6}"


def linear(colour: str) -> Array:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: Array) -> Array:
    """CIE L*a*b* of linear RGB."""
    x, y, z = (_root(v) for v in XYZ @ np.clip(rgb, 0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _root(value: float) -> float:
    return float(np.cbrt(value)) if value > 0.008856 else 7.787 * value + 16 / 116


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    dark, light = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", THEMES)
def test_text_can_be_read_on_every_fill(name: str) -> None:
    theme = THEMES[name]
    for fill in (*theme.fills.values(), theme.paper, theme.frame):
        assert contrast(theme.ink, fill) >= 4.5
    assert contrast(theme.wire, theme.paper) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_kinds_can_be_told_apart(name: str, sight: str) -> None:
    fills = {
        kind: lab(SIGHTS[sight] @ linear(fill))
        for kind, fill in THEMES[name].fills.items()
        if kind != "block"  # which is a pale box with a thick outline
    }
    for one, other in combinations(fills, 2):
        assert np.linalg.norm(fills[one] - fills[other]) >= 10, (one, other)


def looks_of(theme: Theme, mark: str) -> list[dict[str, str]]:
    """A box, its tint and a wire with a mark."""
    role = "learned"
    return [theme.looks(role, mark=mark), theme.halo(role, mark), theme.wire_looks(mark)]


@pytest.mark.parametrize("name", THEMES)
def test_text_can_be_read_on_every_mark(name: str) -> None:
    theme = THEMES[name]
    for mark in MARKS:
        for role in ("learned", "circle", "number", "state", "input", "mixer"):
            looks = theme.looks(role, mark=mark)
            fill = looks.get("fillcolor", theme.paper)
            assert contrast(looks.get("fontcolor", theme.ink), fill) >= 4.5
    for ink, tint in theme.marks.values():
        assert contrast(theme.ink, tint) >= 4.5
        assert contrast(ink, theme.paper) >= 4.5
        assert contrast(ink, tint) >= 3


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_marks_can_be_told_apart_by_their_ink(name: str, sight: str) -> None:
    theme = THEMES[name]
    inks = {mark: theme.looks("learned", mark=mark)["color"] for mark in MARKS if mark}
    seen = {mark: lab(SIGHTS[sight] @ linear(ink)) for mark, ink in inks.items()}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 10, (one, other)


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_tints_can_be_told_apart_and_from_the_paper(name: str, sight: str) -> None:
    theme = THEMES[name]
    tints = [theme.paper, theme.marks["added"][1], theme.marks["changed"][1]]
    for one, other in combinations([lab(SIGHTS[sight] @ linear(tint)) for tint in tints], 2):
        assert np.linalg.norm(one - other) >= 10


@pytest.mark.parametrize("name", THEMES)
def test_marks_can_be_told_apart_by_their_lines(name: str) -> None:
    lines = []
    for mark in MARKS[1:]:
        box, _, wire = looks_of(THEMES[name], mark)
        dashed, double = "dashed" in box["style"], "peripheries" in box
        assert dashed == ("dashed" in wire.get("style", ""))
        assert double == (":" in wire["color"])
        lines.append((dashed, double, *(float(e.get("penwidth", 1)) > 2 for e in (box, wire))))
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("name", THEMES)
def test_a_picture_without_marks_has_no_ink_of_them(name: str) -> None:
    theme = THEMES[name]
    plain, halo, wire = looks_of(theme, "")
    assert not halo
    assert not wire
    assert plain.keys().isdisjoint({"color", "fontcolor", "peripheries", "penwidth"})


@pytest.mark.parametrize("name", ["light", "grey"])
def test_kinds_differ_in_lightness(name: str) -> None:
    lightness = sorted(lab(linear(fill))[0] for fill in THEMES[name].fills.values())
    assert min(high - low for low, high in pairwise(lightness)) >= 2.5


def test_grey_is_grey() -> None:
    theme = THEMES["grey"]
    marks = [colour for pair in theme.marks.values() for colour in pair]
    for colour in (*theme.fills.values(), *marks, theme.ink, theme.wire, theme.paper, theme.frame):
        assert len({colour[1:3], colour[3:5], colour[5:7]}) == 1


@pytest.mark.parametrize("name", THEMES)
def test_pictures_have_no_other_colours(name: str) -> None:
    theme = THEMES[name]
    known = {
        theme.paper,
        theme.frame,
        theme.ink,
        theme.wire,
        *theme.fills.values(),
        "black",
        "white",
        "none",
    }
    for cell in ("phased_lstm", "stacked_lstm", "layernorm_lstm"):
        svg = cellc.draw(cell, theme=name, captions=True, legend=True).svg()
        found = {text.split('"')[0] for text in svg.split('fill="')[1:]}
        found |= {text.split('"')[0] for text in svg.split('stroke="')[1:]}
        assert found <= known


@pytest.mark.parametrize("name", THEMES)
def test_pictures_of_two_cells_have_no_other_colours(name: str) -> None:
    theme = THEMES[name]
    roles = ("state", "input", "learned", "circle", "number", "join")
    looks = [theme.looks(role, kind, m) for role in roles for kind in ("", "time") for m in MARKS]
    looks += [*theme.defaults, *(each for mark in MARKS for each in looks_of(theme, mark))]
    known = re.findall(COLOUR, str(looks))
    drawing = cellc.draw("phased_lstm", base="peephole_lstm", theme=name, captions=True)
    assert {*re.findall(COLOUR, drawing.dot)} <= {*known}


@pytest.mark.parametrize("view", ["gates", "unrolled", "ops", "compare", "backward"])
def test_every_view_has_every_theme(view: str) -> None:
    drawn = {cellc.draw("gru", view, theme=name, captions=True, legend=True).dot for name in THEMES}
    assert len(drawn) == len(THEMES)


def legend_of(picture: nx.DiGraph[str]) -> str:
    """The source of a legend alone."""
    canvas = Canvas("c", THEMES["light"])
    canvas.point((0, 0))
    add_legend(canvas, picture, False, {})
    return canvas.source


@pytest.mark.parametrize("role", ["circle", "ellipse", "mixer", "learned", "join", "block"])
@pytest.mark.parametrize(
    ("kind", "says"), [("time", "clock"), ("norm", "one scale"), ("chance", "random")]
)
def test_the_legend_tells_of_every_kind_whatever_has_it(role: str, kind: str, says: str) -> None:
    picture: nx.DiGraph[str] = nx.DiGraph()
    picture.add_node("a", role=role, kind=kind, label="")
    assert says in legend_of(picture)


@pytest.mark.parametrize("name", ["bidirectional_rnn", "layernorm_lstm", "cnn_lstm", "phased_lstm"])
def test_the_legend_says_of_circles_what_is_true_of_all(name: str) -> None:
    text = cellc.draw(name, legend=True, expand="all" if cellc.load(name).applied else ()).svg()
    assert "number by number" not in text
    assert "one op" in text


@pytest.mark.parametrize("name", THEMES)
def test_chance_is_dashed_in_every_role(name: str) -> None:
    for role in ("circle", "ellipse", "mixer", "number", "learned", "join"):
        assert "dashed" in THEMES[name].looks(role, "chance")["style"]


def test_a_picture_without_tracks_is_finished_too() -> None:
    picture: nx.DiGraph[str] = nx.DiGraph()
    picture.add_node("a", role="block", label="a", tooltip="", kind="")
    canvas = Canvas("gru", THEMES["light"])
    canvas.box((0, 0), (40, 40), {"label": "a"})
    Page(captions=True, legend=True).finish(canvas, cellc.load("gru"), picture)
    assert "a cell in the cell" in canvas.source
    assert "tanh" in canvas.source
    assert "protected" not in canvas.source
