"""Emitted text as a class that can be used, inspected, copied and pickled at once."""

from __future__ import annotations

import hashlib
import linecache
import sys
from functools import cache
from types import ModuleType
from typing import Any


def class_from(text: str, class_name: str, source: str = "", device: str = "") -> type[Any]:
    """The class that an emitted file defines.

    ``source`` is that of the kernels in C++ that it calls, ``device`` the file whose class runs
    calls on a GPU.

    Tracebacks and debuggers show the emitted lines. The class is the same object for
    the same text.
    """
    return _class_from(text, class_name, source, device)


@cache
def _class_from(text: str, class_name: str, source: str, device: str) -> type[Any]:
    key = hashlib.sha256((text + source + device).encode()).hexdigest()[:16]
    name = f"cellc_compiled_{key}"
    filename = f"<{name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    module = ModuleType(name)
    sys.modules[name] = module
    vars(module).update(SOURCE=source, DEVICE=device)
    exec(compile(text, filename, "exec"), vars(module))  # noqa: S102 - the text is emitted by us
    compiled: Any = getattr(module, class_name)
    given = (text, class_name, source, device)
    compiled.__reduce__ = lambda self: (_revive, given, self.__dict__)
    return compiled  # type: ignore[no-any-return]


def _revive(text: str, class_name: str, source: str = "", device: str = "") -> Any:
    """An empty instance for unpickling, in a process that may not have seen the class."""
    compiled: Any = class_from(text, class_name, source, device)
    return compiled.__new__(compiled)
