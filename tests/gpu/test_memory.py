"""What kernels keep from call to call: whatever came before, results are those of Python."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import cellc
from tests.gpu.modules import (
    DEVICE,
    WAYS,
    DeviceTrial,
    check_as_in_python,
    drawn,
    file_of,
    in_python,
    kernels,
    on_a_gpu,
    results,
    shipped,
    watched,
)
from tests.running import check_close, gradients

#: A cell with products of states in one piece, and one with two that follow each other.
CELLS = ("lstm", "gru")


def ragged(*lengths: int, seed: int = 0) -> Any:
    """Packed sequences of two numbers a step."""
    return pack_sequence([drawn(length, 2, seed=seed + n) for n, length in enumerate(lengths)])


@pytest.fixture
def lstm() -> Any:
    """A module whose file has no memories yet."""
    module = shipped("lstm", 2, 3, loops="stepwise")
    file_of(module).MEMORIES.clear()
    return module


@pytest.mark.parametrize(
    ("name", "loops"), [("lstm", "stepwise"), ("gru", "stepwise"), ("lstm", "fused")]
)
def test_calls_of_every_length_share_what_is_recorded(name: str, loops: str) -> None:
    module = shipped(name, 2, 3, loops=loops)
    for number, steps in enumerate((2, 1, 9, 8, 7, 1)):
        check_as_in_python(module, drawn(steps, 1, 2, seed=number))


@pytest.mark.parametrize("name", CELLS)
def test_calls_of_other_batches_and_lengths_follow_each_other(name: str) -> None:
    module = shipped(name, 2, 3, loops="stepwise")
    for number, batch in enumerate((2, 1, 3, 2)):
        check_as_in_python(module, drawn(2, batch, 2, seed=number))
    x = drawn(2, 2, 2)
    for number, lengths in enumerate(((4, 1), (3, 3), (2, 1), (3, 2))):
        packed = ragged(*lengths, seed=number)
        for _ in range(2):
            with in_python(module):
                wanted = module(packed)
            found = module(packed)
            check_close(found[0].data, wanted[0].data, 1e-5)
            torch.testing.assert_close(found[1], wanted[1], rtol=0, atol=1e-5)
        check_as_in_python(module, x)


@pytest.mark.parametrize("name", CELLS)
def test_a_state_that_is_given_is_used(name: str) -> None:
    module = shipped(name, 2, 3, loops="stepwise")
    for number in range(3):
        x = drawn(3, 2, 2, seed=number)
        start = module(x)[1]
        outputs, _ = module(x, start)
        with in_python(module):
            wanted, _ = module(x, start)
        check_close(outputs, wanted, 1e-5)


def test_what_a_call_returns_stays_as_it_is(lstm: Any) -> None:
    calls = [lstm(drawn(3, 2, 2, seed=number)) for number in range(4)]
    values = [[value.clone() for value in (outputs, *states)] for outputs, states in calls]
    check_as_in_python(lstm, drawn(3, 2, 2, seed=9))
    for (outputs, states), kept in zip(calls, values, strict=True):
        for one, other in zip((outputs, *states), kept, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", CELLS)
def test_backward_passes_may_come_after_other_calls(name: str) -> None:
    module = shipped(name, 2, 3, loops="stepwise")
    inputs = [drawn(3, 2, 2, seed=number).requires_grad_() for number in range(3)]
    with in_python(module):
        wanted = [torch.autograd.grad(module(x)[0].square().sum(), x)[0] for x in inputs]
    for _ in range(2):
        outputs = [module(x)[0] for x in inputs]
        for which in (1, 0, 2):
            (slope,) = torch.autograd.grad(outputs[which].square().sum(), inputs[which])
            check_close(slope, wanted[which], 1e-5)


def test_modules_of_a_class_take_turns(lstm: Any) -> None:
    twin = type(lstm)(2, 3, seed=4, device=DEVICE)
    twin.loops = "stepwise"
    for number in range(3):
        for module in (lstm, twin):
            check_as_in_python(module, drawn(3, 2, 2, seed=number))


def test_parameters_may_change_between_calls(lstm: Any) -> None:
    x = drawn(3, 2, 2)
    with torch.no_grad():
        lstm(x)
        for param in lstm.parameters():
            param.mul_(2)
        check_close(*_both(lstm, x), 1e-5)
        for param in lstm.parameters():
            param.data = torch.randn_like(param)
        check_close(*_both(lstm, x), 1e-5)
    check_as_in_python(lstm, x)


def _both(module: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with in_python(module):
        wanted = module(x)[0]
    return module(x)[0], wanted


@pytest.mark.parametrize("loops", WAYS)
def test_training_and_evaluation_take_turns(loops: str) -> None:
    cell = cellc.load("zoneout_lstm")
    trial = DeviceTrial(cell, 2, ragged=False, steps=3, batch=2, size=3)
    module = trial.module_of(kernels(cell))
    module.loops = loops
    for training in (True, False, True, False):
        module.train(training)
        with in_python(module):
            values, slopes = gradients(trial, module)
        found, mine = gradients(trial, module)
        for one, other in zip([*found, *mine], [*values, *slopes], strict=True):
            check_close(one, other, 1e-12)


def test_launches_are_recorded_once_for_a_size(lstm: Any) -> None:
    with watched(lstm, "recorded") as recorded, torch.no_grad():
        lstm(drawn(11, 2, 2))
        assert recorded.calls == 0
        check_close(*_both(lstm, drawn(11, 2, 2, seed=1)), 1e-5)
        assert recorded.calls == 2  # pieces of 8 and of 2
        check_close(*_both(lstm, drawn(11, 2, 2, seed=2)), 1e-5)
        check_close(*_both(lstm, drawn(22, 2, 2, seed=3)), 1e-5)
        assert recorded.calls == 2
        lstm(drawn(4, 1, 2))
        assert recorded.calls == 2
        check_close(*_both(lstm, drawn(70, 1, 2, seed=4)), 1e-5)
        assert recorded.calls == 4  # pieces of 64 and of 2


def test_backward_launches_are_recorded_too(lstm: Any) -> None:
    x = drawn(4, 2, 2)
    with watched(lstm, "recorded") as recorded:
        results(lstm, x)
        assert recorded.calls == 0
        first = results(lstm, x)
        assert recorded.calls == 2  # a piece of 2 in each direction
        again = results(lstm, x)
        assert recorded.calls == 2
    for one, other in zip([*first[0], *first[1]], [*again[0], *again[1]], strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_only_so_many_sizes_are_remembered(lstm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file: Any = file_of(lstm)
    monkeypatch.setattr(file, "MOST_MEMORIES", 3)
    for batch in (1, 2, 3, 1, 3):
        check_as_in_python(lstm, drawn(2, batch, 2))
        assert 0 < len(file.MEMORIES) <= 3
    newest = list(file.MEMORIES)[-1]
    results(lstm, drawn(2, 2, 2))
    assert newest in file.MEMORIES


def test_a_loop_in_one_kernel_keeps_nothing() -> None:
    module = shipped("lstm", 2, 3, loops="fused")
    file_of(module).MEMORIES.clear()
    with watched(module, "recorded") as recorded:
        for _ in range(3):
            results(module, drawn(4, 2, 2))
    assert recorded.calls == 0
    assert not file_of(module).MEMORIES


@on_a_gpu
def test_streams_have_memories_of_their_own(lstm: Any) -> None:
    x = [drawn(40, 2, 2, seed=number) for number in range(2)]
    with torch.no_grad():
        wanted = [_both(lstm, one)[1] for one in x]
        cuda: Any = torch.cuda
        streams = [cuda.Stream() for _ in x]
        cuda.synchronize()
        for _ in range(4):
            found = []
            for stream, one in zip(streams, x, strict=True):
                with cuda.stream(stream):
                    found.append(lstm(one)[0])
            cuda.synchronize()
            for one, other in zip(found, wanted, strict=True):
                check_close(one, other, 1e-5)


@on_a_gpu
def test_a_caller_may_record_a_graph(lstm: Any) -> None:
    x = drawn(10, 2, 2)
    with torch.no_grad():
        lstm(x)
        torch.cuda.synchronize()
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs, _ = lstm(x)
        for seed in range(3):
            x.copy_(drawn(10, 2, 2, seed=seed))
            graph.replay()
            check_close(outputs, _both(lstm, x)[1], 1e-5)


@on_a_gpu
def test_kernels_are_tuned_once() -> None:
    module = shipped("lstm", 64, 64, loops="fused", dtype=torch.bfloat16)
    x = drawn(5, 4, 64, dtype=torch.bfloat16)
    results(module, x)
    tuned = vars(file_of(module))["forward_0_fused"]
    assert len(tuned.configs) > 1
    assert tuned.cache
    many = len(tuned.cache)
    results(module, x)
    assert len(tuned.cache) == many
