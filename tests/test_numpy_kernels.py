"""The NumPy class with compiled loops against the one that runs as emitted."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cellc
from cellc.backends import CompilesLoops, backend
from cellc.backends.numpy_kernels import CompiledLoops
from cellc.diagnostics import CellcError, fail
from cellc.kernels.numpy_loops import Rows
from cellc.resources import shipped_specs
from tests.running import Array, GradientTrial, compiled, listed
from tests.strategies import specs

#: Cells of every kind: layers, axes, both directions, masks, sums, states that are kept.
SEVERAL = (
    "lstm", "gru", "layernorm_lstm", "phased_lstm", "bidirectional_lstm", "stacked_lstm",
    "seq2seq_lstm", "zoneout_lstm", "grid_lstm_2d", "many_to_one", "stateful_lstm", "sru",
)  # fmt: skip
TOLERANCE = 1e-12
#: Each is built by the compiler, which takes about a second.
RANDOM_CELLS = 8


def native(cell: cellc.Cell) -> type[Any]:
    return compiled(cell, "numpy", "O2", kernels="native")


def has_kernels(kind: type[Any]) -> bool:
    return "KERNELS" in vars(sys.modules[kind.__module__])


def check_close(found: Array, wanted: Array, tolerance: float = TOLERANCE) -> None:
    """Whether all numbers agree, relative to the largest of those that belong together."""
    assert found.shape == wanted.shape
    scale = np.abs(wanted).max(initial=0) + 1e-3
    np.testing.assert_allclose(found / scale, wanted / scale, rtol=0, atol=tolerance)


def check_trial(trial: GradientTrial, kind: type[Any], plain: type[Any]) -> None:
    """Outputs, last states and all gradients of two classes are the same."""
    for found, wanted in zip(trial.run(kind), trial.run(plain), strict=True):
        for one, other in zip(found, wanted, strict=True):
            check_close(one, other)
    slopes, others = trial.gradients_of(kind), trial.gradients_of(plain)
    assert slopes.keys() == others.keys()
    for name in slopes:
        check_close(slopes[name], others[name])


def check_cell(cell: cellc.Cell, seeds: tuple[int, ...] = (0, 1)) -> None:
    for seed in seeds:
        for ragged in (False, True):
            trial = GradientTrial(cell, seed, ragged)
            check_trial(trial, native(cell), compiled(cell, "numpy", "O2"))


@pytest.mark.parametrize("name", SEVERAL)
def test_compiled_loops_run_as_emitted(name: str) -> None:
    cell = cellc.load(name)
    assert has_kernels(native(cell))
    check_cell(cell)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(shipped_specs()) - set(SEVERAL)))
def test_every_spec_runs_as_emitted(name: str) -> None:
    check_cell(cellc.load(name))


@settings(max_examples=RANDOM_CELLS, deadline=None)
@given(specs(), st.integers(0, 2**32 - 1))
def test_random_cells_run_as_emitted(text: str, seed: int) -> None:
    check_cell(cellc.parse(text), (seed,))


@pytest.mark.parametrize("memory", ["low", "fast"])
@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_levels_and_what_is_kept_change_nothing(level: str, memory: str) -> None:
    cell = cellc.load("layernorm_lstm")
    kind = compiled(cell, "numpy", level, memory, kernels="native")
    assert has_kernels(kind)
    check_trial(GradientTrial(cell, 5), kind, compiled(cell, "numpy", "O2"))


def test_single_numbers_stay_single() -> None:
    trial = GradientTrial(cellc.load("lstm"), 3)
    found = trial.run(native(trial.cell), dtype=np.float32)
    wanted = trial.run(compiled(trial.cell, "numpy", "O2"), dtype=np.float32)
    for ones, others in zip(found, wanted, strict=True):
        for one, other in zip(ones, others, strict=True):
            assert one.dtype == np.float32
            check_close(one, other, 2e-6)


def lstm_pair(size: int = 5) -> tuple[Any, Any]:
    """An LSTM with compiled loops and one without."""
    kinds = (native(cellc.load("lstm")), compiled(cellc.load("lstm"), "numpy", "O2"))
    one, other = (kind(input_size=3, hidden_size=size, seed=1) for kind in kinds)
    return one, other


def check_call(one: Any, other: Any, *given: Any, **words: Any) -> None:
    (output, states), (wanted, others) = one(*given, **words), other(*given, **words)
    check_close(output, wanted)
    for state, expected in zip(listed(states), listed(others), strict=True):
        check_close(state, expected)


def test_changed_weights_are_packed_again() -> None:
    one, other = lstm_pair()
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    check_call(one, other, x)
    for lstm in (one, other):
        lstm.params["W_f"][0, 0] += 1
    check_call(one, other, x)


def test_a_single_sequence_and_views_of_arrays() -> None:
    one, other = lstm_pair()
    x = np.random.default_rng(0).standard_normal((3, 6, 8))
    check_call(one, other, x.T[:, 1])
    check_call(one, other, x.T)
    check_call(one, other, x.T[::-2], lengths=[1, 4, 2, 3, 1, 4])
    check_call(one, other, np.asfortranarray(x.T), lengths=[8, 1, 1, 1, 1, 1])


def test_sequences_without_steps_keep_their_state() -> None:
    one, other = lstm_pair()
    rng = np.random.default_rng(0)
    x, state = rng.standard_normal((4, 3, 3)), tuple(rng.standard_normal((2, 3, 5)))
    for lengths in ([2, 0, 4], [0, 0, 0], [0, 1, 0]):
        check_call(one, other, x, state, lengths=lengths)
        slopes, others = (
            lstm.grad(x, np.ones((4, 3, 5)), state, lengths) for lstm in (one, other)
        )  # fmt: skip
        for name in others:
            check_close(slopes[name], others[name])
    check_call(one, other, x[:0], state)
    check_call(one, other, x[:, :0])


def test_what_stands_behind_the_end_of_a_sequence_is_ignored() -> None:
    one, other = lstm_pair()
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    x[2:, 0] = np.nan
    check_call(one, other, x, lengths=[2, 4])
    slopes, others = (lstm.grad(x, np.ones((4, 2, 5)), None, [2, 4]) for lstm in (one, other))
    for name in others:
        assert np.isfinite(slopes[name]).all()
        check_close(slopes[name], others[name])


def test_a_weight_of_another_shape_is_refused() -> None:
    one, _ = lstm_pair()
    one.params["b_f"] = np.zeros(7)
    with pytest.raises(ValueError, match="broadcast"):
        one(np.zeros((4, 2, 3)))


def test_numbers_of_other_types_are_refused() -> None:
    one, _ = lstm_pair()
    one.dtype = np.float16
    with pytest.raises(TypeError, match="float32 or float64, not float16"):
        one(np.zeros((4, 2, 3)))


def test_a_step_and_a_trace_run_as_emitted() -> None:
    one, other = lstm_pair()
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    check_close(one(x, trace="f")[2]["f"], other(x, trace="f")[2]["f"])
    state = one.initial_state(2)
    check_close(one.step(x[0], state)[0], other.step(x[0], state)[0])


def test_an_object_is_pickled_with_its_kernels() -> None:
    one, other = lstm_pair()
    x = np.random.default_rng(0).standard_normal((4, 2, 3))
    check_call(pickle.loads(pickle.dumps(one)), other, x)


def test_numpy_is_compiled_only_where_that_is_asked_for() -> None:
    cell = cellc.load("lstm")
    plain = cellc.compile(cell, "numpy")
    assert plain is cellc.compile(cell, "numpy", kernels="none")
    assert not has_kernels(plain)
    to = backend("numpy")
    assert isinstance(to, CompilesLoops)
    assert to.kernels == ("native",)


@pytest.mark.parametrize("name", ["linear", "conv1d", "embedding"])
def test_a_cell_without_loops_runs_as_emitted(name: str) -> None:
    cell = cellc.load(name)
    assert native(cell) is compiled(cell, "numpy", "O2")


def test_a_cell_that_cannot_be_compiled_runs_as_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: CompiledLoops, region: Any) -> Any:
        fail("missing-spelling", "not this one")

    monkeypatch.setattr(CompiledLoops, "loop", refused)
    cell = cellc.load("lstm")
    assert cellc.compile(cell, "numpy", kernels="native") is cellc.compile(cell, "numpy")


def test_scans_that_are_asked_for_stay_scans() -> None:
    cell = cellc.load("sru")
    kind = cellc.compile(cell, "numpy", scan="always", kernels="native")
    assert kind is cellc.compile(cell, "numpy", scan="always")


def test_what_cannot_be_built_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setattr("cellc.kernels.build._LOADED", {})
    one, _ = lstm_pair()
    vars(sys.modules[type(one).__module__])["KERNELS"].libraries.clear()
    with pytest.raises(CellcError, match="compiler"):
        one(np.zeros((4, 2, 3)))


def test_rows_are_those_of_the_longest_sequences_first() -> None:
    rows = Rows(np.array([1, 3, 0, 2]), 3)
    value = np.arange(12.0).reshape(3, 4)
    packed = rows.rows(value)
    assert packed.tolist() == [[1], [3], [0], [5], [7], [9]]
    assert rows.counts.tolist() == [3, 2, 1, 0, 3, 5]
    whole = rows.over_steps(packed, (), zero=True)
    assert whole.tolist() == [[0, 1, 0, 3], [0, 5, 0, 7], [0, 9, 0, 0]]
    held = rows.over_steps(packed, (), zero=False)
    assert held[:, [0, 1, 3]].tolist() == [[0, 1, 3], [0, 5, 7], [0, 9, 7]]
    assert rows.in_own_order(rows.in_order(value[0])).tolist() == value[0].tolist()
