"""Which class runs a call: that of torch, or on a GPU that of the file with Triton kernels."""

from __future__ import annotations

import ast
import linecache
import pickle
import sys
from typing import Any

import pytest
import torch

import cellc
from cellc import ops
from cellc.backends.torch_helpers import HELPERS
from cellc.backends.triton.function import loops_of
from cellc.backends.triton.report import report
from cellc.diagnostics import CellcError
from cellc.kernels import device
from cellc.kernels.sources import GPU, definitions, needed
from cellc.loading import class_from
from cellc.ops import TABLE
from cellc.ops.op import Op
from cellc.passes.plan import for_device, plan


def auto(monkeypatch: pytest.MonkeyPatch, name: str = "gru", scan: str = "auto") -> type[Any]:
    """The class for torch as it is made where there is a GPU; tensors are taken to be there."""
    monkeypatch.setenv("CELLC_KERNELS", "auto")
    if not torch.cuda.is_available():
        monkeypatch.setattr(device, "_on_gpu", lambda given: iter([True]))
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: True)
            return cellc.compile(name, scan=scan)
    return cellc.compile(name, scan=scan)


def here() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def runs_of(module: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the loops that are called from now on."""
    called: list[str] = []
    other = sys.modules[type(module).__module__].DEVICE
    found = vars(sys.modules[class_from(other, type(module).__name__).__module__])
    for name in ("forward_0", "backward_0"):
        plain = found[name]

        def noted(*given: Any, name: str = name, plain: Any = plain) -> Any:
            called.append(name)
            return plain(*given)

        monkeypatch.setitem(found, name, noted)
    return called


def test_on_a_gpu_the_class_for_torch_runs_triton_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    module = auto(monkeypatch)(3, 5, device=here())
    x = torch.randn(6, 2, 3, device=here(), requires_grad=True)
    called = runs_of(module, monkeypatch)
    y, _ = module(x)
    y.sum().backward()
    assert called == ["forward_0", "backward_0"]
    found, x.grad = x.grad, None
    module.kernels = "none"
    wanted, _ = module(x)
    wanted.sum().backward()
    assert called == ["forward_0", "backward_0"]
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(found, x.grad)


def test_the_class_is_pickled_with_both_files(monkeypatch: pytest.MonkeyPatch) -> None:
    module = auto(monkeypatch)(3, 5, device=here())
    other = pickle.loads(pickle.dumps(module))
    called = runs_of(other, monkeypatch)
    x = torch.randn(6, 2, 3, device=here())
    torch.testing.assert_close(other(x)[0], module(x)[0])
    assert "forward_0" in called


def test_without_triton_calls_run_in_python_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = auto(monkeypatch, "rnn")
    module, x = compiled(3, 7, device=here()), torch.randn(6, 2, 3, device=here())
    monkeypatch.setattr("cellc.kernels.device.class_from", _without_triton)
    with pytest.warns(UserWarning, match="Triton is not installed"):
        module(x)
    module(x)  # once is enough
    module.kernels = "triton"
    with pytest.raises(CellcError, match="Triton is not installed"):
        module(x)


def _without_triton(*given: Any) -> Any:
    raise ModuleNotFoundError("No module named 'triton'", name="triton")


@pytest.mark.parametrize("scan", ["auto", "always"])
def test_what_kernels_cannot_run_is_run_in_python(
    scan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the class has nothing compiled of its own, as with scans always."""
    module = auto(monkeypatch, "min_gru", scan)(3, 5, device=here())
    x = torch.randn(6, 2, 3, device=here())

    def total(x: torch.Tensor) -> torch.Tensor:
        return module(x)[0].sum()  # type: ignore[no-any-return]

    found = torch.func.grad(total)(x)
    wanted = torch.autograd.grad(total(given := x.clone().requires_grad_()), given)[0]
    torch.testing.assert_close(found, wanted)


def test_kernels_can_be_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLC_KERNELS", "")
    compiled = cellc.compile("gru", kernels="triton")
    assert compiled is cellc.compile("gru", target="triton")


def test_names_of_what_files_contain_are_all_different() -> None:
    others = set(HELPERS)
    for op in TABLE.values():
        body = ast.parse(op.helpers.get("torch", "")).body
        others |= {part.name for part in body if isinstance(part, ast.FunctionDef)}
    own = [name for module in GPU for name in definitions(module)]
    assert len(own) == len(set(own))
    assert others.isdisjoint(own)


def test_files_contain_what_they_need_and_no_more() -> None:
    found = needed(("gpu/numbers",), {"mean", "standardize"})
    names = [part.name for part in found if isinstance(part, ast.FunctionDef)]
    assert names == ["total", "standardize"]


def told(name: str, scan: str = "auto", **sizes: int) -> str:
    made = for_device(plan(cellc.load(name), "O2", "balanced", False, scan, apart=True))
    assert made.compiled is not None
    return "\n".join(report(loops_of(made.compiled), sizes))


def test_the_shapes_of_loops_are_told() -> None:
    large, small = told("lstm", I=768, H=768), told("lstm", I=64, H=64)
    assert "launches 1 product and 1 kernel for each step: 75.5 MFLOP in products" in large
    assert "4.72 MB of weights" in large
    assert "too many to run inside one kernel" in large
    assert "Its weights are 32 KiB for a program that keeps them, so it runs inside one" in small
    assert "is a scan in one kernel" in told("min_gru", I=8, H=8)
    assert "inside one kernel, each place by itself" in told("min_gru", "never", I=8, H=8)
    assert "2 operations of torch" in told("gated_feedback_rnn", I=8, H=8)
    assert "It cannot run inside one kernel" in told("gated_feedback_rnn", I=8, H=8)


def test_an_op_that_triton_cannot_write_is_computed_by_torch() -> None:
    spellings = {"torch": "torch.asinh(a)"}
    op = Op("slow_sinh", "The inverse of sinh.", "elementwise", ("a",), spelling="xp.arcsinh(a)",
            spellings=spellings, derivative=("g/sqrt(1 + a^2)",))  # fmt: skip
    ops.register(op)
    try:
        cell = cellc.parse("cell c\ninput x[H]\nstate h[H]\nh' = slow_sinh(U·h + x)\noutput h'")
        module = cellc.compile(cell, target="triton")(4, seed=1, device=here())
    finally:
        ops.unregister("slow_sinh")
    assert "torch.asinh(m." in "".join(linecache.getlines(module.forward.__code__.co_filename))
    x = torch.randn(5, 2, 4, device=here(), requires_grad=True)
    found = torch.autograd.grad(module(x)[0].sum(), [x, *module.parameters()])
    module.kernels = "none"
    wanted = torch.autograd.grad(module(x)[0].sum(), [x, *module.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
