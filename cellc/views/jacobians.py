"""How each step of a run passes a change of the state on: the factors of a gradient's product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Where the errors of a central difference, of truncation and of rounding, are alike.
_STEP = float(np.cbrt(np.finfo(np.float64).eps))


def jacobians(run: Any, *inputs: ArrayLike, state: Any = None) -> Array:
    """The derivatives of the state after each step by the state before it.

    ``run`` is an instance of a class for NumPy, ``inputs`` are one sequence each, of shape
    (T, …) without batch, and ``state`` is what the sequence starts with, as the class takes
    and returns it; by default what the cell starts with.

    The result has the shape (T, N, N), where N counts the numbers of all states, in the
    order in which the class returns the states: entry [t, i, j] is the derivative of number
    i after step t by number j before it. So the derivative of the last state by that before
    step k is ``J[-1] @ … @ J[k]``.

    The derivatives are central differences in float64, right to about nine digits where the
    cell is smooth; in a kink, such as that of relu in 0, they are the mean of both sides.
    Raises ValueError for a cell without a state and for sequences that do not fit.
    """
    sequences = [np.asarray(sequence) for sequence in inputs]
    lengths = {len(sequence) if sequence.ndim else 0 for sequence in sequences}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError("each input is a sequence (T, …) of one and the same length T > 0")
    parts = _parts(run.initial_state(1))
    if not parts:
        raise ValueError("the cell has no state that passes from step to step")
    if state is not None:
        given = _parts(state)
        if [np.shape(part) for part in given] != [part.shape[1:] for part in parts]:
            wanted = ", ".join(str(part.shape[1:]) for part in parts)
            raise ValueError(f"the state is of one sequence, without batch, of shape {wanted}")
        parts = [part[None] for part in given]
    shapes = [part.shape[1:] for part in parts]
    flat = np.concatenate([part.reshape(-1) for part in parts])
    found = np.empty((lengths.pop(), flat.size, flat.size))
    for t, derivative in enumerate(found):
        width = _STEP * np.maximum(1, np.abs(flat))
        # the undisturbed state, then each number of it raised, then each lowered
        probes = np.concatenate([flat[None], flat + np.diag(width), flat - np.diag(width)])
        here = [np.broadcast_to(x[t], (len(probes), *x.shape[1:])) for x in sequences]
        after = _flat(run.step(*here, _state(probes, shapes))[1])
        flat, raised, lowered = after[0], *np.split(after[1:], 2)
        derivative[:] = ((raised - lowered) / (2 * width[:, None])).T
    return found


def _parts(state: Any) -> list[Array]:
    """The states of a cell as a list, whether there is one or are several."""
    parts = state if isinstance(state, (tuple, list)) else [state]
    return [np.asarray(part, np.float64) for part in parts]


def _flat(state: Any) -> Array:
    """The states (B, …) side by side in one array (B, N)."""
    return np.concatenate([part.reshape(len(part), -1) for part in _parts(state)], axis=1)


def _state(flat: Array, shapes: Sequence[tuple[int, ...]]) -> Any:
    """The states (B, …) that lie side by side in an array (B, N), as a cell takes them."""
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    parts = np.split(flat, ends[:-1], axis=1)
    shaped = tuple(p.reshape(-1, *s) for p, s in zip(parts, shapes, strict=True))
    return shaped[0] if len(shaped) == 1 else shaped
