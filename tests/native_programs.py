"""Builds cells as programs in C++ and calls them by their interface in C."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

import cellc
from cellc.backends.axes import word
from cellc.backends.native.interface import Interface
from cellc.backends.native.program import NativeBackend
from cellc.ir.types import sequence_axis
from cellc.passes.inference import inference
from cellc.syntax.characters import ascii_name
from tests.running import Result, Trial

#: What the header says, but for the machine's own instructions, and less optimised.
FLAGS = (
    "-x", "c++", "-std=c++17", "-O1", "-fno-math-errno", "-fno-trapping-math",
    "-fno-exceptions", "-fno-rtti", "-Wall", "-Werror",
)  # fmt: skip


def write(cell: cellc.Cell, folder: Path, level: str = "O2") -> Interface:
    """The files of a cell, and the names of what they define."""
    schedule = inference(cell, level)
    for name, text in NativeBackend().files(schedule, cell).items():
        (folder / name).write_text(text)
    return Interface(schedule, cell)


def run(*words: object) -> str:
    """What a command prints; it must not fail, and compilers have nothing to say."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


class Inference(Trial):
    """A trial of what a cell does without training."""

    def __init__(self, cell: cellc.Cell, seed: int, ragged: bool = True, **sizes: int) -> None:
        super().__init__(cell, seed, ragged, **sizes)
        self.draws = {}

    def _random(self, name: str) -> Any:
        if any(node.op.name == "take" for node in self.cell.nodes.values()):
            return super()._random(name)
        numbers = np.asarray(self.rng.standard_normal(self._shape(name)))
        is_whole = self.cell.nodes[name].type.dtype == "integer"
        return np.rint(3 * numbers).astype(np.int64) if is_whole else numbers

    def _has_modes(self) -> bool:
        return False


class Program:
    """A cell that was built, for numbers of so many bits."""

    def __init__(
        self, cell: cellc.Cell, folder: Path, bits: int = 64, level: str = "O2"
    ) -> None:  # fmt: skip
        self.names = write(cell, folder, level)
        self.real: Any = {32: ctypes.c_float, 64: ctypes.c_double}[bits]
        self.dtype, self.bits = {32: np.float32, 64: np.float64}[bits], bits
        name, library = self.names.prefix, folder / "cell.so"
        run("cc", *FLAGS, "-fPIC", "-shared", f"-DREAL_BITS={bits}", folder / f"{name}.cpp",
            "-o", library, "-lm", "-lpthread")  # fmt: skip
        run("cc", "-std=c99", "-Wall", "-Werror", "-fsyntax-only", "-x", "c", folder / f"{name}.h")
        self.library = ctypes.CDLL(str(library))

    def function(self, what: str) -> Any:
        """One of the functions of the program."""
        return getattr(self.library, f"{self.names.name(what)}_{self.bits}")

    def prepare(self, sizes: dict[str, int], params: dict[str, Any]) -> tuple[int, Any]:
        """What ``prepare`` returns, and the model."""
        names = self.names
        members: list[tuple[str, Any]] = [(m, ctypes.c_int64) for m in names.dims.values()]
        members += [(m, ctypes.c_double) for m in names.options.values()]
        config = _struct(members)
        for dim, member in names.dims.items():
            setattr(config, member, sizes[names.source.dims[dim].name])
        for option, member in names.options.items():
            default = names.source.nodes[option].attr("default")
            setattr(config, member, sizes.get(ascii_name(option), default))
        given = _struct([(m, ctypes.c_void_p) for m in names.params.values()])
        arrays = {m: self._array(params[ascii_name(n)]) for n, m in names.params.items()}
        for member, array in arrays.items():
            setattr(given, member, array.ctypes.data)
        model = ctypes.c_void_p()
        call = self.function("prepare")
        return call(ctypes.byref(config), ctypes.byref(given), ctypes.byref(model)), model

    def run(self, trial: Trial, started: bool = True, threads: int = 1) -> Result:
        """Outputs and states of a trial, as those of :meth:`tests.running.Trial.numpy`."""
        result, model = self.prepare(trial.sizes, trial.params)
        assert result == 0
        try:
            outputs, states = self.arrays(trial)
            result = self.forward(model, trial, outputs, states, started, threads)
            assert result == 0
        finally:
            self.function("free")(model)
        return outputs, states

    def arrays(self, trial: Trial) -> Result:
        """Arrays that a call for a trial can write to."""
        names, nodes = self.names, self.names.source.nodes
        outputs, states = [], []
        for output in names.outputs:
            shape = [d.evaluate(trial._dims) for d in names.cell.nodes[output.value].type.shape]
            lead = [] if output.axis is None else [trial.steps[output.axis]]
            outputs.append(np.full([*lead, trial.batch, *shape], np.nan, self.dtype))
        for state in names.states:
            shape = [d.evaluate(trial._dims) for d in nodes[state].type.shape]
            states.append(np.full([trial.batch, *shape], np.nan, self.dtype))
        return outputs, states

    def forward(
        self, model: Any, trial: Trial, outputs: list[Any], states: list[Any],
        started: bool = True, threads: int = 1, changed: Any = (),
    ) -> int:  # fmt: skip
        """What ``forward`` returns; ``changed`` are arguments by name."""
        names, whole = self.names, ctypes.c_int64
        given: dict[str, Any] = {"model": model, "batch": whole(trial.batch)}
        for axis in names.axes:
            given[word(axis, "steps")] = whole(trial.steps[axis])
            ends = trial.ends.get(axis)
            own = None if ends is None else np.ascontiguousarray(ends, np.int64)
            given[word(axis, "lengths")] = own
        for name, x in zip(names.source.inputs, trial.inputs, strict=True):
            integer = names.is_integer(name)
            array = np.array(x, np.int64, order="C") if integer else self._array(x)
            along = sequence_axis(names.source.nodes[name].type.extent)
            given[names.inputs[name]] = self._unread(array, trial, along)
        starts = [self._array(s) for s in trial.state]
        given["start"] = self.state(starts) if started else None
        given |= {o.argument: a for o, a in zip(names.outputs, outputs, strict=True)}
        given |= {"end": self.state(states), "threads": ctypes.c_int(threads)} | dict(changed)
        order = [text.split()[-1].lstrip("*") for text in names.forward()]
        return int(self.function("forward")(*[_passed(given[name]) for name in order]))

    def _unread(self, array: Any, trial: Trial, axis: str | None) -> Any:
        """An input with what must not be read behind the ends of sequences."""
        for sequence, end in enumerate(trial.ends.get(str(axis), ())):
            array[end:, sequence] = -(2**40) if array.dtype.kind == "i" else np.nan
        return array

    def _array(self, value: Any) -> Any:
        return np.array(value, self.dtype, order="C")

    def state(self, values: list[Any]) -> Any:
        """States as a call takes them; None where the cell has none."""
        if not values:
            return None
        found = _struct([(m, ctypes.c_void_p) for m in self.names.states.values()])
        for member, value in zip(self.names.states.values(), values, strict=True):
            setattr(found, member, value.ctypes.data)
        found.values = values
        return found


def _struct(members: list[tuple[str, Any]]) -> Any:
    fields = members or [("none", ctypes.c_char)]
    return type("Struct", (ctypes.Structure,), {"_fields_": fields})()


def _passed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return ctypes.byref(value) if isinstance(value, ctypes.Structure) else value
