"""What an experiment asks: problems, optimizers, budget; read strictly from TOML, every mistake named at once."""

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.optimizers import Optimizer, is_plugin, load_plugin
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.problems import PROBLEMS, Problem, catalog
from dlkit.bench.space import is_number, narrow

__all__ = ["Budget", "Experiment", "OptimizerEntry", "ProblemEntry", "load"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every contender gets on every problem.

    Attributes:
        steps: training steps of a trial; None for each problem's own default.
        evaluations: points of the curve after step 0; divides `steps`.
        tuning_points: Halton points over the contender's space.
        tuning_seeds: seeds each point is trained on; they are not used again.
        seeds: fresh seeds the winner is trained on, the same ones for every contender.

    Raises:
        UserError: for a number below 1, or steps that evaluations do not divide.
    """

    steps: int | None = None
    evaluations: int = 20
    tuning_points: int = 16
    tuning_seeds: int = 2
    seeds: int = 10

    def __post_init__(self) -> None:
        given = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        if self.steps is None:
            del given["steps"]
        mistakes = [
            f"budget.{name} must be a whole number of at least 1, got {value!r}"
            for name, value in given.items()
            if not isinstance(value, int) or isinstance(value, bool) or value < 1
        ]
        if mistakes:
            raise UserError("\n".join(mistakes))
        if self.steps is not None:
            self.steps_for("the budget", self.steps)

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
        batch_size: examples a step.
        metric: what is tuned, ranked and compared.
        target: the value of the metric that steps to target count to.
    """

    problem: str | Problem
    steps: int | None = None
    batch_size: int | None = None
    metric: str | None = None
    target: float | None = None

    def load(self) -> Problem:
        """Returns the problem with this entry's choices.

        Raises:
            UserError: for an unknown name, or a choice that does not fit the problem.
        """
        problem = catalog.get(self.problem) if isinstance(self.problem, str) else self.problem
        if not isinstance(problem, Problem):
            raise UserError(f"expected a problem's name or a Problem, got {problem!r}{_not_called(problem)}")
        return problem.variant(steps=self.steps, batch_size=self.batch_size, metric=self.metric, target=self.target)


@dataclass(frozen=True, kw_only=True)
class OptimizerEntry:
    """An optimizer of an experiment: a name of the registry or one's own, and changes to its space.

    Attributes:
        optimizer: a registered name, with wrappers if wanted (``"adam+clip"``); or the function of another package or
            file (``"package.module:function"``, ``"file.py:function"``), which needs a space; or an `Optimizer`.
        label: how tables call it; the optimizer's name if empty.
        space: hyperparameter -> a fixed number, [low, high], or [low, high, scale].
        static: hyperparameter -> the choices to tune over, each compiled on its own.
    """

    optimizer: str | Optimizer
    label: str = ""
    space: Mapping[str, float | Sequence[Any]] = field(default_factory=dict)
    static: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def load(self) -> Optimizer:
        """Returns the optimizer with this entry's space.

        Raises:
            UserError: for an unknown name, or a space or choices that do not fit the optimizer.
        """
        if isinstance(self.optimizer, str) and is_plugin(self.optimizer):
            return load_plugin(self.optimizer, self.space, self.static)
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
        space = narrow(optimizer.space, self.space, owner=owner)
        return replace(optimizer, space=space, static={**optimizer.static, **self.static})


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A comparison: every optimizer on every problem with one budget.

    Attributes:
        name: of the run's folder.
        problems: at least one.
        optimizers: at least one; the first is the baseline that sets targets where a problem has none.
        budget: the same for all.
    """

    name: str
    problems: tuple[ProblemEntry, ...]
    optimizers: tuple[OptimizerEntry, ...]
    budget: Budget = Budget()


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
            batch_size=self.value(item, path, "batch_size", int),
            metric=self.value(item, path, "metric", str),
            target=self.value(item, path, "target", float),
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
        if is_plugin(name):
            plugin = self.attempt(path, lambda: load_plugin(name, space, static, folder=Path(self.file).parent))
            return None if plugin is None else OptimizerEntry(optimizer=plugin, label=label)
        if self.attempt(path, lambda: get_optimizer(name)) is None:
            return None
        entry = OptimizerEntry(optimizer=name, label=label, space=space, static=static)
        self.attempt(f"{path}.space", replace(entry, static={}).load)
        self.attempt(f"{path}.static", replace(entry, space={}).load)
        return entry


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
    settings = reader.value(table, "", "budget", dict, {})
    reader.keys(settings, "budget", [setting.name for setting in fields(Budget)])
    numbers = {f.name: reader.value(settings, "budget", f.name, int, f.default) for f in fields(Budget)}
    budget = reader.attempt("", lambda: Budget(**numbers))
    name = reader.value(table, "", "name", str, path.resolve().parent.name)
    if not name or not name.isprintable() or Path(name).name != name or name.startswith("."):
        reader.mistake("name", f"expected a plain name for the run's folder, got {name!r}")
    problems = reader.entries(table, "problems", reader.problem)
    optimizers = reader.entries(table, "optimizers", reader.optimizer)
    if reader.mistakes:
        raise UserError("\n".join(reader.mistakes))
    return Experiment(name=name, problems=problems, optimizers=optimizers, budget=budget)
