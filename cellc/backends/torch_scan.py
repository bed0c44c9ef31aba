"""Scans in Torch: every step of ``h' = a*h + b`` over rows."""

from __future__ import annotations

from cellc.backends.axes import word
from cellc.backends.pyast import Item, quote
from cellc.backends.scans import assigned, operands
from cellc.backends.torch_emitter import TorchEmitter
from cellc.ir import Scan


def scan(writer: TorchEmitter, region: Scan) -> list[Item]:
    """The statements that compute a scan: its values, what the state is before each, its last."""
    (state,) = region.carries
    factor, term = operands(writer, region)
    start = [*writer.computed_start(state, region.axis), *writer.taken_crossings()]
    back = "_back" if region.backward else ""
    call = quote(f"affine_steps{back}(a, b, h, sizes)", a=factor, b=term, h=writer.ids[state],
                 sizes=word(region.axis, "sizes"))  # fmt: skip
    writer.helpers["scan"] = _SCAN
    if not region.always:
        writer.helpers["scan_pays"] = _PAYS
        writer.helpers[f"one_by_one{back}"] = _ONE_BY_ONE_BACK if back else _ONE_BY_ONE
    text = _STEPS_BACK if back else _STEPS
    writer.helpers[f"affine_steps{back}"] = text.replace("{choice}", "" if region.always else (
        f"if not scan_pays(h, sizes):\n        return one_by_one{back}(a, b, h, sizes)\n    "
    ))  # fmt: skip
    every = quote("torch.addcmul(b, a, h)", a=factor, b=term, h=writer.whole(state))
    return [*start, *assigned(writer, region, call, every)]


_SCAN = '''
def scan(a, b, h):
    """Every value of h' = a*h + b, where h is what the first step starts from.

    Steps are joined in pairs, the pairs are computed in the same way, and then the steps
    between them: about 2*log2(T) operations one after the other, where a loop has T.
    """
    if len(a) == 1:
        return torch.addcmul(b, a, h)
    pairs = scan(a[1::2] * a[:-1:2], torch.addcmul(b[1::2], a[1::2], b[:-1:2]), h)
    steps = pairs.new_empty(b.shape)
    steps[1::2] = pairs
    steps[0] = torch.addcmul(b[0], a[0], h)
    steps[2::2] = torch.addcmul(b[2::2], a[2::2], pairs[: len(b[2::2])])
    return steps
'''

_STEPS = '''
def affine_steps(a, b, h, sizes):
    """Every value of h' = a*h + b as rows, and each sequence's last."""
    {choice}a, b, alive = in_steps(a, b, sizes)
    steps = scan(a, b, h)
    return steps.flatten(0, 1) if alive is None else steps[alive], steps[-1].clone()
'''

_STEPS_BACK = '''
def affine_steps_back(a, b, h, sizes):
    """What h is before every step, from the last to the first, and what it ends with."""
    {choice}a, b, alive = in_steps(a, b, sizes)
    steps = scan(a.flip(0), b.flip(0), h)
    before = torch.cat((h[None], steps[:-1])).flip(0)
    return before.flatten(0, 1) if alive is None else before[alive], steps[-1].clone()
'''

_PAYS = '''
def scan_pays(h, sizes):
    """Whether a scan is faster than one step after the other.

    On a processor, as measured, it is for many small steps; elsewhere for many steps.
    """
    if h.device.type == 'cpu':
        return len(sizes) >= 100 and h.numel() <= 1024
    return len(sizes) >= 16
'''

_ONE_BY_ONE = '''
def one_by_one(a, b, h, sizes):
    """As ``affine_steps``, one step after the other; sequences leave as they end."""
    whole = None if torch.is_grad_enabled() else b.new_empty(b.shape)
    places = [None] * len(sizes) if whole is None else whole.split(sizes)
    steps, ended = [], []
    for rows, a, b, place in zip(sizes, a.split(sizes), b.split(sizes), places):
        if rows < len(h):
            ended.append(h[rows:])
            h = h[:rows]
        h = torch.addcmul(b, a, h, out=place)
        steps.append(h)
    whole = together(steps, sizes) if whole is None else whole
    return whole, torch.cat([h, *reversed(ended)])
'''

_ONE_BY_ONE_BACK = '''
def one_by_one_back(a, b, h, sizes):
    """As ``affine_steps_back``, one step after the other; sequences join at their last."""
    parts = [reversed(part) for part in (sizes, a.split(sizes), b.split(sizes))]
    steps, last, h = [], h, h[: sizes[-1]]
    for rows, a, b in zip(*parts):
        if rows > len(h):
            h = torch.cat((h, last[len(h) : rows]))
        steps.append(h)
        h = torch.addcmul(b, a, h)
    return together(steps[::-1], sizes), h
'''
