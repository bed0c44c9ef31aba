"""The functions of vectors of compiled loops, number by number against NumPy."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cellc.backends.native.cpp import functions, header
from cellc.kernels.build import library

Array = NDArray[Any]
Wide = np.longdouble

#: One in so many of all numbers of 32 bits, and so many of 64 bits.
STRIDE, MANY = 8191, 200_000
TYPES: dict[int, Any] = {32: np.float32, 64: np.float64}
WHOLE = {32: np.uint32, 64: np.uint64}
#: Units in the last place.
NEAR, ROUNDED, EXACT = 2.5, 0.5001, 0.0

_LOOP = """
EXPORT void run_{name}(int64_t count, const real *a, const real *b, const real *c, real *to) {{
    for (int64_t at = 0; at < count; at += LANES)
        store<true>(to + at, {name}({given}), LANES);
}}
"""


def text(without: str) -> str:
    """A file that runs each function over arrays, as for a machine that lacks some things."""
    parts = [*(f"#undef {name}\n" for name in without.split()), header("numbers")]
    for name, count in ARGUMENTS.items():
        given = ", ".join(f"load<true>({array} + at, LANES)" for array in "abc"[:count])
        parts.append(_LOOP.format(name=name, given=given))
    return "".join(parts)


def sigmoid(a: Array) -> Array:
    small = np.exp(-np.abs(a))
    found: Array = np.where(a < 0, small, 1) / (1 + small)
    return found


def softplus(a: Array) -> Array:
    found: Array = np.logaddexp(np.zeros_like(a), a)
    return found


#: What each function is in NumPy, and how far from that it may be.
OF_ONE: dict[str, tuple[Callable[[Array], Array], float]] = {
    "exp": (np.exp, NEAR), "tanh": (np.tanh, NEAR), "sigmoid": (sigmoid, NEAR),
    "log": (np.log, NEAR), "log1p": (np.log1p, NEAR), "sqrt": (np.sqrt, ROUNDED),
    "sin": (np.sin, NEAR), "cos": (np.cos, NEAR), "softplus": (softplus, 4.0),
    "floor": (np.floor, EXACT), "sign": (np.sign, EXACT), "abs": (np.abs, EXACT),
}  # fmt: skip
#: Those whose result is one of the operands, or as NumPy has it for the same type of numbers.
CHOOSING: dict[str, Callable[[Array, Array], Array]] = {
    "maximum": np.maximum, "minimum": np.minimum, "mod": np.mod,
}  # fmt: skip
ARGUMENTS = dict.fromkeys(OF_ONE, 1) | dict.fromkeys(CHOOSING, 2)
ARGUMENTS |= {"power": 2, "logaddexp": 2, "clip": 3}


@pytest.fixture(scope="module", params=[32, 64])
def bits(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module", params=["", "__AVX512F__", "__AVX512F__ __AVX__"])
def run(bits: int, request: pytest.FixtureRequest) -> Callable[..., Array]:
    """Calls a function by its name, in vectors of each width."""
    built = library(text(request.param), bits)

    def call(name: str, *arrays: Array) -> Array:
        count = len(arrays[0])
        padded = [np.resize(array, count + 16).astype(TYPES[bits]) for array in arrays]
        result = np.empty(count + 16, TYPES[bits])
        given = [array.ctypes.data_as(ctypes.c_void_p) for array in padded]
        getattr(built, f"run_{name}")(
            ctypes.c_int64(count), *given, *[None] * (3 - len(given)),
            result.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        return result[:count]

    return call


def special(bits: int) -> Array:
    """Zeros, ends and neighbours, infinities, what is no number."""
    limits = np.finfo(TYPES[bits])
    found = [0.0, 0.1, 0.5, 0.55, 1.0, 1.5, 2.0, 3.0, 20.0, 40.0, 1e9, np.inf, np.nan, limits.max]
    found += [limits.tiny, limits.smallest_subnormal, limits.eps, limits.tiny * 0.3]
    found += [87.0, 88.7228, 88.72284, 103.0, 104.0, 709.78, 709.79, 744.0, 745.2, 746.0]
    one = np.array(found, TYPES[bits])
    near = np.concatenate((one, np.nextafter(one, TYPES[bits](np.inf)),
                           np.nextafter(one, TYPES[bits](0))))  # fmt: skip
    return np.concatenate((near, -near))


def patterns(bits: int, seed: int = 0) -> Array:
    """Numbers of every size, by their bits; besides, usual ones, and those that are special."""
    rng = np.random.default_rng(seed)
    if bits == 32 and not seed:
        whole = np.arange(0, 2**32, STRIDE).astype(np.uint32)
    else:
        whole = rng.integers(0, 2**bits - 1, MANY, WHOLE[bits], endpoint=True)
    usual = rng.normal(scale=4, size=MANY // 4).astype(TYPES[bits])
    return np.concatenate((whole.view(TYPES[bits]), usual, special(bits)))


def pairs(bits: int) -> tuple[Array, Array]:
    """Pairs of any two, of two that are near each other, and of any two that are special."""
    a, b = patterns(bits, 1), patterns(bits, 2)
    both = np.array(list(itertools.product(special(bits)[::2], repeat=2)))
    usual = np.random.default_rng(3).normal(scale=3, size=(MANY // 4, 2))
    joined = np.concatenate((np.stack((a, b), 1), both, usual)).astype(TYPES[bits])
    return joined[:, 0], joined[:, 1]


def check(found: Array, wanted: Array, most: Any, beside: Array | None = None) -> None:
    """Whether numbers are within so many units in the last place.

    What is infinite, no number or zero is so with its sign. The units are those of the larger of
    the result and what is ``beside`` it.
    """
    with np.errstate(all="ignore"):
        rounded = wanted.astype(found.dtype)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
        large = np.isinf(rounded) & np.isfinite(wanted)
        np.testing.assert_array_equal(found[np.isinf(rounded)], rounded[np.isinf(rounded)])
        finite = np.isfinite(rounded) & ~large
        size = np.abs(rounded) if beside is None else np.maximum(np.abs(rounded), np.abs(beside))
        error = (np.abs(found.astype(Wide) - wanted) / np.spacing(size) - most)[finite]
        assert error.max() <= 0, (error.max(), wanted[finite][error.argmax()])
        zero = (wanted == 0) & (found == 0)
        np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", OF_ONE)
def test_functions_of_one_number(name: str, bits: int, run: Callable[..., Array]) -> None:
    function, most = OF_ONE[name]
    a = patterns(bits)
    check(run(name, a), function(a.astype(Wide)), most)


@pytest.mark.parametrize("name", CHOOSING)
def test_functions_that_are_as_in_numpy(name: str, bits: int, run: Callable[..., Array]) -> None:
    a, b = pairs(bits)
    found, wanted = run(name, a, b), CHOOSING[name](a, b)
    np.testing.assert_array_equal(found, wanted)
    if name == "mod":
        number = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(wanted[number]))


def test_clip(bits: int, run: Callable[..., Array]) -> None:
    a, b = pairs(bits)
    low, high = np.minimum(b, -b), np.maximum(b, -b)
    np.testing.assert_array_equal(run("clip", a, low, high), np.clip(a, low, high))


def test_power(bits: int, run: Callable[..., Array]) -> None:
    a, b = pairs(bits)
    check(run("power", a, b), np.power(a.astype(Wide), b.astype(Wide)), NEAR)


def test_logaddexp(bits: int, run: Callable[..., Array]) -> None:
    a, b = pairs(bits)
    wanted = np.logaddexp(a.astype(Wide), b.astype(Wide))
    distance = np.minimum(np.abs(a - b), 100)  # which is rounded before its exponential is taken
    check(run("logaddexp", a, b), wanted, 4 + distance, np.maximum(a, b))


def test_the_tests_know_all_functions() -> None:
    of_bits = {"bits_of", "of_bits", "sign_bits", "power_of_two", "scaled", "reduced"}
    other = {"load", "all", "select", "name", *of_bits}
    assert functions() - other == ARGUMENTS.keys()
