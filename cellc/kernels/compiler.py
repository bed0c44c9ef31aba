"""The machine's C++ compiler, and how it is called."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Compilers that are looked for, besides the one that ``CXX`` names.
KNOWN = ("c++", "g++", "clang++")

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
        path = Path(shutil.which(self.words[0]) or self.words[0]).resolve()
        stat = path.stat()
        told = (*self.words, str(path), str(stat.st_size), str(stat.st_mtime_ns), *FLAGS)
        return "\n".join((*told, *_machine()))

    def run(self, source: Path, output: Path, bits: int) -> subprocess.CompletedProcess[str]:
        """Compile a file, and keep what the compiler says to itself."""
        command = self.command(source, output, bits)
        return subprocess.run(command, capture_output=True, text=True, check=False)


def find_compiler() -> Compiler | None:
    """The compiler that ``CXX`` names, else the first of those known; None if there is none."""
    named = shlex.split(os.environ.get("CXX", ""))
    for words in ([named] if named else []) + [[name] for name in KNOWN]:
        if shutil.which(words[0]):
            return Compiler(tuple(words))
    return None


@cache
def _machine() -> tuple[str, ...]:
    """What tells apart machines that need other objects."""
    found = [platform.machine(), platform.system(), platform.processor()]
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        wanted = ("model name", "flags", "Features", "CPU part")
        lines = cpu.read_text(errors="replace").split("\n\n")[0].splitlines()
        found += [line for line in lines if line.startswith(wanted)]
    return tuple(found)
