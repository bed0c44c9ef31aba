"""The derivative of a cell against autograd through the cell as it was written."""

from __future__ import annotations

import numpy as np
import pytest

import cellc
from cellc.backends.naming import class_name
from cellc.loading import class_from
from cellc.passes.saving import MODES
from cellc.resources import shipped_specs
from tests.running import GradientTrial

#: Cells with two states, a product behind a gate, masks, reductions, axes and several loops.
SEVERAL = ("lstm", "gru", "phased_lstm", "zoneout_lstm", "layernorm_lstm", "grid_lstm_2d",
           "deep_bidirectional_lstm", "seq2seq_lstm", "cnn_lstm")  # fmt: skip


def far(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> float:
    """The largest difference between gradients, as a share of their size."""
    assert set(got) == set(want)
    assert all(got[name].shape == want[name].shape for name in want)
    sizes = {name: 1 + np.max(np.abs(want[name]), initial=0) for name in want}
    shares = [np.max(np.abs(got[n] - want[n]), initial=0) / sizes[n] for n in want]
    return float(max(shares, default=0.0))


@pytest.mark.parametrize("name", shipped_specs())
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_every_cell_of_the_zoo(name: str, ragged: bool) -> None:
    trial = GradientTrial(cellc.load(name), 5, ragged)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.numpy_gradients(), want) < 1e-9


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_every_level_and_memory(name: str, memory: str, level: str) -> None:
    trial = GradientTrial(cellc.load(name), 6)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.numpy_gradients(level, memory), want) < 1e-9


@pytest.mark.parametrize("name", shipped_specs())
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_every_torch_module_of_the_zoo(name: str, ragged: bool) -> None:
    trial = GradientTrial(cellc.load(name), 5, ragged)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.autograd(trial.module("O2")), want) < 1e-9


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("memory", MODES)
def test_blocks_of_single_steps(name: str, memory: str) -> None:
    trial = GradientTrial(cellc.load(name), 8)
    text = cellc.emit(trial.cell, "torch", "O2", memory).replace("2 ** 20", "1")
    module = trial.module_of(class_from(text, class_name(name)))
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.autograd(module), want) < 1e-9


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("memory", MODES)
def test_every_memory_in_torch(name: str, memory: str) -> None:
    trial = GradientTrial(cellc.load(name), 7)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.autograd(trial.module("O1", memory)), want) < 1e-9
