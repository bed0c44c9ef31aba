"""The contests of compiled kernels: what runs against what, at which sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from statistics import median
from typing import Any

import onnxruntime
import torch
from kernels_rounds import Competitor, Pass, Record, Setting, agree, race, ratios, spread
from torch import Tensor, nn

import cellc
from tests import onnx_cells

LENGTH = 100
BATCHES, HIDDEN = (1, 8, 32), (64, 128, 256, 512)
MODES = ("forward", "training")

TORCH_CELLS = {"lstm": "nn.LSTM", "gru_reset_after": "nn.GRU", "rnn": "nn.RNN"}
ONNX_CELLS = ("lstm", "peephole_lstm", "cifg", "gru", "gru_reset_after")
COST_CELLS = ("peephole_lstm", "cifg", "layernorm_lstm")
PEAK_SIZES = (256, 512)
PEAK_SIDE = 1024
#: Seconds in which the threads of torch, which wait for work for a while, fall asleep.
PAUSE = 0.01


def sizes(setting: Setting) -> list[tuple[int, int]]:
    """Sequences and units."""
    if setting.quick:
        return [(1, 64), (32, 256)]
    return [(batch, hidden) for hidden in HIDDEN for batch in BATCHES]


@cache
def compiled(cell: str) -> type[Any]:
    """The class of a shipped cell, with compiled kernels."""
    return cellc.compile(cellc.load(cell), target="torch", kernels="native")


def made(cell: str, hidden: int) -> nn.Module:
    """A module, always with the same parameters."""
    module: nn.Module = compiled(cell)(hidden, hidden, seed=0)
    return module


def sequence(batch: int, hidden: int) -> Tensor:
    """Random inputs that require gradients."""
    source = torch.Generator().manual_seed(0)
    return torch.randn(LENGTH, batch, hidden, generator=source).requires_grad_()


def record(
    setting: Setting, place: tuple[str, str, str, str, int, int], own: list[float],
    other: list[float], found: list[float], counts: bool = True,
) -> Record:  # fmt: skip
    """A line for section, cell, opponent, mode and sizes, of the times and ratios of rounds."""
    section, cell, against, mode, batch, hidden = place
    return Record(
        section, cell, against, mode, setting.threads, batch, hidden, len(found),
        median(own), median(other), *spread(found), counts=counts,
    )  # fmt: skip


def against_torch(setting: Setting) -> Iterator[Record]:
    """Cells that torch has as well, with the same weights, against torch's own."""
    for cell, name in TORCH_CELLS.items():
        for batch, hidden in sizes(setting):
            module, x = made(cell, hidden), sequence(batch, hidden)
            own, other = Pass.of(module, x), Pass.of(module.to_torch(), x)  # type: ignore[operator]
            agree(cell, own.results(), other.results())
            for mode in MODES:
                pair = {"own": own.competitor(mode), "other": other.competitor(mode)}
                times = race(pair, setting.seconds)
                found = ratios(times["other"], times["own"])
                place = ("torch", cell, name, mode, batch, hidden)
                yield record(setting, place, times["own"], times["other"], found)


def onnx_run(cell: str, module: nn.Module, x: Tensor, threads: int) -> Callable[[], Any]:
    """A run of ONNX Runtime over the sequence, with the module's weights.

    Its threads are told not to wait for work between runs: they are not torch's, and would take
    the processor from the other competitor.
    """
    _, batch, hidden = x.shape
    params = {name: value.detach().numpy() for name, value in module.named_parameters()}
    node = onnx_cells.build_node(cell, params, hidden, hidden)
    feeds = {"X": onnx_cells.float32(x.detach().numpy())}
    zeros = torch.zeros(1, batch, hidden).numpy()
    feeds |= dict.fromkeys(onnx_cells.STATE_INPUTS[node.op], zeros)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        onnx_cells.build_model(node, feeds).SerializeToString(), options,
        providers=["CPUExecutionProvider"],
    )  # fmt: skip
    return partial(session.run, None, feeds)


def against_onnx(setting: Setting) -> Iterator[Record]:
    """Forward passes against ONNX Runtime's operators."""
    for cell in ONNX_CELLS:
        for batch, hidden in sizes(setting):
            module, x = made(cell, hidden), sequence(batch, hidden)
            own = Pass.of(module, x)
            run = onnx_run(cell, module, x, setting.threads)
            agree(cell, own.outputs(), [torch.from_numpy(run()[0][:, 0])])
            pair = {"own": own.competitor("forward"), "other": Competitor(run)}
            times = race(pair, setting.seconds, PAUSE if setting.threads > 1 else 0)
            found = ratios(times["other"], times["own"])
            place = ("onnx", cell, "ONNX Runtime", "forward", batch, hidden)
            yield record(setting, place, times["own"], times["other"], found)


def costs(setting: Setting) -> Iterator[Record]:
    """What cells cost beside an LSTM, all compiled: the ratio is their time over its time."""
    for batch, hidden in sizes(setting):
        x = sequence(batch, hidden)
        passes = {cell: Pass.of(made(cell, hidden), x) for cell in ("lstm", *COST_CELLS)}
        for mode in MODES:
            runs = {cell: one.competitor(mode) for cell, one in passes.items()}
            times = race(runs, 1.5 * setting.seconds)
            for cell in COST_CELLS:
                found = ratios(times[cell], times["lstm"])
                place = ("costs", cell, "lstm", mode, batch, hidden)
                yield record(setting, place, times[cell], times["lstm"], found)


def products() -> dict[str, Competitor]:
    """Large products by all routes that torch has."""
    a, b = torch.randn(PEAK_SIDE, PEAK_SIDE), torch.randn(PEAK_SIDE, PEAK_SIDE)
    runs = {"torch.mm": Competitor(lambda: torch.mm(a, b))}
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if linear is not None:
        runs["mkldnn"] = Competitor(lambda: linear(a, b, None, "none", [], ""))
    return runs


def peak(setting: Setting) -> Iterator[Record]:
    """Which part of the fastest product's rate a whole pass of an LSTM reaches."""
    batch = 32
    for hidden in PEAK_SIZES[:1] if setting.quick else PEAK_SIZES:
        one = Pass.of(made("lstm", hidden), sequence(batch, hidden))
        for mode in MODES:
            runs = products()
            names = list(runs)
            times = race({"own": one.competitor(mode), **runs}, 3 * setting.seconds)
            best = min(names, key=lambda name: median(times[name]))
            flops = LENGTH * batch * 2 * 4 * hidden * 2 * hidden * (3 if mode == "training" else 1)
            share = flops / (2 * PEAK_SIDE**3)
            found = [share * ratio for ratio in ratios(times[best], times["own"])]
            place = ("peak", "lstm", f"{best} {PEAK_SIDE}³", mode, batch, hidden)
            yield record(setting, place, times["own"], times[best], found)
