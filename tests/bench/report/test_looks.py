"""Contenders can be told apart, also by the colour-blind, on light and on dark ground."""

import itertools

import numpy as np
import pytest

from dlkit.bench.report import looks
from tests.bench.synthetic import make_plan, make_summary

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009,
# severity 1: what acts on linear RGB.
SEEN = {
    "all": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array(  # IEC 61966-2-1
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
GROUNDS = {"light": looks.LIGHT_GROUND, "dark": looks.DARK_GROUND}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:  # WCAG 2.2, contrast ratio
    low, high = sorted(float(TO_XYZ[1] @ linear(each)) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def palette(ground: str) -> list[str]:
    return [each if ground == "light" else looks.DARK[each] for each in looks.COLOURS]


def test_the_distances_are_those_of_cielab() -> None:
    np.testing.assert_allclose(lab(linear("#FFFFFF")), [100, 0, 0], atol=1e-3)
    np.testing.assert_allclose(lab(linear("#FF0000")), [53.24, 80.09, 67.20], atol=0.05)  # the tabled values of red
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("seen", SEEN)
def test_colours_are_far_apart_for_everyone(ground: str, seen: str) -> None:
    points = [lab(SEEN[seen] @ linear(each)) for each in palette(ground)]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(points, 2)) > 25


@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_stand_out_from_the_ground(ground: str) -> None:
    assert min(contrast(each, GROUNDS[ground]) for each in palette(ground)) >= 3  # WCAG 2.2, 1.4.11
    text = (looks.INK, looks.GREY) if ground == "light" else (looks.DARK[looks.INK], looks.DARK[looks.GREY])
    assert min(contrast(each, GROUNDS[ground]) for each in text) >= 4.5  # 1.4.3


def test_many_contenders_differ_in_more_than_colour() -> None:
    styles = [looks.style_at(index) for index in range(35)]
    assert len({(each.colour, each.dash) for each in styles}) == 35
    assert len({(each.colour, each.marker) for each in styles}) == 35
    assert len({(each.dash, each.marker) for each in styles[:30]}) == 30  # with no colour at all


def test_a_contender_looks_by_its_place_in_the_plan() -> None:
    summary = make_summary(make_plan(["c", "a", "b"], seeds=2))
    assert [looks.style_of(summary, label) for label in "cab"] == [looks.style_at(index) for index in range(3)]
    for result in summary.comparisons[0].results:
        assert looks.style_of(summary, result) == looks.style_of(summary, result.label)
