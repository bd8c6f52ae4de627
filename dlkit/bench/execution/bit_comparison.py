"""A trial that ran again beside the stored one: every number, bit for bit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.execution.work import Done
from dlkit.bench.plan.trials import Outcome

__all__ = ["Replay", "compared"]


@dataclass(frozen=True, eq=False)
class Replay:
    """How a trial that ran again compares with the stored one.

    Attributes:
        trial: its id.
        exact: whether every number of its curves, its validation metrics and its scores of examples is the same, bit
            for bit.
        program: field -> (then, now), for the fields of the program that differ.
        largest: metric -> largest absolute difference, ``gradients`` and ``example scores`` included; empty if exact.
        then: metric -> the stored curve.
        now: metric -> the curve of the replay.
        diverged_at: the step at which the replay diverged; None if it did not.
    """

    trial: str
    exact: bool
    program: Mapping[str, tuple[str, str]]
    largest: Mapping[str, float]
    then: Mapping[str, np.ndarray[Any, Any]]
    now: Mapping[str, np.ndarray[Any, Any]]
    diverged_at: int | None

    def __repr__(self) -> str:
        if self.exact:
            return f"<Replay of {self.trial}: every number matches, bit for bit>"
        apart = ", ".join(f"{metric} by up to {difference:g}" for metric, difference in list(self.largest.items())[:8])
        program = f"; program differs in {', '.join(self.program)}" if self.program else ""
        return f"<Replay of {self.trial}: differs in {apart}{program}>"


def compared(outcome: Outcome, then: Mapping[str, str], done: Done) -> Replay:
    """Compares what ran again with what is stored.

    Args:
        outcome: what is stored.
        then: the program that made it.
        done: what ran again, that trial alone.

    Raises:
        UserError: if it failed this time.
    """
    name, was_cut = outcome.trial.id, outcome.status == "cut off"
    again, now = done.outcomes[0], done.program
    if not again.counts:
        raise UserError(f"the replay of trial {name} failed: {again.reason}")
    changed = {field: (then[field], now.get(field, "")) for field in then if then[field] != now.get(field)}
    largest = {}
    before, after = (_arrays(each, has_ended=not was_cut) for each in (outcome, again))
    for metric in before.keys() | after.keys():
        a, b = (np.asarray(each.get(metric, ())) for each in (before, after))
        if a.tobytes() != b.tobytes():
            same_shape = a.shape == b.shape
            largest[metric] = float(np.nanmax(np.abs(a - b), initial=0.0)) if same_shape else float("inf")
    for metric in (
        () if was_cut or outcome.trial.stage != "final" else outcome.validation.keys() | again.validation.keys()
    ):
        x, y = (each.validation.get(metric, float("nan")) for each in (outcome, again))
        if x != y and not (math.isnan(x) and math.isnan(y)):
            largest[f"validation {metric}"] = abs(x - y)
    same_end = again.status == outcome.status or was_cut
    exact = not largest and same_end and again.diverged_at == outcome.diverged_at
    return Replay(name, exact, changed, largest, outcome.curves, again.curves, again.diverged_at)


def _arrays(outcome: Outcome, *, has_ended: bool) -> Mapping[str, np.ndarray[Any, Any]]:
    """What verdicts rest on: curves, what points cost, and of trials that have ended the scores of examples."""
    others = {"gradients": outcome.gradients, "example scores": outcome.example_scores if has_ended else None}
    return {**outcome.curves, **{name: array for name, array in others.items() if array is not None}}
