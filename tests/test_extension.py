"""An op, a pass and a backend are each added from outside, in one place, and work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import cellc
from cellc import backends, ops
from cellc.ir import Cell, Schedule
from cellc.ops.op import Op
from cellc.passes.pipelines import PIPELINES
from cellc.passes.rewrite import rewrite

TEXT = "cell toy\ninput x[H]\nstate h[H]\nh' = {}\noutput h'\n"


@pytest.fixture
def softsign() -> Iterator[Op]:
    """An op with nothing but its mathematics: no spelling of its own."""
    op = Op("softsign", "a/(1 + |a|).", "elementwise", ("a",), expansion="a/(1 + abs(a))",
            derivative=("g/(1 + abs(a))^2",), range=(-1, 1))  # fmt: skip
    yield ops.register(op)
    ops.unregister("softsign")


def test_a_new_op_works_everywhere_at_once(softsign: Op) -> None:
    cell = cellc.parse(TEXT.format("softsign(W·x + h)"))
    x = np.linspace(-2, 2, 12).reshape(3, 4)
    run = cellc.compile(cell, "numpy")(4)
    expected = x[0] @ run.params["W_h"].T
    assert np.allclose(run(x[:1])[0][0], expected / (1 + np.abs(expected)), atol=1e-15)
    module = cellc.compile(cell, "torch")(4).double()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in run.params.items()})
    outputs = module(torch.from_numpy(x))[0].detach().numpy()
    assert np.allclose(outputs, run(x)[0], atol=1e-15)
    assert "softsign" in cellc.draw(cell).svg()


def test_an_op_without_any_spelling_is_named_with_both_places() -> None:
    ops.register(Op("mystery", "Unknown.", "elementwise", ("a",)))
    try:
        with pytest.raises(cellc.CellcError) as error:
            cellc.emit(cellc.parse(TEXT.format("mystery(x + h)")), "numpy")
    finally:
        ops.unregister("mystery")
    assert "cellc/ops" in str(error.value)
    assert "cellc/backends/numpy.py" in str(error.value)


@dataclass(frozen=True)
class Soften:
    """A pass in a few lines: every relu becomes a softplus."""

    def run(self, cell: Cell) -> Cell:
        return rewrite(cell, ("relu(a) => softplus(a)",))[0]


def test_a_new_pass_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIPELINES, "O1", (*PIPELINES["O1"], Soften()))
    text = cellc.emit(cellc.load("relu_rnn"), "torch", "O1")
    assert "softplus" in text
    assert "relu(" not in text.split("def _run")[1].split("def _traced")[0]


@dataclass(frozen=True)
class Names:
    """A backend that writes the names of the values in their order."""

    name: str = "names"

    def emit(self, schedule: Schedule, source: Cell) -> str:
        return " ".join(name for region in schedule.regions for name in region.values)


def test_a_new_backend_is_one_object() -> None:
    backends.register(Names())
    try:
        assert cellc.emit(cellc.load("rnn"), "names", "O0").startswith("U_h W_h b_h")
    finally:
        backends.unregister("names")
