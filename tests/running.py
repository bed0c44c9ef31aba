"""Runs cells in both backends on the same random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc
from cellc.syntax.characters import ascii_name

Array = NDArray[np.float64]
Result = tuple[list[Array], list[Array]]


class Trial:
    """A cell with random sizes, parameters, inputs and states, ready to run anywhere.

    ``lengths`` makes the batch ragged; None leaves all sequences whole.
    """

    def __init__(self, cell: cellc.Cell, seed: int, ragged: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.cell = cell
        self.sizes = {argument.name: int(rng.integers(1, 6)) for argument in cell.dims.values()}
        sizes = {dim: self.sizes[argument.name] for dim, argument in cell.dims.items()}
        steps, batch = int(rng.integers(1, 7)), int(rng.integers(1, 5))
        nodes = cell.nodes

        def random(name: str, *lead: int) -> Array:
            shape = [dim.evaluate(sizes) for dim in nodes[name].type.shape]
            return np.asarray(rng.standard_normal((*lead, *shape)))

        self.params = {ascii_name(n): np.asarray(random(n) * 0.7) for n in cell.params}
        self.inputs = [random(name, steps, batch) for name in cell.inputs]
        self.state = [random(name, batch) for name in cell.states]
        self.lengths = rng.integers(1, steps + 1, batch) if ragged else None
        if self.lengths is not None:
            self.lengths[0] = steps

    def numpy(self, level: str) -> Result:
        """Outputs (T, B, …) and states (B, …) of the NumPy backend."""
        run = cellc.compile(self.cell, "numpy", level)(**self.sizes)
        assert set(run.params) == set(self.params)
        run.params = dict(self.params)
        outputs, state = run(*self.inputs, _bare(self.state), self.lengths)
        return listed(outputs), listed(state)

    def torch(self, level: str) -> Result:
        """The same through the Torch backend, packed when the batch is ragged."""
        module = self.module(level)
        inputs: list[Any] = [torch.from_numpy(x) for x in self.inputs]
        if self.lengths is not None:
            lengths = torch.from_numpy(self.lengths)
            inputs = [pack_padded_sequence(x, lengths, enforce_sorted=False) for x in inputs]
        state = _bare([torch.from_numpy(s) for s in self.state])
        outputs, ends = module(*inputs, state)
        return [_array(o) for o in listed(outputs)], [_array(s) for s in listed(ends)]

    def module(self, level: str) -> Any:
        """The Torch module in float64 with the trial's parameters."""
        module = cellc.compile(self.cell, "torch", level)(**self.sizes).double()
        module.load_state_dict({name: torch.from_numpy(v) for name, v in self.params.items()})
        return module


def difference(a: Result, b: Result) -> float:
    """The largest difference between two results."""
    pairs = [*zip(a[0], b[0], strict=True), *zip(a[1], b[1], strict=True)]
    assert all(x.shape == y.shape for x, y in pairs)
    return max((float(np.abs(x - y).max()) for x, y in pairs if x.size), default=0.0)


def _bare(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def listed(value: Any) -> list[Any]:
    """One value or several as a list."""
    return list(value) if type(value) in (tuple, list) else [value]


def _array(value: Any) -> Array:
    if isinstance(value, PackedSequence):
        value = pad_packed_sequence(value)[0]
    array: Array = value.detach().numpy()
    return array
