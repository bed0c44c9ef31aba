"""The IR: dimensions, types, text, verification and keys."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cellc
from cellc.ir import Cell, Dim, Node, Result, Type, parse_cell, print_cell, verify
from cellc.ir.types import positions
from cellc.ops import TABLE

DIMS = st.recursive(
    st.one_of(st.integers(-3, 5).map(Dim.of), st.sampled_from("HIK").map(Dim.of)),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda t: {"+": t[0] + t[2], "-": t[0] - t[2], "*": t[0] * t[2]}[t[1]]
    ),
    max_leaves=6,
)
SIZES = {"H": 7, "I": 3, "K": 2}


@given(DIMS, DIMS, DIMS)
def test_dimensions_are_a_ring_in_normal_form(a: Dim, b: Dim, c: Dim) -> None:
    assert a + b == b + a
    assert a * (b + c) == a * b + a * c
    assert (a - a) == Dim.of(0)
    assert (a * b).evaluate(SIZES) == a.evaluate(SIZES) * b.evaluate(SIZES)
    assert eval(str(a).replace("^", "**"), dict(SIZES)) == a.evaluate(SIZES)  # noqa: S307


@given(DIMS)
def test_dimensions_round_trip_in_the_text(dim: Dim) -> None:
    node = Node(TABLE["size"], (), Type((), frozenset()), (("dim", dim),))
    cell = Cell("one", {"n": node}, (Result("output", "n", "n"),))
    assert parse_cell(print_cell(cell), TABLE) == cell


def test_division_of_dimensions_is_exact() -> None:
    groups = Dim.of("H") / "K"  # type: ignore[operator]
    assert groups * "K" == Dim.of("H")  # type: ignore[operator]
    assert groups.evaluate({"H": 6, "K": 2}) == 3
    with pytest.raises(ValueError, match="no whole number"):
        groups.evaluate({"H": 7, "K": 2})
    with pytest.raises(ValueError, match="divided by the sum"):
        Dim.of("H") / (Dim.of("H") + 1)


def test_containment_must_be_without_doubt() -> None:
    h, n, s = map(Dim.of, "HNS")
    assert positions((n,), (n, s)) == (0,)
    assert positions((s,), (n, s)) == (1,)
    assert positions((), (n, s)) == ()
    assert positions((h,), (n, s)) is None
    assert positions((h,), (h, h)) is None


def test_cells_cannot_be_written() -> None:
    cell = cellc.load("lstm")
    with pytest.raises(TypeError):
        cell.nodes["f"] = cell.nodes["i"]  # type: ignore[index]
    with pytest.raises(nx.NetworkXError):
        cell.graph.add_edge("f", "i")
    with pytest.raises(AttributeError):
        cell.name = "other"  # type: ignore[misc]


def test_cells_copy_and_pickle() -> None:
    cell = cellc.load("peephole_lstm")
    assert deepcopy(cell) == cell
    assert pickle.loads(pickle.dumps(cell)).key() == cell.key()


def test_an_edge_carries_the_slots_it_fills() -> None:
    cell = cellc.parse("cell s\ninput x[H]\nstate h[H]\nh' = h*h + x\noutput h'\n")
    (product,) = [n for n, node in cell.nodes.items() if node.op.name == "multiply"]
    assert cell.graph.edges["h", product]["slots"] == (0, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: replace(n, type=Type((Dim.of("I"),), n.type.extent)), "is inferred"),
        (lambda n: replace(n, args=(*n.args, "f")), "does not take"),
        (lambda n: replace(n, args=("h'", *n.args[1:])), "does not precede"),
    ],
)
def test_verify_finds_what_is_wrong(change: object, said: str) -> None:
    cell = cellc.load("lstm")
    nodes = dict(cell.nodes) | {"c'": change(cell.nodes["c'"])}  # type: ignore[operator]
    with pytest.raises(cellc.CellcError, match=said):
        verify(cell.replace(nodes))


def test_verify_asks_for_an_update_of_every_state_and_an_output() -> None:
    cell = cellc.load("lstm")
    kept = [r for r in cell.results if r.role not in ("next", "output")]
    with pytest.raises(cellc.CellcError, match="one to one") as error:
        verify(cell.replace(cell.nodes, kept))
    assert "no output" in str(error.value)


@pytest.mark.parametrize("text", ["cell", "cell x\n%1 = nonsense() : [] over {}", "cell x\n%1 ="])
def test_faulty_text_is_a_diagnostic(text: str) -> None:
    with pytest.raises(cellc.CellcError):
        parse_cell(text, TABLE)


SWAPS = [
    ("f*c + i*g", "i*g + f*c"),
    ("f*c", "c*f"),
    ("o*tanh(c')", "tanh(c')*o"),
    ("W·[h, x] + b)      # forget", "b + W·[h, x])      # forget"),
]


@pytest.mark.parametrize(("old", "new"), SWAPS)
def test_commuted_operands_keep_the_key(old: str, new: str) -> None:
    text = cellc.resources.shipped_specs()["lstm"].read_text()
    assert old in text
    assert cellc.parse(text.replace(old, new)).key() == cellc.load("lstm").key()


CHANGES = [
    ("f*c + i*g", "f*c - i*g"),
    ("f*c + i*g", "f*c + i*i*g"),
    ("[h, x]", "[x, h]"),
    ("tanh(c')", "tanh(c)"),
    ("output h'", "output c'"),
    ("state h[H], c[H]", "state c[H], h[H]"),
    ("c' = f*c", "c' = f*h"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_other_equations_have_another_key(old: str, new: str) -> None:
    text = cellc.resources.shipped_specs()["lstm"].read_text()
    assert old in text
    assert cellc.parse(text.replace(old, new)).key() != cellc.load("lstm").key()


def test_which_gate_shares_with_which_matters_to_the_key() -> None:
    def tied(first: str, second: str) -> str:
        gates = "fiog"
        lines = [f"{g}_ = W_{'s' if g in (first, second) else g}·[h, x] + b" for g in gates]
        functions = ["f = sigmoid(f_)", "i = sigmoid(i_)", "o = sigmoid(o_)", "g = tanh(g_)"]
        return cellc.parse(
            "cell t\ninput x[I]\nstate h[H], c[H]\nparam W_s[H, H + I] shared\n"
            + "\n".join([*lines, *functions])
            + "\nc' = f*c + i*g\nh' = o*tanh(c')\noutput h'\n"
        ).key()

    keys = {tied(a, b) for a in "fiog" for b in "fiog" if a < b}
    assert len(keys) == 6


def test_equal_cells_have_equal_hashes() -> None:
    cell = cellc.load("lstm")
    assert {cell, parse_cell(print_cell(cell), TABLE)} == {cell}
