"""The command line: what it prints, what it writes, how it exits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import cellc
from cellc import ops
from cellc.backends.torch_kernels import loops_of
from cellc.cli import app
from cellc.cli.printing import FAMILIES, in_families
from cellc.diagnostics import CellcError
from cellc.frontend.lineage import lineage_of
from cellc.ir import parse_cell, parse_schedule
from cellc.ops import TABLE
from cellc.ops.op import Op
from cellc.passes.plan import plan, with_compiled
from cellc.resources import shipped_specs
from cellc.views.summary import summarise

FAULTY = "cell bad\ninput x[I]\nstate h[H]\nh' = tanh(W x)\noutput h'\n"


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, status: int = 0, given: str | None = None) -> Any:
    result = CliRunner().invoke(app, list(arguments), input=given)
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def test_list_shows_every_shipped_cell() -> None:
    text = run("list").stdout
    assert all(name in text for name in shipped_specs())
    cells = json.loads(run("list", "--json").stdout)
    assert sorted(cell["name"] for cell in cells) == list(shipped_specs())


def test_list_groups_cells_by_family() -> None:
    lines = [" ".join(line.split()) for line in run("list").stdout.splitlines()]
    places = [lines.index(family) for family in FAMILIES]
    assert places == sorted(places)
    assert (
        places[1] < next(n for n, line in enumerate(lines) if line.startswith("lstm ")) < places[2]
    )
    (gru,) = [line for line in lines if line.startswith("gru h ")]
    assert gru.startswith("gru h 3*H*I + 3*H^2 + 3*H dense Gated recurrent unit")
    assert len(lines) == 1 + len(shipped_specs()) + 2 * len(FAMILIES)
    cells = json.loads(run("list", "--json").stdout)
    assert list(dict.fromkeys(cell["family"] for cell in cells)) == list(FAMILIES)
    facts = {cell["name"]: cell for cell in cells}
    assert facts["phased_lstm"]["lineage"] == ["peephole_lstm"]
    assert facts["g_lstm"]["recurrence_classes"] == ["block"]
    assert facts["grid_lstm_2d"]["parameters"]["formula"] == "2*H*I + 32*H^2 + 16*H"


def test_a_family_of_ones_own_comes_last() -> None:
    def summary(name: str, family: str) -> Any:
        text = f"cell {name}\nfamily \"{family}\"\ninput x[H]\nstate h[H]\nh' = x + h\noutput h'\n"
        cell = cellc.parse(text if family else text.replace('family ""\n', ""))
        return summarise(cell, cellc.driver.schedule(cell))

    cells = [summary("a", "Birds"), summary("b", ""), summary("c", "GRU"), summary("d", "Layers")]
    assert [s.cell.name for s in in_families(cells)] == ["c", "d", "a", "b"]


def test_show_gives_equations_shapes_and_figures() -> None:
    text = run("show", "lstm", "-s", "I=64", "-s", "H=128").stdout
    assert "f  = sigmoid(W_f·[h, x] + b_f)" in text
    assert "# forget gate" in text
    assert f"{4 * ((64 + 128) * 128 + 128):,} for I = 64, H = 128" in text
    facts = json.loads(run("show", "gru", "--json").stdout)
    assert facts["states"] == {"h": "[H]"}
    assert facts["parameters"]["formula"] == "3*H*I + 3*H^2 + 3*H"
    assert r"\sigma(W_f [h_{t-1}, x_t] + b_f)" in run("show", "lstm", "--latex").stdout


def test_show_tells_the_lineage() -> None:
    text = run("show", "phased_lstm").stdout
    assert "phased_lstm ← peephole_lstm\n  renamed  c' is c̃ here" in text
    assert "  new      h' = k*h̃ + (1 - k)*h\n" in text
    text = run("show", "cifg").stdout
    assert "cifg ← vanilla_lstm ← peephole_lstm\n" in text
    assert "  changed  f = sigmoid(W·[h, x] + p*c + b)\n       to  f = 1 - i\n" in text
    assert "  gone     param p_f[H]\n" in text
    assert "vanilla_lstm ← peephole_lstm\n  unchanged\n" in run("show", "vanilla_lstm").stdout
    assert "←" not in run("show", "lstm").stdout
    lineage = json.loads(run("show", "highway", "--json").stdout)["lineage"]
    assert lineage["bases"] == ["gru"]
    assert lineage["gone"] == ["r = sigmoid(W·x + U·h + b)"]
    assert {"before": "input x[I]", "after": "input x[H]"} in lineage["changed"]


@pytest.mark.parametrize("name", list(shipped_specs()))
def test_a_cell_told_with_what_it_inherits_is_the_same_cell(name: str) -> None:
    cell, lineage = cellc.load(name), lineage_of(shipped_specs()[name])
    assert lineage.bases == cell.lineage[::-1]
    assert cellc.parse(f"{cell.kind} {name}\n{lineage.text}").key() == cell.key()


def test_sizes_are_chosen_before_compiling() -> None:
    text = run("show", "highway", "-s", "L=4", "-s", "H=8").stdout
    assert "lengths     L = 4; chosen before compiling" in text
    assert "parameters      8*H^2 + 8*H = 576 for H = 8\n" in text
    assert "h_5" not in run("ir", "highway", "-s", "L=4").stdout
    assert "h_4" in run("ir", "highway", "-s", "L=4").stdout
    assert "hidden_size = 8" in run("compile", "highway", "-s", "L=4", "-s", "H=8").stdout
    run("draw", "highway", "-s", "L=1", "-o", "one.svg")
    assert Path("one.svg").stat().st_size
    assert "L" in run("explain", "gated_feedback_rnn", "-s", "L=3").stdout
    run("check", str(shipped_specs()["highway"]), "-s", "L=3")


@pytest.mark.parametrize("command", ["show", "compile", "draw", "ir", "explain", "check"])
@pytest.mark.parametrize(
    ("size", "said"),
    [("Q=3", "has a dimension `Q`"), ("L=0", "is no size"), ("L", "is no size"),
     ("L=x", "is no size"), ("L=²", "is no size"), ("L=9999999", "more than"),
     ("name=2", "`name`")],
)  # fmt: skip
def test_a_wrong_size_is_wrong_usage(command: str, size: str, said: str) -> None:
    cell = str(shipped_specs()["highway"]) if command == "check" else "highway"
    output = run(command, cell, "--size", size, status=2).output
    assert said in " ".join(output.replace("│", " ").split())
    assert not [*Path().iterdir()]


def test_check_reports_and_exits_by_what_it_finds() -> None:
    Path("bad.cell").write_text(FAULTY)
    assert "missing-operator" in run("check", "bad.cell", status=1).output
    errors = json.loads(run("check", "bad.cell", "--json", status=1).stdout)["errors"]
    assert errors[0]["code"] == "missing-operator"
    assert errors[0]["place"]["line"] == 4
    assert "lstm: no errors" in run("check", str(shipped_specs()["lstm"])).stdout
    assert "cannot be read" in run("check", "nothing.cell", status=1).output


@pytest.mark.parametrize("command", ["show", "compile", "draw", "ir", "explain"])
def test_every_command_says_what_is_wrong_and_writes_nothing(command: str) -> None:
    Path("bad.cell").write_text(FAULTY)
    assert "missing-operator" in run(command, "bad.cell", status=1).output
    assert "did you mean `lstm`" in run(command, "lstmm", status=1).output
    assert [path.name for path in Path().iterdir()] == ["bad.cell"]


def test_wrong_usage_exits_with_two() -> None:
    run("show", "lstm", "-s", "Q=3", status=2)
    run("compile", "lstm", "-O", "O9", status=2)
    run("nonsense", status=2)
    run("compile", status=2)


def test_compile_writes_a_file_or_prints_it() -> None:
    printed = run("compile", "lstm").stdout
    run("compile", "lstm", "-o", "deep/lstm.py")
    assert Path("deep/lstm.py").read_text() == printed
    assert "import numpy as np" in run("compile", "lstm", "--target", "numpy").stdout
    assert "unknown-target" in run("compile", "lstm", "--target", "fortran", status=1).output
    Path("taken").mkdir()
    assert "unwritable" in run("compile", "lstm", "-o", "taken", status=1).output


def test_draw_writes_a_picture() -> None:
    run("draw", "lstm")
    assert Path("lstm.svg").read_text().lstrip().startswith("<svg ")
    run("draw", "gru", "-o", "gru.png")
    assert Path("gru.png").read_bytes().startswith(b"\x89PNG")
    assert "unwritable" in run("draw", "gru", "-o", "gru.gif", status=1).output


def test_draw_has_views() -> None:
    for number, options in enumerate([
        ["--view", "unrolled", "--steps", "2"], ["--view", "compare", "--level", "1"],
        ["--view", "backward", "--theme", "dark"], ["--diff", "lstm", "--legend", "--captions"],
        ["--expand", "all"],
    ]):  # fmt: skip
        run("draw", "gru", *options, "-o", f"{number}.svg")
        assert "<title>gru</title>" in Path(f"{number}.svg").read_text()
    pictures = {Path(f"{number}.svg").read_text() for number in range(5)}
    assert len(pictures) == 5


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--view", "gate"], "unknown-view"),
        (["--view", "ops", "--diff", "lstm"], "not-in-this-view"),
        (["--view", "ops", "--expand", "all"], "not-in-this-view"),
        (["--diff", "lstm", "--expand", "all"], "not-in-this-view"),
        (["--theme", "neon"], "unknown-theme"),
        (["--expand", "lstm"], "unknown-part"),
        (["--diff", "lsmt"], "unknown-cell"),
    ],
)
def test_draw_refuses_what_it_does_not_know(options: list[str], code: str) -> None:
    result = run("draw", "gru", *options, status=1)
    assert f"error[{code}]" in result.output
    assert not Path("gru.svg").exists()


@pytest.mark.parametrize(
    ("options", "says", "status"),
    [
        (["-o", "gru.gif"], "error[unwritable]", 1),
        (["--view", "gate"], "error[unknown-view]", 1),
        (["--theme", "neon"], "error[unknown-theme]", 1),
        (["--diff", "lsmt"], "error[unknown-cell]", 1),
        (["--view", "ops", "--expand", "all"], "error[not-in-this-view]", 1),
        (["--level", "9"], "is none of", 2),
        (["--size", "L"], "is no size", 2),
    ],
)
def test_watching_ends_at_once_where_no_save_helps(
    options: list[str], says: str, status: int
) -> None:
    Path("mine.cell").write_text(shipped_specs()["gru"].read_text())
    result = run("draw", "mine.cell", "--watch", *options, status=status)
    assert says in result.output
    assert "watching" not in result.output


def test_watching_needs_a_folder() -> None:
    said = run("draw", "nowhere/mine.cell", "--watch", status=1).output
    assert "error[unreadable-file]: there is no folder" in said


def test_both_cells_of_a_picture_have_the_sizes_that_they_know() -> None:
    run("draw", "grid_lstm_2d", "--diff", "grid_lstm_2d", "-s", "L=3", "--captions", "-o", "a.svg")
    assert "no equation differs" in Path("a.svg").read_text()
    run("draw", "highway", "--diff", "lstm", "-s", "L=3", "-o", "b.svg")
    run("draw", "lstm", "--diff", "highway", "-s", "L=3", "-o", "c.svg")
    assert "neither cell" in run("draw", "lstm", "--diff", "gru", "-s", "L=3", status=2).output


def test_ir_prints_what_parses() -> None:
    parse_cell(run("ir", "lstm").stdout, TABLE)
    parse_cell(run("ir", "lstm", "-O", "O2").stdout, TABLE)
    scheduled = run("ir", "lstm", "-O", "O2", "--schedule").stdout
    parse_schedule(scheduled, TABLE)
    assert "saves (%g, %73, %c', %h')" in scheduled
    between = run("ir", "lstm", "-O", "O2", "--print-between").stdout
    assert "# after fuse_matmul" in between
    assert "# unchanged" in between


def test_explain_tells_the_story() -> None:
    text = " ".join(run("explain", "gru").stdout.split())
    assert "rewrote `h'`" in text
    assert "carrying h: 2 matrix products" in text
    assert "matrix products in the loop 3 2" in text
    assert "A step is, in order: product, kernel, product, kernel." in text
    assert "elementwise kernels in the loop 2 2" in text
    text = " ".join(run("explain", "seq2seq_lstm").stdout.split())
    assert "Once per sequence: 2 operations over whole sequences." in text
    assert "Step by step along target, carrying decoder_1_h" in text


def table_of(text: str) -> dict[str, tuple[int, int]]:
    """The figures before and after, by what they count."""
    rows = re.findall(r"^ ?(\S.*?) {2,}([\d,]+) +([\d,]+) *$", text, re.MULTILINE)
    return {what: (int(a.replace(",", "")), int(b.replace(",", ""))) for what, a, b in rows}


def test_explain_counts_what_is_in_the_loop_and_what_is_not() -> None:
    i, h = 64, 128
    table = table_of(run("explain", "lstm").stdout)
    gates, states = 3 * 4 * h + 4 * h, 4 * h + 4 * h  # sigmoids and a tanh; f*c + i*g, o*tanh(c')
    written = 4 * 2 * h * (i + h) + 4 * h + gates + states
    assert table["flops per step in the loop"] == (written, 2 * 4 * h * h + 4 * h + gates + states)
    assert table["flops per step"] == (written, written + 4 * h)  # a sum more for each gate
    assert table["matrix products before or after the loop"] == (0, 1)
    assert "flops once per call or sequence" not in table
    at_once, step = 2 * 3 * h * 2 * i, 2 * h  # six products; c' = f*c + b is left to the scan
    table = table_of(run("explain", "qrnn").stdout)
    assert table["flops per step in the loop"][1] == step
    assert table["flops per step"][1] == at_once + 3 * h + 4 * 3 * h + 2 * h + step + h
    assert table["elementwise operations before or after the loop"][1] == 5
    assert table["products in a row in one step"] == (0, 0)
    assert table_of(run("explain", "sru").stdout)["flops once per call or sequence"] == (10, 10)


def test_explain_gives_the_reason_of_the_recurrence_and_names_a_scan() -> None:
    text = " ".join(run("explain", "min_gru").stdout.split())
    assert "is diagonal affine: h' = a*h + b, where a and b are known before the loop." in text
    assert "As a scan along time, carrying h: 1 elementwise operation." in text
    one = "So T steps take about 2*log2(T) operations one after the other"
    assert f"{one}, where that is faster than T steps one by one." in text
    text = " ".join(run("explain", "min_gru", "--scan", "always").stdout.split())
    assert f"{one}." in text
    text = " ".join(run("explain", "min_gru", "--scan", "never").stdout.split())
    assert "A parallel scan along time could compute all steps together" in text
    text = " ".join(run("explain", "gru").stdout.split())
    assert "U_r, U_z multiply h in one." in text
    assert "is dense: h' depends on h through the product [U_r, U_z]·h (gru.cell:9-10)." in text
    assert "A step must do 2 products one after the other." in text
    assert "scan" not in text


@pytest.mark.parametrize("command", ["show", "explain"])
def test_sizes_that_do_not_divide_are_wrong_usage(command: str) -> None:
    output = run(command, "g_lstm", "-s", "H=10", "-s", "K=3", status=2).output
    assert "is no whole number" in " ".join(output.replace("│", " ").split())


def test_fmt_formats_checks_and_keeps_comments() -> None:
    text = shipped_specs()["lstm"].read_text()
    ugly = text.replace(" = ", "=").replace("      #", " #")
    Path("one.cell").write_text(ugly)
    assert "would format one.cell" in run("fmt", "one.cell", "--check", status=1).output
    assert "+f  = sigmoid" in run("fmt", "one.cell", "--diff").stdout
    assert Path("one.cell").read_text() == ugly
    run("fmt", "one.cell")
    assert Path("one.cell").read_text() == text
    run("fmt", "one.cell", "--check")
    assert run("fmt", "-", given=ugly).stdout == text
    Path("bad.cell").write_text(FAULTY)
    run("fmt", "bad.cell", status=1)
    assert Path("bad.cell").read_text() == FAULTY


def test_new_writes_a_cell_that_checks_and_never_overwrites() -> None:
    run("new", "mine")
    run("check", "mine.cell")
    run("fmt", "mine.cell", "--check")
    assert "exists already" in run("new", "mine", status=1).output
    run("new", "twin", "--from", "lstm")
    run("check", "twin.cell")
    run("new", "x y", status=1)
    run("new", "other", "--from", "nothing", status=1)
    assert not Path("other.cell").exists()


def test_help_teaches() -> None:
    for command in ("list", "check", "show", "compile", "draw", "ir", "explain", "diff", "fmt",
                    "new", "cache"):  # fmt: skip
        assert "Example" in run(command, "--help").stdout
    assert "cellc 0." in run("--version").stdout


def test_explain_tells_what_is_compiled() -> None:
    said = run("explain", "lstm", "-s", "H=64").stdout
    assert "Compiled, a step forward along time is:" in said
    assert "W_fiog_h·h [4*H by H] with 6 elementwise values over H" in " ".join(said.split())
    assert "Ahead of it, for a block of steps: W_fiog_x·x [4*H by I]." in " ".join(said.split())


def test_explain_tells_why_nothing_is_compiled() -> None:
    ops.register(Op("mystery", "Unknown.", "elementwise", ("a",), spelling="xp.mystery(a)",
                    derivative=("g",)))  # fmt: skip
    try:
        cell = cellc.parse("cell c\ninput x[H]\nstate h[H]\nh' = mystery(h + x)\noutput h'\n")
        planned = with_compiled(plan(cell, "O2", "balanced", False, "never")).compiled
        assert planned is not None
        with pytest.raises(CellcError, match=r"compiled kernels cannot compute `xp\.mystery"):
            loops_of(planned)
    finally:
        ops.unregister("mystery")
