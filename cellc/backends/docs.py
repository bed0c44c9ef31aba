"""What an emitted file says of its cell: description, citation, equations, shapes, key."""

from __future__ import annotations

from cellc.ir import TIME, Cell
from cellc.ir.types import sequence_axis, shape_text
from cellc.ops.notation import equations_of
from cellc.syntax.characters import ascii_name, display_width, padded


def module_text(cell: Cell) -> str:
    """The docstring of an emitted file, about the cell as it was written."""
    parts = [f"{cell.name}: {_plain(cell.description)}" if cell.description else cell.name]
    if cell.citations:
        parts.append("\n".join(_plain(citation) for citation in cell.citations))
    parts.append("\n".join(f"    {_plain_line(line)}" for line in equation_lines(cell)))
    parts.append(f"Key {cell.key()}. Written by cellc.")
    return "\n\n".join(parts) + "\n"


def equation_lines(cell: Cell) -> list[str]:
    """The equations with their comments, aligned."""
    equations = equations_of(cell)
    wide = max(map(display_width, equations), default=0)
    lines = [f"{padded(name, wide)} = {right}" for name, right in equations.items()]
    column = max(map(display_width, lines), default=0)
    return [
        f"{padded(line, column)}  # {_plain(cell.comments[name])}"
        if name in cell.comments
        else line
        for line, name in zip(lines, equations, strict=True)
    ]


def signature(cell: Cell) -> list[str]:
    """The constructor's parameters: sizes, then options behind the star."""
    sizes = [
        a.name + (f"={a.default}" if a.default is not None else "")
        for a in sorted(cell.dims.values(), key=lambda a: a.default is not None)
        if not a.fixed
    ]
    options = [f"{ascii_name(o)}={cell.nodes[o].attr('default'):g}" for o in cell.options]
    return [*sizes, "*", *options]


def argument_lines(cell: Cell) -> list[str]:
    """The constructor's sizes and options, one a line."""
    sizes = [f"    {a.name}: the dimension {dim}." for dim, a in cell.dims.items() if not a.fixed]
    return sizes + [
        f"    {ascii_name(o)}: an option, by default {cell.nodes[o].attr('default'):g}."
        for o in cell.options
    ]


def input_lines(cell: Cell) -> list[str]:
    """``x (T, B, I)`` for the inputs, with the dimensions in front that each has."""
    found: list[str] = []
    for name in cell.inputs:
        axis = sequence_axis(cell.nodes[name].type.extent)
        lead = "B" if axis is None else "T, B" if axis == TIME else f"T_{ascii_name(axis)}, B"
        found += shape_lines(cell, (name,), lead)
    return found


def shape_lines(cell: Cell, names: tuple[str, ...], lead: str) -> list[str]:
    """``x (T, B, I)`` for inputs or states; ``lead`` are the dimensions in front."""
    lines = []
    for name in names:
        dims = [lead, *map(str, cell.nodes[name].type.shape)]
        comma = "," if len(dims) == 1 and "," not in lead else ""
        note = f": {_plain(cell.comments[name])}" if name in cell.comments else ""
        lines.append(f"    {ascii_name(name)} ({', '.join(dims)}{comma}){note}")
    return lines


def parameter_lines(cell: Cell) -> list[str]:
    """The parameters with their shapes, one a line."""
    return [
        f"    {ascii_name(name)} {shape_text(cell.nodes[name].type.shape)}"
        + (", frozen" if "frozen" in dict(cell.nodes[name].attrs) else "")
        for name in cell.params
    ]


def _plain(text: str) -> str:
    """Text that cannot leave the docstring or comment it is put in."""
    return " ".join(_plain_line(text).split())


def _plain_line(text: str) -> str:
    return text.replace("\\", "/").replace('"' * 3, "'" * 3)
