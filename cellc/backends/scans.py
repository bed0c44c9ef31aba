"""What a scan reads and what it leaves: values over the whole extent."""

from __future__ import annotations

import ast

from cellc.backends import pyast
from cellc.backends.pyast import Item, Line
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


def assigned(writer: RegionWriter, region: Scan, call: ast.expr, every: ast.expr) -> list[Item]:
    """The statements around the call of a scan.

    A forward scan gives every next value, from which what the state was before follows where that
    is read. A backward one gives the latter, which derivatives read; ``every`` is then the
    expression of the next values, should they be read.
    """
    (state,) = region.carries
    following = next(name for name in region.values if name != state)
    values, before, last = writer.whole(following), writer.whole(state), writer.ids[state]
    comment = writer.comment(following)
    read = writer.needed_later(region)
    if region.backward:
        items: list[Item] = [Line(pyast.assign([before, last], call), comment)]
        return [*items, Line(pyast.assign(values, every), comment)] if following in read else items
    if state in read:
        return [Line(pyast.assign([values, "_"], call), comment), *writer.shift(state)]
    return [Line(pyast.assign([values, last], call), comment)]


def remark(region: Scan) -> str:
    """How the values of a scan are computed, in words."""
    return REMARK.format(side="after" if region.backward else "before")
