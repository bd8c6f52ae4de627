"""What every contender gets: points, seeds, steps, and how it is tuned."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dlkit.bench.errors import UserError, nearest, says_what_it_takes
from dlkit.bench.plan.axes import AXES, Axis
from dlkit.bench.plan.plan import DRAW_SEEDS
from dlkit.bench.plan.policies import ADAPTIVE, OBJECTIVES
from dlkit.bench.plan.space import is_number
from dlkit.bench.plan.trials import STUDY_SEEDS
from dlkit.bench.tuning.sampling import TUNERS

__all__ = ["AMOUNTS", "DRAWS", "ELSEWHERE", "Budget", "beyond_draws"]

AMOUNTS = ("tuning_points", "tuning_points_per_dimension", "tuning_seconds")  # of a budget, which has one of them
OPTIONAL = frozenset({"steps", "tuning_points", "tuning_points_per_dimension", "tuning_seeds", "seeds", "halving"})
# Settings that need not be counts.
SPECIAL = frozenset({"axis", "tuner", "objective", "tuning_seconds", "trial_seconds", "grid", "first_study"})
DRAWS = "draws are numbered, not seeded: with first_study = 100 there are other points and other seeds"
ELSEWHERE = {  # what is no setting of a budget -> where it stands, or what is meant
    "seed": f"'seeds' is how many there are; {DRAWS}",
    "random_state": DRAWS,
    "epochs": "'steps' are counted: epochs times training examples over batch_size",
    "batch_size": "it belongs to a problem, to an optimizer, or to the factors",
    **dict.fromkeys(
        ("lr", "learning_rate", "wd", "weight_decay", "momentum"),
        "hyperparameters stand in the space of an optimizer, where they are tuned",
    ),
}
# What is not given, (tuning points, tuning seeds, seeds): found by simulating the power of whole runs of at most 60
# trials a contender; see docs/statistics.md.
OF_EACH_STUDY = (4, 1, 2)
OF_ONE_STUDY = (16, 2, 10)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def beyond_draws(name: str, first_study: int, studies: int) -> list[str]:
    """Returns what is wrong with a number of studies: those of one draw of points must not run into the next draw's.

    Args:
        name: of the setting.
        first_study: the number of the first study.
        studies: its value.

    Returns:
        The mistake; none if they fit.
    """
    most = DRAW_SEEDS - first_study
    if studies <= most:
        return []
    return [f"{name} must be at most {most} from study {first_study} on, got {studies}"]


@says_what_it_takes("bench.Budget", ELSEWHERE)
@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every contender gets on every problem.

    Attributes:
        steps: training steps of each trial; by default each problem's own.
        axis: what trials have the same of: steps, gradients, examples or seconds. What that is follows from `steps`: so
            much is spent by one gradient a step on batches of the problem's own size, and in seconds by the first
            contender. A contender whose steps cost more makes fewer: as many as spend no more, a multiple of the
            evaluations. Where the cost of steps varies, as with a line search, curves end at the last evaluation within
            the budget. Seconds are warm step times, measured side by side before anything is trained, and kept.
        evaluations: points of the curve after step 0; their number divides the steps.
        tuner: where tuning points come from: halton (scrambled), random, grid, optuna (its tree-structured Parzen
            estimator, asked in batches), or zoom (half of the points as halton, the others in boxes around the best
            three, in batches; the best two are then scored again on as many fresh tuning seeds). Zoom pays from about
            32 points on; with few points halton finds more differences at the same cost.
        objective: what tuning looks for: final (the best final value), steps (the fewest to the problem's hardest
            declared target), or area (the best mean of the validation curve after step 0, on the metric's scale). A
            trial that misses the target is worse than any that reaches it; those that miss are ordered by their final
            values. With halving, the area is that up to where a part of the steps ends.
        tuning_points: points tried over a contender's space in each study; where none of this and the next two is
            given 4, or 16 in a single study. A grid has at most so many.
        tuning_points_per_dimension: points tried for each hyperparameter that is tuned, static choices included.
        tuning_seconds: seconds of training that a contender's points may take in a study. Points are drawn until they
            have taken so long, at least one; how many that are depends on the machine.
        tuning_batch: points that optuna or zoom is asked for before it is told how they did.
        grid: hyperparameter -> how many values a grid has along it, for contenders that have it. All studies have the
            same grid, which is part of what is compared; only their seeds differ.
        tuning_seeds: seeds each point is trained on, which are not used again; by default 1, or 2 in a single study.
        studies: how often tuning and judging are repeated, each time with fresh points and seeds. Methods are compared
            over studies; 6 are the fewest that can tell two apart. With 1, only the settings found are compared.
        first_study: the number of the first study. A run whose numbers come after those of another one has other points
            and seeds: a replication.
        halving: successive halving: points are trained for a part of the steps first, and one in so many goes on, to
            a part so many times as long. By default all points are trained to the end.
        seeds: fresh seeds each study's winners are trained on, the same ones for all contenders; by default 2, or 10
            in a single study.
        trial_seconds: how long a trial may train, compilation not counted. It is cut off then, at the next of a few
            moments where it can be; results then depend on the machine. A worker that gives no sign for twice as long
            and ten seconds more is ended, and its trial cut off without a curve. By default there is no limit.

    Raises:
        UserError: for a number below 1, settings that exclude each other, or steps that evaluations do not divide.
    """

    steps: int | None = None
    axis: Axis = "steps"
    evaluations: int = 20
    tuner: str = "halton"
    objective: str = "final"
    tuning_points: int | None = None
    tuning_points_per_dimension: int | None = None
    tuning_seconds: float | None = None
    tuning_batch: int = 4
    grid: Mapping[str, int] = field(default_factory=dict)
    tuning_seeds: int | None = None
    studies: int = 10
    first_study: int = 0
    halving: int | None = None
    seeds: int | None = None
    trial_seconds: float | None = None

    def __post_init__(self) -> None:
        amounts = {name: getattr(self, name) for name in AMOUNTS if getattr(self, name) is not None}
        mistakes = self._wrong_numbers() + self._wrong_tuning(amounts)
        if mistakes:
            raise UserError("\n".join(mistakes))
        if self.steps is not None:
            self.steps_for("the budget", self.steps)

    def _wrong_numbers(self) -> list[str]:
        """What is wrong with single settings."""
        given = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        given = {name: value for name, value in given.items() if name not in SPECIAL}
        grid: Any = self.grid
        if isinstance(grid, Mapping):
            given |= {f"grid.{name}": value for name, value in grid.items()}
        mistakes = [
            f"budget.{name} must be a whole number of at least 1, got {value!r}"
            for name, value in given.items()
            if not (value is None and name in OPTIONAL) and not _is_count(value)
        ]
        if not isinstance(grid, Mapping):
            mistakes.append(f"budget.grid must be a table such as {{learning_rate = 5}}, got {grid!r}")
        if self.tuning_seconds is not None and not (is_number(self.tuning_seconds) and self.tuning_seconds > 0):
            mistakes.append(f"budget.tuning_seconds must be a number above 0, got {self.tuning_seconds!r}")
        if self.trial_seconds is not None and not (is_number(self.trial_seconds) and self.trial_seconds > 0):
            mistakes.append(f"budget.trial_seconds must be a number above 0, got {self.trial_seconds!r}")
        first: Any = self.first_study
        if not isinstance(first, int) or isinstance(first, bool) or not 0 <= first < DRAW_SEEDS:
            mistakes.append(f"budget.first_study must be a whole number from 0 to {DRAW_SEEDS - 1}, got {first!r}")
        elif _is_count(self.studies):
            mistakes += beyond_draws("budget.studies", first, self.studies)
        if self.tuner not in TUNERS:
            mistakes.append(f"budget.tuner: no tuner {self.tuner!r}; {nearest(str(self.tuner), TUNERS)}")
        if self.objective not in OBJECTIVES:
            words = nearest(str(self.objective), OBJECTIVES)
            mistakes.append(f"budget.objective: no objective {self.objective!r}; {words}")
        if self.axis not in AXES:
            mistakes.append(f"budget.axis: no axis {self.axis!r}; {nearest(str(self.axis), AXES)}")
        most = STUDY_SEEDS // 2 if self.tuner == "zoom" else STUDY_SEEDS  # zoom's best points get as many once more
        for name, limit in (("tuning_seeds", most), ("seeds", STUDY_SEEDS)):
            value = getattr(self, name)
            if _is_count(value) and value > limit:
                mistakes.append(f"budget.{name} must be at most {limit}, got {value}")
        if self.halving == 1:
            mistakes.append("budget.halving must be at least 2: the next rung has one in so many points, got 1")
        return mistakes

    def _wrong_tuning(self, amounts: Mapping[str, Any]) -> list[str]:
        """What is wrong with settings together."""
        mistakes = []
        if len(amounts) > 1:
            given = ", ".join(f"{name} = {value}" for name, value in amounts.items())
            mistakes.append(f"budget: give one of {', '.join(AMOUNTS)}, not {given}")
        if self.grid and self.tuner != "grid":
            mistakes.append(f"budget.grid is for tuner 'grid', not for tuner {self.tuner!r}; leave one of them out")
        if self.tuner == "grid" and self.tuning_seconds is not None:
            mistakes.append("budget: a grid is laid before anything runs; give tuning_points, not tuning_seconds")
        if self.tuner == "zoom" and self.tuning_seconds is not None:
            mistakes.append("budget: zoom spreads half of its points first; give tuning_points, not tuning_seconds")
        if self.halving is not None and self.objective == "steps":
            mistakes.append(
                "budget: steps to the target need trials of full length; leave out halving, or give objective 'area'"
            )
        if self.halving is not None and (self.tuner in ADAPTIVE or self.tuning_seconds is not None):
            other = f"tuner '{self.tuner}'" if self.tuner in ADAPTIVE else "tuning_seconds"
            mistakes.append(f"budget: halving needs all points before any is trained; leave out halving or {other}")
        return mistakes

    def filled(self) -> "Budget":
        """Returns this budget with numbers for what it leaves open: they depend on whether there are several studies.

        It leaves them open until then, so that ``replace(budget, studies=1)`` means the defaults of a single study.
        """
        points, tuning_seeds, seeds = OF_EACH_STUDY if self.studies > 1 else OF_ONE_STUDY
        is_open = all(getattr(self, name) is None for name in AMOUNTS)
        return replace(
            self,
            tuning_points=points if is_open else self.tuning_points,
            tuning_seeds=tuning_seeds if self.tuning_seeds is None else self.tuning_seeds,
            seeds=seeds if self.seeds is None else self.seeds,
        )

    def steps_for(self, owner: str, default: int) -> int:
        """Returns the steps of a trial, checked against `evaluations`.

        Raises:
            UserError: if evaluations do not divide the steps; segments must have one length to compile once.
        """
        steps = default if self.steps is None else self.steps
        if steps % self.evaluations:
            below = max(steps // self.evaluations, 1) * self.evaluations
            raise UserError(
                f"{owner}: {steps} steps cannot be cut into {self.evaluations} equal evaluations; "
                f"use {below} or {below + self.evaluations} steps, or other evaluations"
            )
        return steps
