"""What a compiled loop is given and gives, in the order in which it takes them."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.ir import Dim


@dataclass(frozen=True)
class Packed:
    """A weight in panels: the outputs at ``starts``, ``blocks`` vectors at a time."""

    weight: str
    name: str
    transposed: bool
    size: Dim
    depth: Dim
    length: Dim
    starts: tuple[Dim, ...]
    blocks: int


@dataclass(frozen=True)
class Arguments:
    """The arguments of a compiled loop.

    Attributes:
        dims: names of dimensions. numbers: values that are one number.
        rows: values with a row for each step of each sequence, ``held`` with one for each
            sequence, ``fixed`` with one for all.
        packed: weights in panels.
        outputs: values written whole, the first ``always`` of them in any case, others if the
            derivative is to be computed.
        states: the states, which are read and left in place.
        local: values that stay within a step, ``ahead`` within a block of steps.
        shifts: states that are the rows of ``rows`` one step before, and of which.
    """

    dims: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[str, ...]
    held: tuple[str, ...]
    fixed: tuple[str, ...]
    ahead: tuple[str, ...]
    packed: tuple[Packed, ...]
    outputs: tuple[str, ...]
    always: int
    states: tuple[str, ...]
    local: tuple[str, ...]
    shifts: tuple[tuple[str, str], ...]

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights that panels are made of, each once."""
        return tuple(dict.fromkeys(packed.weight for packed in self.packed))

    @property
    def panels(self) -> list[int]:
        """Of which of ``weights`` each of ``packed`` is."""
        return [self.weights.index(packed.weight) for packed in self.packed]

    @property
    def others(self) -> tuple[str, ...]:
        """The values that have no row for each step."""
        return (*self.held, *self.fixed, *(state for state, _ in self.shifts))
