"""What people give as an optimizer or a problem: turned into one, or told what to write instead."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.errors import UserError
from dlkit.bench.optimizers import OPTIMIZERS, Optimizer
from dlkit.bench.problems import Problem, ProblemFactory, problem_from_dataset

__all__ = ["briefly", "optimizer_given", "problem_given"]

LIBRARIES = ("torch", "keras", "tensorflow", "sklearn", "flax", "equinox", "haiku", "optax", "pandas", "polars", "jax")
DOORS = {  # of models: library -> what makes a problem of one
    "flax": "bench.problem_from_flax(model, dataset, loss)",
    "equinox": "bench.problem_from_equinox(make_model, dataset, loss)",
    "haiku": "bench.problem_from_haiku(model, dataset, loss)",
}
TABLES = (".csv", ".tsv", ".npz", ".npy", ".parquet", ".feather", ".ts", ".arff", ".xlsx", ".json")
FIRST_RANGES = {  # of hyperparameters that nearly every optimizer has, to start from
    "learning_rate": "bench.log_uniform(1e-4, 1.0)",
    "lr": "bench.log_uniform(1e-4, 1.0)",
    "weight_decay": "bench.log_uniform(1e-5, 1e-1)",
    "momentum": "bench.one_minus_log_uniform(0.5, 0.999)",
    "b1": "bench.one_minus_log_uniform(0.5, 0.999)",
    "b2": "bench.one_minus_log_uniform(0.9, 0.9999)",
}


def briefly(value: Any) -> str:
    """Returns a value as a message shows it: short, on one line.

    Example:
        >>> briefly("adam"), briefly([1] * 100)
        ("'adam'", 'a list of 100')
    """
    if isinstance(value, np.ndarray) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isfunction(value) or inspect.isbuiltin(value):
        return "a lambda" if value.__name__ == "<lambda>" else f"the function {value.__name__}"
    text = repr(value)
    if len(text) <= 60 and "\n" not in text and " at 0x" not in text:
        return text
    if isinstance(value, dict | list | tuple | set):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def optimizer_given(given: Any) -> str | Optimizer:
    """Returns an optimizer's name, or an optimizer: what is registered may be given as the function that builds it.

    Args:
        given: a name, an `Optimizer`, or a function of optax that a registered optimizer is built by.

    Raises:
        UserError: for anything else, with what to write.
    """
    if isinstance(given, str | Optimizer):
        return given
    if (registered := _built_by(given)) is not None:
        return registered
    raise UserError(f"expected an optimizer's name or a bench.Optimizer, got {briefly(given)}; {_as_optimizer(given)}")


@cache
def _builders() -> list[tuple[Callable[..., Any], str]]:
    """The functions that build registered optimizers, those first that have the optimizer's name."""
    found = [(each.build, name) for name, each in OPTIMIZERS.items()]
    return sorted(found, key=lambda pair: getattr(pair[0], "__name__", "") != pair[1])


def _built_by(given: Any) -> str | None:
    return next((name for build, name in _builders() if build is given), None)


def _as_optimizer(given: Any) -> str:
    """What to write in place of what is no optimizer."""
    name = str(getattr(given, "__name__", ""))
    library = _library(given)
    if isinstance(given, tuple) and hasattr(given, "init") and hasattr(given, "update"):
        return (
            "it is built, with its learning rate fixed: give the function that builds it, such as optax.adam, or "
            "bench.Optimizer('mine', lambda learning_rate: ..., {'learning_rate': bench.log_uniform(1e-4, 1.0)})"
        )
    if given is Optimizer:
        return "make one: bench.Optimizer(name, build, space)"
    if isinstance(given, partial):
        return _as_own("mine", given)
    if library in ("torch", "keras", "tensorflow"):
        known = type(given).__name__ if not isinstance(given, type) else name
        match = next((each for each in OPTIMIZERS if each == known.lower()), "adam")
        return f"{library} does not train here, optax does: write '{match}'"
    if library == "optax" and name in OPTIMIZERS:
        return f"a registered one has a space of its own: write '{name}'"
    if callable(given) and not isinstance(given, type):
        return _as_own("mine" if name in ("", "<lambda>") else name, given)
    return "`dlkit list optimizers` shows them"


def _as_own(name: str, build: Callable[..., Any]) -> str:
    """How a function that builds an optimizer is given."""
    try:
        parameters = [*inspect.signature(build).parameters.values()]
    except (TypeError, ValueError):  # built in
        parameters = []
    tuned = [each.name for each in parameters if each.name in FIRST_RANGES or each.default is each.empty]
    tuned = [each for each in tuned if each not in ("args", "kwargs", "key")] or ["learning_rate"]
    space = ", ".join(f"'{each}': {FIRST_RANGES.get(each, 'bench.uniform(low, high)')}" for each in tuned)
    function = "build" if name == "mine" else name
    return f"give it a space: bench.Optimizer('{name}', {function}, {{{space}}})"


def problem_given(given: Any) -> Any:
    """Returns a problem's name, a problem or what makes one: a dataset becomes a problem with a model that suits it.

    Args:
        given: a name, a `Problem`, a function that makes one, or a `Dataset`.

    Raises:
        UserError: for anything else, with what to write.
    """
    if isinstance(given, Dataset):
        return problem_from_dataset(given)
    if isinstance(given, str):
        _require_no_file(given)
        return given
    library = _library(given)
    is_code = inspect.isfunction(given) or isinstance(given, partial) or inspect.ismethod(given)
    if isinstance(given, ProblemFactory | Problem) or is_code or (callable(given) and not library):
        return given
    expected = f"expected a problem's name, a bench.Problem or a function that makes one, got {briefly(given)}"
    raise UserError(f"{expected}; {_as_problem(given, library)}")


def _require_no_file(name: str) -> None:
    """Refuses files that are no problems, and says what they are read by."""
    if ":" in name:
        return
    if name.endswith(".toml"):
        raise UserError(f"'{name}' is a spec, not a problem: bench.run(bench.load('{name}')), or dlkit run {name}")
    if name.endswith(".py"):
        raise UserError(f"'{name}' names no function; write '{name}:function'")
    if name.endswith(TABLES):
        raise UserError(
            f"'{name}' is data, not a problem: bench.dataset('{name}', target=...), or in a spec "
            f"{{problem = 'data-file', choices = {{path = '{name}', target = '...'}}}}"
        )


def _as_problem(given: Any, library: str) -> str:
    """What to write in place of what is no problem."""
    if library in ("torch", "keras", "tensorflow", "sklearn") and not hasattr(given, "shape"):
        return (
            f"models of {library} are not traced by JAX: write it in flax, equinox or haiku "
            "(bench.problem_from_flax), or its functions into bench.Problem"
        )
    if library in DOORS:
        return f"a model becomes a problem with data and a loss: {DOORS[library]}"
    if library in ("pandas", "polars"):
        columns = [*getattr(given, "columns", [])]
        target = repr(columns[-1]) if columns else "..."
        return f"a table becomes a problem with a target: problems=[bench.dataset(frame, target={target})]"
    if isinstance(given, Mapping) or (
        isinstance(given, tuple | list) and any(hasattr(each, "shape") for each in given)
    ):
        return "data become a problem as a dataset: problems=[bench.dataset((X, y))]"
    if hasattr(given, "shape"):
        return "data become a problem as a dataset: problems=[bench.dataset((X, y))]"
    return "`dlkit list problems` shows them"


def _library(given: Any) -> str:
    """The library that a value's class, or the value itself if it is a class or function, comes from."""
    kinds = given.__mro__ if isinstance(given, type) else type(given).__mro__
    homes = [str(getattr(given, "__module__", "")), *(kind.__module__ for kind in kinds)]
    starts = [home.partition(".")[0] for home in homes]
    return next((start for start in starts if start in LIBRARIES), "")
