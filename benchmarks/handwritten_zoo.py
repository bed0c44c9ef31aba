"""Loops written by hand for more of the shipped cells, with the same care as ``handwritten``.

Cells whose equations are those of another share its loop.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from handwritten import (
    PEERS,
    Gru,
    Handwritten,
    Lstm,
    OneProduct,
    PeepholeLstm,
    Peepholes,
    Rnn,
    TwoProducts,
    Unrolled,
    stacked,
)
from torch import Tensor, nn


class ReluRnn(Rnn):
    """Elman's network with a rectified linear unit."""

    def step(self, sums: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The new output, twice."""
        h = torch.relu(sums)
        return h, h


class LeakyRnn(Rnn):
    """Units that keep half of their old value."""

    state = "v"

    def step(self, sums: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The new output, twice."""
        h = torch.lerp(torch.tanh(sums), h, 0.5)
        return h, h


class IndRnn(Unrolled):
    """Units that see their own past alone."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_h"])
        self.past = stacked(compiled, ["u_h"])
        self.bias = stacked(compiled, ["b_h"])

    def step(self, h: Tensor, gates_x: Tensor) -> Tensor:
        """The new output."""
        return torch.relu(torch.addcmul(gates_x, self.past, h))


class MinGru(Unrolled):
    """Minimal GRU: all that does not see the state is computed for all steps at once."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_n"])
        self.bias = stacked(compiled, ["b_z", "b_n"])

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """How much is kept, and what is new."""
        z, n = self.gates(x).chunk(2, -1)
        z = torch.sigmoid(z)
        return 1 - z, z * n

    def step(self, h: Tensor, keep: Tensor, new: Tensor) -> Tensor:
        """The new output."""
        return torch.addcmul(new, keep, h)


class MinLstm(Unrolled):
    """Minimal LSTM: all that does not see the state is computed for all steps at once."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_f", "W_i", "W_g"])
        self.bias = stacked(compiled, ["b_f", "b_i", "b_g"])

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """How much is kept, and what is new."""
        f, i, g = self.gates(x).chunk(3, -1)
        f, i = torch.sigmoid(f), torch.sigmoid(i)
        share = f / (f + i)
        return share, (1 - share) * g

    def step(self, h: Tensor, keep: Tensor, new: Tensor) -> Tensor:
        """The new output."""
        return torch.addcmul(new, keep, h)


class GruUpdate(Gru):
    """Gated recurrent unit whose update gate weighs the new state."""

    def step(self, h: Tensor, u: Tensor, u_n: Tensor, rz_x: Tensor, n_x: Tensor) -> Tensor:
        """The new output."""
        r, z = torch.sigmoid(torch.addmm(rz_x, h, u)).chunk(2, 1)
        n = torch.tanh(torch.addmm(n_x, r * h, u_n))
        return torch.lerp(h, n, z)


class Mut1(TwoProducts):
    """First mutant: the update gate sees the input alone."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_r"])
        self.weight_h = stacked(compiled, ["U_r"])
        self.weight_n = stacked(compiled, ["U_h"])
        self.bias = stacked(compiled, ["b_z", "b_r"])
        self.bias_n = stacked(compiled, ["b_h"])

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """The update gate, then the input's share of the reset gate and of the candidate."""
        z, r = self.gates(x).chunk(2, -1)
        return torch.sigmoid(z), r, torch.tanh(x) + self.bias_n

    def step(
        self, h: Tensor, u: Tensor, u_n: Tensor, z: Tensor, r_x: Tensor, n_x: Tensor
    ) -> Tensor:
        """The new output."""
        r = torch.sigmoid(torch.addmm(r_x, h, u))
        n = torch.tanh(torch.addmm(n_x, r * h, u_n))
        return torch.lerp(h, n, z)


class Mut2(TwoProducts):
    """Second mutant: the reset gate adds the input unweighted."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_h"])
        self.weight_h = stacked(compiled, ["U_r", "U_z"])
        self.weight_n = stacked(compiled, ["U_h"])
        self.bias = stacked(compiled, ["b_z", "b_h"])
        self.bias_r = stacked(compiled, ["b_r"])

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """The gates r and z, then the candidate."""
        z, n = self.gates(x).chunk(2, -1)
        return torch.cat((x + self.bias_r, z), -1), n

    def step(self, h: Tensor, u: Tensor, u_n: Tensor, rz_x: Tensor, n_x: Tensor) -> Tensor:
        """The new output."""
        r, z = torch.sigmoid(torch.addmm(rz_x, h, u)).chunk(2, 1)
        return torch.lerp(h, torch.tanh(torch.addmm(n_x, r * h, u_n)), z)


class Mut3(TwoProducts):
    """Third mutant: the update gate sees the squashed state."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_z", "W_r", "W_h"])
        self.weight_z = stacked(compiled, ["U_z"])
        self.weight_h = stacked(compiled, ["U_r"])
        self.weight_n = stacked(compiled, ["U_h"])
        self.bias = stacked(compiled, ["b_z", "b_r", "b_h"])

    def weights(self) -> tuple[Tensor, ...]:
        """Those of the update gate, of the reset gate and of the candidate."""
        return self.weight_z.t(), *super().weights()

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """The update gate, the reset gate and the candidate."""
        return self.gates(x).chunk(3, -1)

    def step(
        self, h: Tensor, u_z: Tensor, u: Tensor, u_n: Tensor, z_x: Tensor, r_x: Tensor, n_x: Tensor
    ) -> Tensor:
        """The new output."""
        z = torch.sigmoid(torch.addmm(z_x, torch.tanh(h), u_z))
        r = torch.sigmoid(torch.addmm(r_x, h, u))
        return torch.lerp(h, torch.tanh(torch.addmm(n_x, r * h, u_n)), z)


class Sru(Unrolled):
    """Simple recurrent unit; its highway is computed for all steps at once."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x = stacked(compiled, ["W_f", "W_r", "W_g"])
        self.bias = stacked(compiled, ["b_f", "b_r"])
        self.past_f = stacked(compiled, ["v_f"])
        self.past_r = stacked(compiled, ["v_r"])

    def step(self, c: Tensor, f_x: Tensor, g: Tensor) -> Tensor:
        """The new memory."""
        f = torch.sigmoid(torch.addcmul(f_x, self.past_f, c))
        return torch.lerp(g, c, f)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (T, B, H)."""
        gates, g = (x @ self.weight_x.t()).tensor_split((2 * x.shape[-1],), -1)
        f_x, r_x = (gates + self.bias).chunk(2, -1)
        memories = self.states(f_x, g)
        before = torch.stack([torch.zeros_like(x[0]), *memories[:-1]])
        r = torch.sigmoid(torch.addcmul(r_x, self.past_r, before))
        return torch.lerp(x * math.sqrt(3), torch.stack(memories), r)


class LayernormLstm(OneProduct):
    """LSTM with each gate and the memory normalised on its own; all gates in one call."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.weight_x, self.weight_h, self.bias, self.scale, self.shift = (
            stacked(compiled, [f"{kind}_{gate}" for gate in "fiog"])
            for kind in ("W", "U", "b", "gamma", "beta")
        )
        self.scale_c = stacked(compiled, ["gamma_c"])
        self.shift_c = stacked(compiled, ["beta_c"])

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        batch, size = c.shape
        normed = F.layer_norm(sums.view(batch, 4, size), (size,)).view(batch, -1)
        scaled = torch.addcmul(self.shift, self.scale, normed)
        gates, g = scaled.split_with_sizes((3 * size, size), 1)
        f, i, o = torch.sigmoid(gates).chunk(3, 1)
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return o * torch.tanh(F.layer_norm(c, (size,), self.scale_c, self.shift_c)), c


class CifgForget(Peepholes):
    """Writes what it does not keep."""

    letters = "fog"

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        f, o, g = sums.chunk(3, 1)
        f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
        c = torch.lerp(torch.tanh(g), c, f)
        o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
        return o * torch.tanh(c), c


class NoInputGate(Peepholes):
    """The candidate is written in full."""

    letters = "fog"

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        f, o, g = sums.chunk(3, 1)
        f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
        c = torch.addcmul(torch.tanh(g), f, c)
        o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
        return o * torch.tanh(c), c


class NoForgetGate(Peepholes):
    """The memory only accumulates."""

    letters = "iog"

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        i, o, g = sums.chunk(3, 1)
        i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
        c = torch.addcmul(c, i, torch.tanh(g))
        o = torch.sigmoid(torch.addcmul(o, self.peep_o, c))
        return o * torch.tanh(c), c


class NoOutputGate(Peepholes):
    """The squashed memory is the output."""

    letters = "ifg"

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new output and memory."""
        i, f, g = sums.chunk(3, 1)
        i = torch.sigmoid(torch.addcmul(i, self.peep_i, c))
        f = torch.sigmoid(torch.addcmul(f, self.peep_f, c))
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return torch.tanh(c), c


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
