"""A replay runs a stored trial again and compares every number, bit for bit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.bench.analysis.summary import Summary
from dlkit.bench.errors import UserError
from dlkit.bench.execution.dask_workers import make_executor
from dlkit.bench.execution.resources import Resources
from dlkit.bench.execution.step_times import as_stored
from dlkit.bench.execution.work import Done, Work, prepare_process, run_work
from dlkit.bench.plan.space import Point
from dlkit.bench.plan.trials import Outcome, Stage, Trial
from dlkit.bench.spec.bound_plan import BoundPlan, Group, bind
from dlkit.bench.training.lanes import Lanes

__all__ = ["Replay", "replay"]


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


def replay(summary: Summary, name: str, bound: BoundPlan | None = None) -> Replay:
    """Runs a trial again, at the width and with the threads it had, and compares every number.

    Args:
        summary: of the run that it belongs to.
        name: its id.
        bound: the functions that ran; None to find them again by name.

    Returns:
        The comparison.

    Raises:
        UserError: for a trial that failed, or one's own functions that are not at hand.
    """
    outcome, then = summary.records[name]
    if not outcome.counts:
        raise UserError(f"trial {name} did not run: {outcome.reason}")
    trial = outcome.trial
    group = _find_group(as_stored(bound, summary.plan) if bound else bind(summary.plan), trial)
    was_cut = outcome.status == "cut off"
    if was_cut:  # by a clock that will not say the same again
        trial = trial._replace(identity={**trial.identity, "seconds": None, "until": len(outcome.steps) - 1})
    done = _run_again(Work(group, (trial,), lanes=Lanes.parse(then["lanes"])), int(then["threads"]))
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
    for metric in () if was_cut or trial.stage != "final" else outcome.validation.keys() | again.validation.keys():
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


def _run_again(work: Work, threads: int) -> Done:
    """Runs here, or on a worker if JAX has started here with other threads than the worker that ran the trial had."""
    if threads != 1 or prepare_process(threads)["threads"] == "1":
        return run_work(work, threads=threads)
    executor = make_executor(Resources(workers=1))
    try:
        executor.submit(0, work)
        _, done = executor.next()
    finally:
        executor.close()
    if isinstance(done, UserError):
        raise done
    assert isinstance(done, Done)
    return done


def _find_group(bound: BoundPlan, trial: Trial) -> Group:
    """Finds the functions to run a trial with: those of the contender for which it would have the same id."""
    point = Point(dict(trial.hyperparameters), dict(trial.identity["optimizer"]["static"]))
    for problem in bound.plan.problems:
        for contender in bound.plan.contenders:
            again = bound.plan.trial(problem, contender, point, trial.stage, trial.seed, trial.until)
            if again.id == trial.id:
                _require_functions(bound, trial.stage, problem.name, contender.label)
                return bound.group(problem, contender, point.static, stage=trial.stage)
    raise UserError(f"trial {trial.id} is not one of this spec's; run its spec again, then replay it")


def _require_functions(bound: BoundPlan, stage: Stage, problem: str, optimizer: str) -> None:
    missing = [f"problem '{problem}'"] if problem not in bound.problems else []
    missing += [f"optimizer '{optimizer}'"] if optimizer not in bound.methods else []
    looking = bound.plan.probes if stage == "final" else {}
    missing += [f"probe '{name}'" for name in looking if name not in bound.probes]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} came from your own code, and functions are not stored as programs; name the spec "
            "(dlkit replay RUN TRIAL --spec SPEC), or run your script again with the same folder (finished trials are "
            "reused) and call result.replay(trial)"
        )
