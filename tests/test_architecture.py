"""The bones of the house, enforced over the syntax trees of the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

from cellc.frontend.layers import COMBINATORS
from cellc.frontend.order import COMBINATOR_NAMES

PACKAGE = Path(__file__).parents[1] / "cellc"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: From the ground up. A module may import from rooms above it in this list, not below;
#: rooms of one line never import each other.
LAYERS = (
    ("diagnostics", "resources", "loading"),
    ("kernels",),
    ("files",),
    ("syntax",),
    ("ir",),
    ("ops",),
    ("frontend", "passes", "backends", "views"),
    ("transforms",),
    ("classes",),
    ("driver",),
    ("pictures",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _imports(path: Path) -> Iterator[str]:
    """The modules of this package that a module imports."""
    known = {_name(module) for module in MODULES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "cellc")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cellc":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_one_way(path: Path) -> None:
    here = _room(_name(path))
    for imported in _imports(path):
        there = _room(imported)
        allowed = there == here or HEIGHT[there] < HEIGHT[here]
        assert allowed, f"{_name(path)} imports {imported}"


def test_every_room_has_its_place() -> None:
    assert {_room(_name(path)) for path in MODULES} == set(HEIGHT)


def test_no_import_cycle() -> None:
    graph = nx.DiGraph((_name(path), to) for path in MODULES for to in _imports(path))
    for package in [name for name in graph if (PACKAGE.parent / Path(*name.split("."))).is_dir()]:
        graph.remove_edges_from([(package, package)])
    assert list(nx.simple_cycles(graph)) == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_rooms_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_stand_at_the_top(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = [n for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom))]
            assert not inner, f"{node.name} imports"


def test_the_driver_is_readable_aloud() -> None:
    assert (PACKAGE / "driver.py").read_text().count("\n") < 80


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_and_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def test_the_layers_of_layers_are_those_that_order_and_names_know() -> None:
    assert COMBINATORS.keys() == COMBINATOR_NAMES
