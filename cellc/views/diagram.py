"""The gate diagram of a cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import graphviz

from cellc.ir import Cell


@dataclass(frozen=True)
class Drawing:
    """A picture that can be saved and displays itself in a notebook."""

    dot: str

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.dot)


def diagram(cell: Cell) -> Drawing:
    graph = graphviz.Digraph(cell.name)
    return Drawing(graph.source)
