"""Chance and training: numbers drawn at every call, and what differs while training."""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import Node, Type
from cellc.ir.types import Extent, Shape
from cellc.ops.op import Op

_NUMPY_KEEP = '''
def keep(u, p, training):
    """1 where u is at least p and 0 elsewhere; without training the mean of that."""
    if training:
        return (u >= p).astype(u.dtype)
    return np.broadcast_to(np.asarray(1 - p, u.dtype), np.broadcast_shapes(u.shape, np.shape(p)))
'''

_TORCH_KEEP = '''
def keep(u, p, training):
    """1 where u is at least p and 0 elsewhere; without training the mean of that."""
    return (u >= p).to(u.dtype) if training else (1 - p) * torch.ones_like(u)
'''


def _alike(types: Sequence[Type]) -> bool:
    kinds: set[tuple[Shape, Extent]] = {(type_.shape, type_.extent) for type_ in types}
    return len(kinds) == 1


def _chosen(module: str, flag: str, broadcast: str) -> object:
    def spelling(node: Node, types: Sequence[Type]) -> str:
        if _alike(types):
            return f"a if {flag} else b"
        return f"{module}.{broadcast}(a, b)[0 if {flag} else 1]"

    return spelling


OPS = (
    Op("draw", "Numbers drawn uniformly from [0, 1) at every call while training.", "leaf",
       range=(0, 1), flops=0),
    Op("keep", "A mask from drawn numbers: while training 1 where u is at least p and 0 "
       "elsewhere, otherwise the mean of that, 1 - p.", "elementwise", ("u", "p"),
       spellings={"numpy": "keep(u, p, training)", "torch": "keep(u, p, training)"},
       helpers={"numpy": _NUMPY_KEEP, "torch": _TORCH_KEEP},
       derivative=(None, "training(0, -g)"), range=(0, 1), by_mode=True, written=False,
       latex=r"\operatorname{keep}($u, $p)", glyph="mask"),
    Op("training", "a while training, else b.", "elementwise", ("a", "b"),
       spellings={"number": "a if training else b",
                  "numpy": _chosen("np", "training", "broadcast_arrays"),  # type: ignore[dict-item]
                  "torch": _chosen("torch", "training", "broadcast_tensors")},  # type: ignore[dict-item]
       derivative=("training(g, 0)", "training(0, g)"), linear=(frozenset({0, 1}),),
       latex=r"\operatorname{training}($a, $b)", glyph="train", by_mode=True, flops=0),
)  # fmt: skip
