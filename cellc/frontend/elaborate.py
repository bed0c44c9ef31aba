"""A definition and its base become one model.

Deriving is hygienic: the base is elaborated first, then the child's statements replace
what they name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Span
from cellc.frontend.model import USUAL_LENGTH, Model
from cellc.frontend.names import resolve_names
from cellc.frontend.reserved import check_reserved
from cellc.frontend.suggest import did_you_mean
from cellc.syntax import tree

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
        inherited = _renamed(base, header.renames, own, found)
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
    if isinstance(axis.length, tree.Name) and _claim(places, axis.length.name, axis.span, found):
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
        if (before, after) == ("input", "state") and own.declarations[name].along:
            continue
        if before is not None and after is not None and before != after:
            place = _place(own, name)
            found.add(
                Diagnostic(
                    "kind-change",
                    f"`{name}` is {_article(before)} of the base and cannot become "
                    f"{_article(after)}",
                    place,
                    related=(Related(_place(base, name), f"{_article(before)} here"),),
                    hints=("use another name, or rename the base's with `from … with … as …`",),
                )
            )
    return Model(
        own.name,
        own.span,
        own.description or (f"Derived from {base.name}." if base.name != own.name else ""),
        own.citations,
        base.dims | own.dims,
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


def _article(kind: str) -> str:
    words = {"param": "parameter"}
    word = words.get(kind, kind)
    return f"an {word}" if word[0] in "aeio" else f"a {word}"


def _renamed(base: Model, renames: tuple[tree.Rename, ...], own: Model, found: Collector) -> Model:
    """The base with names replaced where they are defined and where they are read.

    An output keeps a name that the child defines anew: the child emits its own `h'`.
    """
    new = {}
    for item in renames:
        old, to = item.old, item.new
        if base.kind_of(old.name) is None:
            names = [*base.equations, *base.declarations]
            found.add(
                Diagnostic(
                    "unknown-rename",
                    f"the base `{base.name}` has no `{old.name}` to rename",
                    old.span,
                    hints=did_you_mean(old.name, names),
                )
            )
        elif base.kind_of(to.name) is not None:
            found.add(
                Diagnostic(
                    "duplicate-name",
                    f"the base `{base.name}` has `{to.name}` already",
                    to.span,
                )
            )
        new[old.name] = to.name
    found.raise_if_any()
    emitted = {old: name for old, name in new.items() if old not in own.own}
    return replace(
        base,
        declarations={
            new.get(n, n): _declaration_renamed(d, new, base.functions)
            for n, d in base.declarations.items()
        },
        functions={
            new.get(n, n): replace(f, name=new.get(n, n)) for n, f in base.functions.items()
        },
        equations={
            new.get(n, n): replace(
                e, target=new.get(n, n), value=rename_in(e.value, new, base.functions)
            )
            for n, e in base.equations.items()
        },
        implied={n: replace(p, owner=new.get(p.owner, p.owner)) for n, p in base.implied.items()},
        outputs=tuple(rename_in(value, emitted, base.functions) for value in base.outputs),
    )


def _declaration_renamed(
    declaration: tree.Declaration, new: dict[str, str], functions: dict[str, tree.Function]
) -> tree.Declaration:
    """A declaration under its new name, with names replaced in its initial value and modifiers."""
    initial = declaration.initial and rename_in(declaration.initial, new, functions)
    modifiers = tuple(
        replace(m, args=tuple(rename_in(argument, new, functions) for argument in m.args))
        for m in declaration.modifiers
    )
    name = new.get(declaration.name, declaration.name)
    return replace(declaration, name=name, initial=initial, modifiers=modifiers)


def rename_in(
    expression: tree.Expression, new: dict[str, str], functions: dict[str, tree.Function]
) -> tree.Expression:
    """An expression with names replaced."""
    if isinstance(expression, tree.Name):
        return replace(expression, name=new.get(expression.name, expression.name))
    if isinstance(expression, tree.Call) and expression.function in functions:
        called = new.get(expression.function, expression.function)
        expression = replace(expression, function=called)
    return tree.changed(expression, lambda part: rename_in(part, new, functions))


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
