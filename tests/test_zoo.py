"""The zoo's cells against transcriptions that were written without looking at the specs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

import cellc
from cellc.ir import verify
from cellc.resources import shipped_specs
from cellc.syntax.characters import ascii_name
from tests import reference_cells, reference_zoo
from tests.running import Result, Trial, difference, listed

CELLS = tuple(reference_zoo.CELLS)
LEVELS = ("O0", "O1", "O2")

#: Lengths of axes, other than the specs' own so that nothing is fitted to those.
SIZES: dict[str, dict[str, int]] = {"grid_lstm_3d": {"R": 2, "L": 3}}
AXES = ("grid_lstm", "gated_feedback", "highway", "recurrent_highway")


def load(name: str) -> cellc.Cell:
    """A shipped cell with axes of three positions."""
    usual = {"L": 3} if name.startswith(AXES) else {}
    return cellc.load(name, **SIZES.get(name, usual))


def options(trial: Trial) -> dict[str, Any]:
    """Defaults of options, lengths of axes, and masks as the reference wants them."""
    cell = trial.cell
    found: dict[str, Any] = {
        ascii_name(o): float(cell.nodes[o].attr("default"))  # type: ignore[arg-type]
        for o in cell.options
    }
    for name, drawn in trial.draws.items():
        own = name.replace("mask", "p")
        rate: float = found[own if own in found else "p"]
        found[name] = (drawn >= rate).astype(float)
    return found | {"L": 3}


def reference(name: str, trial: Trial) -> Result:
    """Outputs and states of the transcription."""
    inputs = dict(zip(map(ascii_name, trial.cell.inputs), trial.inputs, strict=True))
    names = [ascii_name(s) for s in trial.cell.states]
    state = dict(zip(names, trial.state, strict=True))
    outputs, ends = reference_zoo.run(
        name, trial.params, inputs, state, trial.lengths, options(trial)
    )
    return list(outputs), [ends[n] for n in names]


@pytest.mark.parametrize("name", CELLS)
def test_against_an_independent_transcription(name: str) -> None:
    for trial in (Trial(load(name), seed) for seed in range(2)):
        expected = reference(name, trial)
        for level in LEVELS:
            assert difference(trial.numpy(level), expected) < 1e-12
            assert difference(trial.torch(level), expected) < 1e-12


def test_every_cell_has_a_transcription() -> None:
    shipped = {name: cellc.load(name) for name in shipped_specs()}
    cells = {n for n, c in shipped.items() if c.kind == "cell" and c.family != "Layers"}
    elsewhere = {*reference_cells.REFERENCES, "lstm_transform"}
    assert cells - {*CELLS} <= elsewhere


@pytest.mark.parametrize("name", tuple(shipped_specs()))
def test_gradients(name: str) -> None:
    trial = Trial(cellc.load(name), 11)
    module = trial.module("O2")
    named = dict(module.named_parameters())
    inputs = [torch.from_numpy(x) for x in trial.inputs]
    real = [x.is_floating_point() for x in inputs]

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = iter(values)
        seen = [next(given) if floats else x for x, floats in zip(inputs, real, strict=True)]
        mapping = dict(zip(named, given, strict=True))
        outputs, ends = trial.call(
            lambda *a, **k: torch.func.functional_call(module, mapping, a, k), seen
        )
        data = [o.data if isinstance(o, PackedSequence) else o for o in listed(outputs)]
        return (*data, *listed(ends))

    leaves = [x for x, floats in zip(inputs, real, strict=True) if floats]
    leaves += [p.detach().clone() for p in named.values()]
    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in leaves], fast_mode=True)


def test_applied_cells_bring_their_initial_values() -> None:
    cell = cellc.parse("network deep\ninput x[I]\noutput x -> stack(irnn, layers=2)\n")
    verify(cell)
    run = cellc.compile(cell, "numpy")(3, 4)
    for layer in (1, 2):
        assert (run.params[f"irnn_{layer}_W_h"] == np.eye(4)).all()
        assert (run.params[f"irnn_{layer}_b_h"] == 0).all()
    drawn = run.params["irnn_1_U_h"], run.params["irnn_2_U_h"][:, :3]
    assert not np.allclose(*drawn)
