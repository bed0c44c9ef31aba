"""Names of a spec that emitted files need for something else."""

from __future__ import annotations

import pytest
import torch

import cellc
from cellc.backends.naming import class_name
from cellc.frontend.reserved import CALL_NAMES
from cellc.kernels.sources import GPU, definitions
from tests.gpu.modules import DEVICE, kernels

TEXT = """cell c
input {0}[I]
state {1}[H], s[H]
{2} = sigmoid(W·[{1}, {0}] + b)
s' = {2}*s + tanh(U·{1})
{1}' = tanh(s' + {2})
output {1}'
"""
#: Variables of kernels and of what launches them.
NAMES = (
    *("tl", "triton", "torch", "os", "threading", "cache", "table", "step", "done", "now", "later"),
    *("lane", "lane_1", "inside", "within", "row", "here", "there", "sequence", "first", "before"),
    *("rows", "joined", "moment", "sizes_ptr", "call", "m", "loops", "keep", "training", "given"),
    *("tensors", "results", "forward_0", "backward_0", "forward_0_step", "runs_here", "ready"),
    *("wants_slopes", "without_autocast", "as_autocast", "h_start", "h_end", "x_ptr", "h_vector"),
    *("s_later", "W_tile", "x_ahead", "g_local", "carry", "number", "steps", "batch", "range"),
)


def check(text: str) -> None:
    """Kernels compute what Python does, gradients included."""
    for loops in ("stepwise", "fused"):
        module = kernels(cellc.parse(text))(2, 3, seed=0, device=DEVICE).double()
        module.loops = loops
        x = torch.ones(3, 2, 2, dtype=torch.float64, device=DEVICE, requires_grad=True)
        found = torch.autograd.grad(module(x)[0].sum(), [x, *module.parameters()])
        module.kernels = "none"
        wanted = torch.autograd.grad(module(x)[0].sum(), [x, *module.parameters()])
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("place", range(3), ids=["input", "state", "value"])
@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_names_do_not_change_what_kernels_compute(place: int, half: int) -> None:
    for name in NAMES[half::2]:
        names = ["x", "h", "g"]
        names[place] = name
        if place > 0 or name not in CALL_NAMES:
            check(TEXT.format(*names))


def test_classes_are_not_called_like_what_files_contain() -> None:
    for name in ("call", "memory", "tuned", "DONE", "PIECES", "ordered_dict"):
        assert class_name(name).endswith("Cell")
    contained = {name for module in GPU for name in definitions(module)}
    check(TEXT.format("x", "h", "g").replace("cell c", "cell memory"))
    assert class_name("memory") not in contained
