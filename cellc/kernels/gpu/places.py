"""Where a kernel finds its step, and the rows of it."""

import triton
import triton.language as tl

#: Where the table of a call has its numbers; behind them are addresses.
DONE = tl.constexpr(0)
STEPS = tl.constexpr(1)
SIZES = tl.constexpr(2)
FIRST_ADDRESS = 3


@triton.jit
def place_of(done, steps, batch, sizes_ptr, RAGGED: tl.constexpr, BACKWARD: tl.constexpr):
    """A step by how many are done: its number, its first row, the rows it has, and those before.

    ``sizes_ptr`` has the rows of each step, and behind these the first row of each.
    """
    alive = done < steps
    t = done
    if BACKWARD:
        t = steps - 1 - done
    first = tl.cast(t, tl.int64) * batch
    before = first - batch
    rows = tl.where(alive, batch, 0)
    if RAGGED:
        rows = tl.load(sizes_ptr + t, mask=alive, other=0).to(tl.int32)
        first = tl.load(sizes_ptr + steps + t, mask=alive, other=0)
        before = tl.load(sizes_ptr + steps + t - 1, mask=alive & (t > 0), other=0)
    return t, first, rows, before


@triton.jit
def rows_before(done, steps, batch, sizes_ptr, RAGGED: tl.constexpr, BACKWARD: tl.constexpr):
    """How many rows the step that was done before has; none before the first."""
    rows = tl.where(done > 0, batch, 0)
    if RAGGED:
        t = done - 1
        if BACKWARD:
            t = steps - done
        is_step = (done > 0) & (done <= steps)
        rows = tl.load(sizes_ptr + t, mask=is_step, other=0).to(tl.int32)
    return rows


@triton.jit
def rows_of(n, steps, batch, sequence, sizes_ptr, RAGGED: tl.constexpr, BACKWARD: tl.constexpr):
    """The n-th steps of a loop for one sequence: their numbers, its rows in them and in those
    before, and whether it has them."""
    here = (n >= 0) & (n < steps)
    t = n
    if BACKWARD:
        t = steps - 1 - n
    first = tl.cast(t, tl.int64) * batch
    before = first - batch
    if RAGGED:
        rows = tl.load(sizes_ptr + t, mask=here, other=0)
        first = tl.load(sizes_ptr + steps + t, mask=here, other=0)
        before = tl.load(sizes_ptr + steps + t - 1, mask=here & (t > 0), other=0)
        here = here & (sequence < rows)
    return t, first + sequence, before + sequence, here


@triton.jit
def affine(factor, term, next_factor, next_term):
    """Two steps of the form factor*state + term as one."""
    return factor * next_factor, next_factor * term + next_term


@triton.jit(do_not_specialize=["steps"])
def advance(table, steps):
    """Tell what comes next that so many steps more are done."""
    tl.store(table + DONE, tl.load(table + DONE) + steps)
