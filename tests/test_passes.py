"""Each pass on a small cell, before and after as text, and where it has nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import cellc
from cellc.backends import pyast
from cellc.backends.triton.function import loops_of
from cellc.ir import NOWHERE, Cell, parse_schedule, print_cell, print_schedule, verify
from cellc.ops import TABLE
from cellc.passes.algebra import Algebra, Combine
from cellc.passes.base import Pass, name_of
from cellc.passes.cse import Cse
from cellc.passes.dce import Dce
from cellc.passes.derivative import derivative
from cellc.passes.extents import Extents
from cellc.passes.factor import FactorProducts
from cellc.passes.fold import Fold
from cellc.passes.fuse_elementwise import FuseElementwise
from cellc.passes.fuse_matmul import FuseMatmul
from cellc.passes.hoist import RegroupSums, SplitProducts
from cellc.passes.join_products import JoinProducts
from cellc.passes.known_factors import KnownFactors
from cellc.passes.pipelines import firings, optimise
from cellc.passes.plan import for_device, plan
from cellc.passes.saving import derived_cell, saved_values
from cellc.passes.share_complement import ShareComplement
from cellc.passes.strength import Strength
from tests.running import Trial, difference

GOLDEN = Path(__file__).parent / "golden"
HEAD = "cell small\ninput x[I]\nstate h[H]\n"

#: For every pass a cell that it changes and one that it leaves alone.
CASES: list[tuple[Pass, str, str]] = [
    (Fold(), "h' = (2*3)*h + 0*sum(x)", "h' = 2*h + 0*sum(x)"),
    (Algebra(), "h' = 1 - sigmoid(W·x + U·h)", "h' = tanh(W·x + U·h)"),
    (
        ShareComplement(),
        "param W shared\nf = sigmoid(W·h + sum(x))\ni = sigmoid(-(W·h) - sum(x))\n"
        "h' = f*h + i*tanh(h)",
        "f = sigmoid(sum(x))\nh' = f*h + (1 - f)*(V·x)",
    ),
    (Strength(), "param τ[H]\nh' = h/τ + sum(x)/4", "param τ[H]\nh' = τ/h + h/sum(x)"),
    (Cse(), "h' = tanh(h + sum(x)) + tanh(sum(x) + h)", "h' = tanh(h + sum(x))"),
    (Extents(), "h' = tanh(h + sum(x))", "h' = tanh(h + sum(x))"),
    (SplitProducts(), "h' = W·[h, x]", "h' = W·h + U·x"),
    (
        FactorProducts(),
        "param W[H, H] shared\nh' = W·h + W·tanh(h) + 0*sum(x)",
        "h' = W·h + U·tanh(h) + 0*sum(x)",
    ),
    (JoinProducts(), "h' = W·h + U·tanh(h) + 0*sum(x)", "h' = W·h + U·x"),
    (RegroupSums(), "h' = W·h + U·x + b", "h' = W·h + (U·x + b)"),
    (FuseMatmul(), "r = tanh(W·h)\nh' = r*sigmoid(W·h) + 0*sum(x)", "h' = W·h + U·x"),
    (Combine(), "h' = W·h + U·x + b", "h' = tanh(h) + 0*sum(x)"),
]


def _parse(body: str) -> Cell:
    return cellc.parse(f"{HEAD}{body}\noutput h'\n")


@pytest.mark.parametrize(("step", "changed", "unchanged"), CASES, ids=lambda v: name_of(v)
                         if not isinstance(v, str) else "")  # fmt: skip
def test_before_and_after(
    step: Pass, changed: str, unchanged: str, golden: Callable[[Path, str], None]
) -> None:
    before = _parse(changed)
    after = step.run(before)
    verify(after)
    golden(
        GOLDEN / "passes" / f"{name_of(step)}.txt",
        f"# before\n{print_cell(before)}\n# after\n{print_cell(after)}",
    )
    assert (after != before) or isinstance(step, Extents)
    idle = _parse(unchanged)
    assert step.run(idle) == idle
    trial = Trial(before, 0)
    reference = trial.numpy("O0")
    trial.cell = after
    assert difference(trial.numpy("O0"), reference) < 1e-12


def test_a_product_whose_parts_are_all_in_the_loop_stays_whole() -> None:
    cell = _parse("c[H] = tanh(W·x + h)\nh' = V·[h, c]")
    assert SplitProducts().run(cell) == cell


def test_dce_drops_what_no_result_needs() -> None:
    cell = Cse().run(_parse("h' = tanh(h + sum(x)) + tanh(sum(x) + h)"))
    cut = Dce().run(Algebra().run(_parse("h' = tanh(h) + (sum(x) - 0)")))
    assert Dce().run(cell) == cell
    assert not any(n.op.name == "subtract" for n in cut.nodes.values())


def test_fuse_elementwise_applies_a_function_once_to_neighbours() -> None:
    cell = FuseMatmul().run(_parse("r = sigmoid(W·h)\nz = sigmoid(U·h)\nh' = r*z + 0*sum(x)"))
    wide = FuseElementwise().run(cell)
    verify(wide)
    assert sum(node.op.name == "sigmoid" for node in wide.nodes.values()) == 1
    assert FuseElementwise().run(wide) == wide


def test_weights_of_one_shape_never_merge() -> None:
    cell = Cse().run(_parse("h' = (W_a·h)*(W_b·h) + 0*sum(x)"))
    assert {"W_a", "W_b"} <= set(cell.params)
    assert sum(node.op.name == "matmul" for node in cell.nodes.values()) == 2


def test_the_log_says_what_fired_where() -> None:
    log = firings(cellc.load("gru"), "O1")
    assert [(firing.rule.split(" =>")[0], firing.value) for firing in log] == [
        ("f*a + (1 - f)*b", "h'")
    ]


def test_a_gate_that_is_used_twice_keeps_its_sigmoid() -> None:
    kept = Algebra().run(_parse("z = sigmoid(U·h)\nh' = z*h + (1 - z)*sum(x) + (1 - z)"))
    assert sum(node.op.name == "sigmoid" for node in kept.nodes.values()) == 1


@pytest.mark.parametrize(
    ("step", "body"),
    [
        (FuseMatmul(), "h' = tanh(W·h + 0*sum(x))\ny = tanh(W·h)\noutput y"),
        (FuseElementwise(), "z[2*H] = W·[h, x]\na, e = split(z)\nh' = tanh(a)\noutput tanh(e)"),
        (Algebra(), "z = sigmoid(W·x)\nh' = z*h + (1 - z)*tanh(U·x)\noutput h'"),
    ],
)
def test_what_is_known_before_the_loop_stays_outside(step: Pass, body: str) -> None:
    cell = cellc.parse(f"{HEAD}{body}\n")
    assert step.run(cell) == cell


def test_what_is_known_once_is_not_joined_with_each_step() -> None:
    cell = cellc.parse(
        "cell c\ninput x[H]\nparam a[H], b[H]\nstate h[H]\n"
        "k = relu(a*b + tanh(W·x))\nh' = tanh(U·h) + k\noutput h'\n"
    )
    cell = optimise(cell, "O2")
    assert [n.type.extent for n in cell.nodes.values() if n.op.name == "multiply"] == [NOWHERE]
    assert all(node.op.name != "multiply_add" for node in cell.nodes.values())


def test_a_rule_does_not_cost_what_others_still_need() -> None:
    cell = _parse("z = sigmoid(W·h + U·x)\na = z*h\nd = (1 - z)*tanh(z)\nh' = (a + d)*d*a")
    assert Algebra().run(cell) == cell


@pytest.mark.parametrize(
    "name", ["lstm", "gru", "peephole_lstm", "phased_lstm", "layernorm_lstm", "grid_lstm_2d"]
)
def test_scheduled_form(name: str, golden: Callable[[Path, str], None]) -> None:
    schedule = plan(cellc.load(name), "O2", "balanced", starts=True)
    golden(GOLDEN / "schedule" / f"{name}.txt", print_schedule(schedule))
    assert schedule.gradient is not None
    back = schedule.gradient.schedule
    golden(GOLDEN / "schedule" / f"{name}_derivative.txt", print_schedule(back))
    verify(back.cell)
    assert parse_schedule(print_schedule(back), TABLE) == back


def test_known_factors_leave_the_loop(golden: Callable[[Path, str], None]) -> None:
    cell = optimise(cellc.load("lstm"), "O2")
    joint = derivative(cell)
    before = derived_cell(cell, joint, saved_values(cell, joint))
    after = KnownFactors().run(before)
    verify(after)
    assert KnownFactors().run(after) == after
    assert KnownFactors().run(cellc.load("lstm")) == cellc.load("lstm")
    golden(GOLDEN / "passes" / "known_factors.txt",
           f"# before\n{print_cell(before)}\n# after\n{print_cell(after)}")  # fmt: skip


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_emitted_text(name: str, target: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / target / f"{name}.py.txt", cellc.emit(cellc.load(name), target))


@pytest.mark.parametrize("name", ["lstm", "gru", "g_lstm", "layernorm_lstm", "min_gru"])
def test_emitted_kernels(name: str, golden: Callable[[Path, str], None]) -> None:
    """The kernels of both directions, and the functions that launch them."""
    planned = for_device(plan(cellc.load(name), "O2", "balanced", False, "auto", apart=True))
    assert planned.compiled is not None
    loops = loops_of(planned.compiled)
    text = pyast.write(item for loop in loops for item in loop.items())
    golden(GOLDEN / "triton" / f"{name}.py.txt", text)


@pytest.mark.parametrize(
    ("body", "recurrence", "depth"),
    [
        ("h' = tanh(W·x + U·h)", "dense", 1),
        ("h' = tanh(W·x + p*h)", "diagonal", 0),
        ("z = sigmoid(W·x)\nh' = z*h + (1 - z)*tanh(W·x)", "diagonal affine", 0),
        ("h' = h - 0.5*(h - W·x)", "diagonal affine", 0),
        ("h' = softmax(h) + W·x", "dense", 0),
        ("h' = h*h + W·x", "diagonal", 0),
        ("h' = h*sigmoid(h) + W·x", "diagonal", 0),
        ("h' = tanh(V·tanh(U·h + W·x))", "dense", 2),
        ("h' = where(W·x > 0, h, 0.5*h)", "diagonal affine", 0),
        ("h' = where(h > 0, h, 0.5*h) + W·x", "diagonal", 0),
    ],
)
def test_recurrence_class_and_depth(body: str, recurrence: str, depth: int) -> None:
    declared = "param p[H]\n" if "p*" in body else ""
    (loop,) = cellc.schedule(_parse(declared + body)).loops
    assert (loop.recurrence, loop.depth) == (recurrence, depth)


def test_what_does_not_depend_on_itself_is_computed_at_once() -> None:
    schedule = cellc.schedule(
        cellc.parse(
            HEAD + "v[H] = tanh(W·x)\ns = prev(v)\nh' = tanh(U·h) + s\n"
            "y[H] = softmax(V·h')\noutput y\n"
        )
    )
    (loop,) = schedule.loops
    assert loop.carries == ("h",)
    names = set(loop.values)
    assert not names & {"v", "prev_v_1", "y"}


def test_two_recurrences_in_a_row_are_two_loops() -> None:
    schedule = cellc.schedule(
        cellc.parse(
            "cell two\ninput x[I]\nstate h[H], g[H]\nh' = tanh(W·x + U·h)\n"
            "g' = tanh(W·h' + U·g)\noutput g'\n"
        )
    )
    assert [loop.carries for loop in schedule.loops] == [("h",), ("g",)]
