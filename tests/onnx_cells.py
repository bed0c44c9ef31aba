"""Recurrent cells evaluated by ONNX Runtime: an independent float32 oracle for the tests.

`run` takes a cell by name, lays its parameters out for the matching ONNX operator (RNN, LSTM or
GRU), builds a one-node model in memory and runs it over a whole sequence on the CPU.

Parameter names, for weights that act as `W @ v` on a column:

* rnn, relu_rnn: `U_h` [H, I] on x, `W_h` [H, H] on h, `b_h` [H].
* LSTM family: `W_k` [H, H + I] on [h; x] (the first H columns are recurrent) and `b_k` [H] for
  each gate k of i, f, o, g that the cell has; peepholes `p_k` [H] for k in i, f, o.
* GRU family: `W_k` [H, I] on x, `U_k` [H, H] on h and `b_k` [H] for k in r, z, n;
  gru_reset_after has also `b_hn` [H]. Both compute h' = z * h + (1 - z) * n.

The LSTM family is, with s the logistic function, a_k = W_k @ [h; x] + b_k, and act_g and act_h
the hyperbolic tangent:

    i = s(a_i + p_i * c)    f = s(a_f + p_f * c)    g = act_g(a_g)
    c' = f * c + i * g      o = s(a_o + p_o * c')   h' = o * act_h(c')

lstm and np have no peepholes and peephole_lstm has all three. The others each make one change:
cifg takes f = 1 - i; nig, nfg and nog fix that gate at 1; niaf makes act_g and noaf makes act_h
the identity. These accept either every peephole of the gates they have, or none.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array: TypeAlias = NDArray[np.floating[Any]]
Float32: TypeAlias = NDArray[np.float32]
Params: TypeAlias = Mapping[str, Array]
Activation: TypeAlias = Literal["Tanh", "Affine"]


@dataclass(frozen=True)
class LstmForm:
    """How one cell of the LSTM family is expressed on the ONNX LSTM operator."""

    missing_gate: Literal["", "i", "f", "o"] = ""
    coupled: bool = False
    act_g: Activation = "Tanh"
    act_h: Activation = "Tanh"
    peepholes: Literal["never", "always", "optional"] = "optional"


@dataclass(frozen=True)
class Node:
    """An ONNX operator's name, its constant inputs W, R, B (and P) and its attributes."""

    op: str
    constants: dict[str, Float32]
    attributes: dict[str, Any]


RNN_ACTIVATIONS: dict[str, str] = {"rnn": "Tanh", "relu_rnn": "Relu"}

LSTM_FORMS: dict[str, LstmForm] = {
    "lstm": LstmForm(peepholes="never"),
    "np": LstmForm(peepholes="never"),
    "peephole_lstm": LstmForm(peepholes="always"),
    "cifg": LstmForm(missing_gate="f", coupled=True),
    "nig": LstmForm(missing_gate="i"),
    "nfg": LstmForm(missing_gate="f"),
    "nog": LstmForm(missing_gate="o"),
    "niaf": LstmForm(act_g="Affine"),
    "noaf": LstmForm(act_h="Affine"),
}

GRU_LINEAR_BEFORE_RESET: dict[str, int] = {"gru": 0, "gru_reset_after": 1}

CELLS: tuple[str, ...] = (*RNN_ACTIVATIONS, *LSTM_FORMS, *GRU_LINEAR_BEFORE_RESET)

# The order in which the operators stack their gates: along the rows of W, R and B, and in P.
LSTM_GATES: tuple[str, ...] = ("i", "o", "f", "g")
LSTM_PEEPHOLES: tuple[str, ...] = ("i", "o", "f")
GRU_GATES: tuple[str, ...] = ("z", "r", "n")

# A missing gate gets zero weights and this bias: its logistic function is 1 in float32.
OPEN_GATE_BIAS: float = 100.0

# The scale and offset that make Affine the identity. ONNX Runtime's default scale is 0, and it
# hands the values in turn to those activations that take one, which Sigmoid and Tanh do not.
AFFINE_IDENTITY: dict[str, list[float]] = {"activation_alpha": [1.0], "activation_beta": [0.0]}

# "" stands for sequence_lens, which is left out: every sequence has the full length.
NODE_INPUTS: dict[str, tuple[str, ...]] = {
    "RNN": ("X", "W", "R", "B", "", "initial_h"),
    "LSTM": ("X", "W", "R", "B", "", "initial_h", "initial_c", "P"),
    "GRU": ("X", "W", "R", "B", "", "initial_h"),
}
STATE_INPUTS: dict[str, tuple[str, ...]] = {
    "RNN": ("initial_h",),
    "LSTM": ("initial_h", "initial_c"),
    "GRU": ("initial_h",),
}
NODE_OUTPUTS: dict[str, tuple[str, ...]] = {
    "RNN": ("Y", "Y_h"),
    "LSTM": ("Y", "Y_h", "Y_c"),
    "GRU": ("Y", "Y_h"),
}
OUTPUT_RANKS: dict[str, int] = {"Y": 4, "Y_h": 3, "Y_c": 3}

# Pinned below what the onnx package writes by default, so that older runtimes load the model.
OPSET_VERSION: int = 14
IR_VERSION: int = 8


def run(
    cell: str, params: Params, x: Array, state: tuple[Array, ...]
) -> tuple[Float32, tuple[Float32, ...]]:
    """Run `cell` over x (T, B, I) from `state`, (h,) or (h, c), each (B, H).

    Returns the outputs (T, B, H) and the final state in the order of `state`.
    """
    if 0 in x.shape:  # ONNX Runtime aborts the whole process on an empty sequence
        raise ValueError(f"{cell}: empty input of shape {x.shape}")
    hidden = state[0].shape[1]
    node = build_node(cell, params, hidden, x.shape[2])
    state_inputs = STATE_INPUTS[node.op]
    if len(state) != len(state_inputs):
        raise ValueError(f"{cell}: expected {len(state_inputs)} state arrays, got {len(state)}")
    feeds = {"X": float32(x)}
    for name, value in zip(state_inputs, state, strict=True):
        feeds[name] = float32(value)[np.newaxis]
    outputs, *final = run_model(build_model(node, feeds), feeds)
    return outputs[:, 0], tuple(value[0] for value in final)


def build_node(cell: str, params: Params, hidden: int, inputs: int) -> Node:
    """Lay out the parameters of `cell` for its ONNX operator."""
    if cell in RNN_ACTIVATIONS:
        return rnn_node(cell, params, hidden, inputs)
    if cell in LSTM_FORMS:
        return lstm_node(cell, params, hidden, inputs)
    if cell in GRU_LINEAR_BEFORE_RESET:
        return gru_node(cell, params, hidden, inputs)
    raise ValueError(f"unknown cell {cell!r}; known cells: {', '.join(CELLS)}")


def rnn_node(cell: str, params: Params, hidden: int, inputs: int) -> Node:
    """The RNN operator: h' = activation(U_h @ x + W_h @ h + b_h)."""
    check_names(cell, params, ["U_h", "W_h", "b_h"])
    constants = {
        "W": stack([take(params, "U_h", (hidden, inputs))]),
        "R": stack([take(params, "W_h", (hidden, hidden))]),
        "B": stack([take(params, "b_h", (hidden,)), np.zeros(hidden, np.float32)]),
    }
    attributes = {"hidden_size": hidden, "activations": [RNN_ACTIVATIONS[cell]]}
    return Node("RNN", constants, attributes)


def lstm_node(cell: str, params: Params, hidden: int, inputs: int) -> Node:
    """The LSTM operator, with peepholes of zero where the cell has none."""
    form = LSTM_FORMS[cell]
    check_names(cell, params, lstm_names(form, params))
    weights, biases = [], []
    for gate in LSTM_GATES:
        weight, bias = lstm_gate(form, params, gate, hidden, inputs)
        weights.append(weight)
        biases.append(bias)
    stacked = stack(weights)
    constants = {
        "W": np.ascontiguousarray(stacked[:, :, hidden:]),
        "R": np.ascontiguousarray(stacked[:, :, :hidden]),
        "B": stack([*biases, np.zeros(len(LSTM_GATES) * hidden, np.float32)]),
        "P": stack([lstm_peephole(params, gate, hidden) for gate in LSTM_PEEPHOLES]),
    }
    return Node("LSTM", constants, lstm_attributes(form, hidden))


def lstm_names(form: LstmForm, params: Params) -> list[str]:
    """The parameter names that a cell of this form must have."""
    gates = [gate for gate in LSTM_GATES if gate != form.missing_gate]
    names = [f"{prefix}_{gate}" for gate in gates for prefix in ("W", "b")]
    peepholes = [f"p_{gate}" for gate in gates if gate in LSTM_PEEPHOLES]
    given = any(name in params for name in peepholes)
    if form.peepholes == "always" or (form.peepholes == "optional" and given):
        names += peepholes
    return names


def lstm_gate(
    form: LstmForm, params: Params, gate: str, hidden: int, inputs: int
) -> tuple[Float32, Float32]:
    """The weight on [h; x] and the bias of one gate; a missing gate is held open."""
    shape = (hidden, hidden + inputs)
    if gate == form.missing_gate:
        return np.zeros(shape, np.float32), np.full(hidden, OPEN_GATE_BIAS, np.float32)
    return take(params, f"W_{gate}", shape), take(params, f"b_{gate}", (hidden,))


def lstm_peephole(params: Params, gate: str, hidden: int) -> Float32:
    """The peephole of one gate, or zero where there is none."""
    name = f"p_{gate}"
    return take(params, name, (hidden,)) if name in params else np.zeros(hidden, np.float32)


def lstm_attributes(form: LstmForm, hidden: int) -> dict[str, Any]:
    """The operator's attributes; under input_forget ONNX Runtime ignores f and takes 1 - i."""
    attributes: dict[str, Any] = {
        "hidden_size": hidden,
        "input_forget": int(form.coupled),
        "activations": ["Sigmoid", form.act_g, form.act_h],
    }
    if "Affine" in (form.act_g, form.act_h):
        attributes |= AFFINE_IDENTITY
    return attributes


def gru_node(cell: str, params: Params, hidden: int, inputs: int) -> Node:
    """The GRU operator; the reset gate acts before or after the recurrent product of n."""
    reset_after = GRU_LINEAR_BEFORE_RESET[cell]
    names = [f"{prefix}_{gate}" for gate in GRU_GATES for prefix in ("W", "U", "b")]
    check_names(cell, params, [*names, "b_hn"] if reset_after else names)
    biases = [take(params, f"b_{gate}", (hidden,)) for gate in GRU_GATES]
    recurrent_biases = [np.zeros(hidden, np.float32) for _ in GRU_GATES]
    if reset_after:
        recurrent_biases[GRU_GATES.index("n")] = take(params, "b_hn", (hidden,))
    constants = {
        "W": stack([take(params, f"W_{gate}", (hidden, inputs)) for gate in GRU_GATES]),
        "R": stack([take(params, f"U_{gate}", (hidden, hidden)) for gate in GRU_GATES]),
        "B": stack([*biases, *recurrent_biases]),
    }
    return Node("GRU", constants, {"hidden_size": hidden, "linear_before_reset": reset_after})


def check_names(cell: str, params: Params, expected: Collection[str]) -> None:
    """Refuse missing and unknown parameters."""
    missing = sorted(set(expected) - set(params))
    unknown = sorted(set(params) - set(expected))
    if missing or unknown:
        raise ValueError(f"{cell}: missing parameters {missing}, unknown parameters {unknown}")


def take(params: Params, name: str, shape: tuple[int, ...]) -> Float32:
    """The named parameter in float32, which must have the given shape."""
    value = float32(params[name])
    if value.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {value.shape}")
    return value


def float32(value: Array) -> Float32:
    """The array as contiguous float32."""
    return np.ascontiguousarray(value, dtype=np.float32)


def stack(parts: list[Float32]) -> Float32:
    """Concatenate along the gate axis, and add the leading axis of one direction."""
    return np.concatenate(parts)[np.newaxis]


def build_model(node: Node, feeds: Mapping[str, Float32]) -> onnx.ModelProto:
    """A model of the one node, its constants as initializers and its feeds as inputs."""
    operator = helper.make_node(
        node.op, NODE_INPUTS[node.op], NODE_OUTPUTS[node.op], **node.attributes
    )
    graph = helper.make_graph(
        [operator],
        "cell",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
            for name, value in feeds.items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * OUTPUT_RANKS[name])
            for name in NODE_OUTPUTS[node.op]
        ],
        [numpy_helper.from_array(value, name) for name, value in node.constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET_VERSION)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def run_model(model: onnx.ModelProto, feeds: Mapping[str, Float32]) -> list[Float32]:
    """Run the model on one CPU thread; its outputs in order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[Float32] = session.run(None, dict(feeds))
    return outputs
