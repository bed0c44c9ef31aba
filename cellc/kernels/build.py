"""From the text of a file in C++ to a library that is loaded."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from cellc.diagnostics import fail
from cellc.kernels import store
from cellc.kernels.compiler import Compiler, find_compiler

_LOADED: dict[tuple[str, int], ctypes.CDLL] = {}
_LOCK = threading.Lock()
_ELSEWHERE = "name another directory in the variable CELLC_CACHE"


def library(text: str, bits: int) -> ctypes.CDLL:
    """The library of a text for real numbers of so many bits, built unless there is one.

    Raises CellcError ``no-compiler``, ``kernel-build`` or ``kernel-store``.
    """
    with _LOCK:
        if (text, bits) not in _LOADED:
            _LOADED[text, bits] = _loaded(text, bits)
        return _LOADED[text, bits]


def _unlock() -> None:
    """Give a child its own lock: the thread that held its parent's is not in the child."""
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _loaded(text: str, bits: int) -> ctypes.CDLL:
    """A library that is in the store; where it cannot be loaded, one that is built anew."""
    compiler = find_compiler()
    told = "\n".join((compiler.identity, str(bits), text))
    key = hashlib.sha256(told.encode()).hexdigest()[:32]
    found = store.found(key)
    if found is not None:
        store.mark_used(found)
        with suppress(OSError):
            return ctypes.CDLL(str(found))
    path = _built(compiler, text, bits, key)
    store.make_room(path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        fail("kernel-store", f"kernels that are kept in {path.parent} cannot be loaded: {error}",
             hints=(_ELSEWHERE,))  # fmt: skip


def _built(compiler: Compiler, text: str, bits: int, key: str) -> Path:
    """The file of an object that is built now."""
    directory = store.directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=store.ASIDE, dir=directory) as scratch:
            source, made = Path(scratch, "kernels.cpp"), Path(scratch, "kernels.so")
            source.write_text(text, encoding="utf-8")
            done = compiler.run(source, made, bits)
            if done.returncode:
                _fail(compiler, text, bits, done.stderr)
            path = store.place(key, made)
            os.replace(made, path)
            return path
    except OSError as error:
        fail("kernel-store", f"kernels cannot be kept in {directory}: {error.strerror}",
             hints=(_ELSEWHERE,))  # fmt: skip


def _fail(compiler: Compiler, text: str, bits: int, said: str) -> None:
    """What went wrong, with the source and what the compiler said in files that stay."""
    kept = store.failures()
    source, log = kept / "kernels.cpp", kept / "kernels.log"
    kept.mkdir(exist_ok=True)
    source.write_text(text, encoding="utf-8")
    log.write_text(said, encoding="utf-8")
    command = compiler.command(source, kept / "kernels.so", bits)
    fail(
        "kernel-build",
        "the C++ compiler could not build the kernels of this cell",
        notes=(f"the command: {shlex.join(command)}", f"what it said: {log}"),
        hints=('run without: kernels="none"',),
    )
