"""Who is speaking? Four cells, compiled by cellc, classify the Japanese Vowels utterances.

Nine men each said the two vowels /ae/; an utterance is 7 to 29 steps of 12 cepstral coefficients,
and the task is to name its speaker (270 training and 370 test utterances, shipped with aeon).
The LSTM is trained from the stand-alone file that cellc emits, ``build/lstm.py``, the other cells
from classes compiled in memory; build/ also receives ``lstm.svg`` and ``learning_curves.png``.
"""

import argparse
import importlib.util
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from aeon.datasets import load_japanese_vowels
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.optim.lr_scheduler import OneCycleLR

import cellc

CELLS = ("lstm", "cifg", "peephole_lstm", "gru")
CHANNELS, SPEAKERS = 12, 9
BUILD = Path("build")

Split = tuple[PackedSequence, Tensor]  # all utterances of the split, and their speakers


@dataclass(frozen=True)
class Settings:
    """Chosen by cross-validating the LSTM on the training utterances; shared by all cells."""

    epochs: int = 200  # each is one step of Adam on all training utterances
    seed: int = 0
    hidden_size: int = 64
    learning_rate: float = 1e-2  # the peak of a one-cycle schedule
    noise: float = 0.9  # standard deviation, added to the standardised training inputs


@dataclass
class Run:
    """What training one cell left behind: loss and accuracy hold one entry per epoch."""

    cell: str
    parameters: int  # of the recurrent layer
    seconds: float = 0.0  # spent training, the tests left out
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


class Classifier(nn.Module):
    """A linear readout of the hidden state that the cell reaches at each utterance's own end."""

    def __init__(self, rnn: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.rnn = rnn
        self.readout = nn.Linear(hidden_size, SPEAKERS)

    def forward(self, utterances: PackedSequence) -> Tensor:
        """Return the speakers' scores, of shape (batch, SPEAKERS)."""
        _, state = self.rnn(utterances)  # as from nn.LSTM or nn.GRU: (h, c) or h
        hidden = state[0] if isinstance(state, tuple) else state
        return self.readout(hidden[-1])


def emit_lstm() -> type[nn.Module]:
    """Write the LSTM's picture and Torch file, and return the class imported from that file."""
    cell, path = cellc.load("lstm"), BUILD / "lstm.py"
    cellc.draw(cell).save(str(path.with_suffix(".svg")))
    path.write_text(cellc.emit(cell, target="torch"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("lstm", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Lstm


def build(name: str, input_size: int, hidden_size: int, seed: int) -> nn.Module:
    """Return a recurrent layer made of the named cell; it is used like nn.LSTM."""
    rnn = emit_lstm() if name == "lstm" else cellc.compile(cellc.load(name), target="torch")
    return rnn(input_size=input_size, hidden_size=hidden_size, seed=seed)


def load_data() -> list[Split]:
    """Return the training and test split, standardised by the statistics of the former."""
    splits = [load_japanese_vowels(split=split) for split in ("train", "test")]
    series = [[torch.tensor(u.T).float() for u in utterances] for utterances, _ in splits]
    train, test = (pack_sequence(s, enforce_sorted=False) for s in series)
    mean, std = train.data.mean(0), train.data.std(0)
    inputs = [p._replace(data=(p.data - mean) / std) for p in (train, test)]
    return [(x, torch.tensor(y.astype(int) - 1)) for x, (_, y) in zip(inputs, splits, strict=True)]


def train(name: str, data: Split, test: Split, settings: Settings, bar: Progress) -> Run:
    """Train one cell for the fixed number of epochs, noting the test accuracy after each."""
    torch.manual_seed(settings.seed)
    rnn = build(name, CHANNELS, settings.hidden_size, settings.seed)
    model = Classifier(rnn, settings.hidden_size)
    optimizer = torch.optim.Adam(model.parameters())
    rates = OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.epochs)
    run = Run(name, sum(weight.numel() for weight in rnn.parameters()))
    for _ in bar.track(range(settings.epochs), description=f"{name:>13}"):
        start, clean = time.perf_counter(), data[0].data
        noisy = data[0]._replace(data=clean + settings.noise * torch.randn_like(clean))
        loss = nn.functional.cross_entropy(model(noisy), data[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        run.seconds += time.perf_counter() - start
        run.loss.append(loss.item())
        with torch.no_grad():
            run.accuracy.append((model(test[0]).argmax(1) == test[1]).float().mean().item())
    return run


def draw_curves(runs: list[Run]) -> None:
    """Draw the training loss and the test accuracy of every cell against the epoch."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
    right.set(title="Test accuracy", xlabel="epoch", ylabel="%", ylim=(60, 100))
    for run in runs:
        left.plot(run.loss, label=run.cell)
        right.plot([100 * a for a in run.accuracy], label=f"{run.cell}: {run.accuracy[-1]:.1%}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(BUILD / "learning_curves.png", dpi=150)


def main() -> None:
    """Train every cell, print one table, and leave the files in build/."""
    parser = argparse.ArgumentParser(description="Classify speakers with cellc's cells.")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    settings = Settings(**vars(parser.parse_args()))
    BUILD.mkdir(exist_ok=True)
    console, (data, test) = Console(), load_data()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        runs = [train(name, data, test, settings, bar) for name in CELLS]
    draw_curves(runs)
    table = Table("cell", "parameters", "seconds per epoch", "test accuracy")
    for run in runs:
        pace = f"{run.seconds / settings.epochs:.3f}"
        table.add_row(run.cell, f"{run.parameters:,}", pace, f"{run.accuracy[-1]:.1%}")
    console.print(table)


if __name__ == "__main__":
    main()
