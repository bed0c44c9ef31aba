"""What the things of a picture look like: a shape and a colour for each role.

Shapes tell roles apart without colours, fills by lightness alone, and for the colour-blind
too; ``tests/test_themes.py`` measures both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cellc.diagnostics import fail

#: The kind of fill and the shape of each role.
_SHAPES: dict[str, tuple[str, dict[str, str]]] = {
    "state": ("state", {"shape": "box", "style": "filled,rounded"}),
    "next": ("state", {"shape": "box", "style": "filled,rounded"}),
    "input": ("given", {"shape": "box", "style": "filled"}),
    "output": ("given", {"shape": "box", "style": "filled"}),
    "learned": ("learned", {"shape": "box", "style": "filled", "width": "0.55"}),
    "circle": ("op", {"shape": "circle", "style": "filled", "margin": "0.02"}),
    "ellipse": ("op", {"shape": "ellipse", "style": "filled", "margin": "0"}),
    "mixer": ("op", {"shape": "trapezium", "orientation": "270", "style": "filled", "margin": "0"}),
    "number": ("", {"shape": "plaintext"}),
    "join": ("ink", {"shape": "point", "style": "filled", "width": "0.06"}),
    "bar": ("ink", {"shape": "box", "style": "filled"}),
    "block": ("block", {"shape": "box", "style": "filled", "penwidth": "1.8"}),
    "loop": ("state", {"shape": "box", "style": "filled,rounded", "margin": "0.14,0.08"}),
    "region": ("learned", {"shape": "box", "style": "filled", "margin": "0.14,0.08"}),
}


@dataclass(frozen=True)
class Theme:
    """Colours: of the paper, of text and outlines, of wires, of frames; the fill of each kind."""

    paper: str
    ink: str
    wire: str
    frame: str
    fills: Mapping[str, str]

    def looks(self, role: str, kind: str = "") -> dict[str, str]:
        """The shape and fill of a role, as Graphviz takes them.

        ``kind`` is what sets a thing apart from others of its role: ``time``, ``norm`` or
        ``chance``.
        """
        usual, shape = _SHAPES[role]
        fills = {**self.fills, "ink": self.ink, "chance": self.paper}
        fill = fills.get(kind or usual, "")
        looks = shape | ({"fillcolor": fill} if fill else {})
        return looks | ({"style": f"{shape['style']},dashed"} if kind == "chance" else {})

    @property
    def defaults(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """What holds for the picture, for all things and for all wires."""
        things = {
            "fontname": "Helvetica", "fontsize": "15", "fontcolor": self.ink, "color": self.ink,
            "margin": "0.06,0.04", "width": "0.36", "height": "0.36"}  # fmt: skip
        wires = {
            "fontname": "Helvetica", "fontsize": "9", "fontcolor": self.wire, "color": self.wire,
            "arrowsize": "0.55"}  # fmt: skip
        return {"pad": "0.12", "bgcolor": self.paper}, things, wires


THEMES = {
    "light": Theme("#ffffff", "#222222", "#444444", "#fffaed", {
        "given": "#e9f5df", "state": "#c3dff7", "learned": "#f6c945", "block": "#fbe6ae",
        "op": "#f0a08a",
        "time": "#ac95d6", "norm": "#58a394"}),
    "dark": Theme("#17191c", "#f2f2f2", "#b8bcc2", "#25231b", {
        "given": "#20382a", "state": "#1c4c7c", "learned": "#846500", "block": "#40371a",
        "op": "#9f4e39",
        "time": "#5f4a9c", "norm": "#1b7466"}),
    "grey": Theme("#ffffff", "#1a1a1a", "#444444", "#f9f9f9", {
        "given": "#f7f7f7", "state": "#e3e3e3", "learned": "#c9c9c9", "block": "#eeeeee",
        "op": "#b2b2b2",
        "time": "#9c9c9c", "norm": "#8a8a8a"}),
}  # fmt: skip


def theme_called(name: str) -> Theme:
    """The theme of a name. Raises CellcError ``unknown-theme``."""
    if name not in THEMES:
        known = ", ".join(f"`{theme}`" for theme in THEMES)
        fail("unknown-theme", f"there is no theme `{name}`", hints=(f"known: {known}",))
    return THEMES[name]
