"""Every other shipped cell in training: compiled kernels against loops in Python.

The opponent is the loop written by hand where there is one, else the emitted Torch code with
autograd through its loop.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradient import Subject
from handwritten_zoo import ALL_PEERS
from kernels_contests import TORCH_CELLS, record
from kernels_rounds import Pass, Record, Setting, agree, race, ratios
from torch import nn

import cellc
from cellc.ir import Loop
from cellc.resources import shipped_specs

BATCHES, HIDDEN = (1, 8, 32), (64, 256)
#: Several threads run at this size alone, and only the cells with a loop by hand.
LARGEST = (32, 256)
QUICK = ("cifg", "gru", "min_gru", "fgr")

HAND, EMITTED = "loop by hand", "emitted, autograd"


def cells(setting: Setting) -> tuple[str, ...]:
    """Those of the zoo that are not compared with torch's own."""
    if setting.quick:
        return QUICK
    found = tuple(name for name in shipped_specs() if name not in TORCH_CELLS)
    return found if setting.threads == 1 else tuple(name for name in found if name in ALL_PEERS)


def sizes(setting: Setting) -> list[tuple[int, int]]:
    """Sequences and units: with several threads the largest alone."""
    if setting.threads > 1:
        return [LARGEST]
    if setting.quick:
        return [(1, 64), LARGEST]
    return [(batch, hidden) for hidden in HIDDEN for batch in BATCHES]


def pass_of(subject: Subject, module: nn.Module) -> Pass:
    """A pass of a module with all inputs of the cell."""
    return Pass(module, subject.inputs, lambda: subject.outputs(module))


def opponent(subject: Subject, own: nn.Module) -> tuple[str, Pass]:
    """The loop in Python, and what it is called."""
    if subject.name in ALL_PEERS:
        (x,) = subject.inputs
        return HAND, Pass.of(ALL_PEERS[subject.name](own), x)
    return EMITTED, pass_of(subject, subject.module(derived=False))


def zoo(setting: Setting) -> Iterator[Record]:
    """All cells at all sizes; those without a loop have no kernels, and do not count."""
    for name in cells(setting):
        loops = any(isinstance(region, Loop) for region in cellc.schedule(name).regions)
        for batch, hidden in sizes(setting):
            subject = Subject(name, batch, hidden)
            for value in subject.inputs:
                if value.is_floating_point():
                    value.requires_grad_()
            module = subject.module(kernels="native")
            assert not loops or hasattr(module, "kernels"), f"{name} has no kernels"
            own = pass_of(subject, module)
            against, other = opponent(subject, module)
            if hidden == HIDDEN[0] or setting.threads > 1:
                agree(name, own.results(), other.results())
            pair = {"own": own.training(), "other": other.training()}
            times = race(pair, setting.seconds)
            found = ratios(times["other"], times["own"])
            place = ("zoo", name, against, "training", batch, hidden)
            yield record(setting, place, times["own"], times["other"], found, loops)
