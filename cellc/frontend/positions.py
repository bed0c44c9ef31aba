"""Along which axes with positions each name of a model varies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from cellc.frontend.model import Model
from cellc.frontend.order import layer_names
from cellc.ir.types import NOWHERE, Extent
from cellc.syntax import tree

#: Where a value stands: its position, from 1, along each axis.
Position = Mapping[str, int]

#: Functions that gather a value from the positions of an axis.
GATHERING = ("last", "first", "all")


def axes_with_positions(model: Model) -> dict[str, tree.Axis]:
    """The axes that have a length, in the order declared."""
    return {name: axis for name, axis in model.axes.items() if axis.length is not None}


def length_of(model: Model, axis: str) -> int:
    """The number of positions of an axis that has a length."""
    length = model.axes[axis].length
    if isinstance(length, tree.Number):
        return int(length.value)
    assert isinstance(length, tree.Name)
    return model.dims[length.name].default or 1


def travelling(model: Model) -> dict[str, str]:
    """The states that travel along an axis with positions, and that axis."""
    axes = axes_with_positions(model)
    return {s.name: s.along[0] for s in model.of_kind("state") if s.along and s.along[0] in axes}


class Extents:
    """The axes with positions along which each name varies.

    The smallest solution: inputs and travelling states vary along their own axes, and a
    value along those of everything it reads. ``params`` holds the same for parameters,
    which are tied along the axes that say so.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.axes = model, axes_with_positions(model)
        self.travels = travelling(model)
        self.of: dict[str, Extent] = {}
        for declaration in model.declarations.values():
            own = [axis for axis in declaration.along if axis in self.axes]
            self.of[declaration.name] = frozenset(own)
        changing = True
        while changing:
            before = dict(self.of)
            self._propagate()
            changing = before != self.of
        self._place_parameters()

    def entry(self, state: str) -> Extent:
        """Along which axes the value varies that a travelling state enters with."""
        initial = self.model.declarations[state].initial
        return NOWHERE if initial is None else self.read(initial)

    def read(self, expression: tree.Expression) -> Extent:
        """Along which axes an expression varies."""
        if isinstance(expression, tree.Name):
            return self.of.get(expression.name, NOWHERE)
        inner = _union(self.read(part) for part in tree.operands(expression))
        if isinstance(expression, tree.Call):
            inner |= self.of.get(expression.function, NOWHERE)
            axis = self.gathered(expression)
            return inner - {axis} if axis is not None else inner
        if isinstance(expression, tree.Flow):
            return inner | _union(
                self.of.get(name, NOWHERE) for name in layer_names(expression.layer, self.model)
            )
        return inner

    def gathered(self, call: tree.Call) -> str | None:
        """The axis with positions that `last(v)`, `first(v)` or `all(v, axis)` gathers."""
        if call.function not in GATHERING or not call.args:
            return None
        if len(call.args) > 1:
            axis = call.args[1]
            return axis.name if isinstance(axis, tree.Name) and axis.name in self.axes else None
        value = call.args[0]
        if isinstance(value, tree.Name):
            return self.travels.get(value.name.removesuffix("'"))
        return None

    def places(self, extent: Iterable[str]) -> list[dict[str, int]]:
        """Every position along some axes, in order."""
        names = [axis for axis in self.axes if axis in set(extent)]
        ranges = [range(1, self.length(name) + 1) for name in names]
        return [dict(zip(names, numbers, strict=True)) for numbers in product(*ranges)]

    def length(self, axis: str) -> int:
        """The number of positions of an axis."""
        return length_of(self.model, axis)

    def untied(self, extent: Extent) -> Extent:
        """The axes along which each position has parameters of its own."""
        return frozenset(axis for axis in extent if not self.axes[axis].tied)

    def _propagate(self) -> None:
        model = self.model
        for name, function in model.functions.items():
            self.of[name] = self.read(function.body)
        for target, equation in model.equations.items():
            own = self.travels.get(target.removesuffix("'")) if target.endswith("'") else None
            self.of[target] = self.read(equation.value) | ({own} if own else set())
        for state in model.of_kind("state"):
            along = {self.travels[state.name]} if state.name in self.travels else set()
            following = self.of.get(f"{state.name}'", NOWHERE)
            entering = self.entry(state.name) if along else NOWHERE
            self.of[state.name] = following | entering | along

    def _place_parameters(self) -> None:
        """A parameter has a set for each position that all its users have in common."""
        model = self.model
        users: dict[str, list[Extent]] = {}

        def note(value: tree.Expression, extent: Extent) -> None:
            for part in tree.walk(value):
                if isinstance(part, tree.Name) and self._is_parameter(part.name):
                    users.setdefault(part.name, []).append(extent)

        for function in model.functions.values():
            note(function.body, self.of[function.name])
        for target, equation in model.equations.items():
            note(equation.value, self.of[target])
        for state in model.of_kind("state"):
            if state.initial is not None:
                own = state.name in self.travels
                note(state.initial, self.entry(state.name) if own else self.of[state.name])
        waiting = [name for name in (*model.declarations, *model.implied) if name in users]
        while waiting:
            name = waiting.pop()
            common = frozenset.intersection(*users[name])
            self.of[name] = self.untied(common)
            initial = getattr(model.declarations.get(name), "initial", None)
            for part in tree.walk(initial) if initial is not None else ():
                if isinstance(part, tree.Name) and self._is_parameter(part.name):
                    others = users.setdefault(part.name, [])
                    if common not in others:
                        others.append(common)
                        waiting.append(part.name)

    def _is_parameter(self, name: str) -> bool:
        declaration = self.model.declarations.get(name)
        return name in self.model.implied or (
            declaration is not None and declaration.kind == "param"
        )


def _union(extents: Iterable[Extent]) -> Extent:
    return frozenset(axis for extent in extents for axis in extent)
