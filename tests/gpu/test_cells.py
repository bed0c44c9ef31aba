"""Loops in Triton against the NumPy backend and the loops in Python: shipped and random cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import cellc
from tests.gpu.modules import WAYS, DeviceTrial, kernels
from tests.running import Result, check_close, compiled, gradients
from tests.strategies import specs
from tests.test_compiled_loops import LOOPED

#: Those that the everyday suite runs: one or two of every kind.
EVERYDAY = (
    "rnn", "lstm", "cifg", "gru", "gru_reset_after", "layernorm_lstm", "phased_lstm",
    "zoneout_lstm", "g_lstm", "memory_block", "sru", "min_gru", "ind_rnn", "lstm_1997", "fgr",
    "gated_feedback_rnn", "bidirectional_lstm",
)  # fmt: skip
#: Each takes a second or two.
RANDOM_CELLS = 6
#: To find a smaller cell that fails takes too long in the interpreter.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
#: Those whose gradients are computed twice.
TWICE = ("lstm", "gru", "ind_rnn")


def _with_slow(everyday: tuple[str, ...]) -> list[Any]:
    """All specs with loops; those that are not for every day are slow."""
    assert set(everyday) <= set(LOOPED)
    return [pytest.param(n, marks=[] if n in everyday else pytest.mark.slow) for n in LOOPED]


def check_module(trial: DeviceTrial, module: Any, numpy: Result, wanted: list[Any]) -> None:
    """What kernels give for inference is what NumPy gives, and for training what is wanted."""
    with torch.no_grad():
        results = trial.run_torch(module)
    for value, want in zip(results, numpy, strict=True):
        for one, other in zip(value, want, strict=True):
            check_close(one, other, 1e-12)
    values, slopes = gradients(trial, module)
    for one, other in zip([*values, *slopes], wanted, strict=True):
        check_close(one, other, 1e-12)


def check_cell(cell: cellc.Cell, seed: int = 0, steps: int | None = None) -> None:
    """Kernels give what NumPy gives, and the gradients of the derived loops in Python."""
    for ragged in (False, True):
        trial = DeviceTrial(cell, seed, ragged, steps=steps, batch=steps and 2)
        if ragged and steps:
            trial.ends = {axis: np.array([1, steps]) for axis in trial.along}
        values, slopes = gradients(trial, trial.module_of(compiled(cell, "torch", "O2")))
        numpy = trial.numpy("O0")
        for loops in WAYS:
            module = trial.module_of(kernels(cell))
            module.kernels, module.loops = "triton", loops
            check_module(trial, module, numpy, [*values, *slopes])


@pytest.mark.parametrize("name", _with_slow(EVERYDAY))
def test_every_spec_runs_as_in_numpy(name: str) -> None:
    check_cell(cellc.load(name), steps=3 if name in EVERYDAY else None)


@pytest.mark.parametrize("name", _with_slow(EVERYDAY))
def test_every_spec_that_has_a_loop_has_kernels(name: str) -> None:
    kind: Any = kernels(cellc.load(name))
    assert (kind.kernels, kind.loops) == ("auto", "auto")


@settings(max_examples=RANDOM_CELLS, deadline=None, phases=PHASES)
@given(specs(), st.integers(0, 2**32 - 1))
def test_random_cells_run_as_in_numpy(text: str, seed: int) -> None:
    check_cell(cellc.parse(text), seed)


@pytest.mark.slow
@settings(max_examples=20 * RANDOM_CELLS, deadline=None, phases=PHASES)
@given(specs(), st.integers(0, 2**32 - 1))
def test_many_random_cells_run_as_in_numpy(text: str, seed: int) -> None:
    check_cell(cellc.parse(text), seed)


@pytest.mark.parametrize("loops", WAYS)
@pytest.mark.parametrize("name", TWICE)
def test_gradients_are_the_same_bits_each_time(name: str, loops: str) -> None:
    cell = cellc.load(name)
    trial = DeviceTrial(cell, 1, steps=3, batch=2, size=6)
    module = trial.module_of(kernels(cell))
    module.loops = loops
    first, slopes = gradients(trial, module)
    again, found = gradients(trial, module)
    for one, other in zip([*first, *slopes], [*again, *found], strict=True):
        assert torch.equal(one, other)
