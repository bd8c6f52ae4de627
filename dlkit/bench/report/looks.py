"""How contenders look in every figure: a colour on light and on dark ground, a dash and a mark.

Colours are at least 25 apart in CIELAB, also as people with protanopia and deuteranopia see them, and have a contrast
of at least 3 to the ground. Seven of them meet five dashes and six marks, so that 35 lines and 42 marks differ from
each other; no figure tells contenders apart by colour alone.
"""

from typing import Any, NamedTuple

from dlkit.bench.analysis.contender_result import ContenderResult
from dlkit.bench.analysis.summary import Summary

__all__ = ["COLOURS", "DARK", "DARK_GROUND", "GREY", "INK", "LIGHT_GROUND", "LINE", "Style", "style_at", "style_of"]

LIGHT_GROUND, DARK_GROUND = "#FFFFFF", "#14181D"
COLOURS = ("#186BD6", "#BD4430", "#08A288", "#722675", "#C88605", "#3A9CC3", "#000000")
INK, GREY, LINE = "#1F2933", "#52606D", "#9AA5B1"
DARK = {
    "#186BD6": "#3379F3",
    "#BD4430": "#E33421",
    "#08A288": "#7BFE96",
    "#722675": "#C7228B",
    "#C88605": "#FED120",
    "#3A9CC3": "#4FC3FD",
    "#000000": "#F2F4F6",
    INK: "#E4E9EE",
    GREY: "#A9B5C1",
    LINE: "#6D7A87",
}
"""Colour on light ground -> the same on dark ground, for all that figures are drawn with."""

# plotly's name and matplotlib's.
DASHES: tuple[tuple[str, Any], ...] = (
    ("solid", "-"),
    ("dash", "--"),
    ("dot", ":"),
    ("dashdot", "-."),
    ("longdash", (0, (8, 3))),
)
MARKS = (
    ("circle", "o"),
    ("square", "s"),
    ("diamond", "D"),
    ("triangle-up", "^"),
    ("pentagon", "p"),
    ("triangle-down", "v"),
)


class Style(NamedTuple):
    """How a contender looks in every figure.

    Attributes:
        colour: on light ground; `DARK` has that on dark ground.
        dash: of lines, as plotly calls it.
        marker: as plotly calls it.
        paper_dash: of lines, as matplotlib has it.
        paper_marker: as matplotlib has it.
    """

    colour: str
    dash: str
    marker: str
    paper_dash: Any
    paper_marker: str


def style_at(index: int) -> Style:
    """Returns how the contender at a place of the plan looks, from 0.

    Example:
        >>> style_at(0).marker, style_at(7).colour == style_at(0).colour, style_at(7).dash
        ('circle', True, 'dot')
    """
    (dash, paper_dash), (marker, paper_marker) = DASHES[index % len(DASHES)], MARKS[index % len(MARKS)]
    return Style(COLOURS[index % len(COLOURS)], dash, marker, paper_dash, paper_marker)


def style_of(summary: Summary, contender: ContenderResult | str) -> Style:
    """Returns how a contender looks.

    Args:
        summary: the run.
        contender: its result, or its label.
    """
    label = contender if isinstance(contender, str) else contender.label
    return style_at([each.label for each in summary.plan.contenders].index(label))
