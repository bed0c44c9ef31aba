"""Where kernels of a step find it, and memory that stays in place between steps.

A kernel that runs one step is told its number; what else it needs, it finds in a table in the
memory of the device: how many steps are done and to do, and the addresses of what varies from
call to call. So the same launches, recorded once, serve all calls of a size.
"""

import os
import threading
from collections import OrderedDict
from functools import cache, lru_cache

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
#: The types that autocast changes.
AUTOCAST = (torch.float16, torch.bfloat16, torch.float32)
#: The most bytes of weights that a program keeps to itself, and places of a row that it computes.
MOST_WEIGHTS = 144 * 1024
MOST_PLACES = 256
#: Torch has so many streams and then gives them anew.
MOST_STREAMS = 32
RECORDING = []
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


@triton.jit(do_not_specialize=["steps"])
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
        self.wide = torch.float64 if like.dtype == torch.float64 else torch.float32
        self.sizes = like.new_empty(0, dtype=torch.int64)
        if self.ragged:
            self.sizes = rows_of_steps(tuple(sizes), like.device)

    def rows(self, *shape, kept=True):
        """Room for a value at all steps, or none where it is not kept."""
        return self.like.new_empty((self.count if kept else 0, *shape))

    @property
    def flags(self):
        """What kernels are compiled for."""
        fast = self.like.dtype == torch.float32 and multiplies_fast()
        return {
            "RAGGED": self.ragged,
            "KEEP": self.keep,
            "TRAINING": self.training,
            "NUMBER": NUMBERS[self.like.dtype],
            "REAL": NUMBERS[self.wide],
            "PRECISION": "tf32" if fast else "ieee",
        }


@lru_cache(maxsize=64)
def rows_of_steps(sizes, device):
    """The rows of each step, and behind these the first row of each; on the device."""
    with torch.inference_mode(False):
        rows = torch.tensor(sizes)
        both = torch.cat((rows, rows.cumsum(0) - rows))
        if device.type == "cuda":
            return both.pin_memory().to(device, non_blocking=True)
        return both.to(device)


def multiplies_fast():
    """Whether torch's own products of numbers of 32 bits may use TF32."""
    told = getattr(torch.backends.cuda.matmul, "fp32_precision", None)
    if isinstance(told, str):
        return told == "tf32"
    return torch.get_float32_matmul_precision() != "highest"


class Memory:
    """What steps of one size work on, and launches of theirs that are recorded.

    Only one call at a time uses it, on one stream; what two calls have in it is in the order of
    that stream. Use it as ``with memory_for(...) as m:``.
    """

    def __init__(self, call, addresses, place):
        self.batch, self.flags, self.wide = call.batch, call.flags, call.wide
        self.like, self.place = call.like.new_empty(0), place
        self.table = call.like.new_zeros(FIRST_ADDRESS + addresses, dtype=torch.int64)
        self.calls, self.recorded = 0, {}

    def __enter__(self):
        LOCK.acquire()
        return self

    def __exit__(self, *error):
        self.calls += error[0] is None
        LOCK.release()

    def wide_numbers(self, *shape):
        """Room for numbers that sums are kept in: 32 bits, or 64 where all have these."""
        return self.like.new_zeros(shape, dtype=self.wide)

    def numbers(self, *shape):
        """Room for numbers that products read and write."""
        return self.like.new_zeros(shape)

    def run(self, step, steps):
        """Run so many steps: from the second call of a size on, as recorded."""
        if not self.calls or self.place is None:
            for number in range(steps):
                step(self, number)
            if self.place is not None:
                advance[(1,)](self.table, 0)  # so that it is compiled before it is recorded
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

            self.recorded[count] = recorded(launch, self.place)
        return self.recorded[count]


def memory_for(make, call, dims, addresses):
    """The memory of calls of one size on one stream; ``make`` lays it out where there is none.

    While the caller records, it is new, and its launches are recorded with all others.
    """
    device = call.like.device
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return made(make, call, dims, addresses, None)
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = (make, dims, call.batch, device, stream, *map(str, call.flags.values()))
    with LOCK:
        if key not in MEMORIES:
            MEMORIES[key] = made(make, call, dims, addresses, (device, stream))
        MEMORIES.move_to_end(key)
        while len(MEMORIES) > MOST_MEMORIES:
            forget(MEMORIES.popitem(last=False)[1])
        return MEMORIES[key]


def made(make, call, dims, addresses, place):
    """New memory, which calls with and without gradients can use."""
    with torch.inference_mode(False):
        memory = Memory(call, addresses, place)
        make(memory, *dims)
    return memory


def forget(memory):
    """Drop what is recorded where a memory's launches are.

    With a recording torch frees what cuBLAS works in on the stream that it was made on.
    """
    for other in (memory, *MEMORIES.values()):
        if other.place == memory.place:
            other.recorded.clear()


@cache
def recording_stream(device, stream):
    """The stream on which launches for another are recorded, which nothing else uses."""
    taken = {found.cuda_stream for found in RECORDING}
    tried = [torch.cuda.Stream(device) for _ in range(MOST_STREAMS)]
    RECORDING.append(next((s for s in tried if s.cuda_stream not in taken), tried[0]))
    return RECORDING[-1]


def recorded(launch, place):
    """What launches again what a function does; off a device, the function itself."""
    device, stream = place
    if device.type != "cuda":
        return launch
    graph, apart = torch.cuda.CUDAGraph(), recording_stream(device, stream)
    apart.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.device(device), torch.cuda.stream(apart):
        small = torch.ones(16, 16, device=device)
        torch.mm(small, small)  # what cuBLAS needs in this thread is there before
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            launch()
        finally:
            graph.capture_end()
    torch.cuda.current_stream(device).wait_stream(apart)
    return graph.replay


def runs_here(kernels, tensors, loops="auto"):
    """Whether kernels run a call: by a choice of auto, triton or none, and for these tensors."""
    if loops not in ("auto", "stepwise", "fused"):
        raise ValueError(f"loops is {loops!r}, not 'auto', 'stepwise' or 'fused'")
    if kernels not in ("auto", "triton", "native", "none"):
        raise ValueError(f"kernels is {kernels!r}, not 'auto', 'triton', 'native' or 'none'")
    given = [value for value in tensors if value is not None]
    places = {value.device.type for value in given}
    here = places == {"cuda"} or (INTERPRETED and places == {"cpu"})
    together = len({value.device for value in given}) == 1
    real = {value.dtype for value in given if value.is_floating_point()}
    alike = len(real) == 1 or autocast_to(given) is not None
    plain = not (
        torch.compiler.is_exporting()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    )
    can = here and together and alike and plain and real <= NUMBERS.keys()
    return kernels in ("auto", "triton") and can


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
        value if value is None or value.dtype not in AUTOCAST else value.to(wanted)
        for value in tensors
    )


def without_autocast(run, *given):
    """The results of a function on the device of its arguments, which have their types already."""
    devices = [value.device for value in given if isinstance(value, torch.Tensor)]
    if not devices:
        return run(*given)
    device = devices[0]
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            return run(*given)
        with torch.cuda.device(device):
            return run(*given)


def wants_slopes(tensors):
    """Whether gradients are wanted."""
    return torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in tensors)


def ready(dtype, *values):
    """Values of one type, each in one piece."""
    return [value.to(dtype).contiguous() for value in values]


class Tuned:
    """A kernel in the fastest of some ways, found once for all that it is compiled for.

    ``ways`` are rows, places (0 where the caller tells) and warps; Triton keeps what it has found
    on disk. Off a device, the first is taken.
    """

    def __init__(self, kernel, key, ways):
        configs = [
            triton.Config({"ROWS": rows, **({"BLOCK": lanes} if lanes else {})}, num_warps=warps)
            for rows, lanes, warps in ways
        ]
        self.kernel, self.found = kernel, {}
        configs = configs if torch.cuda.is_available() else configs[:1]
        self.search = triton.autotune(configs, key=key, cache_results=True)(kernel)

    def __getitem__(self, grid):
        def launch(*given, **sizes):
            key = (torch.cuda.current_device() if given[-1].is_cuda else -1, *sizes.values())
            if key in self.found:
                self.kernel[grid](*given, **sizes, **self.found[key])
                return
            with LOCK:
                self.search[grid](*given, **sizes)
                self.found[key] = self.search.best_config.all_kwargs()

        return launch


def tuned(key, *ways):
    """A decorator: a kernel in the fastest of some ways; ``key`` names the sizes that matter."""
    return lambda kernel: Tuned(kernel, key, ways)


def inside_kernel(loops, call, numbers):
    """Whether a loop runs inside one kernel that keeps so many numbers of weights."""
    if loops != "auto":
        return loops == "fused"
    wide, device = call.like.dtype == torch.float64, call.like.device
    most = MOST_WEIGHTS
    if device.type == "cuda":
        own = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
        most = min(most, own * 5 // 8)
    return not wide and numbers * call.like.element_size() <= most


def power_of_2(size):
    """The next power of two."""
    return triton.next_power_of_2(size)


def tile(size):
    """The next power of two that a product of tiles can have."""
    return max(16, triton.next_power_of_2(size))


def part(size):
    """How many places of a row a program has where several share it."""
    return min(MOST_PLACES, triton.next_power_of_2(size))


def warps(places):
    """How many warps compute so many places."""
    return min(16, max(1, triton.next_power_of_2(places) // 64))


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
