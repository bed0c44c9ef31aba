"""Where a step is: functions that kernels find their rows with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cellc.kernels.gpu.memory import PIECES
from cellc.kernels.gpu.places import place_of, rows_before, rows_of
from tests.gpu.modules import DEVICE

triton: Any = pytest.importorskip("triton")
tl: Any = pytest.importorskip("triton.language")

#: Three sequences of 4, 2 and 1 steps: the rows of each step, and behind these the first of each.
SIZES = [3, 2, 1, 1, 0, 3, 5, 6]


@triton.jit(do_not_specialize=["done", "steps", "batch"])  # type: ignore[untyped-decorator]
def _place(to: Any, done: Any, steps: Any, batch: Any, sizes: Any, RAGGED: tl.constexpr,
           BACKWARD: tl.constexpr) -> None:  # fmt: skip
    t, first, rows, before = place_of(done, steps, batch, sizes, RAGGED, BACKWARD)
    tl.store(to, t)
    tl.store(to + 1, first)
    tl.store(to + 2, rows)
    tl.store(to + 3, before)
    tl.store(to + 4, rows_before(done, steps, batch, sizes, RAGGED, BACKWARD))


@triton.jit(do_not_specialize=["done", "steps", "batch", "sequence"])  # type: ignore[untyped-decorator]
def _rows(to: Any, done: Any, steps: Any, batch: Any, sequence: Any, sizes: Any,
          RAGGED: tl.constexpr, BACKWARD: tl.constexpr) -> None:  # fmt: skip
    place = done + tl.arange(0, 1)
    t, row, earlier, here = rows_of(place, steps, batch, sequence, sizes, RAGGED, BACKWARD)
    zero = tl.arange(0, 1)
    tl.store(to + zero, t)
    tl.store(to + 1 + zero, row)
    tl.store(to + 2 + zero, earlier)
    tl.store(to + 3 + zero, here.to(tl.int64))


def found(kernel: Any, *given: int, ragged: bool, backward: bool) -> list[int]:
    to = torch.zeros(5, dtype=torch.int64, device=DEVICE)
    sizes = torch.tensor(SIZES, device=DEVICE)
    kernel[(1,)](to, *given, sizes, RAGGED=ragged, BACKWARD=backward)
    return to.tolist()


@pytest.mark.parametrize("backward", [False, True])
def test_steps_of_sequences_of_one_length(backward: bool) -> None:
    for done in range(4):
        t = 3 - done if backward else done
        joined = 5 if done else 0
        wanted = [t, 5 * t, 5, 5 * t - 5, joined]
        assert found(_place, done, 4, 5, ragged=False, backward=backward) == wanted


@pytest.mark.parametrize("backward", [False, True])
def test_steps_of_sequences_of_different_lengths(backward: bool) -> None:
    for done in range(4):
        t = 3 - done if backward else done
        last = None if done == 0 else (t + 1 if backward else t - 1)
        before = SIZES[4 + t - 1] if t else 0
        wanted = [t, SIZES[4 + t], SIZES[t], before, 0 if last is None else SIZES[last]]
        assert found(_place, done, 4, 3, ragged=True, backward=backward) == wanted


def test_steps_beyond_the_last_have_no_rows() -> None:
    for ragged in (False, True):
        for backward in (False, True):
            assert found(_place, 4, 4, 3, ragged=ragged, backward=backward)[2] == 0
            assert found(_place, 6, 4, 3, ragged=ragged, backward=backward)[2] == 0


def test_rows_are_counted_in_64_bits() -> None:
    many = 2**20
    t, first, _, before, _ = found(_place, many, 2 * many, 4096, ragged=False, backward=False)
    assert (t, first, before) == (many, many * 4096, many * 4096 - 4096)
    _, row, earlier, _, _ = found(_rows, many, 2 * many, 4096, 7, ragged=False, backward=False)
    assert (row, earlier) == (many * 4096 + 7, many * 4096 - 4096 + 7)


@pytest.mark.parametrize("backward", [False, True])
def test_a_sequence_has_rows_in_its_own_steps(backward: bool) -> None:
    lengths = [4, 2, 1]
    for sequence, length in enumerate(lengths):
        for done in range(-1, 6):
            t = 3 - done if backward else done
            _, row, _, here, _ = found(_rows, done, 4, 3, sequence, ragged=True, backward=backward)
            assert here == (0 <= t < length)
            if here:
                assert row == SIZES[4 + t] + sequence


def test_the_numbers_of_recorded_steps_are_even() -> None:
    """Memory changes sides at every step, and a recording begins on the first."""
    assert all(count % 2 == 0 for count in PIECES)
    assert list(PIECES) == sorted(PIECES, reverse=True)
