"""Random well-typed cells survive parsing, printing, every pass and both backends."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cellc
from cellc.ir import parse_cell, parse_schedule, print_cell, print_schedule, verify
from cellc.ops import TABLE
from cellc.passes.pipelines import PIPELINES
from cellc.passes.schedule import Scheduler
from cellc.syntax import parse_file
from cellc.syntax.characters import read_source
from cellc.syntax.format import format_source
from tests.running import Trial, difference
from tests.strategies import specs

_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@_SETTINGS
@given(specs(), st.integers(0, 99))
def test_passes_preserve_the_value(text: str, seed: int) -> None:
    _check_value(text, seed)


@pytest.mark.slow
@settings(_SETTINGS, max_examples=1000)
@given(specs(), st.integers(0, 99))
def test_passes_preserve_the_value_of_many(text: str, seed: int) -> None:
    _check_value(text, seed)


def _check_value(text: str, seed: int) -> None:
    """Every level and both backends against the cell as written, in NumPy."""
    cell = cellc.parse(text)
    verify(cell)
    trial = Trial(cell, seed)
    reference = trial.numpy("O0")
    for level in ("O1", "O2"):
        assert difference(reference, trial.numpy(level)) < 1e-12
    for level in PIPELINES:
        assert difference(reference, trial.torch(level)) < 1e-12


@_SETTINGS
@given(specs())
def test_every_pass_verifies_is_idempotent_and_round_trips(text: str) -> None:
    cell = cellc.parse(text)
    for step in PIPELINES["O2"]:
        cell = step.run(cell)
        verify(cell)
        assert step.run(cell) == cell, type(step).__name__
        assert parse_cell(print_cell(cell), TABLE) == cell
    schedule = Scheduler().run(cell)
    verify(schedule.cell)
    assert parse_schedule(print_schedule(schedule), TABLE) == schedule


@_SETTINGS
@given(specs())
def test_layout_keeps_the_meaning_and_is_stable(text: str) -> None:
    source = read_source("drawn.cell", text)
    laid_out = read_source("drawn.cell", format_source(source))
    assert parse_file(laid_out).definitions == parse_file(source).definitions
    assert format_source(laid_out) == laid_out.text


@_SETTINGS
@given(specs(), st.randoms(use_true_random=False))
def test_the_key_ignores_names_and_order(text: str, random: object) -> None:
    cell = cellc.parse(text)
    renamed = text.replace("v0", "alpha").replace("W_1", "V_1").replace("drawn", "other")
    assert cellc.parse(renamed).key() == cell.key()
    lines = text.splitlines()
    body = lines[5:-1]
    random.shuffle(body)  # type: ignore[attr-defined]
    shuffled = "\n".join([*lines[:5], *body, lines[-1]])
    assert cellc.parse(shuffled).key() == cell.key()


@_SETTINGS
@given(specs())
def test_emitted_text_is_the_same_every_time(text: str) -> None:
    for target in ("numpy", "torch"):
        assert cellc.emit(cellc.parse(text), target) == cellc.emit(cellc.parse(text), target)
