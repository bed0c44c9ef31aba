"""The zoo's networks against the same compositions of torch.nn: outputs, states, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc

STEPS, BATCH, I, H, K = 6, 4, 3, 5, 2
LENGTHS = torch.tensor([3, 6, 1, 4])
OTHERS = torch.tensor([2, 1, 5, 3])
LEVELS = ("O0", "O2")


def random(*shape: int, seed: int = 0) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64)


def packed(value: Tensor, lengths: Tensor = LENGTHS) -> PackedSequence:
    return pack_padded_sequence(value, lengths, enforce_sorted=False)


def padded(value: Any) -> Tensor:
    return pad_packed_sequence(value)[0] if isinstance(value, PackedSequence) else value


def module_of(cell: cellc.Cell | str, level: str = "O2", **arguments: Any) -> Any:
    """A module in float64 of a shipped cell or of a text."""
    if isinstance(cell, str):
        cell = cellc.parse(cell) if "\n" in cell else cellc.load(cell)
    return cellc.compile(cell, level=level)(**arguments).double()


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


# Parameters of torch's modules under cellc's names: values, or gradients.


def gates_of(
    layer: nn.RNNBase, suffix: str, label: str, gates: str, value: bool
) -> dict[str, Tensor]:
    """One layer of torch's RNN or LSTM; torch has two biases where cellc has one."""

    def part(name: str) -> Tensor:
        parameter = getattr(layer, name + suffix)
        found: Tensor = parameter.detach() if value else parameter.grad
        return found

    forward, recurrent, bias = part("weight_ih"), part("weight_hh"), part("bias_ih")
    bias = bias + part("bias_hh") if value else bias
    if not gates:
        return {f"{label}_U_h": forward, f"{label}_W_h": recurrent, f"{label}_b_h": bias}
    weights = torch.cat([recurrent, forward], 1).chunk(4)
    named = {f"{label}_W_{g}": w for g, w in zip(gates, weights, strict=True)}
    return named | {f"{label}_b_{g}": b for g, b in zip(gates, bias.chunk(4), strict=True)}


def layers_of(layer: nn.RNNBase, label: str = "", value: bool = True) -> dict[str, Tensor]:
    """All layers and directions under the labels of `stack` and `bidirectional`."""
    gates = "ifgo" if isinstance(layer, nn.LSTM) else ""
    found: dict[str, Tensor] = {}
    label = label or type(layer).__name__.lower()
    for n in range(layer.num_layers):
        numbered = f"{label}_{n + 1}" if layer.num_layers > 1 else label
        for turn in ("forward", "backward") if layer.bidirectional else ("",):
            own = f"{numbered}_{turn}" if turn else numbered
            suffix = f"_l{n}" + ("_reverse" if turn == "backward" else "")
            found |= gates_of(layer, suffix, own, gates, value)
    return found


def linear_of(layer: nn.Linear, label: str = "linear", value: bool = True) -> dict[str, Tensor]:
    parts = [layer.weight, layer.bias]
    found = [p.detach() if value else p.grad for p in parts]
    return {f"{label}_W": found[0], f"{label}_b": found[1]}  # type: ignore[dict-item]


def states_of(states: Any) -> tuple[Tensor, ...]:
    """Torch's (h, c) with layers first as cellc's states, layer by layer."""
    parts = states if isinstance(states, tuple) else (states,)
    return tuple(part[n] for n in range(len(parts[0])) for part in parts)


def backpropagate(ours: Tensor, theirs: Tensor, *x: Tensor) -> None:
    """The gradients of the inputs agree; those of the parameters are left for the caller."""
    mine = torch.autograd.grad(ours, x, retain_graph=True)
    for a, b in zip(mine, torch.autograd.grad(theirs, x, retain_graph=True), strict=True):
        close(a, b)
    torch.autograd.backward([ours, theirs])


def check_parameters(ours: Any, gradients: dict[str, Tensor]) -> None:
    found = dict(ours.named_parameters())
    assert set(found) == set(gradients)
    for name, gradient in gradients.items():
        close(found[name].grad, gradient)


STACKS: dict[str, tuple[nn.RNNBase, dict[str, float]]] = {
    "stacked_lstm": (nn.LSTM(I, H, 2).double(), {"p": 0.0}),
    "deep_rnn": (nn.RNN(I, H, 2).double(), {}),
    "bidirectional_rnn": (nn.RNN(I, H, bidirectional=True).double(), {}),
    "bidirectional_lstm": (nn.LSTM(I, H, bidirectional=True).double(), {}),
    "deep_bidirectional_lstm": (nn.LSTM(I, H, 2, bidirectional=True).double(), {"p": 0.0}),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", STACKS)
def test_stacks_and_both_directions_are_torchs(name: str, ragged: bool, level: str) -> None:
    theirs, options = STACKS[name]
    theirs.zero_grad()
    ours = module_of(name, level, input_size=I, hidden_size=H, **options)
    ours.load_state_dict(layers_of(theirs))
    x = random(STEPS, BATCH, I).requires_grad_()
    count = theirs.num_layers * (2 if theirs.bidirectional else 1)
    h, c = random(count, BATCH, H, seed=1), random(count, BATCH, H, seed=2)
    start = (h, c) if isinstance(theirs, nn.LSTM) else h
    given = packed(x) if ragged else x
    y, ends = ours(given, states_of(start))
    want, last = theirs(given, start)
    close(padded(y), padded(want))
    for a, b in zip(ends, states_of(last), strict=True):
        close(a, b)
    weight = random(*padded(y).shape, seed=3)
    losses = [(padded(v)).mul(weight).sum() + sum(s.square().sum() for s in end)
              for v, end in ((y, ends), (want, states_of(last)))]  # fmt: skip
    backpropagate(losses[0], losses[1], x)
    check_parameters(ours, layers_of(theirs, value=False))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", STACKS)
def test_the_same_in_numpy(name: str, level: str) -> None:
    theirs, options = STACKS[name]
    ours = cellc.compile(cellc.load(name), "numpy", level)(input_size=I, hidden_size=H, **options)
    ours.params = {name: value.numpy() for name, value in layers_of(theirs).items()}
    x = random(STEPS, BATCH, I)
    y, ends = ours(x.numpy(), lengths=LENGTHS.numpy())
    want, last = theirs(packed(x))
    close(torch.from_numpy(y), padded(want))
    for a, b in zip(ends, states_of(last), strict=True):
        close(torch.from_numpy(a), b)


def test_five_layers_are_chosen_before_compiling() -> None:
    theirs = nn.LSTM(I, H, 5).double()
    ours = module_of(cellc.load("stacked_lstm", L=5), input_size=I, hidden_size=H, p=0.0)
    ours.load_state_dict(layers_of(theirs))
    x = random(STEPS, BATCH, I)
    close(ours(x)[0], theirs(x)[0])


# Readouts.


def lasts(value: PackedSequence | Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value[-1]
    steps, lengths = pad_packed_sequence(value)
    return steps[lengths - 1, torch.arange(len(lengths))]


def mapped(value: PackedSequence | Tensor, layer: Callable[[Tensor], Tensor]) -> Any:
    """A layer at every step of a ragged batch or a whole one."""
    return (
        value._replace(data=layer(value.data))
        if isinstance(value, PackedSequence)
        else layer(value)
    )


READOUTS: dict[str, tuple[type[nn.RNN] | type[nn.LSTM], Callable[[Any, nn.Linear], Any]]] = {
    "many_to_one": (nn.LSTM, lambda y, readout: readout(lasts(y))),
    "many_to_many": (nn.LSTM, lambda y, readout: mapped(y, readout)),
    "rnn_output": (nn.RNN, lambda y, readout: mapped(y, lambda v: readout(v).softmax(-1))),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", READOUTS)
def test_readouts(name: str, ragged: bool, level: str) -> None:
    kind, composed = READOUTS[name]
    recurrent, readout = kind(I, H).double(), nn.Linear(H, K).double()
    ours = module_of(name, level, input_size=I, hidden_size=H, classes=K)
    ours.load_state_dict(layers_of(recurrent) | linear_of(readout))
    x = random(STEPS, BATCH, I).requires_grad_()
    given = packed(x) if ragged else x
    (y, _), want = ours(given), composed(recurrent(given)[0], readout)
    close(padded(y), padded(want))
    weight = random(*padded(y).shape, seed=3)
    losses = [padded(v).mul(weight).sum() for v in (y, want)]
    backpropagate(losses[0], losses[1], x)
    check_parameters(ours, layers_of(recurrent, value=False) | linear_of(readout, value=False))


@pytest.mark.parametrize("level", LEVELS)
def test_a_convolution_before_an_lstm_stays_within_each_sequence(level: str) -> None:
    channels = 4
    conv = nn.Conv1d(I, channels, 5, padding=2).double()
    recurrent, readout = nn.LSTM(channels, H).double(), nn.Linear(H, K).double()
    ours = module_of("cnn_lstm", level, input_size=I, hidden_size=H, channels=channels, classes=K)
    kernel = {"conv1d_W": conv.weight.detach().transpose(1, 2), "conv1d_b": conv.bias.detach()}  # type: ignore[union-attr]
    ours.load_state_dict(kernel | layers_of(recurrent) | linear_of(readout))
    x = random(STEPS, BATCH, I).requires_grad_()
    y, _ = ours(packed(x))
    wanted = []
    for b, length in enumerate(LENGTHS):
        features = conv(x[:length, b].T).T.relu()
        wanted.append(readout(recurrent(features)[0][-1]))
    want = torch.stack(wanted)
    close(y, want)
    backpropagate(y.square().sum(), want.square().sum(), x)
    close(ours.conv1d_W.grad, conv.weight.grad.transpose(1, 2))  # type: ignore[union-attr]


@pytest.mark.parametrize("level", LEVELS)
def test_tokens_are_embedded(level: str) -> None:
    ours = module_of(
        "network n\ninput x integer\noutput x -> embedding(9, 4) -> lstm", level, hidden_size=H
    )
    table, recurrent = nn.Embedding(9, 4).double(), nn.LSTM(4, H).double()
    ours.load_state_dict({"embedding_W": table.weight.detach()} | layers_of(recurrent))
    x = torch.randint(0, 9, (STEPS, BATCH))
    y, _ = ours(packed(x))
    want, _ = recurrent(mapped(packed(x), lambda tokens: table(tokens)))
    close(padded(y), padded(want))
    torch.autograd.backward([padded(y).square().sum(), padded(want).square().sum()])
    close(ours.embedding_W.grad, table.weight.grad)  # type: ignore[arg-type]


# From sequence to sequence.


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ragged", [False, True])
def test_an_encoders_final_states_start_a_decoder(ragged: bool, level: str) -> None:
    encoder, decoder = nn.LSTM(I, H, 2).double(), nn.LSTM(2, H, 2).double()
    readout = nn.Linear(H, K).double()
    ours = module_of(
        "seq2seq_lstm", level, input_size=I, hidden_size=H, target_size=2, output_size=K
    )
    ours.load_state_dict(
        layers_of(encoder, "encoder") | layers_of(decoder, "decoder") | linear_of(readout)
    )
    x, y = random(STEPS, BATCH, I).requires_grad_(), random(5, BATCH, 2).requires_grad_()
    given = (packed(x), packed(y, OTHERS)) if ragged else (x, y)
    out, ends = ours(*given)
    _, middle = encoder(given[0])
    decoded, last = decoder(given[1], middle)
    want = mapped(decoded, readout)
    close(padded(out), padded(want))
    for a, b in zip(ends, states_of(middle) + states_of(last), strict=True):
        close(a, b)
    losses = [padded(v).square().sum() for v in (out, want)]
    backpropagate(losses[0], losses[1], x, y)
    parts = layers_of(encoder, "encoder", value=False) | layers_of(decoder, "decoder", value=False)
    check_parameters(ours, parts | linear_of(readout, value=False))


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_generated_is_fed_back(level: str) -> None:
    cell, readout = nn.LSTM(I, H).double(), nn.Linear(H, I).double()
    ours = module_of("one_to_many", level, input_size=I, hidden_size=H)
    ours.load_state_dict(layers_of(cell, "y") | linear_of(readout, "y_linear"))
    x = random(BATCH, I).requires_grad_()
    out, (last, *ends) = ours(x, steps=7)
    fed, state, written = x, None, []
    for _ in range(7):
        h, state = cell(fed[None], state)
        fed = readout(h[0])
        written.append(fed)
    want = torch.stack(written)
    close(out, want)
    close(last, want[-1])
    for a, b in zip(ends, states_of(state), strict=True):
        close(a, b)
    backpropagate(out.square().sum(), want.square().sum(), x)
    parts = layers_of(cell, "y", value=False) | linear_of(readout, "y_linear", value=False)
    check_parameters(ours, parts)


# States that stay, weights that are shared, layers within layers.


@pytest.mark.parametrize("level", LEVELS)
def test_a_stateful_lstm_goes_on_where_the_last_batch_ended(level: str) -> None:
    theirs = nn.LSTM(I, H).double()
    ours = module_of("stateful_lstm", level, input_size=I, hidden_size=H)
    ours.load_state_dict(layers_of(theirs))
    x = random(3 * STEPS, BATCH, I)
    want, _ = theirs(x)
    pieces = [ours(part)[0] for part in x.chunk(3)]
    close(torch.cat(pieces), want)
    ours.reset_state()
    close(ours(x[:4])[0], want[:4])
    ours.reset_state(torch.tensor([True, False, False, True]))
    again, _ = ours(x[4:8])
    fresh, _ = theirs(x[4:8])
    close(again[:, 1:3], want[4:8, 1:3])
    close(again[:, [0, 3]], fresh[:, [0, 3]])


SIAMESE = """
network alike
input a[I], b[I]
share encode = bidirectional(lstm) -> last
u = a -> encode
v = b -> encode
output u - v
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_shared_layer_has_one_set_of_weights_for_all_its_uses(level: str) -> None:
    theirs = nn.LSTM(I, H, bidirectional=True).double()
    ours = module_of(SIAMESE, level, input_size=I, hidden_size=H)
    ours.load_state_dict(layers_of(theirs, "encode_lstm"))
    a, b = (random(STEPS, BATCH, I, seed=n).requires_grad_() for n in (1, 2))
    y, states = ours(packed(a), packed(b))
    want = lasts(theirs(packed(a))[0]) - lasts(theirs(packed(b))[0])
    assert len(states) == 8
    close(y, want)
    backpropagate(y.square().sum(), want.square().sum(), a, b)
    check_parameters(ours, layers_of(theirs, "encode_lstm", value=False))


NESTED = """
network nested
input x[H]
output x -> stack(bidirectional(residual(rnn)) -> linear(H), layers=2, dropout=0.0)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_layers_of_layers_nest(level: str) -> None:
    ours = module_of(NESTED, level, hidden_size=H)
    x = random(STEPS, BATCH, H)
    value = packed(x)
    parameters: dict[str, Tensor] = {}
    for n in (1, 2):
        both, down = nn.RNN(H, H, bidirectional=True).double(), nn.Linear(2 * H, H).double()
        parameters |= layers_of(both, f"rnn_{n}") | linear_of(down, f"linear_{n}")
        given = value
        value = mapped(both(given)[0], lambda v: v + torch.cat([given.data, given.data], 1))  # noqa: B023
        value = mapped(value, down)
    assert set(ours.state_dict()) == set(parameters)
    ours.load_state_dict(parameters)
    close(padded(ours(packed(x))[0]), padded(value))


@pytest.mark.parametrize("level", LEVELS)
def test_dropout_is_on_the_way_up_and_never_on_what_is_remembered(level: str) -> None:
    lower, upper = nn.LSTM(I, H).double(), nn.LSTM(H, H).double()
    ours = module_of("stacked_lstm", level, input_size=I, hidden_size=H, p=0.4)
    ours.load_state_dict(layers_of(lower, "lstm_1") | layers_of(upper, "lstm_2"))
    x, mask = random(STEPS, BATCH, I), random(STEPS, BATCH, H, seed=5).sigmoid()
    y, ends = ours(x, draws={"mask_dropout_1": mask})
    below, first = lower(x)
    want, second = upper(below * (mask >= 0.4) / 0.6)
    close(y, want)
    for a, b in zip(ends, states_of(first) + states_of(second), strict=True):
        close(a, b)
    close(ours.eval()(x)[0], upper(below)[0])


def test_a_network_is_a_module_among_others() -> None:
    class Tagger(nn.Module):
        """Two networks, as a user puts them together."""

        def __init__(self) -> None:
            super().__init__()
            self.body = module_of("deep_bidirectional_lstm", input_size=I, hidden_size=H)
            self.head = module_of("many_to_one", input_size=2 * H, hidden_size=H, classes=K)

        def forward(self, x: PackedSequence) -> Tensor:
            found: Tensor = self.head(self.body(x)[0])[0]
            return found

    tagger, x = Tagger().eval(), packed(random(STEPS, BATCH, I))
    twin = copy.deepcopy(tagger)
    other = Tagger().eval()
    other.load_state_dict(tagger.state_dict())
    assert torch.equal(tagger(x), twin(x))
    assert torch.equal(tagger(x), other(x))
    assert len(list(tagger.parameters())) == 4 * 8 + 10
