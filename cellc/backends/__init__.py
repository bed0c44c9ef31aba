"""Backends, found by looking: a module here that defines ``BACKEND`` is one."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from cellc.backends.base import Backend, CompilesLoops, RunsOnDevice
from cellc.diagnostics import fail

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


for _found in iter_modules(__path__):
    _module = import_module(f"{__name__}.{_found.name}")
    if hasattr(_module, "BACKEND"):
        register(_module.BACKEND)

__all__ = [
    "BACKENDS",
    "Backend",
    "CompilesLoops",
    "RunsOnDevice",
    "backend",
    "register",
    "unregister",
]
