"""How contenders look on the page outside of figures: a colour on light and on dark ground, and a shape."""

from typing import NamedTuple

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report import plotly_across

__all__ = ["DARK", "Look", "looks"]

# On dark ground: lighter, in the same order of hues, and as far apart for the colour-blind.
DARK = {
    "#0072B2": "#4C9BE8",
    "#D55E00": "#FF8A3D",
    "#009E73": "#2CC79A",
    "#CC79A7": "#E59AC4",
    "#E69F00": "#FFC04D",
    "#56B4E9": "#A6DCFA",
    "#000000": "#F2F4F6",
}
# Paths around the origin, about 10 pixels wide.
SHAPES = {
    "circle": "M-4.6,0a4.6,4.6 0 1,0 9.2,0a4.6,4.6 0 1,0 -9.2,0z",
    "square": "M-4.2,-4.2h8.4v8.4h-8.4z",
    "diamond": "M0,-5.8L5.8,0L0,5.8L-5.8,0z",
    "triangle-up": "M0,-5.4L5.4,4.2H-5.4z",
    "pentagon": "M0,-5.2L5,-1.6L3.1,4.2H-3.1L-5,-1.6z",
    "triangle-down": "M0,5.4L5.4,-4.2H-5.4z",
}


class Look(NamedTuple):
    """How a contender looks.

    Attributes:
        number: its place in the plan.
        label: its name.
        light: its colour on light ground, ``"#RRGGBB"``.
        dark: the same on dark ground.
        path: its shape as the path of an SVG, around the origin.
    """

    number: int
    label: str
    light: str
    dark: str
    path: str


def looks(summary: Summary) -> dict[str, Look]:
    """Returns how each contender looks: label -> look, in the plan's order."""
    shown = {}
    for number, contender in enumerate(summary.plan.contenders):
        style = plotly_across.contender_style(summary, contender.label)
        dark, path = DARK.get(style.colour, style.colour), SHAPES.get(style.marker, SHAPES["circle"])
        shown[contender.label] = Look(number, contender.label, style.colour, dark, path)
    return shown
