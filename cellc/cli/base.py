"""The command line itself, which the commands join."""

from __future__ import annotations

from typing import Annotated

import typer

import cellc

app = typer.Typer(
    name="cellc",
    help="Compile recurrent cells from the equations a paper prints.",
    epilog="Begin with `cellc list`, `cellc show lstm`, `cellc new mycell`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Compile recurrent cells from the equations a paper prints."""
    if version:
        typer.echo(f"cellc {cellc.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
