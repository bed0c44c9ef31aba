"""Ops over whole sequences. The attribute ``axis`` names the axis that they run along.

A spelling may name what a backend knows of the axis, besides operands and attributes; in
NumPy that is ``ends``, the number of steps of each sequence; in Torch, where sequences
are rows, ``sizes``, the rows of each step, and ``packed``, the packing or None.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellc.ir import BATCH, Dim, Node, Type
from cellc.ir.types import Extent
from cellc.ops.op import Attrs, Op, Pull, Pullback, Spelling, numbers_only


def axis_of(attrs: Attrs) -> str:
    """The axis that a sequence op runs along."""
    axis = attrs["axis"]
    assert isinstance(axis, str)
    return axis


def _along(args: Sequence[Type], attrs: Attrs) -> Type:
    return args[0]


def _reduced(args: Sequence[Type], attrs: Attrs) -> Type:
    return Type(args[0].shape, args[0].extent - {axis_of(attrs)}, args[0].dtype)


def _averaged(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    return Type(args[0].shape, args[0].extent - {axis_of(attrs)})


def _windowed(args: Sequence[Type], attrs: Attrs) -> Type:
    numbers_only(args)
    width = attrs["width"]
    assert isinstance(width, Dim)
    extent: Extent = args[0].extent | {BATCH, axis_of(attrs)}
    return Type((width, *args[0].shape), extent, args[0].dtype)


def unless_constant(text: str) -> Spelling:
    """A spelling, or the operand itself where that is the same at every step."""

    def spelling(node: Node, types: Sequence[Type]) -> str:
        return text if axis_of(dict(node.attrs)) in types[0].extent else "a"

    return spelling


_REVERSE = '''
def reverse(a, ends):
    """Each sequence reversed over its own length; what is behind its end stays."""
    t = np.arange(len(a))[:, None]
    return a[np.where(t < ends, ends - 1 - t, t), np.arange(len(ends))]
'''

_LAST = '''
def last(a, ends):
    """The value of each sequence's own last step."""
    return a[ends - 1, np.arange(len(ends))]
'''

_MEAN_OVER = '''
def mean_over(a, ends):
    """The mean over each sequence's own steps."""
    alive = np.arange(len(a))[:, None] < ends
    ones = (1,) * (a.ndim - 2)
    total = np.where(alive.reshape(*alive.shape, *ones), a, 0).sum(0)
    return total / ends.reshape(-1, *ones).astype(a.dtype)
'''

_WINDOW = '''
def window(a, width, ends):
    """The values of ``width`` steps around each step, zeros beyond the sequence's ends."""
    alive = np.arange(len(a))[:, None] < ends
    a = np.where(alive.reshape(*alive.shape, *(1,) * (a.ndim - 2)), a, 0)
    before = np.zeros(((width - 1) // 2, *a.shape[1:]), a.dtype)
    after = np.zeros((width // 2, *a.shape[1:]), a.dtype)
    padded = np.concatenate((before, a, after))
    return np.stack([padded[k : k + len(a)] for k in range(width)], axis=2)
'''

_TORCH_REVERSE = '''
def reverse(a, sizes):
    """The rows of each sequence from its last step to its first."""
    if sizes[0] == sizes[-1]:
        return a.unflatten(0, (len(sizes), sizes[0])).flip(0).flatten(0, 1)
    rows = torch.tensor(sizes)
    begins = rows.cumsum(0) - rows
    step = torch.arange(len(sizes)).repeat_interleave(rows)
    sequence = torch.arange(len(step)) - begins[step]
    length = (rows > torch.arange(sizes[0])[:, None]).sum(1)
    mirrored = begins[length[sequence] - 1 - step] + sequence
    return a.index_select(0, mirrored.to(a.device))
'''

_TORCH_LAST = '''
def last(a, sizes, packed):
    """The value of each sequence's own last step."""
    if packed is None:
        return a[-sizes[0] :]
    ends = zip(reversed(a.split(sizes)), [0, *reversed(sizes[1:])])
    return in_own_order(torch.cat([step[rows:] for step, rows in ends]), packed)
'''

_TORCH_MEAN_OVER = '''
def mean_over(a, sizes, packed):
    """The mean over each sequence's own steps."""
    if packed is None:
        return a.unflatten(0, (len(sizes), sizes[0])).mean(0)
    rows = PackedSequence(a, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    padded, lengths = pad_packed_sequence(rows)
    total = padded.sum(0)
    return total / lengths.to(total).view(-1, *[1] * (total.dim() - 1))
'''

_TORCH_WINDOW = '''
def window(a, width, sizes, packed):
    """The values of ``width`` steps around each step, zeros beyond the sequence's ends."""
    if packed is None:
        steps = a.unflatten(0, (len(sizes), sizes[0]))
    else:
        steps, _ = pad_packed_sequence(PackedSequence(a, packed.batch_sizes))
    before = steps.new_zeros((width - 1) // 2, *steps.shape[1:])
    after = steps.new_zeros(width // 2, *steps.shape[1:])
    padded = torch.cat((before, steps, after))
    near = torch.stack([padded[k : k + len(steps)] for k in range(width)], 2)
    if packed is None:
        return near.flatten(0, 1)
    return torch.cat([step[:rows] for step, rows in zip(near, sizes)])
'''


def _back_by(op: str) -> Pullback:
    """The cotangent through another op over sequences; as it is for what is constant."""

    def pullback(p: Pull, slot: int) -> str | None:
        axis = axis_of(p.attrs)
        if axis not in p.type(p.args[0]).extent:
            return p.g
        return p.add(op, p.g, axis=axis)

    return pullback


def _mean_pullback(p: Pull, slot: int) -> str | None:
    axis = axis_of(p.attrs)
    if axis not in p.type(p.args[0]).extent:
        return p.g
    return p.add("every_step", p.add("per_step", p.g, axis=axis), axis=axis)


def _lengthened(args: Sequence[Type], attrs: Attrs) -> Type:
    return Type(args[0].shape, args[0].extent | {BATCH, axis_of(attrs)})


def _each_step(args: Sequence[Type], attrs: Attrs) -> Type:
    return Type((), frozenset({BATCH, axis_of(attrs)}))


def _condition(args: Sequence[Type], attrs: Attrs) -> Type:
    return Type((), frozenset({BATCH, axis_of(attrs)}), "boolean")


def _narrowed(args: Sequence[Type], attrs: Attrs) -> Type:
    return Type(args[0].shape[1:], args[0].extent)


_NUMPY_PLACED_LAST = '''
def placed_last(a, steps, ends):
    """The value at each sequence's own last step, zeros at the others."""
    steps = np.zeros((steps, *a.shape), a.dtype)
    steps[ends - 1, np.arange(len(ends))] = a
    return steps
'''

_NUMPY_PLACED_FIRST = '''
def placed_first(a, steps, ends):
    """The value at the first step, zeros at the others."""
    steps = np.zeros((steps, *a.shape), a.dtype)
    steps[0] = a
    return steps
'''

_NUMPY_EVERY_STEP = '''
def every_step(a, steps, ends):
    """The value at every step of each sequence, zeros behind its end."""
    alive = np.arange(steps)[:, None] < ends
    return np.where(alive.reshape(*alive.shape, *(1,) * (a.ndim - 1)), a, 0)
'''

_NUMPY_WITHIN = '''
def within(every, steps, batch, dtype):
    """0 at every so many steps, else 1."""
    cuts = np.arange(steps)[:, None] % every == 0
    return np.broadcast_to(np.where(cuts, 0, 1).astype(dtype), (steps, batch))
'''

_TORCH_WITHIN = '''
def within(every, sizes, like):
    """0 at every so many steps, else 1, as rows."""
    kept = [like.new_full((rows,), float(step % every > 0)) for step, rows in enumerate(sizes)]
    return torch.cat(kept)
'''

_NUMPY_RUNS = '''
def runs(behind, last, steps, ends):
    """Whether what runs some steps behind the first has begun and not ended."""
    t = np.arange(steps)[:, None]
    return (t >= behind) & (t < ends - (last - behind))
'''

_TORCH_RUNS = '''
def runs(behind, last, sizes, like):
    """Whether what runs some steps behind the first has begun and not ended, as rows."""
    rows = torch.tensor(sizes)
    running = torch.tensor([0] * behind + sizes[last:] + [0] * (last - behind))
    place = torch.arange(sum(sizes)) - (rows.cumsum(0) - rows).repeat_interleave(rows)
    return (place < running.repeat_interleave(rows)).to(like.device)
'''

_NUMPY_WINDOW_SUM = '''
def window_sum(a, ends):
    """What the windows around each step hold of it, added up; zeros behind its end."""
    steps, batch, width, *shape = a.shape
    padded = np.zeros((steps + width - 1, batch, *shape), a.dtype)
    for k in range(width):
        padded[k : k + steps] += a[:, :, k]
    total = padded[(width - 1) // 2 :][:steps]
    alive = np.arange(steps)[:, None] < ends
    return np.where(alive.reshape(*alive.shape, *(1,) * len(shape)), total, 0)
'''

_TORCH_PLACED_LAST = '''
def placed_last(a, sizes, packed):
    """The value at each sequence's own last step, zeros at the others, as rows."""
    a = in_row_order(a, packed)
    steps = []
    for rows, after in zip(sizes, [*sizes[1:], 0]):
        step = a.new_zeros(rows, *a.shape[1:])
        step[after:] = a[after:rows]
        steps.append(step)
    return torch.cat(steps)
'''

_TORCH_PLACED_FIRST = '''
def placed_first(a, sizes, packed):
    """The value at the first step, zeros at the others, as rows."""
    rest = a.new_zeros(sum(sizes) - sizes[0], *a.shape[1:])
    return torch.cat((in_row_order(a, packed), rest))
'''

_TORCH_PER_STEP = '''
def per_step(a, sizes, packed):
    """The value divided by the number of its sequence's steps."""
    rows = torch.tensor(sizes, device=a.device)
    lengths = (rows > torch.arange(sizes[0], device=a.device)[:, None]).sum(1).to(a)
    return a / in_own_order(lengths, packed).view(-1, *[1] * (a.dim() - 1))
'''

_TORCH_WINDOW_SUM = '''
def window_sum(a, sizes, packed):
    """What the windows around each step hold of it, added up."""
    steps, _ = pad_packed_sequence(PackedSequence(a, torch.tensor(sizes)))
    width = steps.shape[2]
    padded = steps.new_zeros(len(steps) + width - 1, steps.shape[1], *steps.shape[3:])
    for k in range(width):
        padded[k : k + len(steps)] += steps[:, :, k]
    total = padded[(width - 1) // 2 :]
    return torch.cat([step[:rows] for step, rows in zip(total, sizes)])
'''

OPS = (
    Op("reverse", "Each sequence from its last step to its first.", "sequence", ("a",),
       rule=_along, spelling=unless_constant("reverse(a, ends)"),
       spellings={"torch": unless_constant("reverse(a, sizes)")},
       helpers={"numpy": _REVERSE, "torch": _TORCH_REVERSE},
       pullback=_back_by("reverse"),
       linear=(frozenset({0}),), latex=r"\operatorname{reverse}($a)", glyph="⇄", flops=0),
    Op("last", "The value of each sequence's last step.", "sequence", ("a",),
       rule=_reduced, spelling=unless_constant("last(a, ends)"),
       spellings={"torch": unless_constant("last(a, sizes, packed)")},
       helpers={"numpy": _LAST, "torch": _TORCH_LAST},
       pullback=_back_by("placed_last"),
       linear=(frozenset({0}),), latex=r"\operatorname{last}($a)", glyph="last", flops=0),
    Op("first", "The value of each sequence's first step.", "sequence", ("a",),
       rule=_reduced, spelling=unless_constant("a[0]"), linear=(frozenset({0}),),
       pullback=_back_by("placed_first"),
       spellings={"torch": unless_constant("in_own_order(a[: sizes[0]], packed)")},
       latex=r"\operatorname{first}($a)", glyph="first", flops=0),
    Op("mean_over", "The mean over each sequence's steps.", "sequence", ("a",),
       rule=_averaged, spelling=unless_constant("mean_over(a, ends)"),
       spellings={"torch": unless_constant("mean_over(a, sizes, packed)")},
       helpers={"numpy": _MEAN_OVER, "torch": _TORCH_MEAN_OVER},
       pullback=_mean_pullback, written=False,
       linear=(frozenset({0}),), latex=r"\operatorname{mean}_t($a)", glyph="mean"),
    Op("window", "The values of as many steps as it is wide around each step, as a new first "
       "dimension; zeros beyond the ends of the sequence. Of an even width one more step "
       "follows than precedes.", "sequence", ("a",),
       rule=_windowed, spelling="window(a, width, ends)",
       spellings={"torch": "window(a, width, sizes, packed)"},
       helpers={"numpy": _WINDOW, "torch": _TORCH_WINDOW},
       pullback=lambda p, slot: p.add("window_sum", p.g, axis=axis_of(p.attrs)),
       linear=(frozenset({0}),), latex=r"\operatorname{window}($a)", glyph="window", flops=0),
    Op("placed_last", "A value at the last step of each sequence, zeros at the others.",
       "sequence", ("a",), rule=_lengthened, spelling="placed_last(a, steps, ends)",
       spellings={"torch": "placed_last(a, sizes, packed)"},
       helpers={"numpy": _NUMPY_PLACED_LAST, "torch": _TORCH_PLACED_LAST},
       linear=(frozenset({0}),), latex="$a", glyph="→|", flops=0, written=False),
    Op("placed_first", "A value at the first step, zeros at the others.",
       "sequence", ("a",), rule=_lengthened, spelling="placed_first(a, steps, ends)",
       spellings={"torch": "placed_first(a, sizes, packed)"},
       helpers={"numpy": _NUMPY_PLACED_FIRST, "torch": _TORCH_PLACED_FIRST},
       linear=(frozenset({0}),), latex="$a", glyph="|→", flops=0, written=False),
    Op("every_step", "A value at every step of its sequence.", "sequence", ("a",),
       rule=_lengthened, spelling="every_step(a, steps, ends)",
       spellings={"torch": "on_rows(a, sizes, packed)"},
       helpers={"numpy": _NUMPY_EVERY_STEP}, linear=(frozenset({0}),), latex="$a", glyph="→",
       flops=0, written=False),
    Op("per_step", "A value divided by the number of its sequence's steps.", "sequence", ("a",),
       rule=_along, spelling="a / ends.reshape(-1, *(1,) * (a.ndim - 1))",
       spellings={"torch": "per_step(a, sizes, packed)"}, helpers={"torch": _TORCH_PER_STEP},
       linear=(frozenset({0}),), latex=r"\frac{$a}{T}", glyph="/T", written=False),
    Op("window_sum", "What windows hold of each step, added up.", "sequence", ("a",),
       rule=_narrowed, spelling="window_sum(a, ends)",
       spellings={"torch": "window_sum(a, sizes, packed)"},
       helpers={"numpy": _NUMPY_WINDOW_SUM, "torch": _TORCH_WINDOW_SUM},
       linear=(frozenset({0}),), latex=r"\sum $a", glyph="Σ", written=False),
    Op("within", "0 at every so many steps, where truncated backpropagation cuts, else 1.",
       "structural", (), rule=_each_step, range=(0, 1), flops=0, written=False,
       spelling="within(every, steps, batch, self.dtype)",
       spellings={"torch": "within(every, sizes, like)"},
       helpers={"numpy": _NUMPY_WITHIN, "torch": _TORCH_WITHIN},
       latex=r"[t \bmod n > 0]", glyph="✂"),
    Op("runs", "Whether what runs ``behind`` steps behind the first, of ``last`` steps that the "
       "last is behind, has begun and its sequence has not ended.", "sequence", (), rule=_condition,
       spelling="runs(behind, last, steps, ends)",
       spellings={"torch": "runs(behind, last, sizes, like)"},
       helpers={"numpy": _NUMPY_RUNS, "torch": _TORCH_RUNS},
       latex=r"[k \leq t < T + k]", glyph="⋱", flops=0, written=False),
    Op("final", "The value that a state has when its loop has ended.", "sequence", ("a",),
       rule=_reduced, spelling="a", linear=(frozenset({0}),), latex="$a", glyph="end", flops=0,
       written=False),
)  # fmt: skip
