"""Expressions to nodes, with shapes inferred in both directions.

Known shapes flow up from operands; the shape that a place asks for flows down and gives
undeclared parameters theirs.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

from cellc.diagnostics import CellcError, Diagnostic, fail
from cellc.frontend import special
from cellc.frontend.builder import Builder
from cellc.frontend.clashes import check_reading, clash
from cellc.frontend.model import USUAL_DIMENSIONS, Model
from cellc.frontend.order import has_stated_shape
from cellc.frontend.shapes import shape_of
from cellc.frontend.structure import Structure
from cellc.frontend.suggest import did_you_mean
from cellc.frontend.weights import Weights
from cellc.ir import BATCH, NOWHERE, TIME, Dim, Type, TypeMismatch
from cellc.ir.types import Shape, sequence_axis, shape_text
from cellc.ops import find, function_names
from cellc.syntax import tree

_SCALAR = Type((), NOWHERE)

LONGEST_LAG = 1000
MOST_APPLICATIONS = 10_000
DEEPEST_APPLICATION = 20


class Applications(Protocol):
    """What lowers applied cells and layers; see :mod:`cellc.frontend.layers`."""

    def call(self, call: tree.Call) -> str | None: ...
    def pick(self, pick: tree.Pick, wanted: Shape | None) -> str: ...
    def flow(self, flow: tree.Flow) -> str: ...


class _Skip(CellcError):
    """Raised where an operand's own error has been reported already."""


class Lowering:
    """Lowers the equations of one model into a builder.

    ``values`` maps names of the language to nodes; ``poisoned`` holds targets whose
    equation is faulty, so that one mistake is reported once.
    """

    def __init__(
        self,
        model: Model,
        builder: Builder,
        agreed: Shape | None,
        structures: dict[str, Structure],
    ) -> None:
        self.model, self.builder, self.agreed = model, builder, agreed
        self.values: dict[str, str] = {}
        self.weights = Weights(model, builder, self.values, structures)
        self.poisoned: set[str] = set()
        self.delays: dict[str, str] = {}
        self.layers: Applications
        self.bound: tuple[str, str] | None = None
        self.enter("output")
        self._calls: list[str] = []
        self._applications = 0

    def declare(self, name: str, type_: Type) -> None:
        """Add the leaf of a declaration."""
        declaration = self.model.declarations[name]
        attrs: dict[str, float] = dict(self.weights.attributes(name))
        if declaration.kind == "option":
            attrs["default"] = _literal(declaration)
        self.values[name] = self.builder.leaf(declaration.kind, name, type_, **attrs)

    def define(self, equation: tree.Equation) -> None:
        """Lower one equation and give its value the equation's name."""
        self.enter(equation.target, equation.label, equation.place)
        wanted = self._stated_shape(equation)
        value = self.lower(equation.value, wanted)
        have = self.builder.nodes[value].type.shape
        if equation.shape is not None and have != wanted:
            fail(
                "shape-clash",
                f"`{equation.target}` is stated as {shape_text(wanted or ())} "
                f"and computed as {shape_text(have)}",
                equation.span,
            )
        if value.isdigit():
            value = self.builder.rename(value, equation.target)
        self.values[equation.target] = value

    def enter(self, target: str, label: str = "", place: str = "") -> None:
        """Say whose expression is lowered next, for the names of what cells bring along."""
        self.target, self.label, self.place = target, label or target.rstrip("'"), place

    def lower(self, expression: tree.Expression, wanted: Shape | None = None) -> str:
        """The node of an expression; ``wanted`` is the shape its place asks for."""
        return self._lower(expression, wanted, {})

    def within(
        self, expression: tree.Expression, wanted: Shape | None, formals: dict[str, str]
    ) -> str:
        """The node of an expression inside another, where ``formals`` have a meaning."""
        return self._lower(expression, wanted, formals)

    def fresh(self, name: str) -> str:
        """A name that nothing has yet: ``mask_g``, ``mask_g_2``."""
        number, found = 1, name
        while found in self.builder.nodes:
            number += 1
            found = f"{name}_{number}"
        return found

    def delayed_values(self) -> list[tuple[str, str]]:
        """The hidden states that `prev` made, with the nodes that update them."""
        declared = list(self.model.declarations)

        def place(state: str) -> tuple[int, str]:
            source = state.removeprefix("prev_").rpartition("_")[0]
            return (declared.index(source) if source in declared else len(declared), state)

        return [
            (state, self.values[self.delays[state]]) for state in sorted(self.delays, key=place)
        ]

    def _stated_shape(self, equation: tree.Equation) -> Shape | None:
        if equation.shape is not None:
            return shape_of(equation.shape, self.model)
        state = self.model.declarations.get(equation.target.removesuffix("'"))
        if state is None or not equation.target.endswith("'"):
            return None
        return shape_of(state.shape or (), self.model)

    def _lower(
        self, expression: tree.Expression, wanted: Shape | None, formals: dict[str, str]
    ) -> str:
        match expression:
            case tree.Number():
                return self.builder.number(
                    "const", _SCALAR, expression.span, value=expression.value
                )
            case tree.Name():
                return self._name(expression, wanted, formals)
            case tree.Call(function="prev"):
                return self._prev(expression)
            case tree.Call() if expression.function in self.model.functions:
                return self._small_function(expression, wanted, formals)
            case tree.Call() if expression.function in special.FUNCTIONS:
                return self._special(expression, wanted, formals)
            case tree.Call():
                return self.operation(expression, wanted, formals)
            case tree.Flow():
                return self.layers.flow(expression)
            case tree.Pick():
                return self.layers.pick(expression, wanted)

    def _name(self, name: tree.Name, wanted: Shape | None, formals: dict[str, str]) -> str:
        written = name.name
        if written in formals:
            return formals[written]
        if written in self.values:
            return self.values[written]
        if written in self.poisoned:
            raise _Skip
        if written in self.model.equations:
            fail("cycle", f"`{written}` is needed before it is defined", name.span)
        if written in self.model.implied or written in self.model.declarations:
            return self._parameter(name, wanted or self.agreed)
        if written in self.model.dims or written in USUAL_DIMENSIONS:
            return self.builder.number("size", _SCALAR, name.span, dim=Dim.of(written))
        fail(
            "unknown-name",
            f"`{written}` is declared and defined nowhere",
            name.span,
            hints=did_you_mean(written, [*self.values, *formals])
            or (("a small function has no parameters; hand it the product",) if formals else ()),
        )

    def _parameter(self, name: tree.Name, shape: Shape | None) -> str:
        """Add the leaf of a parameter whose shape comes from its use."""
        if shape is None:
            self._undetermined(name)
        attrs = self.weights.attributes(name.name)
        leaf = self.builder.leaf("param", name.name, Type(shape, NOWHERE), **attrs)
        self.values[name.name] = leaf
        return name.name

    def _undetermined(self, name: tree.Name) -> NoReturn:
        states = ", ".join(
            f"`{state.name}` is {shape_text(shape_of(state.shape or (), self.model))}"
            for state in self.model.of_kind("state")
        )
        fail(
            "unknown-shape",
            f"nothing determines the shape of `{name.name}`",
            name.span,
            notes=(f"the states do not agree: {states}",) if states else (),
            hints=("state the shape of the equation's left side, such as `f[H] = …`",),
        )

    def _small_function(
        self, call: tree.Call, wanted: Shape | None, formals: dict[str, str]
    ) -> str:
        function = self.model.functions[call.function]
        _check_count(call, len(function.parameters))
        if call.function in self._calls:
            fail(
                "cycle",
                f"the small function `{call.function}` applies itself",
                function.span,
            )
        self._applications += 1
        if self._applications > MOST_APPLICATIONS:
            message = f"small functions are applied more than {MOST_APPLICATIONS:,} times"
            fail("too-large", message, function.span)
        if len(self._calls) >= DEEPEST_APPLICATION:
            message = f"small functions apply each other more than {DEEPEST_APPLICATION} deep"
            fail("nested-too-deeply", message, function.span)
        args = [self._lower(argument, wanted, formals) for argument in call.args]
        self._calls.append(call.function)
        try:
            inner = dict(zip(function.parameters, args, strict=True))
            return self._lower(function.body, wanted, inner)
        finally:
            self._calls.pop()

    def _special(self, call: tree.Call, wanted: Shape | None, formals: dict[str, str]) -> str:
        if call.keywords and call.function not in special.DRAWING:
            _takes_nothing_by_name(call)
        try:
            return special.FUNCTIONS[call.function](self, call, wanted, formals)
        except TypeMismatch as mismatch:
            raise CellcError(Diagnostic("shape-clash", mismatch.message, call.span)) from None

    def operation(self, call: tree.Call, wanted: Shape | None, formals: dict[str, str]) -> str:
        """The node of an op, or of a cell where there is no op of that name."""
        op = find(call.function)
        if op is None or op.leaf or op.kind == "random" or not op.written:
            applied = self.layers.call(call)
            if applied is not None:
                return applied
            known = [*function_names(), *self.model.functions, *special.FUNCTIONS]
            written = [name for name in known if name.isidentifier()]
            fail(
                "unknown-function",
                f"there is no operation or cell `{call.function}`",
                call.function_span,
                hints=did_you_mean(call.function, written),
            )
        if call.keywords:
            _takes_nothing_by_name(call)
        if not op.accepts(len(call.args)):
            _check_count(call, len(op.parameters))
        name = op.name
        if op.name == "matmul":
            name, args = self._product(call, wanted, formals)
        else:
            passes_down = op.kind == "elementwise" or op.name in ("softmax", "standardize")
            inner = wanted if passes_down else None
            args = [self._lower(argument, inner, formals) for argument in call.args]
        check_reading(self.builder, call, args)
        try:
            return self.builder.add(name, args, call.span)
        except TypeMismatch as mismatch:
            raise CellcError(clash(self.builder, self.model, call, args, mismatch)) from None

    def _product(
        self, call: tree.Call, wanted: Shape | None, formals: dict[str, str]
    ) -> tuple[str, list[str]]:
        """The op of a product and its operands; the structure of the weight decides."""
        left, right = call.args
        structure = self.weights.structure_of(left)
        if structure is None or structure.form == "dense":
            args = self._product_operands(call, wanted, formals)
            if structure is not None:
                args[0] = self.weights.masked(structure, call.span)
            return "matmul", args
        vector = self._lower(right, None, formals)
        shape = wanted if wanted is not None else self.agreed
        if shape is None and self.weights.needs_result(structure) and isinstance(left, tree.Name):
            self._undetermined(left)
        return self.weights.product(call, structure, vector, shape)

    def _product_operands(
        self, call: tree.Call, wanted: Shape | None, formals: dict[str, str]
    ) -> list[str]:
        """A weight's shape follows from what it multiplies and what is asked for."""
        left, right = call.args
        vector = self._lower(right, None, formals)
        shape = wanted if wanted is not None else self.agreed
        if isinstance(left, tree.Name) and shape is not None:
            shape = shape + self.builder.nodes[vector].type.shape
        return [self._lower_weight(left, shape, formals), vector]

    def _lower_weight(
        self, left: tree.Expression, shape: Shape | None, formals: dict[str, str]
    ) -> str:
        if (
            isinstance(left, tree.Name)
            and left.name not in self.values
            and (left.name in self.model.implied or left.name in self.model.declarations)
        ):
            return self._parameter(left, shape)
        return self._lower(left, None, formals)

    def _prev(self, call: tree.Call) -> str:
        """A hidden state for the value of earlier steps; one for each step back.

        The value that a state ended the step before with is the one it starts with.
        """
        lag = call.args[1] if len(call.args) == 2 else tree.Number(1.0, call.span)
        source = call.args[0] if len(call.args) in (1, 2) else None
        steps = lag.value if isinstance(lag, tree.Number) else 0
        if not isinstance(source, tree.Name) or steps not in range(1, LONGEST_LAG + 1):
            fail(
                "bad-lag",
                f"`prev` takes a name and a whole number from 1 to {LONGEST_LAG:,}",
                call.span,
                hints=("`prev(v)` is v of the step before, `prev(v, 2)` of the one before that",),
            )
        extent = frozenset({BATCH, self._axis_of_name(source)})
        type_ = Type(self._shape_of_name(source), extent)
        before = source.name.rstrip("'")
        for step in range(1, int(steps) + 1 - source.name.endswith("'")):
            state = f"prev_{source.name.rstrip(chr(39))}_{step}"
            if state in self.model.declarations or state in self.model.equations:
                message = f"`{state}` is the name of what `prev({source.name})` remembers"
                fail("name-collision", message, call.span, hints=("rename yours",))
            if state not in self.values:
                self.values[state] = self.builder.leaf("state", state, type_)
                self.delays[state] = before
            before = state
        return before

    def _axis_of_name(self, name: tree.Name) -> str:
        """The axis whose steps come one after the other: that of the value or its state."""
        if name.name in self.values:
            return sequence_axis(self.builder.nodes[self.values[name.name]].type.extent) or TIME
        state = self.model.declarations.get(name.name.removesuffix("'"))
        return state.along[0] if state is not None and state.along else TIME

    def _shape_of_name(self, name: tree.Name) -> Shape:
        if name.name in self.values:
            return self.builder.nodes[self.values[name.name]].type.shape
        if name.name in self.poisoned:
            raise _Skip
        if name.name in self.model.equations and has_stated_shape(name, self.model):
            shape = self._stated_shape(self.model.equations[name.name])
            if shape is not None:
                return shape
        fail("unknown-name", f"`{name.name}` has no earlier value", name.span)


def _literal(declaration: tree.Declaration) -> float:
    value = declaration.initial
    if not isinstance(value, tree.Number):
        fail(
            "bad-option",
            f"the default of the option `{declaration.name}` is no number",
            value.span if value is not None else declaration.span,
        )
    return value.value


def _takes_nothing_by_name(call: tree.Call) -> NoReturn:
    fail("wrong-argument", f"`{call.function}` takes nothing by name", call.span)


def _check_count(call: tree.Call, wanted: int) -> None:
    if len(call.args) != wanted:
        values = "value" if wanted == 1 else "values"
        fail(
            "wrong-argument-count",
            f"`{call.function}` takes {wanted} {values}, not {len(call.args)}",
            call.span,
        )
