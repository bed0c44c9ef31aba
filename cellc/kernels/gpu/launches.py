"""How kernels are launched: which shape of a loop, in which way, by how many programs."""

import torch
import triton

from cellc.kernels.gpu.memory import LOCK

#: The most bytes of weights that a program keeps to itself, and places of a row that it computes.
MOST_WEIGHTS = 144 * 1024
MOST_PLACES = 256


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
