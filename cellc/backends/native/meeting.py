"""Where the members of a team must wait for each other.

Each member has places of its own in the lanes of a length, and rows of its own in other stages.
What a member reads elsewhere, another may have written.
"""

from __future__ import annotations

from cellc.backends.native.memory import Memory
from cellc.backends.native.stages import Stage, Whole
from cellc.ir import Dim

#: The length of what stages of different lengths have written.
MIXED = Dim.of(0)


def meetings(memory: Memory) -> frozenset[int]:
    """The numbers of the stages before which all members meet."""
    found: set[int] = set()
    dirty: dict[str, Dim | None] = {}
    for _ in range(2):  # what one step leaves, the next one finds
        for number, stage in enumerate(memory.step.stages):
            if _reads_of_others(memory, stage, dirty):
                found.add(number)
                dirty = {}
            for name, length in _written(stage).items():
                mixed = dirty.get(name, length) != length
                dirty[name] = MIXED if mixed else length
        nexts = memory.nexts
        dirty |= {s: dirty[nexts[s]] for s in memory.loop.carries if nexts[s] in dirty}
    return frozenset(found)


def _written(stage: Stage) -> dict[str, Dim | None]:
    """What a stage writes, with the length of the lanes that members share."""
    if isinstance(stage, Whole):
        return {stage.value: None}
    return {segment.value: stage.length for segment in stage.stores}


def _reads_of_others(memory: Memory, stage: Stage, dirty: dict[str, Dim | None]) -> bool:
    """Whether a stage reads what is dirty at places, or in rows, that another member has."""
    step = memory.step
    if isinstance(stage, Whole):
        return any(dirty.get(name) is not None for name in step.read(stage))
    products = {step.in_one_piece(gemm.vector) for gemm in stage.products}
    others = {name for name, length in dirty.items() if length != stage.length}
    return bool(products & dirty.keys()) or not others.isdisjoint(step.read(stage))
