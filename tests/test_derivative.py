"""The derivative of a cell against autograd through the cell as it was written."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.checkpoint

import cellc
from cellc.backends.naming import class_name
from cellc.backends.torch_helpers import HELPERS
from cellc.loading import class_from
from cellc.passes.saving import MODES
from cellc.resources import shipped_specs
from tests.running import GradientTrial, listed, tensor

#: Cells with two states, a product behind a gate, masks, reductions, axes and several loops.
SEVERAL = ("lstm", "gru", "phased_lstm", "zoneout_lstm", "layernorm_lstm", "grid_lstm_2d",
           "deep_bidirectional_lstm", "seq2seq_lstm", "cnn_lstm")  # fmt: skip


def far(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> float:
    """The largest difference between gradients, as a share of their size."""
    assert set(got) == set(want)
    assert all(got[name].shape == want[name].shape for name in want)
    sizes = {name: 1 + np.max(np.abs(want[name]), initial=0) for name in want}
    shares = [np.max(np.abs(got[n] - want[n]), initial=0) / sizes[n] for n in want]
    return float(max(shares, default=0.0))


def in_blocks_of_one(text: str) -> str:
    """An emitted file whose loops run in blocks of a single step."""
    changed = text.replace("2 ** 19", "1").replace(">= 128", ">= 1")
    assert changed != text or "def blocks(" not in text
    return changed


@pytest.mark.parametrize("name", shipped_specs())
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_every_cell_of_the_zoo(name: str, ragged: bool) -> None:
    """In NumPy; in Torch, with scans and without, then in blocks of one step."""
    trial = GradientTrial(cellc.load(name), 5, ragged)
    want = trial.autograd(trial.module("O0", derived=False))
    text = in_blocks_of_one(cellc.emit(trial.cell, scan="never"))
    module = trial.module_of(class_from(text, class_name(name)))
    assert far(trial.numpy_gradients(), want) < 1e-9
    assert far(trial.autograd(trial.module("O2")), want) < 1e-9
    assert far(trial.autograd(module), want) < 1e-9


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_every_level_and_memory(name: str, memory: str, level: str) -> None:
    trial = GradientTrial(cellc.load(name), 6)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.numpy_gradients(level, memory), want) < 1e-9


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("memory", ["low", "fast"])
def test_blocks_of_what_is_recomputed(name: str, memory: str) -> None:
    trial = GradientTrial(cellc.load(name), 8)
    text = in_blocks_of_one(cellc.emit(trial.cell, memory=memory))
    module = trial.module_of(class_from(text, class_name(name)))
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.autograd(module), want) < 1e-9


@pytest.mark.parametrize(
    "equations",
    [
        "param p[H]\nstate h[H] = tanh(p)\nh' = tanh(W·x + U·h)",
        "state h[H]\nk = sigmoid(W·x)\nh' = prev(k, 2)*tanh(V·x + U·h)",
        "state h[H]\nh' = tanh(W·x + U·h + prev(h', 3))",
        "state h[H], c[H]\nparam p[H], q[H] shared\nh' = where(c > 0, p*h, x)\nc' = q*h",
    ],
    ids=["a start of a parameter", "a delay of an input", "a delay of a state", "a choice"],
)
@pytest.mark.parametrize("memory", MODES)
def test_what_is_not_kept_by_itself(equations: str, memory: str) -> None:
    trial = GradientTrial(cellc.parse(f"cell c\ninput x[H]\n{equations}\noutput h'\n"), 4)
    want = trial.autograd(trial.module("O0", derived=False))
    module = class_from(in_blocks_of_one(cellc.emit(trial.cell, memory=memory)), "C")
    assert far(trial.numpy_gradients("O2", memory), want) < 1e-9
    assert far(trial.autograd(trial.module_of(module)), want) < 1e-9


def test_where_no_loop_is_derived_the_file_has_no_derivative() -> None:
    assert "autograd.Function" not in cellc.emit("linear")
    assert "autograd.Function" in cellc.emit("rnn")


@pytest.mark.parametrize("memory", MODES)
def test_files_do_not_depend_on_how_names_are_hashed(memory: str) -> None:
    command = f"import cellc; print(cellc.emit('grid_lstm_2d', memory={memory!r}))"
    texts = set()
    for number in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": number}
        done = subprocess.run(
            [sys.executable, "-c", command], env=environment, capture_output=True, check=True
        )
        texts.add(done.stdout)
    assert len(texts) == 1


def test_blocks_have_all_rows_once() -> None:
    names: dict[str, Any] = {"torch": torch}
    exec(HELPERS["blocks"], names)
    sizes = [300] * 5 + [200] * 3 + [1] * 400
    with torch.no_grad():
        found = names["blocks"](sizes, 2**10, torch.zeros(1))
    rows = [sum(sizes[part]) for part, _ in found]
    assert len(found) > 3
    assert [here.stop - here.start for _, here in found] == rows
    assert [step for part, _ in found for step in range(len(sizes))[part]] == [*range(len(sizes))]
    assert sum(rows) == sum(sizes)
    assert all(count >= 128 for count in rows[:-1])
    assert max(rows) <= 2**9 + 300
    with torch.enable_grad():
        assert len(names["blocks"](sizes, 2**10, torch.zeros(1))) == 1


def test_a_recurrence_that_nothing_learns_is_left_to_autograd() -> None:
    text = (
        "cell c\ndim O answers\ninput x[I]\nstate h[H]\nparam W_h[H, H] frozen, W_x[H, I] frozen\n"
    )
    module = cellc.compile(cellc.parse(text + "h' = tanh(W_x·x + W_h·h)\ny[O] = V·h'\noutput y"))
    x = torch.randn(4, 2, 3)
    assert "CFunction" not in graph_of(module(3, 5, 2)(x)[0])
    assert "CFunction" in graph_of(module(3, 5, 2)(x.requires_grad_())[0])


def graph_of(value: torch.Tensor) -> str:
    """The names of what autograd has recorded for a value."""
    names, pending = list[str](), [value.grad_fn]
    while pending:
        function = pending.pop()
        if function is not None:
            names.append(function.name())
            pending += [before for before, _ in function.next_functions]
    return " ".join(names)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("memory", MODES)
def test_every_memory_in_torch(name: str, memory: str) -> None:
    trial = GradientTrial(cellc.load(name), 7)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.autograd(trial.module("O1", memory)), want) < 1e-9


@pytest.mark.parametrize("name", ["lstm", "gru", "peephole_lstm", "seq2seq_lstm", "highway"])
def test_second_derivatives_go_through_autograd(name: str) -> None:
    trial = GradientTrial(cellc.load(name), 9)
    module = trial.module("O2")
    inputs = [torch.from_numpy(x).requires_grad_() for x in trial.inputs]

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs, ends = trial.call(module, list(values))
        return tuple(tensor(value) for value in [*listed(outputs), *listed(ends)])

    assert torch.autograd.gradgradcheck(run, inputs, atol=1e-4)


def test_nothing_is_kept_after_the_backward_pass() -> None:
    module = cellc.compile("lstm")(3, 4)
    output, _ = module(torch.randn(5, 2, 3))
    output.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        output.sum().backward()


def test_a_checkpoint_around_a_module() -> None:
    module, x = cellc.compile("gru")(3, 4, seed=0), torch.randn(5, 2, 3, requires_grad=True)
    (plain,) = torch.autograd.grad(module(x)[0].sum(), x)
    output = torch.utils.checkpoint.checkpoint(lambda x: module(x)[0], x, use_reentrant=False)
    assert torch.allclose(torch.autograd.grad(output.sum(), x)[0], plain)


def test_only_what_is_asked_for_is_computed() -> None:
    module = cellc.compile("lstm")(3, 4)
    module.W_f.requires_grad_(False)
    x = torch.randn(5, 2, 3)
    module(x)[0].sum().backward()
    assert module.W_f.grad is None
    assert x.grad is None
    assert module.W_i.grad is not None
    text = cellc.emit("lstm")
    assert "if ctx.needs_input_grad[0]:" in text


@pytest.mark.parametrize(
    "body",
    [
        "input d_output[H], saved[H]\nstate h[H], d_h[H]\nspread = tanh(W·d_output)\n"
        "h' = spread*d_h + saved + h*0\nd_h' = h + spread\noutput h'",
        "input x[H]\nstate h[H]\nd_x = tanh(W·x + b)\nresults = 2*d_x\nh' = results + h\n"
        "output h'\noutput d_x",
        "input x[H]\nstate keep[H]\npart = sigmoid(W·[keep, x])\nkeep' = part*keep + x\n"
        "here = keep'*2\noutput here",
    ],
)
def test_names_of_the_cell_do_not_meet_those_of_the_derivative(body: str) -> None:
    trial = GradientTrial(cellc.parse(f"cell c\n{body}\n"), 1)
    want = trial.autograd(trial.module("O0", derived=False))
    assert far(trial.numpy_gradients(), want) < 1e-9
    assert far(trial.autograd(trial.module("O2")), want) < 1e-9


def test_a_start_that_is_learnt_has_a_gradient_unless_a_state_is_given() -> None:
    cell = cellc.parse(
        "cell c\ninput x[H]\nparam h0[H] = 1\nstate h[H] = h0\nh' = tanh(W·h + x)\noutput h'\n"
    )
    run, x = cellc.compile(cell, "numpy")(3), np.ones((4, 2, 3))
    slope = run.grad(x, lambda output: output)["h0"]
    start = run.params["h0"]
    for place in range(3):
        losses = []
        for step in (1e-6, -1e-6):
            run.params["h0"] = start + step * np.eye(3)[place]
            losses.append((run(x)[0] ** 2).sum() / 2)
        assert slope[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5)
    run.params["h0"] = start
    given = run.grad(x, lambda output: output, state=np.ones((2, 3)))
    assert not given["h0"].any()
    assert given["h"].any()
