"""Loops that are computed by a parallel scan, against the same loops step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from cellc.ir import Loop, Scan, Schedule, parse_schedule, print_schedule, verify
from cellc.ops import TABLE
from cellc.passes.plan import gradient
from cellc.passes.scan import AffineSteps
from tests.running import GradientTrial, difference, distance

GOLDEN = Path(__file__).parent / "golden" / "schedule"
STEPS = (1, 2, 3, 7, 64)

#: The shipped cells with a scan, and in which directions.
SHIPPED = {
    "min_gru": "both", "min_lstm": "both", "qrnn": "both", "lstm_transform": "both",
    "sru": "backward", "ind_rnn": "backward",
}  # fmt: skip

#: Cells whose only loops are scans.
OWN = {
    "a number": "h' = 0.9*h + 0.1*x",
    "negative": "h' = -0.7*h + x",
    "a sum": "h' = h + x",
    "a product": "z = sigmoid(x)\nh' = z*h",
    "sometimes zero": "z = where(x > 0, 0, 0.5)\nh' = z*h + tanh(x)",
    "held or replaced": "h' = where(x > 0, h, x)",
    "a parameter": "param p[H]\nh' = p*h + (1 - p)*x",
    "moved towards": "z = sigmoid(x)\nh' = h + z*(x - h)",
    "divided": "h' = (h + x)/(1 + exp(x))",
    "one factor for all units": "input t\nz = sigmoid(t)\nh' = z*h + x",
    "one factor for a sequence": "input s[H] per sequence\nh' = sigmoid(s)*h + x",
    "a scalar": "input t\nstate s\ns' = 0.5*s + t\nh' = 0.3*h + s'*x",
    "two in a row": "state c[H]\nc' = 0.5*c + x\nh' = sigmoid(x)*h + c'*x",
    "read before and after": "h' = sigmoid(x)*h + x\ny = tanh(h)*h' + sin(h')\noutput y",
    "through several values": "z = sigmoid(x)\nu = 2*h - x\nv = u*z + 1\nh' = 0.5*v - 0.1*h",
    "masks": "n = dropout(x, 0.2)\nh' = zoneout(n, h, 0.3)",
    "in training only": "h' = training(0.5, 0.9)*h + x",
}
_STARTS = {
    "a learned start": "input x[H]\nparam h_0[H]\nstate h[H] = 0.5*h_0\nh' = 0.5*h + x",
    "a computed start": "input x[H]\ninput s[H] per sequence\nstate h[H] = tanh(s)\nh' = 0.5*h + x",
}
_DEEP = """
cell deep from min_gru with x as y
axis depth[L] = 3
input x[I]
state y[H] along depth = x
y' = h'
output last(y')
"""
_BOTH_WAYS = "network both\ninput x[I]\noutput x -> bidirectional(min_gru) -> linear(3)\n"


def _cell(name: str) -> cellc.Cell:
    if name in SHIPPED:
        return cellc.load(name)
    if name == "deep":
        return cellc.parse(_DEEP, "deep")
    if name == "both":
        return cellc.parse(_BOTH_WAYS)
    if name == "truncated":
        return cellc.truncate(cellc.load("min_gru"), 3)
    if name in _STARTS:
        return cellc.parse(f"cell toy\n{_STARTS[name]}\noutput h'\n")
    tail = "" if "output" in OWN[name] else "output h'\n"
    return cellc.parse(f"cell toy\ninput x[H]\nstate h[H]\n{OWN[name]}\n{tail}")


CELLS = (*SHIPPED, *OWN, *_STARTS, "deep", "both", "truncated")


def _scans(schedule: Schedule) -> set[bool]:
    """Of the loops, whether each is a scan."""
    return {isinstance(loop, Scan) for loop in schedule.loops}


def _directions(cell: cellc.Cell, scan: str = "always") -> Iterator[Schedule]:
    forward = cellc.schedule(cell, "O2", scan)
    yield forward
    yield gradient(forward.cell, "O2", scan=scan).schedule


def _trial(cell: cellc.Cell, steps: int, ragged: bool) -> GradientTrial:
    trial = GradientTrial(cell, steps, ragged, steps=steps)
    for ends in trial.ends.values():
        ends[0] = 1 if len(ends) > 1 else steps
        ends[-1] = steps
    return trial


def _check(got: dict[str, Any], want: dict[str, Any]) -> None:
    assert set(got) == set(want)
    for name, value in want.items():
        size = 1 + np.max(np.abs(value), initial=0)
        assert np.max(np.abs(got[name] - value), initial=0) < 1e-10 * size, name


@pytest.mark.parametrize("name", CELLS)
def test_which_loops_are_scans(name: str) -> None:
    forward, back = _directions(_cell(name))
    backward_only = SHIPPED.get(name) == "backward" or name == "truncated"
    assert _scans(forward) == {not backward_only}
    assert _scans(back) == {True}
    assert all(_scans(schedule) == {False} for schedule in _directions(_cell(name), "never"))


def test_no_other_shipped_cell_has_one() -> None:
    for name in ("lstm", "gru", "phased_lstm", "gated_feedback_gru"):
        assert all(not any(_scans(schedule)) for schedule in _directions(cellc.load(name)))


@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", CELLS)
def test_a_scan_gives_what_the_loop_gives(name: str, steps: int, ragged: bool) -> None:
    trial = _trial(_cell(name), steps, ragged)
    want = trial.run(cellc.compile(trial.cell, "numpy", scan="never"))
    for scan in ("always", "auto"):
        assert difference(trial.run(cellc.compile(trial.cell, "numpy", scan=scan)), want) < 1e-10
        assert difference(trial.run_torch(trial.module("O2", scan=scan)), want) < 1e-10
    slopes = trial.numpy_gradients(scan="never")
    for scan in ("always", "auto"):
        _check(trial.numpy_gradients(scan=scan), slopes)
        for derived in (True, False):
            _check(trial.autograd(trial.module("O2", "balanced", derived, scan)), slopes)


@pytest.mark.parametrize("level", ["O0", "O1"])
@pytest.mark.parametrize("memory", ["low", "fast"])
@pytest.mark.parametrize("name", ["min_gru", "sru", "read before and after", "a computed start"])
def test_at_every_level_and_with_every_memory(name: str, level: str, memory: str) -> None:
    trial = _trial(_cell(name), 7, True)
    slopes = trial.numpy_gradients(scan="never")
    _check(trial.numpy_gradients(level, memory, "always"), slopes)
    _check(trial.autograd(trial.module(level, memory, scan="always")), slopes)


@pytest.mark.parametrize("scan", ["always", "auto"])
@pytest.mark.parametrize("name", CELLS)
def test_the_form_of_a_scan_is_a_cell_and_has_a_text(name: str, scan: str) -> None:
    for schedule in _directions(_cell(name), scan):
        verify(schedule.cell)
        assert parse_schedule(print_schedule(schedule), TABLE) == schedule
        assert AffineSteps().run(schedule.cell) == schedule.cell


def test_scheduled_form(golden: Callable[[Path, str], None]) -> None:
    forward, back = _directions(cellc.load("min_gru"), "auto")
    golden(GOLDEN / "min_gru_scan.txt", print_schedule(forward))
    golden(GOLDEN / "min_gru_scan_derivative.txt", print_schedule(back))


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_emitted_text(target: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN.parent / target / "min_gru.py.txt", cellc.emit("min_gru", target))


def test_always_keeps_no_loop_and_never_no_scan() -> None:
    for target in ("numpy", "torch"):
        assert "affine_steps" not in cellc.emit("min_gru", target, scan="never")
    assert "one_by_one" not in cellc.emit("min_gru", "numpy", scan="always")
    text = cellc.emit("min_gru", scan="always")
    assert "scan_pays" not in text
    assert "_with_loops" not in text
    assert text.count("for rows, ") == 1  # the loop of a trace, which runs as written


@pytest.mark.parametrize(
    ("steps", "batch", "hidden", "way"),
    [(100, 1, 1024, "_with_scans"), (99, 1, 4, "_with_loops"), (100, 5, 205, "_with_loops")],
)
def test_auto_scans_many_small_steps(
    monkeypatch: pytest.MonkeyPatch, steps: int, batch: int, hidden: int, way: str
) -> None:
    kind: Any = cellc.compile("min_gru")
    taken: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        run = getattr(kind, name)

        def call(*args: Any) -> Any:
            taken.append(name)
            return run(*args)

        return call

    for name in ("_with_loops", "_with_scans"):
        monkeypatch.setattr(kind, name, watched(name))
    kind(2, hidden)(torch.zeros(steps, batch, 2))
    assert taken == [way]


@pytest.mark.parametrize("factor", [0.0, 1.0, -1.0])
def test_factors_that_are_all_alike(factor: float) -> None:
    cell = cellc.parse("cell toy\ninput x[H]\nstate h[H]\nparam p[H]\nh' = p*h + x\noutput h'\n")
    x = np.random.default_rng(0).standard_normal((300, 2, 3))
    signs = factor ** np.arange(300)[:, None, None]
    want = np.cumsum(x * signs, 0) * signs if factor else x
    run = cellc.compile(cell, "numpy", scan="always")(3)
    run.params = {"p": np.full(3, factor)}
    np.testing.assert_allclose(run(x)[0], want, rtol=0, atol=1e-11)
    module = cellc.compile(cell, scan="always")(3).double()
    module.load_state_dict({"p": torch.full((3,), factor)})
    np.testing.assert_allclose(module(torch.from_numpy(x))[0].detach(), want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["min_gru", "qrnn", "lstm_transform", "sru"])
def test_large_inputs_stay_finite(name: str) -> None:
    """1e4 saturates every gate, so that factors are 0 and 1 to the last bit.

    (The shares of min_lstm are then 0/0, as it is written.)
    """
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (500, 2, 4))
    cell = cellc.load(name)
    modules = []
    for scan in ("never", "always"):
        sizes = {a.name: 4 for a in cell.dims.values()}
        modules.append(cellc.compile(cell, scan=scan)(**sizes, seed=0))
    given = [torch.from_numpy(1e4 * signs).float().requires_grad_() for _ in cell.inputs]
    slopes = []
    for module in modules:
        outputs, _ = module(*given)
        outputs = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        assert torch.isfinite(outputs).all()
        slopes.append(torch.autograd.grad(outputs.sum(), given))
        assert all(torch.isfinite(slope).all() for slope in slopes[-1])
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_numerical_gradients() -> None:
    module = cellc.compile("min_gru", scan="always")(2, 3).double()
    x = torch.randn(9, 2, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h: module(x, h), (x, h))
    assert torch.autograd.gradgradcheck(lambda x, h: module(x, h), (x, h))


@pytest.mark.parametrize("scan", ["always", "auto"])
def test_in_one_graph_and_for_export(scan: str) -> None:
    module = cellc.compile("min_gru", scan=scan)(3, 4)
    x = torch.randn(130, 2, 3)
    want, _ = module(x)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    got, _ = compiled(x)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(got, want)
    slopes = [torch.autograd.grad(y.sum(), [*module.parameters()]) for y in (got, want)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x)[0], want)


def test_a_trace_runs_as_written() -> None:
    x = np.random.default_rng(0).standard_normal((120, 1, 3))
    numpy = cellc.compile("min_gru", "numpy", scan="always")(3, 4)
    y, _, seen = numpy(x, trace=("z", "h'"))
    np.testing.assert_allclose(seen["h'"], y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [5, 130])
def test_terms_that_are_whole_numbers_do_not_round_the_others(steps: int) -> None:
    text = "input x[I]\nstate h[H]\nstate m[H]\nh' = tanh(U·h + W·x)\noutput h\n"
    cell = cellc.parse(f"cell toy\n{text}m' = tanh(where(h > 0.1, m, h))\n")
    trial = _trial(cell, steps, ragged=False)
    slopes = trial.numpy_gradients(scan="never")
    for scan in ("always", "auto"):
        _check(trial.numpy_gradients(scan=scan), slopes)
        _check(trial.autograd(trial.module("O2", "balanced", True, scan)), slopes)


def test_low_precision_keeps_its_type() -> None:
    module = cellc.compile("min_gru", scan="always")(3, 4, dtype=torch.bfloat16)
    y, h = module(torch.randn(5, 2, 3, dtype=torch.bfloat16))
    assert y.dtype == h.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(p.grad.dtype == torch.bfloat16 for p in module.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = cellc.compile("min_gru", scan="always")(3, 4)(torch.randn(5, 2, 3))
    assert torch.isfinite(y).all()


def test_several_states_in_one_circle_stay_a_loop() -> None:
    text = "cell two\ninput x[H]\nstate h[H]\nh' = 0.5*h - 0.2*prev(h) + x\noutput h'\n"
    forward, back = _directions(cellc.parse(text))
    for schedule in (forward, back):
        (loop,) = schedule.loops
        assert type(loop) is Loop
        assert len(loop.carries) == 2
        assert loop.recurrence == "diagonal affine"


def test_explain_says_why_several_states_stay_a_loop(tmp_path: Path) -> None:
    text = "cell two\ninput x[H]\nstate h[H]\nh' = 0.5*h - 0.2*prev(h) + x\noutput h'\n"
    (tmp_path / "two.cell").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "two.cell")])
    told = " ".join(result.output.split())
    assert "It runs step by step: a scan is made of loops that carry one state." in told


def test_ir_shows_scans() -> None:
    def shown(*arguments: str) -> str:
        return (
            CliRunner().invoke(app, ["ir", "min_gru", "-O", "O2", "--schedule", *arguments]).output
        )

    assert "scan time over {batch, time} carrying %h times" in shown()
    assert "loop time over {batch, time} carrying %h is diagonal_affine" in shown("--scan", "never")
    assert "scan time backward over {batch, time} carrying %d_h times" in shown("--derivative")


_FACTORS = (
    "0.9", "-0.5", "0", "sigmoid(x)", "p", "(1 - z)", "z*p", "n", "where(x > 0, 0, 1)",
)  # fmt: skip
_TERMS = ("x", "z*n", "tanh(x)", "1", "(x - p)")
_FORMS = (
    "{a}*{h} + {b}", "{b} - {a}*{h}", "({h}*{a} + {b})*{a}", "{h} + {a}*({b} - {h})",
    "where(x > 0, {a}*{h}, {h} + {b})", "({h} - {b})/(1 + z)", "{a}*({a}*{h} + {b}) - 0.1*{h}",
)  # fmt: skip


@st.composite
def _affine(draw: st.DrawFn) -> str:
    """A cell of one or two states, the second of which may read the first."""
    lines = [
        "cell drawn",
        "input x[H]",
        "param p[H] shared",
        "z = sigmoid(W·x + b)",
        "n = tanh(W·x)",
    ]
    states = ["h", "m"][: draw(st.integers(1, 2))]
    for state in states:
        terms = [*_TERMS, "h'*z", "h"] if state == "m" else _TERMS
        form, a, b = (draw(st.sampled_from(some)) for some in (_FORMS, _FACTORS, terms))
        lines += [f"state {state}[H]", f"{state}' = {form.format(h=state, a=a, b=b)}"]
    read = [state + draw(st.sampled_from(["", "'"])) for state in states]
    lines.append(f"y = tanh({' + '.join(read)})*z + n + p + {states[-1]}'")
    return "\n".join([*lines, "output y"]) + "\n"


@settings(
    max_examples=15, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(_affine(), st.integers(0, 99), st.booleans(), st.sampled_from(["O0", "O2"]))
def test_random_cells(text: str, number: int, ragged: bool, level: str) -> None:
    note(text)
    cell = cellc.parse(text)
    assert all(_scans(schedule) == {True} for schedule in _directions(cell))
    trial = GradientTrial(cell, number, ragged)
    want = trial.run(cellc.compile(cell, "numpy", "O0", scan="never"))
    assert distance(trial.run(cellc.compile(cell, "numpy", level, scan="always")), want) < 1e-10
    slopes = trial.autograd(trial.module("O0", derived=False, scan="never"))
    _check(trial.numpy_gradients(level, scan="always"), slopes)
    _check(trial.autograd(trial.module(level, scan="always")), slopes)
