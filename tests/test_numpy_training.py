"""The example that trains an LSTM in NumPy learns, and leaves a file that needs no cellc."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EPOCH = re.compile(r"^epoch \d+: loss ([\d.]+), test accuracy ([\d.]+) %$", re.MULTILINE)
ALONE = """
import sys
sys.modules["cellc"] = None  # an import of it would fail
import numpy as np
from lstm import Lstm
y, (h, c) = Lstm(3, 5)(np.ones((4, 2, 3)))
assert y.shape == (4, 2, 5)
"""


def run(*arguments: str, path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout


def test_the_example_learns_and_leaves_its_class(tmp_path: Path) -> None:
    file = tmp_path / "lstm.py"
    example = str(ROOT / "examples" / "numpy_lstm.py")
    output = run(example, "--epochs", "6", "--emit", str(file), path=ROOT)
    losses, accuracies = zip(*EPOCH.findall(output), strict=True)
    assert len(losses) == 6
    assert float(losses[-1]) < float(losses[0]) / 4
    assert float(accuracies[-1]) > 75
    run("-c", ALONE, path=tmp_path)
    assert run(example, "--epochs", "6", path=ROOT) == output
