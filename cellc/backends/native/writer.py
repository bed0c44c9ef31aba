"""Lines of C++, indented by what they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Code:
    """Text that grows line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    def __call__(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self.lines += ["    " * self._depth + line if line else "" for line in lines]

    def all(self, lines: Iterable[str]) -> None:
        """Add several lines."""
        self(*lines)

    @contextmanager
    def block(self, head: str, end: str = "}") -> Iterator[None]:
        """Lines in braces behind a head."""
        self(f"{head} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self(end)

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"
