"""Where kernels of a step find it, and memory that stays in place between steps.

A kernel that runs one step is told its number; what else it needs, it finds in a table in the
memory of the device: how many steps are done and to do, and the addresses of what varies from
call to call. So the same launches, recorded once, serve all calls of a size.
"""

import os
import threading
from collections import OrderedDict

import torch
import triton
import triton.language as tl

#: Steps that are recorded together, the most first; all are even, as memory changes sides.
PIECES = (64, 8, 2)
#: How many sizes of calls have memory of their own, for each process.
MOST_MEMORIES = 32
#: Where the table of a call has its numbers; behind them are addresses.
DONE = tl.constexpr(0)
STEPS = tl.constexpr(1)
SIZES = tl.constexpr(2)
FIRST_ADDRESS = 3
NUMBERS = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
}
#: Whether Triton's interpreter runs kernels, where tensors may be anywhere.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
MEMORIES = OrderedDict()
LOCK = threading.RLock()


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
def advance(table, steps):
    """Tell what comes next that so many steps more are done."""
    tl.store(table + DONE, tl.load(table + DONE) + steps)


class Call:
    """What a call of a loop has: ``sizes`` rows for each step, of numbers like those of a value."""

    def __init__(self, sizes, like, keep=False, training=False):
        self.like, self.keep, self.training = like, bool(keep), bool(training)
        self.steps, self.batch = len(sizes), sizes[0]
        self.ragged = sizes[0] != sizes[-1]
        self.count = sum(sizes) if self.ragged else self.steps * self.batch
        self.number = NUMBERS[like.dtype]
        self.real = tl.float64 if like.dtype == torch.float64 else tl.float32
        self.wide = torch.float64 if like.dtype == torch.float64 else torch.float32
        self.sizes = like.new_empty(0, dtype=torch.int64)
        if self.ragged:
            rows = torch.tensor(sizes)
            self.sizes = torch.cat((rows, rows.cumsum(0) - rows)).to(like.device)

    def rows(self, *shape, kept=True):
        """Room for a value at all steps, or none where it is not kept."""
        return self.like.new_empty((self.count if kept else 0, *shape))

    @property
    def flags(self):
        """What kernels are compiled for."""
        return {
            "RAGGED": self.ragged,
            "KEEP": self.keep,
            "TRAINING": self.training,
            "NUMBER": self.number,
            "REAL": self.real,
            "PRECISION": "tf32" if self._is_fast else "ieee",
        }

    @property
    def _is_fast(self):
        """Whether numbers of 32 bits are multiplied as torch's own products may be."""
        single = self.like.dtype == torch.float32
        return single and torch.get_float32_matmul_precision() != "highest"


class Memory:
    """What steps of one size work on, and launches of theirs that are recorded.

    Only one call at a time uses it, on one stream; what two calls have in it is in the order of
    that stream. Use it as ``with memory_for(...) as m:``.
    """

    def __init__(self, call, addresses):
        self.batch, self.flags, self.wide = call.batch, call.flags, call.wide
        self.like = call.like.new_empty(0)
        self.table = call.like.new_zeros(FIRST_ADDRESS + addresses, dtype=torch.int64)
        self.calls, self.recorded = 0, {}

    def __enter__(self):
        LOCK.acquire()
        self.calls += 1
        return self

    def __exit__(self, *error):
        LOCK.release()

    def wide_numbers(self, *shape):
        """Room for numbers that sums are kept in: 32 bits, or 64 where all have these."""
        return self.like.new_zeros(shape, dtype=self.wide)

    def numbers(self, *shape):
        """Room for numbers that products read and write."""
        return self.like.new_zeros(shape)

    def run(self, step, steps):
        """Run so many steps: from the second call of a size on, as recorded."""
        if self.calls < 2 or is_recording(self.like):
            for number in range(steps):
                step(self, number)
            return
        for count in PIECES:
            last = count == PIECES[-1]
            for _ in range(-(-steps // count) if last else steps // count):
                self._recorded(step, count)()
            steps %= count

    def _recorded(self, step, count):
        """The launches of so many steps, as one."""
        if count not in self.recorded:

            def launch():
                for number in range(count):
                    step(self, number)
                advance[(1,)](self.table, count)

            self.recorded[count] = recorded(launch, self.like)
        return self.recorded[count]


def memory_for(make, call, dims, addresses):
    """The memory of calls of one size on one stream; ``make`` lays it out where there is none."""
    if is_recording(call.like):
        return made(make, call, dims, addresses)
    place = call.like.device
    stream = torch.cuda.current_stream(place).cuda_stream if place.type == "cuda" else 0
    key = (make, dims, call.batch, place, stream, *map(str, call.flags.values()))
    with LOCK:
        if key not in MEMORIES:
            MEMORIES[key] = made(make, call, dims, addresses)
        MEMORIES.move_to_end(key)
        while len(MEMORIES) > MOST_MEMORIES:
            MEMORIES.popitem(last=False)
        return MEMORIES[key]


def made(make, call, dims, addresses):
    """New memory."""
    memory = Memory(call, addresses)
    make(memory, *dims)
    return memory


def is_recording(like):
    """Whether the caller records what is launched, as a graph of their own."""
    return like.is_cuda and torch.cuda.is_current_stream_capturing()


def recorded(launch, like):
    """What launches again what a function does; off a device, the function itself."""
    if not like.is_cuda:
        return launch
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        launch()
    return graph.replay


def runs_here(kernels, tensors):
    """Whether kernels run a call: by a choice of auto, triton or none, and for these tensors."""
    if kernels not in ("auto", "triton", "native", "none"):
        raise ValueError(f"kernels is {kernels!r}, not 'auto', 'triton', 'native' or 'none'")
    given = [value for value in tensors if value is not None]
    here = all(value.is_cuda or INTERPRETED for value in given)
    real = {value.dtype for value in given if value.is_floating_point()}
    alike = len(real) == 1 or autocast_to(given) is not None
    plain = not (
        torch.compiler.is_exporting()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    )
    return kernels in ("auto", "triton") and here and alike and plain and real <= NUMBERS.keys()


def autocast_to(tensors):
    """The type that autocast asks for where tensors are, if it is on."""
    place = tensors[0].device.type
    return torch.get_autocast_dtype(place) if torch.is_autocast_enabled(place) else None


def as_autocast(tensors):
    """Tensors of the type that autocast asks for, as torch's own cells take them."""
    wanted = autocast_to([value for value in tensors if value is not None])
    if wanted is None:
        return tensors
    return tuple(
        value.to(wanted) if value is not None and value.is_floating_point() else value
        for value in tensors
    )


def without_autocast(run, given, keep):
    """The results of a function whose arguments have the types that they are to have."""
    place = next(value.device.type for value in given if isinstance(value, torch.Tensor))
    with torch.autocast(place, enabled=False):
        return run(*given, keep)


def wants_slopes(tensors):
    """Whether gradients are wanted."""
    return torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in tensors)


def ready(dtype, *values):
    """Values of one type, each in one piece."""
    return [value.to(dtype).contiguous() for value in values]


def configs(*rows_lanes_warps):
    """Ways to share a kernel's work, of which the fastest is found; off a device, the first."""
    found = [
        triton.Config(
            {name: number for name, number in (("ROWS", rows), ("BLOCK", lanes)) if number},
            num_warps=warps,
        )
        for rows, lanes, warps in rows_lanes_warps
    ]
    return found if torch.cuda.is_available() else found[:1]


def tuned(key, *rows_lanes_warps):
    """A kernel in the fastest of some ways, found once for each of what the key names."""
    return triton.autotune(configs(*rows_lanes_warps), key=[*key, "NUMBER"], cache_results=True)


#: The most bytes of weights that a program keeps to itself.
MOST_WEIGHTS = 144 * 1024


def inside_kernel(loops, call, numbers):
    """Whether a loop runs inside one kernel that keeps so many numbers of weights."""
    if loops not in ("auto", "stepwise", "fused"):
        raise ValueError(f"loops is {loops!r}, not 'auto', 'stepwise' or 'fused'")
    if loops != "auto":
        return loops == "fused"
    wide = call.like.dtype == torch.float64
    return not wide and numbers * call.like.element_size() <= MOST_WEIGHTS


def power_of_2(size):
    """The next power of two."""
    return triton.next_power_of_2(size)


def tile(size):
    """The next power of two that a product of tiles can have."""
    return max(16, triton.next_power_of_2(size))


def shared(batch, places):
    """A grid whose programs share rows and places."""
    return lambda meta: (triton.cdiv(batch, meta["ROWS"]), triton.cdiv(places, meta["BLOCK"]))


def by_rows(batch, blocks=1):
    """A grid whose programs have whole rows, or a block of them."""
    return lambda meta: (triton.cdiv(batch, meta["ROWS"]), blocks)


def by_sequence(batch, places):
    """A grid whose programs have some places of one sequence each."""
    return lambda meta: (batch, triton.cdiv(places, meta["BLOCK"]))


def like_start(state, start):
    """A state after the last step, in the form in which its start was given."""
    return state.to(start.dtype, copy=True).reshape(start.shape)


def without_loops(run):
    """A function that ignores its last argument but one, which says how loops are to run."""
    return lambda *given: run(*given[:-2], given[-1])


@triton.jit
def affine(factor, term, next_factor, next_term):
    """Two steps of the form factor*state + term as one."""
    return factor * next_factor, next_factor * term + next_term


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
