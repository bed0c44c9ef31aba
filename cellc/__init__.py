"""cellc compiles recurrent cells from the equations a paper prints.

>>> import cellc
>>> cell = cellc.load("gru")
>>> Gru = cellc.compile(cell, target="numpy")
>>> gru = Gru(input_size=3, hidden_size=4)
>>> outputs, state = gru([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
>>> outputs.shape, state.shape
((2, 4), (4,))
"""

from cellc.diagnostics import CellcError, Diagnostic
from cellc.driver import compile, emit, load, parse, schedule
from cellc.ir import Cell
from cellc.pictures import draw
from cellc.transforms.couple import couple
from cellc.transforms.prune import prune
from cellc.transforms.removed import removed
from cellc.transforms.truncate import truncate
from cellc.views.jacobians import jacobians

__version__ = "0.1.0"

__all__ = [
    "Cell",
    "CellcError",
    "Diagnostic",
    "compile",
    "couple",
    "draw",
    "emit",
    "jacobians",
    "load",
    "parse",
    "prune",
    "removed",
    "schedule",
    "truncate",
]
