"""Figures of the page as plotly's own objects, which check every property."""

import plotly.graph_objects as go

from dlkit.bench.report.plotly_drawing import Drawing

__all__ = ["checked"]


def checked(figure: Drawing) -> go.Figure:
    """The same figure; plotly raises for what it does not know, and for values that it does not take."""
    return go.Figure({"data": figure.data, "layout": {"template": {}, **figure.layout}})
