"""The functions of numbers that kernels call, each against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from cellc.kernels.gpu import numbers as math
from tests.gpu.modules import DEVICE
from tests.running import Array

# Extremes, and lanes outside, which nothing uses.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")

TYPES = (torch.float32, torch.float64)
#: How many places the numbers of a test take.
PLACES = 256
SMALL = (0.0, -0.0, 1e-30, -1e-30, 1e-12, -1e-12, 1e-5, -1e-5, 1e-3, -1e-3, 0.0499, 0.05, 0.0501)
LARGE = (20.0, -20.0, 88.0, -88.0, 100.0, -100.0, 745.0, -745.0, 1e4, -1e4, 1e30, -1e30)
NOT_FINITE = (float("inf"), -float("inf"), float("nan"))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def unary(a_ptr: Any, out_ptr: Any, FUNCTION: tl.constexpr, COUNT: tl.constexpr) -> None:
    """A function of one number."""
    j = tl.arange(0, COUNT)
    tl.store(out_ptr + j, FUNCTION(tl.load(a_ptr + j)))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def binary(
    a_ptr: Any, b_ptr: Any, out_ptr: Any, FUNCTION: tl.constexpr, COUNT: tl.constexpr
) -> None:
    """A function of two numbers."""
    j = tl.arange(0, COUNT)
    tl.store(out_ptr + j, FUNCTION(tl.load(a_ptr + j), tl.load(b_ptr + j)))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def by_rows(
    a_ptr: Any, g_ptr: Any, total_ptr: Any, softmax_ptr: Any, standard_ptr: Any, slope_ptr: Any,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """All functions of rows, which are narrower than their block."""
    r = tl.arange(0, ROWS)[:, None]
    j = tl.arange(0, BLOCK)[None, :]
    inside = j < WIDTH
    here = inside & (r >= 0)
    at = r * WIDTH + j
    # lanes outside hold what would be noticed
    a = tl.load(a_ptr + at, mask=here, other=1000.0)
    g = tl.load(g_ptr + at, mask=here, other=1000.0)
    mean = math.total(a, inside) / WIDTH
    apart = a - mean
    deviation = tl.sqrt(math.total(apart * apart, inside) / WIDTH + 1e-5)
    tl.store(total_ptr + r, math.total(a, inside))
    tl.store(softmax_ptr + at, math.softmax(a, inside), mask=here)
    tl.store(standard_ptr + at, math.standardize(a, inside, WIDTH), mask=here)
    slope = math.standardize_slope(g, a, mean, deviation, inside, WIDTH)
    tl.store(slope_ptr + at, slope, mask=here)


def _numbers(dtype: torch.dtype) -> torch.Tensor:
    """Numbers of all magnitudes that matter, those that are not finite last."""
    given = [*SMALL, *LARGE]
    between = torch.linspace(-30, 30, PLACES - len(given) - len(NOT_FINITE), dtype=torch.float64)
    return torch.tensor([*given, *between.tolist(), *NOT_FINITE], dtype=dtype)


def _run(kernel: Any, function: Any, *given: torch.Tensor) -> Array:
    out = torch.empty_like(given[0], device=DEVICE)
    kernel[(1,)](*(g.to(DEVICE) for g in given), out, FUNCTION=function, COUNT=PLACES)
    found: Array = out.double().cpu().numpy()
    return found


def _epsilon(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


ONE: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda a: np.exp(-np.logaddexp(0, -a)),
    "tanh": np.tanh,
    "softplus": lambda a: np.logaddexp(0, a),
    "sign": np.sign,
}


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus"])
def test_functions_of_one_number(name: str, dtype: torch.dtype) -> None:
    """Relative to their value, so that what is tiny is exact too."""
    a = _numbers(dtype)
    found = _run(unary, getattr(math, name), a)
    with np.errstate(all="ignore"):
        wanted = ONE[name](a.double().numpy())
    tiny = torch.finfo(dtype).tiny
    np.testing.assert_allclose(found, wanted, rtol=12 * _epsilon(dtype), atol=tiny)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_signs(dtype: torch.dtype) -> None:
    a = _numbers(dtype)[:-1]
    found = _run(unary, math.sign, torch.cat((a, a[:1])))[:-1]
    np.testing.assert_array_equal(found, np.sign(a.double().numpy()))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_the_larger_and_the_smaller_of_two(name: str, dtype: torch.dtype) -> None:
    a = _numbers(dtype)
    for b in (a.flip(0), a.roll(1), a):
        found = _run(binary, getattr(math, name), a, b)
        wanted = getattr(np, name)(a.numpy(), b.numpy())
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("period", [1.0, 0.1, 3.7, -2.5, 1000.0])
def test_remainders_have_the_sign_of_the_divisor(period: float, dtype: torch.dtype) -> None:
    a = torch.linspace(-200, 200, PLACES, dtype=torch.float64).to(dtype)
    a[:8] = torch.tensor([0, period, -period, 2 * period, 0.5, -0.5, 1e-6, -1e-6]).to(dtype)
    b = torch.full_like(a, period)
    found = _run(binary, math.mod, a, b)
    size = abs(period)
    assert (found * np.sign(period) >= 0).all()
    assert (np.abs(found) <= size).all()
    apart = np.abs(found - np.mod(a.double().numpy(), b.double().numpy()))
    apart = np.minimum(apart, np.abs(size - apart))  # 0 and the divisor are neighbours
    assert apart.max() <= 4 * _epsilon(dtype) * 200


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("b", [0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 1.7])
def test_powers(b: float, dtype: torch.dtype) -> None:
    a = torch.linspace(-8, 8, PLACES, dtype=torch.float64).to(dtype)
    a[:5] = torch.tensor([0.0, 1.0, -1.0, 1e-6, 100.0])
    found = _run(binary, math.power, a, torch.full_like(a, b))
    with np.errstate(all="ignore"):
        wanted = np.power(a.double().numpy(), b)
    np.testing.assert_allclose(found, wanted, rtol=40 * _epsilon(dtype))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("width", [1, 5, 16])
def test_functions_of_rows(width: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(width)
    a, g = (torch.randn(4, width, generator=generator, dtype=torch.float64) for _ in range(2))
    a[1] *= 100
    a[2] += 50
    a, g = a.to(dtype), g.to(dtype)
    made = [torch.empty(n, dtype=dtype, device=DEVICE) for n in (4, *[4 * width] * 3)]
    by_rows[(1,)](a.to(DEVICE), g.to(DEVICE), *made, WIDTH=width, ROWS=4, BLOCK=16)
    exact = a.double().requires_grad_()
    standard = torch.nn.functional.layer_norm(exact, (width,))
    (slope,) = torch.autograd.grad(standard, exact, g.double())
    wanted = (exact.sum(1), exact.softmax(1), standard, slope)
    for one, other in zip(made, wanted, strict=True):
        scale = other.detach().abs().max().item() + 1
        np.testing.assert_allclose(
            one.double().cpu().numpy(), other.detach().flatten().numpy(), rtol=0,
            atol=500 * _epsilon(dtype) * scale,
        )  # fmt: skip
