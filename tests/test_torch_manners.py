"""An emitted module behaves as `nn.LSTM` does."""

from __future__ import annotations

import copy
import importlib.util
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc
from cellc.backends.torch import MODULE_ATTRIBUTES

MULTI = """
cell multi
input x[I], t
state h[H], s
option rate = 0.5
param a[]  = 0.3
h' = tanh(W·[h, x] + b + t) + rate*prev(x)·q
q[I] = a*x
s' = s + t
output h', s'
"""


def _lstm(**options: Any) -> Any:
    return cellc.compile(cellc.load("lstm"))(3, 5, seed=1, **options)


def test_time_major_batch_first_and_unbatched_agree() -> None:
    x = torch.randn(7, 4, 3)
    y, (h, c) = _lstm()(x)
    assert y.shape == (7, 4, 5)
    assert h.shape == c.shape == (4, 5)
    z, (g, _) = _lstm(batch_first=True)(x.transpose(0, 1))
    assert torch.equal(z.transpose(0, 1), y)
    assert torch.equal(g, h)
    one, (end, _) = _lstm()(x[:, 2])
    assert one.shape == (7, 5)
    assert end.shape == (5,)
    assert torch.allclose(one, y[:, 2], atol=1e-6)


def test_the_state_is_optional_and_carries_on() -> None:
    lstm, x = _lstm(), torch.randn(8, 2, 3)
    whole, end = lstm(x)
    first, middle = lstm(x[:3])
    second, last = lstm(x[3:], middle)
    assert torch.allclose(torch.cat((first, second)), whole, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(end, last, strict=True))
    one, _ = lstm(x[3:, 0], tuple(s[0] for s in middle))
    assert torch.allclose(one, second[:, 0], atol=1e-6)


def test_the_state_is_bare_when_there_is_one() -> None:
    y, h = cellc.compile(cellc.load("gru"))(3, 5)(torch.randn(7, 4, 3))
    assert torch.equal(y[-1], h)


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_stop_at_their_own_length(enforce_sorted: bool) -> None:
    lengths = [7, 5, 5, 1] if enforce_sorted else [5, 1, 7, 5]
    x, lstm, theirs = torch.randn(7, 4, 3), _lstm().double(), nn.LSTM(3, 5).double()
    lstm.load_state_dict(theirs.state_dict())
    state = (torch.randn(4, 5).double(), torch.randn(4, 5).double())
    packed = pack_padded_sequence(x.double(), lengths, enforce_sorted=enforce_sorted)
    y, (h, c) = lstm(packed, state)
    want, (hh, cc) = theirs(packed, tuple(s[None] for s in state))
    assert isinstance(y, PackedSequence)
    assert torch.equal(y.batch_sizes, want.batch_sizes)
    assert torch.allclose(pad_packed_sequence(y)[0], pad_packed_sequence(want)[0], atol=1e-12)
    assert torch.allclose(h, hh[0], atol=1e-12)
    assert torch.allclose(c, cc[0], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_type(dtype: torch.dtype) -> None:
    lstm = _lstm(dtype=dtype)
    y, (h, c) = lstm(torch.randn(4, 2, 3, dtype=dtype))
    assert y.dtype == h.dtype == c.dtype == dtype
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in lstm.parameters())
    exact = _lstm(dtype=torch.float64)
    exact.load_state_dict(lstm.state_dict())
    x = torch.randn(4, 2, 3, dtype=dtype)
    assert torch.allclose(lstm(x)[0].double(), exact(x.double())[0], atol=2e-2)


def test_a_move_to_another_device_takes_everything_along() -> None:
    lstm = _lstm(device="meta")
    y, (h, _) = lstm(torch.empty(4, 2, 3, device="meta"))
    assert y.device.type == h.device.type == "meta"
    assert lstm.to_empty(device="cpu").W_f.device.type == "cpu"


def test_state_dict_names_are_those_of_the_spec() -> None:
    assert list(_lstm().state_dict()) == [
        "W_f", "b_f", "W_i", "b_i", "W_o", "b_o", "W_g", "b_g"
    ]  # fmt: skip
    other = _lstm()
    other.load_state_dict(_lstm().state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict(nn.LSTM(3, 5, num_layers=2).state_dict())


def test_inside_another_module_it_loads_what_torch_had_there() -> None:
    ours = nn.ModuleDict({"rnn": _lstm(), "out": nn.Linear(5, 2)})
    theirs = nn.ModuleDict({"rnn": nn.LSTM(3, 5), "out": nn.Linear(5, 2)})
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    without_bias = nn.LSTM(3, 5, bias=False)
    ours["rnn"].load_state_dict(without_bias.state_dict())
    x = torch.randn(4, 2, 3)
    assert torch.allclose(ours["rnn"](x)[0], without_bias(x)[0], atol=1e-6)


def test_copies_and_pickles_are_equal_and_apart() -> None:
    lstm, x = _lstm(), torch.randn(4, 2, 3)
    buffer = io.BytesIO()
    torch.save(lstm, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(lstm), pickle.loads(pickle.dumps(lstm)),
              torch.load(buffer, weights_only=False)]  # fmt: skip
    for twin in copies:
        assert type(twin) is type(lstm)
        assert torch.equal(twin(x)[0], lstm(x)[0])
        with torch.no_grad():
            twin.W_f.zero_()
        assert not torch.equal(twin(x)[0], lstm(x)[0])


def test_a_pickle_opens_in_a_process_that_never_saw_the_class(tmp_path: Path) -> None:
    path = tmp_path / "lstm.pickle"
    path.write_bytes(pickle.dumps(_lstm()))
    code = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Lstm(input_size=3, hidden_size=5" in done.stdout


def test_distributed_training(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        lstm = _lstm()
        twin = nn.parallel.DistributedDataParallel(copy.deepcopy(lstm))
        x = torch.randn(4, 2, 3)
        twin(x)[0].sum().backward()
        lstm(x)[0].sum().backward()
        for a, b in zip(twin.module.parameters(), lstm.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, atol=1e-6)
        del twin  # the group must not go with it: torch then waits for its own threads for ever
    finally:
        torch.distributed.destroy_process_group()


def test_initial_values_come_from_the_seed_and_the_name() -> None:
    one, two = _lstm(), _lstm()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.W_f, cellc.compile(cellc.load("lstm"))(3, 5, seed=2).W_f)
    peephole = cellc.compile(cellc.load("peephole_lstm"))(3, 5, seed=1)
    assert torch.equal(one.W_f, peephole.W_f)
    bound = 5**-0.5
    low, high = one.W_f.detach().aminmax()
    assert -bound <= low < -0.5 * bound < 0.5 * bound < high <= bound
    torch.manual_seed(3)
    a = cellc.compile(cellc.load("lstm"))(3, 5)
    b = cellc.compile(cellc.load("lstm"))(3, 5)
    torch.manual_seed(3)
    c = cellc.compile(cellc.load("lstm"))(3, 5)
    assert torch.equal(a.W_f, c.W_f)
    assert not torch.equal(a.W_f, b.W_f)


def test_identity_initialisation() -> None:
    irnn = cellc.compile(cellc.load("irnn"))(3, 5)
    assert torch.equal(irnn.W_h, torch.eye(5))
    assert not irnn.b_h.any()


def test_several_inputs_outputs_options_and_hidden_states() -> None:
    module = cellc.compile(cellc.parse(MULTI))(3, 5, rate=0.25).double()
    assert module.rate == 0.25
    x, t = torch.randn(6, 2, 3).double(), torch.randn(6, 2).double()
    (y, s), state = module(x, t)
    assert [v.shape for v in state] == [(2, 5), (2,), (2, 3)]
    assert torch.allclose(s, t.cumsum(0))
    (a, _), middle = module(x[:2], t[:2])
    (b, _), _ = module(x[2:], t[2:], middle)
    assert torch.allclose(torch.cat((a, b)), y)


@pytest.mark.parametrize("shape", [(4, 2, 9), (4, 9)])
def test_wrong_sizes_are_said_clearly(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x has the size \(9,\), not \(3,\)"):
        _lstm()(torch.randn(shape))
    with pytest.raises(ValueError, match="at least one step"):
        _lstm()(torch.randn(0, 2, 3))


def test_an_emitted_file_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(cellc.emit(cellc.load("peephole_lstm")))
    code = (
        "import sys; sys.modules['cellc'] = None; import mine, torch;"
        "print(mine.PeepholeLstm(3, 4)(torch.zeros(2, 1, 3))[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert "torch.Size([2, 1, 4])" in done.stdout
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None


@pytest.mark.parametrize("name", ["lstm", "gru", "peephole_lstm"])
def test_gradients_are_those_of_the_numbers(name: str) -> None:
    module = cellc.compile(cellc.load(name))(2, 3, seed=0).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    keys = [key for key, _ in module.named_parameters()]

    def run(x: torch.Tensor, *values: torch.Tensor) -> Any:
        parameters = dict(zip(keys, values, strict=True))
        return torch.func.functional_call(module, parameters, (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compiles_it_in_one_graph(backend: str) -> None:
    lstm, x = _lstm(), torch.randn(4, 2, 3)
    compiled: Any = torch.compile(lstm, backend=backend, fullgraph=True)
    assert torch.allclose(compiled(x)[0], lstm(x)[0], atol=1e-6)
    compiled(x)[0].sum().backward()
    assert lstm.W_f.grad is not None


def test_torch_exports_it() -> None:
    lstm, x = _lstm(), torch.randn(4, 2, 3)
    exported: Any = torch.export.export(lstm, (x,))
    assert torch.allclose(exported.module()(x)[0], lstm(x)[0], atol=1e-6)


def test_a_state_of_the_wrong_shape_is_said_clearly() -> None:
    _, theirs = nn.LSTM(3, 5)(torch.randn(4, 2, 3))
    with pytest.raises(ValueError, match=r"the state h has the shape \(1, 2, 5\), not \(2, 5\)"):
        _lstm()(torch.randn(4, 2, 3), theirs)
    with pytest.raises(ValueError, match="shape"):
        cellc.compile(cellc.load("gru"))(3, 5)(torch.randn(4, 2, 3), torch.zeros(3, 5))


def test_an_input_changed_before_the_backward_pass_is_noticed() -> None:
    cell = cellc.parse("cell c\ninput x[H]\nstate h[H]\nh' = tanh(W·h + h*x)\noutput h'\n")
    x = torch.randn(4, 2, 3)
    outputs, _ = cellc.compile(cell)(3)(x, torch.randn(2, 3))
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_every_attribute_of_a_torch_module_is_reserved() -> None:
    public = {name for name in dir(nn.Module) if not name.startswith("_")}
    assert public <= MODULE_ATTRIBUTES
