"""The machine's C++ compiler, and how it is called."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from cellc.diagnostics import fail

#: Compilers that are looked for, besides the one that ``CXX`` names.
KNOWN = ("c++", "g++", "clang++")
_WITHOUT = 'or run without: kernels="none"'

#: Fast code for this machine, with every number as IEEE has it. Neither exceptions nor run-time
#: types are used, so that a C compiler can link the result.
FLAGS = (
    "-x", "c++", "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared",
    "-fno-exceptions", "-fno-rtti", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
)  # fmt: skip


@dataclass(frozen=True)
class Compiler:
    """A compiler: the words of its call."""

    words: tuple[str, ...]

    def command(self, source: Path, output: Path, bits: int) -> list[str]:
        """What compiles a file for real numbers of so many bits."""
        real = f"-DREAL_BITS={bits}"
        return [*self.words, *FLAGS, real, str(source), "-o", str(output), "-lm", "-lpthread"]

    @property
    def identity(self) -> str:
        """What the objects that it makes depend on, besides their source: itself, the machine."""
        found = [shutil.which(word) for word in self.words if not word.startswith("-")]
        programs = [_of_file(Path(path).resolve()) for path in found if path]
        return "\n".join((*self.words, *programs, *FLAGS, *_machine()))

    def run(self, source: Path, output: Path, bits: int) -> subprocess.CompletedProcess[str]:
        """Compile a file, and keep what the compiler says to itself."""
        command = self.command(source, output, bits)
        try:
            return subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", check=False
            )
        except OSError as error:
            return subprocess.CompletedProcess(command, 1, "", f"it does not run: {error}\n")


def find_compiler() -> Compiler:
    """The compiler that ``CXX`` names, or the first of those known.

    Raises CellcError ``no-compiler``, also where there is another than the one that is named.
    """
    named = _named()
    if named:
        if not shutil.which(named[0]):
            fail(
                "no-compiler",
                f"there is no C++ compiler `{named[0]}`, which the variable CXX names",
                hints=("name another, or take the variable away", _WITHOUT),
            )
        return Compiler(tuple(named))
    for name in KNOWN:
        if shutil.which(name):
            return Compiler((name,))
    fail(
        "no-compiler",
        "there is no C++ compiler to build kernels with",
        hints=("install one (c++, g++ or clang++), or name it in the variable CXX", _WITHOUT),
    )


def _named() -> list[str]:
    """The words of the variable ``CXX``: a compiler, maybe with options or behind a program."""
    given = os.environ.get("CXX", "")
    try:
        return shlex.split(given)
    except ValueError:
        fail(
            "no-compiler",
            f"the variable CXX has a quotation mark that is not closed: {given}",
            hints=("mend it, or take it away", _WITHOUT),
        )


def _of_file(path: Path) -> str:
    """What tells a program from another of its name."""
    try:
        stat = path.stat()
    except OSError:
        return str(path)
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


@cache
def _machine() -> tuple[str, ...]:
    """What tells apart machines that need other objects."""
    found = [platform.machine(), platform.system(), platform.processor()]
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        wanted = ("model name", "flags", "Features", "CPU part")
        with cpu.open(errors="replace") as lines:  # those of one core are enough
            found += [line for line in takewhile(str.strip, lines) if line.startswith(wanted)]
    return tuple(found)
