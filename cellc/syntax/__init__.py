"""Text to tree: the language's characters, grammar, tree and canonical layout.

This package knows no operation and no cell. It lies below the ops because their
expansions and derivatives, and the rules of the algebra pass, are written in the
language too.
"""

from cellc.syntax.parse import parse_equation, parse_expression, parse_file, parse_rule
from cellc.syntax.tree import (
    Call,
    Definition,
    Equation,
    Expression,
    File,
    Function,
    Name,
    Number,
    Rule,
)

__all__ = [
    "Call",
    "Definition",
    "Equation",
    "Expression",
    "File",
    "Function",
    "Name",
    "Number",
    "Rule",
    "parse_equation",
    "parse_expression",
    "parse_file",
    "parse_rule",
]
