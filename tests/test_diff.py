"""How two cells differ: as equations, declarations, figures and graphs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from cellc.resources import shipped_specs
from cellc.views.diff import Difference, compare_graphs, difference


def diff(before: str, after: str) -> Difference:
    """The difference of two shipped cells, or of two texts."""
    cells = [cellc.parse(t) if "\n" in t else cellc.load(t) for t in (before, after)]
    schedules = [cellc.schedule(cell) for cell in cells]
    return difference(schedules[0], schedules[1], (cells[0], cells[1]))


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["diff", *arguments])
    assert result.exit_code == status, result.output
    return result.output


def toy(body: str, head: str = "input x[H]\nstate h[H]") -> str:
    return f"cell toy\n{head}\n{body}\noutput h'\n"


def test_a_gate_that_is_coupled() -> None:
    found = diff("vanilla_lstm", "cifg")
    told = [(change.name, change.before is None, change.after is None) for change in found.changes]
    assert sorted(told) == [
        ("W_f", False, True), ("b_f", False, True), ("f", False, False), ("p_f", False, True),
    ]  # fmt: skip
    (f,) = [change for change in found.changes if change.kind == "equation"]
    assert (f.before, f.after) == ("f = sigmoid(W_f·[h, x] + p_f*c + b_f)", "f = 1 - i")
    assert not found.same
    (parameters, products, *_) = found.figures
    assert str(parameters.before - parameters.after) == "H*I + H^2 + 2*H"
    assert (str(products.before), str(products.after)) == ("1", "1")


def test_the_reverse_is_the_reverse() -> None:
    there, back = diff("lstm", "peephole_lstm"), diff("peephole_lstm", "lstm")
    turned = {(c.kind, c.name, c.after, c.before) for c in back.changes}
    assert {(c.kind, c.name, c.before, c.after) for c in there.changes} == turned
    assert there.graph.shared == back.graph.shared
    assert there.graph.only_before == back.graph.only_after
    assert [(f.before, f.after) for f in there.figures] == [
        (f.after, f.before) for f in back.figures
    ]


@pytest.mark.parametrize("name", tuple(shipped_specs()))
def test_a_cell_does_not_differ_from_itself(name: str) -> None:
    found = diff(name, name)
    assert found.same
    assert not found.changes
    assert not found.graph.only_before
    assert not found.graph.only_after
    assert found.graph.shared > 0


@pytest.mark.parametrize(("name", "twin"), [("np", "lstm"), ("relu_rnn", "irnn")])
def test_cells_with_one_key_have_one_graph(name: str, twin: str) -> None:
    graph = compare_graphs(cellc.load(name), cellc.load(twin))
    assert not graph.only_before
    assert not graph.only_after


def test_names_order_and_brackets_do_not_matter_to_the_graph() -> None:
    a = toy("a = tanh(x)\nh' = (a + h) + x*h")
    b = toy("b = tanh(x)\nh' = h*x + (h + b)")
    found = diff(a, b)
    assert found.same
    assert not found.graph.only_before
    assert not found.graph.only_after
    assert {(c.name, c.before is None) for c in found.changes} >= {("a", False), ("b", True)}
    assert not diff(toy("h' = tanh(x) + h*x"), toy("h' = x*h + tanh(x)")).changes


def test_what_is_shared_is_counted() -> None:
    found = diff(toy("h' = tanh(x) + h"), toy("h' = tanh(x)*h"))
    assert found.graph.shared == 3  # x, h and tanh(x)
    assert (found.graph.only_before, found.graph.only_after) == ({"add": 1}, {"multiply": 1})
    found = diff(toy("h' = tanh(W·x) + tanh(V·x) + h"), toy("h' = tanh(W·x) + h"))
    assert found.graph.shared == 5  # x, h, a weight, its product and tanh
    assert found.graph.only_before == {"param": 1, "matmul": 1, "tanh": 1, "add": 1}


def test_a_weight_of_another_shape_or_kind_is_another() -> None:
    frozen = toy("h' = tanh(W·x) + h", "input x[H]\nstate h[H]\nparam W_h[H, H] frozen = 1")
    graph = diff(toy("h' = tanh(W·x) + h"), frozen).graph
    assert graph.shared == 2
    assert diff("mut1", "gru").graph.shared < diff("gru_update", "gru").graph.shared


def test_states_are_told_apart_by_name_where_they_share_one() -> None:
    head = "input x[H]\nstate c[H], h[H]"
    found = diff(toy("h' = tanh(h)*x"), toy("h' = tanh(h)*x\nc' = c + h", head))
    assert found.graph.shared == 4
    assert found.graph.only_after == {"state": 1, "add": 1}
    (state, equation) = found.changes
    assert (state.before, state.after, equation.after) == (None, "state c[H]", "c' = c + h")


def test_declarations_and_outputs_are_compared() -> None:
    before = toy("h' = a*h + x", "input x[H]\nstate h[H]\noption a = 0.5")
    after = (
        "cell toy\ninput x[H], s[H] per sequence\nstate h[H] = s\noption a = 0.25\n"
        "h' = a*h + x\noutput h', tanh(h')\n"
    )
    told = {(c.before, c.after) for c in diff(before, after).changes}
    assert told == {
        (None, "input s[H] per sequence"), ("state h[H]", "state h[H] = s"),
        ("option a = 0.5", "option a = 0.25"), ("output h'", "output h', tanh(h')"),
    }  # fmt: skip


def test_applications_inside_each_other_are_compared_in_no_time() -> None:
    lines = "".join(f"f{n}(a) = f{n - 1}(a)*f{n - 1}(a)\n" for n in range(1, 12))
    text = toy(f"f0(a) = sigmoid(a)\n{lines}h' = f11(h) + x")
    assert diff(text, text.replace("+ x", "- x")).changes


def test_the_command_tells_it() -> None:
    text = " ".join(run("lstm", "peephole_lstm").split())
    assert "lstm → peephole_lstm the keys differ" in text
    assert "new param p_i[H]" in text
    assert "changed f = sigmoid(W_f·[h, x] + b_f) to f = sigmoid(W_f·[h, x] + p_f*c + b_f)" in text
    assert "parameters 98,816 99,200" in text
    assert "for I = 64, H = 128" in text
    assert "18 nodes compute the same in both." in text
    assert "the same cell: the keys are equal" in run("np", "lstm")


def test_a_size_is_for_the_cell_that_has_it() -> None:
    text = " ".join(run("highway", "lstm", "-s", "L=3", "-s", "I=8").split())
    assert "for H = 128, I = 8" in text
    assert f"parameters {3 * 2 * (128 * 128 + 128):,} {4 * 128 * (8 + 128 + 1):,}" in text
    run("highway", "lstm", "-s", "name=3", status=2)
    run("highway", "lstm", "-s", "L=99999999", status=2)


def test_the_command_speaks_json() -> None:
    facts: Any = json.loads(run("vanilla_lstm", "cifg", "-s", "H=10", "-s", "I=2", "--json"))
    assert facts["cells"] == ["vanilla_lstm", "cifg"]
    assert facts["same"] is False
    assert facts["new"] == []
    assert {"kind": "equation", "before": "f = sigmoid(W_f·[h, x] + p_f*c + b_f)",
            "after": "f = 1 - i"} in facts["changed"]  # fmt: skip
    assert [count["count"] for count in facts["figures"]["parameters"]] == [550, 410]
    assert facts["recurrences"] == ["dense", "dense"]
    assert facts["graph"]["shared"] + sum(facts["graph"]["only"][0].values()) == 35


def test_what_is_wrong_is_said() -> None:
    assert "did you mean `lstm`" in run("lstmm", "gru", status=1)
    assert "neither cell has a dimension `Q`" in run("lstm", "gru", "-s", "Q=3", status=2)
    assert "unknown-cell" in json.loads(run("a", "gru", "--json", status=1))["errors"][0]["code"]
    run("lstm", status=2)
