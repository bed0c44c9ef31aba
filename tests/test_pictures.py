"""What is written in pictures can be read, and every dependency of a cell is drawn once."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import sqrt

import pytest

import cellc
from cellc.passes.pipelines import optimise
from cellc.resources import shipped_specs
from cellc.views.drawing import Drawing
from cellc.views.geometry import Geometry
from cellc.views.names import step_values
from cellc.views.painter import Painter, value_of
from tests.test_diagram import SVG
from tests.test_geometry import inside

SPECS = list(shipped_specs())

#: The width of a letter as a part of its size: of the widest of common fonts on average.
WIDE = 0.62


def painted(cell: cellc.Cell) -> Painter:
    painter = Painter(cell)
    painter.paint()
    return painter


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_every_dependency_is_one_wire_and_every_wire_a_dependency(name: str, level: str) -> None:
    cell = optimise(cellc.load(name), level)
    painter = painted(cell)
    wanted = {(a, b) for a, b in _dependencies(painter) if a != b}
    drawn = Counter(
        (value_of(a), value_of(b)) for a, b in painter.picture.edges if value_of(a) != value_of(b)
    )
    assert set(drawn) == wanted
    assert set(drawn.values()) == {1}


def _dependencies(painter: Painter) -> Iterator[tuple[str, str]]:
    """From thing to thing: what stands for a value, to what stands for one computed from it.

    Weights and numbers without a name are not drawn. A join that one thing alone reads is where
    its wires meet.
    """
    cell, stands_for = painter.cell, painter.stands_for
    for user in step_values(cell):
        for operand in cell.nodes[user].args:
            ends = value_of(stands_for[operand]), value_of(stands_for[user])
            hidden = not cell.nodes[operand].type.extent and stands_for[operand] != operand
            if not hidden:
                yield ends
    following = cell.values("next")
    for state, value in following.items():
        yield value_of(stands_for[value]), f"next {state}"
    for output, value in cell.values("output").items():
        if value not in following.values():
            yield value_of(stands_for[value]), f"output {output}"
    for state, value in cell.values("start").items():
        if cell.nodes[value].type.extent:
            yield value_of(stands_for[value]), state


def lines_of(svg: str) -> Iterator[tuple[ET.Element, float, float, float, float]]:
    """Every line of text with what it is in: left and right end, baseline, size."""
    root = ET.fromstring(svg)
    for parent in root.iter():
        for text in parent.findall(f"{SVG}text"):
            sizes = [float(run.get("font-size", 15)) for run in (text, *text)]
            pieces = [
                (run.text or "", size) for run, size in zip((text, *text), sizes, strict=True)
            ]
            width = sum(WIDE * size * len(_letters(piece)) for piece, size in pieces)
            x = float(text.get("x", "0"))
            left = x - width / 2 if text.get("text-anchor") == "middle" else x
            yield parent, left, left + width, float(text.get("y", "0")), max(sizes)


def _letters(text: str) -> str:
    """A text without accents, which stand above letters."""
    return re.sub(r"[\u0300-\u036f]", "", text)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("view", ["gates", "unrolled"])
def test_texts_are_inside_of_the_picture_and_of_their_things(name: str, view: str) -> None:
    svg = cellc.draw(name, view, captions=view == "gates", legend=view == "gates").svg()
    root = ET.fromstring(svg)
    canvas = root.find(f"{SVG}g/{SVG}polygon")
    assert canvas is not None
    low_x, high_x, low_y, high_y = _box(canvas)
    for parent, left, right, y, size in lines_of(svg):
        assert low_x <= left
        assert right <= high_x + 4 + 0.03 * (right - left)
        assert low_y <= y - 0.8 * size
        assert y <= high_y
        if parent.get("class") == "node":
            round_ = parent.find(f"{SVG}ellipse")
            if round_ is None:
                _check_in_box(parent, left, right, y, size)
            else:
                _check_in_ellipse(round_, right - left, y, size)


def _check_in_box(thing: ET.Element, left: float, right: float, y: float, size: float) -> None:
    shape = next((part for tag in ("polygon", "path") for part in thing.findall(SVG + tag)), None)
    if shape is not None:
        box = _box(shape)
        assert box[0] - 1 <= left
        assert right <= box[1] + 1
        assert box[2] <= y - 0.7 * size
        assert y <= box[3]


def _check_in_ellipse(shape: ET.Element, width: float, y: float, size: float) -> None:
    """From its baseline up to half its size a line is narrower than the ellipse."""
    middle, wide, high = (float(shape.get(key, "0")) for key in ("cy", "rx", "ry"))
    for place in (y, y - size / 2):
        chord = 2 * wide * sqrt(max(0.0, 1 - ((place - middle) / high) ** 2))
        assert width <= chord + 2


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("view", ["gates", "unrolled"])
def test_labels_are_not_too_large_for_graphviz(
    name: str, view: str, capfd: pytest.CaptureFixture[str]
) -> None:
    cellc.draw(name, view, expand="all" if cellc.load(name).applied else ()).svg()
    assert "too small for label" not in capfd.readouterr().err


def test_graphviz_would_tell_of_a_label_that_is_too_large(
    capfd: pytest.CaptureFixture[str],
) -> None:
    looks = 'shape=box, fixedsize=true, width=0.1, height=0.1, pos="0,0"'
    Drawing(f'digraph {{ a [label="something wide", {looks}] }}').svg()
    assert "too small for label" in capfd.readouterr().err


def _box(shape: ET.Element) -> tuple[float, float, float, float]:
    points = re.findall(r"(-?[\d.]+),(-?[\d.]+)", shape.get("points", shape.get("d", "")))
    x, y = ([float(point[k]) for point in points] for k in (0, 1))
    return min(x), max(x), min(y), max(y)


@pytest.mark.parametrize("name", SPECS)
def test_letters_beside_wires_are_on_none(name: str) -> None:
    geometry = Geometry(painted(cellc.load(name)).picture)
    letters = {
        ends: geometry.beside(*ends)
        for ends in geometry.ways
        if geometry.picture.edges[ends]["slot"]
    }
    for x, y in letters.values():
        box = (x - 3.5, x + 3.5, y - 4, y + 4)
        for ends in geometry.ways:
            for start, end in pairwise(geometry.line(*ends)):
                assert not inside(start, end, box), ends
    for one, (x, y) in letters.items():
        for other, (a, b) in letters.items():
            assert one == other or abs(x - a) > 6 or abs(y - b) > 8
