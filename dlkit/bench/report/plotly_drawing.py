"""Figures as plotly.js takes them: plain traces and a layout, without plotly's own objects.

Plotly's objects check every property of every trace, which takes longer than all else in writing a report; the tests
check each kind of figure instead.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.escapes import in_html
from dlkit.bench.report.looks import INK, LINE

__all__ = ["Drawing", "blank", "fill_between", "literal", "panels", "scatter"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
OPAQUE, FULL_BANDS, FAINTEST = 36, 4, 10  # of 255: of a band, where there are up to so many, and at least
AXIS = {"automargin": True, "showline": True, "linecolor": LINE, "ticks": "outside", "zeroline": False}
INTEGERS = ("i1", "i2", "i4")


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure.

    Attributes:
        data: traces, as plotly.js takes them; arrays may be those of numpy.
        layout: the same.
        count: how many panels there are.
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    count: int = 1

    @property
    def shows_something(self) -> bool:
        """Whether a trace has a point."""
        return any(x is not None for trace in self.data for x in trace.get("x", ()))

    def add(self, trace: Mapping[str, Any], panel: int = 0) -> None:
        """Adds a trace.

        Args:
            trace: as plotly.js takes it; what is None is left out.
            panel: which, row by row, from 0.
        """
        self.data.append(_without_none({**trace, **({} if self.count == 1 else _axes_of(panel))}))

    def update_layout(self, **changes: Any) -> None:
        """Changes the layout; what the changes do not name stays."""
        _merge(self.layout, changes)

    def update_xaxes(self, panel: int | None = None, **changes: Any) -> None:
        """Changes the horizontal axis of a panel, or of all."""
        self._update("xaxis", panel, changes)

    def update_yaxes(self, panel: int | None = None, **changes: Any) -> None:
        """Changes the vertical axis of a panel, or of all."""
        self._update("yaxis", panel, changes)

    def annotate(self, panel: int = 0, **annotation: Any) -> None:
        """Writes a text, at coordinates of a panel unless it says otherwise."""
        place = {"xref": f"x{_number(panel)}", "yref": f"y{_number(panel)}"}
        self.layout.setdefault("annotations", []).append({**place, "showarrow": False, **annotation})

    def shape(self, panel: int = 0, **shape: Any) -> None:
        """Draws a shape, at coordinates of a panel unless it says otherwise."""
        place = {"xref": f"x{_number(panel)}", "yref": f"y{_number(panel)}"}
        self.layout.setdefault("shapes", []).append({**place, **shape})

    def to_json(self) -> str:
        """Returns the figure as JSON: numbers of arrays in base64, null for what is not finite."""
        return json.dumps(_plain({"data": self.data, "layout": self.layout}), separators=(",", ":"), allow_nan=False)

    def _update(self, kind: str, panel: int | None, changes: Mapping[str, Any]) -> None:
        for each in range(self.count) if panel is None else (panel,):
            _merge(self.layout[f"{kind}{_number(each)}"], changes)


def blank(height: float) -> Drawing:
    """Returns a figure without traces in the report's style; the page adds a template."""
    return Drawing([], {**_style(height), "xaxis": _axis(), "yaxis": _axis()})


def panels(
    height: float,
    rows: int,
    columns: int,
    *,
    gap: float,
    titles: Sequence[str] = (),
    heights: Sequence[float] = (),
    shares_y: bool = False,
) -> Drawing:
    """Returns a figure of panels without traces in the report's style.

    Args:
        height: pixels, of all.
        rows: of panels.
        columns: of panels.
        gap: between rows, a share of the height.
        titles: of panels, row by row, as plotly's texts are.
        heights: of rows, relative to each other; none if they are the same.
        shares_y: whether the panels of a row have one vertical axis.
    """
    layout, across = _style(height), 0.2 / columns
    width = (1 - across * (columns - 1)) / columns
    shares = np.asarray(heights or [1] * rows, np.float64)
    tops = 1 - np.concatenate([[0], np.cumsum(shares / shares.sum() * (1 - gap * (rows - 1)) + gap)])
    for panel in range(rows * columns):
        row, column = divmod(panel, columns)
        left, number = column * (width + across), _number(panel)
        top, bottom = float(tops[row]), max(float(tops[row + 1]) + gap, 0.0)
        layout[f"xaxis{number}"] = {**_axis(), "anchor": f"y{number}", "domain": [left, left + width]}
        y = layout[f"yaxis{number}"] = {**_axis(), "anchor": f"x{number}", "domain": [bottom, top]}
        if shares_y and column:
            y |= {"matches": f"y{_number(row * columns)}", "showticklabels": False}
        if panel < len(titles):
            place = {"x": left + width / 2, "xanchor": "center", "y": top, "yanchor": "bottom"}
            title = {**place, "xref": "paper", "yref": "paper", "text": titles[panel], "font": {"size": 12}}
            layout.setdefault("annotations", []).append({**title, "showarrow": False})
    return Drawing([], layout, rows * columns)


def scatter(figure: Drawing, *, panel: int = 0, **trace: Any) -> None:
    """Adds marks or a line, as plotly.js takes it."""
    figure.add({"type": "scatter", **trace}, panel)


def fill_between(
    figure: Drawing, x: Any, low: Any, high: Any, colour: str, common: Mapping[str, Any], *, count: int = 1
) -> None:
    """Adds a band in a light shade of a contender's colour: the lighter, the more (`count`) of them there are."""
    shade = max(round(OPAQUE * min(1.0, FULL_BANDS / count)), FAINTEST)
    scatter(
        figure,
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([low, high[::-1]]),
        mode="none",
        fill="toself",
        fillcolor=f"{colour}{shade:02x}",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **common,
    )


def literal(label: str) -> str:
    """Returns a label as plotly shows it literally: its texts are a kind of HTML."""
    return in_html(label).replace("&#x27;", "'").replace("&quot;", '"')


def _style(height: float) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "font": {"family": FONT, "size": 13, "color": INK},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "hoverlabel": {"namelength": -1},
    }


def _axis() -> dict[str, Any]:
    return {**AXIS, "title": {"standoff": 8}}


def _number(panel: int) -> str:
    """What stands behind the name of a panel's axes; nothing for the first."""
    return str(panel + 1) if panel else ""


def _axes_of(panel: int) -> dict[str, str]:
    return {"xaxis": f"x{_number(panel)}", "yaxis": f"y{_number(panel)}"}


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Sets what is changed, in dictionaries within too; None changes nothing."""
    for name, value in changes.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(name, {}), value)
        elif value is not None:
            into[name] = value


def _without_none(trace: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trace.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return _typed(value) if value.dtype.kind in "iuf" else [_plain(each) for each in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _typed(array: np.ndarray[Any, Any]) -> Any:
    """Numbers as plotly.js has them in base64, as narrow as holds them; a list of those that it has no type for."""
    if not array.size:
        return array.tolist()
    kind = "f4" if array.dtype.itemsize <= 4 else "f8"
    if array.dtype.kind != "f":
        low, high = int(array.min()), int(array.max())
        fits = [each for each in INTEGERS if np.iinfo(each).min <= low and high <= np.iinfo(each).max]
        if not fits:
            return array.tolist()
        kind = fits[0]
    packed = {"dtype": kind, "bdata": base64.b64encode(array.astype(f"<{kind}").tobytes()).decode()}
    return packed if array.ndim == 1 else {**packed, "shape": ", ".join(map(str, array.shape))}
