"""Scans in Torch: every step of ``h' = a*h + b`` over rows."""

from __future__ import annotations

import ast

from cellc.backends.axes import word
from cellc.backends.pyast import Block, Item, lines, quote, quote_statements
from cellc.backends.scans import assigned, operands
from cellc.backends.torch_emitter import TorchEmitter
from cellc.backends.torch_method import Method
from cellc.ir import Scan, Schedule


def scan(writer: TorchEmitter, region: Scan) -> list[Item]:
    """The statements that compute a scan: its values, what the state is before each, its last."""
    (state,) = region.carries
    factor, term = operands(writer, region)
    start = [*writer.computed_start(state, region.axis), *writer.taken_crossings()]
    back = "_back" if region.backward else ""
    call = quote(f"affine_steps{back}(a, b, h, sizes)", a=factor, b=term, h=writer.ids[state],
                 sizes=word(region.axis, "sizes"))  # fmt: skip
    writer.helpers["scan"] = _SCAN
    writer.helpers[f"affine_steps{back}"] = _STEPS_BACK if back else _STEPS
    every = quote("torch.addcmul(b, a, h)", a=factor, b=term, h=writer.whole(state))
    return [*start, *assigned(writer, region, call, every)]


def choice(writer: TorchEmitter, scanned: Schedule, loops: Method, scans: Method) -> Method:
    """The method that runs rows with scans where these pay, else step by step."""
    writer.helpers["scan_pays"] = _PAYS
    found: dict[str, None] = {}
    for region in scanned.scans:
        sizes = word(region.axis, "sizes")
        shape = scanned.cell_of(region).nodes[region.carries[0]].type.shape
        width = " * ".join(
            [f"{sizes}[0]", *(f"({ast.unparse(writer.size(dim))})" for dim in shape)]
        )
        found[f"scan_pays({width}, {sizes}, {ast.unparse(writer.like)})"] = None
    arguments = tuple(dict.fromkeys([*loops.arguments, *scans.arguments]))
    body = lines(
        f"""
        '''Run rows, with scans where they are faster.'''
        if {" and ".join(found)}:
            return {scans.call}
        return {loops.call}
        """
    )
    head = quote_statements(f"def _run(self, {', '.join([*arguments, 'state'])}):\n    pass")[0]
    return Method("_run", arguments, Block(head, tuple(body)))


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
    a, b, alive = in_steps(a, b, sizes)
    steps = scan(a, b, h)
    return steps.flatten(0, 1) if alive is None else steps[alive], steps[-1].clone()
'''

_STEPS_BACK = '''
def affine_steps_back(a, b, h, sizes):
    """What h is before every step, from the last to the first, and what it ends with."""
    a, b, alive = in_steps(a, b, sizes)
    steps = scan(a.flip(0), b.flip(0), h)
    before = torch.cat((h[None], steps[:-1])).flip(0)
    return before.flatten(0, 1) if alive is None else before[alive], steps[-1].clone()
'''

_PAYS = '''
def scan_pays(numbers, sizes, like):
    """Whether a scan is faster than one step after the other, each of so many numbers.

    On a processor, as measured, it is for many small steps; elsewhere for many steps.
    """
    if like.device.type == 'cpu':
        return len(sizes) >= 100 and numbers <= 1024
    return len(sizes) >= 16
'''
