"""Recurrent loops as a careful expert writes them by hand: what emitted code must match.

Each module keeps its weights stacked, gates that share a function side by side, multiplies
the whole sequence by the input weights before the loop and the state by one transposed
weight per step. Sequences are dense, (T, B, I). Each takes its weights from the module that
cellc compiled, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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

    def steps(self, x: Tensor) -> tuple[Tensor, ...]:
        """The same, step by step."""
        return self.gates(x).unbind(0)

    def split_steps(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The same, the gates r and z apart from the candidate."""
        size = self.weight_h.shape[1]
        gates, candidate = self.gates(x).split_with_sizes((2 * size, size), -1)
        return zip(gates.unbind(0), candidate.unbind(0), strict=True)

    def zeros(self, x: Tensor) -> Tensor:
        """A state to start with."""
        return x.new_zeros(x.shape[1], self.weight_h.shape[1])


class Lstm(Handwritten):
    """Long short-term memory: gates f, i, o under one sigmoid, then g."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_h, self.weight_x = halves(compiled, "fiog")
        self.bias = stacked(compiled, ["b_f", "b_i", "b_o", "b_g"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        size = h.shape[1]
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            gates, g = torch.addmm(gates_x, h, weight).split_with_sizes((3 * size, size), 1)
            f, i, o = torch.sigmoid(gates).chunk(3, 1)
            c = torch.addcmul(f * c, i, torch.tanh(g))
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


class Gru(Handwritten):
    """Gated recurrent unit whose reset gate acts before the product."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_r", "W_z", "W_n"])
        self.weight_h = stacked(compiled, ["U_r", "U_z"])
        self.weight_n = stacked(compiled, ["U_n"])
        self.bias = stacked(compiled, ["b_r", "b_z", "b_n"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight, weight_n = self.weight_h.t(), self.weight_n.t()
        outputs = []
        for gates_x, n_x in self.split_steps(x):
            r, z = torch.sigmoid(torch.addmm(gates_x, h, weight)).chunk(2, 1)
            n = torch.tanh(torch.addmm(n_x, r * h, weight_n))
            h = torch.lerp(n, h, z)
            outputs.append(h)
        return torch.stack(outputs)


class GruResetAfter(Handwritten):
    """Gated recurrent unit whose reset gate acts after the product, as PyTorch's does."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_r", "W_z", "W_n"])
        self.weight_h = stacked(compiled, ["U_r", "U_z", "U_n"])
        self.bias = stacked(compiled, ["b_r", "b_z", "b_n"])
        self.bias_n = stacked(compiled, ["b_hn"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        size = h.shape[1]
        weight = self.weight_h.t()
        bias = torch.cat((self.bias_n.new_zeros(2 * size), self.bias_n))
        outputs = []
        for gates_x, n_x in self.split_steps(x):
            gates_h, n_h = torch.addmm(bias, h, weight).split_with_sizes((2 * size, size), 1)
            r, z = torch.sigmoid(gates_x + gates_h).chunk(2, 1)
            n = torch.tanh(torch.addcmul(n_x, r, n_h))
            h = torch.lerp(n, h, z)
            outputs.append(h)
        return torch.stack(outputs)


class PeepholeLstm(Handwritten):
    """LSTM whose gates see the memory through diagonal weights."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_h, self.weight_x = halves(compiled, "ifog")
        self.bias = stacked(compiled, ["b_i", "b_f", "b_o", "b_g"])
        self.peep_i = stacked(compiled, ["p_i"])
        self.peep_f = stacked(compiled, ["p_f"])
        self.peep_o = stacked(compiled, ["p_o"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            i, f, o, g = torch.addmm(gates_x, h, weight).chunk(4, 1)
            i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
            f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
            c = torch.addcmul(f * c, i, torch.tanh(g))
            o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


class Cifg(Handwritten):
    """Peephole LSTM that forgets what it does not write."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_h, self.weight_x = halves(compiled, "iog")
        self.bias = stacked(compiled, ["b_i", "b_o", "b_g"])
        self.peep_i = stacked(compiled, ["p_i"])
        self.peep_o = stacked(compiled, ["p_o"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            i, o, g = torch.addmm(gates_x, h, weight).chunk(3, 1)
            i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
            c = torch.lerp(c, torch.tanh(g), i)
            o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


class Rnn(Handwritten):
    """Elman's network with a tanh unit."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["U_h"])
        self.weight_h = stacked(compiled, ["W_h"])
        self.bias = stacked(compiled, ["b_h"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            h = torch.tanh(torch.addmm(gates_x, h, weight))
            outputs.append(h)
        return torch.stack(outputs)


PEERS: dict[str, type[Handwritten]] = {
    "lstm": Lstm,
    "gru": Gru,
    "gru_reset_after": GruResetAfter,
    "peephole_lstm": PeepholeLstm,
    "cifg": Cifg,
    "rnn": Rnn,
}
