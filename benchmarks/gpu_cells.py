"""The cells that are measured on a GPU: their modules, their inputs, and passes over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from gpu_grids import Point
from torch import Tensor, nn

import cellc

Run = Callable[[], object]

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
#: How many products of the inputs as wide as the state a step has.
GATES = {
    "lstm": 4, "heads_lstm": 4, "peephole_lstm": 4, "layernorm_lstm": 4, "phased_lstm": 4,
    "gru": 3, "gru_reset_after": 3, "heads_gru": 3, "cifg": 3, "min_gru": 2,
}  # fmt: skip

#: Cells whose recurrent weights consist of blocks, as FlashRNN has them: each head sees its own
#: part of the state, and all of the input.
SPECS = {
    "heads_lstm": """
cell heads_lstm
input x[I]
dim K groups
state h[H], c[H]
param U_f, U_i, U_o, U_g block_diagonal(K)
f  = sigmoid(W·x + U·h + b)
i  = sigmoid(W·x + U·h + b)
o  = sigmoid(W·x + U·h + b)
g  = tanh(W·x + U·h + b)
c' = f*c + i*g
h' = o*tanh(c')
output h'
""",
    "heads_gru": """
cell heads_gru
input x[I]
dim K groups
state h[H]
param U_r, U_z, U_n block_diagonal(K)
r  = sigmoid(W·x + U·h + b)
z  = sigmoid(W·x + U·h + b)
n  = tanh(W·x + b + r*(U·h + b_hn))
h' = z*h + (1 - z)*n
output h'
""",
}


def set_products(number: str) -> None:
    """Tell torch whether products of 32 bits may be rounded."""
    rounded = number == "tf32"
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    torch.backends.cudnn.allow_tf32 = rounded


@cache
def compiled(cell: str) -> type[Any]:
    """The class of a cell, with loops in kernels of the device."""
    source = cellc.parse(SPECS[cell]) if cell in SPECS else cellc.load(cell)
    return cellc.compile(source, target="triton")


def module_of(point: Point, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """A module, always with the same parameters."""
    groups = {"groups": point.heads} if point.cell in SPECS else {}
    module: nn.Module = compiled(point.cell)(
        point.hidden, point.hidden, **groups, seed=0, device=device,
        dtype=dtype or DTYPES[point.number],
    )  # fmt: skip
    return configured(module, loops=point.loops)


def configured(module: nn.Module, **choices: object) -> nn.Module:
    """A module whose attributes are set."""
    for name, value in choices.items():
        setattr(module, name, value)
    return module


def inputs_of(point: Point, device: torch.device) -> list[Tensor]:
    """The inputs of a cell: a random sequence, and time stamps where it has them."""
    source = torch.Generator(device).manual_seed(0)
    shape = (point.steps, point.batch, point.hidden)
    dtype = DTYPES[point.number]
    found = [torch.randn(shape, generator=source, device=device).to(dtype).requires_grad_()]
    if point.cell == "phased_lstm":
        stamps = torch.arange(point.steps, dtype=torch.float32)[:, None].expand(shape[:2])
        found.append(stamps.to(device, dtype).contiguous())
    return found


@dataclass(frozen=True)
class Pass:
    """A module and its inputs: passes over a sequence, with gradients and without.

    Modules stay in the mode of training, for which kernels are compiled once. It makes a difference
    to the values of ``phased_lstm`` alone, and to the work of none.
    """

    module: nn.Module
    inputs: list[Tensor]

    def results(self) -> tuple[Tensor, list[Tensor]]:
        """The outputs, and the last states."""
        outputs, states = self.module(*self.inputs)
        return outputs, list(states) if isinstance(states, tuple) else [states]

    @property
    def wanted(self) -> list[Tensor]:
        """All whose gradients training computes."""
        return [v for v in (*self.inputs, *self.module.parameters()) if v.requires_grad]

    def run(self, mode: str) -> Run:
        """What is timed: a forward pass alone, or one and all gradients."""
        return self._training() if mode == "training" else self.forward

    @torch.no_grad()
    def forward(self) -> Tensor:
        """The outputs alone."""
        return self.results()[0]

    def _training(self) -> Run:
        wanted = self.wanted
        slope = torch.ones_like(self.inputs[0])  # inputs and outputs have one shape

        def run() -> object:
            return torch.autograd.grad(self.results()[0], wanted, slope)

        return run
