"""Dimensions whose size the spec tells, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cellc.ir import Attribute, Cell, Dim, Node


def with_known_sizes(cell: Cell) -> Cell:
    """A cell whose types and attributes have numbers for the dimensions that are fixed."""
    fixed = {d: Dim.of(a.default) for d, a in cell.dims.items() if a.fixed and a.default}
    if not fixed:
        return cell
    return cell.replace({name: _known(node, fixed) for name, node in cell.nodes.items()})


def _known(node: Node, fixed: Mapping[str, Dim]) -> Node:
    shape = tuple(dim.substitute(fixed) for dim in node.type.shape)
    attrs = tuple((key, _attribute(value, fixed)) for key, value in node.attrs)
    return replace(node, type=replace(node.type, shape=shape), attrs=attrs)


def _attribute(value: Attribute, fixed: Mapping[str, Dim]) -> Attribute:
    if isinstance(value, Dim):
        return value.substitute(fixed)
    if isinstance(value, tuple):
        return tuple(dim.substitute(fixed) for dim in value)
    return value
