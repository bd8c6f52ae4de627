"""What an experiment asks: problems, contenders, budget."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import FunctionType
from typing import Any, Literal

from dlkit.bench.batches import STUDY_SEEDS
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers import Optimizer, is_plugin, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.problems import Problem, catalog
from dlkit.bench.recipes import EarlyStopping
from dlkit.bench.rules import TargetRule
from dlkit.bench.schedules import CONSTANT, Schedule
from dlkit.bench.schedules import get as get_schedule
from dlkit.bench.space import is_number, narrow
from dlkit.bench.tuners import TUNERS

__all__ = ["AMOUNTS", "FACTORS", "Budget", "Experiment", "OptimizerEntry", "ProblemEntry"]

AMOUNTS = ("tuning_points", "tuning_points_per_dimension", "tuning_seconds")  # of a budget, which has one of them
FACTORS = ("schedule", "batch_size")  # what every optimizer can be crossed with
OPTIONAL = frozenset({"steps", "tuning_points", "tuning_points_per_dimension", "halving"})
SPECIAL = frozenset({"tuner", "tuning_seconds", "trial_seconds", "grid"})  # settings that are no whole numbers


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every contender gets on every problem.

    Attributes:
        steps: training steps of a trial; None for each problem's own default.
        evaluations: points of the curve after step 0; divides `steps`.
        tuner: where tuning points come from: ``"halton"`` (scrambled), ``"random"``, ``"grid"``, or ``"optuna"`` (its
            tree-structured Parzen estimator, asked in batches).
        tuning_points: how many points are tried over the contender's space; 16 if neither this nor one of the next two
            is given. A grid has at most so many.
        tuning_points_per_dimension: how many for each hyperparameter that is tuned, static choices included.
        tuning_seconds: seconds of training that the points of a contender may take on a problem: points are drawn
            until they have taken so long, at least one. How many that are depends on the machine.
        tuning_batch: how many points optuna is asked for before it is told how they did.
        grid: hyperparameter -> how many values a grid has along it, for contenders that have it.
        tuning_seeds: seeds each point is trained on; they are not used again.
        studies: how often tuning is repeated with fresh points and tuning seeds. Tables show the first study, and how
            much the others differ.
        halving: successive halving: points are trained for a part of the steps first, and one in so many goes on, to
            a part so many times as long. None trains all points to the end.
        seeds: fresh seeds the winner is trained on, the same ones for every contender.
        trial_seconds: how long a trial may train, compilation not counted; it is cut off then, at the next of a few
            moments where it can be. Results then depend on the machine. None for no limit.

    Raises:
        UserError: for a number below 1, settings that exclude each other, or steps that evaluations do not divide.
    """

    steps: int | None = None
    evaluations: int = 20
    tuner: str = "halton"
    tuning_points: int | None = None
    tuning_points_per_dimension: int | None = None
    tuning_seconds: float | None = None
    tuning_batch: int = 4
    grid: Mapping[str, int] = field(default_factory=dict)
    tuning_seeds: int = 2
    studies: int = 1
    halving: int | None = None
    seeds: int = 10
    trial_seconds: float | None = None

    def __post_init__(self) -> None:
        amounts = {name: getattr(self, name) for name in AMOUNTS if getattr(self, name) is not None}
        if not amounts:
            object.__setattr__(self, "tuning_points", 16)
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
        if self.tuner not in TUNERS:
            mistakes.append(f"budget.tuner: no tuner {self.tuner!r}; {nearest(str(self.tuner), TUNERS)}")
        if _is_count(self.tuning_seeds) and self.tuning_seeds > STUDY_SEEDS:
            mistakes.append(f"budget.tuning_seeds must be at most {STUDY_SEEDS}, got {self.tuning_seeds}")
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
        if self.halving is not None and (self.tuner == "optuna" or self.tuning_seconds is not None):
            other = "tuner 'optuna'" if self.tuner == "optuna" else "tuning_seconds"
            mistakes.append(f"budget: halving needs all points before any is trained; leave out halving or {other}")
        return mistakes

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


@dataclass(frozen=True, kw_only=True)
class ProblemEntry:
    """A problem of an experiment: a name of the catalogue or one's own, and choices that replace the problem's.

    Attributes:
        problem: a catalogue name, or a `Problem`.
        steps: of its trials, in place of the budget's and the problem's own.
        batch_size: examples a step; ``"full"`` for the whole training split.
        metric: what is tuned, ranked and compared.
        target: the value of the metric that steps to target count to, or several: a ladder. The hardest counts in
            rankings. None for the experiment's rule, or where it has none, the problem's own.
        diverged_above: a training loss beyond which a trial counts as diverged.
    """

    problem: str | Problem
    steps: int | None = None
    batch_size: int | Literal["full"] | None = None
    metric: str | None = None
    target: float | Sequence[float] | None = None
    diverged_above: float | None = None

    def load(self) -> Problem:
        """Returns the problem with this entry's choices.

        Raises:
            UserError: for an unknown name, or a choice that does not fit the problem.
        """
        problem = catalog.get(self.problem) if isinstance(self.problem, str) else self.problem
        if not isinstance(problem, Problem):
            raise UserError(f"expected a problem's name or a Problem, got {problem!r}{_not_called(problem)}")
        changed = problem.variant(
            steps=self.steps, batch_size=self.batch_size, metric=self.metric, diverged_above=self.diverged_above
        )
        goals = self.ladder(changed)
        return changed.variant(target=goals[-1]) if goals else changed

    def ladder(self, problem: Problem) -> tuple[float, ...]:
        """Returns this entry's targets for a problem, the easiest first.

        Raises:
            UserError: for what is no finite number.
        """
        if self.target is None:
            return ()
        goals: Sequence[Any] = self.target if isinstance(self.target, list | tuple) else [self.target]
        if not goals or not all(map(is_number, goals)):
            raise UserError(
                f"problem '{problem.name}': target must be a finite number, or a list of them, got {self.target!r}"
            )
        return tuple(sorted(set(map(float, goals)), reverse=not problem.judged.higher_is_better))


@dataclass(frozen=True, kw_only=True)
class OptimizerEntry:
    """An optimizer of an experiment: a name of the registry or one's own, changes to its space, and how it is used.

    Attributes:
        optimizer: a registered name, with wrappers if wanted (``"adam+clip"``); or the function of another package or
            file (``"package.module:function"``, ``"file.py:function"``), which needs a space; or an `Optimizer`.
        label: how tables call it; made of the optimizer's name and what else is set here if empty.
        space: hyperparameter of the optimizer or setting of the schedule -> a fixed number, [low, high], or [low, high,
            scale].
        static: hyperparameter -> the choices to tune over, each compiled on its own.
        schedule: of the learning rate, a name or a `Schedule`; None for constant.
        batch_size: examples a step, ``"full"`` for the whole training split; None for the problem's own.
        early_stopping: when trials may end early; None for the experiment's policy.
    """

    optimizer: str | Optimizer
    label: str = ""
    space: Mapping[str, float | Sequence[Any]] = field(default_factory=dict)
    static: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    schedule: str | Schedule | None = None
    batch_size: int | Literal["full"] | None = None
    early_stopping: EarlyStopping | None = None

    @property
    def name(self) -> str:
        """How tables call it."""
        if self.label:
            return self.label
        base = self.optimizer if isinstance(self.optimizer, str) else self.optimizer.name
        parts = [_of_factor(factor, getattr(self, factor)) for factor in FACTORS if getattr(self, factor) is not None]
        return _labelled(base, [*parts, *(["early stopping"] if self.early_stopping else [])])

    def load_schedule(self) -> Schedule:
        """Returns the schedule with this entry's settings.

        Raises:
            UserError: for an unknown name, or settings that do not fit.
        """
        schedule = get_schedule(self.schedule) if isinstance(self.schedule, str) else self.schedule or CONSTANT
        if not isinstance(schedule, Schedule):
            raise UserError(f"expected a schedule's name or a bench.Schedule, got {schedule!r}{_not_called(schedule)}")
        own = {name: value for name, value in self.space.items() if name in schedule.space}
        return replace(schedule, space=narrow(schedule.space, own, owner=f"schedule '{schedule.name}'"))

    def load(self) -> Optimizer:
        """Returns the optimizer with this entry's space.

        Raises:
            UserError: for an unknown name, or a space or choices that do not fit the optimizer.
        """
        scheduled = self.load_schedule().space
        overrides = {name: value for name, value in self.space.items() if name not in scheduled}
        if isinstance(self.optimizer, str) and is_plugin(self.optimizer):
            return load_plugin(self.optimizer, overrides, self.static)
        optimizer = get_optimizer(self.optimizer) if isinstance(self.optimizer, str) else self.optimizer
        if not isinstance(optimizer, Optimizer):
            raise UserError(
                f"expected an optimizer's name or an Optimizer, got {optimizer!r}{_not_called(optimizer)}; an optax "
                "function becomes one with bench.Optimizer(name, build, space)"
            )
        owner = f"optimizer '{optimizer.name}'"
        for name in self.static:
            if name not in optimizer.static:
                raise UserError(f"{owner}: no static choice '{name}'; {nearest(name, optimizer.static)}")
        space = narrow(optimizer.space, overrides, owner=owner)
        return replace(optimizer, space=space, static={**optimizer.static, **self.static})


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A comparison: every contender on every problem with one budget.

    Attributes:
        name: of the run's folder.
        problems: at least one.
        optimizers: at least one; the first is the baseline that sets targets where a problem has none.
        budget: the same for all.
        factors: ``"schedule"`` or ``"batch_size"`` -> values to cross every optimizer with that does not set its own.
        early_stopping: the policy of optimizers that have none of their own; None for none.
        probes: names of diagnostics to compute at every point of the final trials' curves.
        targets: how baselines set targets, in place of the problems' own; None for the problems' own, and the first
            contender's where they have none.
    """

    name: str
    problems: tuple[ProblemEntry, ...]
    optimizers: tuple[OptimizerEntry, ...]
    budget: Budget = Budget()
    factors: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    early_stopping: EarlyStopping | None = None
    probes: tuple[str, ...] = ()
    targets: TargetRule | None = None

    def contenders(self) -> list[OptimizerEntry]:
        """Returns every optimizer with every combination of the factors that it leaves open.

        Raises:
            UserError: for a factor that there is not, or one without values.
        """
        mistakes = [
            f"factors: no factor '{name}'; {nearest(name, FACTORS)}" for name in self.factors if name not in FACTORS
        ]
        mistakes += [
            f"factors.{name}: expected a list of at least one value, got {values!r}"
            for name, values in self.factors.items()
            if isinstance(values, str) or not isinstance(values, Sequence) or not values
        ]
        if mistakes:
            raise UserError("\n".join(mistakes))
        return [crossed for entry in self.optimizers for crossed in _crossed(entry, self.factors)]


def _crossed(entry: OptimizerEntry, factors: Mapping[str, Sequence[Any]]) -> Iterator[OptimizerEntry]:
    """An entry with each combination of the factors that it does not set itself."""
    open_factors = {name: values for name, values in factors.items() if getattr(entry, name) is None}
    for combination in itertools.product(*open_factors.values()):
        chosen = dict(zip(open_factors, combination, strict=True))
        label = entry.label and _labelled(entry.label, [_of_factor(*item) for item in chosen.items()])
        yield replace(entry, **chosen, label=label)


def _labelled(base: str, parts: Sequence[str]) -> str:
    return f"{base} ({', '.join(parts)})" if parts else base


def _of_factor(name: str, value: Any) -> str:
    """How labels call a factor's value."""
    if name == "batch_size":
        return "full batch" if value == "full" else f"batch {value}"
    return value if isinstance(value, str) else value.name


def _not_called(value: Any) -> str:
    """A hint for a function where what it returns was meant."""
    return f"; call it: {value.__name__}()" if isinstance(value, FunctionType) else ""
