"""The script that trains the zoo, on a few small cells, and the page that it has written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cellc.resources import shipped_specs

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "zoo-training.md"
ROW = re.compile(r"^\| (\w+) \| ([^|]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|", re.MULTILINE)


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "zoo.py"), *arguments]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_some_cells_are_trained_alike_twice(tmp_path: Path) -> None:
    pages = [tmp_path / "one.md", tmp_path / "two.md"]
    for page in pages:
        run = train("gru", "one_to_many", "--epochs", "3", "--output", str(page))
        assert run.returncode == 0, run.stdout + run.stderr
    rows = [ROW.findall(page.read_text(encoding="utf-8")) for page in pages]
    assert rows[0] == rows[1]
    assert [(name, task) for name, task, *_ in rows[0]] == [
        ("gru", "speakers"),
        ("one_to_many", "digits, lower rows"),
    ]
    assert "--epochs 3 --seed 0" in pages[0].read_text(encoding="utf-8")


def test_what_does_not_learn_is_reported(tmp_path: Path) -> None:
    run = train("rnn", "--epochs", "0", "--output", str(tmp_path / "page.md"))
    assert run.returncode == 1
    assert "rnn: core.U_h never gets a gradient" in run.stderr
    assert "rnn: the loss does not fall" in run.stderr


def test_the_page_tells_of_every_cell() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert sorted(name for name, *_ in rows) == list(shipped_specs())
    assert all(float(after) < float(before) for *_, before, after in rows)
