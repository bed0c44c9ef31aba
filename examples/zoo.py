"""Trains every cell and network that ships with cellc, each on a task that fits its inputs.

    make zoo                                      # all of them; writes docs/zoo-training.md
    python examples/zoo.py gru lstm               # some of them; writes nothing

A few epochs with one schedule for all: this shows that every cell compiles, runs and learns, not
how good it can become. A run fails where a loss does not fall, where a gradient is not finite, or
where a trainable parameter never gets one.

The task follows from what a cell reads. Sequences of vectors are the utterances of Japanese
Vowels (https://doi.org/10.24432/C5NS47), packed, whose speaker is to be named; a cell that has
I = H gets a linear layer in front. Otherwise it is the digits of scikit-learn: as tokens where
the cell reads integers, as columns of pixels where it reads rows, in two halves where it keeps its
state from call to call, and the lower rows from the first where it reads one vector a sequence. A
cell with a sequence to decode gets the frames of an utterance backwards, each from those before.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from aeon.datasets import load_japanese_vowels
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn, tensor
from torch.nn.functional import cross_entropy, mse_loss, nll_loss
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

import cellc
from cellc.cli.printing import FAMILIES
from cellc.ir.types import BATCH, TIME
from cellc.resources import shipped_specs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "zoo-training.md"
SPEAKERS, DIGITS, SHADES, PIXELS = 9, 10, 17, 8
TRAINED, TESTED = 600, 400  # digits

#: The constructor arguments that no task sets.
SIZES = {"hidden_size": 32, "embedding_size": 32, "channels": 16, "blocks": 16, "rank": 8}

#: What an output of scores is called.
SCORES = ("classes", "output_size")


@dataclass(frozen=True)
class Settings:
    """The one schedule that all cells are trained with."""

    epochs: int = 30  # each is a step of Adam on all training sequences
    seed: int = 0
    learning_rate: float = 1e-2


class Batch(NamedTuple):
    """What a cell is called with, and what it should make of it.

    A cell that keeps its state is called once for each of ``calls``.
    """

    calls: tuple[tuple[Any, ...], ...]
    target: Tensor | PackedSequence
    words: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Data for training and testing. ``classes`` is 0 where numbers are to be predicted.

    ``sizes`` are constructor arguments, ``lengths`` sizes chosen before compiling, and
    ``channels`` what the first input holds in each step.
    """

    name: str
    train: Batch
    test: Batch
    channels: int
    classes: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)


@dataclass
class Run:
    """What training one cell has shown."""

    cell: str
    family: str
    task: str
    parameters: int = 0
    before: float = 0.0
    after: float = 0.0
    accuracy: float | None = None
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


# Data


@cache
def utterances(split: str) -> tuple[list[Tensor], Tensor]:
    """The utterances of a split, standardised by those for training, and their speakers."""
    frames, labels = as_read(split)
    known = torch.cat(as_read("train")[0])
    return [(one - known.mean(0)) / known.std(0) for one in frames], labels


@cache
def as_read(split: str) -> tuple[list[Tensor], Tensor]:
    """The utterances of a split in their own units, and their speakers."""
    x, y = load_japanese_vowels(split=split)
    return [tensor(one.T).float() for one in x], tensor(y.astype(int) - 1)


@cache
def digits(split: str) -> tuple[Tensor, Tensor]:
    """Images (B, 8, 8) from 0 to 16, and the digit of each."""
    data = load_digits()
    part = slice(0, TRAINED) if split == "train" else slice(TRAINED, TRAINED + TESTED)
    return tensor(data.images[part]).float(), tensor(data.target[part])


def packed(sequences: Iterable[Tensor]) -> PackedSequence:
    """Sequences of several lengths as one batch."""
    return pack_sequence(list(sequences), enforce_sorted=False)


# Tasks


def speakers(cell: cellc.Cell) -> Task:
    """Who speaks? Scalar inputs besides the frames are the number of the step."""

    def batch(split: str) -> Batch:
        frames, labels = utterances(split)
        stamps = packed(torch.arange(float(len(one))) for one in frames)
        others = cell.inputs[1:]
        assert not any(cell.nodes[name].type.shape for name in others)
        return Batch(((packed(frames), *(stamps for _ in others)),), labels, {})

    return Task("speakers", batch("train"), batch("test"), channels=12, classes=SPEAKERS)


def backwards(cell: cellc.Cell) -> Task:
    """An utterance backwards: each frame from the utterance and the frames before it."""

    def batch(split: str) -> Batch:
        frames, _ = utterances(split)
        wanted = [one.flip(0) for one in frames]
        given = [torch.cat((torch.zeros(1, 12), one[:-1])) for one in wanted]
        return Batch(((packed(frames), packed(given)),), packed(wanted), {})

    sizes = {"target_size": 12}
    return Task("frames backwards", batch("train"), batch("test"), channels=12, sizes=sizes)


def tokens(cell: cellc.Cell) -> Task:
    """Which digit? Each pixel is a token that tells its place and its shade."""

    def batch(split: str) -> Batch:
        images, labels = digits(split)
        shades = images.flatten(1).long() + SHADES * torch.arange(PIXELS * PIXELS)
        return Batch(((shades.T,),), labels, {})

    sizes = {"vocabulary": SHADES * PIXELS * PIXELS}
    return Task("digits, tokens", batch("train"), batch("test"), 0, DIGITS, sizes)


def columns(cell: cellc.Cell) -> Task:
    """Which digit? A step is a column of the image, each of its pixels a row."""

    def batch(split: str) -> Batch:
        images, labels = digits(split)
        return Batch(((images.movedim(2, 0).unsqueeze(-1) / SHADES,),), labels, {})

    rows = str(cell.nodes[cell.inputs[0]].type.shape[0])
    return Task("digits, columns", batch("train"), batch("test"), 1, DIGITS, lengths={rows: PIXELS})


def halves(cell: cellc.Cell) -> Task:
    """Which digit? The upper half of its rows is one call, the lower the next."""

    def batch(split: str) -> Batch:
        images, labels = digits(split)
        rows = images.movedim(1, 0) / SHADES
        return Batch(((rows[: PIXELS // 2],), (rows[PIXELS // 2 :],)), labels, {})

    return Task("digits, halves", batch("train"), batch("test"), PIXELS, DIGITS)


def lower_rows(cell: cellc.Cell) -> Task:
    """The rows of a digit from the first row that has ink, which is the second."""

    def batch(split: str) -> Batch:
        rows = digits(split)[0].movedim(1, 0) / SHADES
        return Batch(((rows[1],),), rows[2:], {"steps": PIXELS - 2})

    return Task("digits, lower rows", batch("train"), batch("test"), PIXELS)


def task_for(cell: cellc.Cell) -> Task:
    """The task that fits what a cell reads."""
    types = [cell.nodes[name].type for name in cell.inputs]
    axes = {axis for type_ in types for axis in type_.extent} - {BATCH}
    if not axes:
        return lower_rows(cell)
    if axes != {TIME}:
        return backwards(cell)
    if types[0].dtype == "integer":
        return tokens(cell)
    if len(types[0].shape) > 1:
        return columns(cell)
    if any("kept" in dict(cell.nodes[state].attrs) for state in cell.states):
        return halves(cell)
    return speakers(cell)


# Learning


class Learner(nn.Module):
    """A cell with what its task needs around it.

    In front a linear layer, where the input must be as long as the state. Behind, where the
    output is neither scores nor the prediction itself, a linear readout of the output's mean over
    each sequence's own steps. (The last step alone would hide most of a backward pass.)
    """

    def __init__(self, cell: cellc.Cell, task: Task, seed: int) -> None:
        super().__init__()
        arguments = {dim: a.name for dim, a in cell.dims.items() if not a.fixed}
        sizes = {**SIZES, **task.sizes, **dict.fromkeys(SCORES, task.classes or task.channels)}
        read = arguments.get(_last_dimension(cell, cell.inputs[0]), "")
        self.front = nn.Linear(task.channels, SIZES[read]) if read in SIZES else None
        sizes.setdefault(read, task.channels)
        self.core = cellc.compile(cell, "torch")(
            **{name: sizes[name] for name in arguments.values() if name in sizes}, seed=seed
        )
        value = next(iter(cell.values("output").values()))
        self.probable = cell.nodes[value].op.name == "softmax"
        self.whole = TIME not in cell.nodes[value].type.extent
        complete = not task.classes or arguments.get(_last_dimension(cell, value)) in SCORES
        self.readout = None if complete else nn.LazyLinear(task.classes)

    def forward(self, batch: Batch) -> Any:
        """The classes' scores, log-probable or not, or the numbers that are predicted."""
        if hasattr(self.core, "reset_state"):
            self.core.reset_state()
        for first, *others in batch.calls:
            x = first if self.front is None else first._replace(data=self.front(first.data))
            output, _ = self.core(x, *others, **batch.words)
        if self.readout is not None:
            return self.readout(self._pooled(output).flatten(1))
        return output

    def _pooled(self, output: Any) -> Tensor:
        """One value for each sequence."""
        if self.whole:
            return output  # type: ignore[no-any-return]
        padded, lengths = padded_with_lengths(output)
        return padded.sum(0) / lengths.view(-1, *[1] * (padded.dim() - 2))

    def loss(self, batch: Batch) -> tuple[Tensor, float | None]:
        """The loss, and the share of what is named rightly where there are classes."""
        output, target = self(batch), batch.target
        if isinstance(target, PackedSequence):
            return mse_loss(output.data, target.data), None
        if target.is_floating_point():
            return mse_loss(output, target), None
        if not (self.whole or self.readout):  # a name for every step
            padded, lengths = padded_with_lengths(output)
            alive = torch.arange(len(padded))[:, None] < lengths
            output, target = padded[alive], target.expand(alive.shape)[alive]
        right = (output.argmax(1) == target).float().mean().item()
        if self.probable:
            return nll_loss(output.log(), target), right
        return cross_entropy(output, target), right


def padded_with_lengths(output: Tensor | PackedSequence) -> tuple[Tensor, Tensor]:
    """Values (T, B, …), zeros behind the ends, and how many steps each sequence has."""
    if isinstance(output, PackedSequence):
        return pad_packed_sequence(output)
    return output, torch.full((output.shape[1],), len(output))


def _last_dimension(cell: cellc.Cell, name: str) -> str:
    shape = cell.nodes[name].type.shape
    return str(shape[-1]) if shape else ""


def train(name: str, settings: Settings) -> Run:
    """Train one cell, and note what is wrong with it."""
    cell = cellc.load(name)
    task = task_for(cell)
    if task.lengths:
        cell = cellc.load(name, **task.lengths)
    torch.manual_seed(settings.seed)
    learner = Learner(cell, task, settings.seed)
    run = Run(name, cell.family, task.name)
    run.before, _ = measured(learner, task.train)
    run.parameters = sum(weight.numel() for weight in learner.core.parameters())
    moved = dict.fromkeys((name for name, _ in learner.named_parameters()), False)
    optimizer = torch.optim.Adam(learner.parameters(), settings.learning_rate)
    start = time.perf_counter()
    for _ in range(settings.epochs):
        optimizer.zero_grad()
        learner.loss(task.train)[0].backward()  # type: ignore[no-untyped-call]
        for weight, value in learner.named_parameters():
            if value.grad is None or not value.grad.isfinite().all():
                run.faults.append(f"the gradient of {weight} is missing or not finite")
            else:
                moved[weight] |= bool(value.grad.any())
        if run.faults:
            break
        optimizer.step()
    run.seconds = time.perf_counter() - start
    run.after, _ = measured(learner, task.train)
    _, run.accuracy = measured(learner, task.test)
    run.faults += [f"{weight} never gets a gradient" for weight, ever in moved.items() if not ever]
    if not run.after < run.before:
        run.faults.append(f"the loss does not fall: {run.before:.3f}, then {run.after:.3f}")
    return run


def measured(learner: Learner, batch: Batch) -> tuple[float, float | None]:
    """Loss and accuracy without dropout."""
    learner.eval()
    with torch.no_grad():
        loss, right = learner.loss(batch)
    learner.train()
    return loss.item(), right


# Telling


WORDS = ("cell", "task")
HEADINGS = ("cell", "task", "parameters", "loss before", "after", "accuracy", "seconds")


def fields(run: Run) -> tuple[str, ...]:
    """The line of one run."""
    accuracy = "" if run.accuracy is None else f"{run.accuracy:.1%}"
    return (run.cell, run.task, f"{run.parameters:,}", f"{run.before:.3f}", f"{run.after:.3f}",
            accuracy, f"{run.seconds:.1f}")  # fmt: skip


def page(runs: list[Run], settings: Settings) -> str:
    """The text of docs/zoo-training.md."""
    lines = [
        "# How the zoo trains",
        "",
        f"Written by `make zoo`, that is `python examples/zoo.py --epochs {settings.epochs} "
        f"--seed {settings.seed}`; do not edit.",
        "",
        f"Every cell is trained for {settings.epochs} steps of Adam (rate "
        f"{settings.learning_rate:g}) on all training sequences at once, with hidden size "
        f"{SIZES['hidden_size']}, in one thread. That is far too short to compare cells: the "
        "table shows that each compiles, that its loss falls, that every gradient is finite, "
        "and that every trainable parameter gets one. A cell without scores of its own is read "
        "by a linear layer, from the mean over its steps; parameters are those of the cell "
        "alone. Losses are on the training set without dropout, accuracies on the test set, of "
        "frames where the cell names one for every frame. All but the seconds follow from the "
        "seed.",
        "",
        "| task | what it is |",
        "| --- | --- |",
        "| speakers | Japanese Vowels: who of nine speaks an utterance of 7 to 29 frames |",
        "| frames backwards | an utterance backwards, each frame from those before it |",
        "| digits, tokens | scikit-learn's digits, each pixel a token of its place and shade |",
        "| digits, columns | the same, each step a column of pixels |",
        "| digits, halves | the same, the upper rows in one call and the lower in the next |",
        "| digits, lower rows | the rows of a digit from the first that has ink |",
        "",
    ]
    for family in dict.fromkeys((*FAMILIES, *(run.family for run in runs))):
        members = [run for run in runs if run.family == family]
        if members:
            lines += [f"## {family}", "", f"| {' | '.join(HEADINGS)} |"]
            lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
            lines += [f"| {' | '.join(fields(run))} |" for run in members] + [""]
    return "\n".join(lines)


def main() -> None:
    """Train the cells, print a table, and write the page where all were trained."""
    parser = argparse.ArgumentParser(description="Train the cells that ship with cellc.")
    parser.add_argument("cells", nargs="*", help="their names; all where none is given")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--output", type=Path, help="the page to write")
    given = parser.parse_args()
    settings = Settings(given.epochs, given.seed)
    names, output = given.cells or list(shipped_specs()), given.output
    if not given.cells and output is None:
        output = PAGE
    torch.set_num_threads(1)  # so that the figures repeat, however many cores there are
    console = Console(width=None if sys.stdout.isatty() else 100)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        runs = [train(name, settings) for name in bar.track(names, description="training")]
    table = Table(box=None)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True, justify="left" if heading in WORDS else "right")
    for run in runs:
        table.add_row(*fields(run), style="red" if run.faults else "")
    console.print(table)
    if output is not None:
        output.write_text(page(runs, settings), encoding="utf-8")
        console.print(f"wrote {output}")
    faults = [f"{run.cell}: {fault}" for run in runs for fault in run.faults]
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
