"""A run as tables, each with a description of its columns; numbers unrounded. pandas is imported when one is made."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import dlkit
from dlkit.bench.analysis import frames
from dlkit.bench.analysis.answer import answer
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import encodable
from dlkit.bench.export.columns import HYPERPARAMETER, TABLES, UNTIL, Column, Described
from dlkit.bench.plan.json import to_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT", "VERSION", "Contents", "Table", "as_kinds", "contents"]

FORMAT, VERSION = "dlkit-export", 1


@dataclass(frozen=True, eq=False)
class Table:
    """A table with what its columns are.

    Attributes:
        name: of the table.
        text: what a row is.
        columns: in the frame's order.
        frame: the numbers; each column of its kind: str, Int64, float64 or boolean.
    """

    name: str
    text: str
    columns: tuple[Column, ...]
    frame: "pd.DataFrame"


@dataclass(frozen=True, eq=False)
class Contents:
    """A run as it is exported.

    Attributes:
        facts: what it is: format and version, dlkit, the run's name and its spec's digest, the answer in a sentence,
            what limits it, how many trials are missing.
        spec: the plan in its canonical form.
        tables: in the order of `TABLES`.
    """

    facts: Mapping[str, Any]
    spec: Mapping[str, Any]
    tables: tuple[Table, ...]

    def __getitem__(self, name: str) -> "pd.DataFrame":
        return next(each.frame for each in self.tables if each.name == name)


def contents(summary: Summary) -> Contents:
    """Returns everything that a run says, as tables.

    Args:
        summary: the run; what has not run yet is not there.

    Returns:
        The tables of `columns.TABLES`, the empty ones too.
    """
    import pandas as pd

    found = answer(summary)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "dlkit": dlkit.__version__,
        "run": summary.plan.name,
        "spec": summary.plan.digest,
        "answer": found.headline,
        "caveats": list(found.caveats),
        "trials": len(summary.records),
        "missing_trials": max(summary.missing, 0),
    }
    frames_of = {
        "problems": pd.DataFrame(_problems(summary)),
        "places": pd.DataFrame(
            [
                {
                    "problem": row.name,
                    "optimizer": label,
                    "place": cell.place,
                    "value": cell.final.estimate,
                    "value_low": cell.final.low,
                    "value_high": cell.final.high,
                }
                for row in found.rows
                for label, cell in row.cells.items()
            ]
        ),
        "sentences": pd.DataFrame(
            [
                {
                    "problem": each.problem.name,
                    "number": number,
                    "kind": each.verdict.kind,
                    "about": each.verdict.about,
                    "sentence": finding.text,
                }
                for each in summary.comparisons
                for number, finding in enumerate(each.verdict.findings)
            ]
        ),
        "results": frames.table(summary),
        "evidence": frames.evidence(summary),
        "overview": frames.overview(summary),
        "costs": frames.costs(summary),
        "effects": frames.effects(summary),
        "tuning_leaders": frames.tuning_leaders(summary),
        "sensitivity": frames.sensitivity(summary),
        "parameter_groups": _groups(summary),
        "trials": frames.trials(summary),
        "curves": _curves(summary),
    }
    tables = tuple(_table(name, described, frames_of[name]) for name, described in TABLES.items())
    return Contents(facts, json.loads(to_json(summary.plan)), tables)


def as_kinds(frame: "pd.DataFrame", columns: tuple[Column, ...]) -> "pd.DataFrame":
    """Returns a frame with its columns in order, each of its kind.

    Args:
        frame: with these columns, or empty.
        columns: which.

    Raises:
        KeyError: if one of them is not there.
        ValueError: if an integer has a fraction.
    """
    import pandas as pd

    made: dict[str, Any] = {}
    for column in columns:
        values = frame[column.name] if len(frame.columns) else pd.Series([], dtype=object)
        if column.kind == "text":
            made[column.name] = pd.Series(
                ["" if _is_missing(each) else encodable(str(each)) for each in values], dtype="str"
            )
        elif column.kind == "number":
            made[column.name] = values.astype(np.float64).reset_index(drop=True)
        else:
            dtype: Any = "Int64" if column.kind == "integer" else "boolean"
            made[column.name] = values.astype(dtype).reset_index(drop=True)
    return pd.DataFrame(made)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _table(name: str, described: Described, frame: "pd.DataFrame") -> Table:
    columns = list(described.columns)
    own = {each.name for each in columns}
    if name == "trials" and "until" in frame:
        columns.append(UNTIL)
        own.add("until")
    others = [each for each in frame.columns if each not in own]
    if described.has_hyperparameters:
        named = {each: HYPERPARAMETER + each.removeprefix(HYPERPARAMETER) for each in others}
        frame = frame.rename(columns=named)
        columns += [_hyperparameter(each, frame[each]) for each in named.values()]
    elif others:
        raise ValueError(f"columns.TABLES lacks columns of {name}: {', '.join(others)}")
    return Table(name, described.text, tuple(columns), as_kinds(frame, tuple(columns)))


def _hyperparameter(name: str, values: "pd.Series[Any]") -> Column:
    """What a hyperparameter's column is: of numbers if all are, else of texts."""
    are_numbers = all(
        isinstance(each, int | float | np.number) and not isinstance(each, bool | np.bool_)
        for each in values
        if each is not None
    )
    return Column(name, "number" if are_numbers else "text", "", "of the trial, or of the setting that tables show")


def _problems(summary: Summary) -> list[dict[str, Any]]:
    rows = []
    for each in summary.comparisons:
        problem, judged = each.problem, each.problem.judged
        train, validation, test = problem.examples
        rows.append(
            {
                "problem": problem.name,
                "metric": problem.metric,
                "label": judged.label or problem.metric,
                "direction": judged.direction,
                "scale": judged.scale,
                "floor": math.nan if judged.floor is None else judged.floor,
                "target": each.target,
                "targets_from": each.targets.source,
                "margin": math.nan if problem.margin is None else problem.margin,
                "axis": problem.axis,
                "budget": problem.budget,
                "batch_size": problem.batch_size,
                "train_examples": train,
                "validation_examples": validation,
                "test_examples": test,
                "judged_on": problem.judged_on,
                "splits_anew": summary.plan.splits_anew(problem),
                "data_source": problem.data_source,
                "data_digest": problem.data,
                "description": problem.description,
            }
        )
    return rows


def _groups(summary: Summary) -> "pd.DataFrame":
    frame = frames.groups(summary)
    return frame.assign(shape=["x".join(map(str, shape)) or "scalar" for shape in frame["shape"]])


def _curves(summary: Summary) -> "pd.DataFrame":
    """Every curve of every trial; training has no loss before step 1."""
    import pandas as pd

    heads: list[tuple[Any, ...]] = []
    counts, steps, values = [], [], []
    seen: set[str] = set()
    for comparison in summary.comparisons:
        for label, study, trial in comparison.trials():
            if trial.id in seen or trial.id not in summary.records:
                continue
            seen.add(trial.id)
            outcome = summary.records[trial.id].outcome
            for metric, curve in outcome.curves.items():
                shown = ~np.isnan(curve) | (outcome.steps > 0)
                head = (trial.id, comparison.problem.name, label, study, trial.stage, trial.seed, metric)
                heads.append(head)
                counts.append(int(shown.sum()))
                steps.append(outcome.steps[shown])
                values.append(curve[shown])
    names = ["trial", "problem", "optimizer", "study", "stage", "seed", "metric"]
    frame = pd.DataFrame(heads, columns=names)
    frame = frame.loc[frame.index.repeat(counts)].reset_index(drop=True)
    return frame.assign(
        step=np.concatenate(steps) if steps else np.zeros(0, np.int64),
        value=np.concatenate(values).astype(np.float64) if values else np.zeros(0),
    )
