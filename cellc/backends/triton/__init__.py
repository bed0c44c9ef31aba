"""The Triton backend: the ``nn.Module`` of the Torch backend, its loops in kernels of a GPU."""

from cellc.backends.triton.backend import TritonBackend

BACKEND = TritonBackend()
