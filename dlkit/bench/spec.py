"""What an experiment asks: problems, optimizers, budget; read strictly from TOML, every mistake named at once."""

import difflib
import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

from dlkit.bench.batches import STUDY_SEEDS
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers import Optimizer, is_plugin, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.plans import TargetRule
from dlkit.bench.probes import get as get_probe
from dlkit.bench.problems import PROBLEMS, Problem, catalog
from dlkit.bench.recipes import EarlyStopping
from dlkit.bench.schedules import CONSTANT, Schedule
from dlkit.bench.schedules import get as get_schedule
from dlkit.bench.space import is_number, narrow
from dlkit.bench.tuners import TUNERS

__all__ = ["AMOUNTS", "Budget", "Experiment", "OptimizerEntry", "ProblemEntry", "load"]

AMOUNTS = ("tuning_points", "tuning_points_per_dimension", "tuning_seconds")  # of a budget, which has one of them
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


FACTORS = ("schedule", "batch_size")


class _Reader:
    """Collects every mistake of a spec file, each with the file and the key's path."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[str] = []

    def mistake(self, path: str, text: str) -> None:
        """Notes a mistake; a text of several lines is several mistakes."""
        where = f"{self.file}: {path}" if path else self.file
        self.mistakes += [f"{where}: {line}" for line in text.splitlines()]

    def keys(self, table: Mapping[str, Any], path: str, valid: Sequence[str], required: Sequence[str] = ()) -> None:
        """Notes unknown and missing keys of a table."""
        for key in table:
            if key not in valid:
                here = f"{path}.{key}" if path else key
                close = difflib.get_close_matches(key, valid, n=1)
                fix = (
                    f"did you mean '{path + '.' if path else ''}{close[0]}'?" if close else f"expected {_listed(valid)}"
                )
                self.mistakes.append(f"{self.file}: unknown key '{here}'; {fix}")
        for key in required:
            if key not in table:
                self.mistake(path, f"missing key '{key}'")

    def value(self, table: Mapping[str, Any], path: str, key: str, kind: type, default: Any = None) -> Any:
        """Returns a value of the right type, or notes what it is instead."""
        if key not in table:
            return default
        value = table[key]
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or isinstance(value, bool) or (kind is float and not is_number(value)):
            words = {str: "a text", int: "a whole number", float: "a finite number", dict: "a table", list: "a list"}
            self.mistake(f"{path}.{key}" if path else key, f"expected {words[kind]}, got {value!r}")
            return default
        return float(value) if kind is float else value

    def entries(self, table: Mapping[str, Any], key: str, build: Callable[[Any, str], Any]) -> tuple[Any, ...]:
        """Reads a list whose items are names or tables."""
        items = self.value(table, "", key, list, [])
        if key in table and isinstance(table[key], list) and not items:
            self.mistake(key, "the list is empty; name at least one")
        return tuple(entry for i, item in enumerate(items) if (entry := build(item, f"{key}[{i}]")) is not None)

    def attempt(self, path: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` returns, or notes the mistake it raises."""
        try:
            return make()
        except UserError as error:
            self.mistake(path, str(error))
            return None

    def problem(self, item: Any, path: str) -> ProblemEntry | None:
        if isinstance(item, str):
            item = {"problem": item}
        if not isinstance(item, dict):
            self.mistake(path, f"expected a name or a table such as {{problem = 'quadratic'}}, got {item!r}")
            return None
        self.keys(item, path, [f.name for f in fields(ProblemEntry)], ["problem"])
        name = self.value(item, path, "problem", str)
        if name is None:
            return None
        if name not in PROBLEMS:
            self.mistake(path, f"no problem '{name}'; {nearest(name, PROBLEMS)}")
            return None
        entry = ProblemEntry(
            problem=name,
            steps=self.value(item, path, "steps", int),
            batch_size=self.batch_size(item, path),
            metric=self.value(item, path, "metric", str),
            target=self.targets_of(item, path),
            diverged_above=self.value(item, path, "diverged_above", float),
        )
        problem = catalog.get(name)
        for key in ("steps", "batch_size", "metric"):
            self.attempt(f"{path}.{key}", partial(problem.variant, **{key: getattr(entry, key)}))
        return entry

    def optimizer(self, item: Any, path: str) -> OptimizerEntry | None:
        if isinstance(item, str):
            item = {"optimizer": item}
        if not isinstance(item, dict):
            self.mistake(path, f"expected a name or a table such as {{optimizer = 'adam'}}, got {item!r}")
            return None
        self.keys(item, path, [f.name for f in fields(OptimizerEntry)], ["optimizer"])
        name = self.value(item, path, "optimizer", str)
        if name is None:
            return None
        label = self.value(item, path, "label", str, "")
        space = self.value(item, path, "space", dict, {})
        static = {
            key: choices if isinstance(choices, list) else [choices]
            for key, choices in self.value(item, path, "static", dict, {}).items()
        }
        usage: dict[str, Any] = {
            "schedule": self.value(item, path, "schedule", str),
            "batch_size": self.batch_size(item, path),
            "early_stopping": self.early_stopping(item, path),
        }
        entry = OptimizerEntry(optimizer=name, label=label, space=space, static=static, **usage)
        schedule = self.attempt(f"{path}.schedule", entry.load_schedule)
        if schedule is None:
            return None
        if is_plugin(name):
            own = {key: value for key, value in space.items() if key not in schedule.space}
            plugin = self.attempt(path, lambda: load_plugin(name, own, static, folder=Path(self.file).parent))
            if plugin is None:
                return None
            settings = {key: value for key, value in space.items() if key in schedule.space}
            return OptimizerEntry(optimizer=plugin, label=label, space=settings, **usage)
        if self.attempt(path, lambda: get_optimizer(name)) is None:
            return None
        self.attempt(f"{path}.space", replace(entry, static={}).load)
        self.attempt(f"{path}.static", replace(entry, space={}).load)
        return entry

    def targets_of(self, item: Mapping[str, Any], path: str) -> Any:
        """Returns a finite number, or a list of them."""
        if not isinstance(item.get("target"), list):
            return self.value(item, path, "target", float)
        return self.numbers(item, path, "target") or None

    def numbers(self, table: Mapping[str, Any], path: str, key: str) -> list[float]:
        """Returns a list of finite numbers, at least one."""
        values = self.value(table, path, key, list, [])
        if not values:
            self.mistake(f"{path}.{key}", "the list is empty; name at least one")
        read = [self.value({f"{key}[{i}]": value}, path, f"{key}[{i}]", float) for i, value in enumerate(values)]
        return [value for value in read if value is not None]

    def target_rule(self, table: Mapping[str, Any]) -> TargetRule | None:
        given = self.value(table, "", "targets", dict)
        if given is None:
            return None
        before = len(self.mistakes)
        self.keys(given, "targets", [setting.name for setting in fields(TargetRule)])
        read: dict[str, Any] = {"reruns": self.value(given, "targets", "reruns", int, TargetRule.reruns)}
        if "baselines" in given:
            labels = self.value(given, "targets", "baselines", list, [])
            read["baselines"] = tuple(
                self.value({f"baselines[{i}]": label}, "targets", f"baselines[{i}]", str, "")
                for i, label in enumerate(labels)
            )
        if "shares" in given:
            read["shares"] = tuple(self.numbers(given, "targets", "shares"))
        return None if len(self.mistakes) > before else self.attempt("", lambda: TargetRule(**read))

    def batch_size(self, item: Mapping[str, Any], path: str) -> Any:
        """Returns a whole number or "full"."""
        if item.get("batch_size") == "full":
            return "full"
        return self.value(item, path, "batch_size", int)

    def probe(self, item: Any, path: str) -> str | None:
        if not isinstance(item, str):
            self.mistake(path, f"expected a probe's name, got {item!r}")
            return None
        return None if self.attempt(path, lambda: get_probe(item)) is None else item

    def early_stopping(self, item: Mapping[str, Any], path: str) -> EarlyStopping | None:
        here = f"{path}.early_stopping" if path else "early_stopping"
        table = self.value(item, path, "early_stopping", dict)
        if table is None:
            return None
        before = len(self.mistakes)
        self.keys(table, here, [f.name for f in fields(EarlyStopping)], ["patience"])
        numbers = {
            "patience": self.value(table, here, "patience", int, 1),
            "min_delta": self.value(table, here, "min_delta", float, 0.0),
            "metric": self.value(table, here, "metric", str, ""),
        }
        return None if len(self.mistakes) > before else self.attempt(path, lambda: EarlyStopping(**numbers))

    def factors(self, table: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Reads what every optimizer is crossed with."""
        given = self.value(table, "", "factors", dict, {})
        self.keys(given, "factors", FACTORS)
        read: dict[str, list[Any]] = {}
        for name in (each for each in FACTORS if each in given):
            values = self.value(given, "factors", name, list, [])
            if not values:
                self.mistake(f"factors.{name}", "the list is empty; name at least one")
            kind = str if name == "schedule" else int
            read[name] = [
                "full"
                if kind is int and value == "full"
                else self.value({str(i): value}, f"factors.{name}", str(i), kind)
                for i, value in enumerate(values)
            ]
            for i, value in enumerate(read[name] if name == "schedule" else ()):
                if value is not None:
                    self.attempt(f"factors.schedule[{i}]", partial(get_schedule, value))
        return read


def _listed(names: Sequence[str]) -> str:
    return "one of " + ", ".join(f"'{name}'" for name in names)


def _not_called(value: Any) -> str:
    """A hint for a function where what it returns was meant."""
    return f"; call it: {value.__name__}()" if isinstance(value, FunctionType) else ""


def load(path: str | Path) -> Experiment:
    """Reads an experiment from a TOML file.

    Args:
        path: the file.

    Returns:
        The experiment; its name is the file's `name`, or the name of the file's folder.

    Raises:
        UserError: with every mistake of the file, one a line: unknown keys and names with the nearest valid one, wrong
            types, empty lists, numbers out of range.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; give the path of a spec, such as experiments/quickstart/spec.toml"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give the path of a spec file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    reader = _Reader(str(path))
    names = [setting.name for setting in fields(Experiment)]
    reader.keys(table, "", names, ["problems", "optimizers"])
    factors = reader.factors(table)
    early_stopping = reader.early_stopping(table, "")
    targets = reader.target_rule(table)
    probes = reader.entries(table, "probes", reader.probe) if "probes" in table else ()
    settings = reader.value(table, "", "budget", dict, {})
    budget_names = [setting.name for setting in fields(Budget)]
    reader.keys(settings, "budget", budget_names)
    kinds = {"tuner": str, "tuning_seconds": float, "trial_seconds": float, "grid": dict}
    given = {name: reader.value(settings, "budget", name, kinds.get(name, int)) for name in budget_names}
    budget = reader.attempt("", lambda: Budget(**{name: value for name, value in given.items() if value is not None}))
    name = reader.value(table, "", "name", str, path.resolve().parent.name)
    if not name or not name.isprintable() or Path(name).name != name or name.startswith("."):
        reader.mistake("name", f"expected a plain name for the run's folder, got {name!r}")
    problems = reader.entries(table, "problems", reader.problem)
    optimizers = reader.entries(table, "optimizers", reader.optimizer)
    if reader.mistakes:
        raise UserError("\n".join(reader.mistakes))
    return Experiment(
        name=name,
        problems=problems,
        optimizers=optimizers,
        budget=budget,
        factors=factors,
        early_stopping=early_stopping,
        probes=probes,
        targets=targets,
    )
