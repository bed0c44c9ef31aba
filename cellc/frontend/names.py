"""What each name of an equation means, and which parameters equations imply.

A bare upper-case name left of ``·``, or ``b`` as a summand, that is declared nowhere is
a parameter of its own equation: ``W`` in the equation of ``f`` is ``W_f``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cellc.diagnostics import Collector, Diagnostic, Related, Span
from cellc.frontend.model import USUAL_DIMENSIONS, Implied, Model
from cellc.frontend.suggest import did_you_mean
from cellc.ir import TIME
from cellc.syntax import tree


def resolve_names(model: Model, own: Model, found: Collector) -> Model:
    """The model with the names of its own equations resolved.

    Equations that were inherited are resolved already. Reports names that mean nothing
    and parameters that are used where they do not belong.
    """
    implied = {
        name: parameter
        for name, parameter in model.implied.items()
        if parameter.owner not in own.equations | own.declarations and name not in own.own
    }
    scope = _scope(model)
    equations = dict(model.equations)
    for target in own.equations:
        resolver = _Resolver(target, model, scope, implied, found)
        equation = equations[target]
        equations[target] = replace(equation, value=resolver.resolve(equation.value))
    declarations = dict(model.declarations)
    for state in own.of_kind("state"):
        if state.initial is not None:
            resolver = _Resolver(state.name, model, scope, implied, found)
            value = resolver.resolve(state.initial)
            declarations[state.name] = replace(declarations[state.name], initial=value)
    resolved = replace(model, equations=equations, declarations=declarations, implied=implied)
    outputs = _Resolver("output", resolved, scope, implied, found)
    resolved = replace(resolved, outputs=tuple(outputs.resolve(value) for value in model.outputs))
    _check_sharing(resolved, found)
    return resolved


def subscript(target: str) -> str:
    """What follows the underscore of an equation's parameters: ``h`` for ``h'``."""
    return target.rstrip("'")


def _scope(model: Model) -> frozenset[str]:
    """Every name that has a meaning in equations, implied parameters aside."""
    return frozenset([
        *model.declarations, *model.equations, *model.dims, *USUAL_DIMENSIONS, *model.axes, TIME,
    ])  # fmt: skip


class _Resolver:
    """Resolves the names of one equation."""

    def __init__(
        self,
        target: str,
        model: Model,
        scope: frozenset[str],
        implied: dict[str, Implied],
        found: Collector,
    ) -> None:
        self.target, self.model, self.scope = target, model, scope
        self.implied, self.found = implied, found

    def resolve(self, expression: tree.Expression, role: str = "value") -> tree.Expression:
        """The expression with full names; ``role`` is weight, summand or value."""
        match expression:
            case tree.Name():
                return replace(expression, name=self._meaning(expression, role))
            case tree.Call(function="matmul"):
                left, right = expression.args
                args = (self.resolve(left, "weight"), self.resolve(right))
                return replace(expression, args=args)
            case tree.Call():
                inner = "summand" if expression.function in ("add", "subtract") else "value"
                args_ = tuple(self.resolve(argument, inner) for argument in expression.args)
                words = tuple(
                    (name, value if name == "per" else self.resolve(value))
                    for name, value in expression.keywords
                )
                return replace(expression, args=args_, keywords=words)
            case tree.Pick():
                first = _Resolver(
                    expression.targets[0], self.model, self.scope, self.implied, self.found
                )
                return replace(expression, value=first.resolve(expression.value))
            case _:
                return tree.changed(expression, self.resolve)

    def _meaning(self, name: tree.Name, role: str) -> str:
        written = name.name
        if written in self.scope:
            return written
        declared = self.model.declarations.get(f"{written}_{subscript(self.target)}")
        if declared is not None and declared.kind == "param":
            return declared.name
        kind = _implied_kind(written, role)
        if kind is not None and self.target != "output":
            full = written if "_" in written else f"{written}_{subscript(self.target)}"
            return self._imply(full, kind, name.span)
        self.found.add(self._unknown(name, role))
        return written

    def _imply(self, full: str, kind: str, span: Span) -> str:
        before = self.implied.get(full)
        if before is not None and before.owner != self.target:
            self.found.add(_shared(full, before.span, span))
        elif before is None:
            weight = kind == "weight"
            self.implied[full] = Implied(full, "weight" if weight else "bias", self.target, span)
        return full

    def _unknown(self, name: tree.Name, role: str) -> Diagnostic:
        written = name.name
        if written.endswith("'"):
            primed = [known for known in self.scope if known.endswith("'")]
            return Diagnostic(
                "unknown-name",
                f"`{written}` is the next value of no state",
                name.span,
                hints=did_you_mean(written, primed),
            )
        hints = did_you_mean(written, [*self.scope, *self.implied])
        if role == "summand" and not hints:
            hints = (f"a bias is written `b` or `b_{written}`",)
        if written[0].isupper() and role != "summand":
            hints += (f"as a weight it stands left of a product: `{written}·x`",)
        elif not hints:
            hints = (f"declare it: `input {written}[I]` or `param {written}[H]`",)
        return Diagnostic(
            "unknown-name",
            f"`{written}` is declared and defined nowhere",
            name.span,
            hints=hints,
        )


def _implied_kind(name: str, role: str) -> str | None:
    if role == "weight" and name[0].isupper():
        return "weight"
    if role == "summand" and (name == "b" or name.startswith("b_")):
        return "bias"
    return None


def _check_sharing(model: Model, found: Collector) -> None:
    """Report parameters used twice in an equation, or by two without being shared."""
    users: dict[str, list[tuple[str, Span]]] = {}
    for state in model.of_kind("state"):
        for name in _names(state.initial) if state.initial is not None else ():
            if name.name in model.implied:
                users.setdefault(name.name, []).append((state.name, name.span))
    for target, equation in model.equations.items():
        if isinstance(equation.value, tree.Pick) and equation.value.index:
            continue
        for name in _names(equation.value):
            if name.name in model.implied or _unshared(model, name.name):
                users.setdefault(name.name, []).append((target, name.span))
    for parameter, uses in users.items():
        first_target, first = uses[0]
        for target, span in uses[1:]:
            if target == first_target and parameter in model.implied:
                found.add(_twice(parameter, first, span))
            elif target != first_target:
                found.add(_shared(parameter, first, span))


def _unshared(model: Model, name: str) -> bool:
    """Whether a name is a declared parameter that is not declared shared."""
    declaration = model.declarations.get(name)
    if declaration is None or declaration.kind != "param":
        return False
    return all(modifier.name != "shared" for modifier in declaration.modifiers)


def _names(expression: tree.Expression) -> Iterator[tree.Name]:
    for part in tree.walk(expression):
        if isinstance(part, tree.Name):
            yield part


def _twice(parameter: str, first: Span, second: Span) -> Diagnostic:
    stem, _, rest = parameter.partition("_")
    return Diagnostic(
        "parameter-used-twice",
        f"the parameter `{parameter}` is used twice in one equation",
        second,
        "again here",
        related=(Related(first, "first here"),),
        hints=(f"for two parameters write two names, such as `{stem}_{rest}x` and `{stem}_{rest}h`",
               f"for one parameter used twice declare it: `param {parameter}[…]`"),
    )  # fmt: skip


def _shared(parameter: str, first: Span, second: Span) -> Diagnostic:
    return Diagnostic(
        "parameter-shared",
        f"the parameter `{parameter}` belongs to another equation",
        second,
        "used here too",
        related=(Related(first, "it belongs to this one"),),
        hints=(f"to share it on purpose declare it: `param {parameter}[…] shared`",),
    )
