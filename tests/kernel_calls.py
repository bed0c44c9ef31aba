"""Calls of compiled functions, recorded with the bytes that they read, to be made elsewhere."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pytest
import torch


@dataclass
class Memory:
    """A piece of memory that a function is given: its bytes before the call and after it."""

    address: int
    before: bytes
    after: bytes = b""


@dataclass
class Call:
    """A call of a function, with numbers, pieces of memory, and lists of addresses."""

    name: str
    arguments: list[Any]

    @property
    def memories(self) -> list[Memory]:
        """All pieces of memory."""
        flat = chain(*(a if isinstance(a, list) else [a] for a in self.arguments))
        return [one for one in flat if isinstance(one, Memory)]


@dataclass
class Recorder:
    """Stands for a library, and notes what is called.

    How much there is at an address is known where a tensor was asked for it, since the last call.
    """

    library: ctypes.CDLL
    sizes: dict[int, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return _Recorded(self, name, getattr(self.library, name))

    def note(self, value: torch.Tensor, address: int) -> None:
        """Remember how many bytes a tensor has from its first number to its last."""
        steps = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
        size = (steps + 1) * value.element_size() if value.numel() else 0
        self.sizes[address] = max(size, self.sizes.get(address, 0))

    def memory(self, address: int | None) -> Memory | None:
        """What is at an address now."""
        return Memory(address, ctypes.string_at(address, self.sizes[address])) if address else None


class _Recorded:
    """A function of a library."""

    def __init__(self, recorder: Recorder, name: str, function: Any) -> None:
        self.__dict__.update(recorder=recorder, name=name, function=function)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["function"], name, value)

    def __call__(self, *arguments: Any) -> Any:
        recorder: Recorder = self.__dict__["recorder"]
        call = Call(self.__dict__["name"], [_argument(recorder, given) for given in arguments])
        result = self.__dict__["function"](*arguments)
        for memory in call.memories:
            memory.after = ctypes.string_at(memory.address, len(memory.before))
        recorder.calls.append(call)
        recorder.sizes.clear()
        return result


def _argument(recorder: Recorder, given: Any) -> Any:
    """A number, a piece of memory, none, or a list of the last two.

    Bytes are a list where all that they hold are addresses that tensors were asked for.
    """
    if isinstance(given, ctypes.c_void_p):
        return recorder.memory(given.value)
    if isinstance(given, bytes):
        held = struct.unpack(f"{len(given) // 8}P", given)
        if any(held) and all(address in recorder.sizes for address in held if address):
            return [recorder.memory(address) for address in held]
        place = ctypes.cast(ctypes.c_char_p(given), ctypes.c_void_p).value
        assert place is not None
        return Memory(place, given)
    if isinstance(given, ctypes.Array):
        return Memory(ctypes.addressof(given), bytes(given))
    return given.value if hasattr(given, "value") else given


@contextmanager
def recording(kernels: Any, dtype: torch.dtype, patch: pytest.MonkeyPatch) -> Iterator[list[Call]]:
    """The calls that are made of the kernels of a class."""
    recorder = Recorder(kernels.library(dtype))
    address_of = torch.Tensor.data_ptr

    def data_ptr(value: torch.Tensor) -> int:
        address = address_of(value)
        recorder.note(value, address)
        return address

    with patch.context() as within:
        within.setattr(torch.Tensor, "data_ptr", data_ptr)
        within.setitem(kernels.libraries, dtype, recorder)
        yield recorder.calls


def program(source: str, calls: list[Call]) -> tuple[str, bytes]:
    """The text of a program that makes the calls, several times and by several threads, and the
    bytes of memory, which it reads from a file."""
    data = bytearray()
    functions = []
    for number, call in enumerate(calls):
        lines = [f"static void call_{number}() {{"]
        names: dict[int, str] = {}
        for memory in call.memories:
            if memory.address not in names:
                names[memory.address] = name = f"m{len(names)}"
                lines.append(f"    Copy {name}({len(data)}, {len(memory.before)});")
                data += memory.before + memory.after
        given = []
        for place, argument in enumerate(call.arguments):
            if isinstance(argument, list):
                listed = ", ".join(_spelled(one, names) for one in argument)
                lines.append(f"    const void *list_{place}[] = {{{listed}}};")
                given.append(f"Pointer{{(char *)list_{place}}}")
            else:
                given.append(_spelled(argument, names))
        lines.append(f"    {call.name}({', '.join(given)});")
        lines += [f"    {name}.check();" for name in names.values()]
        functions.append("\n".join([*lines, "}\n"]))
    listed = ", ".join(f"call_{number}" for number in range(len(calls)))
    return "\n".join([source, _BEFORE, *functions, _AFTER.replace("CALLS", listed)]), bytes(data)


def _spelled(argument: Any, names: dict[int, str]) -> str:
    if isinstance(argument, Memory):
        return f"{names[argument.address]}.given()"
    return "Pointer{0}" if argument is None else f"(int64_t){int(argument)}"


_BEFORE = """
#include <stdio.h>

struct Pointer {
    char *at;
    template <typename T> operator T *() const { return (T *)at; }
};

static char *data;

#define ONCE __attribute__((noinline))

// Memory of exactly the size that it had, as it was before the call.
struct Copy {
    const char *before;
    int64_t size;
    void *own;
    ONCE Copy(int64_t offset, int64_t size) : before(data + offset), size(size), own(0) {
        if (posix_memalign(&own, 64, size))
            abort();
        memcpy(own, before, size);
    }
    ONCE ~Copy() { free(own); }
    Pointer given() const { return {(char *)own}; }
    // Whether all numbers are as they were, relative to the largest.
    ONCE void check() const {
        real found, wanted, largest = 1;
        for (int64_t at = 0; at + (int64_t)sizeof(real) <= size; at += sizeof(real)) {
            memcpy(&wanted, before + size + at, sizeof wanted);
            largest = wanted > largest ? wanted : -wanted > largest ? -wanted : largest;
        }
        const real near = (real)(sizeof(real) == 4 ? 1e-4 : 1e-11) * largest;
        for (int64_t at = 0; at + (int64_t)sizeof(real) <= size; at += sizeof(real)) {
            memcpy(&found, (char *)own + at, sizeof found);
            memcpy(&wanted, before + size + at, sizeof wanted);
            if (found - wanted > near || wanted - found > near) {
                printf("wrong: %g for %g\\n", (double)found, (double)wanted);
                exit(3);
            }
        }
    }
};
"""
_AFTER = """
static void (*const calls[])() = {CALLS};

static void *all_calls(void *) {
    lend(0, 0, 0);
    for (auto call : calls)
        call();
    return 0;
}

int main(int, char **arguments) {
    FILE *file = fopen(arguments[1], "rb");
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    rewind(file);
    data = (char *)malloc(size);
    if ((long)fread(data, 1, size, file) != size)
        return 2;
    fclose(file);
    all_calls(0);
    pthread_t others[2];
    for (auto &other : others)
        pthread_create(&other, 0, all_calls, 0);
    all_calls(0);
    for (auto &other : others)
        pthread_join(other, 0);
    free(data);
    printf("%d calls\\n", (int)(sizeof calls / sizeof *calls));
}
"""
