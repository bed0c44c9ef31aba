"""Pictures as files, in notebooks and on the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

import cellc
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


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts a process by a signal")
def test_watching_draws_again_and_keeps_the_last_picture(tmp_path: Path) -> None:
    spec, picture, told = (tmp_path / name for name in ("mine.cell", "out.svg", "told.txt"))
    spec.write_text(SPEC)
    with told.open("w") as file:
        command = [sys.executable, "-m", "cellc", "draw", str(spec), "--watch", "-o", str(picture)]
        process = subprocess.Popen(command, stderr=file)
        try:
            _until(lambda: "watching" in told.read_text())
            first = picture.read_text()
            sleep(0.3)
            spec.write_text(SPEC.replace("tanh", "sigmoid"))
            _until(lambda: told.read_text().count("wrote") == 2)
            second = picture.read_text()
            spec.write_text(SPEC.replace("tanh(", "tanh(("))
            _until(lambda: "error[" in told.read_text())
            assert picture.read_text() == second != first
            assert "Traceback" not in told.read_text()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
