"""A definition and its base become one model.

Deriving is hygienic: the base is elaborated first, then the child's statements replace
what they name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cellc.diagnostics import CellcError, Collector, Diagnostic, Related, Span
from cellc.frontend.model import Model
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
    texts: list[str] = []
    citations: list[str] = []
    outputs: list[tree.Expression] = []
    for statement in definition.statements:
        match statement:
            case tree.Text(kind="cite"):
                citations.append(statement.text)
            case tree.Text():
                texts.append(statement.text)
            case tree.Output():
                outputs.extend(statement.values)
            case tree.Dimension():
                if _claim(places, statement.name, statement.span, found):
                    model.dims[statement.name] = statement
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
        description=" ".join(texts),
        citations=tuple(citations),
        outputs=tuple(outputs),
        own=frozenset([*places, *model.dims]),
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
    )


def _place(model: Model, name: str) -> Span:
    item: tree.Declaration | tree.Function | tree.Equation
    if name in model.declarations:
        item = model.declarations[name]
    elif name in model.functions:
        item = model.functions[name]
    else:
        item = model.equations[name]
    return item.span


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
            new.get(n, n): replace(d, name=new.get(n, n)) for n, d in base.declarations.items()
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


def rename_in(
    expression: tree.Expression, new: dict[str, str], functions: dict[str, tree.Function]
) -> tree.Expression:
    """An expression with names replaced."""
    match expression:
        case tree.Name():
            return replace(expression, name=new.get(expression.name, expression.name))
        case tree.Call():
            called = expression.function
            if called in functions:
                called = new.get(called, called)
            args = tuple(rename_in(argument, new, functions) for argument in expression.args)
            return replace(expression, function=called, args=args)
        case _:
            return expression


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
