"""The gate diagram: every cell renders, the same way each time, and loses no value."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import cellc
from cellc.diagnostics import CellcError
from cellc.ir import Cell
from cellc.passes.pipelines import optimise
from cellc.resources import shipped_specs
from cellc.views.diagram import diagram
from cellc.views.drawing import Drawing
from cellc.views.names import Naming, step_values
from cellc.views.theme import THEMES

SPECS = list(shipped_specs())
MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-", ".svg": b"<svg ", ".dot": b"digraph"}
#: Sums that are two things, a learned box and a circle for what is added unweighted.
SPLIT = {"gated_feedback_gru": 2, "gru_reset_after": 1, "mut1": 1, "mut2": 1,
         "recurrent_highway": 2}  # fmt: skip
FILLS = THEMES["light"].fills
SVG = "{http://www.w3.org/2000/svg}"

EVERYTHING = """
cell everything
input x[I]
input t
state h[H], c[H]
param τ[H]
param p[H]
leak = 0.001
i  = sigmoid(W_xi·x + W_hi·prev(h, 2) + b)
ĝ  = tanh(W·x - U·prev(x) + b)
c̃  = i*c + (1 - i)*ĝ
φ  = mod(t - p, τ)/τ            # phase <of> the "cycle" & more \\N
k  = where(φ < 0.5, 2*φ, leak*φ)
c' = k*c̃ + (1 - k)*c
h' = max(0, c')*softmax(U·c')^2*h
output h', sigmoid(c')
"""


def learned_boxes(drawing: Drawing) -> int:
    return drawing.dot.count(f'fillcolor="{FILLS["learned"]}"')


def circles(drawing: Drawing) -> int:
    return drawing.dot.count(f'fillcolor="{FILLS["op"]}"')


def joins(drawing: Drawing) -> int:
    """The dots at which values are joined; those at which wires fork say nothing."""
    lines = drawing.dot.splitlines()
    return sum("shape=point" in line and "tooltip=" in line for line in lines)


def texts(drawing: Drawing) -> list[str]:
    """What is written in a picture, letter and subscript apart."""
    lines = ET.fromstring(drawing.svg()).iter(f"{SVG}text")
    return [part.text for line in lines for part in (line, *line) if part.text]


def tooltips(drawing: Drawing) -> list[str]:
    return [title.text or "" for title in ET.fromstring(drawing.svg()).iter(f"{SVG}title")]


def computed(cell: Cell) -> set[str]:
    """The named values of a step that are computed."""
    return {
        name for name in step_values(cell) if not cell.nodes[name].op.leaf and not name.isdigit()
    }


def nexts(cell: Cell) -> list[str]:
    return [*cell.values("next").values()]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_every_spec_is_drawn_the_same_way_twice(name: str, level: str) -> None:
    cell = optimise(cellc.load(name), level)
    drawing = diagram(cell)
    assert ET.fromstring(drawing.svg()).tag == f"{SVG}svg"
    assert diagram(cell).svg() == drawing.svg()


@pytest.mark.parametrize("name", SPECS)
def test_gates_and_ends_are_named(name: str) -> None:
    cell = cellc.load(name)
    drawing, naming = diagram(cell), Naming(cell)
    shown = texts(drawing)
    for value in computed(cell) | {*cell.inputs, *cell.states}:
        symbol = naming.symbol(value)
        joined_at_the_edge = drawing.stands_for.get(value, "").startswith("output ")
        if not cell.nodes[value].type.extent or joined_at_the_edge:
            continue
        assert symbol.stem in shown
        assert not symbol.above or f"({','.join(symbol.above)})" in shown
    below = [text.rpartition(",")[2] for text in shown]
    assert below.count("t−1") + below.count("s−1") == len(cell.states)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_every_value_of_the_step_is_drawn_or_absorbed(name: str, level: str) -> None:
    cell = optimise(cellc.load(name), level)
    drawing = diagram(cell)
    assert drawing.stands_for.keys() == step_values(cell)
    drawn = sum("tooltip=" in line for line in drawing.dot.splitlines())
    ends = len(cell.states) + len(set(cell.values("output").values()) - set(nexts(cell)))
    shown = {key for key in drawing.stands_for.values() if not key.startswith(("next ", "output "))}
    split = drawn - len(shown) - ends
    assert split == SPLIT.get(name, 0) if level == "O0" else split >= 0


@pytest.mark.parametrize(
    ("name", "boxes", "pointwise"),
    [("rnn", 1, 0), ("lstm", 4, 5), ("gru", 3, 5), ("peephole_lstm", 4, 5), ("cifg", 3, 6),
     ("gru_reset_after", 4, 7), ("nig", 3, 5), ("mut3", 3, 6)],
)  # fmt: skip
def test_a_learned_affine_expression_is_one_box(name: str, boxes: int, pointwise: int) -> None:
    drawing = diagram(cellc.load(name))
    assert (learned_boxes(drawing), circles(drawing)) == (boxes, pointwise)


def test_names_of_joined_values_are_drawn() -> None:
    drawing = diagram(cellc.parse(
        "cell c\ninput x[I]\nstate h[H]\nparam R[H, H + I]\nj = concat(x, h)\n"
        "h' = tanh(R·(j*j))\noutput h'\n"
    ))  # fmt: skip
    assert joins(drawing) == 1
    assert "j" in texts(drawing)


def test_wires_mean_the_same_wherever_graphviz_places_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = optimise(cellc.load("peephole_lstm"), "O0")
    placed = diagram(cell)
    monkeypatch.setattr("cellc.views.placed._MOST_ROUTED", 0)
    free = diagram(cell)
    assert (placed.engine, free.engine) == ("nop2", "dot")
    assert free.dot.count("style=dashed") == placed.dot.count("style=dashed") == 3
    drawing = diagram(cellc.parse(
        "cell c\ninput x[H]\nstate h[H]\nh' = where(x > 0, h, x)/(1 + exp(x))\noutput h'\n"
    ))  # fmt: skip
    assert "headlabel" in drawing.dot


@pytest.mark.parametrize("name", SPECS)
def test_what_applies_cells_is_closed_until_it_is_expanded(name: str) -> None:
    cell = cellc.load(name)
    drawing, gates, opened = cellc.draw(cell), diagram(cell), cellc.draw(cell, expand="all")
    keeps = any(cell.applied[label] != "linear" for label in cell.applied)
    many = len(gates.stands_for) > 0 and bool(cell.axes)
    assert (drawing.dot != gates.dot) == keeps or many or cell.kind == "network"
    assert (opened.dot == gates.dot) == (not cell.applied) or cell.kind == "network"
    for each in (drawing, opened):
        assert each.stands_for.keys() == step_values(cell)


def test_what_starts_a_decoder_is_dotted() -> None:
    drawing = cellc.draw(cellc.load("seq2seq_lstm"))
    shown = texts(drawing)
    loops = ["encoder 1", "encoder 2", "decoder 1", "decoder 2"]
    assert sorted(text for text in shown if text in loops) == sorted(loops)
    assert shown.count("last") == drawing.dot.count("style=dotted") == 4
    assert drawing.stands_for["encoder_1_f"] == drawing.stands_for["encoder_1_h'"]


def test_a_start_from_an_input_is_dotted_and_has_no_step() -> None:
    drawing = diagram(cellc.load("one_to_many"))
    assert drawing.dot.count("style=dotted") == 1
    assert "x" in texts(drawing)
    assert "style=dotted" not in diagram(cellc.load("lstm")).dot


def test_positions_and_applied_cells_stand_above() -> None:
    shown = texts(diagram(cellc.load("grid_lstm_2d")))
    assert {"(2)", "(h1,1)", "(h2,2)"} <= set(shown)
    assert not any("_" in text for text in shown)


def test_peepholes_are_dashed() -> None:
    assert diagram(cellc.load("peephole_lstm")).dot.count("style=dashed") == 3
    assert "style=dashed" not in diagram(cellc.load("lstm")).dot


def test_concatenations_are_joined_once() -> None:
    assert joins(diagram(cellc.load("lstm"))) == 1
    alone = cellc.parse("cell a\ninput x[I]\nstate h[H]\nh' = tanh(W·[h, x] + b)\noutput h'\n")
    assert joins(diagram(alone)) == 0


def test_small_letters_stand_low_in_every_viewer() -> None:
    svg = diagram(cellc.load("lstm")).svg()
    assert "baseline-shift" not in svg
    lines = [[part.attrib for part in line] for line in ET.fromstring(svg).iter(f"{SVG}text")]
    letter, step = next(line for line in lines if len(line) == 2)
    assert letter == {"font-style": "italic"}
    assert step == {"font-size": "10", "dy": "3"}


def test_things_have_their_names_as_ids() -> None:
    ids = {group.get("id") for group in ET.fromstring(diagram(cellc.load("lstm")).svg()).iter()}
    assert {"f", "i", "o", "g", "c", "h", "x"} <= ids


def test_a_coupled_gate_is_one_minus_the_other() -> None:
    assert "1−" in texts(diagram(cellc.load("cifg")))


def test_comments_and_equations_are_tooltips() -> None:
    assert "f = sigmoid(W_f·[h, x] + b_f)\n[H]\nforget gate" in tooltips(
        diagram(cellc.load("lstm"))
    )


def test_every_kind_of_value_can_be_drawn() -> None:
    cell = cellc.parse(EVERYTHING)
    drawing = diagram(cell)
    shown = texts(drawing)
    assert {"φ", "k", "ĝ", "c̃", "?", "^2", "t−3", "÷"} <= set(shown)
    assert any('phase <of> the "cycle" & more' in tip for tip in tooltips(drawing))
    assert drawing.stands_for.keys() == step_values(cell)
    assert diagram(optimise(cell, "O2")).svg()


@pytest.mark.parametrize(("value", "shown"), [("h0", "h0"), ("3*h0", "3*h0"), ("x", "x")])
def test_a_next_value_that_is_no_computed_one_is_drawn(value: str, shown: str) -> None:
    text = f"cell a\ninput x[H]\nstate h[H]\nparam h0[H]\nh' = {value}\noutput h + x + h0\n"
    assert shown in texts(diagram(cellc.parse(text)))


@pytest.mark.parametrize("suffix", MAGIC)
def test_files_begin_as_their_format_does(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"lstm{suffix}"
    drawing = diagram(cellc.load("lstm"))
    drawing.save(path)
    drawing.save(str(path))
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["lstm.gif", "lstm"])
def test_what_cannot_be_written_leaves_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(CellcError) as caught:
        diagram(cellc.load("lstm")).save(tmp_path / name)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "unwritable"
    if "missing" not in name:
        assert diagnostic.hints == ("known endings: .svg, .png, .pdf, .dot",)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "lstm.svg").mkdir()
    with pytest.raises(CellcError):
        diagram(cellc.load("lstm")).save(tmp_path / "lstm.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["lstm.svg"]


def test_a_notebook_shows_it() -> None:
    drawing = cellc.draw(cellc.load("gru"))
    bundle = drawing._repr_mimebundle_()
    assert bundle["image/svg+xml"] == drawing._repr_svg_() == drawing.svg()
    assert bundle["text/plain"] == "Drawing(title='gru')"
