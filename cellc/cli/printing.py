"""What `cellc list` and `cellc show` print."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellc.frontend.lineage import Lineage
from cellc.ops.notation import equations_of
from cellc.syntax.characters import ascii_name, display_width, padded
from cellc.views.diff import Difference
from cellc.views.summary import Summary

#: The families of the shipped cells in the order of the list; others follow by name.
FAMILIES = (
    "Simple recurrent networks",
    "LSTM",
    "GRU",
    "Diagonal recurrences",
    "Regularised and normalised",
    "Factorised",
    "Grids and depth",
    "Networks",
    "Layers",
)
_NO_FAMILY = "Others"
_WIDEST_STATES = 24

#: The columns of the list. In a window that is not roomy some are cut to a width.
_COLUMNS = {"cell": None, "states": 12, "parameters": 24, "recurrence": None, "description": None}
_ROOMY = 180


def family_of(summary: Summary) -> str:
    """The heading under which a cell is listed."""
    return summary.cell.family or _NO_FAMILY


def in_families(summaries: Sequence[Summary]) -> list[Summary]:
    """The cells by family, in the families' order and by name."""

    def place(summary: Summary) -> tuple[int, str, str]:
        family = family_of(summary)
        known = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
        return known, family, summary.cell.name

    return sorted(summaries, key=place)


def print_list(summaries: Sequence[Summary]) -> None:
    """The cells in one table, a heading for each family."""
    rows: list[tuple[str, ...]] = []
    for family, members in groupby(in_families(summaries), family_of):
        rows += [(), (family,)]
        rows += [
            (s.cell.name, states_of(s), str(s.parameters), s.kinds, s.cell.description)
            for s in members
        ]
    console = Console(width=None if sys.stdout.isatty() else 1_000)
    table = Table(box=None)
    for number, (heading, widest) in enumerate(_COLUMNS.items()):
        wide = max(len(row[number]) for row in rows if len(row) > number)
        if widest is not None and console.width < _ROOMY:
            wide = min(wide, widest)
        table.add_column(heading, no_wrap=True, min_width=wide if number < 4 else None)
        if widest is not None:
            table.columns[-1].max_width = wide
    for row in rows:
        table.add_row(*(Text(text, style="" if len(row) > 1 else "bold") for text in row))
    console.print(table)


def states_of(summary: Summary) -> str:
    """The states in a few words: many are counted."""
    listed = ", ".join(summary.cell.states)
    return listed if len(listed) <= _WIDEST_STATES else f"{len(summary.cell.states)} states"


def print_summary(summary: Summary, sizes: Mapping[str, int], lineage: Lineage) -> None:
    """Everything about one cell."""
    cell, facts = summary.cell, summary.as_dict(sizes)
    console = Console()

    def say(text: str = "", style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    say(cell.name, "bold")
    for line in (cell.description, *cell.citations):
        say(f"  {line}")
    say()
    equations = equations_of(cell)
    wide = max(map(display_width, equations), default=0)
    column = max((wide + 3 + display_width(e) for e in equations.values()), default=0) + 4
    for name, right in equations.items():
        line = f"  {padded(name, wide)} = {right}"
        comment = cell.comments.get(name)
        say(f"{padded(line, column)}# {comment}" if comment else line)
    if equations:
        say()
    for line in lineage_lines(cell.name, lineage):
        say(line)
    for kind in [kind for kind in ("inputs", "states") if facts[kind]]:
        say(f"{kind:<12}" + ", ".join(f"{n}{shape}" for n, shape in facts[kind].items()))
    say(f"{'outputs':<12}{', '.join(facts['outputs'].values())}")
    for name in cell.options:
        say(f"{'option':<12}{name} = {cell.nodes[name].attr('default'):g}")
    arguments = [f"{d} = {a.name}" for d, a in cell.dims.items() if not a.fixed]
    say(f"{'dimensions':<12}{', '.join(arguments)}")
    if lengths := lengths_of(summary, lineage):
        say(f"{'lengths':<12}{sizes_text(lengths)}; chosen before compiling, as by --size")
    say(f"{'recurrence':<12}{summary.recurrence}")
    say(f"{'key':<12}{facts['key']}")
    say()
    table = Table("parameter", "in state_dict", "shape", "initial value", box=None)
    for name in cell.params:
        fact = facts["params"][name]
        table.add_row(*map(Text, (name, ascii_name(name), fact["shape"], fact["initial"])))
    if cell.params:
        console.print(table)
        say()
    for what in [w for w in facts if w.endswith(("ters", "_step")) and facts[w]["count"] != 0]:
        fact = facts[what]
        count = f"{fact['count']:,}" if fact["count"] is not None else "?"
        say(f"{what.replace('_', ' '):<15} {fact['formula']} = {count} for {sizes_text(sizes)}")


def lineage_lines(name: str, lineage: Lineage) -> list[str]:
    """What a cell is derived from, and how it differs from the nearest base."""
    if not lineage.bases:
        return []
    lines = [" ← ".join((name, *lineage.bases))]
    lines += [f"  renamed  {old} is {new} here" for old, new in lineage.renamed.items()]
    for change in lineage.changes:
        if change.before is None:
            lines.append(f"  new      {change.after}")
        elif change.after is None:
            lines.append(f"  gone     {change.before}")
        else:
            lines += [f"  changed  {change.before}", f"       to  {change.after}"]
    if len(lines) == 1:
        lines.append("  unchanged")
    return [*lines, ""]


def print_difference(
    difference: Difference, before: Mapping[str, int], after: Mapping[str, int]
) -> None:
    """How two cells differ, with figures for the sizes of either."""
    console = Console()

    def say(text: str = "", style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    names = (difference.before.name, difference.after.name)
    say(f"{names[0]} → {names[1]}", "bold")
    say("the same cell: the keys are equal" if difference.same else "the keys differ")
    for change in difference.changes:
        if change.before is None:
            say(f"  new      {change.after}")
        elif change.after is None:
            say(f"  gone     {change.before}")
        else:
            say(f"  changed  {change.before}")
            say(f"       to  {change.after}")
    say()
    table = Table("", *names, box=None)
    for figure in difference.figures:
        counts = figure.before.evaluate(before), figure.after.evaluate(after)
        table.add_row(figure.what, *(f"{count:,}" for count in counts))
    table.add_row("recurrence", *difference.recurrences)
    console.print(table)
    say()
    if agreed := before.items() | after.items():
        alike = len(dict(agreed)) == len(agreed)
        texts = (
            [sizes_text({**before, **after})] if alike else [sizes_text(before), sizes_text(after)]
        )
        say(f"for {'; and for '.join(texts)}")
    say(_graphs_told(difference))


def _graphs_told(difference: Difference) -> str:
    """The comparison of the graphs in a sentence or two."""
    graph = difference.graph
    told = [f"{graph.shared} nodes compute the same in both."]
    for cell, only in (
        (difference.before, graph.only_before),
        (difference.after, graph.only_after),
    ):
        total = sum(only.values())
        ops = ", ".join(f"{count} {op}" for op, count in only.items())
        told.append(f"Only in {cell.name}: {total}{f' ({ops})' if ops else ''}.")
    return " ".join(told)


def lengths_of(summary: Summary, lineage: Lineage) -> dict[str, int]:
    """The sizes that are no constructor arguments, as they are chosen in the cell."""
    free = {dim for dim, argument in summary.cell.dims.items() if not argument.fixed}
    return {dim: length for dim, length in lineage.lengths.items() if dim not in free}


def sizes_text(sizes: Mapping[str, int]) -> str:
    """``I = 64, H = 128``."""
    return ", ".join(f"{dim} = {value}" for dim, value in sizes.items())
