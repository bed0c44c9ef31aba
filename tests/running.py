"""Runs cells in both backends on the same random numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import cellc
from cellc.ir.types import sequence_axis
from cellc.syntax.characters import ascii_name

Array = NDArray[np.float64]
Result = tuple[list[Array], list[Array]]


@lru_cache(maxsize=400)
def compiled(
    cell: cellc.Cell,
    target: str,
    level: str,
    memory: str = "balanced",
    scan: str = "auto",
    diagonals: str = "never",
    kernels: str = "none",
) -> type[Any]:
    """As ``cellc.compile``; what several tests want is compiled once in a process."""
    return cellc.compile(cell, target, level, memory, scan, diagonals, kernels)


class Trial:
    """A cell with random sizes, parameters, inputs, states and masks, ready to run anywhere.

    ``lengths`` makes the batch ragged along each axis; None leaves all sequences whole.
    Runs are in training mode, with the masks of ``draws``. ``steps`` (of every axis), ``batch``
    and ``size`` (of every dimension) are drawn unless they are given. Torch modules run on
    ``device``.
    """

    device = "cpu"

    def __init__(
        self,
        cell: cellc.Cell,
        seed: int,
        ragged: bool = True,
        *,
        steps: int | None = None,
        batch: int | None = None,
        size: int | None = None,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.cell = cell
        self.sizes = self._sizes(size)
        drawn = int(self.rng.integers(2, 6))
        self.batch = drawn if batch is None else batch
        leaves = {n: node for n, node in cell.nodes.items() if node.op.leaf}
        axes = {sequence_axis(node.type.extent) for node in leaves.values()} - {None}
        self.steps = {axis: int(self.rng.integers(1, 7)) for axis in sorted(map(str, axes))}
        if steps is not None:
            self.steps = dict.fromkeys(self.steps, steps)
        self.params = {
            ascii_name(n): np.asarray(self._random(n) * 0.7 + self._offset(n)) for n in cell.params
        }
        self.inputs = [self._random(name) for name in cell.inputs]
        self.state = [self._random(name) for name in cell.states]
        self.draws = {ascii_name(n): self._uniform(n) for n in cell.leaves("draw")}
        along = {sequence_axis(cell.nodes[n].type.extent) for n in cell.inputs}
        self.along = [axis for axis in self.steps if axis in along]
        self.ends = {axis: self._some_ends(axis) for axis in self.along} if ragged else {}

    @property
    def lengths(self) -> Any:
        """Where the sequences end along the first axis; None where they are whole."""
        return next(iter(self.ends.values()), None)

    def numpy(self, level: str) -> Result:
        """Outputs (T, B, …) and states (B, …) of the NumPy backend."""
        return self.run(compiled(self.cell, "numpy", level))

    def run(self, kind: type[Any], started: bool = True, dtype: Any = np.float64) -> Result:
        """The same of a class that the NumPy backend wrote for this cell, or for one like it.

        Where it is not ``started`` by the trial's state, the cell starts by itself.
        """
        run = kind(**self.sizes)
        run.dtype = np.dtype(dtype)
        assert set(run.params) == set(self.params)
        run.params = {name: value.astype(dtype) for name, value in self.params.items()}
        words: dict[str, Any] = {_word(axis, "lengths"): v for axis, v in self.ends.items()}
        words |= self._steps_given()
        if self.draws:
            words["draws"] = self.draws
        if self._has_modes():
            words["training"] = True
        state = {"state": _bare(self.state)} if self.state and started else {}
        outputs, ends = run(*self.inputs, **state, **words)
        return listed(outputs), listed(ends)

    def torch(self, level: str) -> Result:
        """The same through the Torch backend, packed when the batch is ragged."""
        return self.run_torch(self.module(level))

    def run_torch(self, module: Any, started: bool = True) -> Result:
        """The same of a Torch module."""
        outputs, ends = self.call(module, started=started)
        return [_array(o) for o in listed(outputs)], [_array(s) for s in listed(ends)]

    def call(self, module: Any, inputs: list[Any] | None = None, started: bool = True) -> Any:
        """Call a Torch module on the trial's inputs, or on those given."""
        words: dict[str, Any] = dict(self._steps_given())
        if self.draws:
            words["draws"] = {n: self._packed(n, self.tensor(v)) for n, v in self._drawn()}
        if self.state and started:
            words["state"] = _bare([self.tensor(s) for s in self.state])
        given = [self.tensor(x) for x in self.inputs] if inputs is None else inputs
        packed = [self._packed(n, x) for n, x in zip(self.cell.inputs, given, strict=True)]
        return module(*packed, **words)

    def module(
        self,
        level: str,
        memory: str = "balanced",
        derived: bool = True,
        scan: str = "auto",
        diagonals: str = "never",
    ) -> Any:
        """The Torch module in float64 with the trial's parameters.

        Without ``derived`` its gradients are those of autograd through its loop.
        """
        module = self.module_of(compiled(self.cell, "torch", level, memory, scan, diagonals))
        module.derived = derived
        return module

    def module_of(self, kind: type[Any]) -> Any:
        """The module of a class that the Torch backend wrote for this cell, or for one like it."""
        module = kind(**self.sizes).double().to(self.device)
        module.load_state_dict({name: torch.from_numpy(v) for name, v in self.params.items()})
        return module

    def tensor(self, value: Any) -> Any:
        """Numbers as a tensor where modules run."""
        return torch.as_tensor(value, device=self.device)

    def _sizes(self, size: int | None) -> dict[str, int]:
        """Sizes of the constructor that make every shape whole."""
        cell = self.cell
        free = {dim: a for dim, a in cell.dims.items() if not a.fixed}
        fixed = {dim: a.default or 1 for dim, a in cell.dims.items() if a.fixed}
        for _ in range(1000):
            self._dims = fixed | {dim: size or int(self.rng.integers(1, 6)) for dim in free}
            try:
                for node in cell.nodes.values():
                    [dim.evaluate(self._dims) for dim in node.type.shape]
            except ValueError:
                continue
            return {argument.name: self._dims[dim] for dim, argument in free.items()}
        raise AssertionError("no sizes fit")

    def _shape(self, name: str) -> list[int]:
        type_ = self.cell.nodes[name].type
        axis = sequence_axis(type_.extent)
        lead = [self.steps[axis]] if axis is not None and name not in self.cell.states else []
        lead += [self.batch] if type_.extent else []
        return [*lead, *(dim.evaluate(self._dims) for dim in type_.shape)]

    def _random(self, name: str) -> Any:
        shape = self._shape(name)
        if self.cell.nodes[name].type.dtype == "integer":
            tables = [self.cell.nodes[n.args[0]].type.shape[0] for n in self.cell.nodes.values()
                      if n.op.name == "take"]  # fmt: skip
            return self.rng.integers(0, min(t.evaluate(self._dims) for t in tables), shape)
        return np.asarray(self.rng.standard_normal(shape))

    def _offset(self, name: str) -> float:
        """Periods and the like, which start above one, stay away from zero."""
        return 3.0 if name in ("τ", "r") else 0.0

    def _uniform(self, name: str) -> Array:
        return np.asarray(self.rng.random(self._shape(name)))

    def _some_ends(self, axis: str) -> NDArray[np.int64]:
        ends = self.rng.integers(1, self.steps[axis] + 1, self.batch)
        ends[self.rng.integers(self.batch)] = self.steps[axis]
        return ends

    def _steps_given(self) -> dict[str, int]:
        given = {_word(axis, "steps"): n for axis, n in self.steps.items()
                 if axis not in self.along and self._runs_along(axis)}  # fmt: skip
        return given if self.cell.inputs else given | {"batch": self.batch}

    def _runs_along(self, axis: str) -> bool:
        return any(axis in node.type.extent for node in self.cell.nodes.values())

    def _has_modes(self) -> bool:
        return any(node.op.name in ("keep", "training") for node in self.cell.nodes.values())

    def _drawn(self) -> list[tuple[str, Array]]:
        return [(n, self.draws[ascii_name(n)]) for n in self.cell.leaves("draw")]

    def _packed(self, name: str, value: Any) -> Any:
        axis = sequence_axis(self.cell.nodes[name].type.extent)
        if axis not in self.ends:
            return value
        lengths = torch.from_numpy(self.ends[axis])
        return pack_padded_sequence(value, lengths, enforce_sorted=False)


class GradientTrial(Trial):
    """A trial with random cotangents of its outputs and final states."""

    def __init__(
        self, cell: cellc.Cell, seed: int, ragged: bool = True, *, steps: int | None = None
    ) -> None:
        super().__init__(cell, seed, ragged, steps=steps)
        outputs, ends = super().numpy("O0")
        self.d_outputs = [self.rng.standard_normal(value.shape) for value in outputs]
        self.d_state = [self.rng.standard_normal(value.shape) for value in ends]

    def numpy_gradients(
        self, level: str = "O2", memory: str = "balanced", scan: str = "auto"
    ) -> dict[str, Array]:
        """What ``grad`` of the NumPy class gives."""
        return self.gradients_of(compiled(self.cell, "numpy", level, memory, scan))

    def gradients_of(self, kind: type[Any]) -> dict[str, Array]:
        """The same of a class that the NumPy backend wrote for this cell."""
        run = kind(**self.sizes)
        run.params = dict(self.params)
        words: dict[str, Any] = {_word(axis, "lengths"): v for axis, v in self.ends.items()}
        words |= self._steps_given()
        if self.draws:
            words["draws"] = self.draws
        if self._has_modes():
            words["training"] = True
        if self.state:
            words |= {"state": _bare(self.state), "d_state": _bare(self.d_state)}
        given = self.d_outputs[0] if len(self.d_outputs) == 1 else tuple(self.d_outputs)
        gradients: dict[str, Array] = run.grad(*self.inputs, given, **words)
        return gradients

    def autograd(self, module: Any) -> dict[str, Array]:
        """What autograd gives for a Torch module, under the names that ``grad`` has."""
        leaves: dict[str, Any] = {}
        for name, value in zip(self.cell.inputs, self.inputs, strict=True):
            leaves[ascii_name(name)] = torch.from_numpy(value)
        state = {
            ascii_name(n): torch.from_numpy(s)
            for n, s in zip(self.cell.states, self.state, strict=True)
        }
        for value in (*leaves.values(), *state.values()):
            value.requires_grad_(value.is_floating_point())
        saved, self.state = self.state, list(state.values())
        outputs, ends = self.call(module, list(leaves.values()))
        self.state = saved
        total = torch.zeros((), dtype=torch.float64)
        for value, weight in zip(listed(outputs), self.d_outputs, strict=True):
            total = total + (tensor(value) * torch.from_numpy(weight)).sum()
        for value, weight in zip(listed(ends), self.d_state, strict=True):
            total = total + (value * torch.from_numpy(weight)).sum()
        wanted = {**dict(module.named_parameters()), **leaves, **state}
        wanted = {name: value for name, value in wanted.items() if value.requires_grad}
        found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
        return {
            name: np.zeros(value.shape) if slope is None else slope.numpy()
            for (name, value), slope in zip(wanted.items(), found, strict=True)
        }


def gradients(
    trial: Trial, module: Any, rounding: torch.dtype = torch.float64
) -> tuple[list[Any], list[Any]]:
    """Outputs with last states, and the gradients of inputs and parameters.

    Those that flow in are random, and numbers of the type ``rounding``.
    """
    inputs = [trial.tensor(x).detach() for x in trial.inputs]
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    outputs, states = trial.call(module, inputs)
    values = [plain_array(value) for value in (*listed(outputs), *listed(states))]
    generator = torch.Generator().manual_seed(1)
    slopes = [torch.randn(v.shape, generator=generator, dtype=torch.float64) for v in values]
    slopes = [s.to(rounding).to(v) for s, v in zip(slopes, values, strict=True)]
    wanted = [x for x in inputs if x.requires_grad] + list(module.parameters())
    found = torch.autograd.grad(
        [v for v in values if v.requires_grad],
        wanted,
        [s for s, v in zip(slopes, values, strict=True) if v.requires_grad],
        allow_unused=True,
    )
    return values, list(found)


def plain_array(value: Any) -> Any:
    """A value as it is, or the rows of one that is packed."""
    return value.data if hasattr(value, "batch_sizes") else value


def check_close(found: Any, wanted: Any, tolerance: float) -> None:
    """Whether all numbers agree, relative to the largest of those that belong together."""
    assert (found is None) == (wanted is None)
    if found is not None and np.size(wanted):
        found, wanted = (
            torch.as_tensor(value).detach().double().cpu().numpy() for value in (found, wanted)
        )
        scale = np.abs(wanted).max() + 1e-3
        np.testing.assert_allclose(found / scale, wanted / scale, rtol=0, atol=tolerance)


def error(found: Any, wanted: Any) -> float:
    """The largest difference, relative as in ``check_close``."""
    if found is None or not wanted.numel():
        return 0.0
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).abs().max() / (wanted.abs().max() + 1e-3))


def difference(a: Result, b: Result) -> float:
    """The largest difference between two results."""
    pairs = [*zip(a[0], b[0], strict=True), *zip(a[1], b[1], strict=True)]
    assert all(x.shape == y.shape for x, y in pairs)
    return float(np.max([np.abs(x - y).max() for x, y in pairs if x.size], initial=0.0))


def distance(a: Result, b: Result) -> float:
    """The largest difference between two results, relative where ``b`` is larger than one."""
    pairs = [*zip(a[0], b[0], strict=True), *zip(a[1], b[1], strict=True)]
    assert all(x.shape == y.shape for x, y in pairs)
    found = [(np.abs(x - y) / np.maximum(1, np.abs(y))).max() for x, y in pairs if x.size]
    return float(np.max(found, initial=0.0))


def _bare(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _word(axis: str, stem: str) -> str:
    return stem if axis == "time" else f"{axis}_{stem}"


def listed(value: Any) -> list[Any]:
    """One value or several as a list."""
    return list(value) if type(value) in (tuple, list) else [value]


def _array(value: Any) -> Array:
    array: Array = tensor(value).detach().cpu().numpy()
    return array


def tensor(value: Any) -> Any:
    """A value as a padded tensor."""
    return pad_packed_sequence(value)[0] if isinstance(value, PackedSequence) else value
