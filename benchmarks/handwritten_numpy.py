"""Recurrent loops as a careful expert writes them in NumPy by hand: what emitted code must match.

Each keeps its weights stacked in the order in which BLAS reads them, gates that share a function
side by side, multiplies the whole sequence by the input weights before the loop, and writes
into buffers made once a call. Sequences are dense, (T, B, I). Each takes its weights from the
object that cellc compiled, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def stacked(params: Mapping[str, Array], names: Sequence[str]) -> Array:
    """The named parameters, one above the other."""
    joined: Array = np.concatenate([params[name] for name in names])
    return joined


def sigmoid(a: Array, out: Array) -> None:
    """The logistic function; into rows without gaps, which is faster for many sequences."""
    np.negative(a, out=out)
    np.exp(out, out=out)
    out += 1
    np.reciprocal(out, out=out)


def standardize(a: Array) -> Array:
    """Rows with zero mean and unit variance."""
    centred: Array = a - np.add.reduce(a, -1, keepdims=True) / a.shape[-1]
    variance = np.einsum("bh,bh->b", centred, centred)[:, None] / a.shape[-1]
    centred /= np.sqrt(variance + 0.00001)
    return centred


class Handwritten:
    """What the loops share: the input product over all steps at once, and the buffers."""

    def __init__(self, weight_h: Array, weight_x: Array, bias: Array) -> None:
        self.weight_h = np.ascontiguousarray(weight_h.T)
        self.weight_x = np.ascontiguousarray(weight_x.T)
        self.bias = bias
        self.size = len(weight_h.T)

    def __call__(self, x: Array) -> Array:
        """The outputs, (T, B, H)."""
        length, batch, _ = x.shape
        gates = x.reshape(length * batch, -1) @ self.weight_x
        gates += self.bias
        outputs = np.empty((length, batch, self.size), x.dtype)
        with np.errstate(over="ignore"):
            self.run(gates.reshape(length, batch, -1), outputs)
        return outputs

    def run(self, gates_x: Array, outputs: Array) -> None:
        """Fill the outputs from the input's share of all gates."""
        raise NotImplementedError


class Rnn(Handwritten):
    """Elman's network with a tanh unit."""

    def __init__(self, params: Mapping[str, Array]) -> None:
        super().__init__(params["W_h"], params["U_h"], params["b_h"])

    def run(self, gates_x: Array, outputs: Array) -> None:
        h = np.zeros_like(outputs[0])
        for x, y in zip(gates_x, outputs, strict=True):
            np.dot(h, self.weight_h, out=y)
            y += x
            np.tanh(y, out=y)
            h = y


class Gru(Handwritten):
    """Gated recurrent unit whose reset gate acts before the product."""

    def __init__(self, params: Mapping[str, Array]) -> None:
        weight_x = stacked(params, ["W_r", "W_z", "W_n"])
        bias = stacked(params, ["b_r", "b_z", "b_n"])
        super().__init__(stacked(params, ["U_r", "U_z"]), weight_x, bias)
        self.weight_n = np.ascontiguousarray(params["U_n"].T)

    def run(self, gates_x: Array, outputs: Array) -> None:
        size = self.size
        h = np.zeros_like(outputs[0])
        gates = np.empty((len(h), 2 * size), h.dtype)
        r, z = gates[:, :size], gates[:, size:]
        reset = np.empty_like(h)
        for x, n in zip(gates_x, outputs, strict=True):
            np.dot(h, self.weight_h, out=gates)
            gates += x[:, : 2 * size]
            sigmoid(gates, gates)
            np.multiply(r, h, out=reset)
            np.dot(reset, self.weight_n, out=n)
            n += x[:, 2 * size :]
            np.tanh(n, out=n)
            np.subtract(h, n, out=reset)
            reset *= z
            n += reset
            h = n


class LstmLike(Handwritten):
    """What LSTMs share: the stacked gates, those with a sigmoid in front of the candidate."""

    def __init__(self, params: Mapping[str, Array], gates: str) -> None:
        both = stacked(params, [f"W_{gate}" for gate in gates])
        size = len(params["W_g"])
        bias = stacked(params, [f"b_{gate}" for gate in gates])
        super().__init__(both[:, :size], both[:, size:], bias)
        self.params = params


class Lstm(LstmLike):
    """Long short-term memory: gates f, i, o under one sigmoid, then g."""

    def __init__(self, params: Mapping[str, Array]) -> None:
        super().__init__(params, "fiog")

    def run(self, gates_x: Array, outputs: Array) -> None:
        size = self.size
        h, c = np.zeros_like(outputs[0]), np.zeros_like(outputs[0])
        gates = np.empty((len(h), 4 * size), h.dtype)
        fio, g = np.empty((len(h), 3 * size), h.dtype), np.empty_like(h)
        f, i, o = (fio[:, k * size : (k + 1) * size] for k in range(3))
        before, before_g = gates[:, : 3 * size], gates[:, 3 * size :]
        for x, y in zip(gates_x, outputs, strict=True):
            np.dot(h, self.weight_h, out=gates)
            gates += x
            sigmoid(before, fio)
            np.tanh(before_g, out=g)
            c *= f
            g *= i
            c += g
            np.tanh(c, out=y)
            y *= o
            h = y


class PeepholeLstm(LstmLike):
    """LSTM whose gates see the memory through diagonal weights."""

    def __init__(self, params: Mapping[str, Array]) -> None:
        super().__init__(params, "ifog")
        self.peep = stacked(params, ["p_i", "p_f"]).reshape(2, -1)

    def run(self, gates_x: Array, outputs: Array) -> None:
        size = self.size
        h, c = np.zeros_like(outputs[0]), np.zeros_like(outputs[0])
        gates = np.empty((len(h), 4 * size), h.dtype)
        both = gates[:, : 2 * size]
        seen = np.empty((len(h), 2, size), h.dtype)
        written = np.empty_like(both)
        i, f = written[:, :size], written[:, size:]
        before_o, before_g = gates[:, 2 * size : 3 * size], gates[:, 3 * size :]
        o, g = np.empty_like(h), np.empty_like(h)
        for x, y in zip(gates_x, outputs, strict=True):
            np.dot(h, self.weight_h, out=gates)
            gates += x
            np.multiply(c[:, None], self.peep, out=seen)
            both += seen.reshape(both.shape)
            sigmoid(both, written)
            np.tanh(before_g, out=g)
            c *= f
            g *= i
            c += g
            np.multiply(c, self.params["p_o"], out=y)
            y += before_o
            sigmoid(y, o)
            np.tanh(c, out=y)
            y *= o
            h = y


class Cifg(LstmLike):
    """Peephole LSTM that forgets what it does not write."""

    def __init__(self, params: Mapping[str, Array]) -> None:
        super().__init__(params, "iog")

    def run(self, gates_x: Array, outputs: Array) -> None:
        size, peep_i, peep_o = self.size, self.params["p_i"], self.params["p_o"]
        h, c = np.zeros_like(outputs[0]), np.zeros_like(outputs[0])
        gates = np.empty((len(h), 3 * size), h.dtype)
        before_i, before_o, before_g = (gates[:, k * size : (k + 1) * size] for k in range(3))
        i, o, g = np.empty_like(h), np.empty_like(h), np.empty_like(h)
        for x, y in zip(gates_x, outputs, strict=True):
            np.dot(h, self.weight_h, out=gates)
            gates += x
            np.multiply(c, peep_i, out=y)
            y += before_i
            sigmoid(y, i)
            np.tanh(before_g, out=g)
            g -= c
            g *= i
            c += g
            np.multiply(c, peep_o, out=y)
            y += before_o
            sigmoid(y, o)
            np.tanh(c, out=y)
            y *= o
            h = y


class LayernormLstm(Handwritten):
    """LSTM that normalises each gate and the memory."""

    def __init__(self, params: Mapping[str, Array]) -> None:
        weight_h = stacked(params, [f"U_{gate}" for gate in "fiog"])
        weight_x = stacked(params, [f"W_{gate}" for gate in "fiog"])
        bias = stacked(params, [f"b_{gate}" for gate in "fiog"])
        super().__init__(weight_h, weight_x, bias)
        self.gain = stacked(params, [f"gamma_{gate}" for gate in "fiog"]).reshape(4, -1)
        self.bias_h = stacked(params, [f"beta_{gate}" for gate in "fiog"]).reshape(4, -1)
        self.gain_c, self.bias_c = params["gamma_c"], params["beta_c"]

    def run(self, gates_x: Array, outputs: Array) -> None:
        batch, size = outputs.shape[1:]
        h, c = np.zeros_like(outputs[0]), np.zeros_like(outputs[0])
        gates = np.empty((batch, 4 * size), h.dtype)
        for x, y in zip(gates_x, outputs, strict=True):
            np.dot(h, self.weight_h, out=gates)
            gates += x
            normal = standardize(gates.reshape(batch * 4, size)).reshape(batch, 4, size)
            normal *= self.gain
            normal += self.bias_h
            sigmoid(normal[:, :3], normal[:, :3])
            g = normal[:, 3]
            np.tanh(g, out=g)
            c *= normal[:, 0]
            g *= normal[:, 1]
            c += g
            np.multiply(standardize(c), self.gain_c, out=y)
            y += self.bias_c
            np.tanh(y, out=y)
            y *= normal[:, 2]
            h = y


PEERS: dict[str, type[Rnn | Gru | Lstm | PeepholeLstm | Cifg | LayernormLstm]] = {
    "rnn": Rnn,
    "lstm": Lstm,
    "gru": Gru,
    "cifg": Cifg,
    "peephole_lstm": PeepholeLstm,
    "layernorm_lstm": LayernormLstm,
}
