"""Memory that stays in place between steps and between calls, and recorded launches.

A kernel that runs one step is told its number; what else it needs, it finds in a table in the
memory of the device: how many steps are done and to do, and the addresses of what varies from
call to call. So the same launches, recorded once, serve all calls of a size.
"""

import threading
from collections import OrderedDict
from functools import cache

import torch

from cellc.kernels.gpu.calls import stream_of
from cellc.kernels.gpu.places import FIRST_ADDRESS, advance

#: Steps that are recorded together, the most first; all are even, as memory changes sides.
PIECES = (64, 8, 2)
#: How many sizes of calls have memory of their own, for each process.
MOST_MEMORIES = 32
#: Torch has so many streams and then gives them anew.
MOST_STREAMS = 32
RECORDING = []
MEMORIES = OrderedDict()
LOCK = threading.RLock()


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
    place = (device, stream_of(device))
    key = (make, dims, call.batch, *place, *map(str, call.flags.values()))
    with LOCK:
        if key not in MEMORIES:
            MEMORIES[key] = made(make, call, dims, addresses, place)
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


def like_start(state, start):
    """A state after the last step, in the form in which its start was given."""
    return state.to(start.dtype, copy=True).reshape(start.shape)
