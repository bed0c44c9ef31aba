"""Every shipped cell against something that was written without looking at it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cellc
from cellc.ir import parse_cell, parse_schedule, print_cell, print_schedule, verify
from cellc.ops import TABLE
from cellc.passes.pipelines import steps
from cellc.passes.schedule import Scheduler
from cellc.resources import shipped_specs
from cellc.syntax.characters import read_source
from cellc.syntax.format import format_source
from tests import onnx_cells, reference_cells
from tests.running import Trial, difference

SPECS = tuple(shipped_specs())
LEVELS = ("O0", "O1", "O2")

#: Products before the loop, in it, and after it, at O2.
PRODUCTS = {
    "cifg": (1, 1), "gru": (1, 2), "gru_reset_after": (1, 1), "gru_update": (1, 2),
    "irnn": (1, 1), "lstm": (1, 1), "mut1": (1, 2), "mut2": (1, 2), "mut3": (1, 3),
    "nfg": (1, 1), "niaf": (1, 1), "nig": (1, 1), "noaf": (1, 1), "nog": (1, 1), "np": (1, 1),
    "peephole_lstm": (1, 1), "relu_rnn": (1, 1), "rnn": (1, 1), "vanilla_lstm": (1, 1),
    "min_gru": (1, 0), "min_lstm": (1, 0), "ind_rnn": (1, 0), "sru": (1, 0), "qrnn": (2, 0),
}  # fmt: skip

#: Parameters as formulas; the biases are single, unlike torch's.
PARAMETERS = {
    "rnn": "H*I + H^2 + H", "relu_rnn": "H*I + H^2 + H", "irnn": "H*I + H^2 + H",
    "lstm": "4*H*I + 4*H^2 + 4*H", "np": "4*H*I + 4*H^2 + 4*H",
    "peephole_lstm": "4*H*I + 4*H^2 + 7*H", "vanilla_lstm": "4*H*I + 4*H^2 + 7*H",
    "nig": "3*H*I + 3*H^2 + 5*H", "nfg": "3*H*I + 3*H^2 + 5*H", "nog": "3*H*I + 3*H^2 + 5*H",
    "niaf": "4*H*I + 4*H^2 + 7*H", "noaf": "4*H*I + 4*H^2 + 7*H",
    "cifg": "3*H*I + 3*H^2 + 5*H",
    "gru": "3*H*I + 3*H^2 + 3*H", "gru_update": "3*H*I + 3*H^2 + 3*H",
    "gru_reset_after": "3*H*I + 3*H^2 + 4*H",
    "mut1": "4*H^2 + 3*H", "mut2": "5*H^2 + 3*H", "mut3": "3*H*I + 3*H^2 + 3*H",
    "min_gru": "2*H*I + 2*H", "min_lstm": "3*H*I + 3*H", "ind_rnn": "H*I + 2*H",
    "sru": "3*H^2 + 4*H", "qrnn": "6*H*I",
}  # fmt: skip


@pytest.mark.parametrize("name", reference_cells.REFERENCES)
def test_against_an_independent_transcription(name: str) -> None:
    for trial in (Trial(cellc.load(name), seed) for seed in range(3)):
        assert trial.lengths is not None
        outputs, state = reference_cells.run(
            name, trial.params, trial.inputs[0], tuple(trial.state), trial.lengths
        )
        reference = ([outputs], list(state))
        for level in LEVELS:
            assert difference(trial.numpy(level), reference) < 1e-12
            assert difference(trial.torch(level), reference) < 1e-12


@pytest.mark.parametrize("name", SPECS)
def test_numpy_against_torch_and_o0_against_o2_on_whole_batches(name: str) -> None:
    for trial in (Trial(cellc.load(name), seed, ragged=False) for seed in (100, 101)):
        reference = trial.numpy("O0")
        for level in LEVELS:
            assert difference(trial.numpy(level), reference) < 1e-12
            assert difference(trial.torch(level), reference) < 1e-12


@pytest.mark.parametrize("name", sorted(set(onnx_cells.CELLS) & set(SPECS)))
def test_against_onnx_runtime(name: str) -> None:
    trial = Trial(cellc.load(name), 7, ragged=False)
    outputs, state = onnx_cells.run(name, trial.params, trial.inputs[0], tuple(trial.state))
    reference = ([outputs.astype(np.float64)], [s.astype(np.float64) for s in state])
    assert difference(trial.torch("O2"), reference) < 1e-5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("rnn", lambda: torch.nn.RNN(3, 5)),
        ("relu_rnn", lambda: torch.nn.RNN(3, 5, nonlinearity="relu")),
        ("lstm", lambda: torch.nn.LSTM(3, 5)),
        ("np", lambda: torch.nn.LSTM(3, 5)),
        ("gru_reset_after", lambda: torch.nn.GRU(3, 5)),
    ],
)
def test_forward_and_gradients_against_torch(name: str, twin: Any, level: str) -> None:
    torch.manual_seed(0)
    theirs = twin().double()
    ours = cellc.compile(cellc.load(name), "torch", level)(3, 5).double()
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    (y, _), (want, _) = ours(a), theirs(b)
    assert (y - want).abs().max() < 1e-12
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    (want * weights).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad - b.grad).abs().max() < 1e-12
    gradients = {k: p.grad for k, p in ours.named_parameters()}
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            parameter.copy_(gradients[key])
    back = ours.to_torch()
    for key, parameter in theirs.named_parameters():
        if key != "bias_hh_l0" or name == "gru_reset_after":
            got = dict(back.named_parameters())[key]
            rows = slice(2 * 5, None) if key == "bias_hh_l0" else slice(None)
            assert (got[rows] - parameter.grad[rows]).abs().max() < 1e-12, key


@pytest.mark.parametrize("name", ["rnn", "relu_rnn", "lstm", "gru_reset_after"])
def test_there_is_a_way_back_to_torch(name: str) -> None:
    ours = cellc.compile(cellc.load(name))(3, 5, batch_first=True)
    x = torch.randn(2, 6, 3)
    assert torch.allclose(ours.to_torch()(x)[0], ours(x)[0], atol=1e-6)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_and_parameters(name: str) -> None:
    cell = cellc.load(name)
    schedule = cellc.schedule(cell)
    kinds = {n: TABLE[schedule.cell.nodes[n].op.name].kind for n in schedule.cell.nodes}
    inside = sum(kinds[n] == "contraction" for n in schedule.values_in_loops())
    every = sum(kind == "contraction" for kind in kinds.values())
    assert (every - inside, inside) == PRODUCTS[name]
    total = sum(
        (cell.nodes[p].type.shape[0] * (cell.nodes[p].type.shape[1] if
         len(cell.nodes[p].type.shape) > 1 else 1) for p in cell.params), start=0
    )  # fmt: skip
    assert str(total) == PARAMETERS[name]


@pytest.mark.parametrize("name", SPECS)
def test_every_step_verifies_and_round_trips(name: str) -> None:
    cell = cellc.load(name)
    for _, after in [("", cell), *steps(cell, "O2")]:
        verify(after)
        assert parse_cell(print_cell(after), TABLE) == after
    schedule = Scheduler().run(after)
    assert parse_schedule(print_schedule(schedule), TABLE) == schedule


def test_cells_that_are_the_same_have_the_same_key() -> None:
    keys = {name: cellc.load(name).key() for name in SPECS}
    assert keys["np"] == keys["lstm"]
    assert keys["vanilla_lstm"] == keys["peephole_lstm"]
    assert keys["irnn"] == keys["relu_rnn"]
    alike = {"np", "vanilla_lstm", "irnn"}
    rest = [key for name, key in keys.items() if name not in alike]
    assert len(set(rest)) == len(rest)


def test_a_tied_weight_makes_another_cell() -> None:
    tied = cellc.parse(
        "cell tied from lstm\nparam W[H, H + I] shared\n"
        "f = sigmoid(W·[h, x] + b)\ni = sigmoid(W·[h, x] + b)\n"
    )
    assert tied.key() != cellc.load("lstm").key()


@pytest.mark.parametrize("name", SPECS)
def test_specs_are_laid_out_canonically_and_described(name: str) -> None:
    path = shipped_specs()[name]
    source = read_source(path.name, path.read_bytes())
    assert format_source(source) == source.text
    cell = cellc.load(name)
    assert cell.name == name
    assert cell.description.endswith(".")
    assert cell.citations or cell.family in ("Networks", "Layers")
    assert cell.family
