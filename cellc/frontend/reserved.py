"""Names that mean something already: to the language, or to constructors of emitted classes."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterator

from cellc.diagnostics import Collector, Diagnostic, Related, Span
from cellc.frontend.model import USUAL_DIMENSIONS, Model
from cellc.frontend.order import COMBINATOR_NAMES
from cellc.frontend.special import FUNCTIONS
from cellc.ops import find
from cellc.syntax import tree
from cellc.syntax.characters import IMPORTED_NAMES, ascii_name

#: What emitted constructors take or need beside the cell's own arguments.
CONSTRUCTOR_NAMES = frozenset(
    [
        "self",
        "seed",
        "dtype",
        "device",
        "batch_first",
        "training",
        "params",
        "step",
        "initial_state",
        "forward",
        "reset_parameters",
        "extra_repr",
        "np",
        "math",
        "zlib",
        "torch",
        "nn",
        "F",
    ]
)

#: Cells that are the layer of a function's name.
SHIPPED_LAYERS = frozenset({"dropout"})

#: What calls of emitted classes take beside the inputs.
CALL_NAMES = frozenset(
    ["state", "lengths", "steps", "batch", "training", "draws", "rng", "generator", "trace"]
)

_PYTHON = frozenset([*keyword.kwlist, *dir(builtins)])


def check_reserved(model: Model, found: Collector) -> None:
    """Report names of functions, dimensions, options and inputs that are taken."""
    for function in model.functions.values():
        if find(function.name) is not None or function.name == "prev":
            message = f"`{function.name}` is an operation of the language"
            hint = "give the small function another name"
            found.add(Diagnostic("reserved-name", message, function.span, hints=(hint,)))
        for name in _repeated(function.parameters):
            message = f"`{function.name}` has two parameters called `{name}`"
            found.add(Diagnostic("duplicate-name", message, function.span))
    for share in model.shares.values():
        if _is_layer(share.name):
            message = f"`{share.name}` is a layer of the language"
            found.add(
                Diagnostic("reserved-name", message, share.span, hints=("give it another name",))
            )
    if _is_layer(model.name) and model.name not in SHIPPED_LAYERS:
        message = f"a cell cannot be called `{model.name}`"
        hint = "the language has a function or layer of this name"
        found.add(Diagnostic("reserved-name", message, model.span, hints=(hint,)))
    _check_dimensions(model, found)
    _check_arguments(model, found)
    for declaration in model.of_kind("input"):
        if ascii_name(declaration.name) in CALL_NAMES:
            message = f"an input cannot be called `{declaration.name}`"
            hint = "calls of emitted classes take an argument of this name already"
            found.add(Diagnostic("reserved-name", message, declaration.span, hints=(hint,)))


def _is_layer(name: str) -> bool:
    op = find(name)
    op = op if op is not None and op.written else None
    return name in FUNCTIONS or name in COMBINATOR_NAMES or (op is not None and not op.leaf)


def _repeated(names: tuple[str, ...]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _check_dimensions(model: Model, found: Collector) -> None:
    """A dimension is a variable of emitted code and must differ from every value."""
    values: dict[str, tree.Function | tree.Equation | tree.Declaration] = {
        **model.functions,
        **model.equations,
        **model.declarations,
    }
    for name in dict.fromkeys([*model.dims, *USUAL_DIMENSIONS]):
        dimension = model.dims.get(name)
        if name in values:
            message = f"`{name}` is a dimension"
            related = (Related(dimension.span, "declared here"),) if dimension else ()
            hint = f"`{name}` is the constructor's `{USUAL_DIMENSIONS.get(name, name)}`"
            found.add(Diagnostic("reserved-name", message, values[name].span, related=related,
                                 hints=() if dimension else (hint,)))  # fmt: skip
        if dimension is None:
            continue
        capital = name.isascii() and name[0].isupper()
        if not capital or name in _PYTHON or name in IMPORTED_NAMES:
            message = f"a dimension cannot be called `{name}`"
            hint = "a dimension begins with a capital ASCII letter, such as `dim K heads`"
            taken = f"`{name}` has a meaning in emitted code"
            found.add(Diagnostic("reserved-name", message, dimension.span,
                                 hints=(taken if capital else hint,)))  # fmt: skip


def _check_arguments(model: Model, found: Collector) -> None:
    """Every argument of the constructor has a name of its own."""
    usual = {a for d, a in USUAL_DIMENSIONS.items() if d not in model.dims}
    taken: dict[str, Span] = {}
    for name, span in _arguments(model):
        argument = ascii_name(name)
        if argument in CONSTRUCTOR_NAMES or (argument != name and name.isascii()) or name in usual:
            message = f"an argument of the constructor cannot be called `{name}`"
            hint = "constructors take or need this name already; choose another"
            found.add(Diagnostic("reserved-name", message, span, hints=(hint,)))
        elif argument in taken:
            message = f"two arguments of the constructor are called `{argument}`"
            related = (Related(taken[argument], "the first is here"),)
            found.add(Diagnostic("duplicate-name", message, span, related=related))
        taken.setdefault(argument, span)


def _arguments(model: Model) -> Iterator[tuple[str, Span]]:
    for dimension in model.dims.values():
        yield dimension.argument, dimension.span
    for option in model.of_kind("option"):
        yield option.name, option.span
