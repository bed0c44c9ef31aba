"""A base under other names: ``cell child from base with h' as h̃``."""

from __future__ import annotations

from dataclasses import replace

from cellc.diagnostics import Collector, Diagnostic
from cellc.frontend.model import Model, article
from cellc.frontend.order import changed_layer
from cellc.frontend.suggest import did_you_mean
from cellc.syntax import tree


def renamed(base: Model, renames: tuple[tree.Rename, ...], own: Model, found: Collector) -> Model:
    """The base with names replaced where they are defined and where they are read.

    An output keeps a name that the child defines anew: the child emits its own `h'`.
    """
    new = {item.old.name: item.new.name for item in renames}
    for item in renames:
        _check(item, base, found)
    found.raise_if_any()
    emitted = {old: name for old, name in new.items() if old not in own.own}
    return replace(
        base,
        declarations={
            new.get(n, n): _declaration_renamed(d, new, base.functions)
            for n, d in base.declarations.items()
        },
        functions={
            new.get(n, n): _function_renamed(f, new, base.functions)
            for n, f in base.functions.items()
        },
        shares={
            n: replace(s, layer=_layer_renamed(s.layer, new, base.functions))
            for n, s in base.shares.items()
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


def _check(item: tree.Rename, base: Model, found: Collector) -> None:
    """Report a rename of what is not there, keeps its name, or would meet another."""
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
    elif base.kind_of(old.name) in ("axis", "shared layer"):
        message = f"`{old.name}` is {article(base.kind_of(old.name) or '')} and keeps its name"
        found.add(Diagnostic("unknown-rename", message, old.span))
    elif base.kind_of(to.name) is not None:
        found.add(
            Diagnostic(
                "duplicate-name",
                f"the base `{base.name}` has `{to.name}` already",
                to.span,
            )
        )


def _function_renamed(
    function: tree.Function, new: dict[str, str], functions: dict[str, tree.Function]
) -> tree.Function:
    """A small function under its new name; its own parameters keep theirs."""
    read = {old: name for old, name in new.items() if old not in function.parameters}
    body = rename_in(function.body, read, functions)
    return replace(function, name=new.get(function.name, function.name), body=body)


def _layer_renamed(
    layer: tree.Expression, new: dict[str, str], functions: dict[str, tree.Function]
) -> tree.Expression:
    return changed_layer(
        layer,
        lambda name: new.get(name, name) if name in functions else name,
        lambda part: rename_in(part, new, functions),
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
    if isinstance(expression, tree.Flow):
        layer = _layer_renamed(expression.layer, new, functions)
        assert isinstance(layer, (tree.Name, tree.Call))
        expression = replace(expression, layer=layer)
    if isinstance(expression, tree.Call) and expression.function in functions:
        called = new.get(expression.function, expression.function)
        expression = replace(expression, function=called)
    return tree.changed(expression, lambda part: rename_in(part, new, functions))
