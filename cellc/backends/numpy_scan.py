"""Scans in NumPy: every step of ``h' = a*h + b`` over arrays (T, B, …)."""

from __future__ import annotations

from cellc.backends import pyast
from cellc.backends.axes import word
from cellc.backends.numpy_emitter import NumpyEmitter
from cellc.backends.pyast import Item, Line, quote
from cellc.backends.scan_operands import operands
from cellc.ir import Scan


def scan(writer: NumpyEmitter, region: Scan) -> list[Item]:
    """The statements that compute a scan: its values, what the state is before each, its last."""
    (state,) = region.carries
    following = next(name for name in region.values if name != state)
    factor, term = operands(writer, region)
    helper = "affine_steps_back" if region.backward else "affine_steps"
    call = quote(f"{helper}(a, b, h, alive)", a=factor, b=term, h=writer.ids[state],
                 alive=word(region.axis, "alive"))  # fmt: skip
    shifts = state in writer.needed_later(region)
    targets = [writer.whole(following), "_" if shifts else writer.ids[state]]
    writer.helpers["scan"] = _SCAN
    writer.helpers["affine_steps"] = _ALWAYS if region.always else _AUTO
    if region.backward:
        writer.helpers["affine_steps_back"] = _BACK
    made = Line(pyast.assign(targets, call), writer.comment(following))
    return [made, *(writer.shift(state) if shifts else [])]


_SCAN = '''
def scan(a, b, h):
    """Every value of h' = a*h + b, where h is what the first step starts from.

    Steps are joined in pairs, the pairs are computed in the same way, and then the steps
    between them: about 2*log2(T) operations one after the other, where a loop has T.
    """
    steps = np.empty_like(b)
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
        steps, last = np.empty_like(b), h
        for now in range(len(b)):
            steps[now] = last = a[now] * last + b[now]""",
)

_BACK = '''
def affine_steps_back(a, b, h, alive):
    """As ``affine_steps``, from the last step to the first, and zeros behind a sequence's end."""
    steps, first = affine_steps(a[::-1], b[::-1], h, alive[::-1])
    alive = alive.reshape(*alive.shape, *(1,) * (b.ndim - 2))
    return np.where(alive, steps[::-1], 0), first
'''
