"""Derived gradients of random cells against autograd through the cell as it was written."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

import cellc
from cellc.passes.saving import MODES
from tests.running import GradientTrial
from tests.strategies import specs

#: How many cells are drawn: always the same ones every day, others each time by `make test-all`.
EVERY_DAY, MANY = 80, int(os.environ.get("CELLC_RANDOM_CELLS", "2000"))
PARTS = 8

WAYS = [(level, memory) for level in ("O0", "O2") for memory in MODES]


@pytest.mark.parametrize("part", range(PARTS))
def test_gradients_are_right(part: int) -> None:
    _prove(EVERY_DAY // PARTS, part)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_gradients_are_right_for_many(part: int) -> None:
    _prove(MANY // PARTS, random.SystemRandom().getrandbits(32))


def _prove(count: int, start: int) -> None:
    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(specs(), st.integers(0, 99), st.sampled_from(WAYS), st.booleans())
    def prove(text: str, number: int, way: tuple[str, str], ragged: bool) -> None:
        note(f"the cell, with the numbers of seed {number} at {' '.join(way)}:\n\n{text}")
        check_gradients(text, number, way, ragged)

    prove()


def check_gradients(text: str, number: int, way: tuple[str, str], ragged: bool) -> None:
    """Both backends give what autograd gives, to nine digits."""
    trial = GradientTrial(cellc.parse(text), number, ragged)
    want = trial.autograd(trial.module("O0", derived=False))
    for got in (trial.numpy_gradients(*way), trial.autograd(trial.module(*way))):
        assert set(got) == set(want)
        for name, value in want.items():
            size = 1 + np.max(np.abs(value), initial=0)
            assert np.max(np.abs(got[name] - value), initial=0) < 1e-9 * size, name
