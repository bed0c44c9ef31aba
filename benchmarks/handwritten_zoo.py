"""Loops written by hand for more of the shipped cells, with the same care as ``handwritten``.

Cells whose equations are those of another share its loop.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from handwritten import PEERS, Gru, Handwritten, Lstm, PeepholeLstm, halves, stacked
from torch import Tensor, nn


class ReluRnn(Handwritten):
    """Elman's network with a rectified linear unit."""

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
            h = torch.relu(torch.addmm(gates_x, h, weight))
            outputs.append(h)
        return torch.stack(outputs)


class LeakyRnn(Handwritten):
    """Units that keep half of their old value."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["U_v"])
        self.weight_h = stacked(compiled, ["W_v"])
        self.bias = stacked(compiled, ["b_v"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            h = torch.lerp(torch.tanh(torch.addmm(gates_x, h, weight)), h, 0.5)
            outputs.append(h)
        return torch.stack(outputs)


class IndRnn(Handwritten):
    """Units that see their own past alone."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_h"])
        self.past = stacked(compiled, ["u_h"])
        self.bias = stacked(compiled, ["b_h"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = x.new_zeros(x.shape[1], len(self.past))
        outputs = []
        for gates_x in self.steps(x):
            h = torch.relu(torch.addcmul(gates_x, self.past, h))
            outputs.append(h)
        return torch.stack(outputs)


class MinGru(Handwritten):
    """Minimal GRU: all that does not see the state is computed for all steps at once."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_n"])
        self.bias = stacked(compiled, ["b_z", "b_n"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        z, n = self.gates(x).chunk(2, -1)
        z = torch.sigmoid(z)
        keep, new = (1 - z).unbind(0), (z * n).unbind(0)
        h = torch.zeros_like(keep[0])
        outputs = []
        for keep_t, new_t in zip(keep, new, strict=True):
            h = torch.addcmul(new_t, keep_t, h)
            outputs.append(h)
        return torch.stack(outputs)


class MinLstm(Handwritten):
    """Minimal LSTM: all that does not see the state is computed for all steps at once."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_f", "W_i", "W_g"])
        self.bias = stacked(compiled, ["b_f", "b_i", "b_g"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        f, i, g = self.gates(x).chunk(3, -1)
        f, i = torch.sigmoid(f), torch.sigmoid(i)
        share = f / (f + i)
        keep, new = share.unbind(0), ((1 - share) * g).unbind(0)
        h = torch.zeros_like(keep[0])
        outputs = []
        for keep_t, new_t in zip(keep, new, strict=True):
            h = torch.addcmul(new_t, keep_t, h)
            outputs.append(h)
        return torch.stack(outputs)


class GruUpdate(Gru):
    """Gated recurrent unit whose update gate weighs the new state."""

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight, weight_n = self.weight_h.t(), self.weight_n.t()
        outputs = []
        for gates_x, n_x in self.split_steps(x):
            r, z = torch.sigmoid(torch.addmm(gates_x, h, weight)).chunk(2, 1)
            n = torch.tanh(torch.addmm(n_x, r * h, weight_n))
            h = torch.lerp(h, n, z)
            outputs.append(h)
        return torch.stack(outputs)


class Mut1(Handwritten):
    """First mutant: the update gate sees the input alone."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_r"])
        self.weight_h = stacked(compiled, ["U_r"])
        self.weight_n = stacked(compiled, ["U_h"])
        self.bias = stacked(compiled, ["b_z", "b_r"])
        self.bias_n = stacked(compiled, ["b_h"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight, weight_n = self.weight_h.t(), self.weight_n.t()
        z, r = self.gates(x).chunk(2, -1)
        n = torch.tanh(x) + self.bias_n
        outputs = []
        for z_t, r_x, n_x in zip(torch.sigmoid(z).unbind(0), r.unbind(0), n.unbind(0), strict=True):
            r_t = torch.sigmoid(torch.addmm(r_x, h, weight))
            n_t = torch.tanh(torch.addmm(n_x, r_t * h, weight_n))
            h = torch.lerp(h, n_t, z_t)
            outputs.append(h)
        return torch.stack(outputs)


class Mut2(Handwritten):
    """Second mutant: the reset gate adds the input unweighted."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_h"])
        self.weight_h = stacked(compiled, ["U_r", "U_z"])
        self.weight_n = stacked(compiled, ["U_h"])
        self.bias = stacked(compiled, ["b_z", "b_h"])
        self.bias_r = stacked(compiled, ["b_r"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight, weight_n = self.weight_h.t(), self.weight_n.t()
        z_x, n_x = self.gates(x).chunk(2, -1)
        gates = torch.cat((x + self.bias_r, z_x), -1).unbind(0)
        outputs = []
        for gates_x, n_t in zip(gates, n_x.unbind(0), strict=True):
            r, z = torch.sigmoid(torch.addmm(gates_x, h, weight)).chunk(2, 1)
            h = torch.lerp(h, torch.tanh(torch.addmm(n_t, r * h, weight_n)), z)
            outputs.append(h)
        return torch.stack(outputs)


class Mut3(Handwritten):
    """Third mutant: the update gate sees the squashed state."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_r", "W_h"])
        self.weight_z = stacked(compiled, ["U_z"])
        self.weight_h = stacked(compiled, ["U_r"])
        self.weight_n = stacked(compiled, ["U_h"])
        self.bias = stacked(compiled, ["b_z", "b_r", "b_h"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = self.zeros(x)
        weight_z, weight, weight_n = self.weight_z.t(), self.weight_h.t(), self.weight_n.t()
        parts = [part.unbind(0) for part in self.gates(x).chunk(3, -1)]
        outputs = []
        for z_x, r_x, n_x in zip(*parts, strict=True):
            z = torch.sigmoid(torch.addmm(z_x, torch.tanh(h), weight_z))
            r = torch.sigmoid(torch.addmm(r_x, h, weight))
            h = torch.lerp(h, torch.tanh(torch.addmm(n_x, r * h, weight_n)), z)
            outputs.append(h)
        return torch.stack(outputs)


class Sru(Handwritten):
    """Simple recurrent unit; its highway is computed for all steps at once."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_f", "W_r", "W_g"])
        self.bias = stacked(compiled, ["b_f", "b_r"])
        self.past_f = stacked(compiled, ["v_f"])
        self.past_r = stacked(compiled, ["v_r"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        gates, g = (x @ self.weight_x.t()).tensor_split((2 * x.shape[-1],), -1)
        f_x, r_x = (gates + self.bias).chunk(2, -1)
        c = torch.zeros_like(x[0])
        before, memories = [], []
        for f_t, g_t in zip(f_x.unbind(0), g.unbind(0), strict=True):
            before.append(c)
            f = torch.sigmoid(torch.addcmul(f_t, self.past_f, c))
            c = torch.lerp(g_t, c, f)
            memories.append(c)
        r = torch.sigmoid(torch.addcmul(r_x, self.past_r, torch.stack(before)))
        return torch.lerp(x * math.sqrt(3), torch.stack(memories), r)


class LayernormLstm(Handwritten):
    """LSTM with each gate and the memory normalised on its own; all gates in one call."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x, self.weight_h, self.bias, self.scale, self.shift = (
            stacked(compiled, [f"{kind}_{gate}" for gate in "fiog"])
            for kind in ("W", "U", "b", "gamma", "beta")
        )
        self.scale_c = stacked(compiled, ["gamma_c"])
        self.shift_c = stacked(compiled, ["beta_c"])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        batch, size = h.shape
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            sums = torch.addmm(gates_x, h, weight).view(batch, 4, size)
            normed = F.layer_norm(sums, (size,)).view(batch, -1)
            gates, g = torch.addcmul(self.shift, self.scale, normed).split_with_sizes(
                (3 * size, size), 1
            )
            f, i, o = torch.sigmoid(gates).chunk(3, 1)
            c = torch.addcmul(f * c, i, torch.tanh(g))
            h = o * torch.tanh(F.layer_norm(c, (size,), self.scale_c, self.shift_c))
            outputs.append(h)
        return torch.stack(outputs)


class Peepholes(Handwritten):
    """What the variants of the peephole LSTM share: the weights of those gates that are there."""

    letters: str

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_h, self.weight_x = halves(compiled, self.letters)
        self.bias = stacked(compiled, [f"b_{gate}" for gate in self.letters])
        for gate in set(self.letters) - {"g"}:
            self.register_parameter(f"peep_{gate}", stacked(compiled, [f"p_{gate}"]))


class CifgForget(Peepholes):
    """Writes what it does not keep."""

    letters = "fog"
    peep_f: nn.Parameter
    peep_o: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            f, o, g = torch.addmm(gates_x, h, weight).chunk(3, 1)
            f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
            c = torch.lerp(torch.tanh(g), c, f)
            o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


class NoInputGate(Peepholes):
    """The candidate is written in full."""

    letters = "fog"
    peep_f: nn.Parameter
    peep_o: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            f, o, g = torch.addmm(gates_x, h, weight).chunk(3, 1)
            f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
            c = torch.addcmul(torch.tanh(g), f, c)
            o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


class NoForgetGate(Peepholes):
    """The memory only accumulates."""

    letters = "iog"
    peep_i: nn.Parameter
    peep_o: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            i, o, g = torch.addmm(gates_x, h, weight).chunk(3, 1)
            i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
            c = torch.addcmul(c, i, torch.tanh(g))
            o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


class NoOutputGate(Peepholes):
    """The squashed memory is the output."""

    letters = "ifg"
    peep_i: nn.Parameter
    peep_f: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        h = c = self.zeros(x)
        weight = self.weight_h.t()
        outputs = []
        for gates_x in self.steps(x):
            i, f, g = torch.addmm(gates_x, h, weight).chunk(3, 1)
            i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
            f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
            c = torch.addcmul(f * c, i, torch.tanh(g))
            h = torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


ALL_PEERS: dict[str, type[Handwritten]] = {
    **PEERS,
    "np": Lstm,
    "vanilla_lstm": PeepholeLstm,
    "relu_rnn": ReluRnn,
    "irnn": ReluRnn,
    "leaky_rnn": LeakyRnn,
    "ind_rnn": IndRnn,
    "min_gru": MinGru,
    "min_lstm": MinLstm,
    "gru_update": GruUpdate,
    "mut1": Mut1,
    "mut2": Mut2,
    "mut3": Mut3,
    "sru": Sru,
    "layernorm_lstm": LayernormLstm,
    "cifg_forget": CifgForget,
    "nig": NoInputGate,
    "nfg": NoForgetGate,
    "nog": NoOutputGate,
}
