"""The time gate of Phased LSTM, piece by piece (Neil, Pfeiffer & Liu 2016, equations 6 to 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

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


#: Times and k for a period of 8 from 0.5, open for a quarter: all of it is exact in binary.
EDGES = [
    pytest.param(0.5, 0.0, id="it starts to open"),
    pytest.param(1.5, 1.0, id="the turn belongs to both slopes"),
    pytest.param(2.5, LEAK * 0.25, id="it leaks where it shuts"),
    pytest.param(8.5, 0.0, id="the next period starts"),
    pytest.param(-7.5, 0.0, id="the period before started"),
    pytest.param(-6.5, 1.0, id="and turned"),
    pytest.param(-5.5, LEAK * 0.25, id="and shut"),
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("time", "expected"), EDGES)
def test_each_edge_belongs_to_the_piece_after_it(time: float, expected: float, level: str) -> None:
    module = module_of(level)
    with torch.no_grad():
        module.tau.fill_(8.0)
        module.s.fill_(0.5)
        module.r.fill_(0.25)
    t = torch.full((1, 1), time, dtype=torch.float64)
    k = traced_openness(module, t)
    assert torch.equal(k, torch.full_like(k, expected))
    run = cellc.compile(cellc.load("phased_lstm"), "numpy", level)(1, H)
    run.params = {name: value.numpy() for name, value in module.state_dict().items()}
    _, _, trace = run(np.zeros((1, 1, 1)), t.numpy(), training=True, trace=("k",))
    assert (trace["k"] == expected).all()
    slope = 2 / 0.25 if expected == 0 else -2 / 0.25 if expected == 1 else LEAK
    (gradient,) = torch.autograd.grad(k.sum(), module.s)
    assert torch.equal(gradient, torch.full_like(gradient, -slope / 8.0))


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


def by_hand(
    params: dict[str, Array], x: Array, t: Array, lengths: list[int], leak: float
) -> list[Array]:
    """Outputs and both states: the gates see the peepholes, o that of what c would become."""
    outputs, ends = np.zeros((*t.shape, H)), np.zeros((2, len(lengths), H))
    for b, length in enumerate(lengths):
        h, c = np.zeros(H), np.zeros(H)
        for n in range(length):
            seen = np.concatenate([h, x[n, b]])
            net = {gate: params[f"W_{gate}"] @ seen + params[f"b_{gate}"] for gate in "ifgo"}
            i = 1 / (1 + np.exp(-net["i"] - params["p_i"] * c))
            f = 1 / (1 + np.exp(-net["f"] - params["p_f"] * c))
            opened = f * c + i * np.tanh(net["g"])
            o = 1 / (1 + np.exp(-net["o"] - params["p_o"] * opened))
            k = openness(t[n, b], params["tau"], params["s"], params["r"], leak)
            c = k * opened + (1 - k) * c
            h = k * o * np.tanh(opened) + (1 - k) * h
            outputs[n, b] = h
        ends[:, b] = h, c
    return [outputs, *ends]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("training", [True, False])
def test_sequences_of_different_lengths_at_times_of_their_own(training: bool, level: str) -> None:
    module = module_of(level).train(training)
    with torch.no_grad():
        module.r.fill_(0.6)
    rng, lengths = np.random.default_rng(0), [2, STEPS, 1]
    x = rng.standard_normal((STEPS, BATCH, 1))
    t = np.cumsum(rng.exponential(2.0, (STEPS, BATCH)), 0) - 5.0
    params = {name: value.numpy() for name, value in module.state_dict().items()}
    expected = by_hand(params, x, t, lengths, LEAK if training else 0.0)
    pieces = np.mod(t[..., None] - params["s"], params["tau"]) / params["tau"] // (0.6 / 2)
    assert {0, 1, 2} <= {*pieces.ravel()}
    assert (np.abs(expected[0][0]) > 0.01).any()
    ends = torch.tensor(lengths)
    given = [pack_padded_sequence(torch.from_numpy(v), ends, enforce_sorted=False) for v in (x, t)]
    y, (h, c) = module(*given)
    run = cellc.compile(cellc.load("phased_lstm"), "numpy", level)(1, H)
    run.params = params
    array, arrays = run(x, t, training=training, lengths=ends.numpy())
    found = [value.detach().numpy() for value in (pad_packed_sequence(y)[0], h, c)]
    for a, b, want in zip(found, [array, *arrays], expected, strict=True):
        np.testing.assert_allclose(a, want, rtol=0, atol=1e-12)
        np.testing.assert_allclose(b, want, rtol=0, atol=1e-12)


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
    for piece in (phase < 0.1, (phase >= 0.1) & (phase < 0.2), phase >= 0.2):
        assert piece.any()
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
    tau, s, r = units(module)
    phase = np.mod(t.numpy()[..., None] - s, tau) / tau
    assert all(np.abs(phase - kink).min() > 1e-4 for kink in (0, r / 2, r, 1))

    def run(tau: Tensor, s: Tensor, times: Tensor) -> Any:
        y, (h, c) = torch.func.functional_call(module, {"tau": tau, "s": s}, (x, times))
        return y, h, c

    parts = [module.tau.detach(), module.s.detach(), t]
    assert torch.autograd.gradcheck(run, [p.clone().requires_grad_() for p in parts])


@pytest.mark.parametrize("target", ["torch", "numpy"])
def test_periods_are_drawn_evenly_in_their_logarithm_and_shifts_within_them(target: str) -> None:
    module = cellc.compile(cellc.load("phased_lstm"), target)(1, 4000, seed=0)
    named = module.state_dict() if target == "torch" else module.params
    tau, s, r = (np.asarray(named[name]) for name in ("tau", "s", "r"))
    assert (tau >= 1).all()
    assert ((s >= 0) & (s < tau)).all()
    logarithms = np.sort(np.log(tau))
    even = np.linspace(0, 8, len(tau))
    assert np.abs(logarithms - even).max() < 0.2
    assert np.abs(np.sort(s / tau) - even / 8).max() < 0.03
    assert (r == np.float32(0.05)).all() or (r == 0.05).all()
