"""Compiled loops against the NumPy backend, and what calls them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cellc
from cellc.kernels import torch_loops
from cellc.kernels.choice import Way, choose
from cellc.resources import shipped_specs
from tests.running import Trial, check_close, compiled, error, gradients
from tests.strategies import specs

#: Cells without a loop have nothing to compile.
WITHOUT_LOOPS = {
    "conv1d", "dropout", "embedding", "grid_lstm_1d", "highway", "linear",
}  # fmt: skip
LOOPED = [name for name in shipped_specs() if name not in WITHOUT_LOOPS]
#: Those that the everyday suite builds, each in a second or two: one or two of every kind.
EVERYDAY = (
    "rnn", "lstm", "cifg", "peephole_lstm", "gru", "gru_reset_after", "mut1", "layernorm_lstm",
    "phased_lstm", "zoneout_lstm", "g_lstm", "cnn_lstm", "memory_block", "sru", "qrnn",
    "grid_lstm_2d", "gated_feedback_gru", "recurrent_highway", "stacked_lstm",
    "bidirectional_lstm", "seq2seq_lstm", "many_to_many",
)  # fmt: skip
#: Each is built by the compiler, which takes about a second.
RANDOM_CELLS = 8
#: Those that the everyday suite runs in float32.
SINGLES = ("lstm", "gru", "layernorm_lstm", "phased_lstm", "grid_lstm_2d", "memory_block")
#: Relative errors of float32; where sums are long, three times what the emitted code has.
SINGLE = 2e-6


def _with_slow(everyday: tuple[str, ...]) -> list[Any]:
    """All specs with loops; those that are not for every day are slow."""
    assert set(everyday) <= set(LOOPED)
    return [pytest.param(n, marks=[] if n in everyday else pytest.mark.slow) for n in LOOPED]


def native(cell: cellc.Cell) -> type[Any]:
    return compiled(cell, "torch", "O2", kernels="native")


def check_cell(cell: cellc.Cell, seeds: tuple[int, ...] = (0,)) -> None:
    """Compiled loops give what NumPy gives, and the gradients of the derived loops in Python."""
    for seed in seeds:
        for ragged in (False, True):
            trial = Trial(cell, seed, ragged)
            module = trial.module_of(native(cell))
            module.kernels = "native"
            outputs, states = trial.numpy("O0")
            _, slopes = gradients(trial, module)
            plain = trial.module_of(compiled(cell, "torch", "O2"))
            _, wanted = gradients(trial, plain)
            for value, want in zip(trial.run_torch(module), (outputs, states), strict=True):
                for one, other in zip(value, want, strict=True):
                    check_close(one, other, 1e-12)
            for one, other in zip(slopes, wanted, strict=True):
                check_close(one, other, 1e-12)


@pytest.mark.parametrize("name", _with_slow(EVERYDAY))
def test_every_spec_runs_as_in_numpy(name: str) -> None:
    check_cell(cellc.load(name))


@pytest.mark.parametrize("name", LOOPED)
def test_every_spec_that_has_a_loop_is_compiled(name: str) -> None:
    assert hasattr(native(cellc.load(name)), "kernels")


@settings(max_examples=RANDOM_CELLS, deadline=None)
@given(specs(), st.integers(0, 2**32 - 1))
def test_random_cells_run_as_in_numpy(text: str, seed: int) -> None:
    check_cell(cellc.parse(text), (seed,))


@pytest.mark.parametrize("name", _with_slow(SINGLES))
def test_single_numbers_agree_as_far_as_they_can(name: str) -> None:
    cell = cellc.load(name)
    trial = Trial(cell, 3, ragged=False, steps=12, size=6)
    module = trial.module_of(native(cell)).float()
    module.kernels = "native"
    trial.inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in trial.inputs]
    trial.state = [s.astype(np.float32) for s in trial.state]
    trial.draws = {n: u.astype(np.float32) for n, u in trial.draws.items()}
    values, slopes = gradients(trial, module)
    single = trial.module_of(compiled(cell, "torch", "O2")).float()
    rounded, rounded_slopes = gradients(trial, single)
    exact = single.double()
    trial.inputs = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in trial.inputs]
    trial.state = [s.astype(np.float64) for s in trial.state]
    trial.draws = {n: u.astype(np.float64) for n, u in trial.draws.items()}
    wanted, exact_slopes = gradients(trial, exact)
    for one, other, emitted in zip(
        [*values, *slopes], [*wanted, *exact_slopes], [*rounded, *rounded_slopes], strict=True
    ):
        check_close(one, other, max(SINGLE, 3 * error(emitted, other)))


@pytest.mark.parametrize(
    "way", [Way(1, True), Way(2, True), Way(3, True), Way(2, False), Way(3, False)]
)
@pytest.mark.parametrize("name", ["lstm", "gru", "layernorm_lstm", "stacked_lstm"])
def test_every_way_to_share_the_work_gives_the_same(
    name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cellc.load(name)
    for batch, ragged in ((1, False), (5, True), (14, True)):
        trial = Trial(cell, 5, ragged, batch=batch, size=37, steps=9)
        module = trial.module_of(native(cell))
        wanted, slopes = gradients(trial, trial.module_of(compiled(cell, "torch", "O2")))
        with monkeypatch.context() as patch:
            patch.setattr(torch_loops, "choose", lambda *_: way)
            patch.setattr(torch_loops, "CALLING", 0)
            patch.setattr(torch, "get_num_threads", lambda: way.threads)
            found, mine = gradients(trial, module)
        for one, other in zip([*found, *mine], [*wanted, *slopes], strict=True):
            check_close(one, other, 1e-11)


@pytest.mark.parametrize("name", ["lstm", "gru", "layernorm_lstm"])
def test_no_sequences_have_gradients_of_zero(name: str) -> None:
    module = native(cellc.load(name))(3, 70)
    module.kernels = "native"
    full = torch.randn(5, 2, 3)
    module(full)[0].sum().backward()  # leaves numbers in memory that is free afterwards
    module.zero_grad()
    x = torch.randn(5, 0, 3, requires_grad=True)
    y = module(x)[0]
    y.sum().backward()
    assert y.shape == (5, 0, 70)
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert all(not p.grad.any() for p in module.parameters())


def test_a_model_of_the_cost_chooses_the_way() -> None:
    assert choose(1, 100, 1_000, 2**12, 1, 2) == Way(1, True)
    assert choose(32, 100, 100_000, 2**20, 1, 2) == Way(2, True)
    assert choose(1, 100, 2_000_000, 2**23, 1, 2) == Way(2, False)
    assert choose(32, 100, 100_000, 2**20, 1, 1) == Way(1, True)


def lstm(size: int = 8, name: str = "lstm") -> Any:
    torch.manual_seed(0)
    module = native(cellc.load(name))(size, size)
    module.kernels = "native"
    return module


def check_as_in_python(module: Any, x: torch.Tensor) -> None:
    found = module(x)[0]
    module.kernels = "none"
    check_close(found, module(x)[0], 1e-5)
    module.kernels = "native"


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_weights_are_packed_anew_when_their_numbers_change(name: str) -> None:
    module, x = lstm(name=name), torch.randn(6, 2, 8)
    with torch.no_grad():
        check_as_in_python(module, x)
        for param in module.parameters():
            param.mul_(2)
            check_as_in_python(module, x)
            param.data.neg_()
            check_as_in_python(module, x)
            param.data = torch.randn_like(param)
            check_as_in_python(module, x)
        module.load_state_dict({n: torch.randn_like(p) for n, p in module.state_dict().items()})
        check_as_in_python(module, x)


def test_weights_are_packed_once_for_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = lstm(), torch.randn(6, 2, 8)
    module(x)
    monkeypatch.setattr(torch_loops, "Prepared", None)
    module(x)


def test_kernels_run_what_they_can_run_and_nothing_else() -> None:
    module, x = lstm(), torch.randn(6, 2, 8)
    kernels = type(module).forward.__globals__["KERNELS"]
    assert kernels.run("native", (x, None, module.W_f))
    assert not kernels.run("native", (x.to(torch.bfloat16),))
    assert not kernels.run("native", (x, x.double()))
    assert not kernels.run("native", (x.to("meta"),))
    assert not kernels.run("none", (x,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not kernels.run("native", (x,))
    inside = torch.func.vmap(lambda one: one * 0 + kernels.run("native", (x,)))(x)
    assert not inside.any()


def test_gradients_flow_a_second_time() -> None:
    module = lstm(3).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x)[0], (x,), atol=1e-6)


def test_a_module_is_copied_and_pickled_with_its_kernels() -> None:
    module, x = lstm(), torch.randn(6, 2, 8)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other(x)[0], module(x)[0])


def test_an_unknown_choice_is_refused() -> None:
    module = lstm()
    module.kernels = "fast"
    with pytest.raises(
        ValueError, match="kernels is 'fast', not 'auto', 'native', 'triton' or 'none'"
    ):
        module(torch.randn(6, 2, 8))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["lstm", "gru", "layernorm_lstm", "relu_rnn"])
def test_what_is_no_number_spreads_as_in_numpy(name: str, bad: float) -> None:
    cell = cellc.load(name)
    trial = Trial(cell, 7, ragged=False, batch=3, size=19, steps=5)
    trial.inputs[0][2, 1, 3] = bad
    with np.errstate(all="ignore"):
        outputs, _ = trial.numpy("O0")
    found, _ = trial.run_torch(trial.module_of(native(cell)))
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(outputs[0]))
    np.testing.assert_allclose(found[0], outputs[0], atol=1e-12)
