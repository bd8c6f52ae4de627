"""What a metric means: which direction is better, and whether differences or ratios count."""

from dataclasses import dataclass
from typing import Literal

from dlkit.bench.errors import UserError

__all__ = ["TRAINING_LOSS", "Metric"]

TRAINING_LOSS = "training_loss"  # the mean minibatch loss over the segment that ends at a point of the curve


@dataclass(frozen=True)
class Metric:
    """How to read a number that `Problem.evaluate` returns.

    Attributes:
        direction: ``"lower"`` or ``"higher"`` is better.
        scale: ``"linear"``, or ``"log"`` for a positive number whose ratios matter; differences are then ratios.
        label: how tables and figures call it; its name if empty.
    """

    direction: Literal["lower", "higher"] = "lower"
    scale: Literal["linear", "log"] = "linear"
    label: str = ""

    def __post_init__(self) -> None:
        if self.direction not in ("lower", "higher"):
            raise UserError(f"a metric's direction is 'lower' or 'higher', not {self.direction!r}")
        if self.scale not in ("linear", "log"):
            raise UserError(f"a metric's scale is 'linear' or 'log', not {self.scale!r}")

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better."""
        return self.direction == "higher"
