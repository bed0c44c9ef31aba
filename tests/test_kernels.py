"""The parts of a step: which values one kernel computes, and what a text may claim of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import networkx as nx
import pytest

import cellc
from cellc.ir import (
    Cell,
    Kernel,
    Product,
    Schedule,
    parse_schedule,
    print_schedule,
    verify_schedule,
)
from cellc.ir.schedule import Loop
from cellc.ops import TABLE
from cellc.passes.plan import plan
from cellc.resources import shipped_specs

SPECS = sorted(shipped_specs())
HEAD = "cell small\ninput x[H]\nstate h[H]\n"


def planned(cell: Cell, level: str) -> list[Schedule]:
    """The schedule of a cell, and that of its derivative, where it has one."""
    forward = plan(cell, level, "balanced", starts=True)
    return [forward] if forward.gradient is None else [forward, forward.gradient.schedule]


def step_of(body: str) -> Loop:
    (loop,) = cellc.schedule(cellc.parse(f"{HEAD}{body}\noutput h'\n")).loops
    return loop


def kernels(loop: Loop) -> list[Kernel]:
    return [part for part in loop.parts if isinstance(part, Kernel)]


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("name", SPECS)
def test_parts_verify_and_round_trip(name: str, level: str) -> None:
    for schedule in planned(cellc.load(name), level):
        verify_schedule(schedule)
        again = parse_schedule(print_schedule(schedule), TABLE)
        assert again == schedule
        assert [loop.parts for loop in again.loops] == [loop.parts for loop in schedule.loops]
        verify_schedule(again)


@pytest.mark.parametrize("name", SPECS)
def test_a_product_lies_between_any_two_kernels(name: str) -> None:
    for schedule in planned(cellc.load(name), "O2"):
        for loop in schedule.loops:
            step = nx.DiGraph(schedule.cell.graph.subgraph(set(loop.values) - {*loop.carries}))
            parts = nx.quotient_graph(step, [set(part.values) for part in loop.parts])
            for first, second in combinations(kernels(loop), 2):
                one, other = frozenset(first.values), frozenset(second.values)
                after, before = nx.descendants(parts, one), nx.ancestors(parts, other)
                assert after & before, (first.values, second.values)


def test_the_kernels_of_a_gru() -> None:
    schedule = plan(cellc.load("gru"), "O2", "balanced", starts=True)
    (loop,) = schedule.loops
    gates, rest = kernels(loop)
    assert [type(part) for part in loop.parts] == [Product, Kernel, Product, Kernel]
    first, second = loop.parts[0].values[0], loop.parts[2].values[0]
    wide, reset = gates.values[0], schedule.cell.nodes[second].args[1]
    assert gates == Kernel((wide, "r", reset, "z"), (first, "h"), (reset, "z"), (wide,))
    assert rest == Kernel(("n", "h'"), (second, "h", "z"), ("h'",), ("n", "h'"))


def test_without_a_gradient_nothing_is_saved() -> None:
    parts = [part for loop in cellc.schedule("layernorm_lstm").loops for part in loop.parts]
    assert not any(part.saved for part in parts)


def test_a_saved_product_is_told() -> None:
    cell = cellc.parse(f"{HEAD}a = W·h\nh' = a*tanh(x)*a\noutput h'\n")
    schedule = plan(cell, "O0", "fast", starts=True)
    assert Product("a", is_saved=True) in schedule.loops[0].parts
    assert " saved\n" in print_schedule(schedule)


def test_a_value_goes_where_it_is_first_read_if_all_it_needs_is_at_hand() -> None:
    early, late = kernels(step_of("r = tanh(h)\nz = sigmoid(h)\nh' = z*(W·r) + x"))
    assert "r" in early.values
    assert "z" in late.values
    assert "z" not in early.outputs


def test_a_value_stays_where_what_it_needs_is() -> None:
    early, late = kernels(step_of("r = tanh(h)\nz = sigmoid(r)\nh' = z*(W·r) + x"))
    assert {"r", "z"} <= {*early.values}
    assert "z" in early.outputs
    assert "z" in late.inputs
    carried = step_of("r = tanh(h)\nz = sigmoid(r)\nh' = z*(W·r) + r*softmax(U·r) + x")
    assert "z" in kernels(carried)[-1].values  # as r is carried anyway


def test_kernels_without_a_product_between_are_one() -> None:
    (only,) = kernels(step_of("a = W·h\ns = tanh(a)\nq = U·a\nh' = tanh(q + x) + s*s"))
    assert "s" in only.values


def test_reductions_are_parts_of_their_own() -> None:
    loop = step_of("h' = tanh(softmax(h) + x)")
    assert [type(part).__name__ for part in loop.parts] == ["Reduction", "Kernel"]


LIES = [
    ("kernel (%51, %h) ->", "kernel (%51, %h, %15) ->", "input %15, which is not known before it"),
    ("kernel (%51, %h) ->", "kernel (%51, %h, %x) ->", "input %x, which it does not read"),
    ("kernel (%51, %h) ->", "kernel (%51) ->", "reads %h, no input of it"),
    ("-> (%12, %z)", "-> (%12, %z, %r)", "output %r, which nothing else reads"),
    ("-> (%12, %z)", "-> (%12)", "computes %z, which others read, and no output"),
    ("-> (%12, %z)", "-> (%12, %z, %n)", "output %n, which it does not compute"),
    ("-> (%12, %z)", "-> (%12, %z, %z)", "one of its outputs twice"),
    ("saves (%52)", "saves (%n)", "saves %n, which it does not compute"),
    ("kernel (%51, %h) ->", "", "%52 is in no part of its loop"),
    ("product %15 =", "%15 =", "%15: matmul_add belongs in no kernel"),
    ("product %15 =", "reduction %15 =", "%15: matmul_add belongs in no reduction"),
]


@pytest.mark.parametrize(("said", "lie", "fault"), LIES)
def test_a_lie_about_parts_is_found(said: str, lie: str, fault: str) -> None:
    schedule = plan(cellc.load("gru"), "O2", "balanced", starts=True)
    text = print_schedule(schedule)
    lines = [line for line in text.splitlines() if said in line]
    assert lines, f"nothing says {said}"
    changed = lines[0].replace(said, lie) if lie else ""
    with pytest.raises(cellc.CellcError) as caught:
        verify_schedule(parse_schedule(text.replace(lines[0], changed, 1), TABLE))
    assert fault in str(caught.value)


def test_a_part_that_comes_too_early_is_found() -> None:
    schedule = cellc.schedule("gru")
    (loop,) = schedule.loops
    first, gates, second, rest = loop.parts
    parts = (second, first, gates, rest)
    values = (*loop.carries, *(name for part in parts for name in part.values))
    moved = replace(loop, parts=parts, values=values)
    regions = tuple(moved if region is loop else region for region in schedule.regions)
    with pytest.raises(cellc.CellcError, match="%15 reads %12, which is not known there"):
        verify_schedule(replace(schedule, regions=regions))


def test_a_value_given_twice_is_found() -> None:
    text = print_schedule(cellc.schedule("gru"))
    (line,) = [line for line in text.splitlines() if line.startswith("    %r =")]
    with pytest.raises(cellc.CellcError, match="%r is computed twice"):
        verify_schedule(parse_schedule(text.replace(line, f"{line}\n{line}"), TABLE))


@pytest.mark.parametrize("place", ["once\n", "schedule gru\n"])
def test_a_part_outside_of_a_loop_is_refused(place: str) -> None:
    text = print_schedule(cellc.schedule("gru"))
    with pytest.raises(cellc.CellcError, match="a value is in no region"):
        parse_schedule(text.replace(place, f"{place}kernel (%x) -> (%x)\n"), TABLE)


def test_a_value_outside_of_a_region_is_refused() -> None:
    text = print_schedule(cellc.schedule("gru")).replace("once\n", "", 1)
    with pytest.raises(cellc.CellcError, match="a value is in no region"):
        parse_schedule(text, TABLE)
