"""The zoo's networks against the same compositions of torch.nn: outputs, states, gradients."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc
from tests.running import listed

STEPS, BATCH, I, H, K = 6, 4, 3, 5, 2
SIZES: dict[str, Any] = {"input_size": I, "hidden_size": H}
LENGTHS = torch.tensor([3, 6, 1, 4])
OTHERS = torch.tensor([2, 1, 5, 3])

#: The level of optimisation, and whether the sequences have lengths of their own.
WAYS = ("O0", "O2", "O0 ragged", "O2 ragged")
every_way = pytest.mark.parametrize("way", WAYS)
every_level = pytest.mark.parametrize("level", WAYS[:2])


@pytest.fixture(autouse=True)
def in_double_precision_and_seeded() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def packed(value: Tensor, lengths: Tensor = LENGTHS) -> PackedSequence:
    return pack_padded_sequence(value, lengths, enforce_sorted=False)


def unpacked(value: Any) -> tuple[Tensor, Tensor]:
    """The steps (T, B, …) and how many each sequence has."""
    if isinstance(value, PackedSequence):
        return pad_packed_sequence(value)
    return value, torch.full((value.shape[1],), len(value))


def mapped(function: Callable[..., Tensor], *values: Any) -> Any:
    """A function at every step of sequences that are all packed or all whole."""
    if isinstance(values[0], PackedSequence):
        return values[0]._replace(data=function(*(value.data for value in values)))
    return function(*values)


def flipped(value: Any) -> Any:
    steps, lengths = unpacked(value)
    turned = [torch.cat([steps[:n, b].flip(0), steps[n:, b]]) for b, n in enumerate(lengths)]
    found = torch.stack(turned, 1)
    return packed(found, lengths) if isinstance(value, PackedSequence) else found


def lasts(value: Any) -> Tensor:
    steps, lengths = unpacked(value)
    return steps[lengths - 1, torch.arange(len(lengths))]


def states_of(states: Any) -> list[Tensor]:
    """Torch's (h, c) with layers first as cellc's states, layer by layer."""
    parts = states if isinstance(states, tuple) else (states,)
    return [part[n] for n in range(len(parts[0])) for part in parts]


#: A composition gives its output and its final states, in cellc's order.
Given = tuple[Any, list[Tensor]]
STEPWISE = (nn.Linear, nn.Embedding, nn.Softmax)


def through(x: Any, *layers: Callable[..., Any]) -> Given:
    """One after the other: modules, functions of a whole sequence, and compositions."""
    ends: list[Tensor] = []
    for layer in layers:
        found = mapped(layer, x) if isinstance(layer, STEPWISE) else layer(x)
        x, last = found if type(found) is tuple else (found, [])
        ends += states_of(last) if isinstance(layer, nn.RNNBase) else listed(last)
    return x, ends


def shortcut(x: Any, *layers: Callable[..., Any]) -> Given:
    y, ends = through(x, *layers)
    return mapped(torch.add, y, x), ends


def back_to_back(x: Any, forward: Callable[..., Any], backward: Callable[..., Any]) -> Given:
    (y, ends), (z, others) = through(x, forward), through(x, flipped, backward, flipped)
    return mapped(lambda *parts: torch.cat(parts, -1), y, z), ends + others


#: Torch's modules under the labels that cellc gives to layers.
Layers = dict[str, nn.Module]


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def recurrent(layer: nn.RNNBase, suffix: str, of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """One layer of torch's; it has two biases where cellc has one."""
    w, u, b, other = (of(getattr(layer, kind + suffix))
                      for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))  # fmt: skip
    b = b if of is gradient_of else b + other
    if not isinstance(layer, nn.LSTM):
        return {"U_h": w, "W_h": u, "b_h": b}
    gates = zip("ifgo", torch.cat([u, w], 1).chunk(4), b.chunk(4), strict=True)
    return {name: value for g, w, b in gates for name, value in ((f"W_{g}", w), (f"b_{g}", b))}


def parameters_of(layers: Layers, of: Any = Tensor.detach) -> dict[str, Tensor]:
    """Values or gradients under cellc's names; `stack` and `bidirectional` add to the labels."""
    found: dict[str, Tensor] = {}
    for label, layer in layers.items():
        if not isinstance(layer, nn.RNNBase):
            for name, parameter in layer.named_parameters():
                own = {"weight": "W", "bias": "b"}.get(name, name)
                found[f"{label}_{own}"] = of(parameter).movedim(min(1, parameter.ndim - 1), -1)
            continue
        turns = {"_forward": "", "_backward": "_reverse"} if layer.bidirectional else {"": ""}
        for n, (turn, suffix) in itertools.product(range(layer.num_layers), turns.items()):
            number = f"_{n + 1}" if layer.num_layers > 1 else ""
            for name, value in recurrent(layer, f"_l{n}{suffix}", of).items():
                found[f"{label}{number}{turn}_{name}"] = value
    return found


@functools.cache
def compiled(cell: str, level: str = "O2", target: str = "torch", **lengths: int) -> Any:
    """A shipped cell, or that of a text."""
    found = cellc.parse(cell) if "\n" in cell else cellc.load(cell, **lengths)
    return cellc.compile(found, target, level)


def both(cell: str, way: str, layers: Layers, **sizes: Any) -> tuple[Any, Any]:
    """The network in Torch and in NumPy with the parameters of torch's modules."""
    lengths = {"L": sizes.pop("L")} if "L" in sizes else {}
    ours = compiled(cell, way[:2], **lengths)(**sizes, dtype=torch.float64)
    ours.load_state_dict(parameters_of(layers))
    reference = compiled(cell, way[:2], "numpy", **lengths)(**sizes)
    reference.params = {name: value.numpy() for name, value in parameters_of(layers).items()}
    return ours, reference


def check(cell: str, way: str, layers: Layers, composed: Callable[..., Given], *inputs: Tensor,
          sizes: dict[str, Any] = SIZES, state: Sequence[Tensor] = (), steps: int = 0,
          ends: Sequence[Tensor] = (LENGTHS,), draws: dict[str, Tensor] | None = None,
          training: bool = True) -> None:  # fmt: skip
    """Outputs, states and gradients are those of the composition; NumPy's outputs and states too.

    It is called with inputs, packed if ragged, and states; ``ends`` are lengths along the axes.
    """
    ours, reference = both(cell, way, layers, **sizes)
    ours.train(training)
    for layer in layers.values():
        layer.zero_grad()
    leaves = [x.requires_grad_() for x in (*inputs, *state) if x.is_floating_point()]
    given: list[Any] = list(inputs)
    words: dict[str, Any] = {"steps": steps} if steps else {}
    arrays = dict(words)
    if state:
        words["state"] = tuple(state)
        arrays["state"] = tuple(value.detach().numpy() for value in state)
    if draws:
        words["draws"] = {n: packed(v) if "ragged" in way else v for n, v in draws.items()}
        arrays |= {"training": True, "draws": {n: v.numpy() for n, v in draws.items()}}
    if "ragged" in way:
        given = [packed(x, ends[min(n, len(ends) - 1)]) for n, x in enumerate(inputs)]
        names = ("lengths", "target_lengths")
        arrays |= {name: end.numpy() for name, end in zip(names, ends, strict=False)}
    results, slopes = [], []
    for outputs, last in (ours(*given, **words), composed(*given, *state)):
        results.append([unpacked(outputs)[0], *listed(last)])
        weighed = [(v * random(*v.shape, seed=n)).sum() for n, v in enumerate(results[-1])]
        torch.autograd.backward(weighed, retain_graph=True)
        slopes.append([gradient_of(leaf) for leaf in leaves])
        for leaf in leaves:
            leaf.grad = None
    outputs, last = reference(*(x.detach().numpy() for x in inputs), **arrays)
    close([torch.from_numpy(value) for value in (outputs, *listed(last))], results[1])
    close(*results)
    close(*slopes)
    found = {name: gradient_of(parameter) for name, parameter in ours.named_parameters()}
    close(found, parameters_of(layers, gradient_of))


STACKS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "stacked_lstm": ("lstm", lambda: nn.LSTM(I, H, 2), {"p": 0.0}),
    "stacked_lstm of 3": ("lstm", lambda: nn.LSTM(I, H, 3), {"p": 0.0, "L": 3}),
    "deep_rnn": ("rnn", lambda: nn.RNN(I, H, 2), {}),
    "bidirectional_rnn": ("rnn", lambda: nn.RNN(I, H, bidirectional=True), {}),
    "bidirectional_lstm": ("lstm", lambda: nn.LSTM(I, H, bidirectional=True), {}),
    "deep_bidirectional_lstm": ("lstm", lambda: nn.LSTM(I, H, 2, bidirectional=True), {"p": 0.0}),
}


@every_way
@pytest.mark.parametrize("name", STACKS)
def test_stacks_and_both_directions_are_torchs(name: str, way: str) -> None:
    label, made, options = STACKS[name]
    theirs, parts = made(), 2 if label == "lstm" else 1

    def run(x: Any, *state: Tensor) -> Given:
        starts = tuple(torch.stack(state[n::parts]) for n in range(parts))
        y, last = theirs(x, starts if parts > 1 else starts[0])
        return y, states_of(last)

    count = parts * theirs.num_layers * (1 + theirs.bidirectional)
    start, x = [random(BATCH, H, seed=n) for n in range(count)], random(STEPS, BATCH, I, seed=99)
    check(name.split()[0], way, {label: theirs}, run, x, state=start, sizes=SIZES | options)


@every_way
def test_embeddings_and_readouts(way: str) -> None:
    lstm, rnn, readout, x = nn.LSTM(I, H), nn.RNN(I, H), nn.Linear(H, K), random(STEPS, BATCH, I)
    layers, sizes = {"lstm": lstm, "linear": readout}, SIZES | {"classes": K}
    check("many_to_one", way, layers, lambda x: through(x, lstm, lasts, readout), x, sizes=sizes)
    check("many_to_many", way, layers, lambda x: through(x, lstm, readout), x, sizes=sizes)
    layers, softmax = {"rnn": rnn, "linear": readout}, nn.Softmax(-1)
    check("rnn_output", way, layers, lambda x: through(x, rnn, readout, softmax), x, sizes=sizes)
    text = "network n\ninput x integer\noutput x -> embedding(9, 3) -> lstm\n"
    tokens, table = torch.randint(0, 9, (STEPS, BATCH)), nn.Embedding(9, I)
    layers = {"embedding": table, "lstm": lstm}
    check(text, way, layers, lambda x: through(x, table, lstm), tokens, sizes={"hidden_size": H})


@every_way
def test_a_convolution_before_an_lstm_stays_within_each_sequence(way: str) -> None:
    conv, lstm, readout = nn.Conv1d(I, 4, 5, padding=2), nn.LSTM(4, H), nn.Linear(H, K)

    def run(x: Any) -> Given:
        steps, lengths = unpacked(x)
        found = [lstm(conv(steps[:n, b].T).T.relu()) for b, n in enumerate(lengths)]
        h, c = (torch.cat([last[k] for _, last in found]) for k in (0, 1))
        return readout(h), [h, c]

    layers: Layers = {"conv1d": conv, "lstm": lstm, "linear": readout}
    sizes = SIZES | {"channels": 4, "classes": K}
    check("cnn_lstm", way, layers, run, random(STEPS, BATCH, I), sizes=sizes)


@every_way
def test_an_encoders_final_states_start_a_decoder(way: str) -> None:
    encoder, decoder, readout = nn.LSTM(I, H, 2), nn.LSTM(2, H, 2), nn.Linear(H, K)

    def run(x: Any, y: Any) -> Given:
        _, middle = encoder(x)
        decoded, last = decoder(y, middle)
        return mapped(readout, decoded), states_of(middle) + states_of(last)

    layers: Layers = {"encoder": encoder, "decoder": decoder, "linear": readout}
    sizes = SIZES | {"target_size": 2, "output_size": K}
    x, y = random(STEPS, BATCH, I), random(5, BATCH, 2)
    check("seq2seq_lstm", way, layers, run, x, y, ends=(LENGTHS, OTHERS), sizes=sizes)


@every_level
def test_what_is_generated_is_fed_back(level: str) -> None:
    lstm, readout, x = nn.LSTM(I, H), nn.Linear(H, I), random(BATCH, I)

    def run(x: Tensor) -> Given:
        state, written = None, [x]
        for _ in range(7):
            h, state = lstm(written[-1][None], state)
            written.append(readout(h[0]))
        return torch.stack(written[1:]), [written[-1], *states_of(state)]

    layers: Layers = {"y": lstm, "y_linear": readout}
    check("one_to_many", level, layers, run, x, steps=7)
    ours, _ = both("one_to_many", level, layers, **SIZES)
    begun, state = ours(x, steps=3)
    close(torch.cat([begun, ours(x, state, steps=4)[0]]), run(x)[0])


@every_level
@pytest.mark.parametrize("count", [1, 2])
def test_a_stateful_network_goes_on_where_the_last_batch_ended(count: int, level: str) -> None:
    text = "network n\ninput x[I]\noutput x -> stack(stateful(bidirectional(lstm)), layers=2)\n"
    lstm = nn.LSTM(I, H, count, bidirectional=count > 1)
    ours, reference = both(text if count > 1 else "stateful_lstm", level, {"lstm": lstm}, **SIZES)
    first, second = (random(STEPS, BATCH, I, seed=n).requires_grad_() for n in (1, 2))

    def agree(x: Tensor, state: Any) -> Any:
        (y, ends), (want, last) = ours(packed(x)), lstm(packed(x), state)
        array, arrays = reference(x.detach().numpy(), lengths=LENGTHS.numpy())
        wants = [unpacked(want)[0], *states_of(last)]
        close([unpacked(y)[0], *ends], wants)
        close([torch.from_numpy(value) for value in (array, *arrays)], wants)
        return unpacked(y)[0], last

    _, middle = agree(first, None)
    y, last = agree(second, middle)
    before, _ = torch.autograd.grad(y.sum(), [first, second], allow_unused=True)
    assert before is None  # cut off from the call before
    assert set(ours.state_dict()) == set(parameters_of({"lstm": lstm}))
    for which in (torch.tensor([True, False, False, True]), torch.ones(BATCH, dtype=torch.bool)):
        ours.reset_state(which)
        reference.reset_state(which.numpy())
        _, last = agree(first, tuple(part * ~which[:, None] for part in last))
    for run in (ours, reference):
        run.reset_state()
    agree(second, None)


@every_way
@pytest.mark.parametrize("layer", ["lstm", "bidirectional(lstm)"])
def test_two_branches_through_one_layer_are_a_siamese_network(layer: str, way: str) -> None:
    lstm = nn.LSTM(I, H, bidirectional="bidirectional" in layer)

    def run(a: Any, b: Any) -> Given:
        (u, left), (v, right) = through(a, lstm, lasts), through(b, lstm, lasts)
        return u - v, left + right

    text = f"network alike\ninput a[I], b[I]\nshare T = {layer}\n"
    text += "u = a -> T -> last\nv = b -> T -> last\noutput u - v\n"
    check(text, way, {"T": lstm}, run, *(random(STEPS, BATCH, I, seed=n) for n in (1, 2)))


@every_way
def test_layers_of_layers_nest(way: str) -> None:
    def agree(row: str, layers: Layers, *composed: Callable[..., Any], shared: str = "") -> None:
        text = f"network n\ninput x[H]\n{shared}\noutput x -> {row}\n"
        x, sizes = random(STEPS, BATCH, H), {"hidden_size": H}
        check(text, way, layers, lambda x: through(x, *composed), x, sizes=sizes)

    a, b, c, d = (compiled("gru")(H, H, dtype=torch.float64) for _ in range(4))
    lstm, rnn, up, down = nn.LSTM(H, H), nn.RNN(H, H), nn.LSTM(H, H, 2), nn.LSTM(H, H, 2)
    narrow, wide, other = nn.Linear(H, H), nn.Linear(2 * H, H), nn.Linear(2 * H, H)
    agree("stack(bidirectional(residual(gru)) -> linear(H), layers=2)",
          {"gru_1_forward": a, "gru_1_backward": b, "linear_1": wide,
           "gru_2_forward": c, "gru_2_backward": d, "linear_2": other},
          lambda x: back_to_back(x, lambda y: shortcut(y, a), lambda y: shortcut(y, b)), wide,
          lambda x: back_to_back(x, lambda y: shortcut(y, c), lambda y: shortcut(y, d)),
          other)  # fmt: skip
    layers: Layers = {"lstm_forward": up, "lstm_backward": down}
    agree("bidirectional(stack(lstm, layers=2))", layers, lambda x: back_to_back(x, up, down))
    agree("reverse -> residual(rnn -> linear(H)) -> last", {"rnn": rnn, "linear": narrow},
          flipped, lambda x: shortcut(x, rnn, narrow), lasts)  # fmt: skip
    agree("stack(T, layers=3)", {"T": lstm}, lstm, lstm, lstm, shared="share T = lstm")


def test_a_shortcut_around_what_changes_the_size_is_refused() -> None:
    text = "network n\ninput x[H]\noutput x -> stack(bidirectional(residual(gru)), layers=2)\n"
    with pytest.raises(cellc.CellcError, match=r"\[2\*H\] .* becomes \[H\]"):
        cellc.parse(text)


@every_way
@pytest.mark.parametrize(("name", "count"), [("stacked_lstm", 3), ("deep_bidirectional_lstm", 2)])
def test_dropout_is_on_the_way_up_and_not_on_what_is_kept(name: str, count: int, way: str) -> None:
    width, turned = (2 * H, True) if "bidirectional" in name else (H, False)
    stack = [nn.LSTM(width if n else I, H, bidirectional=turned) for n in range(count)]
    draws = {f"mask_dropout_{n}": random(STEPS, BATCH, width, seed=n).sigmoid()
             for n in range(1, count)}  # fmt: skip
    kept = [(mask >= 0.4) / 0.6 for mask in draws.values()]
    given = [packed(mask) if "ragged" in way else mask for mask in kept]
    dropped = [functools.partial(mapped, torch.mul, mask) for mask in given]
    woven: list[Any] = [stack[0], *itertools.chain(*zip(dropped, stack[1:], strict=True))]
    layers: Layers = {f"lstm_{n}": layer for n, layer in enumerate(stack, 1)}
    sizes, x = SIZES | {"L": count, "p": 0.4}, random(STEPS, BATCH, I)
    check(name, way, layers, lambda x: through(x, *woven), x, draws=draws, sizes=sizes)
    check(name, way, layers, lambda x: through(x, *stack), x, training=False, sizes=sizes)


class Outputs(nn.Module):
    def forward(self, found: tuple[Tensor, Any]) -> Tensor:
        return found[0]


def test_a_network_is_a_module_among_others() -> None:
    lstm, head, x = nn.LSTM(I, H, 2, bidirectional=True), nn.Linear(2 * H, K), random(4, BATCH, I)
    ours, _ = both("deep_bidirectional_lstm", "O2", {"lstm": lstm}, **SIZES, p=0.5)
    net, want = nn.Sequential(ours, Outputs(), head).eval(), head(lstm(x)[0])
    close(net(x), want)
    assert set(net.state_dict()) == {"2.weight", "2.bias", *(f"0.{n}" for n in ours.state_dict())}
    fresh = compiled("deep_bidirectional_lstm")(**SIZES, p=0.5)
    other = nn.Sequential(fresh, Outputs(), nn.Linear(2 * H, K)).eval()
    other.load_state_dict(net.state_dict())
    for twin in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), net(x))
    single = net.to(torch.float32)(x.float())
    torch.testing.assert_close(single, want.float(), rtol=0, atol=1e-5)
