"""What budgets are counted in, and how far a contender may train on a problem so that all spend the same."""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["AXES", "Allowance", "Axis"]

Axis = Literal["steps", "gradients", "examples", "seconds"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Allowance:
    """How far a contender may train on a problem.

    Attributes:
        steps: of a trial, at most.
        gradients: that a trial may evaluate; its curve ends at the last evaluation of a metric within. None where the
            steps see to that, because each of them costs the same.
        step_seconds: that a step was found to take before anything was trained, where a budget is counted in seconds.
    """

    steps: int
    gradients: float | None = None
    step_seconds: float | None = None
