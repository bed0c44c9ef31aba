"""From the text of a file in C++ to a library that is loaded."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import tempfile
import threading
from pathlib import Path

from cellc.diagnostics import fail
from cellc.kernels import store
from cellc.kernels.compiler import Compiler, find_compiler

_LOADED: dict[tuple[str, int], ctypes.CDLL] = {}
_LOCK = threading.Lock()


def library(text: str, bits: int) -> ctypes.CDLL:
    """The library of a text for real numbers of so many bits, built unless there is one.

    Raises CellcError ``no-compiler``, ``kernel-build`` or ``kernel-store``.
    """
    with _LOCK:
        if (text, bits) not in _LOADED:
            _LOADED[text, bits] = ctypes.CDLL(str(_built(text, bits)))
        return _LOADED[text, bits]


def _built(text: str, bits: int) -> Path:
    """The file of the object."""
    compiler = find_compiler()
    if compiler is None:
        fail(
            "no-compiler",
            "there is no C++ compiler to build kernels with",
            hints=("install one (c++, g++ or clang++), or name it in the variable CXX",
                   "or run without: kernels=\"none\""),
        )  # fmt: skip
    told = "\n".join((compiler.identity, str(bits), text))
    path = store.directory() / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.so"
    if path.exists():
        store.mark_used(path)
    else:
        _build(compiler, text, bits, path)
        store.make_room(path)
    return path


def _build(compiler: Compiler, text: str, bits: int, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            source, made = Path(scratch, "kernels.cpp"), Path(scratch, "kernels.so")
            source.write_text(text, encoding="utf-8")
            done = compiler.run(source, made, bits)
            if done.returncode:
                _fail(compiler, text, bits, done.stderr)
            os.replace(made, path)
    except OSError as error:
        fail("kernel-store", f"kernels cannot be kept in {path.parent}: {error.strerror}",
             hints=("name another directory in the variable CELLC_CACHE",))  # fmt: skip


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
