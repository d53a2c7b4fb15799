"""The colours of figures stand out on white and stay apart for colour-blind readers."""

import itertools
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from taba_utils.figures import editing, style, theory
from taba_utils.figures.steps import AREAS

GRAPHICS, TEXT = 3.0, 4.5  # contrasts of WCAG 2.2, 1.4.11 and 1.4.3
APART = 0.1  # distance in OKLab: five times what is just noticed side by side
# Machado et al. 2009, severity 1, on linear RGB
SIGHTS = {
    "typical": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
FIGURES = Path(style.__file__).parent
BACKGROUND = {"0.8", "0.9", "0.92", "0.93"}  # frames, grids and shaded areas


def linear(colour) -> np.ndarray:
    rgb = np.array(mpl.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(colour) -> float:
    """With white."""
    return 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05)


def seen(colour, sight: str) -> np.ndarray:
    """A colour in OKLab as somebody sees it."""
    rgb = np.clip(np.array(SIGHTS[sight]) @ linear(colour), 0, 1)
    return np.array(TO_OKLAB) @ np.cbrt(np.array(TO_CONES) @ rgb)


def closest(colours, sight: str) -> float:
    return min(np.linalg.norm(seen(a, sight) - seen(b, sight)) for a, b in itertools.combinations(colours, 2))


def test_black_and_white_have_the_contrast_and_the_distance_that_are_known():
    assert contrast("black") == pytest.approx(21)
    assert [closest(["black", "white"], sight) for sight in SIGHTS] == pytest.approx([1] * 4, abs=1e-3)


@pytest.mark.parametrize("colour", style.PALETTE)
def test_every_colour_of_the_palette_stands_out_on_white(colour):
    assert contrast(colour) >= GRAPHICS


def test_every_grey_that_is_drawn_stands_out_on_white():
    greys = {grey for path in FIGURES.glob("*.py") for grey in re.findall(r'"(0\.\d+)"', path.read_text())}
    assert "0.5" in greys
    assert [grey for grey in greys - BACKGROUND if contrast(grey) < GRAPHICS] == []


def test_the_shades_of_a_sequence_stand_out_on_white():
    assert contrast(mpl.colormaps["viridis"](theory.DARK)) >= GRAPHICS


def test_text_can_be_read():
    with mpl.rc_context(style.STYLE):
        names = (
            "text.color",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
            "legend.labelcolor",
        )
        colours = [mpl.rcParams[name] for name in names]
    named = [
        colour for colour in colours if colour not in ("auto", "None", None)
    ]  # the others are text.color
    assert min(contrast(colour) for colour in named) >= TEXT


@pytest.mark.parametrize("sight", SIGHTS)
def test_no_two_colours_of_the_palette_look_alike(sight):
    assert closest(style.PALETTE, sight) >= APART


def test_the_palette_of_before_would_not_pass():
    before = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161"]
    assert contrast(before[1]) < GRAPHICS
    assert closest(before, "deuteranopia") < APART


def test_the_lines_of_one_figure_differ_in_more_than_their_colour():
    assert len(set(editing.COLOURS.values())) == len(set(editing.MARKERS.values())) == 6
    assert len(set(style.CONVENTION_LINES.values())) == len(style.CONVENTION_LINES)
    assert AREAS["plain"]["ls"] != AREAS["rest"]["ls"]
