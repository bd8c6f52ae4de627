"""The numbers behind the page for the reader to keep: tables, trials and curves, embedded once, as CSV or JSON."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from dlkit.bench.analysis import frame_rows
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.report.page.embedding import packed

__all__ = ["Download", "downloads"]


class Download(NamedTuple):
    """Numbers to keep.

    Attributes:
        name: of the file, without its ending.
        title: a word or two.
        text: what it holds.
        data: compressed JSON: ``{"columns": [...], "values": [[...], ...]}``, a list a column. Of curves the values are
            little-endian float32 in base64, trial after trial; ``"curves"`` has a row a trial and metric, with the
            place of its steps in ``"steps"``. The page's script spreads them to one row a point.
    """

    name: str
    title: str
    text: str
    data: Markup


def downloads(summary: Summary) -> list[Download]:
    """Returns the numbers of a run, unrounded.

    Args:
        summary: the run.
    """
    tables = [
        ("table", "Results", "a row a contender on a problem, best first", frame_rows.table(summary)),
        ("trials", "Trials", "every trial: stage, setting, seed, outcome, value", frame_rows.trials(summary)),
        ("evidence", "Evidence", "the numbers behind each sentence of the verdicts", frame_rows.evidence(summary)),
        ("overview", "Across problems", "a row a contender over all problems", frame_rows.overview(summary)),
        ("costs", "Costs", "seconds per step, compilation, memory", frame_rows.costs(summary)),
    ]
    made = [Download(name, title, text, _columns(rows)) for name, title, text, rows in tables if rows]
    text = "every final trial at every evaluation: problem, optimizer, seed, step, metric, value"
    return [*made, Download("curves", "Curves", text, packed(json.dumps(_curves(summary), separators=(",", ":"))))]


def _columns(rows: Sequence[frame_rows.Row]) -> Markup:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    values = [[_plain(row.get(name)) for row in rows] for name in columns]
    return packed(json.dumps({"columns": columns, "values": values}, separators=(",", ":")))


def _plain(value: Any) -> Any:
    """A value as JSON has it: null for what is missing, words for what is infinite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _curves(summary: Summary) -> dict[str, Any]:
    """A list a final trial and metric, whose values are a stretch of bytes; steps that are the same stand once."""
    steps: dict[tuple[int, ...], int] = {}
    rows, every = [], []
    for comparison in summary.comparisons:
        for result in comparison.results:
            for trial, outcome in zip(result.trials, result.outcomes, strict=True):
                for metric, values in outcome.curves.items() if outcome else ():
                    assert outcome is not None
                    shown = ~np.isnan(values) | (outcome.steps > 0)  # training has no loss before step 1
                    at = steps.setdefault(tuple(outcome.steps[shown].tolist()), len(steps))
                    rows.append([comparison.problem.name, result.label, trial.seed, metric, at])
                    every.append(np.asarray(values[shown], "<f4"))
    packed_values = base64.b64encode(np.concatenate([*every, np.zeros(0, "<f4")]).tobytes()).decode()
    columns = ["problem", "optimizer", "seed", "step", "metric", "value"]
    return {"columns": columns, "steps": [*steps], "curves": rows, "values": packed_values}
