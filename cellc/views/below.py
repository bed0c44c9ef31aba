"""What stands below a picture that Graphviz places: its legend and its equations, as its label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cellc.views.theme import Theme

#: What makes a line of text that high.
TALL = '<FONT POINT-SIZE="19"> </FONT>'
LEFT = '<BR ALIGN="LEFT"/>'

#: A text and the looks of the cell that it stands in, as Graphviz's HTML takes them.
Swatch = tuple[str, Mapping[str, str]]


def lined(lines: Iterable[str]) -> str:
    """Lines of Graphviz's HTML below each other."""
    return "".join(f"{line}{TALL}{LEFT}" for line in lines)


def row_of(theme: Theme, swatches: Iterable[Swatch]) -> str:
    """A row of boxes in the looks of what they name; empty where there are none."""
    cells = "".join(_cell(*swatch) for swatch in swatches)
    table = f'<TABLE BORDER="0" CELLSPACING="5" CELLPADDING="3" COLOR="{theme.ink}">'
    return f'<FONT POINT-SIZE="11">{table}<TR>{cells}</TR></TABLE></FONT>' if cells else ""


def _cell(text: str, looks: Mapping[str, str]) -> str:
    told = "".join(f' {key}="{value}"' for key, value in {"BORDER": "1", **looks}.items())
    return f"<TD{told}>{text}</TD>"


def label_of_all(parts: Iterable[str]) -> dict[str, str]:
    """What a graph has as its label for parts below each other; nothing where all are empty."""
    rows = "".join(f'<TR><TD BALIGN="LEFT">{part}</TD></TR>' for part in parts if part)
    return {"label": f'<<TABLE BORDER="0" CELLSPACING="8">{rows}</TABLE>>'} if rows else {}
