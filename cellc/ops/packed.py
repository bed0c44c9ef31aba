"""Products of several vectors at once, [K, n], as the positions along a diagonal need them.

A weight is [K, m, n], one for each vector, or [m, n], the same for all. The language does not
write these ops; passes make them.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import NOWHERE, Dim, Node, Type, TypeMismatch
from cellc.ir.dimension import product
from cellc.ir.types import shape_text, union
from cellc.ops.op import CONTRACTION, SUM, Attrs, Op, Pull, numbers_only
from cellc.ops.transposed import summed_axes

_OWN = 3


def _each(args: Sequence[Type], attrs: Attrs) -> Type:
    """[K, m, n] or [m, n], and [K, n], give [K, m]."""
    return _vectors(args, contracted=-1, left=-2)


def _each_back(args: Sequence[Type], attrs: Attrs) -> Type:
    """[K, m, n] or [m, n], and [K, m], give [K, n]."""
    return _vectors(args, contracted=-2, left=-1)


def _vectors(args: Sequence[Type], contracted: int, left: int) -> Type:
    numbers_only(args)
    weight, vectors = args[0].shape, args[1].shape
    fits = len(vectors) == 2 and len(weight) in (2, _OWN) and weight[contracted] == vectors[1]
    if args[0].extent or not fits or (len(weight) == _OWN and weight[0] != vectors[0]):
        message = f"{shape_text(weight)} does not multiply each of {shape_text(vectors)}"
        raise TypeMismatch(message, (0, 1))
    result = (vectors[0], weight[left])
    if len(args) > 2 and args[2].shape != result:
        message = f"{shape_text(result)} and {shape_text(args[2].shape)} do not fit"
        raise TypeMismatch(message, (0, 2))
    return Type(result, union(args))


def _summed(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    shape, over = attrs["shape"], summed_axes(attrs)
    assert isinstance(shape, tuple)
    if any(not over <= operand.extent for operand in args):
        raise TypeMismatch(f"only what varies along {', '.join(sorted(over))} can be so summed")
    return Type(shape, union(args) - over)


def _work(args: Sequence[Type], result: Type) -> Dim:
    """Each vector meets every number of its weight once."""
    weight = args[0].shape
    return product(weight) if len(weight) == _OWN else product(weight) * result.shape[0]


def _spelled(own: str, shared: str) -> object:
    def spelling(node: Node, types: Sequence[Type]) -> str:
        return own if len(types[0].shape) == _OWN else shared

    return spelling


def _spell_total(node: Node, types: Sequence[Type]) -> str:
    shape = node.attr("shape")
    assert isinstance(shape, tuple)
    return "each_outer_sum(g, v)" if len(shape) == _OWN else "shared_outer_sum(g, v)"


def _torch_add(node: Node, types: Sequence[Type]) -> str:
    if len(types[0].shape) != _OWN:
        return "F.linear(v, w) + c"
    added = "c[:, None]" if types[2].extent == NOWHERE else "c.transpose(0, 1)"
    return f"torch.baddbmm({added}, v.transpose(0, 1), w.mT).transpose(0, 1)"


_TORCH_SUMS = '''
def each_outer_sum(g, v):
    """The sum over all rows of the outer products of each vector of g with its own of v."""
    return torch.bmm(g.permute(1, 2, 0), v.transpose(0, 1))

def shared_outer_sum(g, v):
    """The sum over all rows and vectors of the outer products of those of g and of v."""
    return g.flatten(0, 1).T @ v.flatten(0, 1)
'''

_NUMPY_EACH = '''
def each_matmul(w, v):
    """Each weight with its own vector."""
    rows = v.reshape(-1, *v.shape[-2:]).swapaxes(0, 1)
    return (rows @ w.swapaxes(1, 2)).swapaxes(0, 1).reshape(*v.shape[:-1], w.shape[1])
'''

_NUMPY_SUMS = '''
def each_outer_sum(g, v):
    """The sum over all steps of the outer products of each vector of g with its own of v."""
    g, v = (a.reshape(-1, *a.shape[-2:]) for a in (g, v))
    return g.transpose(1, 2, 0) @ v.swapaxes(0, 1)

def shared_outer_sum(g, v):
    """The sum over all steps and vectors of the outer products of those of g and of v."""
    return g.reshape(-1, g.shape[-1]).T @ v.reshape(-1, v.shape[-1])
'''


def _pullback(p: Pull, slot: int) -> str | None:
    if slot == 2:
        return p.g
    weight, vectors = p.args[:2]
    if slot == 1:
        return p.add("each_matmul_transposed", weight, p.g)
    return p.total("each_outer_sum", p.g, vectors, shape=p.type(weight).shape)


OPS = (
    Op("each_matmul", "The product of each of K vectors with a weight, its own or one for all.",
       "contraction", ("w", "v"), rule=_each, work=_work, pullback=_pullback,
       spellings={"numpy": _spelled("each_matmul(w, v)", "v @ w.T"),  # type: ignore[dict-item]
                  "torch": _spelled("torch.bmm(v.transpose(0, 1), w.mT)"
                                    ".transpose(0, 1)", "F.linear(v, w)")},  # type: ignore[dict-item]
       helpers={"numpy": _NUMPY_EACH},
       linear=(frozenset({0}), frozenset({1})), notation="$w·$v", precedence=CONTRACTION,
       latex="$w $v", glyph="·", written=False),
    Op("each_matmul_add", "The product of each of K vectors with a weight, and a sum.",
       "contraction", ("w", "v", "c"), rule=_each, work=_work, pullback=_pullback,
       spellings={"numpy": _spelled("each_matmul(w, v) + c", "v @ w.T + c"),  # type: ignore[dict-item]
                  "torch": _torch_add},
       helpers={"numpy": _NUMPY_EACH},
       linear=(frozenset({0, 2}), frozenset({1, 2})), notation="$w·$v + $c", precedence=SUM,
       latex="$w $v + $c", glyph="·+", written=False),
    Op("each_matmul_transposed", "The product of each of K vectors with a transposed weight.",
       "contraction", ("w", "g"), rule=_each_back, work=_work,
       spellings={"numpy": _spelled("each_matmul(w.swapaxes(1, 2), g)", "g @ w"),  # type: ignore[dict-item]
                  "torch": _spelled("torch.bmm(g.transpose(0, 1), w).transpose(0, 1)", "g @ w")},  # type: ignore[dict-item]
       helpers={"numpy": _NUMPY_EACH},
       linear=(frozenset({0}), frozenset({1})), notation="$wᵀ·$g", precedence=CONTRACTION,
       latex=r"$w^\top $g", glyph="ᵀ·", written=False),
    Op("each_outer_sum", "The sum of the outer products of K vectors each with its own: the "
       "gradient of the weights of `each_matmul`.", "total", ("g", "v"), rule=_summed,
       spelling=_spell_total, helpers={"numpy": _NUMPY_SUMS, "torch": _TORCH_SUMS},
       linear=(frozenset({0}), frozenset({1})), latex=r"\sum_t $g $v^\top", glyph="Σ⊗",
       written=False),
)  # fmt: skip
