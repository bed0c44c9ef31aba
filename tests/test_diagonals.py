"""Loops that follow each other and take their steps together, along anti-diagonals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from cellc.ir import Loop, parse_schedule, print_schedule, verify, verify_schedule
from cellc.ops import TABLE
from cellc.passes.diagonals import choice, retimed
from cellc.passes.pipelines import optimise
from cellc.passes.plan import along_diagonals, plan
from cellc.resources import shipped_specs
from tests.running import Array, GradientTrial, compiled, difference, listed

GOLDEN = Path(__file__).parent / "golden"

#: Shipped cells that run along diagonals, with lengths of their axes.
SHIPPED = [
    ("deep_rnn", 2),
    ("deep_rnn", 4),
    ("stacked_lstm", 2),
    ("stacked_lstm", 3),
    ("grid_lstm_2d", 2),
    ("grid_lstm_2d", 4),
    ("grid_lstm_2d_priority", 3),
    ("grid_lstm_2d_relu_depth", 3),
    ("grid_lstm_2d_tied", 4),
    ("grid_lstm_3d", None),
]

#: Equations behind `input x[H]`, by what is odd about them.
ODD = {
    "layers of different kinds": """
        state a[H], b[H], c[H]
        a' = tanh(W·x + U·a)
        f = sigmoid(V·a' + R·b)
        b' = f*b + (1 - f)*tanh(S·a')
        c' = relu(P·b' + Q·c)
        output c'""",
    "ways past the layers": """
        param R[H, H]
        state a[H], b[H], c[H]
        a' = tanh(W_1·x + U_1·a)
        b' = tanh(W_2·a' + U_2·b + x)
        c' = tanh(W_3·b' + U_3·c + V·x + a')
        output a' + b', c', tanh(R·a')""",
    "two loops below one": """
        state a[H], b[H], c[H]
        a' = tanh(W_1·x + U_1·a)
        b' = tanh(W_2·x + U_2·b)
        c' = tanh(W_3·(a'*b') + U_3·c)
        output c'""",
    "a delay between the layers": """
        state a[H], b[H]
        a' = tanh(W·x + U·a)
        d = prev(a', 2)
        b' = tanh(V·d + R·b)
        output b'""",
    "starts that are learnt": """
        param p[H]
        state a[H] = tanh(p)
        state b[H] = 0.5
        state c[H]
        a' = tanh(W_1·x + U_1·a)
        b' = tanh(W_2·a' + U_2·b)
        c' = tanh(W_3·b' + U_3·c)
        output c'""",
    "a normalisation in each layer": """
        state a[H], b[H], c[H]
        a' = tanh(standardize(W_1·x + U_1·a))
        b' = tanh(standardize(W_2·a' + U_2·b))
        c' = tanh(standardize(W_3·b' + U_3·c))
        output c'""",
    "choices and numbers": """
        state a[H], b[H], c[H]
        a' = where(x > 0, tanh(W_1·x + U_1·a), a)
        b' = where(b > mean(a'), tanh(W_2·a' + U_2·b), 0.5*b)
        c' = where(c > mean(b'), tanh(W_3·b' + U_3·c), 0.5*c)
        output c'""",
    "shared weights": """
        state a[H], b[H], c[H]
        a' = tanh(W·x + U·a)
        b' = tanh(W·a' + U·b)
        c' = tanh(W·b' + U·c)
        output c'""",
    "two towers that cross": """
        state a[H], b[H], c[H], d[H]
        a' = tanh(W_1·x + U_1·a)
        b' = tanh(W_2·x + U_2·b)
        r = tanh(P·a')
        s = tanh(Q·b')
        c' = tanh(W_3·b' + U_3·c + V_1·r + R_1·s)
        d' = tanh(W_4·a' + U_4·d + V_2·s + R_2·r)
        output c' - d'""",
    "a state beside what waits": """
        state a[H], b[H], m[H], c[H], n[H]
        a' = tanh(W_1·x + U_1·a)
        g = tanh(W_2·a' + U_2·b)
        b' = 0.5*b + g - m
        m' = 0.5*m + b
        k = tanh(W_3·g + U_3·c)
        c' = 0.5*c + k - n
        n' = 0.5*n + c
        output c'""",
    "what two loops compute alike": """
        state a[H], b[H], c[H]
        a' = tanh(W_1·x + U_1·a)
        b' = W_2·tanh(a') + tanh(U_2·b)
        c' = W_3·tanh(a') + tanh(U_3·c)
        output b'*c'""",
    "matrices as states": """
        state A[H, H], B[H, H]
        k[H] = tanh(W·x)
        A' = 0.5*A + outer(k, tanh(A·x))
        r = A'·x
        v[H] = tanh(V·r)
        B' = 0.5*B + outer(v, tanh(B·x))
        output B'·x""",
    "names that emitted code has too": """
        input rows[H]
        state last[H], outputs[H]
        last' = tanh(W_1·x + U_1·last + rows)
        outputs' = tanh(W_2·last' + U_2·outputs)
        output outputs'""",
    "structured weights": """
        param U_1[H, H] block_diagonal(1), U_2[H, H] block_diagonal(1)
        state a[H], b[H], c[H]
        a' = tanh(W_1·x + U_1·a)
        b' = tanh(W_2·a' + U_2·b + R·b)
        c' = tanh(W_3·b' + U_3·c)
        output c'""",
}  # fmt: skip


def _odd(name: str) -> cellc.Cell:
    return cellc.parse(f"cell odd\ninput x[H]\n{ODD[name]}\n".replace("        ", ""))


def _shipped(name: str, length: int | None) -> cellc.Cell:
    return cellc.load(name, **({} if length is None else {"L": length}))


def check(cell: cellc.Cell, level: str = "O2", memory: str = "balanced") -> None:
    """Values and gradients are those of one loop after the other, ragged or not."""
    for seed, ragged in ((1, True), (2, False)):
        trial = GradientTrial(cell, seed, ragged)
        module = trial.module(level, memory, diagonals="always")
        assert hasattr(module, "_along_diagonals")
        assert difference(trial.run_torch(module), trial.numpy("O0")) < 1e-12
        want = trial.autograd(trial.module("O0", derived=False))
        for derived in (True, False):
            module.derived = derived
            assert _far(trial.autograd(module), want) < 1e-10


def _far(got: dict[str, Array], want: dict[str, Array]) -> float:
    assert got.keys() == want.keys()
    return float(np.max([np.abs(got[n] - want[n]).max(initial=0) for n in want], initial=0))


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize(("name", "length"), SHIPPED)
def test_shipped_cells_give_the_same(name: str, length: int | None, level: str) -> None:
    check(_shipped(name, length), level, "low" if level == "O0" else "balanced")


@pytest.mark.parametrize("memory", ["low", "balanced", "fast"])
@pytest.mark.parametrize("name", ODD)
def test_odd_cells_give_the_same(name: str, memory: str) -> None:
    check(_odd(name), "O2", memory)


@pytest.mark.parametrize("name", ODD)
def test_odd_cells_give_the_same_as_they_are_written(name: str) -> None:
    check(_odd(name), "O0")


@pytest.mark.parametrize("name", ["deep_rnn", "grid_lstm_2d"])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_few_steps_and_many_layers(name: str, steps: int) -> None:
    trial = GradientTrial(cellc.load(name, L=5), 3, ragged=False, steps=steps)
    module = trial.module("O2", diagonals="always")
    want = trial.autograd(trial.module("O0", derived=False))
    assert _far(trial.autograd(module), want) < 1e-10


@pytest.mark.parametrize("name", ["ways past the layers", "starts that are learnt"])
def test_the_turned_cell_is_a_cell_that_numpy_runs_too(name: str) -> None:
    trial = GradientTrial(_odd(name), 5)
    turned = along_diagonals(optimise(trial.cell, "O2"))
    assert turned is not None
    cell, last = turned.schedule.cell, turned.last
    verify(cell)
    run = compiled(cell, "numpy", "O0")(**trial.sizes)
    run.params = dict(trial.params)
    given = dict(zip(trial.cell.inputs, trial.inputs, strict=True))
    leaves = [turned.inputs[name] for name in cell.inputs]
    late = [_late(given[source], lag, last, trial.lengths) for source, lag in leaves]
    states = dict(zip(trial.cell.states, trial.state, strict=True))
    size = {"H": trial.state[0].shape[-1]}
    starts = [
        _stacked([states[part] for part in parts]) if parts
        else np.zeros((trial.batch, *(d.evaluate(size) for d in cell.nodes[state].type.shape)))
        for state, parts in turned.states.items()
    ]  # fmt: skip
    start = tuple(starts) if len(starts) > 1 else starts[0]
    outputs, ends = run(*late, start, trial.lengths + last)
    want, last_states = trial.numpy("O0")
    for got, right in zip(listed(outputs), want, strict=True):
        assert np.abs(got[last:] - right).max() < 1e-12
    final = dict(zip(trial.cell.states, last_states, strict=True))
    for value, parts in zip(listed(ends), turned.states.values(), strict=True):
        if parts:
            assert np.abs(value - _stacked([final[part] for part in parts])).max() < 1e-12


def _stacked(values: list[Array]) -> Array:
    return values[0] if len(values) == 1 else np.stack(values, 1)


def _late(value: Array, lag: int, last: int, ends: Array) -> Array:
    """What was there so many steps before; beyond the ends of a sequence, what is there."""
    step = np.clip(np.arange(len(value) + last)[:, None] - lag, 0, ends - 1)
    late: Array = value[step, np.arange(len(ends))]
    return late


def test_what_is_a_state_anyway_waits_for_nothing() -> None:
    cell = cellc.parse(
        "cell c\ninput x[H]\nparam w[H]\nstate h[H], g[H]\nh' = tanh(W·x + U·h)\n"
        "g' = tanh((w·h')*V·x + R·g)\noutput g'\n"
    )
    assert retimed(cell).registers == ()
    assert retimed(optimise(cellc.load("stacked_lstm", L=3), "O2")).registers == ()
    assert len(retimed(optimise(cellc.load("grid_lstm_2d", L=3), "O2")).registers) == 4


def test_all_cells_of_a_diagonal_are_in_one_product() -> None:
    text = (Path(__file__).parents[1] / "specs" / "grid_lstm_2d.cell").read_text()
    for axis, rank in (("axis depth[L]", 3), ("axis depth[L] tied", 2)):
        cell = cellc.parse(text.replace("axis depth[L]", axis), L=6)
        turned = along_diagonals(optimise(cell, "O2"))
        assert turned is not None
        (loop,) = turned.schedule.loops
        nodes = turned.schedule.cell.nodes
        products = [
            name for name in loop.values if TABLE[nodes[name].op.name].kind == "contraction"
        ]
        assert {nodes[name].op.name for name in products} == {"each_matmul_add"}
        assert len(products) <= 3
        assert {len(nodes[nodes[name].args[0]].type.shape) for name in products} == {rank}


def test_nothing_is_computed_twice() -> None:
    turned = along_diagonals(optimise(_odd("two towers that cross"), "O0"))
    assert turned is not None
    cell = turned.schedule.cell
    names = [n for n, node in cell.nodes.items() if node.op.name == "tanh"]
    assert sorted(str(cell.nodes[n].type) for n in names) == [
        "[2, H] over {batch, time}",
        "[4, H] over {batch, time}",
    ]


def test_which_shipped_cells_run_along_diagonals() -> None:
    free = [n for n in shipped_specs() if not choice(optimise(cellc.load(n), "O2"))[1]]
    assert free == sorted({name for name, _ in SHIPPED})


@pytest.mark.parametrize(
    ("equations", "reason"),
    [
        ("h' = tanh(W·x + U·h)\noutput h'", "no loop with a product follows another"),
        ("h' = tanh(W·x + U·h)\nstate g[H]\ng' = tanh(V·g + h'/g)\noutput g'", "`divide` has no"),
        ("h' = tanh(W·x + U·h)\nstate g[H]\ng' = tanh(V·g + h')\noutput last(g')", "whole seq"),
        ("h' = tanh(W·x + U·h)\nstate g[H]\ng' = tanh(V·g + x^2^h')\noutput g'", "`power` has no"),
        ("input p[H] per sequence\nh' = tanh(W·x + U·h)\nstate g[H] = p\ng' = tanh(V·g + h')\n"
         "output g'", "starts with what a call is given"),
    ],
)  # fmt: skip
def test_what_does_not(equations: str, reason: str) -> None:
    cell = cellc.parse(f"cell c\ninput x[H]\nstate h[H]\n{equations}\n")
    assert reason in choice(optimise(cell, "O2"))[1]
    assert cellc.emit(cell, diagonals="always") == cellc.emit(cell, scan="never")


def test_safe_divisions_and_powers_do() -> None:
    cell = cellc.parse(
        "cell c\ninput x[H]\nstate h[H], g[H]\nparam p[H]\nh' = tanh(W·x + U·h)\n"
        "g' = tanh(V·g + h'^3/(p*p + 1))\noutput g'\n"
    )
    check(cell)


def test_gradients_flow_a_second_time() -> None:
    trial = GradientTrial(
        cellc.load("deep_rnn", L=3),
        4,
        ragged=False,
        steps=3,
    )
    module = trial.module("O2", diagonals="always")
    x = torch.from_numpy(trial.inputs[0]).requires_grad_()
    state = tuple(torch.from_numpy(s) for s in trial.state)
    assert torch.autograd.gradcheck(lambda v: module(v, state)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda v: module(v, state)[0], (x,))


def test_torch_compiles_and_exports_it() -> None:
    module = compiled(cellc.load("deep_rnn", L=3), "torch", "O2", diagonals="always")(3, 4)
    x = torch.randn(5, 2, 3)
    want = module(x)[0]
    exported: Any = torch.export.export(module, (x,))
    assert torch.allclose(exported.module()(x)[0], want, atol=1e-6)
    traced: Any = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.allclose(traced(x)[0], want, atol=1e-6)


def test_scheduled_form(golden: Callable[[Path, str], None]) -> None:
    schedule = plan(cellc.load("grid_lstm_2d", L=3), "O2", "balanced", True, diagonals="always")
    inner = schedule.inner
    assert inner is not schedule
    assert inner.gradient is not None
    verify(inner.cell)
    verify_schedule(inner)
    (loop,) = inner.loops
    assert isinstance(loop, Loop)
    assert parse_schedule(print_schedule(inner), TABLE) == inner
    back = inner.gradient.schedule
    verify(back.cell)
    assert parse_schedule(print_schedule(back), TABLE) == back
    golden(GOLDEN / "schedule" / "grid_lstm_2d_diagonals.txt", print_schedule(inner))
    golden(GOLDEN / "schedule" / "grid_lstm_2d_diagonals_derivative.txt", print_schedule(back))


def test_the_command_line_tells_why() -> None:
    told = CliRunner().invoke(app, ["explain", "deep_rnn", "--diagonals", "always"]).output
    assert "take their steps together, the last loop one step behind the first" in told
    told = CliRunner().invoke(app, ["explain", "lstm", "--diagonals", "always"]).output
    assert "one after the other: no loop with a product follows" in told
    text = CliRunner().invoke(app, ["compile", "deep_rnn", "--diagonals", "always"]).output
    assert "_along_diagonals" in text
