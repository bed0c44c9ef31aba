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


def _scaled(args: Sequence[Type], attrs: Attrs) -> Type:
    """A square matrix, square blocks, or a vector that stands for a diagonal matrix."""
    drawn = _drawn(args, attrs)
    shape = drawn.shape
    if len(shape) not in (1, 2, 3) or (len(shape) > 1 and shape[-1] != shape[-2]):
        raise TypeMismatch(
            f"only a square matrix has a spectral radius, not {shape_text(shape)}", (0,)
        )
    return drawn


_NUMPY_RADIUS = '''
def spectral_radius(a, radius, shape):
    """The matrix scaled so that its largest eigenvalue is as far from zero as the radius."""
    a = np.broadcast_to(a, shape)
    largest = np.abs(a if a.ndim == 1 else np.linalg.eigvals(a)).max()
    return a * (radius / largest) if largest > 0 else a
'''

_TORCH_RADIUS = '''
def spectral_radius(a, radius, shape):
    """The matrix scaled so that its largest eigenvalue is as far from zero as the radius."""
    a = a.expand(shape)
    largest = (a if a.dim() == 1 else torch.linalg.eigvals(a)).abs().max()
    return a * (radius / largest) if largest > 0 else a
'''

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
    Op("bernoulli", "Each entry is 1 with probability p, else 0.", "random", ("p",), rule=_drawn,
       range=(0, 1), spellings={
           "numpy": "(draw(label).random(shape) < p).astype(dtype)",
           "torch": "(torch.rand(shape, generator=draw(label), dtype=real) < p).to(real)"}),
    Op("spectral_radius", "A square matrix scaled so that its largest eigenvalue has this "
       "absolute value; a matrix without one above zero stays as it is.", "random",
       ("a", "radius"), rule=_scaled,
       helpers={"numpy": _NUMPY_RADIUS, "torch": _TORCH_RADIUS},
       spelling="spectral_radius(a, radius, shape)"),
)  # fmt: skip
