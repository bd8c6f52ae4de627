"""A problem as a function of its choices: checks the choices, tells which may be traced, and makes the problem."""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.plan.space import Range, Space, is_number, narrow
from dlkit.bench.problems.base import Problem
from dlkit.typing import Scalar

__all__ = ["REQUIRED", "ChosenValues", "Make", "ProblemFactory"]

Make = Callable[..., Problem]
KEPT = 64  # problems that a factory keeps: they hold their data
REQUIRED = inspect.Parameter.empty  # in place of the default of a choice that must be given


@dataclass(frozen=True)
class ChosenValues:
    """A contender's choices, by how they are carried out.

    Attributes:
        fixed: choice -> value, compiled in.
        space: choice -> range or number, traced: one executable serves all values.
        static: choice -> values to tune over, each compiled on its own.
    """

    fixed: Mapping[str, Any]
    space: Space
    static: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class ProblemFactory:
    """A problem as a function of its choices. It keeps the problems that it made last.

    A function of the user's own may give another problem when what it reads has changed: a run makes its own factory.
    What a choice names on the disk is read again when it has changed there.

    Attributes:
        name: how messages call it.
        function: takes every choice by name. Those annotated `dlkit.typing.Scalar` may be traced numbers: penalties and
            rates that decide no shape, and on which the problem's `init`, data and metrics do not depend.
    """

    name: str
    function: Make
    _made: OrderedDict[tuple[tuple[str, Any], ...], tuple[list[Any], Problem]] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def __reduce__(self) -> tuple[type["ProblemFactory"], tuple[str, Make]]:
        return ProblemFactory, (self.name, self.function)  # what was made stays where it was made

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """Choice -> default; `REQUIRED` where one must be given."""
        return {name: each.default for name, each in self._parameters.items()}

    @cached_property
    def tunable(self) -> tuple[str, ...]:
        """The choices that may be traced numbers."""
        kinds = (Scalar, "Scalar")  # the text, where the file postpones its annotations
        return tuple(name for name, each in self._parameters.items() if each.annotation in kinds)

    @cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(self.function).parameters
        by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return {name: each for name, each in parameters.items() if each.kind in by_name}

    def make(self, **choices: Any) -> Problem:
        """Returns the problem with some of its choices: the same object for choices that were among the last.

        Raises:
            UserError: for an unknown choice, with the nearest valid one; for a value of another type or one that the
                problem refuses; for a choice that is missing.
        """
        mistakes = [mistake for key, value in choices.items() if (mistake := self._mistake(key, value))]
        mistakes += [
            f"choice '{key}' must be given: {self.name}({key}=...)"
            for key, default in self.defaults.items()
            if default is REQUIRED and key not in choices
        ]
        if mistakes:
            raise UserError("\n".join(f"problem '{self.name}': {mistake}" for mistake in mistakes))
        given = self._plain(choices)
        chosen = tuple(sorted((key, value) for key, value in given.items() if value != self.defaults[key]))
        stamps = [stamp for key, value in chosen for stamp in _stamps(value, self.defaults[key])]
        if chosen not in self._made or self._made[chosen][0] != stamps:
            self._made[chosen] = stamps, self._called(dict(chosen))
        self._made.move_to_end(chosen)
        if len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[chosen][1]

    def traced(self, **choices: Any) -> Problem:
        """Returns the problem with choices some of which are traced; for use while a program is traced."""
        return self.function(**choices)

    def _called(self, choices: Mapping[str, Any]) -> Problem:
        """What the function makes; says which problem an error belongs to."""
        where = f"problem '{self.name}'"
        try:
            problem: Any = self.function(**choices)
        except ValueError as error:  # of a layer, a loss or a dataset: they say which value is wrong
            text = str(error)
            raise UserError(text if text.startswith(where) else f"{where}: {text}") from error
        except Exception as error:
            raise UserError(f"{where}: raised {type(error).__name__}: {error}") from error
        if not isinstance(problem, Problem):
            raise UserError(f"{where}: the function must return a bench.Problem, got {type(problem).__name__}")
        return problem

    def all_choices(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns every choice with its value: what is given, and defaults that are numbers, texts or truth values."""
        defaults = {key: value for key, value in self.defaults.items() if isinstance(value, str | int | float)}
        return {**defaults, **self._plain(given)}

    def chosen(self, choices: Mapping[str, Any], traced: Collection[str]) -> ChosenValues:
        """Sorts choices by how they are carried out.

        A list is tuned over: as a range where the choice may be traced, ``[low, high]`` or ``[low, high, scale]``, else
        value by value. A number other than 0 is traced where it may be; 0 is left out of the program.

        Args:
            choices: choice -> value, or a list of them.
            traced: which may be traced.

        Returns:
            The choices.

        Raises:
            UserError: for an unknown choice, a value of another type, or bounds that do not make a range.
        """
        fixed: dict[str, Any] = {}
        space: dict[str, Range | float] = {}
        static: dict[str, list[Any]] = {}
        mistakes = []
        for key, value in choices.items():
            values = value if isinstance(value, list | tuple) else [value]
            if isinstance(value, list | tuple) and key in traced:
                try:
                    space |= narrow({key: 0.0}, {key: value}, owner=f"problem '{self.name}'")
                except UserError as error:
                    mistakes.append(str(error).replace("hyperparameter", "choice"))
                continue
            wrong = [text for each in values if (text := self._mistake(key, each))]
            mistakes += [f"problem '{self.name}': {text}" for text in wrong]
            if not wrong and isinstance(value, list | tuple):
                static[key] = [self._plain({key: each})[key] for each in value]
                if not value:
                    mistakes.append(f"problem '{self.name}': choice '{key}' needs at least one value, got []")
            elif not wrong and key in traced and value != 0:
                space[key] = float(value)
            elif not wrong:
                fixed[key] = self._plain({key: value})[key]
        if mistakes:
            raise UserError("\n".join(mistakes))
        return ChosenValues(fixed, space, static)

    def _mistake(self, key: str, value: Any) -> str:
        """What is wrong with a choice; empty if nothing is."""
        if key not in self.defaults:
            return (
                f"no choice '{key}'; {nearest(key, self.defaults)}"
                if self.defaults
                else f"no choice '{key}'; it has none"
            )
        wrong = _wrong_type(value, self._parameters[key])
        return f"choice '{key}' {wrong}, got {value!r}" if wrong else ""

    def _plain(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """Choices with whole numbers as floats where the default is one."""
        return {key: float(value) if isinstance(self.defaults[key], float) else value for key, value in choices.items()}


def _stamps(value: Any, default: Any) -> list[Any]:
    """What changes with the files that a choice names, if it names any: those of a folder count."""
    if not isinstance(value, str) or default not in (REQUIRED, "") or not value:
        return []
    try:
        place = Path(value).expanduser().resolve()
        files = [place, *sorted(place.rglob("*"))]
        found = [(str(file), file.stat()) for file in files if file.exists()]
    except (OSError, RuntimeError, ValueError):  # a text that is no place, a folder that may not be read
        return []
    return [(name, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for name, each in found]


def _wrong_type(value: Any, parameter: inspect.Parameter) -> str:
    """What a value had to be, judged by the default; empty if it is."""
    default = parameter.default
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "must be true or false"
    if isinstance(default, int):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"
    if isinstance(default, float):
        return "" if is_number(value) else "must be a finite number"
    if isinstance(default, str) or (default is REQUIRED and parameter.annotation in (str, "str")):
        return "" if isinstance(value, str) else "must be a text"
    return "" if isinstance(value, str | int | float) else "must be a number, a text, true or false"
