"""A method of an emitted ``nn.Module`` that runs rows."""

from __future__ import annotations

from dataclasses import dataclass

from cellc.backends.pyast import Item


@dataclass(frozen=True)
class Method:
    """A method over rows and the arguments that it takes, by the names ``forward`` has."""

    name: str
    arguments: tuple[str, ...]
    block: Item

    @property
    def call(self) -> str:
        """The call of the method, without the state."""
        return f"self.{self.name}({', '.join(self.arguments)}, state)"
