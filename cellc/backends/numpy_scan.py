"""Scans in NumPy: every step of ``h' = a*h + b`` over arrays (T, B, …)."""

from __future__ import annotations

from cellc.backends.axes import word
from cellc.backends.numpy_emitter import NumpyEmitter
from cellc.backends.pyast import Item, quote
from cellc.backends.scans import assigned, operands
from cellc.ir import Scan


def scan(writer: NumpyEmitter, region: Scan) -> list[Item]:
    """The statements that compute a scan: its values, what the state is before each, its last."""
    (state,) = region.carries
    factor, term = operands(writer, region)
    helper = "affine_steps_back" if region.backward else "affine_steps"
    call = quote(f"{helper}(a, b, h, alive)", a=factor, b=term, h=writer.ids[state],
                 alive=word(region.axis, "alive"))  # fmt: skip
    writer.helpers["scan"] = _SCAN
    writer.helpers["affine_steps"] = _ALWAYS if region.always else _AUTO
    if region.backward:
        writer.helpers["affine_steps_back"] = _BACK
    every = quote("a * h + b", a=factor, b=term, h=writer.whole(state))
    return assigned(writer, region, call, every)


_SCAN = '''
def scan(a, b, h):
    """Every value of h' = a*h + b, where h is what the first step starts from.

    Steps are joined in pairs, the pairs are computed in the same way, and then the steps
    between them: about 2*log2(T) operations one after the other, where a loop has T.
    """
    steps = np.empty(b.shape, h.dtype)
    if len(a):
        steps[0] = a[0] * h + b[0]
    if len(a) > 1:
        steps[1::2] = scan(a[1::2] * a[:-1:2], a[1::2] * b[:-1:2] + b[1::2], h)
        steps[2::2] = a[2::2] * steps[1:-1:2] + b[2::2]
    return steps
'''

_STEPS = '''
def affine_steps(a, b, h, alive):
    """Every value of h' = a*h + b, and each sequence's last.

    Behind the end of a sequence, h stays as it is.{when}
    """
    if not alive.all():
        alive = alive.reshape(*alive.shape, *(1,) * (b.ndim - 2))
        a, b = np.where(alive, a, 1), np.where(alive, b, 0)
    {steps}
    return steps, steps[-1] if len(steps) else h
'''

_ALWAYS = _STEPS.replace("{when}", "").replace("{steps}", "steps = scan(a, b, h)")

_AUTO = _STEPS.replace(
    "{when}",
    " A scan is faster, as measured, for many\n    small steps; others run one by one.",
).replace(
    "{steps}",
    """if len(b) >= 100 and h.size <= 64:
        steps = scan(a, b, h)
    else:
        steps, last = np.empty(b.shape, h.dtype), h
        for now in range(len(b)):
            steps[now] = last = a[now] * last + b[now]""",
)

_BACK = '''
def affine_steps_back(a, b, h, alive):
    """What h is before every step, from the last to the first, and what it ends with."""
    steps, first = affine_steps(a[::-1], b[::-1], h, alive[::-1])
    before = np.concatenate((h[None], steps))[:-1][::-1]
    alive = alive.reshape(*alive.shape, *(1,) * (b.ndim - 2))
    return np.where(alive, before, 0), first
'''
