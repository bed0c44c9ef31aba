"""Draws the pictures of the pages that measure: docs/pictures/NAME.svg.

    python docs/pictures.py            # needs matplotlib, as the demo does

Every run draws the same: numbers come from fixed seeds, and the files hold no date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import cellc

Array = NDArray[np.float64]

FOLDER = Path(__file__).parent / "pictures"
T, I, H = 100, 8, 64
SEQUENCE = np.random.default_rng(0).standard_normal((T, I))
RANDOM = np.random.default_rng(1).standard_normal((H, H))
RANDOM = RANDOM / abs(np.linalg.eigvals(RANDOM)).max()  # of spectral radius 1

STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.alpha": 0.3,
    "svg.hashsalt": "cellc",
}
#: Distinct for readers who see colours otherwise (Okabe and Ito).
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7")


def norms(J: Array, part: slice = slice(None)) -> Array:
    """The norms of the derivative of the last state by that 0, 1, … steps before it."""
    product = np.eye(J.shape[1])
    found = [1.0]
    for factor in J[::-1]:
        product = product @ factor
        found.append(float(np.linalg.norm(product[part, part], 2)))
    return np.array(found)


def made(name: str, **params: Array | float) -> object:
    """A shipped cell for NumPy, some parameters set to a value or filled with a number."""
    run = cellc.compile(cellc.load(name), "numpy")(I, H)
    for param, value in params.items():
        run.params[param] = np.broadcast_to(value, run.params[param].shape).copy()
    return run


def curve(
    axes: Axes, distances: Array, label: str, color: str, lift: float = 0, **style: object
) -> None:
    """One line with its name where it ends or leaves the frame; zero ends it."""
    low, high = axes.get_ylim()
    inside = (distances > low) & (distances < high)
    shown = distances[: len(inside) if inside.all() else int(np.argmin(inside))]
    axes.plot(shown, color=color, linewidth=1.8, **style)
    place = (5, lift if inside.all() else 8)
    axes.annotate(
        label, (len(shown) - 1, shown[-1]), place, textcoords="offset points",
        va="center", color=color, annotation_clip=False,
    )  # fmt: skip


def frame(axes: Axes, title: str, low: float, high: float) -> None:
    """What all axes share, set before the curves are drawn."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_xlim(0, T)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("steps back, T − k")


def rnn() -> Figure:
    """The simple network under several radii, and what starts and rectifiers change."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    frame(left, "rnn, W of spectral radius ρ", 1e-16, 1e8)
    for radius, colour in zip((0.5, 0.9, 1.1, 1.5, 2.0), COLOURS, strict=True):
        run = made("rnn", W_h=radius * RANDOM)
        distances = norms(cellc.jacobians(run, SEQUENCE))
        curve(left, distances, f"ρ = {radius}", colour)
    left.set_ylabel("‖∂h_T / ∂h_k‖")
    frame(right, "the identity (written 1) and the rectifier", 1e-16, 1e8)
    identity = np.eye(H)
    for label, name, W, colour in (
        ("relu_rnn, ρ = 1", "relu_rnn", RANDOM, COLOURS[0]),
        ("rnn, W = 1", "rnn", identity, COLOURS[2]),
        ("irnn, W = 1", "irnn", identity, COLOURS[1]),
        ("irnn, W = 1.1", "irnn", 1.1 * identity, COLOURS[3]),
    ):
        curve(right, norms(cellc.jacobians(made(name, W_h=W), SEQUENCE)), label, colour)
    return figure


def lstm() -> Figure:
    """The memory of an LSTM under several forget biases, and cells as they start."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    frame(left, "lstm: ∂c_T / ∂c_k, and the forget gates alone (dashed)", 1e-16, 1e8)
    cell = cellc.parse("cell watched from lstm\noutput h', f")
    for bias, colour in zip((-2, 0, 1, 2, 5), COLOURS, strict=True):
        run = cellc.compile(cell, "numpy")(I, H)
        run.params["b_f"][:] = bias
        (_, f), _ = run(SEQUENCE)
        kept = np.cumprod(np.concatenate([np.ones((1, H)), f[::-1]]), axis=0)
        left.plot(kept.max(axis=1), "--", color=colour, linewidth=1)
        memory = slice(H, 2 * H)
        distances = norms(cellc.jacobians(run, SEQUENCE), memory)
        curve(left, distances, f"$b_f$ = {bias}".replace("-", "−"), colour)
    left.set_ylabel("norm")
    frame(right, "the whole state of cells as they start", 1e-32, 1e8)
    lifts = {"gru": 5, "lstm": -6}  # their lines end side by side
    for name, colour in zip(("irnn", "nfg", "lstm", "gru", "rnn"), COLOURS, strict=True):
        distances = norms(cellc.jacobians(made(name), SEQUENCE))
        curve(right, distances, name, colour, lifts.get(name, 0))
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {"gradients-rnn": rnn, "gradients-lstm": lstm}


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        with mpl.rc_context(STYLE):
            draw().savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
        print(f"docs/pictures/{name}.svg")


if __name__ == "__main__":
    main()
