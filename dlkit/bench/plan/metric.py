"""What a metric means: which direction is better, whether differences or ratios count, what arithmetic can resolve."""

from dataclasses import dataclass
from typing import Any, Literal

from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.plan.space import is_number
from dlkit.hints import closest

__all__ = ["TRAINING_LOSS", "Metric"]

TRAINING_LOSS = "training_loss"  # the mean minibatch loss over the segment that ends at a point of the curve


@says_what_it_takes("bench.Metric")
@dataclass(frozen=True)
class Metric:
    """How to read a number that `Problem.evaluate` returns.

    Attributes:
        direction: ``"lower"`` or ``"higher"`` is better.
        scale: ``"linear"``, or ``"log"`` for a positive number whose ratios matter; differences are then ratios.
        label: how tables and figures call it; its name if empty.
        floor: the smallest value that arithmetic resolves: what is smaller in size is rounding. It is counted as this
            much, so that two contenders at the floor tie, and a difference or a ratio to one there is told as a bound,
            "at least ×1.7". On a log scale a negative number of that size is rounding, too, such as a loss minus its
            minimum may be. None where none is known; on a log scale 0 is then the smallest number of float32.
        least: the smallest value there can be, such as 0 of an accuracy; None if there is none. A target beyond it is
            refused.
        most: the largest value there can be, such as 1 of an accuracy, or 100 of one in percent; None if there is none.
    """

    direction: Literal["lower", "higher"] = "lower"
    scale: Literal["linear", "log"] = "linear"
    label: str = ""
    floor: float | None = None
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("lower", "higher"):
            meant = _meant(self.direction, "lower", "higher")
            raise UserError(f"a metric's direction is 'lower' or 'higher', not {self.direction!r}{meant}")
        if self.scale not in ("linear", "log"):
            raise UserError(
                f"a metric's scale is 'linear' or 'log', not {self.scale!r}{_meant(self.scale, 'linear', 'log')}"
            )
        if self.floor is not None:
            if not is_number(self.floor) or (self.scale == "log" and self.floor <= 0):
                above = " above 0" if self.scale == "log" else ""
                raise UserError(f"a metric's floor is a finite number{above}, not {self.floor!r}")
            object.__setattr__(self, "floor", float(self.floor))  # of NumPy's, which JSON cannot hold
        for name in ("least", "most"):
            bound = getattr(self, name)
            if bound is not None:
                if not is_number(bound):
                    raise UserError(f"a metric's {name} is a finite number, or None without a bound, not {bound!r}")
                object.__setattr__(self, name, float(bound))
        if self.least is not None and self.most is not None and self.least >= self.most:
            raise UserError(f"a metric's least must be below its most, not {self.least:g} and {self.most:g}")

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better."""
        return self.direction == "higher"

    @property
    def within(self) -> str:
        """Where its values lie, in words."""
        if self.least is None and self.most is None:
            return "may be any number"
        if self.least is None:
            return f"is at most {self.most:g}"
        return f"is at least {self.least:g}" if self.most is None else f"lies between {self.least:g} and {self.most:g}"

    def in_percent(self, value: float) -> str:
        """Returns how a sentence about a value that cannot be ends: with a question where a share came in percent."""
        is_share = (self.least, self.most) == (0.0, 1.0)
        return f"; did you mean {value / 100:g}?" if is_share and 1 < value <= 100 else "."


def _meant(given: Any, *valid: str) -> str:
    found = closest(given, valid) if isinstance(given, str) else None
    return f"; write '{found}'" if found else ""
