"""A method of an emitted ``nn.Module`` that runs rows."""

from __future__ import annotations

import ast
from copy import copy
from dataclasses import dataclass, replace

from cellc.backends.pyast import Block, quote_statements


@dataclass(frozen=True)
class Method:
    """A method over rows and the arguments that it takes, by the names ``forward`` has."""

    name: str
    arguments: tuple[str, ...]
    block: Block

    def renamed(self, name: str) -> Method:
        """The method under another name."""
        head = copy(self.block.head)
        assert isinstance(head, ast.FunctionDef)
        head.name = name
        return Method(name, self.arguments, replace(self.block, head=head))

    @property
    def call(self) -> str:
        """The call of the method, without the state."""
        return f"self.{self.name}({', '.join(self.arguments)}, state)"


#: The method of a cell that nothing runs.
NONE = Method("none", ("x",), Block(quote_statements("def none():\n    pass")[0], ()))
