"""What the benchmark of compiled kernels tells: bars, tables, the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from kernels_rounds import Record
from rich.table import Table

TITLES = {
    "torch": "Against torch's own",
    "onnx": "Forward, against ONNX Runtime",
    "zoo": "Training of all other cells, against loops in Python",
    "costs": "What cells cost beside an LSTM",
    "peak": "Share of the fastest product's rate",
    "build": "Seconds until kernels are loaded",
    "inductor": "Against torch.compile",
}

Chosen = Callable[[Record], bool]


@dataclass(frozen=True)
class Bar:
    """What is asked of the records of a section that are ``chosen``.

    Their geometric mean is to be at least, or at most, ``limit``; of bars with ``each``
    every single one is.
    """

    section: str
    what: str
    limit: float
    chosen: Chosen
    least: bool = True
    each: bool = False

    def applies(self, record: Record) -> bool:
        """Whether a record counts for this."""
        return record.section == self.section and record.counts and self.chosen(record)

    def allows(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.limit if self.least else value <= self.limit

    @property
    def text(self) -> str:
        """What is asked, in short."""
        return f"{'≥' if self.least else '≤'} {self.limit:g}{' each' if self.each else ''}"


def is_of(cell: str = "", mode: str = "") -> Chosen:
    """Records of a cell and a mode, of all where none is given."""
    return lambda r: (not cell or r.cell == cell) and (not mode or r.mode == mode)


def _of_torch() -> Iterator[Bar]:
    """Bars for cells that torch has."""
    for mode, limit in (("forward", 1.5), ("training", 1.3)):
        for cell in ("lstm", "gru_reset_after", "rnn"):
            high = cell == "gru_reset_after" and mode == "training"
            own = 2.5 if high else limit
            yield Bar("torch", f"{cell}, {mode}", own, is_of(cell, mode))
        yield Bar("torch", f"all, {mode}", limit, is_of(mode=mode))
    yield Bar("torch", "everywhere", 0.95, is_of(), each=True)


def _of_onnx() -> Iterator[Bar]:
    """Bars for cells that ONNX has."""
    for cell in ("lstm", "peephole_lstm", "cifg", "gru", "gru_reset_after"):
        yield Bar("onnx", cell, 1.2 if cell == "cifg" else 1.0, is_of(cell))
    yield Bar("onnx", "all", 1.0, is_of())


def _of_zoo() -> Iterator[Bar]:
    """Bars for all other cells."""
    for what, word in (("loops by hand, ", "by hand"), ("emitted, ", "emitted"), ("all, ", "")):
        few, many = _zoo(word, range(9)), _zoo(word, range(9, 99))
        yield Bar("zoo", f"{what}B ≤ 8", 5.0, few)
        yield Bar("zoo", f"{what}B = 32", 2.0, many)


def _zoo(word: str, batches: range) -> Chosen:
    return lambda r: word in r.against and r.batch in batches


def _of_costs() -> Iterator[Bar]:
    """Bars for what cells cost."""
    for mode in ("forward", "training"):
        yield Bar("costs", f"peephole_lstm, {mode}", 1.15, is_of("peephole_lstm", mode), False)
        yield Bar("costs", f"cifg, {mode}, B = 32, H ≥ 256", 0.8, _large("cifg", mode), False)
        yield Bar("costs", f"layernorm_lstm, {mode}", 1.4, is_of("layernorm_lstm", mode), False)


def _large(cell: str, mode: str) -> Chosen:
    return lambda r: is_of(cell, mode)(r) and r.batch == 32 and r.hidden >= 256


BARS: tuple[Bar, ...] = (
    *_of_torch(),
    *_of_onnx(),
    *_of_zoo(),
    *_of_costs(),
    Bar("peak", "forward", 0.8, is_of(mode="forward"), each=True),
    Bar("peak", "training", 0.7, is_of(mode="training"), each=True),
    Bar("build", "build, s", 2.0, is_of(mode="build"), least=False, each=True),
    Bar("build", "load, s", 0.05, is_of(mode="load"), least=False, each=True),
)


def number(value: float | None) -> str:
    """A ratio."""
    return "" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def place(record: Record) -> str:
    """Where a record was measured."""
    size = f" B={record.batch} H={record.hidden}" if record.hidden else ""
    return f"{record.cell}{size}, {record.threads} thr."


SUMMARY = ("section", "what", "bar", "mean", "1 thr.", "2 thr.", "worst", "where", "lines", "met")


def mean(records: Sequence[Record], threads: int = 0) -> float | None:
    """The geometric mean of the ratios, of those with so many threads."""
    found = [r.ratio for r in records if threads in (0, r.threads)]
    return geometric_mean(found) if found else None


def judged(bar: Bar, records: Sequence[Record]) -> list[str] | None:
    """A bar as a line of the summary; None where nothing was measured for it."""
    own = [record for record in records if bar.applies(record)]
    if not own:
        return None
    worst = (min if bar.least else max)(own, key=lambda r: r.ratio)
    good = sum(bar.allows(record.ratio) for record in own)
    overall = mean(own)
    assert overall is not None
    met = good == len(own) if bar.each else bar.allows(overall)
    means = [number(value) for value in (overall, mean(own, 1), mean(own, 2))]
    return [
        bar.section, bar.what, bar.text, *means, number(worst.ratio), place(worst),
        f"{good} of {len(own)}", "yes" if met else "NO",
    ]  # fmt: skip


def summary(records: Sequence[Record]) -> list[list[str]]:
    """All bars for which there is a measurement."""
    return [line for bar in BARS if (line := judged(bar, records)) is not None]


DETAILS = (
    "cell", "against", "mode", "thr.", "B", "H", "rounds", "own ms", "other ms", "ratio",
    "quartiles", "bar", "met",
)  # fmt: skip


def detail(record: Record) -> list[str]:
    """A record as a line of its section's table."""
    bar = next((bar for bar in BARS if bar.applies(record)), None)
    other = "" if record.other is None else f"{record.other * 1e3:.2f}"
    numbers = (record.threads, record.batch or "", record.hidden or "", record.rounds)
    return [
        record.cell, record.against, record.mode, *map(str, numbers),
        f"{record.own * 1e3:.2f}", other, number(record.ratio),
        f"{number(record.low)}–{number(record.high)}",
        bar.text.removesuffix(" each") if bar else "no loop" if not record.counts else "",
        ("yes" if bar.allows(record.ratio) else "NO") if bar else "",
    ]  # fmt: skip


def drawn(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Lines for a terminal."""
    table = Table(title=title)
    for head in heads:
        words = head in ("section", "what", "where", "cell", "against", "mode")
        table.add_column(head, justify="left" if words else "right", no_wrap=True)
    for line in lines:
        colour = {"yes": "green", "NO": "red"}.get(line[-1], "default")
        table.add_row(*line[:-1], f"[{colour}]{line[-1]}[/]")
    return table


def ruled(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines for a page."""
    return [
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
        *(f"| {' | '.join(line)} |" for line in lines),
    ]


PROSE = """
T=100, I=H, single precision. Competitors run in turn within each round; times are medians, a ratio
is the median of the rounds' ratios and stands beside their quartiles. Above 1 cellc is the faster
one; under *costs* the ratio is a cell's time over that of `lstm`, under *peak* the share of the
rate of a large product that a whole pass reaches, under *build* it is seconds. Training is a
forward pass and the gradients by the inputs and all parameters, which change a little before each.
A mean is geometric; *lines* tells how many single sizes meet the bar. Cells without a loop over
time have no kernels and do not count.
""".strip()


def page(machine: dict[str, str], records: Sequence[Record]) -> str:
    """The page of results."""
    told = "; ".join(f"{name} {value}" for name, value in machine.items())
    lines = ["# Compiled kernels", "", f"Written by `benchmarks/kernels.py`. {told}.", ""]
    lines += [PROSE, "", "## Bars", "", *ruled(SUMMARY, summary(records))]
    for section, title in TITLES.items():
        own = [detail(record) for record in records if record.section == section]
        if own:
            lines += ["", f"## {title}", "", *ruled(DETAILS, own)]
    return "\n".join(lines) + "\n"
