"""Truncated backpropagation against sequences that are cut by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cellc
from tests.running import GradientTrial


@pytest.mark.parametrize("name", ["lstm", "gru", "mut3", "deep_rnn"])
@pytest.mark.parametrize("derived", [True, False])
def test_parts_that_start_with_numbers(name: str, derived: bool) -> None:
    whole = cellc.compile(name)(3, 4, seed=0).double()
    cut = cellc.compile(cellc.truncate(cellc.load(name), 4))(3, 4, seed=0).double()
    cut.derived = derived
    x = torch.randn(10, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(10, 2, 4, dtype=torch.float64)
    output, _ = cut(x)
    found = torch.autograd.grad((output * weights).sum(), [x, *cut.parameters()])
    state, total = None, torch.zeros((), dtype=torch.float64)
    for part, weight in zip(torch.split(x, 4), torch.split(weights, 4), strict=True):
        output, state = whole(part, state)
        total = total + (output * weight).sum()
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    want = torch.autograd.grad(total, [x, *whole.parameters()])
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory", ["low", "balanced", "fast"])
def test_both_backends_agree_on_ragged_sequences(memory: str) -> None:
    trial = GradientTrial(cellc.truncate(cellc.load("lstm"), 2), 4)
    want = trial.autograd(trial.module("O0", derived=False))
    for got in (trial.numpy_gradients("O2", memory), trial.autograd(trial.module("O2", memory))):
        assert all(np.allclose(got[name], want[name], rtol=0, atol=1e-9) for name in want)


def test_values_stay_as_they_are() -> None:
    x = torch.randn(7, 2, 3)
    plain, cut = cellc.compile("gru"), cellc.compile(cellc.truncate(cellc.load("gru"), 3))
    torch.testing.assert_close(cut(3, 4, seed=1)(x)[0], plain(3, 4, seed=1)(x)[0])


def test_stop_lets_no_gradient_through() -> None:
    cell = cellc.parse("cell c\ninput x[H]\nstate h[H]\nh' = stop(x)*x + 0*h\noutput h'\n")
    x = np.ones((3, 2, 4))
    slope = cellc.compile(cell, "numpy")(4).grad(2 * x, x)["x"]
    assert np.array_equal(slope, 2 * x)
    given = torch.from_numpy(2 * x).requires_grad_()
    for derived in (True, False):
        module = cellc.compile(cell)(4)
        module.derived = derived
        (found,) = torch.autograd.grad(module(given)[0].sum(), given)
        assert torch.equal(found, given.detach())
