"""The command that shows and removes built kernels."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellc.cli.base import app
from cellc.cli.options import AsJson, guarded, print_json
from cellc.kernels import store


@app.command("cache")
@guarded
def show_cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all built kernels.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where built kernels are kept, their bytes, and when each was used last.

    They are built again when they are needed. `CELLC_CACHE` names another directory,
    `CELLC_CACHE_BYTES` how large they may be together.

    Example: `cellc cache`

    Without any: `cellc cache --clear`
    """
    if clear:
        removed = store.clear()
        if as_json:
            print_json({"directory": str(store.directory()), "removed": removed})
        else:
            typer.echo(f"removed {_counted(removed)} from {store.directory()}")
        return
    entries = store.entries()
    total, most = sum(entry.size for entry in entries), store.most_bytes()
    if as_json:
        kernels = [
            {"name": e.path.name, "bytes": e.size, "used": _moment(e).isoformat()} for e in entries
        ]
        facts = {"bytes": total, "most_bytes": most, "kernels": kernels}
        print_json({"directory": str(store.directory()), **facts})
        return
    typer.echo(f"{store.directory()}\n"
               f"{_counted(len(entries))}, {total:,} of at most {most:,} bytes")  # fmt: skip
    if entries:
        _print_table(entries)


def _print_table(entries: Sequence[store.Entry]) -> None:
    table = Table(box=None)
    for heading in ("used last", "bytes", "file"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "bytes" else "left")
    for entry in entries:
        used = f"{_moment(entry):%Y-%m-%d %H:%M:%S}"
        table.add_row(*map(Text, (used, f"{entry.size:,}", entry.path.name)))
    console = Console(width=None if sys.stdout.isatty() else 1_000)
    console.print()
    console.print(table)


def _counted(count: int) -> str:
    return f"{count:,} {'kernel' if count == 1 else 'kernels'}"


def _moment(entry: store.Entry) -> datetime:
    """When an object was used last, by the clock of this place."""
    return datetime.fromtimestamp(entry.used).astimezone()
