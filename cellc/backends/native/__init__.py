"""Compiled kernels in C++."""
