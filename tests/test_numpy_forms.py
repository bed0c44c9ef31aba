"""How emitted NumPy code is written so that it is fast, and that this costs nothing else."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import cellc

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "handwritten_numpy.py"


def handwritten() -> ModuleType:
    spec = spec_from_file_location("handwritten_numpy", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(handwritten().PEERS))
@pytest.mark.parametrize("batch", [1, 3])
def test_emitted_code_equals_the_loop_written_by_hand(name: str, batch: int) -> None:
    emitted = cellc.compile(name, "numpy")(4, 5)
    x = np.random.default_rng(0).standard_normal((6, batch, 4))
    hand = handwritten().PEERS[name](emitted.params)
    assert np.allclose(emitted(x)[0], hand(x), rtol=0, atol=1e-12)


def test_products_of_the_loop_read_weights_turned_before_it() -> None:
    text = cellc.emit("gru", "numpy")
    before, _, loop = text.partition("for now in range(steps):")
    assert "U_n_T = turned(p['U_n'], batch)" in before
    assert "(r * h).dot(U_n_T)" in loop
    assert "product(x, W_rzn)" in before


def test_weights_are_copied_for_many_sequences_only() -> None:
    names: dict[str, Any] = {}
    text = cellc.emit("rnn", "numpy")
    exec(compile(text, "rnn.py", "exec"), names)
    w = np.arange(6.0).reshape(2, 3)
    assert np.shares_memory(names["turned"](w, 1), w)
    assert names["turned"](w, 2).flags.c_contiguous
    v = np.arange(24.0).reshape(4, 2, 3)
    assert np.array_equal(names["product"](v, w), v @ w.T)
    assert names["product"](v[:0], w).shape == (0, 2, 2)


def test_gates_saturate_without_a_warning() -> None:
    names: dict[str, Any] = {}
    exec(compile(cellc.emit("lstm", "numpy"), "lstm.py", "exec"), names)
    lstm = names["Lstm"](2, 3)
    x = np.full((4, 1, 2), -1e6)
    with np.errstate(over="raise"):
        y, _ = lstm(x)
        lstm.step(x[0], lstm.initial_state(1))
        lstm.grad(x, np.ones_like(y))
        lstm(x, trace="f")
    assert np.isfinite(y).all()
    left = np.array([-700.0, -40.0, 0.0, 40.0])
    assert np.allclose(names["sigmoid"](left), [np.exp(-700), np.exp(-40), 0.5, 1], rtol=1e-15)


def test_an_output_shares_no_memory_with_what_others_have() -> None:
    twice = cellc.parse(
        "cell twice\ninput x[H]\nstate h[H]\nh' = tanh(W·h + x)\ny = h' + 0\noutput h', y, x\n"
    )
    rnn = cellc.compile(twice, "numpy")(3)
    x = np.ones((4, 2, 3))
    (first, second, third), state = rnn(x)
    for one, other in ((first, second), (first, state), (third, x)):
        assert not np.shares_memory(one, other)
