"""A function with a derivative whose loops are Triton kernels, and the method that chooses it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from cellc.backends import pyast
from cellc.backends.axes import word
from cellc.backends.pyast import Blank, Block, Item, lines, quote_statements
from cellc.backends.torch_calls import LoopCalls
from cellc.backends.torch_derived import DerivedEmitter
from cellc.backends.torch_function import GradientFunction, static
from cellc.backends.torch_method import NONE, Method
from cellc.backends.triton.loop import DeviceLoop
from cellc.diagnostics import fail
from cellc.ir import Loop, Schedule
from cellc.syntax.characters import ascii_name


class DeviceLoops(LoopCalls):
    """Writes the regions of a function whose loops are calls of kernels."""

    scans_in_kernels = True
    made: list[DeviceLoop]

    def __init__(
        self, schedule: Schedule, known: dict[str, str] | None = None,
        taken: Iterable[str] = (), saved: Iterable[str] = (), listed: Iterable[str] = (),
    ) -> None:  # fmt: skip
        own = (f"{self.direction}_{number}" for number in range(len(schedule.loops)))
        super().__init__(schedule, known, [*taken, "loops", *own], saved, listed)

    def loop(self, region: Loop) -> list[Item]:
        """The call of a loop, which gives what is read of it and leaves the states."""
        always, saved = self.read_of(region)
        name = f"{self.direction}_{len(self.made)}"
        known = {n: self.ids[n].removesuffix("_all") for n, node in self.cell.nodes.items()
                 if node.op.leaf and n.isdigit()}  # fmt: skip
        made = DeviceLoop(self.schedule, region, name, always, saved, known)
        self.made.append(made)
        start = self.starts_of(region)
        self.region = None
        given = [self._given(made, name) for name in made.tensors.values()]
        options = [ast.unparse(self.option(option)) for option in self.cell.options]
        outputs = [self.whole(name) for name in made.outside.outputs]
        targets = [*outputs, *(self.ids[state] for state in region.carries)]
        self.region = region
        self.helpers |= {f"{made.name} {op}": text for op, text in made.helpers.items()}
        arguments = [
            word(region.axis, "sizes"), *self.cell.dims, *options, *given,
            "keep" if saved else "False", "training" if self.by_mode else "False", "loops",
        ]  # fmt: skip
        return [*start, *lines(f"{', '.join(targets)}, = {made.name}({', '.join(arguments)})")]

    def _given(self, made: DeviceLoop, name: str) -> str:
        """What a call gives for a value."""
        if name in (*made.loop.carries, *made.outside.shifts):
            return self.ids[name]
        value = self.reference(name)
        if name in made.outside.held:
            value = self.in_row_order(value, made.loop.axis)
        return ast.unparse(value)


class DerivedDeviceLoops(DeviceLoops, DerivedEmitter):
    """Writes the regions of a derivative whose loops are calls of kernels."""

    direction = "backward"

    def loop(self, region: Loop) -> list[Item]:
        return DeviceLoops.loop(self, region)


def loops_of(schedule: Schedule) -> list[DeviceLoop]:
    """The loops of a schedule and of its derivative. Raises CellcError ``missing-spelling``."""
    return DeviceFunction(schedule, "Kernels", NONE, "Function").loops


def _check_names(schedule: Schedule) -> None:
    """Raise CellcError where an input or a state is called what the method needs otherwise."""
    ways = [f"{way}_{n}" for way in ("forward", "backward") for n in range(len(schedule.loops))]
    cell = schedule.cell
    given = {ascii_name(name) for name in (*cell.inputs, *cell.states, *cell.leaves("draw"))}
    if taken := given.intersection([*_METHOD, *ways]):
        fail("missing-spelling", f"beside kernels nothing given can be called `{min(taken)}`")


#: What the method that chooses kernels calls its own variables, and the functions that it calls.
_METHOD = ("loops", "tensors", "given", "results", "runs_here", "as_autocast", "wants_slopes",
           "without_autocast")  # fmt: skip


class DeviceFunction(GradientFunction):
    """The function of a cell whose loops are kernels, and the method that chooses it.

    ``plain`` is the method for loops in Python, ``other`` the function with such.
    """

    forward_emitter, derived_emitter = DeviceLoops, DerivedDeviceLoops
    runs, keeps = "run", "keep_for_backward"

    def __init__(self, schedule: Schedule, name: str, plain: Method, other: str) -> None:
        self.plain, self.other = plain, other
        _check_names(schedule)
        super().__init__(schedule, name, "_run")

    @property
    def replay(self) -> str:
        return f"without_loops({self.other}.forward)"

    def _arranged(self, core: list[Item]) -> list[Item]:
        self.arguments.rest.append("loops")
        self.arguments.rest_passed.append("self.loops")
        return core

    def _backward(self) -> Item:
        """The gradients of all arguments; what autograd calls computes them without autocast."""
        found = super()._backward()
        assert isinstance(found, Block)
        assert isinstance(found.head, ast.FunctionDef)
        found.head.name = "slopes_of"
        body = lines(f"return without_autocast({self.name}.slopes_of, ctx, *slopes)")
        self.called_back = static("def backward(ctx, *slopes)", body)
        return found

    def _method(self, name: str) -> Method:
        """The method that runs rows in kernels where these can be used, else in Python."""
        arguments, plain, outputs = self.arguments, self.plain, len(self.outputs)
        states = [self.writer.ids[state] for state in self.writer.cell.states]
        looped = self._that_loops_need().replace("given", "tensors")
        names = ", ".join(arguments.rest_passed)
        own = tuple(dict.fromkeys([*arguments.own, *plain.arguments]))
        body = [
            pyast.docstring("Run rows, in kernels of the device where these can be used."),
            *(lines(f"{', '.join(states)}, = state") if states else []),
            *lines(
                f"""
                tensors = ({"".join(f"{each}, " for each in arguments.passed)})
                if not (self.derived and runs_here(self.kernels, tensors, self.loops)):
                    return {plain.call}
                if torch.compiler.is_compiling():
                    return torch.compiler.disable(self.{name})({", ".join([*own, "state"])})
                tensors = as_autocast(tensors)
                given = (*tensors, {names})
                if wants_slopes({looped}):
                    results = without_autocast({self.name}.apply, *given, True)
                else:
                    results = without_autocast({self.name}.{self.runs}, *given, False)
                return (results[:{outputs}], results[{outputs}:{outputs + len(states)}])
                """
            ),
        ]
        head = quote_statements(f"def {name}(self, {', '.join([*own, 'state'])}):\n    pass")[0]
        return Method(name, own, Block(head, tuple(body)))

    @property
    def writers(self) -> tuple[DeviceLoops, ...]:
        assert isinstance(self.writer, DeviceLoops)
        assert isinstance(self.derived, DeviceLoops)
        return (self.writer, self.derived)

    @property
    def loops(self) -> list[DeviceLoop]:
        """The loops of the cell and of its derivative."""
        return [loop for writer in self.writers for loop in writer.made]

    def items(self) -> list[Item]:
        """The statements of the emitted file: kernels, loops, and the function that calls them."""
        found = [item for loop in self.loops for item in loop.items()]
        first, *rest = self.block.body
        body = (first, Blank(), self.applied(), *rest, Blank(), self.called_back)
        return [*found, replace(self.block, body=body)]
