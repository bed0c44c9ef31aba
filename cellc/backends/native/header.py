"""The header of a compiled cell: what a program in C calls, and what that is given."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from cellc.backends import docs
from cellc.backends.axes import word
from cellc.backends.native.cpp import remark
from cellc.backends.native.interface import Interface
from cellc.ir import TIME
from cellc.ir.types import sequence_axis, shape_text
from cellc.syntax.characters import ascii_name

#: What functions return, and what that means.
RESULTS = {
    "OK": "nothing is wrong",
    "BAD_ARGUMENT": "a pointer that is needed is null",
    "BAD_SIZE": "a size, or how many steps or sequences there are, cannot be",
    "BAD_LENGTH": "a length is below one or above the number of steps",
    "BAD_INDEX": "a whole number of an input names no row of a table",
    "NO_MEMORY": "there is no memory",
}
WIDE = 100


def comment(text: str) -> list[str]:
    """A text as lines of a comment, which it cannot leave."""
    lines = text.replace("??/", "??").splitlines()
    return [f"// {line}".rstrip() for line in lines]


def header(interface: Interface) -> str:
    """The text of the header, in plain C."""
    guard = f"{interface.macro}_H"
    body = [
        *comment(docs.module_text(interface.source)),
        "//",
        *_building(interface),
        "",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stdint.h>",
        "",
        *_numbers(interface),
        "",
        *_opening(),
        *_results(interface),
        "",
        *_config(interface),
        "",
        *_parameters(interface),
        "",
        *_state(interface),
        *_prepare(interface),
        "",
        *_forward(interface),
        "",
        *_free(interface),
        "",
        *_closing(),
        "#endif",
    ]
    return "\n".join(body) + "\n"


def wrapped(text: str) -> list[str]:
    """Sentences as lines of a comment."""
    return textwrap.wrap(text, WIDE, initial_indent="// ", subsequent_indent="// ")


def _building(interface: Interface) -> list[str]:
    name = interface.prefix
    return comment(
        f"Build it with a C++ compiler, which need not have a C++ library, and link it with C:\n"
        f"\n"
        f"    cc -x c++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math\n"
        f"        -fno-exceptions -fno-rtti -c {name}.cpp -o {name}.o     (all on one line)\n"
        f"    cc main.c {name}.o -lm -lpthread\n"
        f"\n"
        f"Arrays are in row-major order, in the shapes that are told, where B is the number of\n"
        f"sequences and T that of steps. Several threads may call at once with one model."
    )


def _numbers(interface: Interface) -> list[str]:
    real, both = interface.name("real"), ("prepare", "forward", "free")
    sections = []
    for bits, kind in ((64, "double"), (32, "float")):
        names = [f"#define {interface.name(n)} {interface.name(n)}_{bits}" for n in both]
        sections.append([f"typedef {kind} {real};", *names])
    return [
        *wrapped("Numbers are float, or double where REAL_BITS is 64, here and in the .cpp; what "
                 "was compiled for one does not link with the other."),
        "#ifndef REAL_BITS", "#define REAL_BITS 32", "#endif",
        "#if REAL_BITS == 64", *sections[0], "#else", *sections[1], "#endif",
    ]  # fmt: skip


def _opening() -> list[str]:
    return ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]


def _closing() -> list[str]:
    return ["#ifdef __cplusplus", "}", "#endif", ""]


def _results(interface: Interface) -> list[str]:
    wide = max(map(len, RESULTS))
    lines = [
        f"    {interface.code(name)},{' ' * (wide - len(name))} // {text}"
        for name, text in RESULTS.items()
    ]
    return ["// What functions return.", "enum {", *lines, "};"]


def _struct(name: str, members: Iterable[tuple[str, str]]) -> list[str]:
    """A struct of members with a comment each; one without members gets a place to hold."""
    rows = list(members) or [("char none;", "there is nothing to choose")]
    wide = max(len(member) for member, _ in rows)
    lines = [f"    {member:{wide}} // {text}" for member, text in rows]
    return ["typedef struct {", *lines, f"}} {name};"]


def _config(interface: Interface) -> list[str]:
    cell = interface.source
    members = [
        (f"int64_t {member};", f"{dim}" + (f", such as {cell.dims[dim].default}"
         if cell.dims[dim].default is not None else ""))
        for dim, member in interface.dims.items()
    ]  # fmt: skip
    members += [
        (f"double {member};", f"an option, by default {cell.nodes[o].attr('default'):g}"
         + _noted(interface, o))
        for o, member in interface.options.items()
    ]  # fmt: skip
    fixed = [f"{dim} is {a.default}" for dim, a in cell.dims.items() if a.fixed]
    text = " ".join(["Dimensions and options.", *(f"{each}." for each in fixed)])
    return [*wrapped(text), *_struct(interface.name("config"), members)]


def _noted(interface: Interface, name: str) -> str:
    note = remark(interface.source.comments.get(name, ""))
    return f": {note}" if note else ""


def _parameters(interface: Interface) -> list[str]:
    real, nodes = interface.name("real"), interface.source.nodes
    members = [
        (f"const {real} *{member};",
         shape_text(nodes[name].type.shape) + _noted(interface, name))
        for name, member in interface.params.items()
    ]  # fmt: skip
    text = "The parameters, under the names that they have in Python. None is null."
    return [*wrapped(text), *_struct(interface.name("parameters"), members)]


def _state(interface: Interface) -> list[str]:
    if not interface.states:
        return []
    real, nodes = interface.name("real"), interface.source.nodes
    members = []
    for name, member in interface.states.items():
        dims = ", ".join(["B", *map(str, nodes[name].type.shape)])
        members.append((f"{real} *{member};", f"[{dims}]" + _noted(interface, name)))
    text = "A state for each sequence. What is null starts afresh, or is not wanted."
    return [*wrapped(text), *_struct(interface.name("state"), members), ""]


def _prepare(interface: Interface) -> list[str]:
    model = interface.name("model")
    return [
        *wrapped("Parameters as calls read them. They are copied: their arrays may go or change, "
                 "and a change asks for another model."),
        f"typedef struct {model} {model};",
        "",
        *wrapped(f"Make a model. *model is null unless {interface.code('OK')} is returned."),
        f"int {interface.name('prepare')}(const {interface.name('config')} *config, "
        f"const {interface.name('parameters')} *parameters,",
        f"    {model} **model);",
    ]  # fmt: skip


def _forward(interface: Interface) -> list[str]:
    lines = wrapped("Run sequences. What is written overlaps nothing else, but end may be start.")
    lines += comment("\n".join(["", *_arguments(interface)]))
    signature = [f"int {interface.name('forward')}("]
    for argument in interface.forward():
        if len(signature[-1]) + len(argument) + 2 > WIDE:
            signature.append("    ")
        signature[-1] += f"{argument}, "
    return [*lines, *(line.rstrip() for line in signature[:-1]), f"{signature[-1][:-2]});"]


def _arguments(interface: Interface) -> list[str]:
    """What each argument of a call is, one a line."""
    found = ["    model: what was prepared."]
    for axis in interface.axes:
        number = "T" if axis == TIME else f"T_{ascii_name(axis)}"
        found.append(f"    {word(axis, 'steps')}: how many steps there are, {number}.")
    found.append("    batch: how many sequences there are, B.")
    for axis in interface.axes:
        found += [f"    {word(axis, 'lengths')} [B]: how many steps each sequence has, in any "
                  "order; null where all have all.",
                  "        Behind its end inputs are not read, outputs are zero, and its state "
                  "stays."]  # fmt: skip
    nodes = interface.source.nodes
    for name, argument in interface.inputs.items():
        type_ = nodes[name].type
        dims = [interface.lead(sequence_axis(type_.extent)), *map(str, type_.shape)]
        kind = ", whole numbers" if interface.is_integer(name) else ""
        found.append(f"    {argument} [{', '.join(dims)}]{kind}{_noted(interface, name)}.")
    if interface.states:
        found.append("    start: the states to start with; null to start afresh.")
    for output in interface.outputs:
        shape = interface.cell.nodes[output.value].type.shape
        dims = [interface.lead(output.axis), *map(str, shape)]
        found.append(f"    {output.argument} [{', '.join(dims)}]: becomes the output "
                     f"{output.name}; null where it is not wanted.")  # fmt: skip
    if interface.states:
        found += ["    end: its arrays become the states after the last step of each sequence;",
                  "        null where they are not wanted."]  # fmt: skip
    return [*found, "    threads: how many threads may work, this one among them."]


def _free(interface: Interface) -> list[str]:
    return [
        "// Give a model's memory back. It may be null.",
        f"void {interface.name('free')}({interface.name('model')} *model);",
    ]
