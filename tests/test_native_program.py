"""Cells as programs in C++, called from C, against the NumPy backend."""

from __future__ import annotations

import ctypes
import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import cellc
from cellc.backends.native import program as programs
from cellc.backends.native import unit
from cellc.backends.native.cpp import KEYWORDS, header
from cellc.cli import app
from cellc.diagnostics import CellcError
from cellc.ir import TIME, Dim, Result
from cellc.kernels.choice import choose
from cellc.kernels.compiler import find_compiler
from cellc.passes.inference import inference, without_training
from cellc.resources import shipped_specs
from tests.conftest import Golden
from tests.native_programs import FLAGS, Inference, Program, run, write
from tests.running import distance
from tests.strategies import specs
from tests.test_sequences import HELD, STEPS, Builder

GOLDEN = Path(__file__).parent / "golden" / "native"
EXAMPLE = Path(__file__).parents[1] / "examples" / "c"
#: Each is built in about a second: gates, reductions, options and two inputs, both directions,
#: tables, a decoder with steps of its own, an input per sequence, windows and shifts.
EVERYDAY = (
    "lstm", "gru", "layernorm_lstm", "phased_lstm", "bidirectional_lstm", "stacked_lstm",
    "embedding", "seq2seq_lstm", "many_to_many", "one_to_many", "cnn_lstm", "qrnn",
)  # fmt: skip
#: What functions return, as the header numbers it.
OK, BAD_ARGUMENT, BAD_SIZE, BAD_LENGTH, BAD_INDEX, NO_MEMORY = range(6)


def check(cell: cellc.Cell, folder: Path, level: str = "O2", seeds: tuple[int, ...] = (0,)) -> None:
    """The program gives what NumPy gives, whole and ragged, started and not."""
    program = Program(cell, folder, 64, level)
    for seed in seeds:
        for ragged in (False, True):
            trial = Inference(cell, seed, ragged)
            assert distance(program.run(trial, threads=2), trial.numpy("O0")) < 1e-12
            kind = cellc.compile(cell, "numpy", "O0")
            fresh = program.run(trial, started=False)
            assert distance(fresh, trial.run(kind, started=False)) < 1e-12


@pytest.mark.parametrize("name", EVERYDAY)
def test_programs_run_as_in_numpy(name: str, tmp_path: Path) -> None:
    check(cellc.load(name), tmp_path, seeds=(0, 1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("name", shipped_specs())
def test_every_spec_is_a_program(name: str, level: str, tmp_path: Path) -> None:
    check(cellc.load(name), tmp_path, level)


@pytest.mark.slow
@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(specs(), st.integers(0, 2**32 - 1))
def test_random_cells_are_programs(tmp_path_factory: Any, text: str, seed: int) -> None:
    check(cellc.parse(text), tmp_path_factory.mktemp("cell"), seeds=(seed,))


def test_single_numbers_agree_as_far_as_they_can(tmp_path: Path) -> None:
    cell = cellc.load("lstm")
    trial = Inference(cell, 1, steps=20, size=19)
    found = Program(cell, tmp_path, 32).run(trial)
    assert found[0][0].dtype == np.float32
    assert 1e-9 < distance(found, trial.numpy("O0")) < 1e-5


@pytest.mark.parametrize("name", ["lstm", "sru"])
def test_threads_share_the_work(name: str, tmp_path: Path) -> None:
    cell = cellc.load(name)
    program = Program(cell, tmp_path)
    for batch in (1, 2, 9):
        trial = Inference(cell, batch, batch > 1, batch=batch, size=160, steps=12)
        alone, shared = (program.run(trial, threads=n) for n in (1, 3))
        assert distance(shared, alone) < 1e-11
        assert distance(alone, trial.numpy("O0")) < 1e-11


def odd_cell() -> cellc.Cell:
    """What shipped cells do not have, with numbers of the caller that vary along less than steps.

    There are values per sequence within loops of both kinds, states that nothing carries in both
    directions, a whole number that is no index, and outputs that are parameters.
    """
    b = Builder()
    x, v = b.leaf("input", "x", "I", STEPS), b.leaf("input", "v", "H", HELD)
    number = b.leaf("input", "n", "", STEPS, dtype="integer")
    new = b.rnn(b.put("concat", x, v), "h", start=v)
    before, after = (
        b.leaf("state", name, "H", STEPS, **attrs)
        for name, attrs in (("before", {}), ("after", {"backward": True}))
    )
    constant = b.leaf("state", "constant", "H", STEPS)
    b.results += [Result("next", before, new), Result("next", after, new)]
    b.results += [Result("next", constant, v)]
    readouts = [b.put(op, new, axis=TIME) for op in ("last", "first", "mean_over")]
    away = b.put("multiply", b.put("subtract", b.put("softmax", new), readouts[2]), number)
    near = b.put("window", v, axis=TIME, width=Dim.of(4))
    param = b.put("tanh", b.param("p", "H"))
    return b.cell(*readouts, away, near, param, v, before, b.put("add", after, constant))


def test_values_per_sequence_meet_values_per_step(tmp_path: Path) -> None:
    cell = odd_cell()
    program = Program(cell, tmp_path)
    for seed in range(3):
        trial = Inference(cell, seed, ragged=seed > 0, batch=5, steps=4)
        for started in (True, False):
            wanted = trial.run(cellc.compile(cell, "numpy", "O0"), started)
            assert distance(program.run(trial, started), wanted) < 1e-12


def test_states_of_no_loop_start_with_what_parameters_tell(tmp_path: Path) -> None:
    text = """
    cell shifted
    input x[I]
    option rate = 0.25
    param p[H]
    state h[H] = 2*tanh(p)
    state c[H] = 2*rate
    h' = tanh(W·x)
    c' = c*rate + tanh(W·[x, h])
    output c'
    """
    cell = cellc.parse("\n".join(line.strip() for line in text.strip().splitlines()))
    check(cell, tmp_path)


def test_options_are_those_of_the_config(tmp_path: Path) -> None:
    cell = cellc.load("sru")
    trial = Inference(cell, 3, size=4)
    program = Program(cell, tmp_path)
    trial.sizes["beta"] = 0.7  # type: ignore[assignment]
    assert distance(program.run(trial), trial.numpy("O0")) < 1e-12
    before = trial.numpy("O0")
    del trial.sizes["beta"]
    assert distance(program.run(trial), before) > 1e-2


def test_without_training_nothing_is_drawn() -> None:
    for name in ("recurrent_dropout_lstm", "zoneout_lstm", "phased_lstm", "dropout"):
        cell = cellc.load(name)
        plain = without_training(cellc.truncate(cell, 3))
        assert not {"keep", "training", "draw", "cut"} & {n.op.name for n in plain.nodes.values()}
        trial = Inference(cell, 4)
        if name == "phased_lstm":  # mostly closed, so that its leak matters
            trial.params["r"] = 0.01 + 0 * trial.params["r"]
        found = trial.run(cellc.compile(plain, "numpy", "O0"))
        assert distance(found, trial.numpy("O0")) < 1e-14


# what a program says of what is wrong


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Inference]:
    cell = cellc.load("lstm")
    return Program(cell, tmp_path_factory.mktemp("lstm")), Inference(cell, 0, steps=5, batch=3)


def returned(lstm: tuple[Program, Inference], changed: dict[str, Any]) -> int:
    program, trial = lstm
    result, model = program.prepare(trial.sizes, trial.params)
    assert result == OK
    outputs, states = program.arrays(trial)
    result = program.forward(model, trial, outputs, states, changed=changed)
    program.function("free")(model)
    return result


@pytest.mark.parametrize(
    ("argument", "value", "result"),
    [
        ("model", None, BAD_ARGUMENT),
        ("x", None, BAD_ARGUMENT),
        ("start", None, OK),
        ("output", None, OK),
        ("end", None, OK),
        ("lengths", None, OK),
        ("threads", ctypes.c_int(-1), OK),
        ("threads", ctypes.c_int(2**31 - 1), OK),
        ("steps", ctypes.c_int64(0), BAD_SIZE),
        ("steps", ctypes.c_int64(-(2**63)), BAD_SIZE),
        ("steps", ctypes.c_int64(2**63 - 1), BAD_SIZE),
        ("batch", ctypes.c_int64(0), BAD_SIZE),
        ("batch", ctypes.c_int64(2**62), BAD_SIZE),
        ("lengths", np.array([5, 0, 2]), BAD_LENGTH),
        ("lengths", np.array([6, 1, 2]), BAD_LENGTH),
        ("lengths", np.array([-(2**63), 1, 2]), BAD_LENGTH),
        ("lengths", np.array([5, 5, 5]), OK),
    ],
)
def test_what_is_wrong_with_a_call_is_told(
    lstm: tuple[Program, Inference], argument: str, value: Any, result: int
) -> None:
    assert returned(lstm, {argument: value}) == result


@pytest.mark.parametrize("size", [0, -1, -(2**63), 2**31, 2**63 - 1])
def test_sizes_that_no_array_has_are_told(lstm: tuple[Program, Inference], size: int) -> None:
    program, trial = lstm
    result, model = program.prepare({**trial.sizes, "hidden_size": size}, trial.params)
    assert (result, model.value) == (BAD_SIZE, None)


def test_sizes_for_which_there_is_no_memory_are_told(lstm: tuple[Program, Inference]) -> None:
    program, trial = lstm
    result, model = program.prepare({**trial.sizes, "hidden_size": 4_900_000}, trial.params)
    assert (result, model.value) == (NO_MEMORY, None)


def test_a_quotient_that_is_no_whole_number_is_told(tmp_path: Path) -> None:
    text = "cell c\ninput x[H]\nstate h[H]\nparam p[H/2]\nh' = tanh(h + x + W·p)\noutput h'\n"
    program = Program(cellc.parse(text), tmp_path)
    arrays = {name: np.zeros(16) for name in ("p", "W_h")}
    assert program.prepare({"hidden_size": 3}, arrays)[0] == BAD_SIZE
    assert program.prepare({"hidden_size": 4}, arrays)[0] == OK


def test_a_row_that_no_table_has_is_told(tmp_path: Path) -> None:
    cell = cellc.load("embedding")
    program, trial = Program(cell, tmp_path), Inference(cell, 0, ragged=False)
    result, model = program.prepare(trial.sizes, trial.params)
    assert result == OK
    for wrong in (-1, 2**62, -(2**63)):
        trial.inputs[0][0, 0] = wrong
        assert program.forward(model, trial, *program.arrays(trial)) == BAD_INDEX


def test_states_may_be_written_where_they_were_read(lstm: tuple[Program, Inference]) -> None:
    program, trial = lstm
    wanted = trial.numpy("O0")
    _, model = program.prepare(trial.sizes, trial.params)
    outputs, _ = program.arrays(trial)
    states = [np.array(state) for state in trial.state]
    same = program.state(states)
    both = {"start": same, "end": same}
    assert program.forward(model, trial, outputs, states, changed=both) == OK
    assert distance((outputs, states), wanted) < 1e-12


# the files


def test_the_header_is_as_it_was(golden: Golden) -> None:
    cell = cellc.load("phased_lstm")
    golden(GOLDEN / "phased_lstm.h", _files(cell)["phased_lstm.h"])


def _files(cell: cellc.Cell) -> dict[str, str]:
    return cellc.backends.backend("native").files(inference(cell), cell)  # type: ignore[attr-defined,no-any-return]


def test_the_same_cell_gives_the_same_bytes() -> None:
    assert _files(cellc.load("gru")) == _files(cellc.load("gru"))


def test_several_cells_and_both_kinds_of_numbers_go_into_one_program(tmp_path: Path) -> None:
    for name in ("rnn", "linear"):
        write(cellc.load(name), tmp_path)
        for bits in (32, 64):
            run("cc", *FLAGS, f"-DREAL_BITS={bits}", "-c", tmp_path / f"{name}.cpp",
                "-o", tmp_path / f"{name}_{bits}.o")  # fmt: skip
    main = tmp_path / "main.c"
    main.write_text("int main(void) { return 0; }\n")
    run("cc", main, *tmp_path.glob("*.o"), "-o", tmp_path / "main", "-lm", "-lpthread")


def test_names_and_texts_of_a_spec_stay_what_they_are(tmp_path: Path) -> None:
    text = """
    cell double
    "Leaves */ this // comment ??/ \\\\"
    input threads[I], start[H]
    state int[H], end[H]
    option auto = 0.5      # a number ??/
    param typename[H], model[H] # a weight \\\\
    store = tanh(W·[int, threads] + typename*auto) # next \\\\
    LANES = sigmoid(store + auto)
    REGISTERS = LANES*store
    int' = REGISTERS + LANES
    end' = end*model + start + int'
    output int', end'
    """
    cell = cellc.parse("\n".join(line.strip() for line in text.strip().splitlines()))
    check(cell, tmp_path)
    run("cc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", "-x", "c", tmp_path / "double.h")


def test_what_programs_cannot_compute_is_told() -> None:
    text = "cell c\ninput x[I]\nstate h[I]\nh' = h + x\noutput h'\n"
    with pytest.raises(CellcError, match="compiled programs run loops one after the other"):
        cellc.emit(cellc.load("deep_rnn"), "native", diagonals="always")
    with pytest.raises(CellcError, match="and no class"):
        cellc.compile(cellc.parse(text), "native")


def test_the_command_line_writes_a_directory(tmp_path: Path) -> None:
    call = CliRunner().invoke
    printed = call(app, ["compile", "gru", "--target", "native"])
    done = call(app, ["compile", "gru", "--target", "native", "-o", str(tmp_path / "deep")])
    assert (printed.exit_code, done.exit_code) == (0, 0)
    files = {path.name: path.read_text() for path in (tmp_path / "deep").iterdir()}
    assert files == _files(cellc.load("gru"))
    assert printed.stdout == files["gru.cpp"]


def test_the_example_runs_with_a_c_compiler_alone(tmp_path: Path) -> None:
    for path in EXAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    write(cellc.load("lstm"), tmp_path)
    run("cc", *FLAGS, "-c", tmp_path / "lstm.cpp", "-o", tmp_path / "lstm.o")
    run("cc", "-std=c99", "-Wall", "-Werror", tmp_path / "main.c", tmp_path / "lstm.o",
        "-o", tmp_path / "main", "-lm", "-lpthread")  # fmt: skip
    assert "libstdc++" not in run("ldd", tmp_path / "main")
    assert "as they should be" in run(tmp_path / "main")


def test_nothing_is_called_like_a_macro() -> None:
    texts = [header(name) for name in {*unit.HEADERS, *programs.HEADERS}]
    macros = {name for text in texts for name in re.findall(r"^#define (\w+)", text, re.MULTILINE)}
    assert {"EXPORT", "SHARED"} <= macros <= KEYWORDS


def test_programs_choose_as_modules_do(tmp_path: Path) -> None:
    """The model of the cost is written twice, since a program chooses without Python."""
    text = programs.library()
    text += """
extern "C" __attribute__((visibility("default")))
int64_t asked(double batch, double steps, double work, int64_t meetings, int64_t threads) {
    const Way found = way(batch, steps, work, meetings, threads);
    return found.threads * 2 + found.by_rows;
}
"""
    source, made = tmp_path / "way.cpp", tmp_path / "way.so"
    source.write_text(text)
    assert find_compiler().run(source, made, 32).returncode == 0
    asked = ctypes.CDLL(str(made)).asked
    asked.argtypes = [ctypes.c_double] * 3 + [ctypes.c_int64] * 2
    found = set()
    for batch, steps, work, meetings, threads in itertools.product(
        (1, 2, 5, 32), (1, 10, 100, 1000), (64, 5_000, 100_000, 262_144, 2_000_000), (0, 1, 7),
        (1, 2, 3, 16),
    ):  # fmt: skip
        wanted = choose(batch, steps, work, 4 * work, meetings, threads)
        code = asked(batch, steps, work, meetings, threads)
        assert (code // 2, bool(code % 2)) == (wanted.threads, wanted.by_rows)
        found.add(wanted)
    assert {way.by_rows for way in found if way.threads == 16} == {True, False}
