"""What a call of a loop is given: tensors of one type on one device, and lengths."""

import os
from functools import lru_cache

import torch
import triton.language as tl

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
            self.sizes = rows_of_steps(tuple(sizes), like.device, stream_of(like.device))

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


def stream_of(device):
    """The stream on which a device works at present."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


@lru_cache(maxsize=64)
def rows_of_steps(sizes, device, stream):
    """The rows of each step, and behind these the first row of each; for one stream of a device.

    Another stream might read them before they are there, or after their memory is used anew.
    """
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


def without_loops(run):
    """A function that ignores its last argument but one, which says how loops are to run."""
    return lambda *given: run(*given[:-2], given[-1])
