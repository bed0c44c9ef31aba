"""What cells are compared with on a GPU: cuDNN behind torch's own modules, and the plain loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from gpu_cells import DTYPES, Pass, configured, inputs_of, module_of
from gpu_grids import Point
from torch import nn

#: The module of torch for each cell. Those with a star compute another recurrence: torch's GRU
#: has its reset gate behind the product, and its LSTM has one dense recurrent weight.
PEERS: dict[str, tuple[Callable[..., nn.RNNBase], str]] = {
    "lstm": (nn.LSTM, "nn.LSTM"),
    "gru_reset_after": (nn.GRU, "nn.GRU"),
    "gru": (nn.GRU, "nn.GRU*"),
    "heads_lstm": (nn.LSTM, "nn.LSTM*"),
    "heads_gru": (nn.GRU, "nn.GRU*"),
}
#: Steps of the plain loop, which is launched operation by operation.
EAGER_STEPS = 128
#: Where the plain loop is measured.
EAGER_NUMBERS = ("bf16", "fp32")


@dataclass(frozen=True)
class Sizes:
    """What torch looks at when it chooses an algorithm of cuDNN for one layer in one direction."""

    is_lstm: bool
    dtype: torch.dtype
    batch: int
    inputs: int
    hidden: int

    def algorithm(self, backward: bool) -> str:
        """What torch asks cuDNN for on a Hopper GPU, by ``get_algo`` of its source.

        It is a rule of torch and may change: aten/src/ATen/native/cudnn/RNN.cpp.
        """
        if self.hidden <= (128 if backward else 192):
            return "persistent, small H"
        fits = self.hidden <= 1024 and self.hidden % 128 == 0 and self.inputs % 128 == 0
        few = self.batch <= 128 and self.batch % 8 == 0
        if self.dtype == torch.float16 and self.is_lstm and fits and few:
            return "persistent"
        return "standard"


def algorithm(point: Point, mode: str) -> str:
    """The algorithm of the peer's passes: forward, and in training backward too."""
    is_lstm = PEERS[point.cell][0] is nn.LSTM
    sizes = Sizes(is_lstm, DTYPES[point.number], point.batch, point.hidden, point.hidden)
    used = [
        sizes.algorithm(backward)
        for backward in ((False, True) if mode == "training" else (False,))
    ]
    return " / ".join(dict.fromkeys(used))


def torch_pass(point: Point, own: Pass) -> Pass | None:
    """Torch's module over the same inputs, if it has one."""
    if point.cell not in PEERS:
        return None
    x = own.inputs[0]
    kind = PEERS[point.cell][0]
    return Pass(kind(point.hidden, point.hidden, device=x.device, dtype=x.dtype), [x])


def has_eager(point: Point) -> bool:
    """Whether the plain loop is measured; it is slow, so that few rows have it."""
    return point.grid == "main" and point.number in EAGER_NUMBERS


def eager_pass(point: Point, device: torch.device) -> tuple[Point, Pass]:
    """The plain emitted loop with autograd through it, over a short sequence."""
    short = replace(point, steps=min(point.steps, EAGER_STEPS))
    module = configured(module_of(short, device), kernels="none", derived=False)
    return short, Pass(module, inputs_of(short, device))
