"""Every shipped cell at the edges: huge inputs, one step or none, no sequence or one, one unit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import cellc
from cellc.ir import TIME
from cellc.ops import TABLE
from cellc.resources import shipped_specs
from tests.running import Array, Result, Trial, compiled, distance, listed

NAMES = sorted(shipped_specs())
#: As it is written, it divides nought by nought where both gates have closed; the optimiser knows
#: the limit.
WRITTEN_WITHOUT_LIMIT = {"min_lstm"}
EDGES: dict[str, dict[str, int]] = {
    "one step": {"steps": 1},
    "no sequence": {"batch": 0},
    "one sequence": {"batch": 1},
    "one unit": {"size": 1},
    "one of all": {"steps": 1, "batch": 1, "size": 1},
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", NAMES)
def test_small_shapes_are_like_all_others(name: str, edge: str) -> None:
    trial = Trial(cellc.load(name), 3, ragged=False, **EDGES[edge])
    reference = trial.numpy("O0")
    _is_finite(reference)
    assert distance(trial.numpy("O2"), reference) < 1e-12
    assert distance(trial.torch("O2"), reference) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_huge_inputs_give_no_number_that_is_none(name: str) -> None:
    """What a cell gives in a longer format is finite, and so is what it gives in the usual ones."""
    trial = Trial(cellc.load(name), 5)
    for place, value in enumerate(trial.inputs):
        if value.dtype.kind == "f":
            trial.inputs[place] = 1e4 * np.sign(value)
    levels = ("O1", "O2") if name in WRITTEN_WITHOUT_LIMIT else ("O0", "O2")
    exact = trial.run(compiled(trial.cell, "numpy", levels[0]), dtype=np.longdouble)
    _is_finite(exact)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for level in levels:
            _is_finite(trial.numpy(level))
            _is_finite(trial.torch(level))
        _is_finite(trial.run(compiled(trial.cell, "numpy", "O2"), dtype=np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_at_huge_inputs_are_numbers(name: str) -> None:
    trial = Trial(cellc.load(name), 5, ragged=False)
    inputs = [torch.from_numpy(1e4 * np.sign(x)).requires_grad_() if x.dtype.kind == "f"
              else torch.from_numpy(x) for x in trial.inputs]  # fmt: skip
    module = trial.module("O2")
    outputs, _ = trial.call(module, inputs)
    total = torch.stack([output.sum() for output in listed(outputs)]).sum()
    wanted = [v for v in [*inputs, *module.parameters()] if v.requires_grad]
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    assert all(torch.isfinite(gradient).all() for gradient in found if gradient is not None)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_leaves_the_state_in_numpy_and_is_refused_by_torch(name: str) -> None:
    """NumPy gives outputs without steps and the state as it was. What needs a whole sequence
    has no value then, and says so; torch's own recurrent layers refuse it, and so do ours."""
    trial = Trial(cellc.load(name), 3, ragged=False, steps=0)
    with pytest.raises(ValueError, match="at least one step"):
        trial.torch("O2")
    if _needs_whole_sequences(trial.cell):
        with pytest.raises(ValueError, match="lengths lie between 1 and"):
            trial.numpy("O2")
        return
    for level in ("O0", "O2"):
        outputs, ends = trial.numpy(level)
        assert all(output.shape[:2] == (0, trial.batch) for output in outputs)
        assert all(np.array_equal(a, b) for a, b in zip(ends, trial.state, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_without_steps_leaves_the_others_alone(name: str) -> None:
    """In a padded batch one sequence has the length zero: NumPy keeps its state and gives zeros."""
    trial = Trial(cellc.load(name), 7, batch=3)
    if TIME not in trial.ends:
        pytest.skip("no input says how long its sequences are")
    for ends in trial.ends.values():
        ends[1] = 0
    if _needs_whole_sequences(trial.cell):
        with pytest.raises(ValueError, match="lengths lie between 1 and"):
            trial.numpy("O2")
        return
    reference = trial.numpy("O0")
    assert distance(trial.numpy("O2"), reference) < 1e-12
    outputs, final = reference
    assert all(not output[:, 1].any() for output in outputs)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(final, trial.state, strict=True))
    others = [output[:, ::2] for output in outputs], [end[::2] for end in final]
    assert distance(_without_second(trial), others) < 1e-12


def _without_second(trial: Trial) -> Result:
    """What the first and the third sequence give by themselves."""
    trial.batch = 2

    def cut(name: str, value: Any) -> Array:
        found: Array = value[:, ::2] if _leads_with_steps(trial.cell, name) else value[::2]
        return found

    names = trial.cell.inputs
    trial.inputs = [cut(name, x) for name, x in zip(names, trial.inputs, strict=True)]
    drawn = zip(trial.cell.leaves("draw"), trial.draws.items(), strict=True)
    trial.draws = {spelt: cut(name, value) for name, (spelt, value) in drawn}
    trial.state = [value[::2] for value in trial.state]
    trial.ends = {axis: ends[::2] for axis, ends in trial.ends.items()}
    return trial.numpy("O2")


def _leads_with_steps(cell: cellc.Cell, name: str) -> bool:
    return len(cell.nodes[name].type.extent) > 1


def _needs_whole_sequences(cell: cellc.Cell) -> bool:
    """Whether the cell asks for the last step of a sequence, its mean or its reverse."""
    return any(TABLE[node.op.name].kind == "sequence" for node in cell.nodes.values())


def _is_finite(result: Result) -> None:
    assert all(np.isfinite(value).all() for values in result for value in values)
