"""What the benchmark of a GPU tells: lines as it goes, tables, the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean

from gpu_grids import TITLES, Point, Task
from gpu_records import Check, Device, Row


@dataclass
class Found:
    """All that a run has found, and what there was ``left`` to do."""

    checks: list[Check] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left: list[Task] = field(default_factory=list)


# lines as it goes


def told_check(check: Check) -> str:
    """A check in one line."""
    if check.error:
        return f"CHECK FAILED {check.point}: {check.error}"
    errors = ", ".join(f"{name} {value:.1e}" for name, value in check.errors.items())
    word = "ok" if check.passed else "CHECK FAILED"
    bits = "the same twice" if check.same else "NOT THE SAME TWICE"
    plain = ", ".join(f"{value:.1e}" for value in check.plain.values())
    beside = f" (plain loop {plain})" if plain else ""
    return f"{word} {check.point}: {errors}{beside}; {bits}; {check.seconds:.1f} s"


def told_row(row: Row) -> str:
    """A row in one line."""
    if row.error:
        return f"ROW FAILED {row.point} {row.mode}: {row.error}"
    parts = [f"{row.point} {row.mode}: {time(row.own)} us/step"]
    if row.peer is not None:
        parts.append(f"{row.peer_name} {time(row.peer)} ({times(row.ratio)}, {row.algorithm})")
    if row.eager is not None:
        parts.append(f"plain loop {time(row.eager)}")
    parts.append(f"input product {time(row.product)}")
    if row.share is not None:
        parts.append(f"{row.share:.0%} of the bandwidth")
    return f"{', '.join(parts)}; first calls {row.first:.1f} s"


def time(value: float | None) -> str:
    """Microseconds."""
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def times(value: float | None) -> str:
    """A ratio."""
    return "" if value is None else f"{value:.2f}x"


# tables

HEADS = (
    "cell", "type", "size", "mode", "us/step", "against", "us/step of it", "ratio",
    "us/step less GEMM of inputs", "ratio of these", "plain loop (T=128)/own", "notes",
)  # fmt: skip
CHECK_HEADS = ("cell", "type", "size", "outputs", "states", "gradients", "same twice", "passed")
SUMMARY = ("cell", "type", "mode", "against", "rows", "mean ratio", "least", "largest")


def line(row: Row) -> list[str]:
    """A row as a line of its table."""
    point = row.point
    start = [point.cell, point.number, point.size, row.mode]
    if row.error:
        return [*start, *[""] * (len(HEADS) - len(start) - 1), f"FAILED: {row.error}"]
    alone = row.peer_alone / row.own_alone if row.peer_alone and row.own_alone else None
    eager = row.eager / row.own if row.eager and row.own else None
    share = f"{row.share:.0%} of the bandwidth" if row.share is not None else ""
    against = f"{row.peer_name}, {row.algorithm}" if row.peer is not None else ""
    return [
        *start, time(row.own), against, time(row.peer), times(row.ratio),
        time(row.own_alone), times(alone), times(eager), share,
    ]  # fmt: skip


def check_line(check: Check) -> list[str]:
    """A check as a line of its table."""
    names = ("outputs", "states", "gradients")
    errors = [f"{check.errors[name]:.1e}" if name in check.errors else "" for name in names]
    point = check.point
    passed = "yes" if check.passed else f"NO {check.error}".strip()
    return [
        point.cell, point.number, point.size, *errors, "yes" if check.same else "NO", passed,
    ]  # fmt: skip


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """The means of ratios over sizes, for each cell, type, mode and algorithm of the peer."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        if row.ratio is not None:
            against = f"{row.peer_name}, {row.algorithm}"
            key = (row.point.cell, row.point.number, row.mode, against)
            groups.setdefault(key, []).append(row.ratio)
    return [
        [*key, str(len(found)), *map(times, (geometric_mean(found), min(found), max(found)))]
        for key, found in groups.items()
    ]


PROSE = """
Times are medians, in microseconds per step of the sequence, first calls apart; competitors run in
turn. *Forward* is a pass without gradients, *training* a pass and the gradients by inputs and
all parameters. A ratio above 1 means that cellc is the faster one. *Less GEMM of inputs*: the time
of the products of the inputs, measured beside it as library calls, is subtracted from both. The
*plain loop* is the emitted loop in Python with autograd, over 128 steps. Behind torch's module
stands the algorithm of cuDNN, by torch's own rule; forward / backward where they differ. A module
with a star computes another recurrence: `nn.GRU` has its reset gate behind the product, and
`nn.LSTM` has one dense recurrent weight rather than heads. tf32 rounds factors of products to 10
bits; fp32 does not. The bandwidth is that of copying a large tensor; the bytes of a scan count
each value once, and its time is less the input product.
""".strip()
CHECKED = """
Errors are relative to the largest number of each tensor, against the plain loop in float64 with
the same numbers; states are the last ones. In 16 bits twice the error of the plain loop will do.
""".strip()
MEANINGLESS = "Run by Triton's interpreter at tiny sizes: the times mean nothing."


def ruled(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines as a table of Markdown, with columns of one width."""
    cells = [[text.replace("|", "/") for text in line] for line in (heads, *lines)]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def drawn(line: Sequence[str]) -> str:
        padded = (text.ljust(width) for text, width in zip(line, wide, strict=True))
        return f"| {' | '.join(padded)} |"

    return [drawn(cells[0]), drawn(["-" * width for width in wide]), *map(drawn, cells[1:])]


def left_out(left: Sequence[Task]) -> Iterator[str]:
    """What there was no time for, a line for each kind, cell and type."""
    groups: dict[str, list[Point]] = {}
    for task in left:
        point = task.point
        groups.setdefault(f"{task.kind} {point.cell} {point.number}", []).append(point)
    for name, points in groups.items():
        yield f"- {name}: {'; '.join(point.size for point in points)}"


def parts(device: Device, found: Found, interpret: bool) -> Iterator[str]:
    """The lines of the report; the summary of ratios comes last."""
    yield f"Bandwidth of a copy: {device.bandwidth / 1e9:,.0f} GB/s."
    yield from ("", PROSE, "")
    yield from ([MEANINGLESS, ""] if interpret else [])
    if found.left:
        yield from (
            "## Not done: time was up, or too many processes ended",
            "",
            *left_out(found.left),
            "",
        )
    if found.checks:
        passed = sum(check.passed for check in found.checks)
        yield f"## Checks: {passed} of {len(found.checks)} passed"
        yield from ("", CHECKED, "", *ruled(CHECK_HEADS, list(map(check_line, found.checks))), "")
    for grid, title in TITLES.items():
        own = [line(row) for row in found.rows if row.point.grid == grid]
        if own:
            yield from (f"## {title}", "", *ruled(HEADS, own), "")
    yield from ("## Ratios over all sizes", "", *ruled(SUMMARY, summary(found.rows)))
    yield from (["", MEANINGLESS] if interpret else [])


def printed(device: Device, found: Found, interpret: bool) -> str:
    """The report for a terminal."""
    return "\n".join(["", *parts(device, found, interpret)])


def page(device: Device, found: Found, interpret: bool) -> str:
    """The page of results."""
    facts = "; ".join(f"{name} {value}" for name, value in device.facts.items())
    head = ["# Kernels on a GPU", "", f"Written by `benchmarks/gpu.py`. {device.name}; {facts}."]
    return "\n".join([*head, *parts(device, found, interpret)]) + "\n"
