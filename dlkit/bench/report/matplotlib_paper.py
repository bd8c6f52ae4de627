"""What all figures for papers share: widths, sizes of letters, a legend outside of the data."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from dlkit.bench.errors import UserError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "LETTERS_AN_INCH",
    "POINTS",
    "SMALL",
    "WIDTHS",
    "Width",
    "band_alpha",
    "blank",
    "legend",
    "literal",
    "plain",
    "width_of",
]

Width = Literal["column", "text"]
WIDTHS: Mapping[str, float] = MappingProxyType({"column": 3.25, "text": 6.75})
"""Inches of one column and of both, as of ICML's template; NeurIPS's and ICLR's one column is 5.5 wide."""

POINTS, SMALL = 8, 7  # size of letters in print: labels of axes, and ticks and legends
LETTERS_AN_INCH, OF_A_HANDLE = 18, 6  # of the small size: a legend's letters, and what its line takes
LINE = 0.16  # inches of a line of the legend


def width_of(width: str) -> float:
    """Returns how many inches a width has.

    Args:
        width: ``"column"`` or ``"text"``.

    Raises:
        UserError: for any other, with the nearest valid one.
    """
    if width not in WIDTHS:
        raise UserError(f"no width {width!r} of figures; {nearest(str(width), list(WIDTHS))}")
    return WIDTHS[width]


def blank(inches: float, height: float) -> "Figure":
    """Returns a figure whose parts make room for each other, so that no label is cut.

    Args:
        inches: its width.
        height: inches, without its legend.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(inches, height), layout="constrained")


def band_alpha(count: int) -> float:
    """Returns how opaque a band is, where there are so many: fainter with more than four of them."""
    return 0.14 * min(1.0, 4 / max(count, 1))


def plain(axes: "Axes") -> None:
    """Takes the frame above and at the right away, and gives ticks and labels the sizes of print."""
    axes.tick_params(which="both", labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.label.set_fontsize(POINTS)
    axes.yaxis.label.set_fontsize(POINTS)


def literal(labels: Sequence[Any]) -> None:
    """Makes tick labels say what they are: a dollar is no mathematics.

    Args:
        labels: ticks, as `Axes.set_xticks` and `Axes.set_yticks` return them.
    """
    for tick in labels:
        tick.label1.set_parse_math(False)


def legend(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    """Adds a legend below the figure and makes the figure as much higher.

    Args:
        figure: whose height is that of its panels.
        handles: lines or marks.
        names: of these.
    """
    if not names:
        return
    longest = max(max(map(len, name.split("\n"))) for name in names) + OF_A_HANDLE
    columns = max(min(len(names), int(figure.get_figwidth() * LETTERS_AN_INCH) // longest), 1)
    made = figure.legend(
        list(handles),
        list(names),
        loc="outside lower center",
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.0,
        handletextpad=0.5,
    )
    for entry in made.get_texts():
        entry.set_parse_math(False)
    lines = sum(
        max(name.count("\n") + 1 for name in names[row :: math.ceil(len(names) / columns)])
        for row in range(math.ceil(len(names) / columns))
    )
    figure.set_figheight(figure.get_figheight() + LINE * lines)
