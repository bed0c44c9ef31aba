"""Axes with positions, taken apart: every value becomes one value for each position.

What travels along such an axis is no state any more: the value that leaves one position
enters the next, and what stands after ``=`` enters the first. A state of time has a state
at every position. So everything after this sees a flat cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from cellc.diagnostics import Collector, Diagnostic, fail
from cellc.frontend import special
from cellc.frontend.model import Implied, Model
from cellc.frontend.order import changed_flow
from cellc.frontend.positions import GATHERING, Extents, Position
from cellc.frontend.rename import rename_in
from cellc.frontend.suggest import did_you_mean
from cellc.ir.types import Extent
from cellc.syntax import tree

MOST_POSITIONS = 1000


def unroll(model: Model, found: Collector) -> Model:
    """The model without axes that have positions.

    Reports axes that are declared nowhere and outputs that vary along one.
    """
    _check_axes(model, found)
    found.raise_if_any()
    _check_gathering(model, found)
    found.raise_if_any()
    model = _with_own_parameters(model)
    extents = Extents(model)
    if not extents.axes:
        return model
    if prod(extents.length(axis) for axis in extents.axes) > MOST_POSITIONS:
        message = f"the axes of the cell have more than {MOST_POSITIONS:,} positions"
        fail("too-large", message, model.span)
    _check_outputs(model, extents, found)
    found.raise_if_any()
    return _Unrolling(model, extents).run()


def _check_gathering(model: Model, found: Collector) -> None:
    """What stands behind the comma of `last(v, axis)` is an axis."""
    for value in (*(e.value for e in model.equations.values()), *model.outputs):
        for part in tree.walk(value):
            if isinstance(part, tree.Call) and part.function in GATHERING and len(part.args) == 2:
                axis = part.args[1]
                known = [*model.axes, "time"]
                if not isinstance(axis, tree.Name) or axis.name not in known:
                    text = " ".join(axis.span.text.split())
                    hints = (f"the axes are {', '.join(f'`{name}`' for name in known)}",)
                    found.add(Diagnostic("unknown-axis", f"`{text}` is no axis", axis.span,
                                         hints=hints))  # fmt: skip


def _with_own_parameters(model: Model) -> Model:
    """The parameters of small functions under names that nothing else can have."""
    functions = {}
    for name, function in model.functions.items():
        own = {parameter: f"{parameter} of {name}" for parameter in function.parameters}
        body = rename_in(function.body, own, {})
        functions[name] = replace(function, parameters=tuple(own.values()), body=body)
    return replace(model, functions=functions)


def _check_axes(model: Model, found: Collector) -> None:
    for axis in model.axes.values():
        if axis.name in ("time", "batch"):
            message = f"an axis cannot be called `{axis.name}`"
            hint = "every cell has this axis already"
            found.add(Diagnostic("reserved-name", message, axis.span, hints=(hint,)))
    known = [*model.axes, "time"]
    for declaration in model.declarations.values():
        for name in declaration.along:
            if name not in known:
                message = f"the axis `{name}` is declared nowhere"
                hints = did_you_mean(name, known) or (f"declare it: `axis {name}[L]`",)
                found.add(Diagnostic("unknown-axis", message, declaration.span, hints=hints))
    found.raise_if_any()
    used = {axis for d in model.declarations.values() for axis in d.along}
    for axis in model.axes.values():
        if axis.name in model.own and axis.name not in used:
            message = f"nothing travels or varies along the axis `{axis.name}`"
            found.add(Diagnostic("unused-definition", message, axis.span))


def _check_outputs(model: Model, extents: Extents, found: Collector) -> None:
    for output in model.outputs:
        along = sorted(extents.read(output))
        if along:
            message = f"the output has a value at every position of the axis `{along[0]}`"
            gathering = isinstance(output, tree.Call) and output.function in ("last", "first")
            shown = output.args[0] if isinstance(output, tree.Call) and gathering else output
            text = " ".join(shown.span.text.split())
            hints = (f"`last({text}, {along[0]})` is what leaves at the far side",
                     f"`all({text}, {along[0]})` holds the values of all positions")  # fmt: skip
            found.add(Diagnostic("varies-along-axis", message, output.span, hints=hints))


class _Unrolling:
    """Writes the instances of one model."""

    def __init__(self, model: Model, extents: Extents) -> None:
        self.model, self.extents = model, extents
        self.entries: dict[str, tree.Equation] = {}
        self.origins: dict[str, str] = {}
        self.places: dict[str, tuple[int, ...]] = {}

    def run(self) -> Model:
        model = self.model
        equations = {e.target: e for e in self._equations()}
        functions = {f.name: f for f in self._functions()}
        declarations = {d.name: d for d in self._declarations()}
        outputs = tuple(self.placed(output, {}) for output in model.outputs)
        implied = {p.name: p for p in self._implied()}
        return replace(
            model,
            declarations=declarations,
            functions=functions,
            equations=self.entries | equations,
            implied=implied,
            outputs=outputs,
            axes={name: axis for name, axis in model.axes.items() if axis.length is None},
            own=frozenset(),
            places=self.places,
        )

    def instance(self, name: str, place: Position, extent: Extent | None = None) -> str:
        """What a name is called at a position: ``f`` at depth 2 is ``f_2``."""
        extent = self.extents.of.get(name, frozenset()) if extent is None else extent
        prime = "'" if name.endswith("'") else ""
        stem = name.removesuffix("'")
        if stem in self.extents.travels:
            prime = ""
        numbers = [str(place[axis]) for axis in self.extents.axes if axis in extent]
        made = "_".join([stem, *numbers])
        self._claim(made, stem)
        if set(extent) >= set(self.extents.axes):
            self.places[made] = tuple(place[axis] for axis in self.extents.axes)
        return made + prime

    def _claim(self, made: str, origin: str) -> None:
        """Two values must not have one name, of which one is a name at a position."""
        other = self.origins.setdefault(made, origin)
        if other != origin:
            shorter, longer = sorted((origin, other), key=len)
            message = f"`{made}` is what `{shorter}` is called at a position; choose another name"
            fail("duplicate-name", message, self.model.span_of(longer))

    def placed(self, expression: tree.Expression, place: Position) -> tree.Expression:
        """An expression as it reads at one position."""
        extents, functions = self.extents, self.model.functions
        match expression:
            case tree.Name(name=name) if name in extents.travels:
                return self._arriving(expression, place)
            case tree.Name(name=name):
                return replace(expression, name=self.instance(name, place))
            case tree.Call() if (axis := extents.gathered(expression)) is not None:
                return self._gathered(expression, axis, place)
            case tree.Call(function=function) if extents.of.get(function):
                expression = replace(expression, function=self.instance(function, place))
            case tree.Flow():
                expression = changed_flow(
                    expression,
                    lambda name: self.instance(name, place) if name in functions else name,
                    lambda part: self.placed(part, place),
                )
            case tree.Pick(targets=targets):
                names = tuple(self.instance(target, place) for target in targets)
                expression = replace(expression, targets=names)
        return tree.changed(expression, lambda part: self.placed(part, place))

    def _arriving(self, state: tree.Name, place: Position) -> tree.Expression:
        """What a travelling state brings to a position."""
        axis = self.extents.travels[state.name]
        if place[axis] > 1:
            before = {**place, axis: place[axis] - 1}
            return replace(state, name=self.instance(f"{state.name}'", before))
        entering = self.model.declarations[state.name].initial
        if isinstance(entering, tree.Name):
            return self.placed(entering, place)
        extent = self.extents.entry(state.name)
        name = self.instance(state.name, {**place, axis: 0}, extent | {axis})
        if name not in self.entries:
            self.entries[name] = self._entry(state.name, name, place)
        return replace(state, name=name)

    def _entry(self, state: str, name: str, place: Position) -> tree.Equation:
        """The equation of what enters at the near side; zero unless it is stated."""
        declaration = self.model.declarations[state]
        span = declaration.span
        if declaration.initial is None:
            if declaration.shape is None:
                message = f"nothing determines the shape of `{state}`"
                hints = (f"state it: `state {state}[H] along …`",)
                fail("unknown-shape", message, span, hints=hints)
            return tree.Equation(name, declaration.shape, tree.Call("zeros", (), span, span), span)
        value = self.placed(declaration.initial, place)
        if isinstance(value, tree.Number):
            value = tree.Call("add", (tree.Call("zeros", (), span, span), value), span, span)
        label = self.instance(state, {**place, self.extents.travels[state]: 0},
                              self.extents.untied(self.extents.entry(state)))  # fmt: skip
        return tree.Equation(name, declaration.shape, value, span, label=label)

    def _gathered(self, call: tree.Call, axis: str, place: Position) -> tree.Expression:
        """`last` and `first` as the value at one position, `all` as those of every one."""
        if len(call.args) > 2 or call.keywords:
            message = f"`{call.function}` takes a value and an axis"
            fail("wrong-argument-count", message, call.span)
        value, length = call.args[0], self.extents.length(axis)
        if axis not in self.extents.read(value):
            text = " ".join(value.span.text.split())
            message = f"`{text}` does not vary along the axis `{axis}`"
            fail("constant-along-axis", message, call.span)
        if call.function != "all":
            return self.placed(value, {**place, axis: 1 if call.function == "first" else length})
        parts = [self.placed(value, {**place, axis: k}) for k in range(1, length + 1)]
        dim = self.extents.axes[axis].length
        assert dim is not None
        return replace(call, function=special.STACK, args=(dim, *parts))

    def _equations(self) -> Iterator[tree.Equation]:
        for equation in self.model.equations.values():
            extent = self.extents.of[equation.target]
            stem = equation.target.removesuffix("'")
            shape = equation.shape
            if stem in self.extents.travels and equation.target.endswith("'") and shape is None:
                shape = self.model.declarations[stem].shape
            for place in self.extents.places(extent):
                own = self.instance("", place, self.extents.untied(extent)).lstrip("_")
                yield replace(
                    equation,
                    target=self.instance(equation.target, place),
                    shape=shape,
                    value=self.placed(equation.value, place),
                    label="_".join(part for part in (stem, own) if part),
                    place=own,
                )
        yield from self._slices()

    def _slices(self) -> Iterator[tree.Equation]:
        """The part of an input that each position sees."""
        for declaration in self.model.of_kind("input"):
            extent = self.extents.of[declaration.name]
            span = declaration.span
            for place in self.extents.places(extent) if extent else ():
                value: tree.Expression = tree.Name(declaration.name, span)
                for axis in self.extents.axes:
                    if axis in extent:
                        index = tree.Number(float(place[axis] - 1), span)
                        value = tree.Call(special.AT, (value, index), span, span)
                name = self.instance(declaration.name, place)
                yield tree.Equation(name, None, value, span)

    def _functions(self) -> Iterator[tree.Function]:
        for function in self.model.functions.values():
            for place in self.extents.places(self.extents.of[function.name]):
                yield replace(
                    function,
                    name=self.instance(function.name, place),
                    body=self.placed(function.body, place),
                )

    def _declarations(self) -> Iterator[tree.Declaration]:
        states: list[tuple[tuple[int, ...], tree.Declaration]] = []
        for declaration in self.model.declarations.values():
            if declaration.kind == "input":
                yield self._input(declaration)
            elif declaration.kind != "state":
                yield from self._instances(declaration)
            elif declaration.name not in self.extents.travels:
                places = self.extents.places(self.extents.of[declaration.name])
                made = self._instances(declaration)
                states += [(tuple(p.values()), d) for p, d in zip(places, made, strict=True)]
        yield from (state for _, state in sorted(states, key=lambda pair: pair[0]))

    def _instances(self, declaration: tree.Declaration) -> Iterator[tree.Declaration]:
        for place in self.extents.places(self.extents.of[declaration.name]):
            initial = declaration.initial and self.placed(declaration.initial, place)
            name = self.instance(declaration.name, place)
            yield replace(declaration, name=name, initial=initial)

    def _input(self, declaration: tree.Declaration) -> tree.Declaration:
        """An input along an axis has that axis as a dimension."""
        along = [axis for axis in self.extents.axes if axis in self.extents.of[declaration.name]]
        lengths = [self.extents.axes[axis].length for axis in along]
        shape = (*(length for length in lengths if length), *(declaration.shape or ()))
        rest = tuple(axis for axis in declaration.along if axis not in self.extents.axes)
        return replace(declaration, shape=shape, along=rest)

    def _implied(self) -> Iterator[Implied]:
        for parameter in self.model.implied.values():
            for place in self.extents.places(self.extents.of.get(parameter.name, frozenset())):
                yield replace(parameter, name=self.instance(parameter.name, place))
