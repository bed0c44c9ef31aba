"""Which passes run at which level, as data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from cellc.diagnostics import fail
from cellc.ir import Cell
from cellc.passes.algebra import Algebra, Combine
from cellc.passes.associate import AssociateProducts
from cellc.passes.base import Pass, name_of
from cellc.passes.cse import Cse
from cellc.passes.dce import Dce
from cellc.passes.extents import Extents
from cellc.passes.factor import FactorProducts
from cellc.passes.fold import Fold
from cellc.passes.fuse_elementwise import FuseElementwise
from cellc.passes.fuse_matmul import FuseMatmul
from cellc.passes.hoist import RegroupSums, SplitProducts
from cellc.passes.join_products import JoinProducts
from cellc.passes.known_factors import KnownFactors
from cellc.passes.rewrite import Firing
from cellc.passes.share_complement import ShareComplement
from cellc.passes.strength import Strength

PIPELINES: dict[str, tuple[Pass, ...]] = {
    "O0": (),
    "O1": (Fold(), Algebra(), ShareComplement(), Cse(), Dce(), Extents(), Strength()),
    "O2": (
        Fold(),
        Algebra(),
        ShareComplement(),
        Cse(),
        Dce(),
        Extents(),
        Strength(),
        AssociateProducts(),
        SplitProducts(),
        Cse(),
        FactorProducts(),
        JoinProducts(),
        RegroupSums(),
        Dce(),
        FuseMatmul(),
        Cse(),
        FuseElementwise(),
        Combine(),
        Cse(),
        Dce(),
    ),
}

#: What runs on the derivative of a cell that a level has optimised.
DERIVED: dict[str, tuple[Pass, ...]] = {
    "O0": (),
    "O1": (Fold(), Algebra(), Cse(), Dce()),
    "O2": (
        Fold(),
        Algebra(),
        Cse(),
        Dce(),
        KnownFactors(),
        Cse(),
        JoinProducts(),
        RegroupSums(),
        Dce(),
        FuseMatmul(),
        Cse(),
        FuseElementwise(),
        Combine(),
        Cse(),
        Dce(),
    ),
}


def steps(cell: Cell, level: str) -> Iterator[tuple[str, Cell]]:
    """The name of each pass of a level with the cell it leaves."""
    for step in _pipeline(level):
        cell = step.run(cell)
        yield name_of(step), cell


def optimise(cell: Cell, level: str) -> Cell:
    """The cell after all passes of a level: ``O0``, ``O1`` or ``O2``."""
    return reduce(lambda so_far, step: step.run(so_far), _pipeline(level), cell)


def optimise_derived(cell: Cell, level: str) -> Cell:
    """A derived cell after the passes that a level has for those."""
    return reduce(lambda so_far, step: step.run(so_far), DERIVED[level], cell)


def firings(cell: Cell, level: str) -> list[Firing]:
    """Which rules the passes of a level apply, and where."""
    log: list[Firing] = []
    for step in _pipeline(level):
        if isinstance(step, (Algebra, ShareComplement)):
            cell, fired = step.run_logged(cell)
            log += fired
        else:
            cell = step.run(cell)
    return log


def level_called(name: str) -> str:
    """The level of a name, in full: ``O1`` of ``1``. Raises CellcError ``unknown-level``."""
    level = name if name.startswith("O") else f"O{name}"
    if level not in PIPELINES:
        known = ", ".join(f"`{each}`" for each in PIPELINES)
        fail("unknown-level", f"there is no level `{name}`", hints=(f"known: {known}",))
    return level


def _pipeline(level: str) -> tuple[Pass, ...]:
    return PIPELINES[level_called(level)]
