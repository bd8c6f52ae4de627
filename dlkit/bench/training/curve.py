"""What a trial asks for, and what its calls returned, as a curve and its end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from dlkit.bench.plan.metric import TRAINING_LOSS
from dlkit.bench.plan.trials import NOTHING, Evaluations, Order, Stage, is_judged, study_of
from dlkit.bench.problems.base import Problem
from dlkit.bench.training import divergence
from dlkit.bench.training.program import Program
from dlkit.typing import Params, State

__all__ = [
    "Clock",
    "Ends",
    "Points",
    "Request",
    "Status",
    "Trajectory",
    "in_gradients",
    "is_bad",
    "trajectory_of",
    "within",
]

Status = Literal["finished", "stopped", "diverged", "cut off"]


class Request(NamedTuple):
    """One trial of a program.

    Attributes:
        hyperparameters: a number for each of `Recipe.traced`.
        stage: what the trial is for; the seeds of stages are disjoint.
        seed: which initial parameters, data order and step keys.
        gradients: that may be evaluated: the curve ends at the last point within; None for no bound.
        order: how batches are drawn; None for the problem's own.
    """

    hyperparameters: Mapping[str, float]
    stage: Stage
    seed: int
    gradients: float | None = None
    order: Order | None = None

    @property
    def bound(self) -> float:
        """The gradients that may be evaluated, without end where there is no bound."""
        return math.inf if self.gradients is None else self.gradients

    @property
    def is_judged(self) -> bool:
        """As of its stage, `trials.is_judged`."""
        return is_judged(self.stage)

    @property
    def study(self) -> int:
        """The study whose split of the examples it has."""
        return study_of(self.seed)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What one trial returns.

    Attributes:
        status: ``"finished"``; ``"stopped"``: early, by its policy; ``"diverged"``: a loss or metric that is not
            finite, a loss above the problem's bound, or where it has none, losses that end far beyond where they
            started; ``"cut off"``: its time was up.
        steps: [points] the steps at which metrics were evaluated, from 0.
        curves: metric -> [points] float32, of tuning on validation, else on test; the training loss starts with NaN, as
            nothing was trained yet.
        validation: metric -> value on validation with the parameters to evaluate, of final trials; empty if it
            diverged, or was to stop before its end.
        evaluations: of the loss on batches, up to the last point of the curve.
        gradients: [points] float64: the same up to each point, in gradients.
        diverged_at: the step whose loss was bad, from which on all losses were far beyond the start, or the evaluation
            whose metric was bad; None if there was none.
        restored_at: the step whose parameters early stopping restored; None without early stopping.
        seconds: training time, host loop included, compilation excluded; of lanes, an equal share.
        compile_seconds: time of the first calls, where they compiled.
        finish: ``finish() -> (params, state)``, see `params`; of most trials nobody asks for them.
        example_scores: [test examples] float32: what the judged metric is the mean of, with these parameters; None of
            trials without `validation`, and where `ProblemProgram.example_scores` gives none.
    """

    status: Status
    steps: np.ndarray[Any, Any]
    curves: Mapping[str, np.ndarray[Any, Any]]
    validation: Mapping[str, float]
    evaluations: Evaluations
    gradients: np.ndarray[Any, Any]
    diverged_at: int | None
    restored_at: int | None
    seconds: float
    compile_seconds: float
    finish: Callable[[], tuple[Params, State]]
    example_scores: np.ndarray[Any, Any] | None

    @property
    def params(self) -> Params:
        """The final parameters, those to evaluate.

        Of a trial with a bound of gradients, which is only looked at between calls, they may lie beyond it: no metric
        is computed from them.
        """
        return self.finish()[0]

    @property
    def state(self) -> State:
        """The final state."""
        return self.finish()[1]


class Points(NamedTuple):
    """Points of curves, on the host; with lanes these are the first axis.

    Attributes:
        metrics: metric -> [points].
        losses: [points, steps] of the steps since the point before; of games [points, steps, players].
        evaluations: [points, 3] as in `Evaluations`, from the first step on.
        void: [points] whether early stopping ended the trial before this point: the other fields mean nothing then.
        looked: [points, curves] what probes measured; None without.
    """

    metrics: Mapping[str, Any]
    losses: Any
    evaluations: Any
    void: Any
    looked: Any


class Ends(NamedTuple):
    """What is known of a lane once its trial has ended, beside the points that it reached: see `Trajectory`.

    Without early stopping, `best_evaluation` and `stopped_at` are None; the latter is the number of evaluations after
    which early stopping ended the trial, -1 where it did not.
    """

    best_evaluation: Any
    stopped_at: Any
    validation: Mapping[str, Any]
    example_scores: Any
    looked: Any


class Clock(NamedTuple):
    """Seconds of training and of compilation."""

    seconds: float
    compile_seconds: float


def is_bad(problem: Problem, reached: Points) -> np.ndarray[Any, Any]:
    """Returns at which points a metric is not finite, or a loss since the point before was bad: [..., points]."""
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite
        finite = [np.isfinite(np.asarray(values, np.float32)) for values in reached.metrics.values()]
    bad: np.ndarray[Any, Any] = divergence.bad(problem, reached.losses).any(axis=-1) | ~np.logical_and.reduce(finite)
    return bad


def in_gradients(reached: Points) -> np.ndarray[Any, Any]:
    """Returns what was evaluated up to each point, in gradients: [..., points] float64."""
    counts = np.moveaxis(np.asarray(reached.evaluations, np.float64), -1, 0)
    return np.asarray(Evaluations(*counts).in_gradients, np.float64)


def within(reached: Points, request: Request, until: int | None) -> int:
    """Returns how many of the points that a lane reached belong to its trial.

    Args:
        reached: by the lane.
        request: the trial.
        until: where it stops, in evaluations; None for the end.
    """
    ran = len(reached.void) if until is None else min(len(reached.void), until)
    if request.gradients is None:
        return ran
    return int(np.searchsorted(in_gradients(reached)[:ran], request.gradients, side="right"))


def trajectory_of(
    program: Program,
    start_metrics: Mapping[str, Any],
    reached: Points,
    ends: Ends,
    clock: Clock,
    was_cut: bool,
    ran: int,
    finish: Callable[[], tuple[Params, State]],
) -> Trajectory:
    """Returns one lane's points and end as what a trial returns.

    Args:
        program: what ran it.
        start_metrics: metric -> value before any step.
        reached: its points.
        ends: what is known beside them.
        clock: its times.
        was_cut: whether its time was up.
        ran: how many of the points belong to it.
        finish: returns parameters and state to evaluate.
    """
    recipe, problem = program.recipe, program.shared.problem
    best, stopped_at, validation, scores, looked = ends
    count = min(int(np.argmax(reached.void)) if reached.void.any() else ran, ran)
    bad = is_bad(problem, reached)[:count]
    ended = int(bad.argmax()) + 1 if bad.any() else count
    left = divergence.left_at(problem, reached.losses[:ended])  # a spike that has come back by then is none
    diverged = bool(bad.any()) or left is not None
    if diverged:  # whatever came after it, the curve ends where it went wrong
        count = ended if left is None else left // recipe.segment_steps + 1
    status: Status = "finished"
    if diverged:
        status = "diverged"
    elif count < ran or count == stopped_at:
        status = "stopped"
    elif was_cut and ran == len(reached.void):
        status = "cut off"
    columns = _columns(program, start_metrics, reached, looked, count)
    steps = np.arange(count + 1, dtype=np.int64) * recipe.segment_steps
    last = int(steps[-1])
    return Trajectory(
        status=status,
        steps=steps,
        curves=columns,
        validation={} if diverged else {name: float(value) for name, value in validation.items()},
        evaluations=Evaluations(*map(int, reached.evaluations[count - 1])) if count else NOTHING,
        gradients=np.concatenate([[0.0], in_gradients(reached)[:count]]),
        diverged_at=_diverged_at(problem, reached.losses[:ended], left, last) if diverged else None,
        restored_at=None if best is None else (int(best) + 1) * recipe.segment_steps,
        seconds=clock.seconds,
        compile_seconds=clock.compile_seconds,
        finish=finish,
        example_scores=None if diverged else scores,
    )


def _diverged_at(problem: Problem, losses: np.ndarray[Any, Any], left: int | None, last: int) -> int:
    """The step from which on losses were far beyond, or whose loss was bad; else the last one, whose metric was."""
    if left is not None:
        return left
    bad = divergence.bad(problem, losses).ravel()
    return int(bad.argmax()) if bad.any() else last


def _columns(
    program: Program, start: Mapping[str, Any], reached: Points, looked: Any, count: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The curves of a trajectory: metrics by name, losses, what probes measured."""
    curves = {name: [[start[name]], reached.metrics[name][:count]] for name in sorted(start)}
    with np.errstate(invalid="ignore"):  # of inf and -inf
        means = reached.losses[:count].mean(axis=1, dtype=np.float64)
    losses = means.T if program.shared.problem.players else [means]
    for name, values in zip([TRAINING_LOSS, *program.player_curves], losses, strict=True):
        curves[name] = [[np.nan], values]  # nothing was trained yet
    if looked is not None:
        probed = zip(program.probe_curves, looked, reached.looked[:count].T, strict=True)
        curves |= {name: [[before], values] for name, before, values in probed}
    with np.errstate(over="ignore"):  # as in `is_bad`
        return {name: np.concatenate(parts, dtype=np.float32) for name, parts in curves.items()}
