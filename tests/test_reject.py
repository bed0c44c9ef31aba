"""Every kind of error has an example, and its text is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cellc
from cellc import ops
from cellc.backends.spelling import Speller
from cellc.diagnostics import CODES, CellcError, Collector, Diagnostic, Source, Span, render
from cellc.files import write_file
from cellc.ir.text import parse_cell
from cellc.kernels.build import library
from cellc.ops import TABLE
from cellc.ops.op import Op
from cellc.passes.derivative import derivative
from tests.conftest import Golden

FOLDER = Path(__file__).parent / "reject"
STORED = sorted(path.stem for path in FOLDER.glob("*.cell"))

_HEAD = "cell faulty\ninput x[I]\nstate h[H]\n"

#: Files that are too large or no text, made when they are needed.
GENERATED: dict[str, bytes] = {
    "file-too-large": (_HEAD + "# long\n" * 200_000).encode(),
    "line-too-long": (_HEAD + f"h' = {'h + ' * 25_000}h\noutput h'\n").encode(),
    "nested-too-deeply-brackets": (
        _HEAD + "h' = " + "((((\n" * 2_500 + "h" + "))))\n" * 2_500
    ).encode(),
    "not-text": bytes(np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8)),
    "not-text-latin": (_HEAD + "τ = 1\n").encode("iso8859-7"),
}


def _missing_spelling(folder: Path) -> None:
    lost = Op("lost", "No backend can write it.", "elementwise", ("a",))
    cell = cellc.load("rnn")
    nodes = {
        name: type(node)(lost, node.args, node.type) if node.op is TABLE["tanh"] else node
        for name, node in cell.nodes.items()
    }
    assert any(node.op is lost for node in nodes.values())
    node = next(node for node in nodes.values() if node.op is lost)
    speller = Speller("numpy", "np")
    table = pytest.MonkeyPatch()
    with table.context() as patch:
        patch.setattr("cellc.backends.spelling.TABLE", {**TABLE, "lost": lost})
        speller.spelling(node, [])


def _sequence_in_loop(folder: Path) -> None:
    text = """
    cell turning
    dim H hidden_size
    %x = input() : [H] over {batch, time}
    %h = state() : [H] over {batch, time}
    %turned = reverse(%h) {axis="time"} : [H] over {batch, time}
    %y = add(%turned, %x) : [H] over {batch, time}
    next %h = %y
    output %y = %y
    """
    cellc.schedule(parse_cell(text, TABLE))


def _unwritable(folder: Path) -> None:
    blocked = folder / "blocked"
    blocked.write_text("a file where a folder should be")
    try:
        write_file(blocked / "cell.py", "text")
    except CellcError as error:
        (found,) = error.diagnostics
        message = found.message.replace(str(folder), "FOLDER")
        raise CellcError(Diagnostic(found.code, message)) from None


#: Errors that no spec can cause, and what causes them.
def _no_derivative(folder: Path) -> object:
    ops.register(Op("mystery", "Unknown.", "elementwise", ("a",), spelling="a"))
    try:
        text = "cell c\ninput x[H]\nstate h[H]\nh' = mystery(x + h)\noutput h'\n"
        return derivative(cellc.parse(text))
    finally:
        ops.unregister("mystery")


def _build(folder: Path, compiler: str | None, store: str = "store") -> object:
    """Build kernels with a compiler that is a script, or without any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", str(folder))
        patch.setenv("CELLC_CACHE", store)
        patch.delenv("CXX", raising=False)
        if compiler is not None:
            (folder / "c++").write_text(compiler)
            (folder / "c++").chmod(0o755)
        (folder / "file").write_text("")
        return library("int no_kernel;", 32)


def _without_triton() -> object:
    """A class that nothing has made before, where Triton cannot be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton", None)
        text = "cell no_triton\ninput x[H]\nstate h[H]\nh' = tanh(U·h + x)\noutput h'"
        return cellc.compile(cellc.parse(text), target="triton")


CAUSED: dict[str, Callable[[Path], object]] = {
    "unknown-kernels": lambda folder: cellc.compile("gru", kernels="fast"),
    "no-triton": lambda folder: _without_triton(),
    "no-compiler": lambda folder: _build(folder, None),
    "kernel-build": lambda folder: _build(folder, "#!/bin/sh\necho it cannot >&2\nexit 1\n"),
    "kernel-store": lambda folder: _build(folder, "#!/bin/sh\nexit 0\n", "file/store"),
    "bad-ir": lambda folder: parse_cell("cell c\n%1 = tanh(%x : [H] over {}\n", TABLE),
    "bad-ir-op": lambda folder: parse_cell("cell c\n%1 = tahn(%x) : [H] over {}\n", TABLE),
    "missing-spelling": _missing_spelling,
    "sequence-in-loop": _sequence_in_loop,
    "not-an-equation": lambda folder: cellc.couple(cellc.load("lstm"), "state f[H]"),
    "not-an-equation-input": lambda folder: cellc.couple(cellc.load("lstm"), "x = 1 - i"),
    "not-an-equation-state": lambda folder: cellc.couple(cellc.load("lstm"), "c = 1 - i"),
    "cycle-coupled": lambda folder: cellc.couple(cellc.load("lstm"), "f = 1 - c'"),
    "parameter-shared-coupled": lambda folder: cellc.couple(cellc.load("gru"), "z = W_r·x"),
    "shape-clash-coupled": lambda folder: cellc.couple(cellc.load("lstm"), "f = i > 0"),
    "unknown-name-coupled": lambda folder: cellc.couple(cellc.load("phased_lstm"), "kk = 1"),
    "not-a-dimension-argument": lambda folder: cellc.load("lstm", H=0),
    "not-a-dimension-fraction": lambda folder: cellc.load("highway", L=2.5),  # type: ignore[arg-type]
    "not-a-step-count": lambda folder: cellc.truncate(cellc.load("gru"), 0),
    "not-a-step-count-drawn": lambda folder: cellc.draw("gru", "unrolled", steps=0),
    "no-derivative": _no_derivative,
    "unknown-memory": lambda folder: cellc.emit("gru", memory="none"),
    "unknown-theme": lambda folder: cellc.draw("gru", theme="neon"),
    "unknown-part": lambda folder: cellc.draw("stacked_lstm", expand="gru"),
    "unknown-view": lambda folder: cellc.draw("gru", "gate"),
    "not-in-this-view": lambda folder: cellc.draw("stacked_lstm", "ops", expand="lstm"),
    "not-in-this-view-base": lambda folder: cellc.draw("gru", "unrolled", base="lstm"),
    "not-in-this-view-both": lambda folder: cellc.draw("gru", base="lstm", expand="all"),
    "not-in-this-view-renamed": lambda folder: cellc.draw("gru", renamed={"h": "c"}),
    "unknown-diagonals": lambda folder: cellc.emit("gru", diagonals="often"),
    "no-diagonals": lambda folder: cellc.emit("deep_rnn", "numpy", diagonals="always"),
    "unknown-scan": lambda folder: cellc.emit("gru", scan="often"),
    "unknown-level": lambda folder: cellc.emit("gru", level="O9"),
    "no-class": lambda folder: cellc.compile("gru", "native"),
    "no-diagonals-native": lambda folder: cellc.emit("deep_rnn", "native", diagonals="always"),
    "unknown-target": lambda folder: cellc.emit(cellc.load("gru"), target="fortran"),
    "unreadable-file": lambda folder: cellc.load(folder / "absent.cell"),
    "unreadable-file-folder": lambda folder: cellc.load(folder),
    "unwritable": _unwritable,
}


def code_of(name: str) -> str:
    """The code that a file's name begins with: ``syntax`` of ``syntax-brace``."""
    return max((code for code in CODES if f"{name}-".startswith(f"{code}-")), key=len)


def check(name: str, error: CellcError, golden: Golden) -> None:
    assert code_of(name) in {diagnostic.code for diagnostic in error.diagnostics}
    golden(FOLDER / f"{name}.txt", f"{error}\n")


@pytest.mark.parametrize("name", STORED)
def test_a_faulty_spec_is_explained(name: str, golden: Golden) -> None:
    with pytest.raises(CellcError) as caught:
        cellc.load(FOLDER / f"{name}.cell")
    check(name, caught.value, golden)


@pytest.mark.parametrize("name", GENERATED)
def test_an_unwieldy_file_is_explained(name: str, golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.cell"
    path.write_bytes(GENERATED[name])
    with pytest.raises(CellcError) as caught:
        cellc.load(path)
    check(name, caught.value, golden)


@pytest.mark.parametrize("name", CAUSED)
def test_an_error_of_use_is_explained(name: str, golden: Golden, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(CellcError) as caught:
        CAUSED[name](folder)
    check(name, caught.value, golden)


def test_every_code_has_an_example() -> None:
    assert {code_of(name) for name in [*STORED, *GENERATED, *CAUSED]} == set(CODES)
    texts = {path.stem for path in FOLDER.glob("*.txt")}
    assert texts == {*STORED, *GENERATED, *CAUSED}


def test_errors_of_a_base_point_into_its_file(tmp_path: Path) -> None:
    (tmp_path / "base.cell").write_text("cell base\ninput x[I\n", encoding="utf-8")
    (tmp_path / "child.cell").write_text("cell child from base\n", encoding="utf-8")
    with pytest.raises(CellcError, match=r"base\.cell:2:8"):
        cellc.load(tmp_path / "child.cell")


def test_cells_of_two_files_that_derive_from_each_other(tmp_path: Path) -> None:
    (tmp_path / "one.cell").write_text("cell one from two\n", encoding="utf-8")
    (tmp_path / "two.cell").write_text("cell two from one\n", encoding="utf-8")
    with pytest.raises(CellcError, match="one → two → one"):
        cellc.load(tmp_path / "one.cell")


def test_a_cell_may_be_derived_from_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "lstm.cell").write_text("cell lstm from lstm\ni = 1\n", encoding="utf-8")
    cell = cellc.load(tmp_path / "lstm.cell")
    assert "W_i" not in cell.params
    assert "W_f" in cell.params


def test_an_error_is_reported_once_and_sorted() -> None:
    source = Source("text", "one\ntwo\n")
    found = Collector()
    second = Diagnostic("syntax", "second", Span(source, 4, 7))
    first = Diagnostic("syntax", "first", Span(source, 0, 3))
    for diagnostic in (second, first, second):
        found.add(diagnostic)
    with pytest.raises(CellcError) as caught:
        found.raise_if_any()
    assert caught.value.diagnostics == (first, second)
    assert str(caught.value) == f"{render(first)}\n\n{render(second)}"


def test_a_diagnostic_needs_a_known_code() -> None:
    with pytest.raises(ValueError, match="unknown diagnostic code"):
        Diagnostic("no-such-code", "message")
