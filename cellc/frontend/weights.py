"""Products with structured weights, and what their modifiers do to initial values."""

from __future__ import annotations

from typing import NoReturn

from cellc.diagnostics import Related, Span, fail
from cellc.frontend.builder import Builder
from cellc.frontend.model import USUAL_DIMENSIONS, Model
from cellc.frontend.shapes import shape_of
from cellc.frontend.structure import Structure
from cellc.ir import NOWHERE, Dim, Type
from cellc.ir.types import Shape, shape_text
from cellc.ops import TABLE
from cellc.syntax import tree

_PRODUCTS = {
    "dense": "matmul",
    "diagonal": "multiply",
    "block_diagonal": "block_matmul",
    "convolution": "convolve",
}


class Weights:
    """The structured parameters of a cell under construction.

    ``masks`` maps the frozen parameter that holds the pattern of a sparse weight to the
    weight. ``values`` maps names of the language to nodes.
    """

    def __init__(
        self,
        model: Model,
        builder: Builder,
        values: dict[str, str],
        structures: dict[str, Structure],
    ) -> None:
        self.model, self.builder, self.values = model, builder, values
        self.structures = structures
        self.masks: dict[str, str] = {}
        self._masked: dict[str, str] = {}

    def structure_of(self, left: tree.Expression) -> Structure | None:
        """The structure of what stands left of a product, if it has one."""
        return self.structures.get(left.name) if isinstance(left, tree.Name) else None

    def is_shaped_by_use(self, name: str) -> bool:
        """Whether the stated shape of a parameter is that of the dense weight."""
        return name in self.structures and self.structures[name].form != "dense"

    def attributes(self, name: str) -> dict[str, bool]:
        """The attributes of a parameter's leaf."""
        structure = self.structures.get(name)
        return {"frozen": True} if structure is not None and structure.frozen else {}

    def needs_result(self, structure: Structure) -> bool:
        """Whether the shape of a product follows only from where it stands."""
        name, shape = structure.declaration.name, structure.declaration.shape
        return structure.form != "diagonal" and name not in self.values and shape is None

    def product(
        self, call: tree.Call, structure: Structure, vector: str, result: Shape | None
    ) -> tuple[str, list[str]]:
        """The op and the operands of a product; ``result`` is the shape asked for."""
        name = structure.declaration.name
        self._refuse_concatenation(call, structure, vector)
        operand = self.builder.nodes[vector].type.shape
        if name not in self.values or structure.form == "diagonal":
            shape = self._shape(call, structure, operand, result)
            if name not in self.values:
                type_ = Type(shape, NOWHERE)
                leaf = self.builder.leaf("param", name, type_, **self.attributes(name))
                self.values[name] = leaf
        return _PRODUCTS[structure.form], [self.masked(structure, call.span), vector]

    def masked(self, structure: Structure, span: Span) -> str:
        """The weight as it enters products: a trainable sparse one keeps its pattern."""
        name = structure.declaration.name
        if structure.density is None or structure.frozen:
            return self.values[name]
        if name not in self._masked:
            mask = f"{name}_mask"
            self._check_free(mask, structure)
            type_ = self.builder.nodes[self.values[name]].type
            self.values[mask] = self.builder.leaf("param", mask, type_, frozen=True)
            self.masks[mask] = name
            self._masked[name] = self.builder.add("multiply", [self.values[name], mask], span)
        return self._masked[name]

    def initial(self, name: str, value: str) -> str:
        """The initial value of a parameter, made sparse and scaled as declared."""
        structure = self.structures.get(name)
        if structure is None:
            return value
        span, shape = structure.declaration.span, self.builder.nodes[name].type.shape
        if structure.density is not None:
            pattern = self.pattern(f"{name}_mask", name)
            value = self.builder.add("multiply", [value, pattern], span)
        if structure.radius is not None:
            if (len(shape) > 1 and shape[-2:] != (shape[-1],) * 2) or len(shape) > 3:
                message = f"only a square matrix has a spectral radius; `{name}` is "
                fail("shape-clash", message + shape_text(shape), span)
            args = [value, self._number(structure.radius)]
            value = self.builder.add("spectral_radius", args, span, label=name, shape=shape)
        return value

    def pattern(self, mask: str, name: str) -> str:
        """Ones where a sparse weight has entries; the same whenever it is drawn."""
        structure, shape = self.structures[name], self.builder.nodes[name].type.shape
        assert structure.density is not None
        span, args = structure.declaration.span, [self._number(structure.density)]
        return self.builder.add("bernoulli", args, span, label=mask, shape=shape)

    def _number(self, expression: tree.Expression) -> str:
        """The node of a number or an option."""
        if isinstance(expression, tree.Name):
            return self.values[expression.name]
        assert isinstance(expression, tree.Number)
        type_ = Type((), NOWHERE)
        return self.builder.number("const", type_, expression.span, value=expression.value)

    def _check_free(self, mask: str, structure: Structure) -> None:
        model, name = self.model, structure.declaration.name
        owners = (model.declarations, model.equations, model.functions, model.implied, model.dims)
        if mask in self.values or any(mask in names for names in owners):
            place = next((names[mask].span for names in owners if mask in names), None)
            related = (Related(place, f"`{mask}` is used here"),) if place is not None else ()
            fail(
                "name-collision",
                f"the pattern of the sparse weight `{name}` is called `{mask}`",
                structure.declaration.span,
                related=related,
                hints=("rename one of them",),
            )

    def _shape(
        self, call: tree.Call, structure: Structure, operand: Shape, result: Shape | None
    ) -> Shape:
        """The shape of the parameter itself, from its use or the stated dense shape."""
        if not operand:
            message = "a matrix product with a scalar has nothing to contract"
            fail("shape-clash", message, call.args[1].span)
        written = structure.declaration.shape
        stated = None if written is None else shape_of(written, self.model)
        if structure.form == "diagonal":
            return self._diagonal(call, structure, operand, result, stated)
        if stated is not None and len(stated) != 2:
            what = "channels" if structure.form == "convolution" else "units"
            hint = f"such as `{structure.declaration.name}[M, N]` from N to M {what}"
            message = f"the stated shape of {_name(structure)} has two dimensions"
            fail("shape-clash", message, structure.declaration.span, hints=(hint,))
        assert stated is not None or result is not None
        if structure.form == "convolution":
            return self._filter(call, structure, operand, result, stated)
        rows = stated[:1] if stated is not None else result or ()
        columns = stated[1:] if stated is not None else operand
        if len(rows) != 1 or columns != operand or len(columns) != 1:
            self._clash(call, structure, operand, rows, "goes from vector to vector")
        (blocks,) = structure.sizes
        try:
            shape = (blocks, rows[0] / blocks, columns[0] / blocks)
        except ValueError as error:
            fail("not-a-dimension", str(error), structure.declaration.span)
        for dim, whole in zip(shape[1:], (*rows, *columns), strict=True):
            if not dim.names and any(c.denominator != 1 for _, c in dim.terms):
                message = f"{whole} units do not make {blocks} blocks"
                fail("not-a-dimension", message, structure.declaration.span)
        return shape

    def _diagonal(
        self,
        call: tree.Call,
        structure: Structure,
        operand: Shape,
        result: Shape | None,
        stated: Shape | None,
    ) -> Shape:
        if stated is not None:
            half = len(stated) // 2
            result = stated[:half]
            if stated != result * 2 or not stated:
                message = f"{_name(structure)}, which is square, not {shape_text(stated)}"
                hint = f"state it as {shape_text((stated[:1] or operand) * 2)}"
                fail("shape-clash", message, structure.declaration.span, hints=(hint,))
        if result is not None and result != operand:
            self._clash(call, structure, operand, result, "keeps the shape of what it multiplies")
        return operand

    def _filter(
        self,
        call: tree.Call,
        structure: Structure,
        operand: Shape,
        result: Shape | None,
        stated: Shape | None,
    ) -> Shape:
        channels = stated[0] if stated is not None else (result or (Dim.of(1),))[0]
        wanted = result if stated is None else (channels, *operand[1:])
        right = stated is None or stated[1] == operand[0]
        if len(operand) != len(structure.sizes) + 1 or not right:
            places = f"goes over values [channels, {', '.join('XYZ'[: len(structure.sizes)])}]"
            self._clash(call, structure, operand, wanted or (), places)
        if wanted is None or wanted[1:] != operand[1:]:
            self._clash(call, structure, operand, wanted or (), "keeps the spatial dimensions")
        return (channels, operand[0], *structure.sizes)

    def _clash(
        self, call: tree.Call, structure: Structure, operand: Shape, result: Shape, rule: str
    ) -> NoReturn:
        right = " ".join(call.args[1].span.text.split())
        fail(
            "shape-clash",
            f"{_name(structure)} and {rule}: `{right}` is {shape_text(operand)}, "
            f"the result {shape_text(result)}",
            call.span,
            related=(Related(structure.declaration.span, "declared here"),),
            hints=(f"state the shape of a result of another shape: `y{shape_text(operand)} = …`",)
            if structure.form == "diagonal"
            else (),
        )

    def _refuse_concatenation(self, call: tree.Call, structure: Structure, vector: str) -> None:
        """A structure over ``[h, x]`` would not group what the paper groups."""
        if self.builder.nodes[vector].op is not TABLE["concat"]:
            return
        left, right = call.args
        whole = right
        while isinstance(whole, tree.Name) and whole.name in self.model.equations:
            whole = self.model.equations[whole.name].value
        parts = [" ".join(p.span.text.split()) for p in tree.operands(whole)]
        weights = self._letters(left, len(parts))
        summed = " + ".join(f"{w}·{p}" for w, p in zip(weights, reversed(parts), strict=True))
        fail(
            "structured-concatenation",
            f"{_name(structure)}, but multiplies the concatenation "
            f"`{' '.join(whole.span.text.split())}`",
            call.span,
            related=(Related(structure.declaration.span, "declared here"),),
            notes=("across a concatenation a structure would pair units by their place in the "
                   "list, not by what belongs together",),
            hints=(f"write `{summed}`, and declare the structure of each weight",),
        )  # fmt: skip

    def _letters(self, left: tree.Expression, count: int) -> list[str]:
        """Names for one weight each: ``W``, ``U``, in the spelling of the first."""
        assert isinstance(left, tree.Name)
        written = left.span.text
        stem, line, rest = written.partition("_")
        full = left.name.partition("_")[2]
        taken = {*self.model.declarations, *self.model.implied, *self.model.dims, *USUAL_DIMENSIONS}
        letters = [
            letter
            for letter in "UVPQRSABCDEFG"
            if letter != stem and not {letter, f"{letter}_{rest or full}"} & taken
        ]
        return [written, *(f"{letter}{line}{rest}" for letter in letters)][:count]


def _name(structure: Structure) -> str:
    return f"`{structure.declaration.name}` is {structure.words}"
