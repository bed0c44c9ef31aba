"""The wheel carries grammars and specs and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it.

    What the wheel depends on is taken from the environment of the tests, so that
    nothing needs to be fetched.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
             "--no-build-isolation", "--wheel-dir"]  # fmt: skip
    subprocess.run([*build, str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("cellc-*.whl")
    venv.create(folder / "fresh", with_pip=True)
    fresh = folder / "fresh" / "bin" / "python"
    install = [str(fresh), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    packages = next((folder / "fresh" / "lib").glob("python*")) / "site-packages"
    ours = [path for path in map(Path, sys.path) if path.name == "site-packages"]
    (packages / "shared.pth").write_text("\n".join(map(str, ours)) + "\n")
    return fresh


def test_a_shipped_cell_compiles_from_an_empty_directory(python: Path, tmp_path: Path) -> None:
    code = (
        "import cellc, pathlib; assert 'fresh' in cellc.__file__, cellc.__file__;"
        "assert 'lstm' in cellc.resources.shipped_specs();"
        "print(cellc.compile(cellc.load('lstm'), 'numpy')(3, 4)([[1.0, 2.0, 3.0]])[0].shape)"
    )
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([str(python), "-c", "import cellc.resources;" + code], cwd=tmp_path,
                          env=alone, capture_output=True, text=True)  # fmt: skip
    assert done.stdout.strip() == "(1, 4)", done.stderr
    command = [str(python.parent / "cellc"), "compile", "lstm", "-o", "lstm.py"]
    subprocess.run(command, cwd=tmp_path, env=alone, check=True, capture_output=True)
    assert "class Lstm(nn.Module)" in (tmp_path / "lstm.py").read_text()
