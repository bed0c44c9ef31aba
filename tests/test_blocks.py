"""Closed blocks and cells over steps: laid out well, and what is drawn is what depends."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import networkx as nx
import numpy as np
import pytest

import cellc
from cellc.ir.types import sequence_axis
from cellc.resources import shipped_specs
from cellc.views.blocks import Blocks
from cellc.views.board import Board
from cellc.views.closed import closed
from cellc.views.copies import Copies
from cellc.views.geometry import Geometry
from cellc.views.names import step_values
from cellc.views.opened import frames, opened
from cellc.views.painter import Painter
from cellc.views.placement import Placement
from cellc.views.unrolled import unrolled
from tests.running import Array, Trial, compiled, listed
from tests.test_diagram import SVG, joins, texts
from tests.test_geometry import check

SPECS = list(shipped_specs())
STEPS = 3

#: Whose random numbers leave a way without effect: gates that are shut, and zeros of relu.
SHUT = ("phased_lstm", "grid_lstm_2d_relu_depth", "irnn", "relu_rnn", "cnn_lstm")

#: Whose blocks join what depends on different steps: the picture allows more ways than there are.
WIDER = ("an old state as output",)

NESTED = """
network tower
input x[I]
output x -> stack(lstm, layers = 2)
network house
input x[I]
output x -> bidirectional(tower)
"""
ROW = """
network row
dim K labels
input x[H]
e = x -> residual(gru) -> stack(residual(lstm), layers = 2)
output e -> mean -> linear(K)
"""
DROPPED = """
network dropped
input x[I]
dim K labels
a = x -> lstm(H) -> dropout(0.5)
b = a -> gru(H) -> dropout(0.2)
output (b + a) -> lstm(H) -> linear(K)
"""
CLASSIFIER = """
network classifier
input x[I]
dim K labels
output x -> bidirectional(lstm) -> last -> linear(K)
"""
MEAN = """
network mean_of_both
input x[I]
dim K labels
output x -> stack(bidirectional(lstm), layers = 2) -> mean -> linear(K)
"""
CALLED = """
cell called
input x[I]
state h[H], c[H]
h', c' = lstm(x, h, c)
output h'
"""
OLD = """
cell old
input x[I]
state h[H], c[H]
h' = tanh(W·x + U·h)
c' = c + h
output h, c'
"""
DELAYS = """
cell delays
input x[I]
state h[H]
v = tanh(W·x + U·h + V·prev(x, 2) + b)
h' = v + 0.5*prev(v, 3)
output h', prev(v)
"""
HELD = """
cell held
dim K summary_size
input x[I]
input s[K] per sequence
state h[H] = tanh(P·s)
h' = tanh(W·x + U·h + V·s + Q·mean(x, time))
output h', last(h')
"""
MANY = """
cell many
input x0[I], x1[I], x2[I], x3[I], x4[I], x5[I], x6[I]
state h[H]
z = [h, x0, x1, x2, x3, x4, x5, x6]
f = sigmoid(W·z + b)
h' = f*tanh(W·z + V_1·x0 + V_2·x1 + V_3·x2 + V_4·x3 + V_5·x4 + V_6·x5 + b)
output h'
"""
ALIKE = """
network alike
input x[I]
h = x -> lstm -> linear(4) -> relu -> linear(2)
output h
"""
NUMBERED = """
cell numbered
axis depth[L] = 2
input x[I]
state h[H]
state y[H] along depth = P·x
v_1[H] = sigmoid(W·x + b)
h' = tanh(W·y + U·h + b)*v_1
y' = h'
output last(y')
"""
CELLS = {
    "an old state as output": OLD,
    "delays": DELAYS,
    "inputs of a sequence": HELD,
    "many wires to one thing": MANY,
    "labels alike": ALIKE,
    "a name like that of a position": NUMBERED,
    "dropped": DROPPED,
    "classifier": CLASSIFIER,
    "mean": MEAN,
    "nested": NESTED,
    "a row of layers": ROW,
    "a cell as a function": CALLED,
}


def laid_out(placement: Placement | Board) -> Geometry:
    return Geometry(placement.picture, placement)


def blocks_of(cell: cellc.Cell, *opened: str, whole: bool = False) -> Blocks:
    painter = Painter(cell)
    painter.paint()
    return Blocks(painter, opened, whole=whole)


@pytest.mark.parametrize("name", SPECS)
def test_shipped_cells_are_laid_out_well_over_steps(name: str) -> None:
    blocks = blocks_of(cellc.load(name), whole=True)
    board, stands_for = unrolled(blocks, STEPS)
    geometry = laid_out(board)
    check(geometry)
    assert stands_for.keys() == step_values(blocks.painter.cell)
    assert set(stands_for.values()) <= set(geometry.picture)


@pytest.mark.parametrize("name", ["lstm", "stacked_lstm", "bidirectional_lstm", "seq2seq_lstm"])
def test_gates_are_laid_out_well_over_steps(name: str) -> None:
    blocks = blocks_of(cellc.load(name), "all")
    assert not blocks.closed
    check(laid_out(unrolled(blocks, 2)[0]))
    assert texts(cellc.draw(name, "unrolled", expand="all", steps=2)).count("tanh") >= 4


@pytest.mark.parametrize("name", [n for n in SPECS if cellc.load(n).applied])
def test_networks_are_laid_out_well_when_closed(name: str) -> None:
    blocks = blocks_of(cellc.load(name))
    board, stands_for = closed(blocks)
    geometry = laid_out(board)
    check(geometry)
    assert stands_for.keys() == step_values(blocks.painter.cell)
    assert set(stands_for.values()) <= set(geometry.picture)


@pytest.mark.parametrize("name", CELLS)
def test_other_networks_are_laid_out_well(name: str) -> None:
    cell = cellc.parse(CELLS[name])
    check(laid_out(closed(blocks_of(cell))[0]))
    check(laid_out(unrolled(blocks_of(cell, whole=True), STEPS)[0]))


def paths(copies: Copies) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """For each input and step, the outputs and steps that a way leads to; step 0 for neither."""
    cell, picture = copies.painter.cell, copies.picture
    found = {}
    for name in cell.inputs:
        for step in _steps(cell, name):
            start = f"{name} @{step}" if step else name
            ends = nx.descendants(picture, start) if start in picture else set()
            found[name, step] = {
                (output, at)
                for output, value in cell.values("output").items()
                for at in _steps(cell, value)
                if (f"output {output} @{at}" if at else f"output {output}") in ends
            }
    return found


def effects(cell: cellc.Cell) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """The same, found by changing an input at one step and looking at what the cell gives."""
    trial = Trial(cell, 3, ragged=False, steps=STEPS, batch=1, size=3)
    kind = compiled(cell, "numpy", "O0")
    before, found = run(trial, kind), {}
    outputs = cell.values("output")
    for place, name in enumerate(cell.inputs):
        given = trial.inputs[place]
        for step in _steps(cell, name):
            changed = np.array(given)
            index = step - 1 if step else slice(None)
            other = trial.rng.permuted(changed[index].ravel()).reshape(changed[index].shape)
            changed[index] = (changed[index] + 1) % 3 if changed.dtype == int else other + 0.3
            trial.inputs[place] = changed
            after = run(trial, kind)
            trial.inputs[place] = given
            found[name, step] = {
                (output, at)
                for (output, value), a, b in zip(outputs.items(), before, after, strict=True)
                for at in _steps(cell, value)
                if np.any(a[at - 1] != b[at - 1] if at else a != b)
            }
    return found


def run(trial: Trial, kind: type) -> list[Array]:
    return listed(trial.run(kind, started=False)[0])


def _steps(cell: cellc.Cell, value: str) -> list[int]:
    axis = sequence_axis(cell.nodes[value].type.extent)
    return [0] if axis is None else list(range(1, STEPS + 1))


@pytest.mark.parametrize("name", SPECS)
def test_ways_over_steps_are_what_outputs_depend_on(name: str) -> None:
    cell = cellc.load(name)
    drawn, real = paths(Copies(blocks_of(cell, whole=True), STEPS)), effects(cell)
    for start, ends in real.items():
        assert ends <= drawn[start]
    if name not in SHUT:
        assert drawn == real


@pytest.mark.parametrize("name", CELLS)
def test_so_are_those_of_other_networks(name: str) -> None:
    cell = cellc.parse(CELLS[name])
    drawn, real = paths(Copies(blocks_of(cell, whole=True), STEPS)), effects(cell)
    assert all(ends <= drawn[start] for start, ends in real.items())
    assert drawn == real or name in WIDER


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", CELLS)
def test_other_networks_are_drawn_over_few_steps(name: str, steps: int) -> None:
    assert cellc.draw(cellc.parse(CELLS[name]), "unrolled", steps=steps).engine == "nop2"


def test_steps_are_those_at_which_values_are_read() -> None:
    picture = unrolled(blocks_of(cellc.parse(OLD), whole=True), STEPS)[0].picture
    for step in (1, 2, 3):
        assert f">{step - 1}<" in picture.nodes[f"output h @{step}"]["label"]
        assert f">{step}<" in picture.nodes[f"output c' @{step}"]["label"]
    picture = unrolled(blocks_of(cellc.parse(DELAYS), whole=True), STEPS)[0].picture
    starts = {
        key: item["label"] for key, item in picture.nodes(data=True) if item["role"] == "state"
    }
    assert ">0<" in starts["states prev_v_1"]
    assert ">−2<" in starts["states prev_v_3"]
    assert ">−1<" in starts["states prev_x_2"]
    assert "ht−1" in {_line(drawn) for drawn in _lines(cellc.draw(cellc.parse(OLD)).svg())}


def _lines(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{SVG}text"))


def _line(drawn: ET.Element) -> str:
    return "".join(part.text or "" for part in (drawn, *drawn))


def test_layers_of_an_equation_are_told_apart() -> None:
    shown = texts(cellc.draw(cellc.parse(ALIKE)))
    assert shown.count("linear") == 2
    assert "relu" in shown
    assert "lstm" in shown


def test_a_name_like_that_of_a_position_is_none() -> None:
    blocks = blocks_of(cellc.parse(NUMBERED))
    assert blocks.of["v_1"] == "v_1"
    assert {f"at {depth}" for depth in (1, 2)} <= set(blocks.titles)


def test_no_thing_has_more_wires_than_it_has_room_for() -> None:
    drawing = cellc.draw(cellc.parse(MANY))
    assert drawing.engine == "nop2"
    assert "Wires that go the same way." in drawing.dot


def test_dropout_is_between_what_it_is_written_between() -> None:
    geometry = laid_out(closed(blocks_of(cellc.parse(DROPPED)))[0])
    around = {
        (*geometry.picture.predecessors(key), *geometry.picture.successors(key))
        for key in geometry.picture
        if key.startswith("dropped")
    }
    total = next(key for key, item in geometry.picture.nodes(data=True) if item["label"] == "+")
    assert around == {("in a", total, "in b"), ("in b", total)}


def test_layers_are_blocks_with_their_states_on_both_sides() -> None:
    geometry = laid_out(closed(blocks_of(cellc.load("stacked_lstm")))[0])
    assert set(geometry.picture.edges) == {
        ("x", "in lstm_1"),
        ("states of in lstm_1", "in lstm_1"), ("in lstm_1", "next states of in lstm_1"),
        ("in lstm_1", "dropped by 35"), ("dropped by 35", "in lstm_2"),
        ("states of in lstm_2", "in lstm_2"), ("in lstm_2", "next states of in lstm_2"),
    }  # fmt: skip
    assert len(geometry.rails) == 4


def test_a_backward_layer_runs_from_right_to_left() -> None:
    geometry = laid_out(unrolled(blocks_of(cellc.load("bidirectional_lstm")), STEPS)[0])
    across = {key: geometry.middle(key)[0] for key in geometry.picture}
    forward, backward = ([f"in lstm_{way} @{step}" for step in (1, 2, 3)] for way in
                         ("forward", "backward"))  # fmt: skip
    assert sorted(forward, key=across.__getitem__) == forward
    assert sorted(backward, key=across.__getitem__) == backward[::-1]
    for step in (1, 2, 3):
        assert geometry.picture.has_edge(f"x @{step}", f"in lstm_backward @{4 - step}")


def test_a_decoder_follows_its_encoder() -> None:
    geometry = laid_out(unrolled(blocks_of(cellc.load("seq2seq_lstm")), STEPS)[0])
    for layer in (1, 2):
        first, second = f"in encoder_{layer} @3", f"in decoder_{layer} @1"
        assert geometry.picture.has_edge(first, second)
        assert geometry.middle(first)[1] == geometry.middle(second)[1]


def test_a_grid_has_both_memories_along_both_axes() -> None:
    geometry = laid_out(unrolled(blocks_of(cellc.load("grid_lstm_2d", L=3)), STEPS)[0])
    picture = geometry.picture
    assert [key for key in picture if picture.nodes[key]["role"] == "block"].__len__() == 9
    for depth in (1, 2, 3):
        row = {geometry.middle(f"at {depth} @{step}")[1] for step in (1, 2, 3)}
        assert len(row) == 1
        assert picture.edges[f"at {depth} @1", f"at {depth} @2"]["label"].count("<I>") == 2
    assert picture.edges["at 1 @1", "at 2 @1"]["label"].count("<I>") == 2


def test_a_grid_of_three_dimensions_has_a_block_at_every_place() -> None:
    drawing = cellc.draw("grid_lstm_3d", "unrolled", steps=2)
    shown = texts(drawing)
    assert [shown.count(f"{row}, {depth}") for row in (1, 2, 3) for depth in (1, 2)] == [2] * 6
    assert "row ↗" in " ".join(shown)


def test_what_is_expanded_shows_its_gates() -> None:
    assert "tanh" not in texts(cellc.draw("stacked_lstm"))
    assert "tanh" in texts(cellc.draw("stacked_lstm", expand="all"))
    assert "tanh" in texts(cellc.draw("stacked_lstm", expand=["lstm_2"]))
    assert joins(cellc.draw("stacked_lstm", expand="lstm_2")) >= 1
    house = cellc.parse(NESTED)
    assert "tower forward" in texts(cellc.draw(house))
    assert "tower forward lstm 1" in texts(cellc.draw(house, expand="tower"))
    assert "tanh" in texts(cellc.draw(house, expand=["tower", "lstm"]))


def test_a_cell_alone_is_one_block_over_steps() -> None:
    shown = texts(cellc.draw("phased_lstm", "unrolled", steps=4))
    assert shown.count("phased") + shown.count("phased_lstm") == 4


@pytest.mark.parametrize("name", [n for n in SPECS if cellc.load(n).applied])
def test_frames_hold_what_is_opened_and_nothing_else(name: str) -> None:
    blocks = blocks_of(cellc.load(name), "all")
    placement, stands_for = opened(blocks)
    geometry = laid_out(placement)
    around = list(frames(blocks, geometry))
    check(geometry)
    assert stands_for.keys() == step_values(blocks.painter.cell)
    inside = blocks.opened_in()
    for frame in around:
        (x, y), (width, height) = frame.middle, frame.size
        there = {
            key
            for key in geometry.at
            if abs(geometry.middle(key)[0] - x) < width / 2
            and abs(geometry.middle(key)[1] - y) < height / 2
        }
        homes = [set(inside.get(key, ())) for key in there]
        assert set.intersection(*homes)
    labels = {label for labels in inside.values() for label in labels}
    assert len(around) == len(labels)
