"""From a scheduled cell to statements; what the Python backends share."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Protocol, runtime_checkable

from cellc.backends import pyast
from cellc.backends.pyast import Item, Line, fill, quote, quote_statements
from cellc.backends.regions import RegionWriter, aligned
from cellc.backends.spelling import Speller, call_arguments, dimension
from cellc.ir import NOWHERE, AtConstruction, Cell, Dim, Extent, Schedule
from cellc.ops import TABLE
from cellc.syntax.characters import ascii_name


class Backend(Protocol):
    """Turns a scheduled cell into the text of one file."""

    @property
    def name(self) -> str: ...

    def emit(self, schedule: Schedule, source: Cell) -> str: ...


@runtime_checkable
class CompilesLoops(Backend, Protocol):
    """A backend whose classes can call compiled loops.

    Attributes:
        kernels: the choices that mean this, ``native`` and perhaps ``auto``.
        learns_starts: whether gradients go through starts that are computed.
    """

    @property
    def kernels(self) -> tuple[str, ...]: ...

    @property
    def learns_starts(self) -> bool: ...

    def emit_with_kernels(self, schedule: Schedule, source: Cell) -> tuple[str, str]: ...


@runtime_checkable
class RunsOnDevice(CompilesLoops, Protocol):
    """A backend whose classes can run as those of another on a GPU.

    Attributes:
        device: the name of the other.
    """

    @property
    def device(self) -> str: ...

    def emit_for_device(self, schedule: Schedule, source: Cell) -> tuple[str, str]: ...


class Emitter(RegionWriter):
    """Writes the statements of a schedule's regions, and what surrounds them.

    Attributes:
        arguments: the dimensions that the constructor takes.
        draws: what is drawn at every call, in the order in which it is drawn.
        computed: the states whose start is computed at every call, with its value.
        kept: the states that a call without a state carries on from.
    """

    def __init__(
        self,
        schedule: Schedule,
        speller: Speller,
        known: Mapping[str, str] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        super().__init__(schedule, speller, known, taken)
        cell = self.cell
        self.arguments = [a for a in cell.dims.values() if not a.fixed]
        self.draws = tuple(sorted(cell.leaves("draw")))
        starts = cell.values("start")
        extents = {state: cell.nodes[value].type.extent for state, value in starts.items()}
        self.computed = {s: v for s, v in starts.items() if extents[s] != NOWHERE}
        self.kept = [s for s in cell.states if dict(cell.nodes[s].attrs).get("kept")]

    @property
    def by_mode(self) -> bool:
        """Whether the cell does something else while training than otherwise."""
        ops = (TABLE[node.op.name] for node in self.cell.nodes.values())
        return bool(self.draws) or any(op.by_mode for op in ops)

    @property
    def over_sequences(self) -> bool:
        """Whether an op of the cell runs over whole sequences."""
        ops = (TABLE[node.op.name] for node in self.cell.nodes.values())
        return any(op.kind == "sequence" for op in ops)

    def output_extents(self) -> list[Extent]:
        """What each output varies along as the cell is written, which gives it its form.

        A pass may find that it varies along less.
        """
        cell = (self.schedule.written or self.schedule).cell
        return [cell.nodes[value].type.extent for value in cell.values("output").values()]

    @cached_property
    def traceable(self) -> dict[str, str]:
        """The values that a trace can show, by the name it shows them under.

        These are inputs, states and everything that has a name as the cell is written.
        """
        found = {}
        for region in self.schedule.regions:
            for name in region.values if not isinstance(region, AtConstruction) else ():
                node = self.cell.nodes[name]
                if node.op.name in ("input", "state") or not (node.op.leaf or name.isdigit()):
                    found[traced_name(name)] = name
        return found

    def fixed_lines(self) -> list[Item]:
        """``num_layers = 2`` for every dimension that is no argument of the constructor."""
        fixed = [argument for argument in self.cell.dims.values() if argument.fixed]
        return [Line(quote_statements(f"{a.name} = {a.default}")[0]) for a in fixed]

    def start_of(self, state: str) -> ast.expr:
        """The start of a state that is computed, with the dimensions of the state."""
        value = self.computed[state]
        inner, outer = self.cell.nodes[value].type.shape, self.cell.nodes[state].type.shape
        return aligned(self.reference(value), inner, outer, True)

    def dimension_lines(self, items: Iterable[Item]) -> list[Item]:
        """``H = self.hidden_size`` for every dimension that the items use."""
        used = pyast.names_in(items)
        return [
            Line(pyast.assign(dim, quote(f"self.{argument.name}")))
            for dim, argument in self.cell.dims.items()
            if dim in used
        ]

    def division_lines(self) -> list[Item]:
        """Clear errors where a dimension is a quotient that is not whole."""
        dims = [dim for node in self.cell.nodes.values() for dim in node.type.shape]
        pairs = dict.fromkeys(pair for dim in dims for pair in dim.divisions())
        return [
            line
            for dividend, divisor in pairs
            for line in pyast.lines(
                f"""
                if ({dividend.replace("^", "**")}) % ({divisor.replace("^", "**")}):
                    raise ValueError('{dividend}/{divisor} is no whole number')
                """
            )
        ]

    def size(self, dim: Dim) -> ast.expr:
        """A dimension through the constructor's arguments: ``self.hidden_size``."""
        return self._sized(dimension(dim))

    def _sized(self, value: ast.expr) -> ast.expr:
        """An expression over dimensions as one over the constructor's arguments."""
        return fill(value, **{d: quote(f"self.{a.name}") for d, a in self.cell.dims.items()})

    def state_shape(self, state: str, lead: str) -> ast.expr:
        """The shape of a state behind its batch, such as ``(batch, self.hidden_size)``."""
        dims = [ast.unparse(self.size(dim)) for dim in self.cell.nodes[state].type.shape]
        return quote(f"({', '.join([lead, *dims])},)")

    def start_value(self, state: str) -> ast.expr | None:
        """What a state starts with, without the constructor's variables; None for zero."""
        start = self.cell.values("start").get(state)
        if start is None:
            return None
        self.starting = True
        value = self._sized(self.initial_value(start))
        self.starting = False
        return value

    def initial_value(self, name: str) -> ast.expr:
        """An initial value as one expression, whatever regions its parts are in."""
        number = self.number(name)
        if number is not None:
            shared = name in self._shared_numbers() and not self.starting
            return pyast.name(self.ids[name]) if shared else number
        node = self.cell.nodes[name]
        if node.op.name in ("param", "option"):
            return self.reference(name)
        template = self.template(node)
        self._help(node)
        names = TABLE[node.op.name].operand_names(len(node.args))
        in_call = call_arguments(template)
        bindings: dict[str, pyast.Binding] = {}
        for placeholder, argument in zip(names, node.args, strict=True):
            value = self.initial_value(argument)
            if TABLE[node.op.name].kind in ("elementwise", "random"):
                outer = node.type.shape
                value = aligned(value, self.cell.nodes[argument].type.shape, outer, False)
            if placeholder in in_call and self.number(argument) is not None:
                value = self.call_argument(argument, value)
            bindings[placeholder] = value
        bindings |= {key: self.attribute(attribute) for key, attribute in node.attrs}
        return fill(template, **bindings)

    def initial_numbers(self) -> list[Item]:
        """Numbers that several initial values share, as variables."""
        numbers = self._shared_numbers().items()
        return [Line(pyast.assign(self.ids[name], number)) for name, number in numbers]

    def _shared_numbers(self) -> dict[str, ast.expr]:
        """The numbers that only the constructor computes and that have several uses."""
        cell = self.cell
        found: dict[str, ast.expr] = {}
        for region in self.schedule.regions:
            for name in region.values if isinstance(region, AtConstruction) else ():
                number = self.number(name)
                if number is not None and cell.uses[name] > 1 and cell.nodes[name].args:
                    found[name] = number
        return found

    def initial_order(self) -> list[str]:
        """Parameters, those first whose initial values others need."""
        order: list[str] = []
        values = self.cell.values("initial")

        def visit(param: str) -> None:
            if param in order:
                return
            pending, seen = [values[param]], set()
            while pending:
                name = pending.pop()
                seen.add(name)
                if name in values and name != param:
                    visit(name)
                pending.extend(a for a in self.cell.nodes[name].args if a not in seen)
            order.append(param)

        for param in values:
            visit(param)
        return order


def traced_name(name: str) -> str:
    """The name of a value in plain ASCII; a prime stays."""
    bare = name.rstrip("'")
    return ascii_name(bare) + name[len(bare) :]
