"""Compiled kernels in C++, and programs that run a cell without Python."""

from cellc.backends.native.program import NativeBackend

BACKEND = NativeBackend()
