"""Functions that emitted Torch files define where they use them."""

from __future__ import annotations

import re

_TO_ROWS = '''
def to_rows(value, batched, batch_first):
    """The steps of all sequences one below the other, how many each step has, the packing."""
    if isinstance(value, PackedSequence):
        return value.data, value.batch_sizes.tolist(), value
    if not batched:
        value = value.unsqueeze(1)
    elif batch_first:
        value = value.transpose(0, 1)
    return value.flatten(0, 1), [value.shape[1]] * value.shape[0], None
'''

_ROWS_LIKE = '''
def rows_like(value, sizes, packed, batched, batch_first):
    """The rows of sequences that must have the form and the lengths of others."""
    if value is None:
        return None
    same = isinstance(value, PackedSequence) == (packed is not None)
    if same and packed is None:
        lead = (len(sizes), sizes[0]) if batched else (len(sizes),)
        lead = lead[::-1] if batch_first and batched else lead
        same = value.shape[: len(lead)] == lead
    elif same:
        own, order = value.sorted_indices, packed.sorted_indices
        same = torch.equal(value.batch_sizes, packed.batch_sizes)
        ordered = own is not None and order is not None
        same = same and (torch.equal(own, order) if ordered else own is order)
    if not same:
        raise ValueError('inputs differ in steps, batch or lengths')
    return to_rows(value, batched, batch_first)[0]
'''

_FROM_ROWS = '''
def from_rows(rows, sizes, packed, batched, batch_first):
    """Rows in the form that the inputs have."""
    if packed is not None:
        order = packed.sorted_indices, packed.unsorted_indices
        return PackedSequence(rows, packed.batch_sizes, *order)
    value = rows.reshape(len(sizes), sizes[0], *rows.shape[1:])
    if not batched:
        return value.squeeze(1)
    return value.transpose(0, 1) if batch_first else value
'''

_IN_FORM = '''
def in_form(value, sizes, packed, batched, batch_first):
    """Rows in the form that the inputs have, or a value per sequence, which has no sizes."""
    if sizes is None:
        return value if batched else value.squeeze(0)
    return from_rows(value, sizes, packed, batched, batch_first)
'''

_IN_ROW_ORDER = '''
def in_row_order(value, packed):
    """A value per sequence, longest sequence first as in the rows."""
    if value is None or packed is None or packed.sorted_indices is None:
        return value
    return value.index_select(0, packed.sorted_indices)
'''

_IN_OWN_ORDER = '''
def in_own_order(value, packed):
    """A value per sequence, in the order in which the caller has the sequences."""
    if packed is None or packed.unsorted_indices is None:
        return value
    return value.index_select(0, packed.unsorted_indices)
'''

_ON_ROWS = '''
def on_rows(value, sizes, packed):
    """A value per sequence at all its steps."""
    value = in_row_order(value, packed)
    if sizes[0] == sizes[-1]:
        return value.expand(len(sizes), *value.shape).flatten(0, 1)
    return torch.cat([value[:rows] for rows in sizes])
'''

_SHIFTED = '''
def shifted(value, first, sizes):
    """The rows of the step before, ``first`` at the start, and each sequence's last row."""
    if sizes[0] == sizes[-1]:
        return torch.cat((first, value[: -sizes[0]])), value[-sizes[0] :].clone()
    steps = value.split(sizes)
    before = torch.cat([first, *(step[:rows] for step, rows in zip(steps, sizes[1:]))])
    ends = zip(reversed(steps), [0, *reversed(sizes[1:])])
    return before, torch.cat([step[rows:] for step, rows in ends])
'''

_SHIFTED_BACK = '''
def shifted_back(value, last, sizes):
    """The rows of the step after, ``last`` at each sequence's end, and the first step's rows."""
    if sizes[0] == sizes[-1]:
        return torch.cat((value[sizes[0] :], last)), value[: sizes[0]].clone()
    steps = value.split(sizes)
    after = zip([*steps[1:], last[:0]], sizes)
    rows = [part for step, rows in after for part in (step, last[len(step) : rows])]
    return torch.cat(rows), steps[0]
'''

_SUM_OVER_STEPS = '''
def sum_over_steps(a, sizes, packed):
    """The sum over each sequence's own steps."""
    total = a[: sizes[0]].clone()
    for step in a.split(sizes)[1:]:
        total[: len(step)] += step
    return in_own_order(total, packed)
'''

_DRAWN = '''
def drawn(given, shape, like, generator, training):
    """Uniform numbers: what is given, else drawn while training; otherwise none are needed."""
    if given is not None:
        if given.shape != shape:
            raise ValueError(f'what is drawn has the shape {tuple(given.shape)}, not {shape}')
        return given.to(like)
    if training:
        return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
    return like.new_zeros(()).expand(shape)
'''

_TOGETHER = '''
def together(steps, sizes):
    """Steps as rows, one below the other."""
    return torch.stack(steps).flatten(0, 1) if sizes[0] == sizes[-1] else torch.cat(steps)
'''

_BEFORE = '''
def before(steps, first, sizes, part):
    """The rows of the steps before those of a part; ``first`` is before the first."""
    part = range(len(steps))[part]
    earlier = [steps[k - 1] if k else first for k in part]
    return torch.cat([step[: sizes[k]] for step, k in zip(earlier, part)])
'''

_BLOCKS = '''
def blocks(sizes, width, like):
    """Parts of the steps, each with its rows: enough to pay, and few enough for a cache."""
    most = 2**19 if like.device.type == 'cpu' else 2**26
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    found, begin, first, last = [], 0, 0, 0
    for step, rows in enumerate(sizes):
        full = last - first >= 128 and (last - first + rows) * width > most
        if full and not whole:
            found.append((slice(begin, step), slice(first, last)))
            begin, first = step, last
        last += rows
    return [*found, (slice(begin, len(sizes)), slice(first, last))]
'''

_DERIVES = '''
def derives(given):
    """Whether gradients are wanted, and the derived backward pass can give them."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    tensors = [value for value in given if isinstance(value, torch.Tensor)]
    device = tensors[0].device.type if tensors else 'cpu'
    mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return not mixed and any(value.requires_grad for value in tensors)
'''

_FILLED = '''
def filled(slope, like):
    """A gradient that flows in, or zeros where none does."""
    return torch.zeros_like(like) if slope is None else slope
'''

_IN_LISTS = '''
def in_lists(values, lengths):
    """Values in lists of the lengths."""
    ends = [sum(lengths[: k + 1]) for k in range(len(lengths))]
    return [values[end - length : end] for end, length in zip(ends, lengths)]
'''

_REPLAYED = '''
def replayed(run, given, rest, slopes):
    """The backward pass by autograd, through which gradients can flow a second time."""
    with torch.enable_grad():
        results = run(*given, *rest[:-1], False)
    pairs = [(r, s) for r, s in zip(results, slopes) if s is not None and r.requires_grad]
    outputs, slopes = zip(*pairs)
    wanted = [value for value in given if value is not None and value.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, slopes, create_graph=True, allow_unused=True))
    slopes = [next(found) if v is not None and v.requires_grad else None for v in given]
    return (*slopes, *[None] * len(rest))
'''

_IN_STEPS = '''
def in_steps(a, b, sizes):
    """Rows of h' = a*h + b as steps, which leave h as it is where a sequence has ended."""
    if sizes[0] == sizes[-1]:
        shape = len(sizes), sizes[0]
        return a.unflatten(0, shape), b.unflatten(0, shape), None
    rows = torch.tensor(sizes, device=b.device)
    alive = torch.arange(sizes[0], device=b.device) < rows[:, None]
    shape = *alive.shape, *b.shape[1:]
    a = a.new_ones(shape).index_put((alive,), a)
    b = b.new_zeros(shape).index_put((alive,), b)
    return a, b, alive
'''

_LAGGING = '''
def lagging(rows, sizes, lag, last):
    """For ``last`` more steps than there are, the rows of ``lag`` steps before.

    Where there are none, those of the first step or of each sequence's own last.
    """
    if sizes[0] == sizes[-1]:
        steps = rows.unflatten(0, (len(sizes), sizes[0]))
        parts = [steps[:1]] * lag + [steps] + [steps[-1:]] * (last - lag)
        return torch.cat(parts).flatten(0, 1)
    count = torch.tensor(sizes)
    begins = count.cumsum(0) - count
    length = (count > torch.arange(sizes[0])[:, None]).sum(1)
    alive = torch.tensor([sizes[0]] * last + sizes)
    step = torch.arange(len(alive)).repeat_interleave(alive)
    sequence = torch.arange(len(step)) - (alive.cumsum(0) - alive)[step]
    source = torch.minimum((step - lag).clamp(min=0), length[sequence] - 1)
    return rows.index_select(0, (begins[source] + sequence).to(rows.device))
'''

#: The functions by name, in the order in which a file defines them.
HELPERS = {
    "to_rows": _TO_ROWS,
    "rows_like": _ROWS_LIKE,
    "from_rows": _FROM_ROWS,
    "in_form": _IN_FORM,
    "in_row_order": _IN_ROW_ORDER,
    "in_own_order": _IN_OWN_ORDER,
    "on_rows": _ON_ROWS,
    "shifted": _SHIFTED,
    "shifted_back": _SHIFTED_BACK,
    "sum_over_steps": _SUM_OVER_STEPS,
    "drawn": _DRAWN,
    "lagging": _LAGGING,
    "together": _TOGETHER,
    "before": _BEFORE,
    "in_steps": _IN_STEPS,
    "blocks": _BLOCKS,
    "derives": _DERIVES,
    "filled": _FILLED,
    "in_lists": _IN_LISTS,
    "replayed": _REPLAYED,
}


def helpers_for(used: set[str], others: list[str]) -> list[str]:
    """The functions that a file's names and the texts of its other functions ask for."""
    words = used | {word for text in others for word in re.findall(r"\w+(?=\()", text)}
    for name in reversed(HELPERS):  # each uses only those before it
        if name in words:
            words |= set(re.findall(r"\w+(?=\()", HELPERS[name]))
    return [text for name, text in HELPERS.items() if name in words]
