"""Colours of pictures: readable, told apart by the colour-blind and in print without colours."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

import cellc
from cellc.views.theme import THEMES
from tests.running import Array

#: Linear RGB as those see it who lack one kind of cone (Machado, Oliveira & Fernandes 2009,
#: severity 1.0).
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip

#: sRGB to XYZ with the white point D65 (IEC 61966-2-1).
XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
WHITE = XYZ.sum(1)


def linear(colour: str) -> Array:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: Array) -> Array:
    """CIE L*a*b* of linear RGB."""
    x, y, z = (_root(v) for v in XYZ @ np.clip(rgb, 0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _root(value: float) -> float:
    return float(np.cbrt(value)) if value > 0.008856 else 7.787 * value + 16 / 116


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    dark, light = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", THEMES)
def test_text_can_be_read_on_every_fill(name: str) -> None:
    theme = THEMES[name]
    for fill in (*theme.fills.values(), theme.paper, theme.frame):
        assert contrast(theme.ink, fill) >= 4.5
    assert contrast(theme.wire, theme.paper) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_kinds_can_be_told_apart(name: str, sight: str) -> None:
    fills = {
        kind: lab(SIGHTS[sight] @ linear(fill))
        for kind, fill in THEMES[name].fills.items()
        if kind != "block"  # which is a pale box with a thick outline
    }
    for one, other in combinations(fills, 2):
        assert np.linalg.norm(fills[one] - fills[other]) >= 10, (one, other)


@pytest.mark.parametrize("name", ["light", "grey"])
def test_kinds_differ_in_lightness(name: str) -> None:
    lightness = sorted(lab(linear(fill))[0] for fill in THEMES[name].fills.values())
    assert min(high - low for low, high in pairwise(lightness)) >= 2.5


def test_grey_is_grey() -> None:
    theme = THEMES["grey"]
    for colour in (*theme.fills.values(), theme.ink, theme.wire, theme.paper, theme.frame):
        assert len({colour[1:3], colour[3:5], colour[5:7]}) == 1


@pytest.mark.parametrize("name", THEMES)
def test_pictures_have_no_other_colours(name: str) -> None:
    theme = THEMES[name]
    known = {
        theme.paper,
        theme.frame,
        theme.ink,
        theme.wire,
        *theme.fills.values(),
        "black",
        "white",
        "none",
    }
    for cell in ("phased_lstm", "stacked_lstm", "layernorm_lstm"):
        svg = cellc.draw(cell, theme=name, captions=True, legend=True).svg()
        found = {text.split('"')[0] for text in svg.split('fill="')[1:]}
        found |= {text.split('"')[0] for text in svg.split('stroke="')[1:]}
        assert found <= known


@pytest.mark.parametrize("view", ["gates", "unrolled", "ops", "compare", "backward"])
def test_every_view_has_every_theme(view: str) -> None:
    drawn = {cellc.draw("gru", view, theme=name, captions=True, legend=True).dot for name in THEMES}
    assert len(drawn) == len(THEMES)
