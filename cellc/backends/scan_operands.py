"""What a scan reads: factors and terms of all its steps, over the whole extent."""

from __future__ import annotations

import ast

from cellc.backends.regions import RegionWriter
from cellc.ir import AtOnce, Scan

#: Above a scan in emitted code.
REMARK = "all steps, of which each is a*h + b of the one {side}"


def operands(writer: RegionWriter, region: Scan) -> list[ast.expr]:
    """The factor and the term, spread over steps and sequences where they are the same for all.

    From here on the writer writes what is at once, as everything around a scan is.
    """
    writer.region = AtOnce(region.values, region.extent)
    found = []
    for name in (region.factor, region.term):
        value = writer.reference(name)
        if writer.cell.nodes[name].type.extent < region.extent:
            value = writer.spread(name, value)
        found.append(value)
    return found


def remark(region: Scan) -> str:
    """How the values of a scan are computed, in words."""
    return REMARK.format(side="after" if region.backward else "before")
