"""Transforms: a value redefined, what nothing reads taken out, and what went."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import cellc
from cellc.diagnostics import CellcError
from cellc.ir import Cell, verify
from cellc.ops.notation import expression_of
from cellc.resources import shipped_specs
from cellc.views.summary import cost_of
from tests.running import Trial, difference
from tests.test_cli import run

#: A base, an equation, and the shipped cell that it makes of the base.
KNOWN = [
    ("vanilla_lstm", "f = 1 - i", "cifg"),
    ("vanilla_lstm", "i = 1 - f", "cifg_forget"),
    ("vanilla_lstm", "f = 1", "nfg"),
    ("vanilla_lstm", "i = 1", "nig"),
    ("vanilla_lstm", "o = 1", "nog"),
    ("gru", "h' = (1 - z)*h + z*n", "gru_update"),
    ("gru_update", "h' = z*h + (1 - z)*n", "gru"),
]


@pytest.mark.parametrize(("base", "equation", "other"), KNOWN)
def test_coupling_makes_a_known_cell(base: str, equation: str, other: str) -> None:
    made = cellc.couple(cellc.load(base), equation)
    verify(made)
    assert made.key() == cellc.load(other).key()
    assert set(made.params) == set(cellc.load(other).params)
    assert made.lineage[-1] == base
    assert difference(Trial(made, 3).numpy("O2"), Trial(cellc.load(other), 3).numpy("O0")) < 1e-12


def _gates(cell: Cell) -> list[str]:
    """The named values that have an equation and are a function of one value."""
    kinds = ("sigmoid", "tanh", "relu", "softmax")
    return [n for n, node in cell.nodes.items() if node.op.name in kinds and not n.isdigit()]


ALL_PAIRS = [
    (name, *pair)
    for name in shipped_specs()
    if not any(a.fixed for a in cellc.load(name).dims.values()) and "_" not in name[:2]
    for pair in permutations(_gates(cellc.load(name)), 2)
]
#: Of all pairs, the everyday suite takes every so-manieth.
EVERYDAY = 6
PAIRS = [
    pytest.param(*pair, marks=[] if k % EVERYDAY == 0 else pytest.mark.slow)
    for k, pair in enumerate(ALL_PAIRS)
]


@pytest.mark.parametrize(("name", "target", "other"), PAIRS)
def test_coupling_is_deriving(name: str, target: str, other: str) -> None:
    """The transform gives what the language gives, by key, or refuses what it refuses."""
    for value in (f"1 - {other}", other, f"dropout({other}, 0.5)", f"clip(prev({other}), 0, 1)"):
        shape = cellc.load(name).nodes[target].type.shape
        equation = f"{target}[{', '.join(map(str, shape))}] = {value}"
        try:
            derived = cellc.parse(f"cell other from {name}\n{equation}\n")
        except CellcError as error:
            code = error.diagnostics[0].code
            if code in ("unknown-name", "unknown-shape") or (code == "cycle" and "prev" in value):
                continue  # names inside applied cells, shapes not known in time
            with pytest.raises(CellcError) as caught:
                cellc.couple(cellc.load(name), equation)
            assert caught.value.diagnostics[0].code == code
            continue
        made = cellc.couple(cellc.load(name), equation)
        verify(made)
        if made.states == derived.states:  # what `prev` adds to a cell with delays comes last
            assert made.key() == derived.key(), equation
        assert set(made.states) == set(derived.states)
        assert (made.inputs, made.options) == (derived.inputs, derived.options)
        assert set(made.params) == set(derived.params)
        assert made.dims == derived.dims


def test_there_are_pairs_in_many_cells() -> None:
    assert len({name for name, *_ in PAIRS}) >= 15


def test_what_a_coupling_removed_is_told() -> None:
    base = cellc.load("vanilla_lstm")
    gone = cellc.removed(base, cellc.couple(base, "f = 1 - i"))
    assert gone.equations == {"f": "sigmoid(W_f·[h, x] + p_f*c + b_f)"}
    assert gone.parameters == {"W_f": "[H, H + I]", "b_f": "[H]", "p_f": "[H]"}
    assert gone.numbers.evaluate({"I": 3, "H": 4}) == 4 * 7 + 4 + 4
    assert gone.products == 1
    assert gone.flops.evaluate({"I": 3, "H": 4}) == 2 * 4 * 7 + 6 * 4
    assert not cellc.removed(base, base).lines()


def test_a_coupled_gate_costs_a_quarter_less() -> None:
    """Of four products three stay; at I = H = 512 that is at most 0.76 of the operations."""
    base = cellc.load("vanilla_lstm")
    sizes = {"I": 512, "H": 512}
    for level in ("O0", "O2"):
        flops = [
            cost_of(cellc.schedule(cell, level)).flops.evaluate(sizes)
            for cell in (base, cellc.couple(base, "f = 1 - i"), cellc.load("cifg"))
        ]
        assert flops[1] == flops[2]
        assert 0.74 < flops[1] / flops[0] <= 0.76


def test_several_couplings_follow_each_other() -> None:
    cell = cellc.couple(cellc.load("lstm"), "f = 1 - i", "i = o")
    assert {n for n in cell.params if n.startswith("W")} == {"W_g", "W_o"}
    assert cell.name == "lstm_coupled"
    assert cell.lineage == ("lstm", "lstm_coupled")


def test_delays_come_and_go() -> None:
    cell = cellc.load("fgr")
    assert any(expression_of(cell, state).startswith("prev") for state in cell.states)
    plain = cellc.couple(cell, "i = abs(g)", "f = 1 - i", "o = i")
    assert plain.states == ("h", "c")
    made = cellc.couple(cellc.load("rnn"), "h' = tanh(prev(h') + prev(h', 2))")
    assert made.states == ("h", "prev_h_1")
    assert made.inputs == ()


@pytest.mark.parametrize(
    ("equation", "code"),
    [
        ("q = 1 - i", "unknown-name"),
        ("f = 1 - q", "unknown-name"),
        ("x = 1 - i", "not-an-equation"),
        ("c = f", "not-an-equation"),
        ("W_f = i", "not-an-equation"),
        ("f = 1 - i\ng = i", "not-an-equation"),
        ("state q[H]", "not-an-equation"),
        ("f, g = lstm(x)", "not-an-equation"),
        ("", "not-an-equation"),
        ("f = 1 -", "syntax"),
        ("f = 1 - i i", "missing-operator"),
        ("f = 1 - tanhh(i)", "unknown-function"),
        ("f = lstm(x)", "unknown-function"),
        ("f = x -> linear(H)", "not-a-layer"),
        ("f = x", "shape-clash"),
        ("f[I] = 1 - i", "shape-clash"),
        ("f = i + x", "shape-clash"),
        ("f = i > 0", "shape-clash"),
        ("h' = 1", "shape-clash"),
        ("f = W_i·[h, x]", "parameter-shared"),
        ("f = 1 - f", "cycle"),
        ("f = 1 - c'", "cycle"),
        ("f = f", "cycle"),
        ("f = 1/0", "not-finite"),
        ("f = dropout(i, 2)", "bad-probability"),
        ("f = last(i)", "sequence-in-loop"),
    ],
)
def test_what_cannot_be_coupled_is_explained(equation: str, code: str) -> None:
    with pytest.raises(CellcError) as caught:
        cellc.schedule(cellc.couple(cellc.load("vanilla_lstm"), equation))
    assert [d.code for d in caught.value.diagnostics] == [code]


SPARE = """
cell spare
input x[I], t
state h[H], s[H], k[H], q[H], idle[H]
param p[H]
option rate = 0.5
h' = tanh(W·x + U·h + k)
k' = 0.5*k + q
q' = 0.3*q + 0.1*x_2
x_2[H] = tanh(V·x)
s' = tanh(p*t + U·s + rate*h)
idle' = idle
output h'
"""


def test_pruning_takes_out_what_no_output_depends_on() -> None:
    cell = cellc.parse(SPARE)
    pruned = cellc.prune(cell)
    verify(pruned)
    assert pruned.states == ("h", "k", "q")
    assert pruned.inputs == ("x",)
    assert pruned.options == ()
    assert set(pruned.params) == {"W_h", "U_h", "V_x_2"}
    gone = cellc.removed(cell, pruned)
    assert (gone.states, gone.inputs, gone.options) == (["s", "idle"], ["t"], ["rate"])
    assert cellc.prune(pruned) is pruned
    whole = cellc.compile(cell, "numpy")(input_size=3, hidden_size=4)
    part = cellc.compile(pruned, "numpy")(input_size=3, hidden_size=4)
    part.params = {name: whole.params[name] for name in part.params}
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    assert np.array_equal(whole(x, np.ones((5, 2)))[0], part(x)[0])


def test_passes_keep_what_no_output_depends_on() -> None:
    """And it does not hold up the others: each is a loop of its own."""
    cell = cellc.parse(SPARE)
    for level in ("O0", "O1", "O2"):
        schedule = cellc.schedule(cell, level)
        assert set(schedule.cell.states) == {"h", "s", "k", "q", "idle"}
        assert set(schedule.cell.inputs) == {"x", "t"}
        assert {loop.carries for loop in schedule.loops} >= {("k",), ("q",), ("idle",)}
        (idle,) = [loop for loop in schedule.loops if loop.carries == ("idle",)]
        assert idle.values == ("idle",)


def test_every_shipped_cell_is_needed_whole() -> None:
    for name in shipped_specs():
        cell = cellc.load(name)
        assert set(cellc.prune(cell).params) == set(cell.params), name


def test_the_command_line_couples() -> None:
    base = cellc.load("vanilla_lstm")
    result = run("compile", "vanilla_lstm", "--couple", "f = 1 - i", "--target", "numpy")
    assert "W_f[H, H + I]" in result.stderr
    assert result.stdout == cellc.emit(cellc.couple(base, "f = 1 - i"), "numpy")
    shown = run("show", "vanilla_lstm", "--couple", "f = 1 - i").stdout
    assert cellc.load("cifg").key() in shown
    assert "vanilla_lstm_coupled ← vanilla_lstm ← peephole_lstm" in shown
    assert "to  f = 1 - i" in shown
    twice = run("ir", "vanilla_lstm", "--couple", "f = 1 - i", "--couple", "o = 1").stdout
    assert "W_o" not in twice
    assert "W_f" not in twice
    assert "lerp" in run("explain", "vanilla_lstm", "--couple", "f = 1 - i").stdout
    run("draw", "vanilla_lstm", "--couple", "f = 1 - i")
    assert Path("vanilla_lstm_coupled.svg").exists()
    error = run("compile", "vanilla_lstm", "--couple", "f = 1 - q", status=1)
    assert "unknown-name" in error.stderr


def test_the_command_line_prunes() -> None:
    text = "cell two\ninput x[H]\nstate h[H], s[H]\nh' = tanh(x + h)\ns' = s + x\noutput h'\n"
    Path("two.cell").write_text(text, encoding="utf-8")
    result = run("ir", "two.cell", "--prune")
    assert "state s" in result.stderr
    assert "%s =" not in result.stdout
    assert "%s =" in run("ir", "two.cell").stdout


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
