"""How contenders look on the page outside of figures: a colour on light and on dark ground, and a shape."""

from typing import NamedTuple

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report.looks import DARK, style_at

__all__ = ["Look", "looks"]

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
        style = style_at(number)
        shown[contender.label] = Look(number, contender.label, style.colour, DARK[style.colour], SHAPES[style.marker])
    return shown
