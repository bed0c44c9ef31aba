"""The derived backward pass of emitted Torch modules against autograd, over the whole zoo.

    python benchmarks/gradient.py [--cells lstm,gru] [--quick] [--json FILE] [--write NAME]

A step is a forward pass, and the gradients of the sum of its outputs by the parameters, or by the
inputs of a cell that has none. The module with its derived backward pass runs in turn with itself
where autograd goes through its loop and, of some cells, with autograd through a loop written by
hand; see ``speed.py`` for how they are timed. A ratio above 1 means that the derived backward
pass takes less time, or less memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from gradient_report import Figures, drawn, page
from handwritten import PEERS
from memory import step_memory, total
from rich.console import Console
from speed import LENGTH, RESULTS, SIZES, Contest, Run, Stopwatch, interleaved, ratio, train
from torch import Tensor, nn

import cellc
from cellc.ir.types import BATCH, sequence_axis
from cellc.resources import shipped_specs

#: Constructor arguments by what part of H they are; others have their default, or else OTHER.
PART_OF_HIDDEN = {
    "input_size": 1,
    "hidden_size": 1,
    "embedding_size": 1,
    "target_size": 1,
    "vector_size": 1,
    "blocks": 2,
    "rank": 4,
}
OTHER = 16


@cache
def compiled(cell: str, memory: str, kernels: str) -> type[Any]:
    """The class of a shipped cell, compiled once for all sizes."""
    return cellc.compile(cellc.load(cell), memory=memory, kernels=kernels)


@dataclass(frozen=True)
class Subject:
    """A shipped cell at one size."""

    name: str
    batch: int
    hidden: int

    @cached_property
    def cell(self) -> cellc.Cell:
        """The cell as written."""
        return cellc.load(self.name)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """What each dimension is."""
        parts = {name: self.hidden // part for name, part in PART_OF_HIDDEN.items()}
        return {
            dim: argument.default or parts.get(argument.name, OTHER)
            for dim, argument in self.cell.dims.items()
        }

    def module(
        self, memory: str = "balanced", derived: bool | None = None, kernels: str = "none"
    ) -> nn.Module:
        """The module, always with the same parameters."""
        free = {a.name: self.sizes[dim] for dim, a in self.cell.dims.items() if not a.fixed}
        module: nn.Module = compiled(self.name, memory, kernels)(**free, seed=0)
        if derived is not None:
            module.derived = derived  # type: ignore[assignment]
        return module

    @cached_property
    def inputs(self) -> list[Tensor]:
        """Random inputs; they require gradients where no parameter does."""
        source = torch.Generator().manual_seed(0)
        needed = not any(p.requires_grad for p in self.module().parameters())
        return [self._input(name, source, needed) for name in self.cell.inputs]

    def _input(self, name: str, source: torch.Generator, needed: bool) -> Tensor:
        type_ = self.cell.nodes[name].type
        lead = [LENGTH] * (sequence_axis(type_.extent) is not None)
        lead += [self.batch] * (BATCH in type_.extent)
        shape = [*lead, *(dim.evaluate(self.sizes) for dim in type_.shape)]
        if type_.dtype == "integer":
            return torch.randint(self._vocabulary(), shape, generator=source)
        return torch.randn(shape, generator=source).requires_grad_(needed)

    def _vocabulary(self) -> int:
        """How many rows the smallest table has."""
        nodes = self.cell.nodes
        tables = [nodes[n.args[0]] for n in nodes.values() if n.op.name == "take"]
        return min(table.type.shape[0].evaluate(self.sizes) for table in tables)

    @cached_property
    def words(self) -> dict[str, int]:
        """How many steps there are along each axis that no input has."""
        nodes = self.cell.nodes
        axes = {sequence_axis(node.type.extent) for node in nodes.values()}
        axes -= {None, *(sequence_axis(nodes[name].type.extent) for name in self.cell.inputs)}
        return {"steps" if axis == "time" else f"{axis}_steps": LENGTH for axis in axes}

    def outputs(self, module: nn.Module) -> list[Tensor]:
        """One forward pass."""
        outputs, _ = module(*self.inputs, **self.words)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    def slopes(self, module: nn.Module) -> list[Tensor]:
        """The gradients of a step, with the same masks every time."""
        torch.manual_seed(0)
        wanted = [v for v in (*module.parameters(), *self.inputs) if v.requires_grad]
        found = torch.autograd.grad(total(self.outputs(module)), wanted, allow_unused=True)
        pairs = zip(wanted, found, strict=True)
        return [torch.zeros_like(v) if slope is None else slope for v, slope in pairs]

    def step(self, module: nn.Module) -> Run:
        """What is timed."""

        def run() -> None:
            total(self.outputs(module)).backward()  # type: ignore[no-untyped-call]
            clear(module, self.inputs)

        return run

    def runs(self) -> dict[str, Run]:
        """The competitors, which agree with each other."""
        derived, other = self.module(), self.module(derived=False)
        check(self.name, self.slopes(derived), self.slopes(other))
        runs = {"derived": self.step(derived), "autograd": self.step(other)}
        if self.name in PEERS:
            hand = PEERS[self.name](derived)
            (x,) = self.inputs
            Contest(self.name, {"derived": derived, "hand": hand}, x).check()
            runs["hand"] = lambda: train(hand, x)
        return runs


def clear(module: nn.Module, inputs: list[Tensor]) -> None:
    """Forget all gradients."""
    module.zero_grad()
    for value in inputs:
        value.grad = None


def check(name: str, found: list[Tensor], expected: list[Tensor]) -> None:
    """Gradients in single precision agree, each in proportion to its norm."""
    for a, b in zip(found, expected, strict=True):
        error, norm = (a - b).norm(), b.norm()
        if error > 1e-3 * norm + 1e-5:
            raise AssertionError(f"{name}: gradients differ by {error:.3g} of {norm:.3g}")


def timed(subject: Subject, seconds: float, now: Callable[[], float]) -> dict[str, list[float]]:
    """The times of all competitors; at least five rounds, and as many as fit the time."""
    runs = subject.runs()
    once = sum(Stopwatch(1, now).seconds(run) for run in runs.values())
    rounds = min(max(round(seconds / once) - 3, 5), 40)
    return interleaved(runs, Stopwatch(rounds, now))


def measure(subject: Subject, seconds: float, now: Callable[[], float]) -> Figures:
    """Time and memory of one cell at one size."""
    times = timed(subject, seconds, now)
    modules = {memory: subject.module(memory) for memory in ("low", "balanced", "fast")}
    modules["autograd"] = subject.module(derived=False)
    peaks, kept = {}, {}
    for name, module in modules.items():
        peaks[name], kept[name] = step_memory(partial(subject.outputs, module))
        clear(module, subject.inputs)
    return Figures(
        cell=subject.name,
        batch=subject.batch,
        hidden=subject.hidden,
        derived=sorted(times["derived"])[len(times["derived"]) // 2] / LENGTH * 1e6,
        autograd_ratio=ratio(times["autograd"], times["derived"]),
        hand_ratio=ratio(times["hand"], times["derived"]) if "hand" in times else None,
        peak=peaks,
        kept=kept,
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    every = ",".join(shipped_specs())
    parser.add_argument("--cells", default=every, help="names, with commas between")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--seconds", type=float, help="how long each cell runs at each size")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the figures here; what it has is not run"
    )
    parser.add_argument("--write", metavar="NAME", help="write benchmarks/results/NAME.md")
    return parser.parse_args()


def read(path: Path | None) -> Iterator[Figures]:
    """Figures of an earlier run."""
    if path is not None and path.exists():
        for line in json.loads(path.read_text(encoding="utf-8")):
            yield Figures(**line)


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    torch.set_num_threads(1)
    now = process_time if asked.cpu_time else perf_counter
    seconds = asked.seconds or (0.2 if asked.quick else 0.5)
    known = {(f.cell, f.batch, f.hidden): f for f in read(asked.json)}
    sizes = SIZES[::2] if asked.quick else SIZES
    wanted = [(cell, *size) for cell in asked.cells.split(",") for size in sizes]
    console = Console()
    with console.status("") as status:
        for key in wanted:
            status.update(" ".join(map(str, key)))
            if key not in known:
                known[key] = measure(Subject(*key), seconds, now)
                if asked.json:
                    text = json.dumps([asdict(figures) for figures in known.values()], indent=1)
                    asked.json.write_text(text + "\n", encoding="utf-8")
    results = [known[key] for key in wanted]
    for table in drawn(results):
        console.print(table)
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        clock = "processor time" if asked.cpu_time else "elapsed time"
        (RESULTS / f"{asked.write}.md").write_text(page(results, clock), encoding="utf-8")


if __name__ == "__main__":
    main()
