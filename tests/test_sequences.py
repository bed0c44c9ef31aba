"""Cells with whole sequences, contexts, several axes, chance and kept states, in NumPy.

The cells are built value by value, and checked against plain loops over single sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cellc
from cellc.ir import (
    BATCH,
    NOWHERE,
    TIME,
    Argument,
    AtOnce,
    Cell,
    Dim,
    Extent,
    Node,
    Result,
    Type,
    parse_cell,
    print_cell,
    verify,
)
from cellc.ops import TABLE
from cellc.passes.cse import Cse
from cellc.passes.edit import Edit
from cellc.passes.pipelines import steps as pass_steps

Array = NDArray[np.float64]
LEVELS = ("O0", "O1", "O2")
HELD: Extent = frozenset({BATCH})
STEPS: Extent = frozenset({BATCH, TIME})
TARGET: Extent = frozenset({BATCH, "target"})
SIZES = {"I": 3, "H": 4, "J": 2}
DIMS = {"I": Argument("input_size"), "H": Argument("hidden_size"), "J": Argument("other_size")}
LENGTHS = np.array([5, 1, 3])


class Builder:
    """Puts a cell together; values are added under their name, or under a number."""

    def __init__(self) -> None:
        self.edit = Edit(Cell("built", {}, ()))
        self.results: list[Result] = []

    def leaf(self, op: str, name: str, shape: str, extent: Extent, **rest: Any) -> str:
        dtype = rest.pop("dtype", "real")
        type_ = Type(tuple(map(Dim.of, shape)), extent, dtype)
        self.edit.nodes[name] = Node(TABLE[op], (), type_, tuple(rest.items()))
        return name

    def param(self, name: str, shape: str, **rest: Any) -> str:
        self.leaf("param", name, shape, NOWHERE, **rest)
        self.results.append(Result("initial", name, self.edit.constant(0.0)))
        return name

    def put(self, op: str, *args: str, name: str = "", **attrs: Any) -> str:
        added = self.edit.add(op, args, **attrs)
        if name:
            self.edit.nodes[name] = self.edit.nodes.pop(added)
        return name or added

    def rnn(self, x: str, state: str, extent: Extent = STEPS, start: str = "") -> str:
        """A tanh network over x; gives its new value."""
        h = self.leaf("state", state, "H", extent)
        both = self.put("concat", h, x)
        weight = f"W_{state}"
        shape = (Dim.of("H"), self.edit.nodes[both].type.shape[0])
        self.edit.nodes[weight] = Node(TABLE["param"], (), Type(shape, NOWHERE))
        self.results.append(Result("initial", weight, self.edit.constant(0.0)))
        bias = self.param(f"b_{state}", "H")
        total = self.put("add", self.put("matmul", weight, both), bias)
        new = self.put("tanh", total, name=f"{state}'")
        self.results.append(Result("next", state, new))
        if start:
            self.results.append(Result("start", state, start))
        return new

    def cell(self, *outputs: str, dims: dict[str, Argument] = DIMS) -> Cell:
        """The cell, after a round trip through its text."""
        results = [*self.results, *(Result("output", f"y{n}", o) for n, o in enumerate(outputs))]
        cell = Cell("built", self.edit.nodes, tuple(results), dims)
        verify(cell)
        again = parse_cell(print_cell(cell), TABLE)
        assert again == cell
        for _, after in pass_steps(again, "O2"):
            verify(after)
        return again


def _runs(cell: Cell, level: str, sizes: dict[str, int] | None = None) -> Any:
    """An instance of the emitted class, with random parameters."""
    sizes = sizes or {a.name: SIZES[d] for d, a in cell.dims.items() if not a.fixed}
    run = cellc.compile(cell, "numpy", level)(**sizes)
    rng = np.random.default_rng(5)
    run.params = {name: rng.standard_normal(value.shape) for name, value in run.params.items()}
    return run


def _rnn(run: Any, state: str, xs: Array, h: Array | None = None) -> Array:
    """The values of :meth:`Builder.rnn` over one sequence."""
    h = np.zeros(SIZES["H"]) if h is None else h
    found = []
    for x in xs:
        h = np.tanh(run.params[f"W_{state}"] @ np.concatenate((h, x)) + run.params[f"b_{state}"])
        found.append(h)
    return np.array(found)


def _inputs(*shape: int, steps: int = 5, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((steps, len(LENGTHS), *shape))


def _close(a: Any, b: Any) -> None:
    assert np.shape(a) == np.shape(b)
    assert np.allclose(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize("level", LEVELS)
def test_both_directions(level: str) -> None:
    b = Builder()
    x = b.leaf("input", "x", "I", STEPS)
    forth = b.rnn(x, "f")
    back = b.put("reverse", b.rnn(b.put("reverse", x, axis=TIME), "r"), axis=TIME)
    run = _runs(b.cell(b.put("concat", forth, back)), level)
    xs = _inputs(3)
    outputs, (f, r) = run(xs, lengths=LENGTHS)
    for k, end in enumerate(LENGTHS):
        one, other = _rnn(run, "f", xs[:end, k]), _rnn(run, "r", xs[:end, k][::-1])
        _close(outputs[:end, k], np.concatenate((one, other[::-1]), -1))
        assert not outputs[end:, k].any()
        _close(f[k], one[-1])
        _close(r[k], other[-1])
        _close(run(xs[:end, k])[0], outputs[:end, k])


@pytest.mark.parametrize("level", LEVELS)
def test_readouts_over_each_sequence_and_back_again(level: str) -> None:
    b = Builder()
    new = b.rnn(b.leaf("input", "x", "I", STEPS), "h")
    readouts = [b.put(op, new, axis=TIME) for op in ("last", "first", "mean_over")]
    away = b.put("subtract", new, readouts[2])
    run = _runs(b.cell(*readouts, b.put("concat", away, readouts[0])), level)
    xs = _inputs(3)
    (last, first, mean, all_), _ = run(xs, lengths=LENGTHS)
    for k, end in enumerate(LENGTHS):
        hs = _rnn(run, "h", xs[:end, k])
        _close(last[k], hs[-1])
        _close(first[k], hs[0])
        _close(mean[k], hs.mean(0))
        around = np.concatenate((hs - hs.mean(0), np.broadcast_to(hs[-1], hs.shape)), -1)
        _close(all_[:end, k], around)
        _close(run(xs[:end, k])[0][0], last[k])
    with pytest.raises(ValueError, match="lengths lie between 1 and 5"):
        run(xs, lengths=[5, 0, 3])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 7])
def test_windows_stay_within_their_sequence(level: str, width: int) -> None:
    b = Builder()
    x = b.leaf("input", "x", "I", STEPS)
    near = b.put("window", x, axis=TIME, width=Dim.of(width))
    run = _runs(b.cell(near), level)
    xs = _inputs(3)
    outputs, state = run(xs, lengths=LENGTHS)
    assert state == ()
    expected = np.zeros((5, 3, width, 3))
    for k, end in enumerate(LENGTHS):
        for t in range(end):
            for place in range(width):
                step = t - (width - 1) // 2 + place
                if 0 <= step < end:
                    expected[t, k, place] = xs[step, k]
    _close(outputs, expected)


def _translator(b: Builder) -> Cell:
    encoded = b.rnn(b.leaf("input", "x", "I", STEPS), "e")
    start = b.put("last", encoded, axis=TIME)
    decoded = b.rnn(b.leaf("input", "y", "J", TARGET), "d", TARGET, start)
    return b.cell(decoded, b.put("mean_over", decoded, axis="target"))


@pytest.mark.parametrize("level", LEVELS)
def test_an_encoder_starts_a_decoder_with_steps_of_its_own(level: str) -> None:
    run = _runs(_translator(Builder()), level)
    xs, ys, ends = _inputs(3), _inputs(2, steps=4, seed=1), np.array([2, 4, 1])
    (outputs, mean), (e, d) = run(xs, ys, lengths=LENGTHS, target_lengths=ends)
    given = np.ones((3, 4))
    (other, _), (_, d_given) = run(xs, ys, (e, given), LENGTHS, target_lengths=ends)
    (same, _), _ = run(xs, ys, (np.zeros((3, 4)), None), LENGTHS, target_lengths=ends)
    assert run.initial_state(3)[1] is None
    assert not hasattr(run, "step")
    _close(same, outputs)
    for k, end in enumerate(ends):
        encoded = _rnn(run, "e", xs[: LENGTHS[k], k])
        decoded = _rnn(run, "d", ys[:end, k], encoded[-1])
        _close(outputs[:end, k], decoded)
        assert not outputs[end:, k].any()
        _close(mean[k], decoded.mean(0))
        _close(e[k], encoded[-1])
        _close(d[k], decoded[-1])
        decoded = _rnn(run, "d", ys[:end, k], given[k])
        _close(other[:end, k], decoded)
        _close(d_given[k], decoded[-1])
        (alone, _), (_, final) = run(xs[: LENGTHS[k], k], ys[:end, k])
        _close(alone, outputs[:end, k])
        _close(final, d[k])


@pytest.mark.parametrize("level", LEVELS)
def test_a_decoder_without_input_is_told_its_steps(level: str) -> None:
    b = Builder()
    start = b.put("last", b.rnn(b.leaf("input", "x", "I", STEPS), "e"), axis=TIME)
    held = b.put("multiply", b.param("s", "H"), start)
    d = b.leaf("state", "d", "H", TARGET)
    new = b.put("add", b.put("multiply", d, b.edit.constant(0.5)), held, name="d'")
    b.results += [Result("next", "d", new), Result("start", "d", start)]
    run = _runs(b.cell(new), level)
    xs = _inputs(3)
    outputs, (e, d_end) = run(xs, lengths=LENGTHS, target_steps=3)
    value = e
    for t in range(3):
        value = 0.5 * value + run.params["s"] * e
        _close(outputs[t], value)
    _close(d_end, value)
    with pytest.raises(TypeError, match="target_steps"):
        run(xs)


@pytest.mark.parametrize("level", LEVELS)
def test_a_context_is_held_for_the_whole_sequence(level: str) -> None:
    b = Builder()
    context = b.leaf("input", "v", "J", HELD)
    x = b.leaf("input", "x", "I", STEPS)
    image = b.put("tanh", b.put("matmul", b.param("M", "HJ"), context), name="m")
    new = b.rnn(b.put("concat", x, image), "h")
    y = b.put("add", b.put("multiply", new, image), b.put("sum", context))
    run = _runs(b.cell(y, image), level)
    vs, xs = np.random.default_rng(2).standard_normal((3, 2)), _inputs(3)
    (outputs, images), h = run(vs, xs, lengths=LENGTHS)
    state = run.initial_state(3)
    for t in range(5):
        (y_t, _), state = run.step(vs, xs[t], state)
        _close(y_t * (t < LENGTHS)[:, None], outputs[t])
    for k, end in enumerate(LENGTHS):
        m = np.tanh(run.params["M"] @ vs[k])
        _close(images[k], m)
        hs = _rnn(run, "h", np.concatenate((xs[:end, k], np.broadcast_to(m, (end, 4))), -1))
        _close(outputs[:end, k], hs * m + vs[k].sum())
        _close(h[k], hs[-1])
        (alone, one), _ = run(vs[k], xs[:end, k])
        _close(alone, outputs[:end, k])
        _close(one, m)


@pytest.mark.parametrize("level", LEVELS)
def test_only_contexts(level: str) -> None:
    b = Builder()
    v = b.leaf("input", "v", "J", HELD)
    run = _runs(b.cell(b.put("matmul", b.param("M", "HJ"), v)), level)
    vs = np.random.default_rng(2).standard_normal((3, 2))
    _close(run(vs)[0], vs @ run.params["M"].T)
    _close(run(vs[0])[0], run.params["M"] @ vs[0])
    assert not hasattr(run, "step")
    b = Builder()
    h = b.leaf("state", "h", "H", STEPS)
    new = b.put("add", h, b.put("matmul", b.param("M", "HJ"), b.leaf("input", "v", "J", HELD)))
    b.results.append(Result("next", "h", new))
    run = _runs(b.cell(new), level)
    outputs, h_end = run(vs, steps=4, lengths=[4, 2, 1])
    _close(outputs[3, 0], 4 * run.params["M"] @ vs[0])
    _close(h_end[1], 2 * run.params["M"] @ vs[1])


@pytest.mark.parametrize("level", LEVELS)
def test_no_input_at_all(level: str) -> None:
    b = Builder()
    h = b.leaf("state", "h", "H", STEPS)
    new = b.put("add", h, b.param("p", "H"), name="h'")
    b.results.append(Result("next", "h", new))
    run = _runs(b.cell(new), level)
    outputs, _ = run(steps=3, batch=2)
    assert outputs.shape == (3, 2, 4)
    _close(outputs[2, 1], 3 * run.params["p"])
    assert run(steps=3)[0].shape == (3, 1, 4)
    _close(run.step(run.initial_state(2))[0], outputs[0])
    _close(run(steps=2, batch=2, trace=("h",))[2]["h"][1], outputs[0])


def _dropping(extent: Extent = STEPS) -> Cell:
    b = Builder()
    x = b.leaf("input", "x", "I", STEPS)
    second, first = (b.leaf("draw", name, "I", extent, label=name) for name in ("n", "m"))
    rate = b.edit.constant(0.3)
    kept = b.put("multiply", x, b.put("keep", first, rate, name="mask"))
    twice = b.put("multiply", x, b.put("keep", second, rate))
    new = b.rnn(b.put("add", kept, twice, name="both"), "h")
    return b.cell(new, "both")


@pytest.mark.parametrize("level", LEVELS)
def test_draws_are_drawn_or_given(level: str) -> None:
    run = _runs(_dropping(), level)
    xs, rng = _inputs(3), np.random.default_rng(3)
    m, n = rng.random((2, 5, 3, 3))
    (outputs, both), _ = run(xs, training=True, draws={"m": m, "n": n})
    expected = xs * (m >= 0.3) + xs * (n >= 0.3)
    _close(both, expected)
    for k in range(3):
        _close(outputs[:, k], _rnn(run, "h", expected[:, k]))
    masks: dict[str, Any] = {"m": m >= 0.3, "n": (n >= 0.3) * 1}
    _close(run(xs, training=True, draws=masks)[0][1], expected)
    alone = run(xs[:, 1], training=True, draws={"m": m[:, 1], "n": n[:, 1]})[0]
    _close(alone[1], expected[:, 1])
    (drawn, first), _ = run(xs, training=True, rng=7)
    _close(run(xs, training=True, rng=np.random.default_rng(7))[0][0], drawn)
    assert not np.allclose(run(xs, training=True, rng=8)[0][0], drawn)
    m, n = np.random.default_rng(7).random((2, *xs.shape))  # in the order of their names
    _close(first, xs * (m >= 0.3) + xs * (n >= 0.3))
    (_, calm), _ = run(xs, draws={"m": m})
    _close(calm, 1.4 * xs)
    with pytest.raises(ValueError, match="draws are given for m, n only"):
        run(xs, training=True, draws={"k": m})
    with pytest.raises(ValueError, match="draws of the shape"):
        run(xs, training=True, draws={"m": m[:, :2]})


def test_levels_draw_the_same_numbers() -> None:
    xs = _inputs(3)
    results = [_runs(_dropping(), level)(xs, training=True, rng=4)[0] for level in LEVELS]
    traced = _runs(_dropping(), "O2")(xs, training=True, rng=4, trace=("mask", "both"))
    _close(traced[2]["both"], results[0][1])
    for (outputs, both), _ in zip(results, LEVELS, strict=True):
        _close(outputs, results[0][0])
        _close(both, results[0][1])


@pytest.mark.parametrize("level", LEVELS)
def test_a_mask_per_sequence_stays_for_all_its_steps(level: str) -> None:
    run = _runs(_dropping(HELD), level)
    xs = _inputs(3)
    (_, both), _ = run(xs, training=True, rng=1)
    factors = (both / xs).round(9)
    assert (factors == factors[:1]).all()
    assert len(np.unique(factors)) > 1
    step = run.step(xs[0], run.initial_state(3), training=True, rng=1)[0][1]
    _close(step, both[0])
    _close(run.step(xs[0], run.initial_state(3))[0][1], 1.4 * xs[0])


@pytest.mark.parametrize("level", LEVELS)
def test_while_training_and_else(level: str) -> None:
    b = Builder()
    x = b.leaf("input", "x", "I", STEPS)
    number = b.put("training", b.edit.constant(2.0), b.edit.constant(3.0), name="leak")
    spread = b.put("training", b.param("p", "I"), x)
    run = _runs(b.cell(b.put("multiply", x, number), spread), level)
    xs = _inputs(3)
    (scaled, chosen), _ = run(xs)
    _close(scaled, 3 * xs)
    _close(chosen, xs)
    (scaled, chosen), _ = run(xs, training=True, lengths=LENGTHS)
    _close(scaled[0], 2 * xs[0])
    _close(chosen[:, 0], np.broadcast_to(run.params["p"], (5, 3)))


def _stateful(start: bool) -> Cell:
    b = Builder()
    v = b.leaf("input", "v", "H", HELD)
    x = b.leaf("input", "x", "I", STEPS)
    new = b.rnn(x, "h", start=v if start else "")
    b.edit.nodes["h"] = Node(TABLE["state"], (), b.edit.nodes["h"].type, (("kept", True),))
    return b.cell(new, b.put("add", new, v))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("start", [False, True])
def test_kept_states_carry_on_until_they_are_reset(level: str, start: bool) -> None:
    run = _runs(_stateful(start), level)
    vs, xs = np.random.default_rng(2).standard_normal((3, 4)), _inputs(3)
    (whole, _), end = run(vs, xs)
    run.reset_state()
    run(vs, xs[:2])
    (rest, _), again = run(vs, xs[2:])
    _close(rest, whole[2:])
    _close(again, end)
    again[:] = 0  # what is handed out is the caller's
    run.reset_state(np.array([False, True, False]))
    (mixed, _), _ = run(vs, xs[:1])
    _close(mixed[0, 1], whole[0, 1])
    _close(mixed[0, 0], _rnn(run, "h", xs[:1, 0], end[0])[0])
    (given, _), _ = run(vs, xs, end)
    _close(given[0, 0], mixed[0, 0])
    with pytest.raises(ValueError, match="call reset_state"):
        run(vs[:2], xs[:, :2])
    run.reset_state()
    (fresh, _), _ = run(vs[:2], xs[:, :2])
    _close(fresh, whole[:, :2])


@pytest.mark.parametrize("level", LEVELS)
def test_a_trace_shows_named_values(level: str) -> None:
    run = _runs(_translator(Builder()), level)
    xs, ys, ends = _inputs(3), _inputs(2, steps=4, seed=1), np.array([2, 4, 1])
    plain, state = run(xs, ys, lengths=LENGTHS, target_lengths=ends)
    outputs, end, traced = run(
        xs, ys, lengths=LENGTHS, target_lengths=ends, trace=("e'", "e", "d", "y")
    )
    for a, b in zip((*plain, *state), (*outputs, *end), strict=True):
        _close(a, b)
    assert list(traced) == ["e'", "e", "d", "y"]
    for k, stop in enumerate(LENGTHS):
        encoded = _rnn(run, "e", xs[:stop, k])
        _close(traced["e'"][:stop, k], encoded)
        _close(traced["e"][1:stop, k], encoded[:-1])
        assert not traced["e'"][stop:, k].any()
        _close(traced["d"][0, k], encoded[-1])
    _close(traced["y"], ys * (np.arange(4)[:, None] < ends)[:, :, None])
    single = run(xs[:, 0], ys[:2, 0], trace="d'")[2]["d'"]
    _close(single, plain[0][:2, 0])
    with pytest.raises(ValueError, match=r"no value is called f; there are .*e'"):
        run(xs, ys, trace=("f",))


@pytest.mark.parametrize("level", LEVELS)
def test_rows_are_taken_and_values_stacked(level: str) -> None:
    b = Builder()
    x = b.leaf("input", "x", "", STEPS, dtype="integer")
    row = b.put("take", b.param("E", "JH"), x, name="e")
    p, one = b.param("p", "H"), b.put("tanh", row)
    stacked = b.put("stack", row, p, one, dim=Dim.of("L"), name="s")
    second = b.put("at", stacked, index=1)
    dims = {**DIMS, "L": Argument("num_layers", 3, fixed=True)}
    cell = b.cell(stacked, second, dims=dims)
    run = _runs(cell, level, {"input_size": 3, "hidden_size": 4, "other_size": 6})
    assert type(run).num_layers == 3
    xs = np.random.default_rng(0).integers(0, 6, (5, 3))
    (s, constant), _ = run(xs)
    rows = run.params["E"][xs]
    _close(s[:, :, 0], rows)
    _close(s[:, :, 2], np.tanh(rows))
    _close(constant, np.broadcast_to(run.params["p"], (5, 3, 4)))
    _close(s[:, :, 1], constant)


def test_regions_have_the_extent_of_their_values() -> None:
    schedule = cellc.schedule(_translator(Builder()))
    assert [loop.axis for loop in schedule.loops] == [TIME, "target"]
    assert [loop.extent for loop in schedule.loops] == [STEPS, TARGET]
    for region in schedule.regions:
        if isinstance(region, AtOnce):
            assert {schedule.cell.nodes[n].type.extent for n in region.values} == {region.extent}


def test_inputs_keep_their_order_at_every_level() -> None:
    b = Builder()
    x = b.leaf("input", "x", "H", STEPS)
    v = b.leaf("input", "v", "H", HELD)
    cell = b.cell(b.put("add", x, v))
    for level in LEVELS:
        assert cellc.schedule(cell, level).cell.inputs == ("x", "v")


def test_what_is_known_per_sequence_is_computed_per_sequence() -> None:
    b = Builder()
    v, x = b.leaf("input", "v", "J", HELD), b.leaf("input", "x", "I", STEPS)
    product = b.put("matmul", b.param("M", "HJ"), v)
    inner = b.put("add", product, b.put("matmul", b.param("V", "HI"), x))
    cell = b.cell(b.put("add", inner, b.param("c", "H")))
    schedule = cellc.schedule(cell)
    held = [r for r in schedule.regions if isinstance(r, AtOnce) and r.extent == HELD]
    assert any("matmul" in schedule.cell.nodes[n].op.name for r in held for n in r.values)


def test_outputs_have_one_form_at_every_level() -> None:
    b = Builder()
    x, v = b.leaf("input", "x", "", STEPS), b.leaf("input", "v", "H", HELD)
    above = b.put("greater", x, b.edit.constant(0.0))
    over = b.put("greater", b.put("sum", v), b.edit.constant(0.0))
    p = b.param("p", "H")
    one, other = b.put("where", above, v, v), b.put("where", over, p, p)
    cell = b.cell(one, b.put("add", b.put("where", above, p, p), v), other)
    xs, vs = _inputs(), np.random.default_rng(2).standard_normal((3, 4))
    expected, _ = _runs(cell, "O0")(xs, vs, lengths=LENGTHS)
    assert [value.shape for value in expected] == [(5, 3, 4), (5, 3, 4), (3, 4)]
    for level in LEVELS:
        for a, b_ in zip(_runs(cell, level)(xs, vs, lengths=LENGTHS)[0], expected, strict=True):
            _close(a, b_)


def test_single_precision_stays_single() -> None:
    b = Builder()
    mean = b.put("mean_over", b.rnn(b.leaf("input", "x", "I", STEPS), "e"), axis=TIME)
    d = b.rnn(b.leaf("input", "y", "J", TARGET), "d", TARGET, mean)
    mask = b.put(
        "keep", b.leaf("draw", "m", "H", TARGET, label="m"), b.edit.constant(0.5), name="k"
    )
    sizes = {"input_size": 3, "hidden_size": 4, "other_size": 2}
    run = cellc.compile(b.cell(b.put("multiply", d, mask), mean), "numpy")(**sizes, dtype="f4")
    outputs, state = run(_inputs(3), _inputs(2), training=True, trace=("k",))[:2]
    traced = run(_inputs(3), _inputs(2), training=True, trace=("k", "e'"))[2].values()
    assert {value.dtype for value in (*outputs, *state, *traced)} == {np.dtype("f4")}


def test_draws_are_never_merged() -> None:
    text = print_cell(_dropping()).replace('label="n"', 'label="m"')
    assert len(Cse().run(parse_cell(text, TABLE)).leaves("draw")) == 2


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda text: text.replace('label="m"', 'label="other"'), True),
        (lambda text: text.replace('label="n"', 'label="m"'), True),
        (lambda text: text.replace("keep(%n,", "keep(%m,"), False),
        (lambda text: text.replace("%h = state()", "%h = state() {kept=True}"), False),
        (lambda text: text.replace("%W_h = param()", "%W_h = param() {frozen=True}"), False),
    ],
)
def test_keys(change: Callable[[str], str], same: bool) -> None:
    text = print_cell(_dropping())
    changed = parse_cell(change(text), TABLE)
    assert change(text) != text
    verify(changed)
    assert (changed.key() == _dropping().key()) is same


def test_a_value_is_a_sequence_along_one_axis_only() -> None:
    b = Builder()
    x, y = b.leaf("input", "x", "H", STEPS), b.leaf("input", "y", "H", TARGET)
    with pytest.raises(cellc.CellcError, match="sequence along two axes"):
        b.cell(b.put("add", x, y))


def test_a_whole_sequence_is_not_known_within_its_loop() -> None:
    b = Builder()
    x, h = b.leaf("input", "x", "I", STEPS), b.leaf("state", "h", "I", STEPS)
    turned = b.put("reverse", h, axis=TIME, name="turned")
    b.results.append(Result("next", "h", b.put("add", turned, x, name="h'")))
    with pytest.raises(cellc.CellcError, match="`turned` needs the whole sequence") as error:
        cellc.schedule(b.cell("h'"))
    assert error.value.diagnostics[0].code == "sequence-in-loop"
    b = Builder()
    new = b.rnn(b.leaf("input", "x", "I", STEPS), "h")
    b.results.append(Result("start", "h", b.put("last", new, axis=TIME)))
    with pytest.raises(cellc.CellcError, match=r"`last\(h'\)` needs the whole sequence"):
        cellc.schedule(b.cell(new))
