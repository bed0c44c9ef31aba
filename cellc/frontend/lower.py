"""A model to a cell: every equation becomes typed nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Span, fail
from cellc.frontend.builder import Builder, check_axes
from cellc.frontend.expressions import Lowering
from cellc.frontend.initial import lower_initial_values, lower_starts
from cellc.frontend.layers import FindCell, Layers
from cellc.frontend.model import Model
from cellc.frontend.order import check_uses, equation_order, needed_names
from cellc.frontend.positions import axes_with_positions, length_of
from cellc.frontend.shapes import dimension_argument, shape_of
from cellc.frontend.structure import read_structures
from cellc.frontend.unroll import unroll
from cellc.ir import BATCH, NOWHERE, TIME, Argument, Cell, Dim, Result, Type
from cellc.ir.types import DType, Extent, Shape, shape_text
from cellc.syntax import tree
from cellc.syntax.characters import ascii_name


def lower(model: Model, find_cell: FindCell) -> Cell:
    """The cell of a model.

    ``find_cell`` gives the cells that equations apply, by name and chosen sizes.
    Raises CellcError with every error of names, shapes and parameters.
    """
    found = Collector()
    _check_ends(model, found)
    check_uses(model, found)
    flat = unroll(model, found)
    lowering = _lowering(model, flat, find_cell, found)
    layers = Layers(lowering, find_cell)
    lowering.layers = layers
    for target in equation_order(flat, found):
        try:
            lowering.define(flat.equations[target])
        except CellcError as error:
            lowering.poisoned.add(target)
            found.extend(error)
    found.raise_if_any()
    nexts = _nexts(flat, lowering)
    outputs = _outputs(flat, lowering)
    starts = lower_starts(lowering, found)
    # outputs and starts may hold layers and a `prev` of their own
    nexts += [r for r in layers.results if r.role == "next"]
    nexts += [Result("next", s, value) for s, value in lowering.delayed_values()]
    brought = [r for r in layers.results if r.role != "next"]
    initials = lower_initial_values(lowering, brought, found)
    results = [*nexts, *outputs, *brought, *starts, *initials]
    found.raise_if_any()
    _check_spellings(model, lowering.builder, found)
    found.raise_if_any()
    cell = _assemble(flat, lowering.builder, results, layers)
    return replace(cell, axes={axis: length_of(model, axis) for axis in axes_with_positions(model)})


def _lowering(model: Model, flat: Model, find_cell: FindCell, found: Collector) -> Lowering:
    """The lowering of a flat model with its declarations in place."""
    structures = read_structures(flat, found)
    lowering = Lowering(flat, Builder(), _agreed_shape(model), structures)
    for name, type_ in _declared_types(flat, found):
        if not lowering.weights.is_shaped_by_use(name):
            lowering.declare(name, type_)
    return lowering


def _check_ends(model: Model, found: Collector) -> None:
    if not model.outputs:
        found.add(
            Diagnostic(
                "missing-output",
                f"the cell `{model.name}` has no output",
                model.span,
                hints=("say what a step emits, such as `output h'`",),
            )
        )


def _declared_types(model: Model, found: Collector) -> Iterator[tuple[str, Type]]:
    """The types of inputs, states, options and params with a stated shape.

    What is inherited and no longer used falls away.
    """
    needed = needed_names(model)
    for declaration in model.declarations.values():
        try:
            if declaration.name not in needed and declaration.kind != "state":
                continue
            if declaration.kind == "param" and declaration.shape is None:
                continue
            shape = shape_of(declaration.shape or (), model)
            dtype: DType = "integer" if declaration.integer else "real"
            yield declaration.name, Type(shape, _extent(declaration), dtype)
        except CellcError as error:
            found.extend(error)


def _extent(declaration: tree.Declaration) -> Extent:
    """An input and a state vary with batch and time, or the axis that they run along."""
    if declaration.kind not in ("input", "state"):
        return NOWHERE
    if declaration.held:
        return frozenset({BATCH})
    return frozenset({BATCH, *(declaration.along or (TIME,))})


def _agreed_shape(model: Model) -> Shape | None:
    """The shape that all states share, or None."""
    shapes = set()
    for state in model.of_kind("state"):
        try:
            shapes.add(shape_of(state.shape or (), model))
        except CellcError:
            return None
    return shapes.pop() if len(shapes) == 1 else None


def _nexts(model: Model, lowering: Lowering) -> list[Result]:
    results = []
    for state in model.of_kind("state"):
        value = lowering.values[f"{state.name}'"]
        have = lowering.builder.nodes[value].type.shape
        want = lowering.builder.nodes[state.name].type.shape
        if have != want:
            fail(
                "shape-clash",
                f"`{state.name}'` has the shape {shape_text(have)}, its state {shape_text(want)}",
                model.equations[f"{state.name}'"].span,
                label=f"this is {shape_text(have)}",
                related=(Related(state.span, f"the state is {shape_text(want)}"),),
            )
        extents = [lowering.builder.nodes[name].type.extent for name in (value, state.name)]
        check_axes(extents[0] | extents[1], model.equations[f"{state.name}'"].span)
        results.append(Result("next", state.name, value))
    return results


def _outputs(model: Model, lowering: Lowering) -> list[Result]:
    lowering.enter("output")
    outputs: list[Result] = []
    for number, expression in enumerate(model.outputs):
        value = lowering.lower(expression)
        name = f"output{number + 1}"
        if isinstance(expression, tree.Name):
            name = expression.name
        elif isinstance(expression, tree.Flow) and not value.isdigit():
            name = value
        if any(r.name == name for r in outputs):
            fail("duplicate-name", f"`{name}` is an output twice", expression.span)
        if lowering.builder.nodes[value].type.dtype == "boolean":
            message = "a comparison is no number; `where(…, 1, 0)` makes it one"
            fail("shape-clash", message, expression.span, hints=("outputs are numbers",))
        outputs.append(Result("output", name, value))
    return outputs


def _check_spellings(model: Model, builder: Builder, found: Collector) -> None:
    """Report names that are spelled alike in ASCII, which emitted code uses."""
    spelled: dict[str, str] = {}
    for name in builder.nodes:
        other = spelled.setdefault(ascii_name(name), name)
        if other != name:
            place = _span_of(model, name) or _span_of(model, other)
            found.add(
                Diagnostic(
                    "name-collision",
                    f"`{other}` and `{name}` are both spelled `{ascii_name(name)}` in emitted code",
                    place,
                    hints=("rename one of them",),
                )
            )


def _span_of(model: Model, name: str) -> Span | None:
    item = model.equations.get(name) or model.declarations.get(name) or model.implied.get(name)
    return None if item is None else item.span


def _assemble(model: Model, builder: Builder, results: list[Result], layers: Layers) -> Cell:
    comments = {item.target: item.comment for item in model.equations.values() if item.comment}
    comments |= {d.name: d.comment for d in model.declarations.values() if d.comment}
    names: list[str] = []
    for node in builder.nodes.values():
        dims = [*node.type.shape, *(v for _, v in node.attrs if isinstance(v, Dim))]
        names += [name for dim in dims for name in sorted(dim.names)]
    used = {name: _argument(name, model, layers) for name in dict.fromkeys(names)}
    for name, dimension in model.dims.items():
        if name in model.own and name not in used and name not in layers.counts:
            fail("unused-definition", f"no shape uses the dimension `{name}`", dimension.span)
    values = {name for name, node in builder.nodes.items() if node.op.name != "param"}
    known = values | layers.applied.keys()
    return Cell(
        model.name,
        builder.nodes,
        tuple(results),
        used,
        model.description,
        model.citations,
        {name: text for name, text in comments.items() if name in builder.nodes},
        model.kind,
        model.family,
        model.lineage,
        layers.applied,
        {value: label for value, label in layers.inside.items() if value in builder.nodes},
        places={n: p for n, p in model.places.items() if {n, f"{n}'"} & known},
    )


def _argument(name: str, model: Model, layers: Layers) -> Argument:
    """The constructor argument of a dimension, which a layer may have brought along."""
    if name in model.dims or name not in layers.arguments:
        return dimension_argument(name, model)
    return layers.arguments[name]
