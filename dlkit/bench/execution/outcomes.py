"""What came of a trial: the outcome of one that ended, and of one that an exception ended."""

from typing import Any

import numpy as np

from dlkit.bench.errors import UserError
from dlkit.bench.identity.own_errors import own_traceback, raised
from dlkit.bench.plan.trials import Evaluations, Outcome, Trial
from dlkit.bench.spec.bound_plan import Group
from dlkit.bench.training.curve import Trajectory
from dlkit.bench.training.program import Program

__all__ = ["failed", "failure", "outcome_of", "owner"]


def outcome_of(group: Group, program: Program, trial: Trial, result: Trajectory, sampled_seed: int | None) -> Outcome:
    """Returns the outcome of a trial that was trained.

    Args:
        group: of the trial.
        program: that ran it.
        trial: what was asked for.
        result: what came back.
        sampled_seed: as in `Work`.
    """
    if _ends_at_start(trial, result):
        return _unevaluated(group, trial)
    return _outcome(trial, result, _samples(program, result) if _is_sampled(trial, sampled_seed) else None)


def _ends_at_start(trial: Trial, result: Trajectory) -> bool:
    # what it was before any step is no result of training
    return trial.gradients is not None and len(result.steps) == 1


def _unevaluated(group: Group, trial: Trial) -> Outcome:
    """The outcome of a trial whose first evaluation after step 0 lies beyond its budget."""
    return failed(
        trial,
        f"{owner(group)}: its steps take so many gradients that a trial with a budget of {trial.gradients:g} has no "
        "evaluation within; give more evaluations, or a larger budget",
    )


def _is_sampled(trial: Trial, sampled_seed: int | None) -> bool:
    # the parameters that a bounded trial ends with are not those of the last point of its curve
    return trial.stage == "final" and trial.seed == sampled_seed and trial.gradients is None


def _samples(program: Program, result: Trajectory) -> np.ndarray[Any, Any] | None:
    """What the trained model generates; None where there are no samples, or it did not train to its end."""
    sampler = program.shared.samples
    if sampler is None or result.status not in ("finished", "stopped"):
        return None
    return np.asarray(sampler(result.params, result.state), np.float32)


def _outcome(trial: Trial, result: Trajectory, samples: np.ndarray[Any, Any] | None) -> Outcome:
    return Outcome(
        trial,
        result.status,
        reason="",
        traceback="",
        diverged_at=result.diverged_at,
        seconds=result.seconds,
        compile_seconds=result.compile_seconds,
        steps=result.steps,
        curves=result.curves,
        validation=result.validation,
        evaluations=result.evaluations,
        restored_at=result.restored_at,
        samples=samples,
        example_scores=result.example_scores,
        gradients=result.gradients,
    )


def failure(group: Group, trial: Trial, error: BaseException) -> Outcome:
    """Turns an exception into an outcome; the reason names optimizer and problem, unless a UserError says enough."""
    reason = str(error)
    if not isinstance(error, UserError):
        reason = f"{owner(group)}: raised {raised(error)}"
    return failed(trial, reason, own_traceback(error))


def owner(group: Group) -> str:
    """Returns whose trials a group has, for messages."""
    return f"optimizer '{group.recipe.optimizer.name}' on problem '{group.problem.name}'"


def failed(trial: Trial, reason: str, trace: str = "") -> Outcome:
    """Returns the outcome of a trial that an exception ended."""
    return Outcome(trial, "failed", reason, trace, None, 0.0, 0.0, np.zeros(0, np.int64), {}, {}, Evaluations(0))
