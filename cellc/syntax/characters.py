"""Which characters a spec may hold, and how names are compared and spelled in ASCII."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterator

from cellc.diagnostics import HIDDEN, Collector, Diagnostic, Source, Span

#: Classes and modules that emitted files import; nothing else may be called so.
IMPORTED_NAMES = frozenset({"F", "PackedSequence", "Tensor"})

LARGEST_FILE = 1_000_000
LONGEST_LINE = 10_000
LONGEST_NAME = 100

#: Look-alikes that stand for one sign of the grammar. Each is one character wide, so
#: folding keeps every position of the text.
FOLDED = str.maketrans(
    {
        "·": "@",
        "⋅": "@",
        "∙": "@",
        "⊙": "*",
        "−": "-",
        "′": "'",
        "’": "'",
        "‘": "'",
    }
)

_NAME = re.compile(r"[^\W\d_](?:[\w\u0300-\u036F])*")

#: What Python has a meaning for; emitted code may need any of it.
_PYTHON = frozenset([*keyword.kwlist, *dir(builtins)])

#: Accents by the word that ASCII names and LaTeX use for them.
ACCENTS = {
    "\u0302": "hat",
    "\u0303": "tilde",
    "\u0304": "bar",
    "\u0307": "dot",
    "\u0308": "ddot",
    "\u030c": "check",
}


def read_source(name: str, data: bytes | str) -> Source:
    """Normalised, checked source text from the contents of a file.

    Raises CellcError ``not-text``, ``file-too-large``, ``line-too-long`` or
    ``control-character``; all control characters of a file are reported at once.
    """
    found = Collector()
    name = "".join(character if character.isprintable() else "?" for character in name)
    if len(data) > LARGEST_FILE:
        found.add(
            Diagnostic("file-too-large", f"{name} exceeds the limit of {LARGEST_FILE:,} characters")
        )
        found.raise_if_any()
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            found.add(
                Diagnostic(
                    "not-text",
                    f"{name} is not UTF-8 text: byte {error.start} is 0x{byte:02x}",
                    hints=("a cell is a text file; save it as UTF-8",),
                )
            )
            found.raise_if_any()
    assert isinstance(data, str)
    source = Source(name, unicodedata.normalize("NFC", data.replace("\r\n", "\n")))
    for diagnostic in _faults(source):
        found.add(diagnostic)
    found.raise_if_any()
    return source


def _faults(source: Source) -> Iterator[Diagnostic]:
    start = 0
    for line in source.text.split("\n"):
        if len(line) > LONGEST_LINE:
            yield Diagnostic(
                "line-too-long",
                f"a line of {len(line):,} characters; the limit is {LONGEST_LINE:,}",
                Span(source, start, start + 1),
            )
        start += len(line) + 1
    for position, character in enumerate(source.text):
        if unicodedata.category(character) in HIDDEN and character not in "\n\t":
            yield Diagnostic(
                "control-character",
                f"the text holds the control character U+{ord(character):04X}",
                Span(source, position, position + 1),
                "here",
                hints=("remove it: such characters can hide text from a reader",),
            )


def padded(text: str, width: int) -> str:
    """Text with spaces behind it up to a width on the screen; accents take no room."""
    return text + " " * (width - display_width(text))


def display_width(text: str) -> int:
    """How many columns a text takes, where combining accents take none."""
    return sum(not unicodedata.combining(character) for character in text)


def canonical(name: str) -> str:
    """The form under which names are compared: NFKC, so that ``µ`` is ``μ``."""
    return unicodedata.normalize("NFKC", name)


def is_name(name: str) -> bool:
    """Whether a canonical form is still a name: that of ``a⑴`` is ``a(1)``, which is none."""
    return _NAME.fullmatch(name) is not None


def raised_glyphs(name: str) -> str:
    """The superscript and subscript glyphs of a name; they are not letters of names."""
    return "".join(
        character
        for character in name
        if unicodedata.decomposition(character).startswith(("<super>", "<sub>"))
    )


def ascii_name(name: str) -> str:
    """A plain ASCII identifier for a name: ``c̃`` is ``c_tilde``, ``τ`` is ``tau``.

    A prime becomes ``_next``; a word of Python gets an underscore behind it. Different
    names may collide; the caller checks.
    """
    parts: list[str] = []
    for character in unicodedata.normalize("NFD", name):
        if character.isascii():
            parts.append("_next" if character == "'" else character)
        elif unicodedata.combining(character):
            parts.append("_" + ACCENTS.get(character, f"u{ord(character):04x}"))
        else:
            parts.append(_spelled_out(character))
    identifier = "".join(parts)
    return identifier + "_" if identifier in _PYTHON else identifier


def _spelled_out(letter: str) -> str:
    """The Unicode name of a letter as a word: ``τ`` is tau, ``Γ`` is Gamma."""
    words = unicodedata.name(letter, "").split(" LETTER ")
    if len(words) != 2 or not words[1].isalpha():
        return f"u{ord(letter):04x}"
    return words[1].capitalize() if "CAPITAL" in words[0] else words[1].lower()
