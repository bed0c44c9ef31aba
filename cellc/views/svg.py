"""What Graphviz writes as SVG, made small and the same for every viewer.

A line of text becomes one element whose sub- and superscripts are raised by ``dy``, which all
viewers follow; Graphviz places every run apart and shifts baselines, which some ignore. What
all texts have in common is said once.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_TEXT, _RUN, _GROUP, _TITLE, _LINK = (
    f"{{{_SVG}}}{tag}" for tag in ("text", "tspan", "g", "title", "a")
)
_ELLIPSE = f"{{{_SVG}}}ellipse"
_OUTLINES = (f"{{{_SVG}}}polygon", f"{{{_SVG}}}path")

#: By how much a small letter stands below its line, or above.
_SHIFTS = {"sub": 3.0, "super": -5.0}

_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
#: The horizontal place of every point of an outline.
_ACROSS = re.compile(r"(-?[\d.]+),-?[\d.]+")

_OF_RUNS = ("font-size", "font-style", "font-weight")

ET.register_namespace("", _SVG)
ET.register_namespace("xlink", _XLINK)


def tidied(text: str) -> str:
    """The picture with whole lines of text, without what viewers do not show."""
    root = ET.fromstring(text)
    picture = root.find(_GROUP)
    assert picture is not None
    inks = [each.get("fill", "") for each in root.iter(_TEXT)]
    ink = max(dict.fromkeys(inks), key=inks.count, default="")
    picture.set("font-family", _FONT)
    if ink:
        picture.set("font-size", "15")
        picture.set("fill", ink)
    for group in picture.findall(_GROUP):
        _say(group)
    for parent in list(root.iter()):
        _join_runs(parent, ink, _middle(parent))
    return ET.tostring(root, encoding="unicode", xml_declaration=False).strip() + "\n"


def _say(group: ET.Element) -> None:
    """The title of a thing is what it says when pointed at; what says nothing has none."""
    for title in group.findall(_TITLE):
        group.remove(title)
    inner = group.find(_GROUP)
    link = None if inner is None else inner.find(_LINK)
    if inner is None or link is None:
        return
    group.remove(inner)
    title = ET.SubElement(group, _TITLE)
    title.text, title.tail = link.get(f"{{{_XLINK}}}title", ""), "\n"
    group.extend(link)


def _middle(group: ET.Element) -> str | None:
    """Where the middle of a thing is across, on which its text is centred in any font."""
    if group.get("class") != "node":
        return None
    round_ = group.find(_ELLIPSE)
    if round_ is not None:
        return round_.get("cx")
    outline = next((part for tag in _OUTLINES for part in group.findall(tag)), None)
    if outline is None:
        return None
    across = [float(x) for x in _ACROSS.findall(outline.get("points", outline.get("d", "")))]
    return f"{(min(across) + max(across)) / 2:.2f}"


def _join_runs(parent: ET.Element, ink: str, middle: str | None) -> None:
    """The texts of one line in an element become one text."""
    for line in list(_lines(parent)):
        first = line[0]
        anchor = first.get("text-anchor", "start") if middle is None else "middle"
        across = first.get("x", "0") if middle is None else middle
        whole = ET.Element(_TEXT, {"x": across, "y": first.get("y", "0")})
        if anchor != "start":
            whole.set("text-anchor", anchor)
        if first.get("fill", "") != ink or ink == "":
            whole.set("fill", first.get("fill", "black"))
        parent.insert(list(parent).index(first), whole)
        height = 0.0
        while line and not (line[-1].text or "").strip():
            parent.remove(line.pop())
        for run in line:
            height = _add_run(whole, run, height)
            parent.remove(run)
        whole.tail = first.tail


def _add_run(whole: ET.Element, run: ET.Element, height: float) -> float:
    """One run behind those before it, which end at some height."""
    to = _SHIFTS.get(run.get("baseline-shift", ""), 0.0)
    looks = {key: value for key in _OF_RUNS if (value := run.get(key))}
    looks = {key: value.removesuffix(".00") for key, value in looks.items()}
    if looks.get("font-size") == "15":
        del looks["font-size"]
    if to != height:
        looks["dy"] = f"{to - height:g}"
    part = whole if not looks and not len(whole) else ET.SubElement(whole, _RUN, looks)
    part.text = (part.text or "") + (run.text or "")
    return to


def _lines(parent: ET.Element) -> Iterator[list[ET.Element]]:
    """The texts in an element, those of one height that follow each other together."""
    line: list[ET.Element] = []
    for each in [*parent, None]:
        if line and (each is None or each.tag != _TEXT or each.get("y") != line[0].get("y")):
            yield line
            line = []
        if each is not None and each.tag == _TEXT:
            line.append(each)
