"""The command line, ``cellc``.

Its commands are list, check, show, compile, draw, ir, explain, diff, fmt, new and cache.

Exit status 0 when all is well, 1 for a faulty spec, 2 for wrong usage.
"""

from cellc.cli import commands, drawing, kernels, optimiser, texts
from cellc.cli.base import app, main

__all__ = ["app", "commands", "drawing", "kernels", "main", "optimiser", "texts"]
