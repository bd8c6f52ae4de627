"""A trial as data: what decides its numbers, its outcome, and how long its steps take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.hashing import digest

__all__ = [
    "NOTHING",
    "ORDERS",
    "STAGES",
    "STUDY_SEEDS",
    "Evaluations",
    "Order",
    "Outcome",
    "Stage",
    "Timing",
    "Trial",
    "is_judged",
    "require_order",
    "study_of",
    "timing_key",
]

Stage = Literal["tuning", "final", "target"]
STAGES: dict[Stage, int] = {"tuning": 0, "final": 1, "target": 2}  # a seed of one stage is no seed of another
Order = Literal["reshuffle", "fixed", "iid"]
ORDERS: tuple[Order, ...] = get_args(Order)  # how a trial goes through its training examples
STUDY_SEEDS = 1000  # study k tunes and judges on seeds from k times this on, so that no two studies share one


def is_judged(stage: Stage) -> bool:
    """Returns whether the curves of a stage's trials are on test: nothing is selected from them."""
    return stage != "tuning"


def study_of(seed: int) -> int:
    """Returns the number of the study that a seed belongs to."""
    return seed // STUDY_SEEDS


class Trial(NamedTuple):
    """One training run: everything that decides its curve, and the hash of that."""

    id: str
    identity: Mapping[str, Any]

    @property
    def stage(self) -> Stage:
        """What the trial is for: tuning, final, or to set a target."""
        return self.identity["stage"]  # type: ignore[no-any-return]

    @property
    def is_judged(self) -> bool:
        """As of its stage, `is_judged`."""
        return is_judged(self.stage)

    @property
    def study(self) -> int:
        """The number of its study."""
        return study_of(self.seed)

    @property
    def seed(self) -> int:
        """Its seed, one of its stage's."""
        return self.identity["seed"]  # type: ignore[no-any-return]

    @property
    def steps(self) -> int:
        """How many it makes, unless it ends early."""
        return self.identity["steps"]  # type: ignore[no-any-return]

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The traced values."""
        return self.identity["hyperparameters"]  # type: ignore[no-any-return]

    @property
    def until(self) -> int | None:
        """The evaluation that a rung of successive halving ends at; None for a trial of full length."""
        return self.identity.get("until")

    @property
    def seconds(self) -> float | None:
        """Its time budget, None for none."""
        return self.identity.get("seconds")

    @property
    def gradients(self) -> float | None:
        """How many gradients it may evaluate, where its steps do not say so; None otherwise."""
        return self.identity.get("gradients")

    @property
    def program(self) -> Sequence[str]:
        """What the user's own functions compute in it, as of `Programs.in_stage`; empty where all is registered."""
        return self.identity.get("program", ())  # type: ignore[no-any-return]

    @property
    def order(self) -> "Order":
        """How its batches are drawn."""
        return self.identity["problem"]["order"]  # type: ignore[no-any-return]


class Evaluations(NamedTuple):
    """How often a step, or a whole trial, evaluates the loss on a batch.

    Attributes:
        gradients: the loss with its gradient.
        values: the loss alone.
        hessian_products: products of the Hessian with a vector; each costs about two gradients.
    """

    gradients: int | Any = 1
    values: int | Any = 0
    hessian_products: int | Any = 0

    @property
    def in_gradients(self) -> float | Any:
        """What all this costs, in gradients.

        A backward pass does about twice the work of the forward one, so the loss alone is a third of a gradient; a
        product with the Hessian is about two.

        Reference:
            Griewank and Walther, "Evaluating Derivatives", 2nd edition, 2008, sections 4.5 and 5.4.
        """
        return self.gradients + self.values / 3 + 2 * self.hessian_products


NOTHING = Evaluations(0)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one trial, as a worker returns it.

    Attributes:
        trial: the trial.
        status: finished, stopped (early, by its policy), diverged (a loss or metric that is not finite, a loss above
            the problem's bound, or where it has none, losses that end far beyond where they started), cut off (its time
            was up) or failed (an exception).
        reason: for a failure, and for a trial that was ended from outside, what to tell the user.
        traceback: for a failure, where it happened.
        diverged_at: for divergence, the first step that was so, and after which it did not come back.
        seconds: of training, compilation excluded.
        compile_seconds: of compilation, where this trial caused it.
        steps: [points] int64.
        curves: metric -> [points] float32: of tuning trials on validation, which selects; of the others on test, which
            judges.
        validation: metric -> value with the final parameters, of final trials.
        evaluations: of the loss on batches, up to the last point of the curve.
        restored_at: the step whose parameters early stopping restored; None without early stopping.
        samples: [samples, 2] or [samples, height, width] float32: what the trained model generates, kept of the first
            study's first final seed where a problem has samples; None otherwise.
        example_scores: [test examples] float32: what the judged metric's final value is the mean of, of final trials;
            of very many examples some, evenly spaced. None where there are none.
        gradients: [points] float64: what was evaluated up to each point, in gradients; None for one a step.
    """

    trial: Trial
    status: Literal["finished", "stopped", "diverged", "cut off", "failed"]
    reason: str
    traceback: str
    diverged_at: int | None
    seconds: float
    compile_seconds: float
    steps: np.ndarray[Any, Any]
    curves: Mapping[str, np.ndarray[Any, Any]]
    validation: Mapping[str, float]
    evaluations: Evaluations = NOTHING
    restored_at: int | None = None
    samples: np.ndarray[Any, Any] | None = None
    example_scores: np.ndarray[Any, Any] | None = None
    gradients: np.ndarray[Any, Any] | None = None

    @property
    def gradients_so_far(self) -> np.ndarray[Any, Any]:
        """[points] float64: what was evaluated up to each point, in gradients; see `Evaluations.in_gradients`."""
        return self.steps.astype(np.float64) if self.gradients is None else self.gradients

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of its curve: it was ended from outside, long after its time was up."""
        return self.status == "cut off" and len(self.steps) == 1

    @property
    def counts(self) -> bool:
        """Whether there is a result: a divergence is one, an exception is not."""
        return self.status != "failed"

    def final(self, metric: str) -> float:
        """Returns a metric with the trial's final parameters, on the split of its curve; NaN if diverged or failed.

        Where early stopping restored parameters, validation chose them, so that the value on test is not flattered.
        """
        if self.status in ("diverged", "failed"):
            return math.nan
        at = -1 if self.restored_at is None else int(np.searchsorted(self.steps, self.restored_at))
        return float(self.curves[metric].item(at))


@dataclass(frozen=True)
class Timing:
    """What a contender's steps cost.

    Attributes:
        seconds: [repeats] of a step, without evaluations; none if it could not be timed.
        evaluation_seconds: of one evaluation on validation; NaN if it could not be timed.
        parameter_bytes: of the parameters.
        state_bytes: of the optimizer's state.
        memory_bytes: what the compiled segment takes: arguments (the data among them), results and temporaries; None
            where the compiler does not say.
        failure: why it could not be timed, empty if it could.
    """

    seconds: tuple[float, ...] = ()
    evaluation_seconds: float = math.nan
    parameter_bytes: int = 0
    state_bytes: int = 0
    memory_bytes: int | None = None
    failure: str = ""


def require_order(order: Any, *, owner: str = "") -> Order:
    """Returns an order; refuses what is none of `ORDERS`.

    Args:
        order: what was given.
        owner: whose order it is, for the message: ``"problem 'mine'"``.

    Returns:
        What was given.

    Raises:
        UserError: with the nearest valid order.
    """
    if order not in ORDERS:
        raise UserError(f"{owner}{': ' if owner else ''}no order {order!r}; {nearest(str(order), ORDERS)}")
    return order  # type: ignore[no-any-return]


def timing_key(trial: Trial) -> str:
    """Returns the hash of what the cost of a trial's steps depends on.

    That is not its seed, the order of its examples, its probes, or when it may end.

    Hyperparameters count, since the evaluations of a line search depend on them.
    """
    facts = ("problem", "optimizer", "schedule", "steps", "evaluations", "hyperparameters")
    problem = {name: value for name, value in trial.identity["problem"].items() if name != "order"}
    programs = {"program": trial.program[:2]} if trial.program else {}  # without probes
    return digest({**{name: trial.identity[name] for name in facts}, "problem": problem, **programs})
