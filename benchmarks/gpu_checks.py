"""Whether what a GPU computes is right: against float64, and twice the same."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch
from gpu_cells import Pass, configured, inputs_of, module_of
from gpu_grids import Point
from gpu_records import Check
from torch import Tensor

#: The largest errors, relative to the largest number of a tensor. In 16 bits a gradient is a sum
#: of many rounded numbers, and some cells magnify what is lost: there, twice the error of the plain
#: loop with the same numbers will do.
BOUNDS = {
    "fp32": {"outputs": 1e-5, "states": 1e-5, "gradients": 1e-5},
    "bf16": {"outputs": 1e-2, "states": 1e-2, "gradients": 5e-2},
    "fp16": {"outputs": 2e-3, "states": 2e-3, "gradients": 1e-2},
}
ALLOWED_OF_PLAIN = 2

Results = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Checker:
    """Checks points on a device."""

    device: torch.device

    def check(self, point: Point) -> Check:
        """A point's outputs, last states and gradients."""
        begin = perf_counter()
        own = Pass(module_of(point, self.device), inputs_of(point, self.device))
        found, again = results(own), results(own)
        same = all(
            torch.equal(a, b)
            for name, values in found.items()
            for a, b in zip(values, again[name], strict=True)
        )
        truth = results(self._exact(point, own))
        errors, bounds = differences(found, truth), BOUNDS[point.number]
        plain: dict[str, float] = {}
        if point.number != "fp32":
            plain = differences(results(self._plain(point, own)), truth)
        allowed = {
            name: max(bound, ALLOWED_OF_PLAIN * plain.get(name, 0))
            for name, bound in bounds.items()
        }
        right = all(errors[name] <= allowed[name] for name in bounds)
        seconds = perf_counter() - begin
        return Check(point, errors, allowed, plain, same, right and same, seconds)

    def _exact(self, point: Point, own: Pass) -> Pass:
        """The plain loop in float64, with the very numbers of a module."""
        module = module_of(point, self.device, torch.float64)
        inputs = [v.detach().double().requires_grad_(v.requires_grad) for v in own.inputs]
        return _same_numbers(Pass(configured(module, kernels="none", derived=False), inputs), own)

    def _plain(self, point: Point, own: Pass) -> Pass:
        """The plain loop in the type of a module."""
        module = configured(module_of(point, self.device), kernels="none", derived=False)
        return _same_numbers(Pass(module, own.inputs), own)


def _same_numbers(other: Pass, own: Pass) -> Pass:
    """A pass whose module has the parameters of another one's."""
    other.module.load_state_dict(own.module.state_dict())
    return other


def results(one: Pass) -> Results:
    """Outputs, last states, and the gradients of random sums of both; outputs without them too.

    The weights of the sums are eighths, which all types of numbers have.
    """
    outputs, states = one.results()
    source = torch.Generator().manual_seed(1)
    slopes = [
        torch.randint(-8, 9, value.shape, generator=source).to(value.device, value.dtype) / 8
        for value in (outputs, *states)
    ]
    gradients = torch.autograd.grad([outputs, *states], one.wanted, slopes)
    kept = {"outputs": [outputs, one.forward()], "states": states, "gradients": list(gradients)}
    return {name: [value.detach() for value in values] for name, values in kept.items()}


def differences(found: Results, truth: Results) -> dict[str, float]:
    """The largest error of each kind, relative to the largest number of its tensor."""
    return {
        name: max(difference(a, b) for a, b in zip(values, truth[name], strict=True))
        for name, values in found.items()
    }


def difference(found: Tensor, truth: Tensor) -> float:
    """The largest error, relative to the largest number; infinite where one is not a number."""
    largest = truth.abs().max().item()
    error = (found.double() - truth).abs().max().item()
    return float(error / largest if largest else error) if error == error else float("inf")
