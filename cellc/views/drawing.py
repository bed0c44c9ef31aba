"""A finished picture: it can be saved and displays itself in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pygraphviz

from cellc.diagnostics import fail
from cellc.files import write_file
from cellc.views.svg import tidied

_FORMATS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot"}


@dataclass(frozen=True)
class Drawing:
    """A picture.

    ``dot`` is Graphviz source, ``engine`` the layout of Graphviz that draws it: ``neato -n2``
    draws what has positions, under the name ``nop2``; ``stands_for`` names, for each value of
    the step, the thing in the picture that shows it or has absorbed it; ``latex`` are the
    equations.
    """

    dot: str = field(repr=False)
    title: str = "cell"
    engine: str = field(default="nop2", repr=False)
    stands_for: Mapping[str, str] = field(default_factory=dict, repr=False)
    latex: str = field(default="", repr=False)

    def svg(self) -> str:
        """The picture as SVG text."""
        return tidied(self._rendered("svg").decode("utf-8"))

    def save(self, path: str | Path) -> None:
        """Write the picture; the suffix says how: .svg, .png, .pdf or .dot.

        Raises CellcError ``unwritable``; no partial file is left.
        """
        path = Path(path)
        write_file(path, self.file(path.suffix, path.name))

    def file(self, suffix: str, name: str = "") -> bytes:
        """The content of a file of this kind. Raises CellcError ``unwritable``."""
        known = _FORMATS.get(suffix.lower())
        if known is None:
            hints = (f"known endings: {', '.join(_FORMATS)}",)
            fail("unwritable", f"a diagram cannot be written as `{name or suffix}`", hints=hints)
        texts = {"dot": lambda: self.dot, "svg": self.svg}
        return texts[known]().encode("utf-8") if known in texts else self._rendered(known)

    def _rendered(self, kind: str) -> bytes:
        return bytes(pygraphviz.AGraph(string=self.dot).draw(format=kind, prog=self.engine))

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_latex_(self) -> str | None:
        return f"$${self.latex}$$" if self.latex else None

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, str]:
        bundle = {"image/svg+xml": self.svg(), "text/plain": repr(self)}
        latex = self._repr_latex_()
        return bundle if latex is None else {**bundle, "text/latex": latex}
