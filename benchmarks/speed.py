"""Emitted Torch code against loops written by hand and against ``nn.LSTM``, ``nn.GRU``, ``nn.RNN``.

    python benchmarks/speed.py [--cells lstm,gru] [--quick] [--json FILE] [--write NAME]

The competitors run in turn within each round, a different one first each time, and every
ratio is the median over rounds of the ratio within a round: what else the machine does
falls on all of them alike. A ratio above 1 means that the emitted code is the faster one.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from handwritten import PEERS
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import cellc

LENGTH = 100
SIZES = ((1, 64), (1, 256), (32, 64), (32, 256))
RESULTS = Path(__file__).parent / "results"

Run = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """One line of the table; times in microseconds per step, ratios over the emitted code's."""

    cell: str
    mode: str
    batch: int
    hidden: int
    emitted: float
    hand: float
    torch: float | None
    hand_ratio: float
    torch_ratio: float | None


@dataclass(frozen=True)
class Contest:
    """The competitors for one cell at one size, all with the same weights."""

    cell: str
    modules: dict[str, nn.Module]
    x: Tensor

    @classmethod
    def of(cls, cell: str, batch: int, hidden: int, device: str) -> Contest:
        """Build the competitors and make sure that they agree."""
        compiled: nn.Module = cellc.compile(cellc.load(cell), kernels="none")(
            hidden, hidden, seed=0
        )
        modules = {"emitted": compiled, "hand": PEERS[cell](compiled)}
        to_torch = getattr(compiled, "to_torch", None)
        if to_torch is not None:
            modules["torch"] = to_torch()
        modules = {name: module.to(device) for name, module in modules.items()}
        x = torch.randn(LENGTH, batch, hidden, generator=torch.Generator().manual_seed(0))
        contest = cls(cell, modules, x.to(device))
        contest.check()
        return contest

    def check(self) -> None:
        """Outputs, the input's gradient and the norm of all others must agree."""
        expected: tuple[Tensor, ...] | None = None
        for module in self.modules.values():
            x = self.x.clone().requires_grad_()
            outputs = output_of(module, x)
            outputs.square().sum().backward()  # type: ignore[no-untyped-call]
            grads = [p.grad.square().sum() for p in module.parameters() if p.grad is not None]
            if isinstance(module, nn.RNNBase):  # it has each bias twice
                grads = grads[:3]
            assert x.grad is not None
            found = (outputs.detach(), x.grad, torch.stack(grads).sum())
            module.zero_grad()
            if expected is not None and not isinstance(module, nn.GRU):
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
            elif expected is not None:  # its second bias is b_hn
                torch.testing.assert_close(found[:2], expected[:2], rtol=1e-3, atol=1e-3)
            expected = expected or found

    def runs(self, mode: str) -> dict[str, Run]:
        """What is timed: a forward pass without gradients, or a training step."""
        step = forward if mode == "forward" else train

        def run(module: nn.Module) -> Run:
            return lambda: step(module, self.x)

        return {name: run(module) for name, module in self.modules.items()}


def output_of(module: nn.Module, x: Tensor) -> Tensor:
    """The output sequence of any competitor."""
    result = module(x)
    outputs: Tensor = result if isinstance(result, Tensor) else result[0]
    return outputs


@torch.no_grad()
def forward(module: nn.Module, x: Tensor) -> None:
    """One pass over the sequence."""
    output_of(module, x)


def train(module: nn.Module, x: Tensor) -> None:
    """One training step short of the update."""
    output_of(module, x).sum().backward()  # type: ignore[no-untyped-call]
    module.zero_grad()


@dataclass(frozen=True)
class Stopwatch:
    """How often and by which clock to measure."""

    rounds: int
    now: Callable[[], float] = perf_counter

    def seconds(self, run: Run) -> float:
        """What a run takes."""
        start = self.now()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return self.now() - start


def interleaved(runs: dict[str, Run], watch: Stopwatch) -> dict[str, list[float]]:
    """Times of each run in each round; the order rotates."""
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(watch.rounds + 3):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(watch.seconds(runs[name]))
    return {name: seconds[3:] for name, seconds in times.items()}


def ratio(above: list[float], below: list[float]) -> float:
    """The median of the ratios of rounds."""
    return median(a / b for a, b in zip(above, below, strict=True))


def measure(contest: Contest, mode: str, watch: Stopwatch) -> Result:
    """Time one contest."""
    times = interleaved(contest.runs(mode), watch)
    per_step = {name: median(seconds) / LENGTH * 1e6 for name, seconds in times.items()}
    emitted = times["emitted"]
    return Result(
        cell=contest.cell,
        mode=mode,
        batch=contest.x.shape[1],
        hidden=contest.x.shape[2],
        emitted=per_step["emitted"],
        hand=per_step["hand"],
        torch=per_step.get("torch"),
        hand_ratio=ratio(times["hand"], emitted),
        torch_ratio=ratio(emitted, times["torch"]) if "torch" in times else None,
    )


HEADS = ("cell", "mode", "B", "H", "emitted µs", "hand µs", "nn µs", "hand/emitted", "emitted/nn")


def cells_of(result: Result) -> list[str]:
    """A result as the texts of a table's line."""
    times = (result.emitted, result.hand, result.torch)
    ratios = (result.hand_ratio, result.torch_ratio)
    return [
        result.cell,
        result.mode,
        str(result.batch),
        str(result.hidden),
        *("" if value is None else f"{value:.1f}" for value in times),
        *("" if value is None else f"{value:.2f}" for value in ratios),
    ]


def coloured(texts: list[str], result: Result) -> list[str]:
    """A line with the ratio to the hand-written loop in colour."""
    colour = "green" if result.hand_ratio >= 1 else "yellow" if result.hand_ratio > 0.95 else "red"
    return [*texts[:-2], f"[{colour}]{texts[-2]}[/]", texts[-1]]


def table(results: list[Result]) -> Table:
    """The results for a terminal."""
    drawn = Table(title=f"µs per step; T={LENGTH}, I=H; {setting()}")
    for head in HEADS:
        drawn.add_column(head, justify="left" if head in ("cell", "mode") else "right")
    for result in results:
        drawn.add_row(*coloured(cells_of(result), result))
    return drawn


def setting() -> str:
    """Where the measurement took place."""
    device = platform.processor() or platform.machine()
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads"


def markdown(results: list[Result]) -> str:
    """The results as a page."""
    lines = [
        "# Speed of emitted code",
        "",
        f"µs per step; T={LENGTH}, I=H; {setting()}. Written by `benchmarks/speed.py`.",
        "A ratio hand/emitted above 1 means that the emitted code is the faster one.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + " --- |" * 2 + " ---: |" * (len(HEADS) - 2),
    ]
    lines += ["| " + " | ".join(cells_of(result)) + " |" for result in results]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", default=",".join(PEERS), help="names, with commas between")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--rounds", type=int, help="how often each is timed")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's choice")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine, with 1 thread")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--write", metavar="NAME", help="write benchmarks/results/NAME.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    rounds = asked.rounds or (10 if asked.quick else 40)
    watch = Stopwatch(rounds, process_time if asked.cpu_time else perf_counter)
    sizes = SIZES[::2] if asked.quick else SIZES
    results = []
    for cell in asked.cells.split(","):
        for batch, hidden in sizes:
            contest = Contest.of(cell, batch, hidden, asked.device)
            results += [measure(contest, mode, watch) for mode in ("forward", "training")]
    Console().print(table(results))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{asked.write}.md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
