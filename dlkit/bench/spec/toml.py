"""Reads an experiment from TOML, strictly: every mistake is named at once, with its file and key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.identity.references import imports_anew, is_import
from dlkit.bench.optimizers import get as get_optimizer
from dlkit.bench.optimizers import load_plugin
from dlkit.bench.optimizers.schedules import get as get_schedule
from dlkit.bench.plan.policies import EarlyStopping, Settling, TargetRule
from dlkit.bench.plan.space import is_number
from dlkit.bench.plan.trials import require_order
from dlkit.bench.probes import Probe
from dlkit.bench.probes import load as load_probe
from dlkit.bench.problems import maker as find_maker
from dlkit.bench.spec.budget import Budget
from dlkit.bench.spec.entries import Contender, Experiment, ProblemChoice, unknown_factor
from dlkit.bench.spec.given import briefly, problem_given
from dlkit.bench.spec.kinds import KEEPS
from dlkit.bench.spec.overrides import marked, overridden
from dlkit.bench.spec.plain_toml import read_toml
from dlkit.bench.spec.words import elsewhere

__all__ = ["load"]

KINDS = {
    bool: "true or false",
    dict: "a table",
    float: "a finite number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


class _Reader:
    """Collects every mistake of a spec file, each with the file and the key's path."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[str] = []

    def mistake(self, path: str, text: str) -> None:
        """Notes a mistake; a text of several lines is several mistakes."""
        where = f"{self.file}: {path}" if path else self.file
        self.mistakes += [f"{where}: {line}" for line in text.splitlines()]

    def keys(
        self, table: Mapping[str, Any], path: str, valid: Sequence[str], required: Sequence[str] = (), owner: str = ""
    ) -> None:
        """Notes unknown and missing keys of a table; an owner, as of `elsewhere`, knows where they stand instead."""
        for key in table:
            if key not in valid:
                start = f"{path}." if path else ""
                hint = elsewhere(key, owner, valid, toml=True) if owner else nearest(key, valid)
                hint = hint.replace("did you mean '", f"did you mean '{start}")
                self.mistakes.append(f"{self.file}: unknown key '{start}{key}'; {hint}")
        for key in required:
            if key not in table:
                self.mistake(path, f"missing key '{key}'")

    def value(self, table: Mapping[str, Any], path: str, key: str, kind: type, default: Any = None) -> Any:
        """Returns a value of the right type, or notes what it is instead."""
        if key not in table:
            return default
        value = table[key]
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and kind is not bool) or (kind is float and not is_number(value)):
            written = f"; write {key} = {self._written(value, kind)}" if kind in (list, int) else ""
            written = written if self._written(value, kind) else ""
            self.mistake(f"{path}.{key}" if path else key, f"expected {KINDS[kind]}, got {value!r}{written}")
            return default
        return float(value) if kind is float else value

    @staticmethod
    def _written(value: Any, kind: type) -> str:
        """How a value of another type is written; empty where it cannot be known."""
        if kind is list and isinstance(value, str):
            return f'["{value}"]'
        if kind is int and isinstance(value, float) and value.is_integer():
            return str(int(value))
        return value if kind is int and isinstance(value, str) and value.isdecimal() else ""

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

    def problem(self, item: Any, path: str) -> ProblemChoice | None:
        if isinstance(item, str):
            item = {"problem": item}
        if not isinstance(item, dict):
            self.mistake(path, f"expected a name or a table such as {{problem = 'quadratic'}}, got {item!r}")
            return None
        self.keys(item, path, [f.name for f in fields(ProblemChoice)], ["problem"], "problem")
        name = self.value(item, path, "problem", str)
        maker = (
            self.attempt(path, lambda: find_maker(problem_given(name), folder=Path(self.file).parent)) if name else None
        )
        if maker is None:
            return None
        entry = ProblemChoice(
            problem=maker if is_import(name) else name,
            label=self.value(item, path, "label", str, ""),
            choices=self.choices(item, path, lists=False),
            steps=self.value(item, path, "steps", int),
            batch_size=self.batch_size(item, path),
            order=self.order(item, path),
            metric=self.value(item, path, "metric", str),
            target=self.targets_of(item, path),
            diverged_above=self.value(item, path, "diverged_above", float),
            margin=self.value(item, path, "margin", float),
            devices=self.value(item, path, "devices", int),
        )
        made = ProblemChoice(problem=entry.problem, choices=entry.choices)
        problem = self.attempt(f"{path}.choices" if entry.choices else path, made.load)
        for key in ("steps", "batch_size", "metric") if problem else ():
            self.attempt(f"{path}.{key}", partial(problem.variant, **{key: getattr(entry, key)}))
        if problem and entry.devices is not None:  # which has to divide the batch size
            sized = partial(problem.variant, batch_size=entry.batch_size, devices=entry.devices)
            self.attempt(f"{path}.devices", sized)
        return entry if problem else None

    def choices(self, item: Mapping[str, Any], path: str, *, lists: bool) -> dict[str, Any]:
        """Returns choices of problems: numbers, texts and truth values, and where it makes sense lists of them."""
        given = self.value(item, path, "choices", dict, {})
        return {
            key: value for key, value in given.items() if self.is_choice(value, f"{path}.choices.{key}", lists=lists)
        }

    def is_choice(self, value: Any, path: str, *, lists: bool) -> bool:
        """Notes a value that no choice can have."""
        plain = value if isinstance(value, list) and lists else [value]
        if all(isinstance(each, str | bool) or is_number(each) for each in plain):
            return True
        self.mistake(path, f"expected a number, a text, true or false{', or a list of them' * lists}, got {value!r}")
        return False

    def optimizer(self, item: Any, path: str) -> Contender | None:
        if isinstance(item, str):
            item = {"optimizer": item}
        if not isinstance(item, dict):
            self.mistake(path, f"expected a name or a table such as {{optimizer = 'adam'}}, got {item!r}")
            return None
        self.keys(item, path, [f.name for f in fields(Contender)], ["optimizer"], "optimizer")
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
            "order": self.order(item, path),
            "early_stopping": self.early_stopping(item, path),
            "choices": self.choices(item, path, lists=True),
            "draw": self.value(item, path, "draw", int, 0),
            "problems": self.names(item, path, "problems"),
        }
        if usage["draw"] < 0:
            self.mistake(f"{path}.draw", f"expected a whole number of at least 0, got {usage['draw']}")
            return None
        entry = Contender(optimizer=name, label=label, space=space, static=static, **usage)
        schedule = self.attempt(f"{path}.schedule", entry.load_schedule)
        if schedule is None:
            return None
        if is_import(name):
            own = {key: value for key, value in space.items() if key not in schedule.space}
            plugin = self.attempt(path, lambda: load_plugin(name, own, static, folder=Path(self.file).parent))
            if plugin is None:
                return None
            settings = {key: value for key, value in space.items() if key in schedule.space}
            return Contender(optimizer=plugin, label=label, space=settings, **usage)
        if self.attempt(path, lambda: get_optimizer(name)) is None:
            return None
        self.attempt(f"{path}.space", replace(entry, static={}).load)
        self.attempt(f"{path}.static", replace(entry, space={}).load)
        return entry

    def names(self, table: Mapping[str, Any], path: str, key: str) -> tuple[str, ...] | None:
        """Returns a list of names, at least one; None where nothing is said of it."""
        given = self.value(table, path, key, list)
        if given == []:
            self.mistake(f"{path}.{key}", "the list is empty; name at least one, or leave it out for all")
        read = [self.value({f"{key}[{i}]": each}, path, f"{key}[{i}]", str) for i, each in enumerate(given or ())]
        return tuple(each for each in read if each is not None) or None

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

    def settling(self, table: Mapping[str, Any]) -> Settling | None:
        given = self.value(table, "", "settling", dict)
        if given is None:
            return None
        before = len(self.mistakes)
        self.keys(given, "settling", [setting.name for setting in fields(Settling)])
        read = {
            "max_studies": self.value(given, "settling", "max_studies", int, Settling.max_studies),
            "max_seeds": self.value(given, "settling", "max_seeds", int, Settling.max_seeds),
            "margin": self.value(given, "settling", "margin", float),
        }
        return None if len(self.mistakes) > before else self.attempt("", lambda: Settling(**read))

    def budget(self, table: Mapping[str, Any]) -> Budget | None:
        given = self.value(table, "", "budget", dict, {})
        names = [setting.name for setting in fields(Budget)]
        self.keys(given, "budget", names, owner="budget")
        kinds = {
            "axis": str,
            "tuner": str,
            "objective": str,
            "tuning_seconds": float,
            "trial_seconds": float,
            "grid": dict,
        }
        read = {name: self.value(given, "budget", name, kinds.get(name, int)) for name in names}
        made: Budget | None = self.attempt(
            "", lambda: Budget(**{name: value for name, value in read.items() if value is not None})
        )
        return made

    def batch_size(self, item: Mapping[str, Any], path: str) -> Any:
        """Returns a whole number or "full"."""
        if item.get("batch_size") == "full":
            return "full"
        return self.value(item, path, "batch_size", int)

    def order(self, item: Mapping[str, Any], path: str, key: str = "order") -> Any:
        """Returns how batches are drawn, None where nothing is said of it."""
        given = self.value(item, path, key, str)
        return None if given is None else self.attempt(f"{path}.{key}", partial(require_order, given))

    def probe(self, item: Any, path: str) -> str | Probe | None:
        if not isinstance(item, str):
            self.mistake(path, f"expected a probe's name, got {item!r}")
            return None
        found: Probe | None = self.attempt(path, lambda: load_probe(item, folder=Path(self.file).parent))
        return item if found is not None and not is_import(item) else found

    def early_stopping(self, item: Mapping[str, Any], path: str, key: str = "early_stopping") -> Any:
        """Returns a policy, or false for none."""
        here = f"{path}.{key}" if path else key
        if item.get(key) is False:
            return False
        table = self.value(item, path, key, dict)
        if table is None:
            return None
        before = len(self.mistakes)
        self.keys(table, here, [f.name for f in fields(EarlyStopping)], ["patience"])
        numbers = {
            "patience": self.value(table, here, "patience", int, 1),
            "min_delta": self.value(table, here, "min_delta", float, 0.0),
            "metric": self.value(table, here, "metric", str, ""),
        }
        return None if len(self.mistakes) > before else self.attempt(here, lambda: EarlyStopping(**numbers))

    def factors(self, table: Mapping[str, Any], problems: Sequence[ProblemChoice]) -> dict[str, list[Any]]:
        """Reads what every optimizer is crossed with."""
        given = self.value(table, "", "factors", dict, {})
        read: dict[str, list[Any]] = {}
        for name in given:
            self.mistakes += [f"{self.file}: {mistake}" for mistake in unknown_factor(name, problems)]
            values = self.value(given, "factors", name, list, [])
            if given[name] == []:
                self.mistake(f"factors.{name}", "the list is empty; name at least one")
            read[name] = [self.factor(name, value, i) for i, value in enumerate(values)]
        return read

    def factor(self, name: str, value: Any, i: int) -> Any:
        """Reads one value of a factor."""
        here, path = f"{name}[{i}]", f"factors.{name}[{i}]"
        if name == "batch_size":
            return "full" if value == "full" else self.value({here: value}, "factors", here, int)
        if name == "order":
            return self.order({here: value}, "factors", here)
        if name == "early_stopping":
            return self.early_stopping({here: value}, "factors", here)
        if name != "schedule":
            return value if self.is_choice(value, path, lists=True) else None
        schedule = self.value({here: value}, "factors", here, str)
        if schedule is not None:
            self.attempt(path, partial(get_schedule, schedule))
        return schedule


@imports_anew()
def load(path: str | Path, *, settings: Sequence[str] = ()) -> Experiment:
    """Reads an experiment from a TOML file. The Python files that it names are run, each once.

    Args:
        path: the file.
        settings: ``"KEY=VALUE"`` in the place of what the file says, such as ``"problems.0.steps=100"``; see
            `overrides`.

    Returns:
        The experiment; its name is the file's `name`, or the name of the file's folder.

    Raises:
        UserError: with every mistake of the file, one a line: unknown keys and names with the nearest valid one, wrong
            types, empty lists, numbers out of range.
    """
    if not isinstance(path, str | Path):
        raise UserError(f"expected the path of a spec file, got {briefly(path)}; in Python it is bench.Experiment(...)")
    path = Path(path)
    try:
        table = overridden(read_toml(path), settings)
    except UserError:
        raise
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
    reader.keys(table, "", names, ["problems", "optimizers"], "experiment")
    early_stopping = reader.early_stopping(table, "") or None
    targets = reader.target_rule(table)
    probes = reader.entries(table, "probes", reader.probe) if "probes" in table else ()
    budget = reader.budget(table)
    settling = reader.settling(table)
    expand = reader.value(table, "", "expand", bool, False)
    timing = reader.value(table, "", "timing", bool, False)
    keep = reader.value(table, "", "keep", str, "nothing")
    if keep not in KEEPS:
        reader.mistake("keep", f"no choice {keep!r}; {nearest(keep, KEEPS)}")
    name = reader.value(table, "", "name", str, path.resolve().parent.name)
    if not name or not name.isprintable() or Path(name).name != name or name.startswith("."):
        reader.mistake("name", f"expected a plain name for the run's folder, got {name!r}")
    problems = reader.entries(table, "problems", reader.problem)
    factors = reader.factors(table, problems)
    optimizers = reader.entries(table, "optimizers", reader.optimizer)
    if reader.mistakes or budget is None:
        raise UserError(marked("\n".join(reader.mistakes), settings))
    return Experiment(
        name=name,
        problems=problems,
        optimizers=optimizers,
        budget=budget,
        factors=factors,
        early_stopping=early_stopping,
        probes=probes,
        targets=targets,
        settling=settling,
        expand=expand,
        timing=timing,
        keep=keep,
        resources=reader.value(table, "", "resources", dict, {}),
    )
