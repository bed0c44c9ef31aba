"""Recurrent loops as a careful expert writes them by hand: what emitted code must match.

Each module keeps its weights stacked, gates that share a function side by side, multiplies
the whole sequence by the input weights before the loop and the state by one transposed
weight per step. Sequences are dense, (T, B, I). Each takes its weights from the module that
cellc compiled, so that the two can be compared. The loops stand in ``OneProduct`` and
``Unrolled``; a cell gives its weights and its equations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def stacked(compiled: nn.Module, names: Sequence[str]) -> nn.Parameter:
    """The named parameters of a module, one above the other."""
    return nn.Parameter(torch.cat([compiled.get_parameter(name).detach() for name in names]))


def halves(compiled: nn.Module, gates: str) -> tuple[nn.Parameter, nn.Parameter]:
    """The state's and the input's columns of the stacked weights that multiply ``[h, x]``."""
    both = stacked(compiled, [f"W_{gate}" for gate in gates])
    hidden = both.shape[0] // len(gates)
    return nn.Parameter(both[:, :hidden].clone()), nn.Parameter(both[:, hidden:].clone())


class Handwritten(nn.Module):
    """What the loops share: the input product over all steps at once."""

    weight_x: nn.Parameter
    weight_h: nn.Parameter
    bias: nn.Parameter

    def gates(self, x: Tensor) -> Tensor:
        """The input's share of all gates, at all steps."""
        length, batch, _ = x.shape
        gates = torch.addmm(self.bias, x.flatten(0, 1), self.weight_x.t())
        return gates.view(length, batch, -1)


class OneProduct(Handwritten):
    """A loop that adds one product of the output to the input's share, and maybe has a memory."""

    #: The new output and memory, from the sums and the old memory; they may be the same.
    step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = memory = x.new_zeros(x.shape[1], self.weight_h.shape[1])
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.gates(x).unbind(0):
            h, memory = self.step(torch.addmm(gates_x, h, weight), memory)
            outputs.append(h)
        return torch.stack(outputs)


class Unrolled(Handwritten):
    """A loop over the output alone, whose step does all but the input product."""

    #: The new output, from the old one, the weights and one step of each part.
    step: Callable[..., Tensor]

    def weights(self) -> tuple[Tensor, ...]:
        """What the step multiplies by, transposed once."""
        return ()

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the step takes of the input, at all steps; the last is as wide as the output."""
        return (self.gates(x),)

    def states(self, *parts: Tensor) -> list[Tensor]:
        """The output after each step, (B, H)."""
        h = parts[-1].new_zeros(parts[-1].shape[1:])
        weights = self.weights()
        outputs = []
        for inputs in zip(*(part.unbind(0) for part in parts), strict=True):
            h = self.step(h, *weights, *inputs)
            outputs.append(h)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        return torch.stack(self.states(*self.parts(x)))


class TwoProducts(Unrolled):
    """A loop with a second product, of what the reset gate lets through."""

    weight_n: nn.Parameter

    def weights(self) -> tuple[Tensor, ...]:
        """Those of the gates, then those of the candidate."""
        return self.weight_h.t(), self.weight_n.t()


class Lstm(OneProduct):
    """Long short-term memory: gates f, i, o under one sigmoid, then g."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_h, self.weight_x = halves(compiled, "fiog")
        self.bias = stacked(compiled, ["b_f", "b_i", "b_o", "b_g"])

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        size = c.shape[1]
        gates, g = sums.split_with_sizes((3 * size, size), 1)
        f, i, o = torch.sigmoid(gates).chunk(3, 1)
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return o * torch.tanh(c), c


class Gru(TwoProducts):
    """Gated recurrent unit whose reset gate acts before the product."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_r", "W_z", "W_n"])
        self.weight_h = stacked(compiled, ["U_r", "U_z"])
        self.weight_n = stacked(compiled, ["U_n"])
        self.bias = stacked(compiled, ["b_r", "b_z", "b_n"])

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """The gates r and z, then the candidate."""
        size = self.weight_h.shape[1]
        return self.gates(x).split_with_sizes((2 * size, size), -1)

    def step(self, h: Tensor, u: Tensor, u_n: Tensor, rz_x: Tensor, n_x: Tensor) -> Tensor:
        """The new output."""
        r, z = torch.sigmoid(torch.addmm(rz_x, h, u)).chunk(2, 1)
        n = torch.tanh(torch.addmm(n_x, r * h, u_n))
        return torch.lerp(n, h, z)


class GruResetAfter(Unrolled):
    """Gated recurrent unit whose reset gate acts after the product, as PyTorch's does."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_r", "W_z", "W_n"])
        self.weight_h = stacked(compiled, ["U_r", "U_z", "U_n"])
        self.bias = stacked(compiled, ["b_r", "b_z", "b_n"])
        self.bias_n = stacked(compiled, ["b_hn"])

    def weights(self) -> tuple[Tensor, ...]:
        """All weights of the output, then the bias of their product."""
        none = self.bias_n.new_zeros(2 * len(self.bias_n))
        return self.weight_h.t(), torch.cat((none, self.bias_n))

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """The gates r and z, then the candidate."""
        size = self.weight_h.shape[1]
        return self.gates(x).split_with_sizes((2 * size, size), -1)

    def step(self, h: Tensor, u: Tensor, bias: Tensor, rz_x: Tensor, n_x: Tensor) -> Tensor:
        """The new output."""
        size = h.shape[1]
        rz_h, n_h = torch.addmm(bias, h, u).split_with_sizes((2 * size, size), 1)
        r, z = torch.sigmoid(rz_x + rz_h).chunk(2, 1)
        n = torch.tanh(torch.addcmul(n_x, r, n_h))
        return torch.lerp(n, h, z)


class Peepholes(OneProduct):
    """What the peephole LSTM and its variants share: the weights of those gates that are there."""

    letters: str
    peep_i: nn.Parameter
    peep_f: nn.Parameter
    peep_o: nn.Parameter

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_h, self.weight_x = halves(compiled, self.letters)
        self.bias = stacked(compiled, [f"b_{gate}" for gate in self.letters])
        for gate in self.letters.removesuffix("g"):
            self.register_parameter(f"peep_{gate}", stacked(compiled, [f"p_{gate}"]))


class PeepholeLstm(Peepholes):
    """LSTM whose gates see the memory through diagonal weights."""

    letters = "ifog"

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        i, f, o, g = sums.chunk(4, 1)
        i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
        f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
        c = torch.addcmul(f * c, i, torch.tanh(g))
        o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
        return o * torch.tanh(c), c


class Cifg(Peepholes):
    """Peephole LSTM that forgets what it does not write."""

    letters = "iog"

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        i, o, g = sums.chunk(3, 1)
        i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
        c = torch.lerp(c, torch.tanh(g), i)
        o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
        return o * torch.tanh(c), c


class Rnn(OneProduct):
    """Elman's network with a tanh unit."""

    state = "h"

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, [f"U_{self.state}"])
        self.weight_h = stacked(compiled, [f"W_{self.state}"])
        self.bias = stacked(compiled, [f"b_{self.state}"])

    def step(self, sums: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The new output, twice."""
        h = torch.tanh(sums)
        return h, h


PEERS: dict[str, type[Handwritten]] = {
    "lstm": Lstm,
    "gru": Gru,
    "gru_reset_after": GruResetAfter,
    "peephole_lstm": PeepholeLstm,
    "cifg": Cifg,
    "rnn": Rnn,
}
