"""Four cells, compiled by cellc, name the speakers of the Japanese Vowels utterances.

One of nine men says /ae/: 7 to 29 steps of 12 coefficients (270 to train on, 370 to test on).
The LSTM is the stand-alone file that cellc emits, build/lstm.py; the others compile in memory.
"""

import argparse
import time
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import torch
from aeon.datasets import load_japanese_vowels
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn, tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.optim.lr_scheduler import OneCycleLR

import cellc

CELLS = ("lstm", "cifg", "peephole_lstm", "gru")
CHANNELS, SPEAKERS = 12, 9
BUILD = Path("build")  # relative to the current directory
Split = tuple[PackedSequence, Tensor]  # all utterances of the split, and their speakers


@dataclass(frozen=True)
class Settings:
    """Chosen by cross-validating the LSTM on the training utterances; shared by all cells."""

    epochs: int = 120  # each is one step of Adam on all training utterances
    seed: int = 0
    hidden_size: int = 64
    learning_rate: float = 2e-2  # the peak of a one-cycle schedule
    noise: float = 0.9  # standard deviation, added to the standardised training inputs


@dataclass
class Run:
    """What training one cell left behind: loss and accuracy hold one entry per epoch."""

    cell: str
    parameters: int  # of the recurrent layer
    seconds: float = 0.0  # per epoch, the tests left out
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


class Classifier(nn.Module):
    """A linear readout of the hidden state that the cell reaches at each utterance's own end."""

    def __init__(self, rnn: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.rnn, self.readout = rnn, nn.Linear(hidden_size, SPEAKERS)

    def forward(self, utterances: PackedSequence) -> Tensor:
        """Return the speakers' scores, of shape (batch, SPEAKERS)."""
        _, state = self.rnn(utterances)  # (h, c) or h, each of shape (batch, hidden_size)
        scores: Tensor = self.readout(state[0] if isinstance(state, tuple) else state)
        return scores


def emit_lstm() -> type[nn.Module]:
    """Write the LSTM's picture and Torch file, and return the class imported from that file."""
    cell, path = cellc.load("lstm"), BUILD / "lstm.py"
    cellc.draw(cell).save(str(path.with_suffix(".svg")))
    path.write_text(cellc.emit(cell, target="torch"), encoding="utf-8")
    module = ModuleType("lstm")
    SourceFileLoader("lstm", str(path)).exec_module(module)
    return module.Lstm  # type: ignore[no-any-return]


def build(name: str, input_size: int, hidden_size: int, seed: int) -> nn.Module:
    """Return a recurrent layer made of the named cell; it is used like nn.LSTM."""
    rnn = emit_lstm() if name == "lstm" else cellc.compile(cellc.load(name), target="torch")
    return rnn(input_size=input_size, hidden_size=hidden_size, seed=seed)


def load_data() -> list[Split]:
    """Return the training and test split, standardised by the statistics of the former."""
    splits = [load_japanese_vowels(split=split) for split in ("train", "test")]
    train, test = (pack_sequence([tensor(u.T) for u in x], enforce_sorted=False) for x, _ in splits)
    mean, std = train.data.mean(0), train.data.std(0)
    inputs = [p._replace(data=((p.data - mean) / std).float()) for p in (train, test)]
    return [(x, tensor(y.astype(int) - 1)) for x, (_, y) in zip(inputs, splits, strict=True)]


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
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
        run.seconds += (time.perf_counter() - start) / settings.epochs
        run.loss.append(loss.item())
        with torch.no_grad():
            run.accuracy.append((model(test[0]).argmax(1) == test[1]).float().mean().item())
    return run


def draw_curves(runs: list[Run]) -> None:
    """Draw the training loss and the test accuracy of every cell against the epoch."""
    left, right = (figure := Figure(figsize=(10, 4), layout="constrained")).subplots(1, 2)
    left.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
    right.set(title="Test accuracy", xlabel="epoch", ylabel="%", ylim=(60, 100))
    for run in runs:
        epochs, percent = range(1, len(run.loss) + 1), [100 * a for a in run.accuracy]
        left.plot(epochs, run.loss, label=run.cell, linewidth=1)
        right.plot(epochs, percent, label=f"{run.cell}: {percent[-1]:.1f}%")
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
    torch.set_num_threads(1)  # so that the figures repeat, however many cores there are
    BUILD.mkdir(exist_ok=True)
    console, (data, test) = Console(), load_data()
    with Progress(console=console, disable=not console.is_terminal) as bar:
        runs = [train(name, data, test, settings, bar) for name in CELLS]
    draw_curves(runs)
    table = Table("cell", "parameters", "seconds per epoch", "test accuracy")
    for r in runs:
        table.add_row(r.cell, f"{r.parameters:,}", f"{r.seconds:.3f}", f"{r.accuracy[-1]:.1%}")
    console.print(table)
    console.print(f"In {BUILD}/: lstm.py and lstm.svg from the spec, and learning_curves.png.")


if __name__ == "__main__":
    main()
