"""Backends, found by looking: a module here that defines ``BACKEND`` is one."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from cellc.backends.base import Backend, CompilesLoops
from cellc.diagnostics import fail
from cellc.kernels.wanted import wanted

_BACKENDS: dict[str, Backend] = {}

#: All backends by name; a view that follows :func:`register`.
BACKENDS = MappingProxyType(_BACKENDS)


def register(backend: Backend) -> Backend:
    """Add a backend. Raises ValueError where its name is taken."""
    if backend.name in _BACKENDS:
        raise ValueError(f"a backend called {backend.name!r} exists already")
    _BACKENDS[backend.name] = backend
    return backend


def unregister(name: str) -> None:
    """Take a backend out again."""
    del _BACKENDS[name]


def backend(name: str) -> Backend:
    """The backend of this name; raises CellcError ``unknown-target``."""
    if name not in _BACKENDS:
        fail(
            "unknown-target",
            f"there is no target `{name}`",
            hints=(f"known: {', '.join(sorted(_BACKENDS))}",),
        )
    return _BACKENDS[name]


def compiling(to: Backend, kernels: str) -> CompilesLoops | None:
    """A backend as one whose classes call compiled loops, if they can and these are wanted.

    ``kernels`` is auto, native or none. Raises CellcError ``unknown-kernels`` for another.
    """
    choice = wanted(kernels)
    return to if isinstance(to, CompilesLoops) and choice in to.kernels else None


for _found in iter_modules(__path__):
    _module = import_module(f"{__name__}.{_found.name}")
    if hasattr(_module, "BACKEND"):
        register(_module.BACKEND)

__all__ = ["BACKENDS", "Backend", "CompilesLoops", "backend", "compiling", "register", "unregister"]
