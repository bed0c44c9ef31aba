"""The definitions of modules here, as text: files that stand alone contain them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

#: The modules whose definitions files for a GPU contain.
GPU = ("gpu/numbers", "gpu/places", "gpu/calls", "gpu/memory", "gpu/launches")


@cache
def definitions(module: str) -> dict[str, ast.stmt]:
    """The functions, classes and values that a module here defines, by name, in its order."""
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    return {name: statement for statement in tree.body for name in _defined(statement)}


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))


def number(module: str, name: str) -> int:
    """A whole number that a module here defines, as a product of such or as it is."""
    statement = definitions(module)[name]
    assert isinstance(statement, ast.Assign)
    numbers = (node for node in ast.walk(statement.value) if isinstance(node, ast.Constant))
    return math.prod(node.value for node in numbers if isinstance(node.value, int))


def needed(modules: Iterable[str], names: set[str]) -> list[ast.stmt]:
    """The definitions of some modules that names need, and those that these need, in order."""
    known = {name: text for module in modules for name, text in definitions(module).items()}
    wanted: set[str] = set()
    pending = [name for name in names if name in known]
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            read = (node.id for node in ast.walk(known[name]) if isinstance(node, ast.Name))
            pending += [other for other in read if other in known]
    return [known[name] for name in known if name in wanted]
