"""Random well-typed cells survive parsing, printing, every pass and both backends."""

from __future__ import annotations

import os
import random
import re

import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

import cellc
from cellc.ir import (
    Cell,
    Schedule,
    parse_cell,
    parse_schedule,
    print_cell,
    print_schedule,
    verify,
    verify_schedule,
)
from cellc.ops import TABLE
from cellc.passes.pipelines import optimise
from cellc.passes.schedule import Scheduler
from cellc.syntax import parse_file
from cellc.syntax.characters import read_source
from cellc.syntax.format import format_source
from tests.proving import (
    Reference,
    check_work,
    drawn,
    emitted,
    results,
    results_of_torch,
    rewritten,
)
from tests.strategies import specs

#: How many cells are drawn: always the same ones every day, others each time by `make test-all`.
EVERY_DAY, MANY = 80, int(os.environ.get("CELLC_RANDOM_CELLS", "2000"))
#: Runs share the work of several processes by parts.
PARTS = 8

STATEMENTS = ("cell", "input", "state", "param", "option", "dim", "axis", "output")

_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("part", range(PARTS))
def test_passes_are_right(part: int) -> None:
    _prove(EVERY_DAY // PARTS, part)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_passes_are_right_for_many(part: int) -> None:
    _prove(MANY // PARTS, random.SystemRandom().getrandbits(32))


def _prove(count: int, start: int) -> None:
    @seed(start)
    @settings(_SETTINGS, max_examples=count, derandomize=False, print_blob=False)
    @given(specs(), st.integers(0, 99))
    def prove(text: str, number: int) -> None:
        note(f"the cell, with the numbers of seed {number}:\n\n{text}")
        check_passes(text, number)

    prove()


def check_passes(text: str, number: int) -> None:
    """All that passes and backends promise, of one cell."""
    cell, trials = drawn(text, number)
    reference = Reference(cell, trials)
    schedules = {cell: _checked(cell, "whole")}
    for what, old, new in rewritten(cell):
        if new == old:
            continue
        if new not in schedules:
            schedules[new] = _checked(new, what)
        check_work(schedules[old], schedules[new], what)
        if " of " not in what:
            reference.check(results(trials, emitted(new, "numpy", cell)), what)
    for level in ("O0", "O2"):
        kind = emitted(optimise(cell, level), "torch", cell)
        reference.check(results_of_torch(trials, kind), f"torch at {level}")


def _checked(cell: Cell, what: str) -> Schedule:
    """The cell's schedule; both are sound and what their printed texts say.

    To save time, texts are read back of what a pass does alone and of what whole levels do, and
    schedules only of the latter.
    """
    verify(cell)
    schedule = Scheduler().run(cell)
    verify_schedule(schedule)
    if " of " not in what:
        assert parse_cell(print_cell(cell), TABLE) == cell
    if " of " not in what and " alone" not in what:
        assert parse_schedule(print_schedule(schedule), TABLE) == schedule
    return schedule


@_SETTINGS
@given(specs())
def test_layout_keeps_the_meaning_and_is_stable(text: str) -> None:
    source = read_source("drawn.cell", text)
    laid_out = read_source("drawn.cell", format_source(source))
    assert parse_file(laid_out).definitions == parse_file(source).definitions
    assert format_source(laid_out) == laid_out.text


@_SETTINGS
@given(specs(), st.randoms(use_true_random=False))
def test_the_key_ignores_names_and_order(text: str, random: random.Random) -> None:
    """All but that of the states that `prev` and calls make: a call returns these in order, by
    name and as they are written, and so another order is another cell."""
    cell = cellc.parse(text)
    for name, other in (("v0", "v0_other"), ("W_1", "Z_1"), ("drawn", "other")):
        text = re.sub(rf"\b{name}\b", other, text)
    assert cellc.parse(text).key() == cell.key()
    lines = text.splitlines()
    equations = [line for line in lines if line.split()[0] not in STATEMENTS]
    random.shuffle(equations)
    others = [line for line in lines if line.split()[0] in STATEMENTS]
    shuffled = cellc.parse("\n".join([*others[:-1], *equations, others[-1]]))
    if shuffled.states == cellc.parse(text).states:
        assert shuffled.key() == cell.key()


@settings(_SETTINGS, max_examples=10)
@given(specs())
def test_emitted_text_is_the_same_every_time(text: str) -> None:
    for target in ("numpy", "torch"):
        assert cellc.emit(cellc.parse(text), target) == cellc.emit(cellc.parse(text), target)
