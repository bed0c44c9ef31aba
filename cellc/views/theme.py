"""What the things and wires of a picture look like: a shape and a colour for each role.

Shapes tell roles apart without colours, fills by lightness alone, and for the colour-blind
too. In a picture of two cells everything bears a mark, which lines and colours tell.
``tests/test_themes.py`` measures all of this.
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

#: The marks from the back of a picture to its front; what has none is in a picture of one cell.
MARKS = ("", "removed", "both", "changed", "added")

#: How the outline and the wires of each mark are drawn, whatever the colours are.
_LINES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "removed": ({"penwidth": "1.4"}, {"penwidth": "1.1", "style": "dashed", "arrowhead": "empty"}),
    "changed": ({"penwidth": "1.4", "peripheries": "2"}, {"penwidth": "1.2"}),
    "added": ({"penwidth": "2.8"}, {"penwidth": "2.2"}),
}

#: The roles that have no inside, and how pale what two cells have in common is.
_SOLID, _PALE = ("join", "bar"), 0.5


@dataclass(frozen=True)
class Theme:
    """Colours: of the paper, of text and outlines, of wires, of frames; the fill of each kind.

    ``marks`` are the ink and the tint of each mark; what is in both cells has paler colours.
    """

    paper: str
    ink: str
    wire: str
    frame: str
    fills: Mapping[str, str]
    marks: Mapping[str, tuple[str, str]]

    def looks(self, role: str, kind: str = "", mark: str = "") -> dict[str, str]:
        """The shape and fill of a role, as Graphviz takes them.

        ``kind`` is what sets a thing apart from others of its role: ``time``, ``norm`` or
        ``chance``; ``mark`` is one of the ``MARKS``.
        """
        usual, shape = _SHAPES[role]
        fills = {**self.fills, "ink": self.ink, "chance": self.paper}
        fill = fills.get(kind or usual, "")
        looks = shape | ({"fillcolor": fill} if fill else {})
        looks |= {"style": f"{shape.get('style', 'solid')},dashed"} if kind == "chance" else {}
        return looks | self._marked(role, looks, mark)

    def _marked(self, role: str, looks: Mapping[str, str], mark: str) -> dict[str, str]:
        """What a mark changes in the looks of a thing."""
        if mark == "both":
            fill = self._pale(looks.get("fillcolor", self.paper))
            return {"fillcolor": fill, "color": self._pale(self.ink)}
        if not mark:
            return {}
        ink, tint = self.marks[mark]
        if role in _SOLID:
            return {"color": ink, "fillcolor": ink}
        marked = {"color": ink, **_LINES[mark][0]}
        if role == "number":
            marked |= {"shape": "box", "style": "filled", "fillcolor": tint}
        if mark == "removed":
            style = f"{looks.get('style', 'filled')},dashed"
            marked |= {"fillcolor": tint, "fontcolor": ink, "style": style}
        return marked

    def halo(self, role: str, mark: str) -> dict[str, str]:
        """The tint behind a thing that is new or changed; empty where there is none."""
        if mark not in ("changed", "added") or role in _SOLID:
            return {}
        tint = {"shape": "box", "style": "filled,rounded", "penwidth": "0"}
        return tint | {"fillcolor": self.marks[mark][1], "label": "", "tooltip": " "}

    def wire_looks(self, mark: str) -> dict[str, str]:
        """The colour and the line of a wire, and the colour of what stands beside it.

        What is changed has two lines, as a wire or as an outline.
        """
        if mark == "both":
            return {"color": self._pale(self.wire)}
        if not mark:
            return {}
        ink = self.marks[mark][0]
        line = f"{ink}:{self.paper}:{ink}" if mark == "changed" else ink
        return {"color": line, "fontcolor": ink, **_LINES[mark][1]}

    def mixed(self, colour: str, share: float) -> str:
        """So much of a colour, and the rest of the paper's."""
        both = [[int(each[k : k + 2], 16) for k in (1, 3, 5)] for each in (self.paper, colour)]
        parts = (round(a + (b - a) * share) for a, b in zip(*both, strict=True))
        return "#" + "".join(f"{part:02x}" for part in parts)

    def _pale(self, colour: str) -> str:
        return self.mixed(colour, 1 - _PALE)

    @property
    def defaults(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """What holds for the picture, for all things and for all wires."""
        things = {
            "fontname": "Helvetica", "fontsize": "15", "fontcolor": self.ink, "color": self.ink,
            "margin": "0.06,0.04", "width": "0.36", "height": "0.36"}  # fmt: skip
        wires = {
            "fontname": "Helvetica", "fontsize": "9", "fontcolor": self.wire, "color": self.wire,
            "arrowsize": "0.55"}  # fmt: skip
        return {"pad": "0.12", "margin": "0", "bgcolor": self.paper}, things, wires


THEMES = {
    "light": Theme("#ffffff", "#222222", "#444444", "#fffaed", {
        "given": "#e9f5df", "state": "#c3dff7", "learned": "#f6c945", "block": "#fbe6ae",
        "op": "#f0a08a",
        "time": "#ac95d6", "norm": "#58a394"}, {
        "added": ("#00765a", "#c9f0d9"), "removed": ("#c23b2e", "#fdeceb"),
        "changed": ("#a56600", "#ffe4b0")}),
    "dark": Theme("#17191c", "#f2f2f2", "#b8bcc2", "#25231b", {
        "given": "#20382a", "state": "#1c4c7c", "learned": "#846500", "block": "#40371a",
        "op": "#9f4e39",
        "time": "#5f4a9c", "norm": "#1b7466"}, {
        "added": ("#5be398", "#15482f"), "removed": ("#ff8078", "#361c1c"),
        "changed": ("#ffc24f", "#4d3a10")}),
    "grey": Theme("#ffffff", "#1a1a1a", "#444444", "#f9f9f9", {
        "given": "#f7f7f7", "state": "#e3e3e3", "learned": "#c9c9c9", "block": "#eeeeee",
        "op": "#b2b2b2",
        "time": "#9c9c9c", "norm": "#8a8a8a"}, {
        "added": ("#000000", "#dcdcdc"), "removed": ("#6e6e6e", "#ffffff"),
        "changed": ("#000000", "#dcdcdc")}),
}  # fmt: skip


def theme_called(name: str) -> Theme:
    """The theme of a name. Raises CellcError ``unknown-theme``."""
    if name not in THEMES:
        known = ", ".join(f"`{theme}`" for theme in THEMES)
        fail("unknown-theme", f"there is no theme `{name}`", hints=(f"known: {known}",))
    return THEMES[name]
