"""A recipe: the optimizer, its schedule, the number of steps and whatever else executables are compiled for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.optimizers.base import Optimizer
from dlkit.bench.optimizers.schedules import CONSTANT, Schedule
from dlkit.bench.plan.policies import EarlyStopping
from dlkit.bench.probes import Probe

__all__ = ["Recipe", "require_schedulable"]


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
        probes: diagnostics computed at every point of the curve.
        choices: names of the problem's choices that are traced.
    """

    optimizer: Optimizer
    steps: int
    evaluations: int
    static: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = CONSTANT
    stopping: EarlyStopping | None = None
    probes: Sequence[Probe] = ()
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
