"""Where built kernels are kept, which compiler builds them, and what happens where none can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from cellc.diagnostics import CellcError
from cellc.kernels import build, store
from cellc.kernels.build import library
from cellc.kernels.compiler import Compiler, find_compiler
from tests.running import compiled


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for built kernels, with nothing in it and nothing loaded."""
    path = tmp_path / "cache"
    monkeypatch.setenv("CELLC_CACHE", str(path))
    monkeypatch.delenv("CELLC_CACHE_BYTES", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build, "_LOADED", {})
    return path


def text(number: int = 7) -> str:
    """A file with one function."""
    return f'extern "C" __attribute__((visibility("default"))) int answer() {{ return {number}; }}'


def answer(number: int = 7) -> int:
    return int(library(text(number), 32).answer())


def diagnostic(number: int = 7) -> Any:
    """What is told where a library cannot be had."""
    with pytest.raises(CellcError) as caught:
        library(text(number), 32)
    (only,) = caught.value.diagnostics
    return only


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be as a process that has loaded nothing."""
    monkeypatch.setattr(build, "_LOADED", {})


def objects(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.so"))


def script(path: Path, commands: str) -> Path:
    """A program that runs commands of the shell."""
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return path


def run(*arguments: str, status: int = 0) -> Any:
    result = CliRunner().invoke(app, ["cache", *arguments])
    assert result.exit_code == status, result.output
    return result


# The command


def test_cache_shows_what_is_kept_and_when_it_was_used(cache: Path) -> None:
    answer(1), answer(2)
    old, new = objects(cache)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    shown = run().stdout
    lines = shown.splitlines()
    assert lines[0] == str(cache)
    total = old.stat().st_size + new.stat().st_size
    assert lines[1] == f"2 kernels, {total:,} of at most 268,435,456 bytes"
    assert shown.index(new.name) < shown.index(old.name)
    assert lines[-1].split()[0].startswith("2001-09-")


def test_cache_is_told_to_programs(cache: Path) -> None:
    answer()
    (made,) = objects(cache)
    told = json.loads(run("--json").stdout)
    assert told["directory"] == str(cache)
    assert told["bytes"] == made.stat().st_size
    assert told["most_bytes"] == store.MOST_BYTES
    ((name, size, used),) = [kernel.values() for kernel in told["kernels"]]
    assert (name, size) == (made.name, made.stat().st_size)
    assert used.startswith("20")


def test_cache_is_cleared(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(1), answer(2)
    assert run("--clear").stdout == f"removed 2 kernels from {cache}\n"
    assert not any(cache.iterdir())
    assert answer(1) == 1, "what is loaded goes on working"
    assert json.loads(run("--clear", "--json").stdout) == {"directory": str(cache), "removed": 0}
    forget(monkeypatch)
    assert answer(1) == 1
    assert len(objects(cache)) == 1


def test_a_cache_that_is_not_there_is_empty(cache: Path) -> None:
    assert run().stdout == f"{cache}\n0 kernels, 0 of at most 268,435,456 bytes\n"
    assert json.loads(run("--json").stdout)["kernels"] == []
    assert run("--clear").stdout == f"removed 0 kernels from {cache}\n"


def test_what_may_not_be_removed_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    answer()
    monkeypatch.setattr(Path, "unlink", refuse)
    result = run("--clear", status=1)
    assert f"kernels in {cache} cannot be removed: Operation not permitted" in result.output


# The store


def test_a_library_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer()
    forget(monkeypatch)
    monkeypatch.setattr(Compiler, "run", None)
    os.utime(objects(cache)[0], (1, 1))
    assert answer() == 7
    assert time.time() - objects(cache)[0].stat().st_mtime < 60


def test_another_compiler_or_type_of_numbers_is_another_object(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    library(text(), 64)
    assert len(objects(cache)) == 2
    forget(monkeypatch)
    behind = script(tmp_path / "behind", 'exec "$@"')
    compiler = script(tmp_path / "compiler", 'exec c++ "$@"')
    monkeypatch.setenv("CXX", f"{behind} {compiler}")
    one = find_compiler().identity
    os.utime(compiler, (1, 1))
    assert find_compiler().identity != one, "the compiler behind the first word was replaced"


def test_processes_that_build_the_same_do_not_disturb_each_other(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = 'touch "$0.$$"; while [ $(ls "$0".* | wc -l) -lt 2 ]; do sleep 0.05; done'
    slow = script(tmp_path / "slow", f'{waiting}; exec c++ "$@"')
    code = f"from cellc.kernels.build import library; print(library({text()!r}, 32).answer())"
    words = {"CXX": str(slow), "PYTHONPATH": os.pathsep.join(sys.path)}
    command, environment = [sys.executable, "-c", code], {**os.environ, **words}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)
    ]  # fmt: skip
    assert [process.communicate(timeout=60)[0] for process in running] == [b"7\n", b"7\n"]
    assert len(list(tmp_path.glob("slow.*"))) == 2, "both have built"
    assert list(cache.iterdir()) == objects(cache)
    assert len(objects(cache)) == 1


def test_the_objects_not_used_for_longest_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2, 3):
        answer(number)
        for path in objects(cache):
            os.utime(path, (time.time() - 100, path.stat().st_mtime - 100))
    forget(monkeypatch)
    answer(1)  # now the second is the one not used for longest
    size = objects(cache)[0].stat().st_size
    monkeypatch.setenv("CELLC_CACHE_BYTES", str(3 * size + size // 2))
    before = set(objects(cache))
    answer(4)
    assert len(objects(cache)) == 3
    assert len(before & set(objects(cache))) == 2
    forget(monkeypatch)
    monkeypatch.setattr(Compiler, "run", None)
    assert [answer(number) for number in (1, 3, 4)] == [1, 3, 4]
    with pytest.raises(TypeError):
        answer(2)


def test_the_object_that_is_built_now_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLC_CACHE_BYTES", "0")
    assert [answer(1), answer(2)] == [1, 2]
    assert len(objects(cache)) == 1


@pytest.mark.parametrize("given", ["", "many", "-1", "²"])
def test_a_bound_that_is_no_number_is_the_usual_one(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLC_CACHE_BYTES", given)
    assert store.most_bytes() == store.MOST_BYTES


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_object_is_built_anew(
    part: float, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    (path,) = objects(cache)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: int(len(whole) * part)])
    forget(monkeypatch)
    assert answer() == 7
    assert [made.read_bytes() for made in objects(cache)] == [whole]


def test_an_object_with_other_bytes_is_built_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    (path,) = objects(cache)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:1000] + b"\xff" * 1000 + whole[2000:])
    forget(monkeypatch)
    assert answer() == 7


def test_what_was_left_aside_is_forgotten_after_an_hour(cache: Path) -> None:
    for name, age in (("dead", store.FORGOTTEN + 60), ("alive", 60)):
        path = cache / f"{store.ASIDE}{name}"
        path.mkdir(parents=True)
        (path / "kernels.cpp").touch()
        os.utime(path, (time.time() - age,) * 2)
    answer()
    assert [path.name for path in cache.glob(f"{store.ASIDE}*")] == [f"{store.ASIDE}alive"]


def test_a_directory_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CELLC_CACHE", str(tmp_path / "file" / "cache"))
    told = diagnostic()
    assert told.code == "kernel-store"
    assert told.message == f"kernels cannot be kept in {tmp_path}/file/cache: Not a directory"
    assert told.hints == ("name another directory in the variable CELLC_CACHE",)


def test_an_object_that_the_machine_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(script(tmp_path / "odd", 'for last; do [ "$out" = -o ] && break; '
                                         'out=$last; done; echo nothing > "$last"')))  # fmt: skip
    told = diagnostic()
    assert told.code == "kernel-store"
    assert "cannot be loaded" in told.message


def test_a_start_with_what_is_kept_is_quick(cache: Path) -> None:
    answer()
    code = (
        "import time; from cellc.kernels.build import library; begin = time.process_time(); "
        f"library({text()!r}, 32); print(time.process_time() - begin)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert float(done.stdout) < 0.05
    assert len(objects(cache)) == 1


# The compiler


def test_the_compiler_that_is_named_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = script(tmp_path / "be hind", 'echo "$1" >> "$0.log"; exec "$@"')
    monkeypatch.setenv("CXX", f"'{behind}' c++ -DUNUSED")
    assert find_compiler().words == (str(behind), "c++", "-DUNUSED")
    assert answer() == 7
    assert Path(f"{behind}.log").read_text() == "c++\n"


def test_the_known_compilers_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", " ")
    for name in ("clang++", "g++", "c++"):
        script(tmp_path / name, "")
        assert find_compiler().words == (name,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-such-compiler -O1", "there is no C++ compiler `no-such-compiler`, which the"),
        ("'c++", "the variable CXX has a quotation mark that is not closed: 'c++"),
    ],
)
def test_a_named_compiler_that_is_not_there_is_told(
    given: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", given)
    told = diagnostic()
    assert told.code == "no-compiler"
    assert told.message.startswith(said)
    assert told.hints[1] == 'or run without: kernels="none"'


def test_no_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = diagnostic()
    assert (told.code, told.message) == (
        "no-compiler", "there is no C++ compiler to build kernels with",
    )  # fmt: skip


@pytest.mark.parametrize("commands", ["echo 'what it sa\\377id' >&2; exit 3", None])
def test_a_compiler_that_fails_is_told_with_what_it_said(
    commands: str | None, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = script(tmp_path / "odd", commands or "")
    if commands is None:
        odd.write_bytes(b"\0no program")
    monkeypatch.setenv("CXX", str(odd))
    told = diagnostic()
    assert told.code == "kernel-build"
    said = (cache / "failed" / "kernels.log").read_text()
    assert said == ("what it sa\ufffdid\n" if commands else f"it does not run: [Errno 8] "
                    f"Exec format error: '{odd}'\n")  # fmt: skip
    assert (cache / "failed" / "kernels.cpp").read_text() == text()
    assert objects(cache) == []


# Modules


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module whose kernels nobody has run yet."""
    torch.manual_seed(0)
    monkeypatch.setenv("CELLC_KERNELS", "auto")
    made = compiled(cellc.load("rnn"), "torch", "O2", kernels="auto")(3, 4)
    kernels = type(made).forward.__globals__["KERNELS"]
    monkeypatch.setattr(kernels, "libraries", {})
    monkeypatch.setattr(kernels, "failed", set())
    return made


def _without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def _without_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CELLC_CACHE", str(tmp_path / "file" / "cache"))


def _with_another_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


@pytest.mark.parametrize(
    ("lacking", "code"),
    [
        (_without_compiler, "no-compiler"),
        (_with_another_compiler, "no-compiler"),
        (_without_directory, "kernel-store"),
    ],
)
def test_a_module_runs_without_kernels_and_says_so_once(
    lacking: Any, code: str, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking(tmp_path, monkeypatch)
    x = torch.randn(6, 2, 3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [module(x)[0] for _ in range(3)]
        module.double()(x.double())
    (only,) = told
    assert str(only.message).startswith("cellc runs without compiled kernels: ")
    assert only.filename == __file__
    module.float().kernels = "none"
    assert all(torch.equal(value, module(x)[0]) for value in found)
    module.kernels = "native"
    with pytest.raises(CellcError) as caught:
        module(x)
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_a_module_runs_with_kernels_without_a_word(module: Any, cache: Path) -> None:
    x = torch.randn(6, 2, 3)
    found = module(x)[0]
    assert len(objects(cache)) == 1
    module.kernels = "none"
    torch.testing.assert_close(found, module(x)[0])
