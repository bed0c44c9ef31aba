"""Draws: values that come from a generator, here for initial values of parameters.

A draw's attributes are the ``label`` it is drawn for, which seeds it, and its ``shape``.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import NOWHERE, Type, TypeMismatch
from cellc.ir.types import shape_text
from cellc.ops.op import Attrs, Op, elementwise


def _drawn(args: Sequence[Type], attrs: Attrs) -> Type:
    shape = attrs["shape"]
    assert isinstance(shape, tuple)
    if args:
        elementwise([*args, Type(shape, NOWHERE)], attrs)
    return Type(shape, NOWHERE)


def _matrix(args: Sequence[Type], attrs: Attrs) -> Type:
    drawn = _drawn(args, attrs)
    if len(drawn.shape) != 2:
        raise TypeMismatch(f"only a matrix can be so initialised, not {shape_text(drawn.shape)}")
    return drawn


_ORTHOGONAL = """
def orthogonal(rng, shape):
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if q.shape == shape else q.T
"""

OPS = (
    Op("uniform", "Drawn uniformly between low and high.", "random", ("low", "high"),
       rule=_drawn, spellings={
           "numpy": "draw(label).uniform(low, high, shape)",
           "torch": "low + (high - low) * torch.rand(shape, generator=draw(label), dtype=real)"}),
    Op("normal", "Drawn from a normal distribution.", "random", ("mean", "deviation"),
       rule=_drawn, spellings={
           "numpy": "draw(label).normal(mean, deviation, shape)",
           "torch": "mean + deviation * torch.randn(shape, generator=draw(label), dtype=real)"}),
    Op("orthogonal", "A random matrix with orthonormal rows or columns.", "random",
       rule=_matrix, helpers={"numpy": _ORTHOGONAL}, spellings={
           "numpy": "orthogonal(draw(label), shape)",
           "torch": "nn.init.orthogonal_(torch.empty(shape, dtype=real), generator=draw(label))"}),
    Op("identity", "Ones on the main diagonal, zeros elsewhere.", "random", rule=_matrix,
       spellings={"numpy": "np.eye(*shape)", "torch": "torch.eye(*shape, dtype=real)"}),
)  # fmt: skip
