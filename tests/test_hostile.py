"""No text, however hostile, breaks the compiler or smuggles code into emitted files."""

from __future__ import annotations

import ast
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cellc
from cellc.backends.naming import class_name
from cellc.diagnostics import CellcError, Source
from cellc.frontend.library import read_cells
from cellc.frontend.reserved import CALL_NAMES
from cellc.ops import function_names
from cellc.resources import shipped_specs
from cellc.syntax.characters import read_source

TEXTS = [path.read_text(encoding="utf-8") for path in shipped_specs().values()]
TOKENS = [
    *("cell", "from", "with", "as", "input", "state", "param", "option", "dim", "output", "cite"),
    *("·", "@", "*", "-", "/", "^", "'", "=", "(", ")", "[", "]", ",", "<", "\n", "#", '"', "\\"),
    *("x", "h", "h'", "W", "U", "b", "I", "H", "0", "1e999", "1/0", "prev(h)", "prev()", "x²", "τ"),
    *("\r", "\u202e", "\u2028", "\0", "\ufeff", "⑴", "ﷺ", "shared", "lambda", "self", "𝟙", "́"),
    *sorted(function_names()),
]
MARK = "CELLC_TEST_MARK"
CODE = f"__import__('os').environ.__setitem__('{MARK}', 'set')"
FUZZ = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def survives(data: str | bytes) -> cellc.Cell | None:
    """The last cell of a text; None where it is refused as it should be."""
    try:
        cells = read_cells(read_source("text", data))
    except CellcError as error:
        shown = str(error)
    else:
        return list(cells.values())[-1]
    assert shown.startswith("error[")
    return None


def mutated(text: str, rng: random.Random) -> str:
    """A text with characters, tokens and lines lost, doubled, swapped or put in."""
    for _ in range(rng.randint(1, 6)):
        glue = rng.choice(["", "", "\n"])
        parts = text.split("\n") if glue else re.split(rng.choice([r"(\W)", r"()"]), text)
        if not parts:
            return text
        a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(5):
            case 0:
                del parts[a]
            case 1:
                parts.insert(a, parts[b])
            case 2:
                parts[a], parts[b] = parts[b], parts[a]
            case 3:
                parts.insert(a, rng.choice(TOKENS))
            case _:
                parts[a] = rng.choice(TOKENS)
        text = glue.join(parts)
    return text


@FUZZ
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    survives(text)


@FUZZ
@given(st.lists(st.sampled_from(TOKENS)).map(" ".join))
def test_any_tokens_are_read_or_refused(text: str) -> None:
    survives(f"cell c\ninput x[I]\nstate h[H]\n{text}\nh' = tanh(W·x)\noutput h'\n")


@FUZZ
@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    survives(data)


@settings(FUZZ, max_examples=800)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32))
def test_a_damaged_spec_is_read_or_refused(text: str, seed: int) -> None:
    survives(mutated(text, random.Random(seed)))


@settings(FUZZ, max_examples=40)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32))
def test_what_is_read_is_emitted(text: str, seed: int) -> None:
    cell = survives(mutated(text, random.Random(seed)))
    if cell is not None:
        for emitted in emissions(cell, "O0"):
            inspect(emitted, cell)


def emissions(cell: cellc.Cell, *levels: str) -> list[str]:
    """What both backends emit; what they refuse is left out."""
    texts = []
    for target in ("numpy", "torch"):
        for level in levels or ("O0", "O2"):
            try:
                texts.append(cellc.emit(cell, target, level))
            except CellcError:
                continue
    return texts


def inspect(text: str, cell: cellc.Cell, forbidden: str = "") -> None:
    """Only what an emitted file needs stands in it, and running it does nothing else."""
    tree = ast.parse(text)
    kinds = {type(statement) for statement in tree.body[1:]}
    assert ast.get_docstring(tree)
    assert kinds <= {ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef}
    imported = {
        name
        for part in ast.walk(tree)
        if isinstance(part, (ast.Import, ast.ImportFrom))
        for name in ([part.module or ""] if isinstance(part, ast.ImportFrom) else
                     [alias.name for alias in part.names])
    }  # fmt: skip
    assert imported <= {"math", "zlib", "numpy"} or {name.split(".")[0] for name in imported} <= {
        "math", "zlib", "torch",
    }  # fmt: skip
    *_, made = (part for part in tree.body if isinstance(part, ast.ClassDef))
    assert made.name == class_name(cell.name)
    assert made.name.isascii()
    for part in ast.walk(tree):
        for name in names_of(part):
            assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name), name
            assert name != forbidden
    for line in text.split("\n"):
        assert line.isprintable(), "a character that could hide text"
    os.environ.pop(MARK, None)
    exec(compile(tree, "<emitted>", "exec"), {"__name__": "emitted"})
    assert MARK not in os.environ


def names_of(part: ast.AST) -> list[str]:
    """Every identifier that a node of Python's tree holds."""
    found = [getattr(part, field, None) for field in ("id", "attr", "arg", "name")]
    return [name for name in found if isinstance(name, str)]


TEMPLATE = """cell {cell}
"{description}"
cite "{citation}"
input {input}[I]  # {comment}
state {state}[H]
{value} = sigmoid(W·{input} + U·{state} + b)  # {comment}
{state}' = tanh({value})*{state}
output {state}'
"""


def spec(**changes: str) -> str:
    """A cell with one of its parts replaced."""
    parts = {"cell": "c", "description": "d", "citation": "c", "comment": "n"}
    parts |= {"input": "x", "state": "h", "value": "v"}
    return TEMPLATE.format(**parts | changes)


PROSE = [
    f'""" + {CODE} + """',
    f"''' + {CODE} + '''",
    f"\\n{CODE}",
    f"\\\\n{CODE}#",
    f"\n{CODE}\n",
    f"\r{CODE}",
    f"\r\n{CODE}",
    *(f"text{mark}{CODE}" for mark in ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\0")),
    "trailing backslash \\",
    "\\\\\\",
    "'''",
    "\\N{QUOTATION MARK}\\N{QUOTATION MARK}\\N{QUOTATION MARK}",
    "\\x22\\x22\\x22 \\042 \\u0022",
    "{" + CODE + "} {self.__class__} %s %(x)s $a {0}",
    "'\"'\"\"' \"'",
    "é λ 漢字 \u0301 \U0001f600",
    "# type: ignore  # noqa",
    "coding: utf-7",
    f"+AAo-{CODE}",
    "x" * 3000,
]
NAMES = [
    *("lambda", "class", "None", "True", "import", "def", "global", "async", "nonlocal", "match"),
    *("os", "sys", "eval", "exec", "open", "len", "range", "zip", "isinstance", "super", "print"),
    *("self", "np", "torch", "nn", "F", "math", "zlib", "cls", "state", "lengths", "sizes", "p"),
    *("t", "steps", "batch", "rows", "ended", "packed", "batched", "alive", "ends", "draw", "seed"),
    *("dtype", "device", "real", "output", "outputs", "params", "forward", "training", "checks"),
    *("step", "whole", "axis", "a", "b", "s", "shifted", "number_1", "W_v_T", "v_all", "x_t"),
    *("__import__", "_x", "a__class__", "x__", "Ω", "ﬁ", "a⑴", "ﷺ", "ª", "K", "名", "é", "e\u0301"),
    *("ℵ", "𝐱", "x\u0301\u0302", "ĸ", "ŉ", "Å", "І", "ı", "ſ", "½a", "a½", "٣a", "a٣"),
]


@pytest.mark.parametrize("place", ["description", "citation", "comment"])
@pytest.mark.parametrize("prose", PROSE, ids=range(len(PROSE)))
def test_prose_stays_prose(place: str, prose: str) -> None:
    cell = survives(spec(**{place: prose}))
    if cell is not None:
        for text in emissions(cell, "O0"):
            inspect(text, cell, "__import__")


@pytest.mark.parametrize("place", ["cell", "input", "state", "value"])
def test_names_stay_names(place: str) -> None:
    for name in NAMES:
        cell = survives(spec(**{place: name}))
        if cell is not None:
            for text in emissions(cell, "O2"):
                inspect(text, cell)


NUMBERS = """cell c
input {0}[I]
state {1}[H]
{2} = clip({1}, 0, 1)*where({1} > 0, 3, 4) + sum(prev({0}))
{1}' = tanh(W·{0} + {2} + sigmoid(1/H))
output {1}', 1/2, {2}
"""


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_names_do_not_change_what_is_computed(target: str, level: str) -> None:
    """A cell whose names are those that emitted code might need still runs."""
    for name in ("len", "zip", "v", "checks", "sizes", "lengths", "p", "t", "like", "shape", "np"):
        for place in range(3):
            names = ["x", "h", "g"]
            names[place] = name
            if place == 0 and name in CALL_NAMES:
                continue  # an argument of the call; an input of that name is refused
            text = NUMBERS.format(*names)
            run = cellc.compile(cellc.parse(text), target, level)(2, 3, seed=0)
            x: Any = np.ones((4, 5, 2), np.float32)
            (output, half, _), _ = run(torch.from_numpy(x) if target == "torch" else x)
            assert output.shape == (4, 5, 3)
            assert bool((half == 0.5).all())


DERIVED = """cell c
input x[I]
state h[H]
v = tanh(W·x)*2 + q*h
q = sum(prev(x)) + clip(1, 0, 2)
{0} = h*0.5 + tanh(U·h) + v
h' = tanh(U·v + W·x)*{0}
output h', v, {0}
"""


@pytest.mark.parametrize("level", ["O0", "O2"])
@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_names_may_look_like_those_that_emitters_make(target: str, level: str) -> None:
    names = ["v_t", "v_all", "v_steps", "x_t", "U_h_T", "number_1", "output1", "h_next_all"]
    for name in (*names, "h_next_steps", "h_before", "prev_x", "W_v_x", "x_chain"):
        run = cellc.compile(cellc.parse(DERIVED.format(name)), target, level)(2, 3, seed=0)
        x: Any = np.ones((4, 5, 2), np.float32)
        outputs, _ = run(torch.from_numpy(x) if target == "torch" else x)
        assert [output.shape for output in outputs] == [(4, 5, 3)] * 3


@pytest.mark.parametrize("argument", ["heads", *NAMES])
def test_arguments_of_constructors_stay_apart(argument: str) -> None:
    body = "f[K]  = tanh(W·x)\nh' = tanh(U·f)*h*{}"
    head = "cell c\ninput x[I]\nstate h[H]\n"
    for text in (
        f"{head}dim K {argument} = 2\n{body.format(1)}\noutput h'",
        f"{head}dim K heads = 2\noption {argument} = 2\n{body.format(argument)}\noutput h'",
        f"{head}dim {argument} heads = 2\n{body.format(1).replace('K', argument)}\noutput h'",
    ):
        cell = survives(text)
        if cell is None:
            continue
        for emitted in emissions(cell, "O0"):
            inspect(emitted, cell)
            space: dict[str, type] = {}
            exec(emitted, space)
            space[class_name(cell.name)](2, 3)


@pytest.mark.parametrize(
    "name", ["none", "λ", "Γ", "é", "x__y", "true", "f", "tensor", "packedSequence", "valueError"]
)
def test_class_names_are_plain(name: str) -> None:
    cell = survives(spec(cell=name))
    assert cell is not None
    made = class_name(cell.name)
    assert made.isascii()
    assert made.isidentifier()
    assert made[0].isupper()
    for target in ("numpy", "torch"):
        assert cellc.compile(cell, target).__name__ == made


def test_names_of_files_stay_names(tmp_path: Path) -> None:
    path = tmp_path / f"x\n{CODE.replace('/', '')} #.cell"
    path.write_text(spec(), encoding="utf-8")
    cell = cellc.load(path)
    for text in emissions(cell):
        inspect(text, cell, "__import__")


BODY = "input x[I]\nstate h[H]\nh' = tanh(W·x)*h\noutput h'\n"
EXPENSIVE: dict[str, Callable[[], str]] = {
    "doubling": lambda: functions("{0}(a) + {0}(a)"),
    "nesting": lambda: functions("{0}({0}(a))"),
    "squares": lambda: functions("{0}(a*a)*a"),
    "unknown names": lambda: "\n".join(f"f{i} = abc{i}xyz" for i in range(3000)),
    "faulty lines": lambda: "\n".join(f"f{i} = a b" for i in range(5000)),
    "control characters": lambda: "\x01" * 9_000,
    "brackets": lambda: "f = " + "(" * 9_000,
    "an open bracket": lambda: "f = (\n" + "+ 1\n" * 100_000,
    "minus signs": lambda: "f = " + "-" * 9_000 + "1",
    "a long sum": lambda: "f = " + "+".join("1" * 4_000),
    "powers": lambda: "f = " + "^".join("9" * 100),
    "a long lag": lambda: "f = prev(x, 999999999)",
    "large dimensions": lambda: f"f[{'*'.join(['(H + I + 1)'] * 80)}] = 1",
    "many equations": lambda: "\n".join(f"f{i} = h*{i}" for i in range(3000)),
    "a chain": lambda: "f0 = 1\n" + "\n".join(f"f{i} = f{i - 1}*2" for i in range(1, 3000)),
    "cells": lambda: "\n".join(f"cell c{i} from c{i + 1}" for i in range(2000)),
    "namesakes": lambda: "cell c\n" * 5000,
}


def functions(body: str) -> str:
    """Small functions that each apply the one before twice."""
    chain = [f"k{i}(a) = {body.format(f'k{i - 1}')}" for i in range(1, 60)]
    return "\n".join(["k0(a) = a + a", *chain, "f = k59(h)", "output f"])


@pytest.mark.parametrize("name", EXPENSIVE)
def test_expensive_texts_are_refused_soon(name: str) -> None:
    start = time.perf_counter()
    assert survives(f"cell c\n{BODY}{EXPENSIVE[name]()}") is None
    assert time.perf_counter() - start < 5


def test_few_of_many_errors_are_shown() -> None:
    with pytest.raises(CellcError) as caught:
        cellc.parse(f"cell c\n{BODY}" + "\n".join(f"f{i} = a b" for i in range(1234)))
    assert len(caught.value.diagnostics) == 1234
    assert str(caught.value).count("error[") == 50
    assert str(caught.value).endswith("… and 1,184 more")


ODD_PATHS = ["", ".", "/", "a\0b", "a" * 5000, "a" * 5000 + ".cell", "-", "\n"]


@pytest.mark.parametrize("name", ODD_PATHS, ids=range(len(ODD_PATHS)))
def test_odd_paths_are_refused(name: str) -> None:
    with pytest.raises(CellcError):
        cellc.load(name)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(CellcError, match="file-too-large"):
        cellc.load("/dev/zero")


def test_positions_survive_every_line_end() -> None:
    source = read_source("text", "one\r\ntwo\r\nthree")
    assert source == Source("text", "one\ntwo\nthree")
    assert source.line_of(source.text.index("three")) == 3
