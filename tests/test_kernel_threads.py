"""Compiled loops among threads and processes: forks, workers, several callers, many calls."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import cellc
from cellc.kernels import build, torch_loops
from cellc.kernels.choice import Way
from cellc.kernels.lending import is_forked, threads_of_torch
from tests.running import compiled

SIZE, STEPS, BATCH = 19, 7, 5
#: Seconds in which a child that is not stuck is done.
SOON = 30


@pytest.fixture(scope="module")
def module() -> Any:
    torch.manual_seed(0)
    made = compiled(cellc.load("lstm"), "torch", "O2", kernels="native")(SIZE, SIZE)
    made.kernels = "native"
    return made


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(STEPS, BATCH, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ways(threads: int, monkeypatch: pytest.MonkeyPatch, by_rows: bool = True) -> None:
    """Have every loop run by so many threads, however small it is."""
    torch.set_num_threads(threads)
    monkeypatch.setattr(torch_loops, "choose", lambda *_: Way(threads, by_rows))


def forward_and_backward(module: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradients."""
    inputs = x.clone().requires_grad_()
    output = module(inputs)[0]
    slopes = torch.autograd.grad(output.square().sum(), [inputs, *module.parameters()])
    return [output.detach(), *slopes]


def same(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True))


def in_child(work: Callable[[], bool]) -> None:
    """Fork, and have the child do something; it must succeed, and soon."""
    child = os.fork()
    if child == 0:
        signal.alarm(SOON)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("by_rows", [True, False])
def test_a_forked_child_runs_kernels(
    by_rows: bool, module: Any, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(2, monkeypatch, by_rows)
    wanted = forward_and_backward(module, x)

    def work() -> bool:
        found = []
        for threads in (2, 1, 3, 2):
            ways(threads, monkeypatch, by_rows)
            found.append(same(forward_and_backward(module, x), wanted))
        return all(found)

    def work_and_fork() -> bool:
        found = work()
        in_child(work)
        return found

    in_child(work_and_fork)
    assert same(forward_and_backward(module, x), wanted)


def test_a_forked_child_is_lent_no_threads_of_its_parent() -> None:
    assert not is_forked()
    in_child(lambda: is_forked() and not any(f.value for f in threads_of_torch()))


def test_a_forked_child_loads_kernels_of_its_own(
    module: Any, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent's OpenMP has run, and the library is new in the child."""
    ways(2, monkeypatch)
    forward_and_backward(module, x)
    cell = cellc.parse("cell child from lstm\ng = tanh(W·[h, x] + b) + 1  # in a child only\n")
    other = compiled(cell, "torch", "O2", kernels="native")(SIZE, SIZE).double()

    def work() -> bool:
        found = forward_and_backward(other, x.double())
        other.kernels = "none"
        torch.set_num_threads(1)
        return same(found, forward_and_backward(other, x.double()))

    in_child(work)


def test_a_fork_while_another_thread_builds_is_not_stuck(module: Any, x: torch.Tensor) -> None:
    from_thread, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with build._LOCK:
            from_thread.set()
            go_on.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    from_thread.wait()
    kernels = type(module).forward.__globals__["KERNELS"]
    try:
        in_child(lambda: bool(build.library(kernels.source, 32)))
    finally:
        go_on.set()
        holder.join()


class Rows(torch.utils.data.Dataset[torch.Tensor]):
    """Outputs of a module, computed where they are loaded."""

    def __init__(self, module: Any, x: torch.Tensor) -> None:
        self.module, self.x = module, x

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        torch.set_num_threads(1 + index % 2)
        with torch.no_grad():
            found: torch.Tensor = self.module(self.x + index)[0]
        return found


def test_workers_of_a_loader_run_a_module(
    module: Any, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(2, monkeypatch)
    rows = Rows(module, x)
    wanted = [rows[index] for index in range(len(rows))]
    loader = torch.utils.data.DataLoader(
        rows, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=SOON
    )
    assert same(list(loader), wanted)


@pytest.mark.parametrize("lent", [True, False])
def test_several_threads_call_a_module_at_once(
    lent: bool, module: Any, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(2, monkeypatch)
    given = [x + number for number in range(4)]
    wanted = [forward_and_backward(module, one) for one in given]

    def work() -> bool:
        found = [True] * len(given)

        def repeat(number: int) -> None:
            for _ in range(20):
                found[number] &= same(forward_and_backward(module, given[number]), wanted[number])

        threads = [threading.Thread(target=repeat, args=(n,)) for n in range(len(given))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(found)

    if lent:
        assert work()
    else:
        in_child(work)


def test_the_number_of_threads_is_torchs(
    module: Any, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def choose(*given: Any) -> Way:
        asked.append(given[5])
        return Way(1, True)

    monkeypatch.setattr(torch_loops, "choose", choose)
    for threads in (1, 2, 3, 1):
        torch.set_num_threads(threads)
        module(x)
    assert asked == [1, 2, 3, 1]


def test_others_go_on_while_a_kernel_runs(module: Any, x: torch.Tensor) -> None:
    torch.set_num_threads(1)
    long, one = x.repeat(6000, 1, 1), x[:1]
    module(one)
    begin = time.perf_counter()
    with torch.no_grad():
        module(long)
    took = time.perf_counter() - begin
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(took / 50):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    with torch.no_grad():
        module(long)
    stop.set()
    thread.join()
    assert len(ticks) >= 5


def resident() -> int:
    """The bytes of memory that the process has."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells the memory")
def test_a_thousand_calls_leak_nothing(
    module: Any, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(times: int) -> int:
        for number in range(times):
            ways(1 if number % 20 else 2, monkeypatch, by_rows=False)
            x.requires_grad_(number % 2 == 0)
            with torch.no_grad():
                module.W_f += 1e-6  # so that weights are packed anew
            module(x)[0].sum().backward()
        gc.collect()
        return resident()

    before = call(300)
    assert call(1000) - before < 2 * 2**20
    x.requires_grad_(False)


def test_a_process_ends_while_threads_wait_for_work(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import ctypes, torch, cellc
            from cellc.kernels import torch_loops
            from cellc.kernels.choice import Way

            torch_loops.threads_of_torch = lambda: 3 * (ctypes.c_void_p(),)
            torch_loops.choose = lambda *_: Way(2, True)
            module = cellc.compile("lstm", kernels="native")(19, 19)
            module(torch.randn(7, 5, 19))[0].sum().backward()
            print("ends")
        """)
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")
