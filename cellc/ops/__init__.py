"""The op table. An op is added by adding its record to one of the modules here."""

from __future__ import annotations

import copyreg
from types import MappingProxyType

from cellc.ops import (
    blocks,
    chance,
    contraction,
    elementwise,
    packed,
    random,
    reduction,
    sequence,
    structural,
    transposed,
)
from cellc.ops.op import Op

_TABLE: dict[str, Op] = {}
_ALIASES: dict[str, str] = {}

#: All ops by name; a view that follows :func:`register`.
TABLE = MappingProxyType(_TABLE)


def register(op: Op) -> Op:
    """Add an op to the table, so that the language, passes and backends know it.

    Raises ValueError where the name or an alias is taken.
    """
    for name in (op.name, *op.aliases):
        if name in _TABLE or name in _ALIASES:
            raise ValueError(f"an op called {name!r} exists already")
    _TABLE[op.name] = op
    _ALIASES.update(dict.fromkeys(op.aliases, op.name))
    return op


def unregister(name: str) -> None:
    """Take an op out again; raises KeyError where it is not in the table."""
    op = _TABLE.pop(name)
    for alias in op.aliases:
        del _ALIASES[alias]


def find(name: str) -> Op | None:
    """The op of this name or alias."""
    return _TABLE.get(_ALIASES.get(name, name))


def named(name: str) -> Op:
    """The op of exactly this name; raises KeyError where there is none."""
    return _TABLE[name]


def function_names() -> list[str]:
    """The names under which the language applies ops, for "did you mean"."""
    return [*(name for name, op in _TABLE.items() if op.written and not op.leaf), *_ALIASES]


copyreg.pickle(Op, lambda op: (named, (op.name,)))

_MODULES = (
    elementwise,
    chance,
    contraction,
    blocks,
    structural,
    reduction,
    sequence,
    transposed,
    packed,
    random,
)

for _module in _MODULES:
    for _op in _module.OPS:
        register(_op)

__all__ = ["TABLE", "Op", "find", "function_names", "named", "register", "unregister"]
