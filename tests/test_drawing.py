"""Pictures as files, in notebooks and on the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from time import monotonic, sleep
from typing import Any

import pytest

import cellc
from cellc.diagnostics import CellcError
from cellc.pictures import VIEWS
from tests.conftest import Golden
from tests.test_diagram import SVG, texts

GOLDEN = Path(__file__).parent / "golden" / "pictures"
SPEC = "cell mine\ninput x[I]\nstate h[H]\nh' = tanh(W·[h, x] + b)\noutput h'\n"


def without_fonts(svg: str) -> str:
    """A picture without where its texts stand, which depends on the fonts at hand."""
    root = ET.fromstring(svg)
    for text in root.iter(f"{SVG}text"):
        text.attrib.pop("x")
        text.attrib.pop("y")
    return ET.tostring(root, encoding="unicode") + "\n"


@pytest.mark.parametrize(
    "name",
    ["lstm", "gru", "peephole_lstm", "phased_lstm", "grid_lstm_2d", "deep_bidirectional_lstm"],
)
def test_pictures_stay_as_they_are(name: str, golden: Golden) -> None:
    golden(GOLDEN / f"{name}.svg", without_fonts(cellc.draw(name).svg()))


def test_pictures_are_small() -> None:
    assert len(cellc.draw("lstm").svg()) < 12_000
    assert len(cellc.draw("phased_lstm").svg()) < 30_000


def test_a_notebook_shows_the_picture_and_the_equations() -> None:
    drawing = cellc.draw("gru")
    bundle = drawing._repr_mimebundle_()
    assert bundle["image/svg+xml"] == drawing._repr_svg_() == drawing.svg()
    latex = drawing._repr_latex_()
    assert latex is not None
    assert latex == bundle["text/latex"]
    assert latex.startswith("$$\\begin{aligned}")
    assert "z_t" in latex


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_the_same_in_another_process(view: str) -> None:
    code = (
        "import cellc\n"
        "for name in ('gated_feedback_lstm', 'grid_lstm_3d', 'deep_bidirectional_lstm'):\n"
        f"    print(cellc.draw(name, {view!r}, legend=True).svg())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout


@pytest.mark.parametrize("view", VIEWS)
def test_names_are_written_as_on_paper(view: str) -> None:
    cell = cellc.parse(
        "cell c\ninput x[I]\nstate h[H], ĉ[H]\nφ = sigmoid(W·x + U·h + b)\n"
        "c̃ = tanh(W·x + U·ĉ)\nĉ' = φ*ĉ + c̃\nh' = φ*tanh(ĉ')\noutput h'\n"
    )
    shown = texts(cellc.draw(cell, view, captions=True))
    assert {"φ", "c̃", "ĉ", "h"} <= set(shown)


def test_the_base_of_a_spec_is_told_by_its_renamed_values() -> None:
    plain = cellc.draw("phased_lstm", base="peephole_lstm").dot
    assert plain != cellc.draw(cellc.load("phased_lstm"), base="peephole_lstm").dot
    names = {"c'": "c̃", "h'": "h̃"}
    again = cellc.draw(cellc.load("phased_lstm"), base="peephole_lstm", renamed=names)
    assert again.dot == plain


def _until(holds: Callable[[], bool]) -> None:
    end = monotonic() + 30
    while not holds():
        assert monotonic() < end
        sleep(0.05)


#: The command line of a process that is told of Ctrl-C even where the tests run behind a shell.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from cellc.cli import main
main()
"""


@contextmanager
def watching(spec: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that draws a spec whenever it is saved, and the file of what it tells."""
    told = spec.parents[1] / "told.txt"
    with told.open("w") as file:
        command = [sys.executable, "-c", INTERRUPTIBLE, "draw", str(spec), "--watch", *options]
        process = subprocess.Popen(command, stderr=file)
        try:
            _until(lambda: "watching" in told.read_text())
            sleep(0.3)
            yield process, told
            assert "Traceback" not in told.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "cells").mkdir()
    spec = tmp_path / "cells" / "mine.cell"
    spec.write_text(SPEC)
    return spec


by_signal = pytest.mark.skipif(sys.platform == "win32", reason="interrupts a process by a signal")


@by_signal
def test_watching_draws_again_and_keeps_the_last_picture(spec: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out.svg"
    with watching(spec, "-o", str(picture)) as (process, told):
        first = picture.read_text()
        spec.write_text(SPEC.replace("tanh", "sigmoid"))
        _until(lambda: told.read_text().count("wrote") == 2)
        second = picture.read_text()
        spec.write_text(SPEC.replace("tanh(", "tanh(("))
        _until(lambda: "error[" in told.read_text())
        assert picture.read_text() == second != first
    assert process.returncode == 0


@by_signal
def test_watching_goes_on_after_a_size_that_the_cell_has_no_more(
    spec: Path, tmp_path: Path
) -> None:
    text = SPEC.replace("input", "dim K kinds\ninput").replace("[I]", "[K]")
    spec.write_text(text)
    with watching(spec, "-o", str(tmp_path / "out.svg"), "-s", "K=2") as (_, told):
        spec.write_text(SPEC)
        _until(lambda: "has a dimension `K`" in told.read_text())
        spec.write_text(text)
        _until(lambda: told.read_text().count("wrote") == 2)


@by_signal
def test_watching_tells_an_error_once(spec: Path, tmp_path: Path) -> None:
    wrong = SPEC.replace("tanh(", "tanh((")
    with watching(spec, "-o", str(tmp_path / "out.svg")) as (_, told):
        spec.write_text(wrong)
        _until(lambda: "error[" in told.read_text())
        for _ in range(3):
            spec.write_bytes(spec.read_bytes())
            (spec.parent / "notes.txt").write_text("no cell")
            os.utime(spec)
            sleep(0.2)
        spec.write_text(SPEC)
        _until(lambda: told.read_text().count("wrote") == 2)
        assert told.read_text().count("error[") == 1


@by_signal
def test_watching_ends_with_its_folder(spec: Path, tmp_path: Path) -> None:
    with watching(spec, "-o", str(tmp_path / "out.svg")) as (process, told):
        rmtree(spec.parent)
        assert process.wait(30) == 1
        assert "there is no folder" in told.read_text()


@pytest.mark.parametrize("view", VIEWS)
def test_every_thing_has_an_id_of_its_own(view: str) -> None:
    cell = cellc.parse(
        "cell c\ninput x[H]\nstate h[H]\nnext_h = tanh(W·x + U·h)\noutput_y = sigmoid(x)\n"
        "h' = next_h*output_y\ny = tanh(h')\noutput y, output_y, next_h\n"
    )
    ids = re.findall(r'id="([^"]*)"', cellc.draw(cell, view).svg())
    assert len(ids) == len({*ids})
    assert view != "gates" or {"next-h", "next_h", "output-y", "output_y"} <= {*ids}
    assert not any(" " in each for each in ids)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"level": "O9"}, "unknown-level"),
        ({"steps": 0}, "not-a-step-count"),
        ({"steps": 2.5}, "not-a-step-count"),
        ({"theme": "ligth"}, "unknown-theme"),
        ({"renamed": {"h": "c"}}, "not-in-this-view"),
        ({"expand": "lstm", "base": "lstm"}, "not-in-this-view"),
    ],
)
def test_every_view_refuses_what_makes_no_sense(
    view: str, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(CellcError) as caught:
        cellc.draw("gru", view, **options)
    assert [each.code for each in caught.value.diagnostics] == [code]


@pytest.mark.parametrize("view", ["ops", "compare", "backward"])
@pytest.mark.parametrize("options", [{"expand": "lstm"}, {"expand": ["all"]}, {"base": "lstm"}])
def test_a_view_refuses_options_that_it_has_no_use_for(view: str, options: dict[str, Any]) -> None:
    with pytest.raises(CellcError, match=rf"not-in-this-view.*`{view}`"):
        cellc.draw("stacked_lstm", view, **options)


def test_names_that_are_near_are_told() -> None:
    with pytest.raises(CellcError, match="did you mean `unrolled`"):
        cellc.draw("gru", "unroled")
    with pytest.raises(CellcError, match="did you mean `light`"):
        cellc.draw("gru", theme="ligth")


def test_levels_are_written_in_short_too() -> None:
    assert cellc.draw("gru", "ops", level="0").dot == cellc.draw("gru", "ops", level="O0").dot
