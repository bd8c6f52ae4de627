"""What holds for every contender alike: how it is tuned, when its trials may stop early, how targets are set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.plan.metric import Metric
from dlkit.bench.plan.space import is_number
from dlkit.bench.plan.trials import STUDY_SEEDS

__all__ = [
    "ADAPTIVE",
    "CONSTANT_SCHEDULE",
    "OBJECTIVES",
    "TUNED",
    "EarlyStopping",
    "Settling",
    "TargetRule",
    "Tuner",
    "level_name",
    "require_margin",
]

TUNED = "tuned"  # what tables say of a choice that has no single value
CONSTANT_SCHEDULE = "constant"  # the name of the schedule that leaves the learning rate as it is
ADAPTIVE = ("optuna", "zoom")  # tuners whose points depend on how the ones before did
OBJECTIVES = {  # what tuning can look for, in words
    "final": "by final values",
    "steps": "by steps to the target",
    "area": "by the area under the curve",
}


@says_what_it_takes("bench.EarlyStopping")
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


@dataclass(frozen=True)
class Tuner:
    """How contenders are tuned, the same for all of them.

    Attributes:
        name: where points come from: ``"halton"``, ``"random"``, ``"grid"``, ``"optuna"`` or ``"zoom"``.
        seconds: of training that a study spends on a contender and problem; None where the points are counted.
        studies: independent repetitions of tuning and judging, with points and seeds of their own.
        halving: successive halving goes on with one in so many points; None trains all of them to the end.
        batch: how many points an adaptive tuner is asked for at a time.
        grid: hyperparameter -> number of values on a grid.
        first_study: the number of the first study; studies of the same number draw the same points and seeds.
        objective: what the best point is best in: ``"final"`` values, ``"steps"`` to the hardest declared target, or
            ``"area"`` under the curve.
    """

    name: str = "halton"
    seconds: float | None = None
    studies: int = 1
    halving: int | None = None
    batch: int = 4
    grid: Mapping[str, int] = field(default_factory=dict)
    first_study: int = 0
    objective: str = "final"

    @property
    def is_adaptive(self) -> bool:
        """Whether points depend on how the ones before did."""
        return self.name in ADAPTIVE

    @property
    def scored_again(self) -> int:
        """How many of the best points are scored again on fresh tuning seeds before one of them wins."""
        return 2 if self.name == "zoom" else 0

    def rungs(self, points: int, evaluations: int, *, added: int = 0) -> list[tuple[int, int | None]]:
        """Returns the rungs of successive halving: how many points train, and to which evaluation (None: to the end).

        Each rung is `halving` times as long as the one before, and trains the better one in `halving` of its points.
        The first one is so short that two points or more are left to be trained to the end.

        Args:
            points: how many there are to begin with.
            evaluations: of a trial of full length.
            added: how many more there are by expansions; they make rungs wider, not more.
        """
        if self.halving is None:
            return [(points + added, None)]
        depth = 0
        while points // self.halving ** (depth + 1) >= 2 and self.halving ** (depth + 1) <= evaluations:
            depth += 1
        lengths = [math.ceil(evaluations / self.halving**left) for left in range(depth, 0, -1)]
        return [((points + added) // self.halving**rung, length) for rung, length in enumerate([*lengths, None])]


@says_what_it_takes("bench.TargetRule")
@dataclass(frozen=True, kw_only=True)
class TargetRule:
    """How baselines set the targets of problems that declare none.

    Attributes:
        baselines: labels of contenders; none for the first contender. The best tuned one of them sets the targets.
        reruns: seeds it is trained on for that; they are used for nothing else.
        shares: shares of the budget. The median over reruns of the best value up to each is a target.

    Raises:
        UserError: for no reruns or too many, or shares outside (0, 1].
    """

    baselines: tuple[str, ...] = ()
    reruns: int = 20
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)

    def __post_init__(self) -> None:
        if not isinstance(self.reruns, int) or isinstance(self.reruns, bool) or self.reruns < 1:
            raise UserError(f"targets.reruns must be a whole number of at least 1, got {self.reruns!r}")
        if self.reruns > STUDY_SEEDS:  # further ones are those of a replication
            raise UserError(f"targets.reruns must be at most {STUDY_SEEDS}, got {self.reruns}")
        if not self.shares or not all(is_number(share) and 0 < share <= 1 for share in self.shares):
            raise UserError(f"targets.shares must be shares of the budget, above 0 and up to 1, got {self.shares!r}")


@says_what_it_takes("bench.Settling")
@dataclass(frozen=True, kw_only=True)
class Settling:
    """Studies are added to the budget's until it is settled who is best, by a rule that holds however often one looks.

    On each problem that is so once one contender is best, or those that are not worse lie within the margin. A budget
    of one study gets more fresh seeds instead: what they settle is about the settings found.

    Attributes:
        max_studies: the most studies any contender gets; by default 40.
        max_seeds: the most seeds any contender gets where the budget has one study; by default 100.
        margin: how large a difference does not matter, on problems that have no margin of their own: in the metric's
            units, or a ratio such as 1.1 where values are compared as ratios.

    Raises:
        UserError: for fewer than one study or seed, more seeds than a study has, or a margin of 0 or less.
    """

    max_studies: int = 40
    max_seeds: int = 100
    margin: float | None = None

    def __post_init__(self) -> None:
        mistakes = []
        for name in ("max_studies", "max_seeds"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                mistakes.append(f"settling.{name} must be a whole number of at least 1, got {value!r}")
            elif name == "max_seeds" and value > STUDY_SEEDS:  # further ones are those of the next study
                mistakes.append(f"settling.max_seeds must be at most {STUDY_SEEDS}, got {value}")
        if self.margin is not None and not (is_number(self.margin) and self.margin > 0):
            mistakes.append(f"settling.margin must be a number above 0, got {self.margin!r}")
        if mistakes:
            raise UserError("\n".join(mistakes))


def require_margin(problem: str, metric: Metric, margin: Any) -> None:
    """Checks a margin: differences of a problem's judged metric up to it do not matter.

    Args:
        problem: its name, for the message.
        metric: what its judged metric means.
        margin: what was given.

    Raises:
        UserError: unless it is a number above 0, or for a metric on a log scale, a ratio above 1; and where the metric
            has bounds, for one that no difference exceeds.
    """
    if metric.scale == "log" and not (is_number(margin) and margin > 1):
        raise UserError(
            f"problem '{problem}': values of its metric are compared as ratios; margin must be a ratio above 1, such "
            f"as 1.1 for a tenth, got {margin!r}; problems of a spec can have a margin each"
        )
    if not (is_number(margin) and margin > 0):
        raise UserError(f"problem '{problem}': margin must be a number above 0, in the metric's units, got {margin!r}")
    widest = math.inf if metric.least is None or metric.most is None else metric.most - metric.least
    if metric.scale == "linear" and margin >= widest:
        raise UserError(
            f"problem '{problem}': with a margin of {margin:g} no difference matters, as its metric {metric.within}"
            f"{metric.in_percent(margin)}"
        )


def level_name(value: Any) -> str:
    """Returns how tables call a value of a factor."""
    if isinstance(value, list | tuple):
        return TUNED
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, EarlyStopping):
        more = f", min_delta {value.min_delta:g}" if value.min_delta else ""
        return f"{value.patience}{more}{f' on {value.metric}' if value.metric else ''}"
    return str(getattr(value, "name", value))  # a schedule has a name
