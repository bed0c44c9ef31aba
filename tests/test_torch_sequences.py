"""Torch modules with several loops and axes, values per sequence, draws, kept states, traces."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc
from cellc.ir import Cell, parse_cell, verify
from cellc.ops import TABLE
from tests.running import Trial, difference, listed

LENGTHS = torch.tensor([3, 6, 1, 5])
OTHERS = torch.tensor([4, 2, 5, 1])


def sketch(text: str) -> Cell:
    """A cell from the text of the IR, where operations may leave out their types.

    Parameters are drawn uniformly.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    drawn = ["%-0.7 = const() {value=-0.7}", "%0.7 = const() {value=0.7}"]
    initials = []
    for line in [line for line in lines if " = param()" in line]:
        name, shape = line.split()[0][1:], line[line.index(": [") + 2 : line.index("]") + 1]
        drawn.append(f'%of_{name} = uniform(%-0.7, %0.7) {{label="{name}", shape={shape}}}')
        initials.append(f"initial %{name} = %of_{name}")
    nodes = [line for line in [*lines, *drawn] if line.startswith("%")]
    typed = [line if " : " in line else f"{line} : [] over {{}}" for line in nodes]
    rest = [line for line in [*lines, *initials] if not line.startswith("%")]
    cell = parse_cell("\n".join(["cell sketched", *typed, *rest]), TABLE)
    found = dict(cell.nodes)
    for name, node in found.items():
        if not node.op.leaf:
            types = [found[argument].type for argument in node.args]
            found[name] = replace(node, type=node.op.infer(types, dict(node.attrs)))
    cell = cell.replace(found)
    verify(cell)
    return cell


def module_of(text: str, level: str = "O2", **sizes: int) -> Any:
    """The module in float64 with parameters drawn from a seed."""
    return cellc.compile(sketch(text), "torch", level)(**sizes, seed=1).double()


def padded(value: Any) -> Tensor:
    """A packed sequence as (T, B, …)."""
    return pad_packed_sequence(value)[0]


def packed(value: Tensor, lengths: Tensor = LENGTHS) -> PackedSequence:
    return pack_padded_sequence(value, lengths, enforce_sorted=False)


def random(*shape: int, **options: Any) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, **options)


LSTM = """
%h{d} = state() : [H] over {{batch, time}}
%c{d} = state() : [H] over {{batch, time}}
%Wi{d} = param() : [H, I] over {{}}
%Wf{d} = param() : [H, I] over {{}}
%Wg{d} = param() : [H, I] over {{}}
%Wo{d} = param() : [H, I] over {{}}
%Ui{d} = param() : [H, H] over {{}}
%Uf{d} = param() : [H, H] over {{}}
%Ug{d} = param() : [H, H] over {{}}
%Uo{d} = param() : [H, H] over {{}}
%{d}1 = matmul(%Wi{d}, %x{d})
%{d}2 = matmul(%Wf{d}, %x{d})
%{d}3 = matmul(%Wg{d}, %x{d})
%{d}4 = matmul(%Wo{d}, %x{d})
%{d}5 = matmul(%Ui{d}, %h{d})
%{d}6 = matmul(%Uf{d}, %h{d})
%{d}7 = matmul(%Ug{d}, %h{d})
%{d}8 = matmul(%Uo{d}, %h{d})
%{d}9 = add(%{d}1, %{d}5)
%{d}10 = add(%{d}2, %{d}6)
%{d}11 = add(%{d}3, %{d}7)
%{d}12 = add(%{d}4, %{d}8)
%i{d} = sigmoid(%{d}9)
%f{d} = sigmoid(%{d}10)
%g{d} = tanh(%{d}11)
%o{d} = sigmoid(%{d}12)
%{d}13 = multiply(%f{d}, %c{d})
%{d}14 = multiply(%i{d}, %g{d})
%c{d}' = add(%{d}13, %{d}14)
%{d}15 = tanh(%c{d}')
%h{d}' = multiply(%o{d}, %{d}15)
next %h{d} = %h{d}'
next %c{d} = %c{d}'
"""

BIDIRECTIONAL = f"""
dim I input_size
dim H hidden_size
%x1 = input() : [I] over {{batch, time}}
%x2 = reverse(%x1) {{axis="time"}}
{LSTM.format(d=1)}
{LSTM.format(d=2)}
%back = reverse(%h2') {{axis="time"}}
%y = concat(%h1', %back)
output %y = %y
"""


def _twin(module: Any) -> nn.LSTM:
    """Torch's own bidirectional LSTM with the same parameters."""
    twin = nn.LSTM(3, 4, bidirectional=True, bias=False).double()
    with torch.no_grad():
        for d, ending in (("1", ""), ("2", "_reverse")):
            for side, name in (("W", "weight_ih_l0"), ("U", "weight_hh_l0")):
                parts = [getattr(module, f"{side}{gate}{d}") for gate in "ifgo"]
                getattr(twin, name + ending).copy_(torch.cat(parts))
    return twin


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("ragged", [False, True])
def test_two_loops_and_two_reversals_are_a_bidirectional_lstm(level: str, ragged: bool) -> None:
    ours = module_of(BIDIRECTIONAL, level, input_size=3, hidden_size=4)
    theirs, x = _twin(ours), random(6, 4, 3, requires_grad=True)
    given = packed(x) if ragged else x
    y, (h1, c1, h2, c2) = ours(given)
    want, (h, c) = theirs(given)
    if ragged:
        assert torch.equal(y.unsorted_indices, want.unsorted_indices)
        y, want = padded(y), padded(want)
    assert torch.allclose(y, want, atol=1e-12, rtol=0)
    assert torch.allclose(torch.stack((h1, h2)), h, atol=1e-12, rtol=0)
    assert torch.allclose(torch.stack((c1, c2)), c, atol=1e-12, rtol=0)
    weight = random(*y.shape)
    (mine,) = torch.autograd.grad((y * weight).sum(), x, retain_graph=True)
    (other,) = torch.autograd.grad((want * weight).sum(), x)
    assert torch.allclose(mine, other, atol=1e-12, rtol=0)
    if not ragged:
        one, (end, *_) = ours(x[:, 2])
        assert torch.allclose(one, y[:, 2], atol=1e-12)
        assert torch.allclose(end, h1[2], atol=1e-12)


REDUCED = """
dim I input_size
%x = input() : [I] over {batch, time}
%l = last(%x) {axis="time"}
%f = first(%x) {axis="time"}
%m = mean_over(%x) {axis="time"}
output %l = %l
output %f = %f
output %m = %m
output %x = %x
"""


def test_last_first_and_mean_are_of_each_sequence_in_its_place() -> None:
    module, x = module_of(REDUCED, input_size=3), random(6, 4, 3)
    (last, first, mean, same), state = module(packed(x))
    assert state == ()
    for b, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(last[b], x[length - 1, b])
        assert torch.equal(first[b], x[0, b])
        assert torch.allclose(mean[b], x[:length, b].mean(0), atol=1e-12)
        assert torch.equal(padded(same)[:length, b], x[:length, b])
    (last, first, mean, _), _ = module(x)
    assert torch.equal(last, x[-1])
    assert torch.equal(first, x[0])
    assert torch.allclose(mean, x.mean(0), atol=1e-12)
    (last, _, mean, same), _ = module(x[:, 1])
    assert torch.equal(last, x[-1, 1])
    assert mean.shape == (3,)
    assert torch.equal(same, x[:, 1])
    first_of_batch = cellc.compile(sketch(REDUCED))(3, batch_first=True)(x.transpose(0, 1))[0]
    assert torch.equal(first_of_batch[0], x[-1])
    assert torch.equal(first_of_batch[3], x.transpose(0, 1))


WINDOW = """
dim I input_size
dim K width = {width} fixed
dim O output_size
%x = input() : [I] over {{batch, time}}
%W = param() : [O, K, I] over {{}}
%near = window(%x) {{axis="time", width=(K)}}
%y = matmul(%W, %near)
output %y = %y
"""


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("width", [1, 3, 4, 9])
def test_a_product_with_a_window_is_a_convolution(width: int) -> None:
    module, x = module_of(WINDOW.format(width=width), input_size=3, output_size=2), random(6, 4, 3)
    assert module.width == width
    conv = nn.Conv1d(3, 2, width, padding="same", bias=False).double()
    with torch.no_grad():
        conv.weight.copy_(module.W.transpose(1, 2))
    for given, lengths in ((x, [6] * 4), (packed(x), LENGTHS.tolist())):
        y = module(given)[0]
        y = padded(y) if isinstance(y, PackedSequence) else y
        for b, length in enumerate(lengths):
            want = conv(x[:length, b].T).T
            assert torch.allclose(y[:length, b], want, atol=1e-12, rtol=0)


TRANSLATOR = """
dim I input_size
dim O output_size
dim H hidden_size
%x = input() : [I] over {batch, time}
%y = input() : [O] over {batch, target}
%h = state() : [H] over {batch, time}
%s = state() : [H] over {batch, target}
%W = param() : [H, I] over {}
%U = param() : [H, H] over {}
%V = param() : [H, O] over {}
%Q = param() : [H, H] over {}
%1 = matmul(%W, %x)
%2 = matmul(%U, %h)
%3 = add(%1, %2)
%h' = tanh(%3)
%end = last(%h') {axis="time"}
%4 = matmul(%V, %y)
%5 = matmul(%Q, %s)
%6 = add(%4, %5)
%7 = add(%6, %end)
%s' = tanh(%7)
%out = multiply(%s', %end)
next %h = %h'
next %s = %s'
start %s = %end
output %out = %out
output %end = %end
"""


def _translated(module: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One pair of sequences (T, I) and (T2, O), step by step."""
    h = torch.zeros(4, dtype=x.dtype)
    for t in range(len(x)):
        h = torch.tanh(module.W @ x[t] + module.U @ h)
    s, found = h, []
    for t in range(len(y)):
        s = torch.tanh(module.V @ y[t] + module.Q @ s + h)
        found.append(s * h)
    return torch.stack(found), h, s


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_an_encoder_starts_a_decoder_with_lengths_and_an_order_of_its_own(level: str) -> None:
    module = module_of(TRANSLATOR, level, input_size=3, output_size=2, hidden_size=4)
    x, y = random(6, 4, 3), random(5, 4, 2)
    assert module.initial_state(2)[1] is None
    for given, target in ((packed(x), packed(y, OTHERS)), (x, y), (x, packed(y, OTHERS))):
        (out, end), (h, s) = module(given, target)
        assert isinstance(out, PackedSequence) == isinstance(target, PackedSequence)
        out = padded(out) if isinstance(out, PackedSequence) else out
        for b in range(4):
            steps = LENGTHS[b] if isinstance(given, PackedSequence) else 6
            more = OTHERS[b] if isinstance(target, PackedSequence) else 5
            want, one, two = _translated(module, x[:steps, b], y[:more, b])
            assert torch.allclose(out[:more, b], want, atol=1e-12, rtol=0)
            assert torch.allclose(end[b], one, atol=1e-12, rtol=0)
            assert torch.allclose(h[b], one, atol=1e-12, rtol=0)
            assert torch.allclose(s[b], two, atol=1e-12, rtol=0)
    (one, _), (_, s) = module(x[:, 1], y[:, 1])
    assert torch.allclose(one, _translated(module, x[:, 1], y[:, 1])[0], atol=1e-12)
    assert s.shape == (4,)


def test_a_given_state_overrides_a_computed_start_and_none_does_not() -> None:
    module = module_of(TRANSLATOR, input_size=3, output_size=2, hidden_size=4)
    x, y = packed(random(6, 4, 3)), packed(random(5, 4, 2), OTHERS)
    (whole, end), state = module(x, y)
    zeros = torch.zeros(4, 4, dtype=torch.float64)
    assert torch.equal(module(x, y, (zeros, None))[0][0].data, whole.data)
    given = module(x, y, (zeros, end))
    assert torch.allclose(given[0][0].data, whole.data, atol=1e-12)
    other = module(x, y, (zeros, zeros))
    assert not torch.allclose(other[0][0].data, whole.data)
    with pytest.raises(ValueError, match="the state s has the shape"):
        module(x, y, (zeros, zeros[:2]))
    with pytest.raises(ValueError, match="inputs differ in batch"):
        module(random(6, 3, 3), random(5, 4, 2))
    assert len(state) == 2


CONTEXT = """
dim I input_size
dim H hidden_size
%context = input() : [H] over {batch}
%x = input() : [I] over {batch, time}
%h = state() : [H] over {batch, time}
%W = param() : [H, H + I + H] over {}
%v = concat(%h, %x, %context)
%1 = matmul(%W, %v)
%2 = multiply(%1, %context)
%h' = tanh(%2)
%3 = concat(%x, %context)
%z = softmax(%3)
next %h = %h'
output %h' = %h'
output %z = %z
output %context = %context
"""


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_a_context_is_held_for_each_sequence(level: str) -> None:
    module, x, context = (
        module_of(CONTEXT, level, input_size=3, hidden_size=4),
        random(6, 4, 3),
        random(4, 4),
    )
    for given, lengths in ((packed(x), LENGTHS.tolist()), (x, [6] * 4)):
        (y, z, same), end = module(context, given)
        y, z = (padded(v) if isinstance(v, PackedSequence) else v for v in (y, z))
        assert torch.equal(same, context)
        for b, length in enumerate(lengths):
            h = torch.zeros(4, dtype=torch.float64)
            for t in range(length):
                v = torch.cat((h, x[t, b], context[b]))
                h = torch.tanh((module.W @ v) * context[b])
                assert torch.allclose(y[t, b], h, atol=1e-12)
                want = torch.softmax(torch.cat((x[t, b], context[b])), -1)
                assert torch.allclose(z[t, b], want, atol=1e-12)
            assert torch.allclose(end[b], h, atol=1e-12)
    (one, _, same), end = module(context[1], x[:, 1])
    assert torch.allclose(one, module(context, x)[0][0][:, 1], atol=1e-12)
    assert same.shape == end.shape == (4,)
    with pytest.raises(ValueError, match="inputs differ in batch"):
        module(context[:3], x)
    with pytest.raises(ValueError, match="context has the size"):
        module(context[:, :3], x)


DRAWN = """
dim H hidden_size
%x = input() : [H] over {batch, time}
%h = state() : [H] over {batch, time}
%U = param() : [H, H] over {}
%u = draw() {label="u"} : [H] over {batch, time}
%m = draw() {label="m"} : [H] over {batch}
%p = const() {value=0.3}
%mask = keep(%u, %p)
%dropped = multiply(%x, %mask)
%held = keep(%m, %p)
%1 = matmul(%U, %h)
%2 = add(%dropped, %1)
%new = tanh(%2)
%3 = subtract(%new, %h)
%4 = multiply(%held, %3)
%h' = add(%h, %4)
%half = const() {value=0.5}
%two = const() {value=2.0}
%scale = training(%two, %half)
%y = multiply(%h', %scale)
next %h = %h'
output %y = %y
output %mask = %mask
"""


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("ragged", [False, True])
def test_draws_can_be_passed_in_the_form_of_the_inputs(level: str, ragged: bool) -> None:
    module, x = module_of(DRAWN, level, hidden_size=3), random(6, 4, 3)
    u, m = torch.rand(6, 4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    form = packed if ragged else (lambda value: value)
    (y, mask), end = module(form(x), draws={"u": form(u), "m": m})
    y, mask = (padded(v) if ragged else v for v in (y, mask))
    for b, length in enumerate(LENGTHS.tolist() if ragged else [6] * 4):
        h = torch.zeros(3, dtype=torch.float64)
        for t in range(length):
            kept = (u[t, b] >= 0.3).double()
            assert torch.equal(mask[t, b], kept)
            new = torch.tanh(x[t, b] * kept + module.U @ h)
            h = h + (m[b] >= 0.3).double() * (new - h)
            assert torch.allclose(y[t, b], 2 * h, atol=1e-12)
        assert torch.allclose(end[b], h, atol=1e-12)
    zeros_and_ones = {"u": form((u >= 0.3).double()), "m": (m >= 0.3).float()}
    assert torch.equal(module(form(x), draws=zeros_and_ones)[1], end)


def test_draws_repeat_with_the_generator_and_none_are_made_in_evaluation() -> None:
    module, x = module_of(DRAWN, hidden_size=3), random(6, 4, 3)
    one = module(x, generator=torch.Generator().manual_seed(3))[1]
    assert torch.equal(module(x, generator=torch.Generator().manual_seed(3))[1], one)
    assert not torch.equal(module(x, generator=torch.Generator().manual_seed(4))[1], one)
    torch.manual_seed(5)
    two = module(x)[1]
    assert not torch.equal(module(x)[1], two)
    torch.manual_seed(5)
    assert torch.equal(module(x)[1], two)
    u = torch.rand(6, 4, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    rest = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    partly = module(x, draws={"u": u}, generator=torch.Generator().manual_seed(3))[1]
    assert torch.equal(partly, module(x, draws={"u": u, "m": rest})[1])
    module.eval()
    before = torch.get_rng_state()
    (y, mask), end = module(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(mask, torch.full((6, 4, 3), 0.7, dtype=torch.float64))
    assert torch.allclose(y[-1], 0.5 * end)
    assert torch.equal(module(x[:, 1])[1], end[1])


def test_draws_of_another_form_or_name_are_refused() -> None:
    module, x = module_of(DRAWN, hidden_size=3), random(6, 4, 3)
    with pytest.raises(ValueError, match="no draw is called v; there are m, u"):
        module(x, draws={"v": x})
    with pytest.raises(ValueError, match="inputs differ"):
        module(packed(x), draws={"u": x})
    with pytest.raises(ValueError, match=r"has the shape \(4, 2\), not \(4, 3\)"):
        module(x, draws={"m": torch.rand(4, 2)})


@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_with_draws_fixed(ragged: bool) -> None:
    module, x = module_of(DRAWN, hidden_size=2), random(6, 4, 2, requires_grad=True)
    form = packed if ragged else (lambda value: value)
    draws = {"u": form(torch.rand(6, 4, 2)), "m": torch.rand(4, 2)}

    def run(x: Tensor, weight: Tensor) -> Any:
        called = torch.func.functional_call(module, {"U": weight}, (form(x),), {"draws": draws})
        (y, _), end = called
        return (y.data if ragged else y), end

    assert torch.autograd.gradcheck(run, (x, module.U))


def test_gradients_through_sequences_and_contexts() -> None:
    module = module_of(TRANSLATOR, input_size=2, output_size=2, hidden_size=2)
    x, y = random(6, 4, 2, requires_grad=True), random(5, 4, 2, requires_grad=True)
    reduced = module_of(REDUCED, input_size=2)
    near = module_of(WINDOW.format(width=3), input_size=2, output_size=2)

    def run(x: Tensor, y: Tensor) -> Any:
        (out, end), _ = module(packed(x), packed(y, OTHERS))
        (last, first, mean, _), _ = reduced(packed(x))
        return out.data, end, last, first, mean, near(packed(x))[0].data

    assert torch.autograd.gradcheck(run, (x, y))


KEPT = """
dim H hidden_size
%x = input() : [H] over {batch, time}
%h = state() {kept=True} : [H] over {batch, time}
%s = state() : [H] over {batch, time}
%a = param() : [H] over {}
%half = const() {value=0.5}
%1 = multiply(%half, %h)
%h' = add(%1, %x)
%s' = add(%s, %x)
next %h = %h'
next %s = %s'
start %h = %a
output %h' = %h'
output %s' = %s'
"""


def test_a_kept_state_carries_on_until_it_is_reset() -> None:
    module, x = module_of(KEPT, hidden_size=3), random(6, 4, 3)
    module.reset_state()
    module.reset_state(torch.ones(4, dtype=torch.bool))
    (first, _), (h, _) = module(packed(x))
    (second, sums), _ = module(x)
    (want, _), _ = module(x, (h, torch.zeros_like(h)))
    assert torch.equal(second, want)
    assert not second[0].isnan().any()
    assert torch.allclose(sums, x.cumsum(0))
    kept = copy.deepcopy(module)
    assert torch.equal(pickle.loads(pickle.dumps(module))(x)[0][0], kept(x)[0][0])
    again = module_of(KEPT, hidden_size=3)
    again.load_state_dict(module.state_dict())
    assert set(module.state_dict()) == {"a"}
    assert torch.equal(again(packed(x))[0][0].data, first.data)
    with pytest.raises(ValueError, match=r"of 4 sequences, not 2; reset_state\(\)"):
        module(x[:, :2])
    module.reset_state()
    assert module(x[:, :2])[0][0].shape == (6, 2, 3)


def test_single_sequences_of_a_kept_state_start_afresh() -> None:
    module, x = module_of(KEPT, hidden_size=3), random(6, 4, 3)
    fresh, _ = module(x)
    which = torch.tensor([True, False, False, True])
    kept = copy.deepcopy(module)
    module.reset_state(which[:1].expand(4) & which)
    (y, _), _ = module(x)
    assert torch.equal(y[:, which], fresh[0][:, which])
    assert torch.equal(y[:, ~which], kept(x)[0][0][:, ~which])
    (gradient,) = torch.autograd.grad(y[0].sum(), module.a)
    assert torch.allclose(gradient, torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="of 4 sequences"):
        module.reset_state(which[:3])


def test_a_kept_state_is_cut_off_from_the_call_before() -> None:
    module, x = module_of(KEPT, hidden_size=3), random(6, 4, 3)
    assert module(x)[0][0].requires_grad
    assert not module(x)[0][0].requires_grad
    assert module.float()(x.float())[0][0].dtype == torch.float32


FROZEN = """
dim H hidden_size
dim L num_layers = 2 fixed
%x = input() : [H] over {batch, time}
%h = state() : [H] over {batch, time}
%W = param() {frozen=True} : [H, H] over {}
%b = param() : [H] over {}
%1 = matmul(%W, %h)
%2 = add(%1, %x)
%L = size() {dim=(L)} : [] over {}
%3 = multiply(%2, %L)
%4 = add(%3, %b)
%h' = tanh(%4)
next %h = %h'
output %h' = %h'
"""


def test_a_frozen_parameter_is_a_buffer_drawn_like_the_others() -> None:
    module = module_of(FROZEN, hidden_size=3)
    assert [name for name, _ in module.named_parameters()] == ["b"]
    assert set(module.state_dict()) == {"W", "b"}
    module.reset_parameters(1)
    before = module.W.clone()
    module.reset_parameters(1)
    assert torch.equal(module.W, before)
    module.reset_parameters(2)
    assert not torch.equal(module.W, before)
    other = module_of(FROZEN, hidden_size=3)
    other.load_state_dict(module.state_dict())
    x = random(6, 4, 3)
    y, _ = other(x)
    assert torch.equal(y, module(x)[0])
    y.sum().backward()
    assert module.initial_state(2).dtype == torch.float64
    assert type(module).num_layers == module.num_layers == 2
    with pytest.raises(TypeError):
        cellc.compile(sketch(FROZEN))(3, num_layers=4)


TOKENS = """
dim V vocabulary_size
dim H hidden_size
%token = input() : integer [] over {batch, time}
%kind = input() : integer [] over {batch}
%h = state() : [H] over {batch, time}
%E = param() : [V, H] over {}
%Q = param() : [V, H, H] over {}
%e = take(%E, %token)
%q = take(%Q, %kind)
%1 = matmul(%q, %h)
%2 = add(%1, %e)
%h' = tanh(%2)
next %h = %h'
output %h' = %h'
"""


@pytest.mark.parametrize("ragged", [False, True])
def test_tokens_are_looked_up(ragged: bool) -> None:
    module = module_of(TOKENS, vocabulary_size=5, hidden_size=3)
    token, kind = torch.randint(5, (6, 4)), torch.randint(5, (4,))
    y, end = module(packed(token) if ragged else token, kind)
    y = padded(y) if ragged else y
    for b, length in enumerate(LENGTHS.tolist() if ragged else [6] * 4):
        h = torch.zeros(3, dtype=torch.float64)
        for t in range(length):
            h = torch.tanh(module.Q[kind[b]] @ h + module.E[token[t, b]])
            assert torch.allclose(y[t, b], h, atol=1e-12)
        assert torch.allclose(end[b], h, atol=1e-12)
    assert "F.embedding" in cellc.emit(sketch(TOKENS))


STACKED = """
dim H hidden_size
%x = input() : [H] over {batch, time}
%c = input() : [H] over {batch}
%b = param() : [H] over {}
%all = stack(%x, %c, %b) {dim=(3)}
%picked = at(%all) {index=1}
%e = softmax(%all)
output %all = %all
output %picked = %picked
output %e = %e
"""


def test_values_are_stacked_and_picked() -> None:
    module, x, c = module_of(STACKED, hidden_size=3), random(6, 4, 3), random(4, 3)
    (together, picked_one, _), _ = module(packed(x), c)
    values = padded(together)
    assert values.shape == (6, 4, 3, 3)
    for b, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(values[:length, b, 0], x[:length, b])
        assert torch.equal(values[:length, b, 1], c[b].expand(length, 3))
        assert torch.equal(values[:length, b, 2], module.b.expand(length, 3))
        assert torch.equal(padded(picked_one)[:length, b], c[b].expand(length, 3))


COUNTED = """
dim H hidden_size
%seed = input() : [H] over {batch}
%h = state() : [H] over {batch, time}
%W = param() : [H, H] over {}
%1 = matmul(%W, %h)
%h' = tanh(%1)
next %h = %h'
start %h = %seed
output %h' = %h'
"""


def test_a_cell_without_sequences_is_told_how_many_steps() -> None:
    module, seed = module_of(COUNTED, hidden_size=3), random(4, 3)
    y, end = module(seed, steps=5)
    h = seed
    for t in range(5):
        h = torch.tanh(h @ module.W.T)
        assert torch.allclose(y[t], h, atol=1e-12)
    assert torch.allclose(end, h, atol=1e-12)
    one, _ = module(seed[1], steps=5)
    assert torch.allclose(one, y[:, 1], atol=1e-12)
    with pytest.raises(TypeError, match="steps"):
        module(seed)
    with pytest.raises(ValueError, match="at least one step"):
        module(seed, steps=0)


def test_a_cell_without_inputs_is_told_the_batch() -> None:
    text = COUNTED.replace("%seed = input() : [H] over {batch}", "%seed = param() : [H] over {}")
    module = module_of(text, hidden_size=3)
    y, end = module(steps=5, batch=2)
    assert y.shape == (5, 2, 3)
    assert torch.equal(y[-1], end)
    assert module(steps=5)[0].shape == (5, 1, 3)
    assert torch.equal(module(steps=2, batch=2, state=y[2])[0][-1], end)


DELAYED = """
dim H hidden_size
%x = input() : [H] over {batch, time}
%c = input() : [H] over {batch}
%a = input() : [] over {batch}
%h = state() : [H] over {batch, time}
%g = state() : [H] over {batch, time}
%y = add(%h, %g)
next %h = %x
next %g = %c
start %h = %c
start %g = %a
output %y = %y
"""


def test_states_of_no_loop_start_from_what_the_call_computes() -> None:
    module, x, c, a = module_of(DELAYED, hidden_size=3), random(6, 4, 3), random(4, 3), random(4)
    y, (h, g) = module(packed(x), c, a)
    for b, length in enumerate(LENGTHS.tolist()):
        before = torch.cat((c[None, b], x[: length - 1, b]))
        held = torch.cat((a[b].expand(1, 3), c[b].expand(length - 1, 3)))
        assert torch.equal(padded(y)[:length, b], before + held)
        assert torch.equal(h[b], x[length - 1, b])
        assert torch.equal(g[b], c[b])


def test_a_kept_state_with_a_computed_start() -> None:
    text = COUNTED.replace("%h = state()", "%h = state() {kept=True}")
    module, seed = module_of(text, hidden_size=3), random(4, 3)
    first, second = module(seed, steps=2)[0], module(seed, steps=3)[0]
    with pytest.raises(ValueError, match="the start of h is computed"):
        module.reset_state(torch.ones(4, dtype=torch.bool))
    module.reset_state()
    assert torch.allclose(module(seed, steps=5)[0], torch.cat((first, second)), atol=1e-12)


FEEDFORWARD = """
dim H hidden_size
%x = input() : [H] over {batch}
%W = param() : [H, H] over {}
%1 = matmul(%W, %x)
%y = tanh(%1)
output %y = %y
output %W = %W
"""


def test_a_cell_without_steps() -> None:
    module, x = module_of(FEEDFORWARD, hidden_size=3), random(4, 3)
    (y, w), state = module(x)
    assert state == ()
    assert torch.allclose(y, torch.tanh(x @ module.W.T), atol=1e-12)
    assert w.shape == (4, 3, 3)
    assert torch.allclose(module(x[1])[0][0], y[1], atol=1e-12)


@pytest.mark.parametrize("ragged", [False, True])
def test_a_trace_shows_every_value_as_written(ragged: bool) -> None:
    cell = cellc.load("lstm")
    module = cellc.compile(cell)(3, 4, seed=1).double()
    x = random(6, 4, 3)
    given = packed(x) if ragged else x
    y, (h, c), traced = module(given, trace=("f", "c", "c'", "h'", "x"))
    want, (hh, cc) = module(given)
    assert list(traced) == ["f", "c", "c'", "h'", "x"]
    if ragged:
        y, want = padded(y), padded(want)
        traced = {name: padded(value) for name, value in traced.items()}
    assert torch.allclose(y, want, atol=1e-12, rtol=0)
    assert torch.allclose(h, hh, atol=1e-12, rtol=0)
    assert torch.allclose(c, cc, atol=1e-12, rtol=0)
    for b, length in enumerate(LENGTHS.tolist() if ragged else [6] * 4):
        before = torch.zeros(4, dtype=torch.float64)
        hidden = before
        for t in range(length):
            f = torch.sigmoid(module.W_f @ torch.cat((hidden, x[t, b])) + module.b_f)
            assert torch.allclose(traced["f"][t, b], f, atol=1e-12)
            assert torch.allclose(traced["c"][t, b], before, atol=1e-12)
            before, hidden = traced["c'"][t, b], traced["h'"][t, b]
        assert torch.allclose(before, c[b], atol=1e-12)
        assert torch.equal(hidden, y[t, b])
        assert torch.equal(traced["x"][: t + 1, b], x[: t + 1, b])


def test_a_trace_of_axes_contexts_and_draws() -> None:
    module = module_of(TRANSLATOR, input_size=3, output_size=2, hidden_size=4)
    x, y = random(6, 4, 3), random(5, 4, 2)
    names = ("end", "s", "h'", "y")
    (_, end), _, traced = module(packed(x), packed(y, OTHERS), trace=names)
    assert torch.allclose(traced["end"], end)
    assert torch.equal(padded(traced["s"])[0], traced["end"])
    assert torch.equal(traced["y"].data, packed(y, OTHERS).data)
    for b, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(padded(traced["h'"])[length - 1, b], end[b])
    _, _, one = module(x[:, 1], y[:, 1], trace=names)
    assert one["end"].shape == (4,)
    assert one["s"].shape == (5, 4)
    drawing, z = module_of(DRAWN, hidden_size=3), random(6, 4, 3)
    (_, mask), end, traced = drawing(z, generator=torch.Generator().manual_seed(3),
                                     trace=("mask", "held", "scale"))  # fmt: skip
    assert torch.equal(drawing(z, generator=torch.Generator().manual_seed(3))[0][1], mask)
    assert torch.equal(traced["mask"], mask)
    assert traced["held"].shape == (4, 3)
    assert torch.equal(traced["scale"], torch.full((6, 4), 2.0, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"no value is called q; there are .*mask"):
        drawing(z, trace=("q",))


EVERY = (BIDIRECTIONAL, REDUCED, WINDOW.format(width=4), TRANSLATOR, CONTEXT, DRAWN, KEPT, FROZEN,
         TOKENS, STACKED, COUNTED, DELAYED, FEEDFORWARD)  # fmt: skip


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("text", EVERY)
def test_both_backends_and_all_levels_agree(text: str, ragged: bool) -> None:
    for seed in range(3):
        trial = Trial(sketch(text), seed, ragged)
        reference = trial.numpy("O0")
        for level in ("O0", "O1", "O2"):
            assert difference(trial.torch(level), reference) < 1e-12


@pytest.mark.parametrize("text", EVERY)
def test_a_trace_changes_nothing_and_shows_what_numpy_shows(text: str) -> None:
    trial = Trial(sketch(text), 5, ragged=False)
    module = trial.module("O2")
    outputs, state = trial.call(module)
    run = cellc.compile(trial.cell, "numpy")(**trial.sizes)
    run.params = dict(trial.params)
    with pytest.raises(ValueError, match="no value is called") as error:
        module(*map(torch.from_numpy, trial.inputs), **_words(trial, module), trace="nothing")
    names = str(error.value).split("there are ")[1].split(", ")
    words = _words(trial, module)
    again = module(*map(torch.from_numpy, trial.inputs), **words, trace=names)
    for a, b in zip((*listed(outputs), *listed(state)), (*listed(again[0]), *listed(again[1])),
                    strict=True):  # fmt: skip
        assert torch.allclose(a, b, atol=1e-12, rtol=0)
    words = {key: _as_arrays(value) for key, value in words.items()}
    if any(node.op.name in ("keep", "training") for node in trial.cell.nodes.values()):
        words["training"] = True
    shown = run(*trial.inputs, **words, trace=names)[2]
    assert list(shown) == list(again[2]) == names
    for name in names:
        ours = again[2][name].detach().numpy()
        assert shown[name].shape == ours.shape, name
        assert np.allclose(shown[name], ours, atol=1e-12, rtol=0), name


def _words(trial: Trial, module: Any) -> dict[str, Any]:
    """What a trial calls a module with, besides its inputs."""
    seen: dict[str, Any] = {}

    def remember(*inputs: Any, **words: Any) -> tuple[()]:
        seen.update(words)
        return ()

    trial.call(remember)
    return seen


def _as_arrays(value: Any) -> Any:
    """The same with arrays in place of tensors."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: _as_arrays(inner) for key, inner in value.items()}
    return tuple(map(_as_arrays, value)) if isinstance(value, tuple) else value


def test_a_kept_state_is_compiled_too() -> None:
    module, x = module_of(KEPT, hidden_size=3), random(6, 4, 3)
    other = copy.deepcopy(module)
    compiled: Any = torch.compile(other, backend="eager", fullgraph=True)
    for _ in range(3):
        assert torch.allclose(compiled(x)[0][0], module(x)[0][0], atol=1e-12)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_such_cells_compile_in_one_graph(backend: str) -> None:
    module = module_of(TRANSLATOR, input_size=3, output_size=2, hidden_size=4)
    x, y = random(6, 4, 3), random(5, 4, 2)
    compiled: Any = torch.compile(module, backend=backend, fullgraph=True)
    assert torch.allclose(compiled(x, y)[0][0], module(x, y)[0][0], atol=1e-12)
    both = module_of(BIDIRECTIONAL, input_size=3, hidden_size=4)
    compiled = torch.compile(both, backend=backend, fullgraph=True)
    assert torch.allclose(compiled(x)[0], both(x)[0], atol=1e-12)


def test_such_cells_export() -> None:
    module = module_of(TRANSLATOR, input_size=3, output_size=2, hidden_size=4)
    x, y = random(6, 4, 3), random(5, 4, 2)
    exported: Any = torch.export.export(module, (x, y))
    assert torch.allclose(exported.module()(x, y)[0][0], module(x, y)[0][0], atol=1e-12)
