"""Recurrent cells transcribed from their papers' equations, one step of a batch each, in float64.

x is (B, I), a state is (h,) or (h, c) with arrays (B, H), and a weight W (H, I) acts as x @ W.T.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Params = Mapping[str, Array]
State = tuple[Array, ...]
Step = tuple[Array, State]
Cell = Callable[[Params, Array, State], Step]


def sigmoid(a: Array) -> Array:
    """Logistic function 1 / (1 + exp(-a)), written so that it cannot overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * a)), dtype=np.float64)


def relu(a: Array) -> Array:
    """Rectifier max(a, 0)."""
    return np.asarray(np.maximum(a, 0.0), dtype=np.float64)


# One hidden layer: U_h on x, W_h on h.


def rnn(params: Params, x: Array, state: State) -> Step:
    """Elman 1990, Finding Structure in Time: h' = tanh(U x + W h + b)."""
    (h,) = state
    h_new = np.tanh(x @ params["U_h"].T + h @ params["W_h"].T + params["b_h"])
    return h_new, (h_new,)


def relu_rnn(params: Params, x: Array, state: State) -> Step:
    """Le, Jaitly & Hinton 2015, A Simple Way to Initialize...: h' = relu(U x + W h + b)."""
    (h,) = state
    h_new = relu(x @ params["U_h"].T + h @ params["W_h"].T + params["b_h"])
    return h_new, (h_new,)


def irnn(params: Params, x: Array, state: State) -> Step:
    """Le, Jaitly & Hinton 2015: the step of relu_rnn; W = I and b = 0 are only where it starts."""
    return relu_rnn(params, x, state)


# LSTM and Greff's variants: W_k on [h; x]; the peepholes of i and f see c, that of o sees c'.


def net(params: Params, k: str, x: Array, h: Array) -> Array:
    """Net input W_k [h; x] + b_k."""
    return np.concatenate([h, x], axis=1) @ params[f"W_{k}"].T + params[f"b_{k}"]


def lstm(params: Params, x: Array, state: State) -> Step:
    """Gers, Schmidhuber & Cummins 2000, Learning to Forget: LSTM with a forget gate."""
    h, c = state
    i = sigmoid(net(params, "i", x, h))
    f = sigmoid(net(params, "f", x, h))
    o = sigmoid(net(params, "o", x, h))
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


def peephole_lstm(params: Params, x: Array, state: State) -> Step:
    """Graves & Schmidhuber 2005, Framewise Phoneme Classification: LSTM, diagonal peepholes."""
    h, c = state
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


def vanilla_lstm(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, LSTM: A Search Space Odyssey, the baseline V: peephole_lstm."""
    return peephole_lstm(params, x, state)


def nig(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, no input gate: i = 1."""
    h, c = state
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


def nfg(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, no forget gate: f = 1."""
    h, c = state
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_new = c + i * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


def nog(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, no output gate: o = 1."""
    h, c = state
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    h_new = np.tanh(c_new)
    return h_new, (h_new, c_new)


def niaf(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, no input activation function: g is linear."""
    h, c = state
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    g = net(params, "g", x, h)
    c_new = f * c + i * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


def noaf(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, no output activation function: h' = o * c'."""
    h, c = state
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * c_new
    return h_new, (h_new, c_new)


def no_peepholes(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, no peepholes (NP)."""
    h, c = state
    i = sigmoid(net(params, "i", x, h))
    f = sigmoid(net(params, "f", x, h))
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    o = sigmoid(net(params, "o", x, h))
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


def cifg(params: Params, x: Array, state: State) -> Step:
    """Greff et al. 2015, coupled input and forget gate: f = 1 - i."""
    h, c = state
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    f = 1.0 - i
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * np.tanh(c_new)
    return h_new, (h_new, c_new)


# GRU: W_k on x, U_k on h.


def gru(params: Params, x: Array, state: State) -> Step:
    """Cho et al. 2014 (arXiv 1406.1078v3): reset before the product, z weighs the old state."""
    (h,) = state
    r = sigmoid(x @ params["W_r"].T + h @ params["U_r"].T + params["b_r"])
    z = sigmoid(x @ params["W_z"].T + h @ params["U_z"].T + params["b_z"])
    n = np.tanh(x @ params["W_n"].T + (r * h) @ params["U_n"].T + params["b_n"])
    h_new = z * h + (1.0 - z) * n
    return h_new, (h_new,)


def gru_reset_after(params: Params, x: Array, state: State) -> Step:
    """Cho et al. 2014 (arXiv 1406.1078v1), as in cuDNN: reset after the product and its bias."""
    (h,) = state
    r = sigmoid(x @ params["W_r"].T + h @ params["U_r"].T + params["b_r"])
    z = sigmoid(x @ params["W_z"].T + h @ params["U_z"].T + params["b_z"])
    n = np.tanh(x @ params["W_n"].T + params["b_n"] + r * (h @ params["U_n"].T + params["b_hn"]))
    h_new = z * h + (1.0 - z) * n
    return h_new, (h_new,)


def gru_update(params: Params, x: Array, state: State) -> Step:
    """Chung et al. 2014, Empirical Evaluation of Gated RNNs: gru, but z weighs the new state."""
    (h,) = state
    r = sigmoid(x @ params["W_r"].T + h @ params["U_r"].T + params["b_r"])
    z = sigmoid(x @ params["W_z"].T + h @ params["U_z"].T + params["b_z"])
    n = np.tanh(x @ params["W_n"].T + (r * h) @ params["U_n"].T + params["b_n"])
    h_new = (1.0 - z) * h + z * n
    return h_new, (h_new,)


# Jozefowicz's mutants: z weighs the new state; mut1 and mut2 add x itself, so I = H there.


def mut1(params: Params, x: Array, state: State) -> Step:
    """Jozefowicz et al. 2015, An Empirical Exploration of Recurrent Networks: MUT1."""
    (h,) = state
    z = sigmoid(x @ params["W_z"].T + params["b_z"])
    r = sigmoid(x @ params["W_r"].T + h @ params["U_r"].T + params["b_r"])
    n = np.tanh((r * h) @ params["U_h"].T + np.tanh(x) + params["b_h"])
    h_new = n * z + h * (1.0 - z)
    return h_new, (h_new,)


def mut2(params: Params, x: Array, state: State) -> Step:
    """Jozefowicz et al. 2015, An Empirical Exploration of Recurrent Networks: MUT2."""
    (h,) = state
    z = sigmoid(x @ params["W_z"].T + h @ params["U_z"].T + params["b_z"])
    r = sigmoid(x + h @ params["U_r"].T + params["b_r"])
    n = np.tanh((r * h) @ params["U_h"].T + x @ params["W_h"].T + params["b_h"])
    h_new = n * z + h * (1.0 - z)
    return h_new, (h_new,)


def mut3(params: Params, x: Array, state: State) -> Step:
    """Jozefowicz et al. 2015, An Empirical Exploration of Recurrent Networks: MUT3."""
    (h,) = state
    z = sigmoid(x @ params["W_z"].T + np.tanh(h) @ params["U_z"].T + params["b_z"])
    r = sigmoid(x @ params["W_r"].T + h @ params["U_r"].T + params["b_r"])
    n = np.tanh((r * h) @ params["U_h"].T + x @ params["W_h"].T + params["b_h"])
    h_new = n * z + h * (1.0 - z)
    return h_new, (h_new,)


# No product with the state: all of them are with x, a unit's past is its own. W acts on x.


def min_gru(params: Params, x: Array, state: State) -> Step:
    """Feng et al. 2024, Were RNNs All We Needed?, minGRU: h' = (1-z)*h + z*h~.

    z = sigmoid(Linear_z(x)) and h~ = Linear_h(x), which has no tanh.
    """
    (h,) = state
    z = sigmoid(x @ params["W_z"].T + params["b_z"])
    h_tilde = x @ params["W_n"].T + params["b_n"]
    h_new = (1.0 - z) * h + z * h_tilde
    return h_new, (h_new,)


def min_lstm(params: Params, x: Array, state: State) -> Step:
    """Feng et al. 2024, Were RNNs All We Needed?, minLSTM: h' = f'*h + i'*h~.

    f' = f/(f+i) and i' = i/(f+i) of the gates f and i, sigmoids of linear layers of x alone.
    """
    (h,) = state
    f = sigmoid(x @ params["W_f"].T + params["b_f"])
    i = sigmoid(x @ params["W_i"].T + params["b_i"])
    h_tilde = x @ params["W_g"].T + params["b_g"]
    f_share, i_share = f / (f + i), i / (f + i)
    h_new = f_share * h + i_share * h_tilde
    return h_new, (h_new,)


def ind_rnn(params: Params, x: Array, state: State) -> Step:
    """Li et al. 2018, Independently Recurrent Neural Network: h' = relu(W x + u*h + b)."""
    (h,) = state
    h_new = relu(x @ params["W_h"].T + params["u_h"] * h + params["b_h"])
    return h_new, (h_new,)


REFERENCES: dict[str, Cell] = {
    "rnn": rnn,
    "relu_rnn": relu_rnn,
    "irnn": irnn,
    "lstm": lstm,
    "peephole_lstm": peephole_lstm,
    "vanilla_lstm": vanilla_lstm,
    "nig": nig,
    "nfg": nfg,
    "nog": nog,
    "niaf": niaf,
    "noaf": noaf,
    "np": no_peepholes,
    "cifg": cifg,
    "gru": gru,
    "gru_reset_after": gru_reset_after,
    "gru_update": gru_update,
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "ind_rnn": ind_rnn,
}


def run(
    name: str,
    params: Params,
    xs: Array,
    state: State,
    lengths: Sequence[int] | NDArray[np.int64] | None = None,
) -> Step:
    """Run a cell over xs (T, B, I); past a sequence's length its state stays, its output is 0."""
    steps, batch = xs.shape[:2]
    ends = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    outputs = np.zeros((steps, *state[0].shape))
    for t in range(steps):
        alive = (t < ends)[:, None]
        output, new_state = REFERENCES[name](params, xs[t], state)
        outputs[t] = np.where(alive, output, 0.0)
        state = tuple(np.where(alive, new, old) for new, old in zip(new_state, state, strict=True))
    return outputs, state
