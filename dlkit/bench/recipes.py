"""How a problem is trained: everything that one executable fixes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import Optimizer
from dlkit.bench.schedules import CONSTANT, Schedule

__all__ = ["EarlyStopping", "Recipe", "require_schedulable"]


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """A trial's policy: stop once validation no longer improves, and keep the best parameters seen.

    Attributes:
        patience: how many evaluations in a row may fail to improve.
        min_delta: what an improvement has to exceed, in the unit of the metric.
        metric: which metric of the problem; the judged one if empty.

    Raises:
        UserError: for a patience below 1 or a negative min_delta.
    """

    patience: int
    min_delta: float = 0.0
    metric: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.patience, int) or isinstance(self.patience, bool) or self.patience < 1:
            raise UserError(
                f"early_stopping.patience must be a whole number of evaluations, at least 1, got {self.patience!r}"
            )
        if not isinstance(self.min_delta, int | float) or isinstance(self.min_delta, bool) or not self.min_delta >= 0:
            raise UserError(f"early_stopping.min_delta must be a number of at least 0, got {self.min_delta!r}")
        object.__setattr__(self, "min_delta", float(self.min_delta))


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """What trains a problem, and for how long.

    Attributes:
        optimizer: what makes the steps.
        steps: of a trial, and the schedule's horizon; a multiple of `evaluations`.
        evaluations: points of the curve after step 0.
        static: a value for each of `optimizer.static`.
        schedule: of the learning rate.
        stopping: when a trial may end early; None for never.
        probes: names of the diagnostics computed at every point of the curve.
        choices: names of the problem's choices that are traced.
    """

    optimizer: Optimizer
    steps: int
    evaluations: int
    static: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = CONSTANT
    stopping: EarlyStopping | None = None
    probes: Sequence[str] = ()
    choices: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_schedulable(self.optimizer, self.schedule)

    @property
    def traced(self) -> tuple[str, ...]:
        """The names of the numbers that a trial is given."""
        return (*self.optimizer.space, *self.schedule.space, *self.choices)

    @property
    def segment_steps(self) -> int:
        """Steps from one point of the curve to the next."""
        return self.steps // self.evaluations


def require_schedulable(optimizer: Optimizer, schedule: Schedule) -> None:
    """Refuses a schedule for an optimizer that has nothing to schedule, or settings that both have.

    Raises:
        UserError: if the optimizer has no ``learning_rate``, or a hyperparameter called like a setting of the schedule.
    """
    if not schedule.varies:
        return
    where = f"optimizer '{optimizer.name}'"
    if not optimizer.learning_rates:
        raise UserError(
            f"{where}: has no 'learning_rate' that the schedule '{schedule.name}' could shape; give this "
            "optimizer the schedule 'constant'"
        )
    if both := set(schedule.space) & {*optimizer.space, *optimizer.static}:
        raise UserError(f"{where}: {sorted(both)} are also settings of the schedule '{schedule.name}'; rename one")
