"""The zoo's other cells transcribed from their papers' equations, one step of a batch, in float64.

A step takes inputs, state and options by name, arrays (B, ...), and gives (outputs, new state).
A weight acts as x @ W.T; W with several trailing dimensions contracts all of the operand's.
Dropout is in training mode: options hold its masks (1 = keep). Grids are in reference_grid.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.reference_cells import Array, Params, net, sigmoid
from tests.reference_grid import GRID_CELLS, Cell, Named, Options, Step

EPSILON = 1e-5


def lstm_step(f: Array, i: Array, o: Array, g: Array, c: Array) -> Step:
    """From gates to new state: c' = f*c + i*g, h' = o*tanh(c'); the output is h'."""
    c_new = f * c + i * g
    h_new = o * np.tanh(c_new)
    return (h_new,), {"h": h_new, "c": c_new}


def dropout(a: Array, name: str, options: Options) -> Array:
    """Inverted dropout with the mask options hold: a * mask / (1-p)."""
    return np.asarray(a * options[f"mask_{name}"] / (1.0 - options["p"]), dtype=np.float64)


def norm(a: Array) -> Array:
    """(a - mean) / sqrt(var + 1e-5) over the last dimension, biased variance."""
    centred = a - a.mean(axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + EPSILON), dtype=np.float64)


# Leaky units.


def leaky_rnn(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Leaky units (Goodfellow et al. 2016, 10.9.2): mu' = alpha*mu + (1-alpha)*v.

    v = tanh(U x + W mu + b).
    """
    x, mu, alpha = inputs["x"], state["mu"], options["alpha"]
    v = np.tanh(x @ params["U_v"].T + mu @ params["W_v"].T + params["b_v"])
    mu_new = alpha * mu + (1.0 - alpha) * v
    return (mu_new,), {"mu": mu_new}


def esn(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Jaeger 2001, echo state network, leaky: h' = (1-alpha)*h + alpha*tanh(W_in x + W h + b).

    The readout y = V h' + b_y is the output.
    """
    x, h, alpha = inputs["x"], state["h"], options["alpha"]
    v = np.tanh(x @ params["W_in"].T + h @ params["W_v"].T + params["b_v"])
    h_new = (1.0 - alpha) * h + alpha * v
    y = h_new @ params["V_y"].T + params["b_y"]
    return (y,), {"h": h_new}


# LSTMs before and around the usual one.


def lstm_1997(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Hochreiter & Schmidhuber 1997, Long Short-Term Memory: c' = c + i*g, h' = o*k(c').

    g(a) = 4 sigmoid(a) - 2, k(a) = 2 sigmoid(a) - 1; every net input sees [h; x; last i; last o].
    """
    c = state["c"]
    seen = np.concatenate([state["h"], inputs["x"], state["prev_i_1"], state["prev_o_1"]], axis=-1)
    i = sigmoid(seen @ params["W_i"].T + params["b_i"])
    o = sigmoid(seen @ params["W_o"].T + params["b_o"])
    g = 4.0 * sigmoid(seen @ params["W_g"].T + params["b_g"]) - 2.0
    c_new = c + i * g
    h_new = o * (2.0 * sigmoid(c_new) - 1.0)
    return (h_new,), {"h": h_new, "c": c_new, "prev_i_1": i, "prev_o_1": o}


def memory_block(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Gers, Schmidhuber & Cummins 2000: N blocks of S cells, c' = f*c + i*g with a gate a block.

    h' = o*tanh(c'); h and c are (B, N, S), the gates (B, N), and every net input sees all of h.
    """
    x, h, c = inputs["x"], state["h"], state["c"]

    def gate(k: str) -> Array:
        recurrent = np.einsum("bns,mns->bm", h, params[f"U_{k}"])
        return sigmoid(x @ params[f"W_{k}"].T + recurrent + params[f"b_{k}"])[:, :, None]

    fresh = np.einsum("bi,nsi->bns", x, params["W_g"])
    recurrent = np.einsum("bmt,nsmt->bns", h, params["U_g"])
    g = np.tanh(fresh + recurrent + params["b_g"])
    return lstm_step(gate("f"), gate("i"), gate("o"), g, c)


def fgr(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Greff et al. 2015, full gate recurrence: gate k adds R_ik i + R_fk f + R_ok o of last step.

    Otherwise the peephole LSTM; g gets no gate recurrence, and o's peephole sees c'.
    """
    x, h, c = inputs["x"], state["h"], state["c"]
    last_i, last_f, last_o = state["prev_i_1"], state["prev_f_1"], state["prev_o_1"]

    def full(k: str, peeped: Array) -> Array:
        gates = (
            last_i @ params[f"R_i{k}"].T
            + last_f @ params[f"R_f{k}"].T
            + last_o @ params[f"R_o{k}"].T
        )
        return sigmoid(net(params, k, x, h) + params[f"p_{k}"] * peeped + gates)

    i, f = full("i", c), full("f", c)
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + i * g
    o = full("o", c_new)
    h_new = o * np.tanh(c_new)
    return (h_new,), {"h": h_new, "c": c_new, "prev_f_1": f, "prev_i_1": i, "prev_o_1": o}


def cifg_forget(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Greff et al. 2015, coupled gates, in TensorFlow's parametrisation: i = 1 - f."""
    x, h, c = inputs["x"], state["h"], state["c"]
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_new = f * c + (1.0 - f) * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_new)
    h_new = o * np.tanh(c_new)
    return (h_new,), {"h": h_new, "c": c_new}


# Noise that keeps memory.


def zoneout_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Krueger et al. 2017, Zoneout: units of c and of h keep their old value where d = 1.

    c' = d_c*c + (1-d_c)*(f*c + i*g) and h' = d_h*h + (1-d_h)*o*tanh(f*c + i*g).
    """
    x, h, c = inputs["x"], state["h"], state["c"]
    f, i, o = (sigmoid(net(params, k, x, h)) for k in "fio")
    memory = f * c + i * np.tanh(net(params, "g", x, h))
    d_c, d_h = 1.0 - options["mask_c"], 1.0 - options["mask_h"]
    c_new = d_c * c + (1.0 - d_c) * memory
    h_new = d_h * h + (1.0 - d_h) * o * np.tanh(memory)
    return (h_new,), {"h": h_new, "c": c_new}


def recurrent_dropout_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Semeniuta, Severyn & Barth 2016, Recurrent Dropout without Memory Loss: c' = f*c + i*d(g)."""
    x, h, c = inputs["x"], state["h"], state["c"]
    f = sigmoid(net(params, "f", x, h))
    i = sigmoid(net(params, "i", x, h))
    o = sigmoid(net(params, "o", x, h))
    g = dropout(np.tanh(net(params, "g", x, h)), "g", options)
    return lstm_step(f, i, o, g, c)


def recurrent_dropout_gru(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Semeniuta et al. 2016: h' = z*h + (1-z)*d(n), n = tanh(W x + U(r*h) + b) (z keeps)."""
    x, h = inputs["x"], state["h"]
    z = sigmoid(x @ params["W_z"].T + h @ params["U_z"].T + params["b_z"])
    r = sigmoid(x @ params["W_r"].T + h @ params["U_r"].T + params["b_r"])
    n = np.tanh(x @ params["W_n"].T + (r * h) @ params["U_n"].T + params["b_n"])
    h_new = z * h + (1.0 - z) * dropout(n, "n", options)
    return (h_new,), {"h": h_new}


# Layer normalisation: the un-normed c' is the state.


def layernorm_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Layer normalisation a gate: k = LN(W x + U h + b), h' = sigmoid(o)*tanh(LN(c')).

    LN(a) = gamma*norm(a) + beta; c' = sigmoid(f)*c + sigmoid(i)*tanh(g).
    """
    x, h, c = inputs["x"], state["h"], state["c"]

    def scaled(k: str, a: Array) -> Array:
        return norm(a) * params[f"gamma_{k}"] + params[f"beta_{k}"]

    i, f, o, g = (
        scaled(k, x @ params[f"W_{k}"].T + h @ params[f"U_{k}"].T + params[f"b_{k}"])
        for k in "ifog"
    )
    c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h_new = sigmoid(o) * np.tanh(scaled("c", c_new))
    return (h_new,), {"h": h_new, "c": c_new}


def layernorm_lstm_ba(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Ba, Kiros & Hinton 2016, Layer Normalization: (f, i, o, g) = LN(U h) + LN(W x) + b, all 4H.

    c' = sigmoid(f)*c + sigmoid(i)*tanh(g), h' = sigmoid(o)*tanh(LN(c')).
    """
    x, h, c = inputs["x"], state["h"], state["c"]
    from_h = norm(h @ params["U_z"].T) * params["gamma_h"]
    from_x = norm(x @ params["W_z"].T) * params["gamma_x"]
    f, i, o, g = np.split(from_h + from_x + params["b_z"], 4, axis=-1)
    c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h_new = sigmoid(o) * np.tanh(norm(c_new) * params["gamma_c"] + params["beta_c"])
    return (h_new,), {"h": h_new, "c": c_new}


# Factorised and grouped LSTM.


def g_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kuchaiev & Ginsburg 2017, Factorization Tricks for LSTM Networks: K independent groups.

    Rows j of a net input are W_j x_j + U_j h_j with x_j, h_j the j-th of K slices; b on them all.
    """
    x, h, c = inputs["x"], state["h"], state["c"]

    def grouped(k: str) -> Array:
        weights, recurrent = params[f"W_{k}"], params[f"U_{k}"]
        xs, hs = np.split(x, len(weights), axis=-1), np.split(h, len(weights), axis=-1)
        rows = [
            x_j @ w_j.T + h_j @ u_j.T
            for x_j, h_j, w_j, u_j in zip(xs, hs, weights, recurrent, strict=True)
        ]
        return np.asarray(np.concatenate(rows, axis=-1) + params[f"b_{k}"], dtype=np.float64)

    f, i, o = sigmoid(grouped("f")), sigmoid(grouped("i")), sigmoid(grouped("o"))
    return lstm_step(f, i, o, np.tanh(grouped("g")), c)


def f_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kuchaiev & Ginsburg 2017: v = P [h; x] of rank R, each net input W v + b, then the LSTM."""
    v = np.concatenate([state["h"], inputs["x"]], axis=-1) @ params["P_v"].T
    f = sigmoid(v @ params["W_f"].T + params["b_f"])
    i = sigmoid(v @ params["W_i"].T + params["b_i"])
    o = sigmoid(v @ params["W_o"].T + params["b_o"])
    g = np.tanh(v @ params["W_g"].T + params["b_g"])
    return lstm_step(f, i, o, g, state["c"])


# Phased LSTM.


def phase_openness(t: Array, tau: Array, s: Array, r: Array, alpha: float | Array) -> Array:
    """Neil, Pfeiffer & Liu 2016: k of times t (...) and units tau, s, r (H), as (..., H).

    phi = ((t-s) mod tau)/tau, floored; k = 2 phi/r rising to r/2, 2 - 2 phi/r falling to r, and
    alpha phi beyond.
    """
    phi = np.mod(np.asarray(t, dtype=np.float64)[..., None] - s, tau) / tau
    closed = np.where(phi < r, 2.0 - 2.0 * phi / r, alpha * phi)
    return np.asarray(np.where(phi < 0.5 * r, 2.0 * phi / r, closed), dtype=np.float64)


def phased_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Neil, Pfeiffer & Liu 2016, Phased LSTM: c~, h~ of a peephole LSTM let in by k(t).

    c' = k*c~ + (1-k)*c, h' = k*h~ + (1-k)*h, h~ = o*tanh(c~), o's peephole on c~; t is (B,).
    """
    x, h, c = inputs["x"], state["h"], state["c"]
    k = phase_openness(inputs["t"], params["tau"], params["s"], params["r"], options["alpha"])
    f = sigmoid(net(params, "f", x, h) + params["p_f"] * c)
    i = sigmoid(net(params, "i", x, h) + params["p_i"] * c)
    g = np.tanh(net(params, "g", x, h))
    c_open = f * c + i * g
    o = sigmoid(net(params, "o", x, h) + params["p_o"] * c_open)
    h_open = o * np.tanh(c_open)
    c_new = k * c_open + (1.0 - k) * c
    h_new = k * h_open + (1.0 - k) * h
    return (h_new,), {"h": h_new, "c": c_new}


# Gates that see the input alone, or the unit's own memory besides.


def sru(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Lei et al. 2018 (EMNLP), Simple Recurrent Units: light recurrence and a highway over x.

    f = sigmoid(W_f x + v_f*c + b_f), c' = f*c + (1-f)*(W x);
    r = sigmoid(W_r x + v_r*c + b_r) with the c before the step as well,
    h = r*c' + (1-r)*x*alpha, alpha = sqrt(1 + 2 exp(beta)) for biases that start with beta.
    """
    x, c = inputs["x"], state["c"]
    alpha = np.sqrt(1.0 + 2.0 * np.exp(options["beta"]))
    f = sigmoid(x @ params["W_f"].T + params["v_f"] * c + params["b_f"])
    r = sigmoid(x @ params["W_r"].T + params["v_r"] * c + params["b_r"])
    c_new = f * c + (1.0 - f) * (x @ params["W_g"].T)
    return (r * c_new + (1.0 - r) * x * alpha,), {"c": c_new}


def qrnn(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Bradbury et al. 2017, Quasi-Recurrent Neural Networks: width 2, fo-pooling.

    z = tanh(W1 x_{t-1} + W2 x_t), f and o likewise with sigmoid; c' = f*c + (1-f)*z, h = o*c'.
    """
    x, before, c = inputs["x"], state["prev_x_1"], state["c"]

    def convolved(k: str) -> Array:
        return np.asarray(before @ params[f"V_{k}"].T + x @ params[f"W_{k}"].T, dtype=np.float64)

    f, o = sigmoid(convolved("f")), sigmoid(convolved("o"))
    c_new = f * c + (1.0 - f) * np.tanh(convolved("z"))
    return (o * c_new,), {"c": c_new, "prev_x_1": x}


# Vanishing gradients.


def jacobian_rnn(params: Params, h: Array) -> Array:
    """dh'/dh of h' = tanh(U x + W h + b), given h = h' (..., H): diag(1 - h'^2) W, (..., H, H)."""
    return np.asarray((1.0 - h**2)[..., :, None] * params["W_h"], dtype=np.float64)


CELLS: dict[str, Cell] = {
    "leaky_rnn": leaky_rnn,
    "esn": esn,
    "lstm_1997": lstm_1997,
    "memory_block": memory_block,
    "fgr": fgr,
    "cifg_forget": cifg_forget,
    "zoneout_lstm": zoneout_lstm,
    "recurrent_dropout_lstm": recurrent_dropout_lstm,
    "recurrent_dropout_gru": recurrent_dropout_gru,
    "layernorm_lstm": layernorm_lstm,
    "layernorm_lstm_ba": layernorm_lstm_ba,
    "g_lstm": g_lstm,
    "f_lstm": f_lstm,
    "phased_lstm": phased_lstm,
    "sru": sru,
    "qrnn": qrnn,
    **GRID_CELLS,
}


def where_alive(alive: NDArray[np.bool_], a: Array, b: Array | float) -> Array:
    """Rows of a (B, ...) where alive (B,), of b elsewhere."""
    return np.where(alive.reshape(-1, *[1] * (a.ndim - 1)), a, b)


def run(
    name: str,
    params: Params,
    inputs: Named,
    state: Named,
    lengths: Sequence[int] | NDArray[np.int64] | None = None,
    options: Options | None = None,
    held: Named | None = None,
) -> Step:
    """Run a cell over inputs (T, B, ...), held inputs (B, ...) the same at every step.

    Past a sequence's length its state stays and its outputs are 0. A mask (T, B, H) is one a
    step, a mask (B, H) or (H,) one a sequence.
    """
    steps, batch = next(iter(inputs.values())).shape[:2]
    ends = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    now: dict[str, Array] = dict(state)
    rows: list[tuple[Array, ...]] = []
    for t in range(steps):
        at_t = {
            k: v[t] if k.startswith("mask_") and isinstance(v, np.ndarray) and v.ndim == 3 else v
            for k, v in (options or {}).items()
        }
        seen = {**(held or {}), **{k: v[t] for k, v in inputs.items()}}
        outputs, new = CELLS[name](params, seen, now, at_t)
        if new.keys() != now.keys():
            raise KeyError(f"{name}: state {sorted(now)} became {sorted(new)}")
        alive = t < ends
        rows.append(tuple(where_alive(alive, y, 0.0) for y in outputs))
        now = {k: where_alive(alive, v, now[k]) for k, v in new.items()}
    return tuple(np.stack(ys) for ys in zip(*rows, strict=True)), now
