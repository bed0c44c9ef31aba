"""Kernels in numbers of 16 and 32 bits, and the wider ones that they keep states in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cellc
from tests.gpu.modules import DEVICE, WAYS, DeviceTrial, kernels, shipped, written
from tests.running import check_close, compiled, gradients

CELLS = ("lstm", "gru_reset_after", "layernorm_lstm", "phased_lstm", "ind_rnn")
#: Errors relative to the largest number that belongs to them: of what is computed alone, as
#: all that goes in is rounded before.
MOST = {torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}

#: A sum that a loop adds up beside a product, which stays zero, and one without a product.
BESIDE = """
cell beside
input x[H]
state h[H], c[H]
h' = tanh(W·h)*c
c' = c + x*(1 - h*h)
output h', c'
"""
ALONE = """
cell alone
input x[H]
state c[H]
c' = c + relu(x)*sigmoid(c + 20)
output c'
"""


def rounded(trial: DeviceTrial, dtype: torch.dtype) -> None:
    """Make everything that goes into a trial numbers of a type."""

    def cast(value: Any) -> Any:
        tensor = trial.tensor(value)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    trial.params = {n: torch.as_tensor(v).to(dtype).double().numpy()
                    for n, v in trial.params.items()}  # fmt: skip
    trial.inputs = [cast(value) for value in trial.inputs]
    trial.state = [cast(value) for value in trial.state]
    trial.draws = {name: cast(value) for name, value in trial.draws.items()}


@pytest.mark.parametrize("dtype", list(MOST), ids=str)
@pytest.mark.parametrize("loops", WAYS)
@pytest.mark.parametrize("name", CELLS)
def test_narrow_numbers_agree_as_far_as_they_can(name: str, loops: str, dtype: torch.dtype) -> None:
    cell = cellc.load(name)
    trial = DeviceTrial(cell, 3, ragged=False, steps=6, batch=2, size=6)
    rounded(trial, dtype)
    module = trial.module_of(kernels(cell)).to(dtype)
    module.kernels, module.loops = "triton", loops
    values, slopes = gradients(trial, module, dtype)
    assert all(value.dtype == dtype for value in values)
    rounded(trial, torch.float64)
    plain = trial.module_of(compiled(cell, "torch", "O2"))
    wanted, exact_slopes = gradients(trial, plain, dtype)
    for one, other in zip([*values, *slopes], [*wanted, *exact_slopes], strict=True):
        check_close(one, other, MOST[dtype])


def steps_of(dtype: torch.dtype) -> torch.Tensor:
    """Numbers of which each is lost by a fifth where it is added to one in its own type."""
    return torch.full((60, 1, 2), 1.28 * torch.finfo(dtype).eps, device=DEVICE, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("text", [BESIDE, ALONE], ids=["beside", "alone"])
@pytest.mark.parametrize("loops", WAYS)
def test_long_sums_in_a_state_are_wide(loops: str, text: str, dtype: torch.dtype) -> None:
    module = written(text, 2, loops=loops, dtype=dtype)
    x, one = steps_of(dtype), torch.ones(1, 2, device=DEVICE, dtype=dtype)
    _, state = module(x, (torch.zeros_like(one), one) if text is BESIDE else one)
    end = state[1] if isinstance(state, tuple) else state
    assert end.dtype == dtype
    check_close(end.double() - 1, x.double().sum(0), 2e-2)


@pytest.mark.parametrize("loops", WAYS)
def test_gradients_add_up_in_wide_numbers(loops: str) -> None:
    module = written(BESIDE, 2, loops=loops, dtype=torch.bfloat16)
    x = torch.zeros_like(steps_of(torch.bfloat16)).requires_grad_()
    (_, c), _ = module(x)
    flowing = steps_of(torch.bfloat16)
    flowing[-1] = 1
    (slope,) = torch.autograd.grad(c, x, flowing)
    check_close(slope[0].double() - 1, flowing[:-1].double().sum(0), 2e-2)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("loops", WAYS)
@pytest.mark.parametrize("name", ["lstm", "gru", "layernorm_lstm", "relu_rnn"])
def test_what_is_no_number_spreads_as_in_python(name: str, loops: str, bad: float) -> None:
    module = shipped(name, 3, 4, loops=loops, dtype=torch.float64)
    x = torch.zeros(4, 3, 3, device=DEVICE, dtype=torch.float64)
    x[1, 1, 2] = bad
    found, _ = module(x)
    module.kernels = "none"
    wanted, _ = module(x)
    torch.testing.assert_close(found, wanted, equal_nan=True, rtol=0, atol=1e-12)
