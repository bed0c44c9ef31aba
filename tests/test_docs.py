"""What the documentation says is run: its code, its commands, its excerpts, its links.

A fenced block may have a comment on the line before it:

    <!-- excerpt: cellc compile lstm -->   its lines occur in this order in the output;
                                           with ``, from "a" to "b"`` docs/generate.py writes them
    <!-- file: gate.cell -->               it is written to this file, for what follows
    <!-- error: cycle -->                  the spec is refused with this code
"""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

import cellc
from cellc.cli import app
from cellc.frontend import builder, expressions, layers, library, shapes, unroll
from cellc.resources import shipped_specs
from cellc.syntax import build, characters, layout

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if path.name != "ops.md"
)
RUN = [
    path for path in PAGES if path.parent in (ROOT, ROOT / "docs") and path.name != "CHANGELOG.md"
]
GAP = "…"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>\w+): (?P<about>[^\n]*?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)|src=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what it is, and the comment before it."""

    line: int
    language: str
    text: str
    mark: str
    about: str


def blocks_of(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    page = path.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        mark, about = match["mark"] or "", match["about"] or ""
        yield Block(line, match["language"], match["text"], mark, about)


def command(line: str) -> str:
    """What a command line of cellc prints; it must succeed."""
    words = shlex.split(line, comments=True)
    assert words[0] == "cellc"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{line}: {result.output}"
    return result.output


def check_excerpt(text: str, output: str) -> None:
    """The lines of an excerpt follow each other in the output; ``…`` leaves some out."""
    found = [" ".join(line.split()) for line in output.splitlines()]
    place, adjacent = 0, False
    for line in text.splitlines():
        wanted = " ".join(line.split())
        if wanted == GAP:
            adjacent = False
            continue
        if adjacent:
            assert found[place : place + 1] == [wanted], f"not the next line: {wanted}"
        else:
            assert wanted in found[place:], f"no such line: {wanted}"
            place = found.index(wanted, place)
        place, adjacent = place + 1, True


def run_block(block: Block, names: dict[str, Any], folder: Path) -> None:
    if block.mark == "file":
        (folder / block.about).write_text(block.text, encoding="utf-8")
    if block.mark == "excerpt":
        if ", from " not in block.about:
            check_excerpt(block.text, command(block.about))
    elif block.mark == "error":
        with pytest.raises(cellc.CellcError) as caught:
            cellc.parse(block.text)
        assert block.about in {diagnostic.code for diagnostic in caught.value.diagnostics}
    elif block.language == "cell":
        cell = cellc.parse(block.text)
        for target in ("torch", "numpy"):
            cellc.compile(cell, target)
    elif block.language == "python":
        exec(compile(block.text, "the block", "exec"), names)
    elif block.language == "console":
        for line in block.text.splitlines():
            if line.startswith("$ cellc "):
                command(line[2:])


@pytest.mark.parametrize("path", RUN, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("documentation")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks_of(path):
        try:
            run_block(block, vars(module), tmp_path)
        except Exception as error:
            error.add_note(f"in the block at {path.relative_to(ROOT)}:{block.line}")
            raise


def test_generated_files_are_current() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert [str(path.relative_to(ROOT)) for path in generate["stale"]()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for match in _LINK.finditer(path.read_text(encoding="utf-8")):
        target = match[1] or match[2]
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


def test_every_cell_and_decision_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]:
        assert page.name == "README.md" or page.name in index, page.name


def test_links_inside_the_zoo_lead_to_its_headings() -> None:
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    anchors: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE):
        plain = heading.lower().replace(" ", "-")
        before = sum(re.fullmatch(rf"{plain}(-\d+)?", anchor) is not None for anchor in anchors)
        anchors.append(f"{plain}-{before}" if before else plain)
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(anchors)
    for name in shipped_specs():
        heading, _, entry = (
            page.partition(f"\n### {name}\n")[2].partition("\n### ")[0].partition("```")
        )
        assert cellc.load(name).description in heading
        assert f"](diagrams/{name}.svg)" in entry
        assert "| parameters | `" in entry


def test_the_limits_of_the_language_are_those_of_the_code() -> None:
    limits = {
        "characters in a file": characters.LARGEST_FILE,
        "characters in a line": characters.LONGEST_LINE,
        "characters in a name": characters.LONGEST_NAME,
        "brackets inside each other": layout.DEEPEST_NESTING,
        "operations inside each other in an expression": build.DEEPEST_EXPRESSION,
        "operations inside each other in a value": builder.DEEPEST_CHAIN,
        "operations in a cell": builder.MOST_NODES,
        "applications of small functions": expressions.MOST_APPLICATIONS,
        "small functions inside each other": expressions.DEEPEST_APPLICATION,
        "steps back by `prev`": expressions.LONGEST_LAG,
        "positions of all axes of a cell together": unroll.MOST_POSITIONS,
        "layers in one `stack`": layers.MOST_LAYERS,
        "terms of a dimension": shapes.MOST_TERMS,
        "a number as a dimension": build.LARGEST_DIMENSION,
        "cells derived one from another": library.DEEPEST_DERIVATION,
    }
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert {what: int(number.replace(",", "")) for what, number in rows} == limits


def test_excerpts_are_checked() -> None:
    check_excerpt("a  b\n…\n d\n", "x\na b\nc\nd\n")
    with pytest.raises(AssertionError, match="not the next line: d"):
        check_excerpt("a b\nd\n", "x\na b\nc\nd\n")
    with pytest.raises(AssertionError, match="no such line: e"):
        check_excerpt("e\n", "x\na b\n")


def test_the_walk_through_a_backward_loop_speaks_of_names_that_are_there() -> None:
    path = ROOT / "docs" / "gradients.md"
    excerpts = "".join(block.text for block in blocks_of(path) if block.mark == "excerpt")
    prose = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    names = set(re.findall(r"`(v\d+|\w+_\d+|c_before|d_[ch]_next|\d+ \* H)`", prose))
    assert len(names) > 6
    assert {
        name for name in names if re.search(rf"\b{re.escape(name)}\b", excerpts) is None
    } == set()
