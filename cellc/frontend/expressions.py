"""Expressions to nodes, with shapes inferred in both directions.

Known shapes flow up from operands; the shape that a place asks for flows down and gives
undeclared parameters theirs.
"""

from __future__ import annotations

from typing import NoReturn

from cellc.diagnostics import CellcError, Diagnostic, Related, Span, fail
from cellc.frontend.builder import Builder
from cellc.frontend.model import USUAL_DIMENSIONS, Model
from cellc.frontend.order import has_stated_shape
from cellc.frontend.shapes import shape_of
from cellc.frontend.suggest import did_you_mean
from cellc.ir import EVERYWHERE, NOWHERE, Dim, Type, TypeMismatch
from cellc.ir.types import Shape, shape_text
from cellc.ops import find, function_names
from cellc.syntax import tree

_SCALAR = Type((), NOWHERE)

LONGEST_LAG = 1000
MOST_APPLICATIONS = 10_000
DEEPEST_APPLICATION = 20

#: Ops that only passes write.
UNWRITTEN = frozenset({"slice"})


class _Skip(CellcError):
    """Raised where an operand's own error has been reported already."""


class Lowering:
    """Lowers the equations of one model into a builder.

    ``values`` maps names of the language to nodes; ``poisoned`` holds targets whose
    equation is faulty, so that one mistake is reported once.
    """

    def __init__(self, model: Model, builder: Builder, agreed: Shape | None) -> None:
        self.model, self.builder, self.agreed = model, builder, agreed
        self.values: dict[str, str] = {}
        self.poisoned: set[str] = set()
        self.delays: dict[str, str] = {}
        self._calls: list[str] = []
        self._applications = 0

    def declare(self, name: str, type_: Type) -> None:
        """Add the leaf of a declaration."""
        declaration = self.model.declarations[name]
        attrs: dict[str, float] = {}
        if declaration.kind == "option":
            attrs["default"] = _literal(declaration)
        self.values[name] = self.builder.leaf(declaration.kind, name, type_, **attrs)

    def define(self, equation: tree.Equation) -> None:
        """Lower one equation and give its value the equation's name."""
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

    def lower(self, expression: tree.Expression, wanted: Shape | None = None) -> str:
        """The node of an expression; ``wanted`` is the shape its place asks for."""
        return self._lower(expression, wanted, {})

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
            case tree.Call():
                return self._operation(expression, wanted, formals)

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
        self.values[name.name] = self.builder.leaf("param", name.name, Type(shape, NOWHERE))
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

    def _operation(self, call: tree.Call, wanted: Shape | None, formals: dict[str, str]) -> str:
        op = find(call.function)
        if op is None or op.leaf or op.kind == "random" or op.name in UNWRITTEN:
            fail(
                "unknown-function",
                f"there is no operation `{call.function}`",
                call.function_span,
                hints=did_you_mean(call.function, [*function_names(), *self.model.functions]),
            )
        if not op.accepts(len(call.args)):
            _check_count(call, len(op.parameters))
        if op.name == "matmul":
            args = self._product_operands(call, wanted, formals)
        else:
            passes_down = op.kind == "elementwise" or op.name in ("softmax", "standardize")
            inner = wanted if passes_down else None
            args = [self._lower(argument, inner, formals) for argument in call.args]
        self._check_reading(call, args)
        try:
            return self.builder.add(op.name, args, call.span)
        except TypeMismatch as mismatch:
            raise CellcError(self._clash(call, args, mismatch)) from None

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

    def _check_reading(self, call: tree.Call, args: list[str]) -> None:
        """Ask for brackets where ``U·r*h`` may mean (U·r)*h as well as U·(r*h)."""
        product = call.args[0]
        if call.function not in ("multiply", "divide") or not isinstance(product, tree.Call):
            return
        if product.function != "matmul" or product.bracketed:
            return
        inner = self.builder.nodes[self.builder.nodes[args[0]].args[1]].type.shape
        other = self.builder.nodes[args[1]].type.shape
        if not other or inner != other:
            return
        sign = "*" if call.function == "multiply" else "/"
        weight, vector = (_text(part) for part in product.args)
        factor = _text(call.args[1])
        fail(
            "ambiguous-product",
            f"`{_text(call)}` may be read in two ways, and both fit",
            call.span,
            hints=(
                f"write `({weight}·{vector}){sign}{factor}` to multiply the product",
                f"or `{weight}·({vector}{sign}{factor})` to multiply the vector",
            ),
        )

    def _clash(self, call: tree.Call, args: list[str], mismatch: TypeMismatch) -> Diagnostic:
        """The message for operands that do not fit, with where each came from."""
        nodes = self.builder.nodes
        related = []
        for slot in mismatch.slots:
            shape = shape_text(nodes[args[slot]].type.shape)
            part = call.args[slot]
            origin = self._origin(part)
            where = f"`{_text(part)}` is {shape}"
            related.append(Related(part.span, where))
            if origin is not None:
                related.append(Related(origin, f"`{_text(part)}` is defined here"))
        hints: tuple[str, ...] = ()
        if call.function == "multiply" and len(mismatch.slots) == 2:
            hints = ("`*` is elementwise; the matrix product is `·`",)
        elif call.function in ("add", "subtract"):
            hints = ("a product with a weight brings a vector to another size: `W·x`",)
        elif call.function == "matmul" and not nodes[args[1]].type.shape:
            hints = ("a vector is declared with its size, such as `state h[H]` or `input x[I]`",)
        return Diagnostic(
            "shape-clash",
            mismatch.message,
            call.span,
            related=tuple(related),
            hints=hints,
        )

    def _origin(self, part: tree.Expression) -> Span | None:
        if not isinstance(part, tree.Name):
            return None
        item = self.model.equations.get(part.name) or self.model.declarations.get(part.name)
        return None if item is None else item.span

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
        type_ = Type(self._shape_of_name(source), EVERYWHERE)
        before = source.name.rstrip("'")
        for step in range(1, int(steps) + 1 - source.name.endswith("'")):
            state = f"prev_{source.name.rstrip(chr(39))}_{step}"
            if state not in self.values:
                self.values[state] = self.builder.leaf("state", state, type_)
                self.delays[state] = before
            before = state
        return before

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


def _check_count(call: tree.Call, wanted: int) -> None:
    if len(call.args) != wanted:
        values = "value" if wanted == 1 else "values"
        fail(
            "wrong-argument-count",
            f"`{call.function}` takes {wanted} {values}, not {len(call.args)}",
            call.span,
        )


def _text(expression: tree.Expression) -> str:
    """An expression as written, on one line."""
    return " ".join(expression.span.text.split())
