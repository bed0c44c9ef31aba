"""Shapes as written, to dimensions."""

from __future__ import annotations

from cellc.diagnostics import fail
from cellc.frontend.model import USUAL_DIMENSIONS, Model
from cellc.frontend.suggest import did_you_mean
from cellc.ir import Argument, Dim
from cellc.ir.types import Shape
from cellc.syntax import tree
from cellc.syntax.build import LARGEST_DIMENSION
from cellc.syntax.characters import ascii_name

MOST_TERMS = 20


def shape_of(written: tuple[tree.Expression, ...], model: Model) -> Shape:
    """The shape that a bracket after a name states; raises CellcError."""
    shape = tuple(dimension_of(part, model) for part in written)
    for dim, part in zip(shape, written, strict=True):
        if _is_absurd(dim):
            message = f"`{dim}` is no whole number from 1 to {LARGEST_DIMENSION:,}"
            fail("not-a-dimension", message, part.span)
    return shape


def _is_absurd(dim: Dim) -> bool:
    """Whether a dimension is not positive, or no whole number, whatever its names are."""
    if dim.names:
        return all(coefficient < 0 for _, coefficient in dim.terms)
    value = sum(coefficient for _, coefficient in dim.terms)
    return not (0 < value <= LARGEST_DIMENSION and value == int(value))


def dimension_of(expression: tree.Expression, model: Model) -> Dim:
    """The dimension that an expression states; raises CellcError."""
    match expression:
        case tree.Number(value=value) if value == int(value) and value >= 0:
            return Dim.of(int(value))
        case tree.Name(name=name) if name in model.dims or name in USUAL_DIMENSIONS:
            return Dim.of(name)
        case tree.Name(name=name):
            hints = did_you_mean(name, [*model.dims, *USUAL_DIMENSIONS])
            hint = f"declare it with the constructor's argument: `dim {name} size_of_{name}`"
            fail(
                "unknown-dimension",
                f"the dimension `{name}` is declared nowhere",
                expression.span,
                hints=(*hints, hint),
            )
        case tree.Call(function=function, args=(left, right)) if function in _ARITHMETIC:
            a, b = dimension_of(left, model), dimension_of(right, model)
            try:
                result: Dim = _ARITHMETIC[function](a, b)
            except (ValueError, ZeroDivisionError) as error:
                fail("not-a-dimension", str(error), expression.span)
            if len(result.terms) > MOST_TERMS:
                message = f"a dimension of more than {MOST_TERMS} terms"
                fail("not-a-dimension", message, expression.span)
            return result
    fail(
        "not-a-dimension",
        "a shape holds names and whole numbers joined by + - * /",
        expression.span,
    )


def dimension_argument(name: str, model: Model) -> Argument:
    """The constructor argument that sets a dimension."""
    if name in model.dims:
        dimension = model.dims[name]
        return Argument(ascii_name(dimension.argument), dimension.default, dimension.fixed)
    return Argument(USUAL_DIMENSIONS[name])


_ARITHMETIC = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
}
