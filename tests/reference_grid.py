"""Cells that stack or cross layers, in float64: highway networks, Grid LSTM, gated feedback.

Arrays are batched: a step takes inputs, state and options by name and gives (outputs, new state).
A weight acts as x @ W.T; W with several trailing dimensions contracts all of the operand's.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tests.reference_cells import Array, Params, net, relu, sigmoid

Named = Mapping[str, Array]
Options = Mapping[str, float | Array]
Step = tuple[tuple[Array, ...], dict[str, Array]]
Cell = Callable[[Params, Named, Named, Options], Step]
Pair = tuple[Array, Array]


def depth(options: Options) -> range:
    """The layers 1..L."""
    return range(1, int(options["L"]) + 1)


# Highway networks: depth is the recurrence.


def highway(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Srivastava, Greff & Schmidhuber 2015, Highway Networks: a' = z*a + (1-z)*n, L times.

    z = sigmoid(U_z a + b_z) carries, n = tanh(U_n a + b_n), each depth with its own weights.
    """
    a = inputs["x"]
    for k in depth(options):
        z = sigmoid(a @ params[f"U_z_{k}"].T + params[f"b_z_{k}"])
        n = np.tanh(a @ params[f"U_n_{k}"].T + params[f"b_n_{k}"])
        a = z * a + (1.0 - z) * n
    return (a,), {}


def recurrent_highway(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Zilly et al. 2017, Recurrent Highway Networks, carry gate 1 - t, L micro-steps a step.

    s_k = n*t + s_{k-1}*(1-t), n = tanh(.), t = sigmoid(.); only the first micro-step sees x.
    """
    x, s = inputs["x"], state["s"]
    for k in depth(options):
        n_net = s @ params[f"U_n_{k}"].T + params[f"b_n_{k}"]
        t_net = s @ params[f"U_t_{k}"].T + params[f"b_t_{k}"]
        if k == 1:
            n_net = n_net + x @ params["W_n"].T
            t_net = t_net + x @ params["W_t"].T
        n, t = np.tanh(n_net), sigmoid(t_net)
        s = n * t + s * (1.0 - t)
    return (s,), {"s": s}


# Grid LSTM: every dimension transforms its own (h, m), seeing the h of all dimensions.


def transform(params: Params, prefix: str, z: Array, m: Array) -> Pair:
    """LSTM of one dimension: m' = f*m + i*g, h' = o*tanh(m'), net inputs W_j z + b_j."""
    f = sigmoid(z @ params[f"{prefix}_W_f"].T + params[f"{prefix}_b_f"])
    i = sigmoid(z @ params[f"{prefix}_W_i"].T + params[f"{prefix}_b_i"])
    o = sigmoid(z @ params[f"{prefix}_W_o"].T + params[f"{prefix}_b_o"])
    g = np.tanh(z @ params[f"{prefix}_W_g"].T + params[f"{prefix}_b_g"])
    m_new = f * m + i * g
    return o * np.tanh(m_new), m_new


def grid_lstm_1d(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kalchbrenner, Danihelka & Graves 2015, Grid LSTM, 1-D: an LSTM along depth alone."""
    h, m = inputs["x"] @ params["P_h"].T, inputs["x"] @ params["P_m"].T
    for k in depth(options):
        h, m = transform(params, f"h_{k}", h, m)
    return (h,), {}


def grid_lstm_2d(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kalchbrenner et al. 2015, 2-D: time (h1, m1) and depth (h2, m2), z = [h1; h2] for both."""
    new: dict[str, Array] = {}
    h2, m2 = inputs["x"] @ params["P_h2"].T, inputs["x"] @ params["P_m2"].T
    for k in depth(options):
        z = np.concatenate([state[f"h1_{k}"], h2], axis=-1)
        new[f"h1_{k}"], new[f"m1_{k}"] = transform(params, f"h1_{k}", z, state[f"m1_{k}"])
        h2, m2 = transform(params, f"h2_{k}", z, m2)
    return (h2,), new


def grid_lstm_2d_tied(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kalchbrenner et al. 2015, tied: grid_lstm_2d, one set of weights for time and depth."""
    new: dict[str, Array] = {}
    h2, m2 = inputs["x"] @ params["P_h2"].T, inputs["x"] @ params["P_m2"].T
    for k in depth(options):
        z = np.concatenate([state[f"h1_{k}"], h2], axis=-1)
        new[f"h1_{k}"], new[f"m1_{k}"] = transform(params, f"T_{k}", z, state[f"m1_{k}"])
        h2, m2 = transform(params, f"T_{k}", z, m2)
    return (h2,), new


def grid_lstm_2d_priority(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kalchbrenner et al. 2015, priority dimensions: depth first, then time with z' = [h1; h2']."""
    new: dict[str, Array] = {}
    h2, m2 = inputs["x"] @ params["P_h2"].T, inputs["x"] @ params["P_m2"].T
    for k in depth(options):
        h1, m1 = state[f"h1_{k}"], state[f"m1_{k}"]
        h2, m2 = transform(params, f"h2_{k}", np.concatenate([h1, h2], axis=-1), m2)
        z_late = np.concatenate([h1, h2], axis=-1)
        new[f"h1_{k}"], new[f"m1_{k}"] = transform(params, f"h1_{k}", z_late, m1)
    return (h2,), new


def grid_lstm_2d_relu_depth(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kalchbrenner et al. 2015, a non-LSTM dimension: depth is h2' = relu(V [h1; h2] + b)."""
    new: dict[str, Array] = {}
    h2 = inputs["x"] @ params["P_h2"].T
    for k in depth(options):
        z = np.concatenate([state[f"h1_{k}"], h2], axis=-1)
        new[f"h1_{k}"], new[f"m1_{k}"] = transform(params, f"h1_{k}", z, state[f"m1_{k}"])
        h2 = relu(z @ params[f"V_h2_{k}"].T + params[f"b_h2_{k}"])
    return (h2,), new


def grid_lstm_3d(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Kalchbrenner et al. 2015, 3-D: time (h1), rows (h2, tied) and depth (h3), x (B, R, I).

    z = [h1; h2; h3]; (h2, m2) is zero before the first row, (h3, m3) the projection of row r of x.
    """
    x = inputs["x"]
    new: dict[str, Array] = {}
    zero = np.zeros((x.shape[0], params["P_h3"].shape[0]))
    row: dict[int, Pair] = dict.fromkeys(depth(options), (zero, zero))
    tops: list[Array] = []
    for r in range(1, x.shape[1] + 1):
        h3, m3 = x[:, r - 1] @ params["P_h3"].T, x[:, r - 1] @ params["P_m3"].T
        for k in depth(options):
            h1, m1 = state[f"h1_{r}_{k}"], state[f"m1_{r}_{k}"]
            h2, m2 = row[k]
            z = np.concatenate([h1, h2, h3], axis=-1)
            new[f"h1_{r}_{k}"], new[f"m1_{r}_{k}"] = transform(params, f"h1_{k}", z, m1)
            row[k] = transform(params, f"h2_{k}", z, m2)
            h3, m3 = transform(params, f"h3_{k}", z, m3)
        tops.append(h3)
    return (np.stack(tops, axis=1),), new


# Gated feedback: layer j sees every layer i's past h through a scalar gate g^{i->j}.


def past_layers(state: Named, options: Options) -> Array:
    """All layers' h of the step before, (B, L, H)."""
    return np.stack([state[f"h_{j}"] for j in depth(options)], axis=1)


def feedback(params: Params, k: str, j: int, y: Array, past: Array) -> Array:
    """Sum over i of g^{i->j} U^{i->j} h^i, g^{i->j} = sigmoid(w y + u [h^1; ...; h^L])."""
    gates = sigmoid(y @ params[f"W_k_{j}"].T + np.einsum("bmh,lmh->bl", past, params[f"U_k_{j}"]))
    gated = gates[:, :, None] * past
    return np.asarray(np.einsum("blh,nlh->bn", gated, params[f"U_{k}_{j}"]), dtype=np.float64)


def gated_feedback_rnn(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Chung et al. 2015, Gated Feedback RNNs: h_j' = tanh(W y + feedback + b), y from below."""
    past, y = past_layers(state, options), inputs["x"]
    new: dict[str, Array] = {}
    for j in depth(options):
        fed = feedback(params, "h", j, y, past)
        y = np.tanh(y @ params[f"W_h_{j}"].T + fed + params[f"b_h_{j}"])
        new[f"h_{j}"] = y
    return (y,), new


def gated_feedback_lstm(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Chung et al. 2015: only g takes the gated sum; f, i, o see [h_j; y] of their own layer."""
    past, y = past_layers(state, options), inputs["x"]
    new: dict[str, Array] = {}
    for j in depth(options):
        h, c = state[f"h_{j}"], state[f"c_{j}"]
        f = sigmoid(net(params, f"f_{j}", y, h))
        i = sigmoid(net(params, f"i_{j}", y, h))
        o = sigmoid(net(params, f"o_{j}", y, h))
        fed = feedback(params, "g", j, y, past)
        g = np.tanh(y @ params[f"W_g_{j}"].T + fed + params[f"b_g_{j}"])
        new[f"c_{j}"] = f * c + i * g
        y = o * np.tanh(new[f"c_{j}"])
        new[f"h_{j}"] = y
    return (y,), new


def gated_feedback_gru(params: Params, inputs: Named, state: Named, options: Options) -> Step:
    """Chung et al. 2015: n = tanh(W y + r*feedback + b), h_j' = z*h_j + (1-z)*n (z keeps)."""
    past, y = past_layers(state, options), inputs["x"]
    new: dict[str, Array] = {}
    for j in depth(options):
        h = state[f"h_{j}"]
        z = sigmoid(y @ params[f"W_z_{j}"].T + h @ params[f"U_z_{j}"].T + params[f"b_z_{j}"])
        r = sigmoid(y @ params[f"W_r_{j}"].T + h @ params[f"U_r_{j}"].T + params[f"b_r_{j}"])
        fed = feedback(params, "n", j, y, past)
        n = np.tanh(y @ params[f"W_n_{j}"].T + r * fed + params[f"b_n_{j}"])
        y = z * h + (1.0 - z) * n
        new[f"h_{j}"] = y
    return (y,), new


GRID_CELLS: dict[str, Cell] = {
    "highway": highway,
    "recurrent_highway": recurrent_highway,
    "grid_lstm_1d": grid_lstm_1d,
    "grid_lstm_2d": grid_lstm_2d,
    "grid_lstm_2d_tied": grid_lstm_2d_tied,
    "grid_lstm_2d_priority": grid_lstm_2d_priority,
    "grid_lstm_2d_relu_depth": grid_lstm_2d_relu_depth,
    "grid_lstm_3d": grid_lstm_3d,
    "gated_feedback_rnn": gated_feedback_rnn,
    "gated_feedback_lstm": gated_feedback_lstm,
    "gated_feedback_gru": gated_feedback_gru,
}
