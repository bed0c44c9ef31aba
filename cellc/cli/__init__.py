"""The command line, ``cellc``: list, check, show, compile, draw, ir, explain, diff, fmt, new.

Exit status 0 when all is well, 1 for a faulty spec, 2 for wrong usage.
"""

from cellc.cli import commands, drawing, optimiser, texts
from cellc.cli.base import app, main

__all__ = ["app", "commands", "drawing", "main", "optimiser", "texts"]
