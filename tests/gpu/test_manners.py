"""A module with Triton kernels behaves as others do, and leaves to Python what it cannot run."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import cellc
from tests.gpu.modules import (
    DEVICE,
    WAYS,
    check_as_in_python,
    drawn,
    file_of,
    in_python,
    results,
    shipped,
    watched,
)
from tests.running import check_close, compiled

DOUBLE = torch.float64


@pytest.mark.parametrize("loops", WAYS)
@pytest.mark.parametrize("name", ["lstm", "gru", "layernorm_lstm", "ind_rnn"])
def test_no_sequences_have_gradients_of_zero(name: str, loops: str) -> None:
    module = shipped(name, 3, 4, loops=loops)
    module(drawn(2, 2, 3))[0].sum().backward()  # leaves numbers in memory that is free afterwards
    module.zero_grad()
    x = torch.empty(2, 0, 3, device=DEVICE, requires_grad=True)
    outputs, _ = module(x)
    outputs.sum().backward()
    assert outputs.shape == (2, 0, 4)
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert all(not p.grad.any() for p in module.parameters())


@pytest.mark.parametrize("loops", WAYS)
def test_one_step_one_sequence_and_batch_first(loops: str) -> None:
    module, x = shipped("lstm", 3, 4, loops=loops), drawn(3, 2, 3)
    check_as_in_python(module, drawn(1, 2, 3))
    outputs, (h, _) = module(x)
    one, (end, _) = module(x[:, 1])
    check_close(one, outputs[:, 1], 1e-5)
    check_close(end, h[1], 1e-5)
    module.batch_first = True
    check_close(module(x.transpose(0, 1))[0].transpose(0, 1), outputs, 1e-5)


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences_come_back_in_their_order(enforce_sorted: bool) -> None:
    module = shipped("lstm", 3, 4, loops="stepwise")
    lengths = (3, 2, 1) if enforce_sorted else (1, 3, 2)
    each = [drawn(length, 3, seed=length) for length in lengths]
    _, (h, c) = module(pack_sequence(each, enforce_sorted=enforce_sorted))
    for number, x in enumerate(each):
        _, (end, cell) = module(x)
        check_close(h[number], end, 1e-5)
        check_close(c[number], cell, 1e-5)


@pytest.mark.parametrize("loops", WAYS)
def test_gradients_are_those_of_the_numbers(loops: str) -> None:
    module = shipped("gru", 1, 2, loops=loops, dtype=DOUBLE)
    x = drawn(2, 1, 1, dtype=DOUBLE).requires_grad_()
    keys = [key for key, _ in module.named_parameters()]

    def run(x: torch.Tensor, *values: torch.Tensor) -> Any:
        return torch.func.functional_call(module, dict(zip(keys, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *module.parameters()), fast_mode=True)


@pytest.mark.parametrize("loops", WAYS)
def test_gradients_flow_a_second_time(loops: str) -> None:
    module = shipped("lstm", 1, 2, loops=loops, dtype=DOUBLE)
    x = drawn(2, 1, 1, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: module(x)[0], (x,), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("loops", WAYS)
def test_only_gradients_that_are_wanted_are_given(loops: str) -> None:
    module, x = shipped("lstm", 3, 4, loops=loops), drawn(2, 2, 3)
    with in_python(module):
        wanted = results(module, x)[1]
    module.requires_grad_(False)
    leaf = x.clone().requires_grad_()
    outputs, states = module(leaf)
    slopes = [drawn(*v.shape, seed=n) for n, v in enumerate((outputs, *states))]
    torch.autograd.backward((outputs, *states), slopes)
    check_close(leaf.grad, wanted[0], 1e-5)
    assert all(p.grad is None for p in module.parameters())
    module.W_g.requires_grad_(True)
    outputs, states = module(x)
    torch.autograd.backward((outputs, *states), slopes)
    names = [name for name, _ in module.named_parameters()]
    check_close(module.W_g.grad, wanted[1 + names.index("W_g")], 1e-5)


def test_a_part_of_the_results_may_be_used() -> None:
    module, x = shipped("lstm", 3, 4, loops="stepwise"), drawn(2, 2, 3).requires_grad_()
    for which in (0, 1):
        (found,) = torch.autograd.grad(module(x)[1][which].sum(), x)
        with in_python(module):
            (wanted,) = torch.autograd.grad(module(x)[1][which].sum(), x)
        check_close(found, wanted, 1e-5)


@pytest.mark.parametrize("derived", [True, False])
def test_without_gradients_nothing_is_kept(derived: bool) -> None:
    module, x = shipped("lstm", 3, 4), drawn(2, 2, 3)
    module.derived = derived
    with torch.no_grad():
        outputs, _ = module(x)
    assert outputs.grad_fn is None
    check_close(outputs, module(x)[0], 1e-6)


def test_kernels_run_unless_autograd_goes_through_the_loop() -> None:
    module, x = shipped("lstm", 3, 4, loops="stepwise"), drawn(2, 2, 3)
    with watched(module, "forward_0") as loop:
        module(x)
        assert loop.calls == 1
        with in_python(module):
            module(x)
        module.derived = False
        module(x)
        assert loop.calls == 1


@pytest.mark.parametrize("loops", WAYS)
def test_autocast_gives_what_it_gives_for_torchs_own(loops: str) -> None:
    module, x = shipped("lstm", 3, 4, loops=loops), drawn(2, 2, 3)
    theirs = nn.LSTM(3, 4, device=DEVICE)
    exact, _ = module(x)
    with torch.autocast(DEVICE, dtype=torch.bfloat16), watched(module, "forward_0") as loop:
        outputs, states = module(x)
        wanted, ends = theirs(x)
    assert loop.calls == 1
    assert outputs.dtype == wanted.dtype
    assert [s.dtype for s in states] == [s.dtype for s in ends]
    check_close(outputs.float(), exact, 2e-2)
    outputs.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in module.parameters())


def test_what_kernels_cannot_run_is_left_to_python() -> None:
    module, x = shipped("lstm", 3, 4), drawn(2, 2, 3)
    runs_here: Any = file_of(module).__dict__["runs_here"]
    assert runs_here("auto", (x, None, module.W_f))
    assert not runs_here("none", (x,))
    assert not runs_here("auto", (x, x.double()))
    assert not runs_here("auto", (x.to(torch.complex64),))
    inside = torch.func.vmap(lambda one: one * 0 + runs_here("auto", (x,)))(x)
    assert not inside.any()
    exact = copy.deepcopy(module).double()
    with torch.no_grad(), watched(module, "forward_0") as loop:
        module.double()
        outputs, _ = module(x.double())
        assert loop.calls == 1
        check_close(outputs, exact(x.double())[0], 1e-12)


def test_the_meta_device_has_shapes_alone() -> None:
    module = cellc.compile("lstm", target="triton")(3, 4, device="meta")
    outputs, (h, _) = module(torch.empty(2, 2, 3, device="meta"))
    assert outputs.shape == (2, 2, 4)
    assert h.device.type == "meta"


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
def test_torch_compiles_around_it() -> None:
    module, x = shipped("lstm", 3, 4, loops="stepwise"), drawn(2, 2, 3)
    wanted, wanted_slopes = results(module, x)
    found, slopes = results(torch.compile(module, backend="eager"), x)
    for one, other in zip([*found, *slopes], [*wanted, *wanted_slopes], strict=True):
        check_close(one, other, 1e-5)


def test_torch_exports_the_loop_in_python() -> None:
    module, x = shipped("lstm", 3, 4), drawn(2, 2, 3)
    exported: Any = torch.export.export(module, (x,))
    check_close(exported.module()(x)[0], module(x)[0], 1e-5)


def test_copies_and_pickles_have_kernels() -> None:
    module, x = shipped("lstm", 3, 4, loops="stepwise"), drawn(2, 2, 3)
    wanted, _ = module(x)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.loops == "stepwise"
        check_close(other(x)[0], wanted, 1e-6)
        with torch.no_grad():
            other.W_f.zero_()
        assert not torch.equal(other(x)[0], wanted)
        check_close(module(x)[0], wanted, 1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru_reset_after"])
def test_parameters_go_both_ways(name: str) -> None:
    ours, x = shipped(name, 3, 4, loops="stepwise"), drawn(2, 2, 3)
    theirs = compiled(cellc.load(name), "torch", "O2")(3, 4, device=DEVICE)
    theirs.load_state_dict(ours.state_dict())
    check_close(ours(x)[0], theirs(x)[0], 1e-5)
    other = type(theirs)(3, 4, device=DEVICE)
    ours.load_state_dict(other.state_dict())
    check_close(ours(x)[0], other(x)[0], 1e-5)
    check_close(ours.to_torch()(x)[0], other(x)[0], 1e-5)


@pytest.mark.parametrize("attribute", ["kernels", "loops"])
@pytest.mark.parametrize("name", ["lstm", "ind_rnn"])
def test_unknown_choices_are_refused(name: str, attribute: str) -> None:
    module = shipped(name, 3, 4)
    setattr(module, attribute, "fast")
    with pytest.raises(ValueError, match=f"{attribute} is 'fast', not 'auto'"):
        module(drawn(2, 2, 3))


def test_wrong_sizes_are_said_clearly() -> None:
    with pytest.raises(ValueError, match=r"x has the size \(9,\), not \(3,\)"):
        shipped("lstm", 3, 4)(drawn(2, 2, 9))
    with pytest.raises(ValueError, match="at least one step"):
        shipped("lstm", 3, 4)(drawn(0, 2, 3))


def test_an_input_changed_before_the_backward_pass_is_noticed() -> None:
    module, x = shipped("lstm", 3, 4, loops="stepwise"), drawn(2, 2, 3)
    outputs, _ = module(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_inputs_need_not_lie_in_one_piece() -> None:
    module = shipped("lstm", 3, 4, loops="stepwise")
    wide = drawn(2, 2, 6)
    check_close(module(wide[..., ::2])[0], module(wide[..., ::2].contiguous())[0], 1e-6)
    state = tuple(drawn(4, 2, seed=n).T for n in range(2))
    given = tuple(s.contiguous() for s in state)
    check_close(module(wide[..., :3], state)[0], module(wide[..., :3], given)[0], 1e-6)


def test_distributed_training(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        module, x = shipped("lstm", 3, 4, loops="stepwise"), drawn(2, 2, 3)
        twin = nn.parallel.DistributedDataParallel(copy.deepcopy(module))
        twin(x)[0].sum().backward()
        module(x)[0].sum().backward()
        for a, b in zip(twin.module.parameters(), module.parameters(), strict=True):
            check_close(a.grad, b.grad, 1e-6)
        del twin  # the group must not go with it: torch then waits for its own threads for ever
    finally:
        torch.distributed.destroy_process_group()
