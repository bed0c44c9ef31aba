"""The intermediate representation: pure data that knows no op by name."""

from cellc.ir.cell import Cell
from cellc.ir.dimension import Dim
from cellc.ir.kernels import Kernel, Product, Reduction, StepPart
from cellc.ir.node import Argument, Attribute, Attributes, Node, Operation, Result, Role, reached
from cellc.ir.schedule import (
    AtConstruction,
    AtOnce,
    Diagonals,
    Gradient,
    Loop,
    Once,
    Region,
    Scan,
    Schedule,
)
from cellc.ir.text import parse_cell, parse_schedule, print_cell, print_node, print_schedule
from cellc.ir.types import BATCH, EVERYWHERE, NOWHERE, TIME, Extent, Shape, Type, TypeMismatch
from cellc.ir.verify import verify
from cellc.ir.verify_schedule import verify_schedule

__all__ = [
    "BATCH",
    "EVERYWHERE",
    "NOWHERE",
    "TIME",
    "Argument",
    "AtConstruction",
    "AtOnce",
    "Attribute",
    "Attributes",
    "Cell",
    "Diagonals",
    "Dim",
    "Extent",
    "Gradient",
    "Kernel",
    "Loop",
    "Node",
    "Once",
    "Operation",
    "Product",
    "Reduction",
    "Region",
    "Result",
    "Role",
    "Scan",
    "Schedule",
    "Shape",
    "StepPart",
    "Type",
    "TypeMismatch",
    "parse_cell",
    "parse_schedule",
    "print_cell",
    "print_node",
    "print_schedule",
    "reached",
    "verify",
    "verify_schedule",
]
