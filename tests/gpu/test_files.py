"""Emitted files: they compile for a GPU, and run where there is no cellc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cellc
from tests.gpu.modules import DEVICE
from tests.test_compiled_loops import LOOPED

ROOT = Path(__file__).parents[2]
#: Those that the everyday suite runs without cellc.
ALONE = ("lstm", "phased_lstm")
#: In which types, ways and sizes kernels are compiled, each in a few seconds.
WAYS = ("bfloat16:auto:64", "float32:auto:64", "bfloat16:stepwise:80")
#: Spilled bytes of a kernel that are borne: products of numbers of 32 bits want many registers.
MOST_SPILLED = 512
#: Runs a file as a program without cellc would, and prints outputs and gradients.
PROGRAM = """
import json, sys
sys.modules["cellc"] = None
import torch, mine
kind, device, loops = sys.argv[1:]
torch.manual_seed(0)
x = torch.randn(4, 2, 3, dtype=torch.float64).to(device).requires_grad_()
given = [torch.arange(4.0, dtype=torch.float64).to(device)[:, None].expand(4, 2)] * (
    "phased" in mine.__doc__.lower())
module = getattr(mine, kind)(3, 4, seed=1, dtype=torch.float64, device=device)
outputs = []
for module.kernels, module.loops in (("none", "auto"), ("triton", loops)):
    y, state = module(x, *given)
    slopes = torch.autograd.grad(y.sum(), [x, *module.parameters()])
    outputs.append([v.tolist() for v in (y, *state, *slopes)])
print(json.dumps([[*map(str, (v for v in sys.modules if v.startswith("cellc.")))], *outputs]))
"""


def _run(command: list[str], folder: Path, **variables: str) -> Any:
    """What a program prints as JSON."""
    known = {n: v for n, v in os.environ.items() if n not in ("TRITON_INTERPRET", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={**known, **variables},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def _compiled(name: str, folder: Path, *ways: str) -> list[dict[str, Any]]:
    command = ["-W", "ignore", "-m", "tests.gpu.offline", name, *ways]
    found: list[dict[str, Any]] = _run(
        command, ROOT, TRITON_CACHE_DIR=str(folder), CELLC_KERNELS="none"
    )
    return found


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("lstm", ("bfloat16:auto:64", "float32:stepwise:768")),
        ("ind_rnn", WAYS[:1]),
        *(pytest.param(name, WAYS, marks=pytest.mark.slow) for name in LOOPED),
    ],
)
def test_kernels_compile_for_a_gpu_and_fit(
    name: str, ways: tuple[str, ...], tmp_path: Path
) -> None:
    """In one of the ways to launch them at least, of which the fastest is taken."""
    made = _compiled(name, tmp_path, *ways)
    assert {kernel["kernel"].split("_")[0] for kernel in made} >= {"forward", "backward"}
    assert not [k for k in made if k["spills"] > MOST_SPILLED or k["shared"] > 227 * 1024]


@pytest.mark.parametrize("loops", ["stepwise", "fused"])
@pytest.mark.parametrize("name", ALONE)
def test_a_file_runs_where_there_is_no_cellc(name: str, loops: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(cellc.emit(cellc.load(name), target="triton"))
    (tmp_path / "program.py").write_text(PROGRAM)
    kind = cellc.compile(name, target="triton").__name__
    variables = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    others, wanted, found = _run(
        ["-W", "ignore", "program.py", kind, DEVICE, loops], tmp_path, **variables
    )
    assert not others
    assert len(wanted) > 3
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_file_imports_torch_triton_and_the_standard_library() -> None:
    text = cellc.emit(cellc.load("gru"), target="triton")
    lines = [line.split() for line in text.splitlines() if line.startswith(("import ", "from "))]
    roots = {words[1].split(".")[0] for words in lines}
    assert roots <= {"torch", "triton", *sys.stdlib_module_names}
    assert "triton" in roots


#: Cells that are run through all of Triton but the launch; one of them every day.
DRY = [
    pytest.param(name, marks=[] if name == "lstm" else pytest.mark.slow)
    for name in ("lstm", "gru", "layernorm_lstm", "g_lstm", "min_gru", "ind_rnn", "cifg")
]


@pytest.mark.parametrize("name", DRY)
def test_other_lengths_and_batches_compile_nothing(name: str, tmp_path: Path) -> None:
    """Through Triton's own specialisation and tuning, and nothing while launches are recorded."""
    command = ["-W", "ignore", "-m", "tests.gpu.dry", name]
    found = _run(command, ROOT, TRITON_CACHE_DIR=str(tmp_path), CELLC_KERNELS="none")
    for way, counts in found.items():
        assert counts["later"] == 0, way
    assert found[f"{name} fused"]["launched"] == 2  # one kernel forward, one backward
    assert sum(counts["first"] for counts in found.values()) > 0
