"""Structured weights as declared: ``param W_f block_diagonal(K) sparse(0.1)``.

Reads the modifiers of parameters and checks that they make sense together and where
their parameters stand. What becomes of them is in :mod:`cellc.frontend.weights`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Span, fail
from cellc.frontend.model import Model
from cellc.frontend.shapes import shape_of
from cellc.frontend.suggest import did_you_mean
from cellc.ir.types import Shape
from cellc.ops import find
from cellc.ops.blocks import MOST_SPATIAL
from cellc.syntax import tree

Form = Literal["dense", "diagonal", "block_diagonal", "convolution"]
Role = Literal["weight", "summand", "value"]
Use = tuple[Role, Span]

#: The modifiers of parameters with the least and the greatest number of their arguments.
MODIFIERS: dict[str, tuple[int, int]] = {
    "shared": (0, 0),
    "frozen": (0, 0),
    "diagonal": (0, 0),
    "block_diagonal": (1, 1),
    "convolution": (1, MOST_SPATIAL),
    "sparse": (1, 1),
    "spectral_radius": (1, 1),
}

_FORMS: tuple[Form, ...] = ("diagonal", "block_diagonal", "convolution")
_EXCLUSIVE = (frozenset(_FORMS), frozenset(["convolution", "spectral_radius"]))
_EXAMPLES = {
    "block_diagonal": "block_diagonal(4)",
    "convolution": "convolution(3, 3)",
    "sparse": "sparse(0.1)",
    "spectral_radius": "spectral_radius(0.9)",
}


@dataclass(frozen=True)
class Structure:
    """What the modifiers of one parameter say.

    ``sizes`` are the number of blocks, or a filter's size along each spatial dimension.
    ``density`` is the share of entries that are not zero, ``radius`` the largest absolute
    value of an eigenvalue; each is a number or an option, or None.
    """

    declaration: tree.Declaration
    form: Form = "dense"
    sizes: Shape = ()
    frozen: bool = False
    density: tree.Expression | None = None
    radius: tree.Expression | None = None

    @property
    def words(self) -> str:
        """The form in a sentence: ``block-diagonal``."""
        return "a convolution" if self.form == "convolution" else self.form.replace("_", "-")


def read_structures(model: Model, found: Collector) -> dict[str, Structure]:
    """The structure of every parameter that has modifiers; reports those that make no sense."""
    uses = _uses(model)
    structures = {}
    for declaration in model.of_kind("param"):
        if declaration.modifiers:
            places = range(len(declaration.modifiers))
            kept = [declaration.modifiers[p] for p in places if _fits(declaration, p, model, found)]
            structures[declaration.name] = _structure(declaration, kept, model)
            _check_place(declaration, kept, uses.get(declaration.name, []), found)
    return structures


def _structure(
    declaration: tree.Declaration, modifiers: list[tree.Modifier], model: Model
) -> Structure:
    structure = Structure(declaration)
    for modifier in modifiers:
        if modifier.name in _FORMS:
            sizes = shape_of(modifier.args, model)
            structure = replace(structure, form=modifier.name, sizes=sizes)
        elif modifier.name == "frozen":
            structure = replace(structure, frozen=True)
        elif modifier.name == "sparse":
            structure = replace(structure, density=modifier.args[0])
        elif modifier.name == "spectral_radius":
            structure = replace(structure, radius=modifier.args[0])
    return structure


def _fits(declaration: tree.Declaration, place: int, model: Model, found: Collector) -> bool:
    """Whether a modifier is known, takes its arguments and agrees with those before it."""
    modifier = declaration.modifiers[place]
    try:
        _check_arguments(modifier, model)
    except CellcError as error:
        found.extend(error)
        return False
    for other in declaration.modifiers[:place]:
        pair = frozenset([modifier.name, other.name])
        if len(pair) == 1:
            message = f"`{modifier.name}` stands twice"
        elif any(pair <= group for group in _EXCLUSIVE):
            message = f"a weight cannot be `{other.name}` and `{modifier.name}`"
        else:
            continue
        related = (Related(other.span, "the first is here"),)
        found.add(Diagnostic("modifier-conflict", message, modifier.span, related=related))
        return False
    return True


def _check_arguments(modifier: tree.Modifier, model: Model) -> None:
    name, count = modifier.name, len(modifier.args)
    if name not in MODIFIERS:
        hints = did_you_mean(name, MODIFIERS) or (f"known: {', '.join(MODIFIERS)}",)
        message = f"a parameter cannot be `{name}`"
        fail("unknown-modifier", message, modifier.span, hints=hints)
    least, most = MODIFIERS[name]
    if not least <= count <= most:
        wanted = str(most) if least == most else f"{least} to {most}"
        hints = (f"such as `{_EXAMPLES[name]}`",) if name in _EXAMPLES else ()
        values = "value" if most == 1 else "values"
        message = f"`{name}` takes {wanted if most else 'no'} {values}, not {count}"
        fail("wrong-argument-count", message, modifier.span, hints=hints)
    if name in _FORMS:
        shape_of(modifier.args, model)
    elif name == "sparse":
        value = _number(modifier, model)
        if not 0 < value <= 1:
            message = f"the density is above 0 and at most 1, not {value:g}"
            hint = "it is the share of the entries that are not zero"
            fail("bad-modifier", message, modifier.args[0].span, hints=(hint,))
    elif name == "spectral_radius":
        value = _number(modifier, model)
        if value < 0:
            message = f"a spectral radius is not negative, unlike {value:g}"
            fail("bad-modifier", message, modifier.args[0].span)


def _number(modifier: tree.Modifier, model: Model) -> float:
    """The number that an argument is, or the default of the option."""
    (argument,) = modifier.args
    value: tree.Expression | None = argument
    if isinstance(argument, tree.Name):
        option = model.declarations.get(argument.name)
        value = option.initial if option is not None and option.kind == "option" else None
    if not isinstance(value, tree.Number):
        message = f"`{modifier.name}` takes a number or an option"
        name = "density" if modifier.name == "sparse" else "radius"
        hint = f"declare an option for it: `option {name} = 0.5`"
        fail("bad-modifier", message, argument.span, hints=(hint,))
    return value.value


def _check_place(
    declaration: tree.Declaration, modifiers: list[tree.Modifier], uses: list[Use], found: Collector
) -> None:
    """Report structure on a bias, or on a parameter that is no weight left of ``·``."""
    weight = any(role == "weight" for role, _ in uses)
    for modifier in modifiers:
        if modifier.name in ("shared", "frozen") or not uses:
            continue
        wrong = [use for use in uses if use[0] != "weight"]
        if not wrong or (weight and modifier.name == "spectral_radius"):
            continue
        role, span = wrong[0]
        name = declaration.name
        bias = role == "summand" and not weight
        only = "only " if weight else ""
        where = "a bias" if bias else f"not {only}used left of `·`"
        hint = f"a structured weight stands left of a product alone: `{name}·v`"
        found.add(
            Diagnostic(
                "misplaced-structure",
                f"`{name}` is {where}, and `{modifier.name}` is the structure of a weight",
                modifier.span,
                related=(Related(span, f"`{name}` is {'added' if bias else 'used'} here"),),
                hints=() if bias else (hint,),
            )
        )


def _uses(model: Model) -> dict[str, list[Use]]:
    """In which roles names are used, and where."""
    expressions = [*(e.value for e in model.equations.values()), *model.outputs]
    expressions += [s.initial for s in model.of_kind("state") if s.initial is not None]
    uses: dict[str, list[Use]] = {}
    for expression in expressions:
        for name, role in _roles(expression):
            uses.setdefault(name.name, []).append((role, name.span))
    return uses


def _roles(expression: tree.Expression) -> Iterator[tuple[tree.Name, Role]]:
    pending: list[tuple[tree.Expression, Role]] = [(expression, "value")]
    while pending:
        part, role = pending.pop()
        if isinstance(part, tree.Name):
            yield part, role
            continue
        inner: Role = "value"
        op = find(part.function) if isinstance(part, tree.Call) else None
        if op is not None and op.name in ("add", "subtract"):
            inner = "summand"
        parts: list[tuple[tree.Expression, Role]] = [(p, inner) for p in tree.operands(part)]
        if op is not None and op.name == "matmul" and parts:
            parts[0] = parts[0][0], "weight"
        pending.extend(reversed(parts))
