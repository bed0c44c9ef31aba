"""Tokens and statements: where one statement ends and the next begins.

A newline ends a statement unless a bracket is open or an operator waits for its
right side. The formatter and the parser both start from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cellc.diagnostics import Diagnostic, Source, Span
from cellc.syntax.characters import FOLDED

DEEPEST_NESTING = 100

_CLOSING = {"(": ")", "[": "]"}

KEYWORDS = (
    "cell", "network", "cite", "family", "input", "state", "param", "option", "dim", "axis",
    "share", "output",
)  # fmt: skip

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t]+)
  | (?P<newline>\n)
  | (?P<comment>\#[^\n]*)
  | (?P<string>"[^"\n]*")
  | (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)
  | (?P<name>[^\W\d_](?:[\w\u0300-\u036F])*)
  | (?P<open>[(\[])
  | (?P<close>[)\]])
  | (?P<operator>\*\*|->|[<>=!]=|=>|[-+*/@^<>=,≤≥≠])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A piece of text: its kind (a group of the pattern above) and where it stands."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Line:
    """A statement's tokens without white space, and the comment at its end."""

    tokens: tuple[Token, ...]
    comment: str

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end


def tokens_of(source: Source) -> Iterator[Token]:
    """All tokens of a text, white space and comments among them.

    Signs are folded (``·`` arrives as ``@``); strings and comments keep their text.
    """
    folded = source.text.translate(FOLDED)
    for match in _TOKEN.finditer(folded):
        kind = match.lastgroup or "other"
        keep = kind in ("string", "comment")
        text = source.text[match.start() : match.end()] if keep else match.group()
        yield Token(kind, text, match.start())


def statements_of(source: Source) -> Iterator[Line | Diagnostic]:
    """The statements of a text in order; a diagnostic where brackets do not match."""
    tokens: list[Token] = []
    open_brackets: list[Token] = []
    comment, faulty = "", False
    stream = list(tokens_of(source))
    for index, token in enumerate(stream):
        if token.kind == "comment":
            comment = token.text[1:].strip()
        elif token.kind == "open":
            open_brackets.append(token)
        elif token.kind == "close" and open_brackets:
            if token.text != _CLOSING[open_brackets[-1].text]:
                yield _never_closed(source, open_brackets[-1])
                tokens, open_brackets, faulty = [], [], True
            else:
                open_brackets.pop()
        if faulty:
            faulty = token.kind != "newline"
            continue
        if len(open_brackets) > DEEPEST_NESTING:
            yield _too_deep(source, token)
            return
        if token.kind not in ("newline", "comment", "space"):
            tokens.append(token)
        elif token.kind == "newline" and tokens:
            if open_brackets and _starts_statement(stream, index + 1):
                yield _never_closed(source, open_brackets[-1])
                tokens, open_brackets = [], []
            elif not open_brackets and not _waits(tokens[-1]):
                yield Line(tuple(tokens), comment)
                tokens = []
            comment = comment if tokens else ""
        elif token.kind == "newline":
            comment = ""
    if open_brackets:
        yield _never_closed(source, open_brackets[-1])
    elif tokens:
        yield Line(tuple(tokens), comment)


def _waits(token: Token) -> bool:
    """Whether an operator or comma still waits for its right side."""
    return token.kind == "operator"


def _starts_statement(stream: list[Token], index: int) -> bool:
    """Whether the line at ``index`` opens with a keyword or with ``name =``."""
    words: list[Token] = []
    for token in stream[index : index + 8]:
        if token.kind == "newline":
            break
        if token.kind != "space":
            words.append(token)
        if len(words) == 3:
            break
    if not words or words[0].kind != "name":
        return False
    if words[0].text in KEYWORDS and len(words) > 1 and words[1].kind in ("name", "string"):
        return True
    return any(token.text == "=" for token in words[1:])


def _never_closed(source: Source, bracket: Token) -> Diagnostic:
    return Diagnostic(
        "syntax",
        f"the bracket `{bracket.text}` is never closed",
        Span(source, bracket.start, bracket.end),
        "opened here",
    )


def _too_deep(source: Source, token: Token) -> Diagnostic:
    return Diagnostic(
        "nested-too-deeply",
        f"brackets nest more than {DEEPEST_NESTING} deep",
        Span(source, token.start, token.end),
        "one too many",
        hints=("give the inner part a name with an equation of its own",),
    )
