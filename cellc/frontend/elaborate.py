"""A definition and its base become one model.

Deriving is hygienic: the base is elaborated first, then the child's statements replace
what they name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Span
from cellc.frontend.model import USUAL_DIMENSIONS, USUAL_LENGTH, Model, article
from cellc.frontend.names import resolve_names
from cellc.frontend.rename import renamed
from cellc.frontend.reserved import check_reserved
from cellc.frontend.suggest import did_you_mean
from cellc.syntax import tree
from cellc.syntax.build import is_size

FindBase = Callable[[tree.Name], Model]


def elaborate(definition: tree.Definition, find_base: FindBase) -> Model:
    """The model of one definition.

    ``find_base`` gives the elaborated cell that a name after ``from`` means.
    Raises CellcError with everything found wrong with names.
    """
    found = Collector()
    header = definition.header
    inherited = Model(header.name, header.span)
    own = _collect(definition, found)
    if header.base is not None:
        base = find_base(header.base)
        inherited = renamed(base, header.renames, own, found)
        inherited = replace(inherited, lineage=(*base.lineage, base.name))
    found.raise_if_any()
    merged = _merge(inherited, own, found)
    check_reserved(merged, found)
    model = resolve_names(merged, own, found)
    found.raise_if_any()
    return model


def _collect(definition: tree.Definition, found: Collector) -> Model:
    """The statements of a definition by kind and name."""
    header = definition.header
    places: dict[str, Span] = {}
    model = Model(header.name, header.span)
    texts: dict[str, list[str]] = {"description": [], "cite": [], "family": []}
    outputs: list[tree.Expression] = []
    for statement in _joined_axes(definition.statements):
        match statement:
            case tree.Text():
                texts[statement.kind].append(statement.text)
            case tree.Output():
                outputs.extend(statement.values)
            case tree.Dimension():
                if _claim(places, statement.name, statement.span, found):
                    model.dims[statement.name] = statement
            case tree.Axis():
                if _claim(places, statement.name, statement.span, found):
                    model.axes[statement.name] = statement
                    _claim_length(model, places, statement, found)
            case tree.Share():
                if _claim(places, statement.name, statement.span, found):
                    model.shares[statement.name] = statement
            case tree.Declaration():
                if _claim(places, statement.name, statement.span, found):
                    model.declarations[statement.name] = statement
            case tree.Function():
                if _claim(places, statement.name, statement.span, found):
                    model.functions[statement.name] = statement
            case tree.Equation():
                declared = model.declarations.get(statement.target)
                state = declared is not None and declared.kind == "state"
                if _claim(places, statement.target, statement.span, found, state):
                    model.equations[statement.target] = statement
    return replace(
        model,
        description=" ".join(texts["description"]),
        citations=tuple(texts["cite"]),
        outputs=tuple(outputs),
        own=frozenset([*places, *model.dims]),
        kind=header.kind,
        family=" ".join(texts["family"]),
    )


def _joined_axes(statements: Iterable[tree.Statement]) -> Iterator[tree.Statement]:
    """The statements, where ``input x[I] along row, col`` is one input along two axes."""
    statements = list(statements)
    axes = {statement.name for statement in statements if isinstance(statement, tree.Axis)}
    waiting: tree.Declaration | None = None
    for statement in statements:
        further = isinstance(statement, tree.Declaration) and statement.name in axes
        if further and waiting is not None and isinstance(statement, tree.Declaration):
            waiting = replace(waiting, along=(*waiting.along, statement.name))
            continue
        if waiting is not None:
            yield waiting
            waiting = None
        if isinstance(statement, tree.Declaration) and statement.along:
            waiting = statement
        else:
            yield statement
    if waiting is not None:
        yield waiting


def _claim_length(model: Model, places: dict[str, Span], axis: tree.Axis, found: Collector) -> None:
    """Make the name of an axis's length a dimension."""
    usual = isinstance(axis.length, tree.Name) and axis.length.name in USUAL_DIMENSIONS
    whole = isinstance(axis.length, tree.Number) and is_size(axis.length.value)
    named = isinstance(axis.length, tree.Name) and not usual
    if axis.length is not None and not (named or (whole and axis.default is None)):
        message = "the length of an axis is a whole number or has a name of its own"
        hints = (f"such as `axis {axis.name}[3]` or `axis {axis.name}[L] = 3`",)
        found.add(Diagnostic("not-a-dimension", message, axis.span, hints=hints))
    elif isinstance(axis.length, tree.Name) and _claim(places, axis.length.name, axis.span, found):
        length = axis.default or USUAL_LENGTH
        model.dims[axis.length.name] = tree.Dimension(
            axis.length.name, axis.name, length, axis.span, fixed=True
        )


def _claim(
    places: dict[str, Span], name: str, span: Span, found: Collector, state: bool = False
) -> bool:
    """Note that a statement gives a name its meaning; False where another did before."""
    if name not in places:
        places[name] = span
        return True
    found.add(
        Diagnostic(
            "duplicate-name",
            f"`{name}` is declared or defined twice",
            span,
            "again here",
            related=(Related(places[name], "first here"),),
            hints=(f"the value that the step ends with is `{name}' = …`",) if state else (),
        )
    )
    return False


def _merge(base: Model, own: Model, found: Collector) -> Model:
    """The base with the child's statements in the place of those they replace."""
    for name in own.own:
        before, after = base.kind_of(name), own.kind_of(name)
        if (before, after) == ("input", "state"):
            continue
        if before is not None and after is not None and before != after:
            place = _place(own, name)
            found.add(
                Diagnostic(
                    "kind-change",
                    f"`{name}` is {article(before)} of the base and cannot become {article(after)}",
                    place,
                    related=(Related(_place(base, name), f"{article(before)} here"),),
                    hints=("use another name, or rename the base's with `from … with … as …`",),
                )
            )
    lengths = [base.axes[axis].length for axis in own.axes if axis in base.axes]
    replaced = {length.name for length in lengths if isinstance(length, tree.Name)}
    return Model(
        own.name,
        own.span,
        own.description or (f"Derived from {base.name}." if base.name != own.name else ""),
        own.citations,
        {n: d for n, d in base.dims.items() if n not in replaced} | own.dims,
        base.declarations | own.declarations,
        base.functions | own.functions,
        base.equations | own.equations,
        dict(base.implied),
        own.outputs or base.outputs,
        own.own,
        base.axes | own.axes,
        base.shares | own.shares,
        own.kind,
        own.family or base.family,
        base.lineage,
    )


def _place(model: Model, name: str) -> Span:
    places = (model.declarations, model.functions, model.equations, model.axes, model.shares)
    return next(items[name].span for items in places if name in items)


def base_error(name: tree.Name, known: list[str]) -> CellcError:
    """The error for a base cell that does not exist."""
    return CellcError(
        Diagnostic(
            "unknown-cell",
            f"there is no cell `{name.name}`",
            name.span,
            hints=did_you_mean(name.name, known) or ("`cellc list` shows the shipped cells",),
        )
    )
