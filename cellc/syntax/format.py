"""The canonical layout of a spec: what ``cellc fmt`` prints.

Tokens are kept, so that meaning cannot change and comments cannot be lost; white space
is set anew, signs get their canonical form, and neighbouring ``=`` and comments align.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cellc.diagnostics import Source
from cellc.syntax.characters import display_width, padded
from cellc.syntax.layout import KEYWORDS, Token, tokens_of

_CANONICAL = {"@": "·", "**": "^"}
_TIGHT = ("*", "/", "@", "^", "**")
_COMMENT_GAP = 6
_WIDEST = 100


@dataclass
class _Line:
    """A line of the file: its tokens, its comment, and whether it continues a statement."""

    tokens: list[Token] = field(default_factory=list)
    comment: str | None = None
    continues: bool = False
    text: str = ""

    @property
    def group(self) -> str:
        """Lines of one group next to each other align; an empty group aligns with none."""
        if self.continues or not self.tokens:
            return ""
        first, second = (*self.tokens, None)[:2]
        assert first is not None
        keyword = first.text in KEYWORDS and second is not None and second.kind != "operator"
        if keyword:
            return first.text if first.text in ("param", "state", "option", "dim") else ""
        return "equation" if first.kind == "name" else ""


def format_source(source: Source) -> str:
    """The text of a faultless spec in canonical layout; formatting it again changes nothing."""
    lines = _lines(source)
    _render(lines)
    _align_equals(lines)
    _indent(lines)
    texts = [_with_comment(line, column) for line, column in _comment_columns(lines)]
    return _collapse_blanks(texts)


def _lines(source: Source) -> list[_Line]:
    lines = [_Line()]
    depth, last = 0, None
    for token in tokens_of(source):
        line = lines[-1]
        if token.kind == "newline":
            waits = last is not None and last.kind == "operator"
            lines.append(_Line(continues=bool(depth or waits)))
            last = last if depth or waits else None
        elif token.kind == "comment":
            line.comment = token.text[1:].strip()
        elif token.kind != "space":
            line.tokens.append(token)
            depth += (token.kind == "open") - (token.kind == "close")
            last = token
    return lines


def _render(lines: list[_Line]) -> None:
    """The tokens of each line joined by canonical spacing."""
    before: Token | None = None
    unary = False
    for line in lines:
        before = before if line.continues else None
        parts: list[str] = []
        for token in line.tokens:
            if parts and _spaced(before, token, unary):
                parts.append(" ")
            unary = token.text == "-" and _starts_operand(before)
            parts.append(_CANONICAL.get(token.text, token.text))
            before = token
        line.text = "".join(parts)


def _starts_operand(before: Token | None) -> bool:
    return before is None or before.kind in ("operator", "open")


def _spaced(before: Token | None, token: Token, after_unary: bool) -> bool:
    """Whether a space stands between two tokens."""
    assert before is not None
    if token.text in (",", "'") or token.kind == "close" or before.kind == "open":
        return False
    if token.text == "-" and _starts_operand(before):
        return before.text not in ("^", "**", *_TIGHT) and before.kind != "open"
    if after_unary or token.text in _TIGHT or before.text in _TIGHT:
        return False
    if token.kind == "open":
        return before.kind in ("operator", "string") or before.text == "output"
    return True


def _align_equals(lines: list[_Line]) -> None:
    """Pad the left sides of neighbouring lines of one group to one width."""
    start = 0
    while start < len(lines):
        stop = start + 1
        group = lines[start].group
        while stop < len(lines) and (lines[stop].continues or lines[stop].group == group):
            stop += 1
        members = [line for line in lines[start:stop] if not line.continues and " = " in line.text]
        if group and members:
            halves = [line.text.split(" = ", 1) for line in members]
            widest = max(display_width(left) for left, _ in halves)
            for line, (left, right) in zip(members, halves, strict=True):
                line.text = f"{padded(left, widest)} = {right}"
        start = stop


def _indent(lines: list[_Line]) -> None:
    """Set continuations under the bracket that is open, else behind the ``=``."""
    open_columns: list[int] = []
    behind_equals = 4
    for line in lines:
        if not line.continues:
            open_columns = []
            equals = line.text.find(" = ")
            behind_equals = equals + 3 if equals >= 0 else 4
        elif line.text:
            line.text = " " * (open_columns[-1] if open_columns else behind_equals) + line.text
        quoted = False
        for column, character in enumerate(line.text):
            quoted ^= character == '"'
            if character in "([" and not quoted:
                open_columns.append(column + 1)
            elif character in ")]" and not quoted and open_columns:
                open_columns.pop()


def _comment_columns(lines: list[_Line]) -> list[tuple[_Line, int]]:
    """Each line with the column of its comment, equal for neighbours."""
    result: list[tuple[_Line, int]] = []
    block: list[_Line] = []
    for line in [*lines, _Line()]:
        if line.text:
            block.append(line)
            continue
        noted = [member for member in block if member.comment is not None]
        column = max((display_width(member.text) for member in noted), default=0) + _COMMENT_GAP
        longest = max((len(member.comment or "") for member in noted), default=0)
        if column + longest > _WIDEST:
            column -= _COMMENT_GAP - 2
        result += [(member, column) for member in block]
        result.append((line, 0))
        block = []
    return result[:-1]


def _with_comment(line: _Line, column: int) -> str:
    if line.comment is None:
        return line.text.rstrip()
    comment = f"# {line.comment}".rstrip()
    return padded(line.text, column) + comment if line.text else comment


def _collapse_blanks(texts: list[str]) -> str:
    """One empty line where there are several, none at the ends."""
    kept: list[str] = []
    for text in texts:
        if text or (kept and kept[-1]):
            kept.append(text)
    while kept and not kept[-1]:
        kept.pop()
    return "\n".join(kept) + "\n"
