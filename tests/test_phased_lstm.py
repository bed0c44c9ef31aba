"""The time gate of Phased LSTM, piece by piece (Neil, Pfeiffer & Liu 2016, equations 6 to 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import cellc

Array = NDArray[np.float64]

STEPS, BATCH, H = 4, 3, 5
LEVELS = ("O0", "O2")
LEAK = 0.001

#: Phases, the piece that they lie in, and k there, for a unit that is open for r = 0.2.
PIECES = [
    pytest.param(0.00, 0.0, id="shut at the start"),
    pytest.param(0.05, 0.5, id="opening"),
    pytest.param(0.10, 1.0, id="wide open"),
    pytest.param(0.15, 0.5, id="closing"),
    pytest.param(0.20, LEAK * 0.20, id="leaking as soon as it is shut"),
    pytest.param(0.90, LEAK * 0.90, id="leaking"),
]


def openness(t: Array, tau: Array, s: Array, r: Array, leak: float) -> Array:
    """k of the paper, for times of any shape and units along the last dimension."""
    phase = np.mod(t[..., None] - s, tau) / tau
    rising, falling = 2 * phase / r, 2 - 2 * phase / r
    return np.asarray(np.where(phase < r / 2, rising, np.where(phase < r, falling, leak * phase)))


def module_of(level: str = "O2") -> Any:
    torch.manual_seed(0)
    module = cellc.compile(cellc.load("phased_lstm"), level=level)(1, H).double()
    with torch.no_grad():
        module.tau.copy_(torch.linspace(1.7, 9.3, H))
        module.s.copy_(torch.linspace(0.1, 1.3, H))
        module.r.fill_(0.2)
    return module


def traced_openness(module: Any, t: Tensor) -> Tensor:
    """k at every step and unit, as the cell computes it."""
    x = torch.zeros(*t.shape, 1, dtype=torch.float64)
    _, _, trace = module(x, t, trace=("k",))
    found: Tensor = trace["k"]
    return found


def units(module: Any) -> tuple[Array, Array, Array]:
    return tuple(getattr(module, name).detach().numpy() for name in ("tau", "s", "r"))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("phase", "expected"), PIECES)
@pytest.mark.parametrize("period", [0, 3, -2])
def test_each_piece_of_the_gate(phase: float, expected: float, period: int, level: str) -> None:
    module = module_of(level)
    with torch.no_grad():
        module.tau.fill_(8.0)  # so that phases of these times are exact enough
        module.s.fill_(0.5)
    t = torch.full((STEPS, BATCH), 0.5 + 8.0 * (phase + 1e-9) + 8.0 * period, dtype=torch.float64)
    k = traced_openness(module, t)
    assert torch.allclose(k, torch.full_like(k, expected), rtol=0, atol=1e-7)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("training", [True, False])
def test_irregular_times_before_and_after_the_shift(training: bool, level: str) -> None:
    module = module_of(level).train(training)
    t = torch.linspace(-30, 30, STEPS * BATCH, dtype=torch.float64).reshape(STEPS, BATCH)
    t = t + t.sin()
    tau, s, r = units(module)
    expected = openness(t.numpy(), tau, s, r, LEAK if training else 0.0)
    phases = np.mod(t.numpy()[..., None] - s, tau) / tau
    for piece in (phases < 0.1, (phases >= 0.1) & (phases < 0.2), phases >= 0.2):
        assert piece.any()
    np.testing.assert_allclose(traced_openness(module, t).detach().numpy(), expected, atol=1e-12)


def test_a_shut_unit_leaks_in_training_and_stands_still_afterwards() -> None:
    module = module_of()
    with torch.no_grad():
        module.tau.fill_(8.0)
        module.s.fill_(0.0)
    x, t = torch.ones(1, BATCH, 1).double(), torch.full((1, BATCH), 6.0).double()
    start = tuple(torch.full((BATCH, H), v, dtype=torch.float64) for v in (0.3, -0.4))
    moved, _ = module(x, t, start)
    assert (moved[0] != start[0]).all()
    still, (_, c) = module.eval()(x, t, start)
    assert torch.equal(still[0], start[0])
    assert torch.equal(c, start[1])


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_period_and_shift_are_those_of_the_equations(training: bool) -> None:
    """φ = (t - s)/τ - floor(…), so dφ/ds = -1/τ and dφ/dτ = -(t - s)/τ² between the jumps."""
    module = module_of().train(training)
    t = torch.linspace(-7.3, 11.9, STEPS * BATCH, dtype=torch.float64).reshape(STEPS, BATCH)
    weight = torch.linspace(-1, 1, STEPS * BATCH * H, dtype=torch.float64).reshape(STEPS, BATCH, H)
    torch.autograd.backward((traced_openness(module, t) * weight).sum())
    tau, s, r = units(module)
    since = t.numpy()[..., None] - s
    phase = np.mod(since, tau) / tau
    leak = LEAK if training else 0.0
    slope = np.where(phase < r / 2, 2 / r, np.where(phase < r, -2 / r, leak)) * weight.numpy()
    opened = np.where(phase < r, np.where(phase < r / 2, -1, 1) * 2 * phase / r**2, 0.0)
    expected = {
        "s": (-slope / tau).sum((0, 1)),
        "tau": (-slope * since / tau**2).sum((0, 1)),
        "r": (opened * weight.numpy()).sum((0, 1)),
    }
    for name, gradient in expected.items():
        found = getattr(module, name).grad.numpy()
        np.testing.assert_allclose(found, gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_gradients_through_the_states(level: str) -> None:
    module = module_of(level)
    x = torch.linspace(-1, 1, STEPS * BATCH, dtype=torch.float64).reshape(STEPS, BATCH, 1)
    t = torch.linspace(-7.3, 11.9, STEPS * BATCH, dtype=torch.float64).reshape(STEPS, BATCH)

    def run(tau: Tensor, s: Tensor, times: Tensor) -> Any:
        y, (h, c) = torch.func.functional_call(module, {"tau": tau, "s": s}, (x, times))
        return y, h, c

    parts = [module.tau.detach(), module.s.detach(), t]
    assert torch.autograd.gradcheck(run, [p.clone().requires_grad_() for p in parts])


@pytest.mark.parametrize("target", ["torch", "numpy"])
def test_periods_are_drawn_evenly_in_their_logarithm_and_shifts_within_them(target: str) -> None:
    torch.manual_seed(0)
    module = cellc.compile(cellc.load("phased_lstm"), target)(1, 4000)
    named = module.state_dict() if target == "torch" else module.params
    tau, s, r = (np.asarray(named[name]) for name in ("tau", "s", "r"))
    logarithms = np.sort(np.log(tau))
    even = np.linspace(0, 8, len(tau))
    assert np.abs(logarithms - even).max() < 0.2
    assert np.abs(np.sort(s / tau) - even / 8).max() < 0.03
    assert (r == np.float32(0.05)).all() or (r == 0.05).all()
