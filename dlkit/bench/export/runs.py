"""The final trials of a run as trackers take them: a run each, with parameters, curves and last values."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from dlkit.bench.analysis.answer import answer
from dlkit.bench.analysis.summary import Summary
from dlkit.bench.escapes import encodable, file_name, visible

__all__ = ["FinalTrial", "final_trials", "placed", "verdicts"]


class FinalTrial(NamedTuple):
    """A final trial.

    Attributes:
        problem: its name.
        contender: the label.
        study: which of the repeated tunings.
        seed: of the trial.
        id: of the trial.
        status: what came of it.
        place: of the contender on the problem: see `answer.Cell`.
        parameters: hyperparameter, or static choice -> value.
        steps: [points] of the curves.
        curves: metric -> [points] values, on what judges; NaN and infinity where they were not finite.
        reason: why it failed, empty if it did not.
    """

    problem: str
    contender: str
    study: int
    seed: int
    id: str
    status: str
    place: str
    parameters: Mapping[str, Any]
    steps: np.ndarray[Any, Any]
    curves: Mapping[str, np.ndarray[Any, Any]]
    reason: str

    @property
    def name(self) -> str:
        """What a tracker calls it."""
        return visible(f"{self.problem}/{self.contender}/study {self.study}/seed {self.seed}")

    def points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yields each step with what was measured there; training has no loss before step 1."""
        for place, step in enumerate(self.steps.tolist()):
            values = {name: float(curve[place]) for name, curve in self.curves.items()}
            yield step, {name: value for name, value in values.items() if step > 0 or not np.isnan(value)}


def final_trials(summary: Summary) -> Iterator[FinalTrial]:
    """Yields every final trial that ran, problem by problem, the best contender first.

    Args:
        summary: the run.
    """
    for row in answer(summary).rows:
        for result in row.comparison.results:
            for study in result.studies:
                for trial, outcome in zip(study.trials, study.outcomes, strict=True):
                    if outcome is not None:
                        yield FinalTrial(
                            encodable(row.name),
                            encodable(result.label),
                            study.number,
                            trial.seed,
                            trial.id,
                            outcome.status,
                            row.cells[result.label].place,
                            {**dict(sorted(trial.hyperparameters.items())), **trial.identity["optimizer"]["static"]},
                            outcome.steps,
                            outcome.curves,
                            encodable(outcome.reason),
                        )


def placed(trials: Iterable[FinalTrial]) -> Iterator[tuple[FinalTrial, str]]:
    """Yields trials with a relative path each; names that a path cannot hold apart get a number.

    Args:
        trials: any.
    """
    taken: dict[str, tuple[str, str]] = {}
    for trial in trials:
        cell, number = (trial.problem, trial.contender), 1
        path = first = f"{file_name(trial.problem)}/{file_name(trial.contender)}"
        while taken.setdefault(path.lower(), cell) != cell:
            number += 1
            path = f"{first}-{number}"
        yield trial, f"{path}/study-{trial.study}-seed-{trial.seed}"


def verdicts(summary: Summary) -> dict[str, str]:
    """Returns what is concluded, a line a sentence: the answer under an empty name, then problem -> verdict and notes.

    Args:
        summary: the run.
    """
    found = answer(summary)
    sentences = {"": [found.headline, *found.caveats]}
    for each in summary.comparisons:
        sentences[each.problem.name] = [each.verdict.sentence, *each.verdict.notes]
    lines = {name: [" ".join(each.splitlines()) for each in said] for name, said in sentences.items()}
    return {encodable(name): "\n".join(map(visible, said)) for name, said in lines.items()}
