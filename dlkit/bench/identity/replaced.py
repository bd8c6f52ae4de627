"""Functions of dlkit and of the libraries under it that a user has put others in the place of.

What is registered in dlkit is known by its name and the versions of the libraries. That holds as long as the functions
are theirs: not after ``optax.adam = mine``, nor with a copy of a library that is being worked on.
"""

import sys
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from dlkit.bench.identity.local_code import is_local

__all__ = ["Replaced", "replaced_functions"]

LIBRARIES = frozenset({"dlkit", "optax"})  # with all of their modules
MODULES = frozenset({"jax", "jax.lax", "jax.nn", "jax.nn.initializers", "jax.numpy", "jax.random"})
# Of dlkit's bench: what trains. Who replaces other parts changes no number of a trial.
TRAINS = frozenset({"data", "optimizers", "probes", "problems", "training"})


class Replaced(NamedTuple):
    """A function where another one is expected.

    Attributes:
        module: where it is.
        name: its name there.
        function: which.
    """

    module: str
    name: str
    function: FunctionType


def replaced_functions() -> tuple[Replaced, ...]:
    """Returns the functions that are the user's own where those of dlkit, optax and JAX stand; none as a rule.

    Only functions are seen, jitted ones too: neither methods, nor other functions of a library.
    """
    held: dict[str, bool] = {}  # file -> whether it is the user's
    found = []
    for module, namespace in [(name, vars(each)) for name, each in [*sys.modules.items()] if _decides(name)]:
        for name, value in [*namespace.items()]:
            function = _function_of(value)
            if function is None:
                continue
            file = function.__code__.co_filename
            if file not in held:
                held[file] = is_local(file)
            if held[file]:
                found.append(Replaced(module, name, function))
    return tuple(found)


def _decides(module: str) -> bool:
    first, *rest = module.split(".")
    if first == "dlkit" and rest[:1] == ["bench"]:
        return TRAINS.issuperset(rest[1:2])
    return first in LIBRARIES or module in MODULES


def _function_of(value: Any) -> FunctionType | None:
    """The function that is called in the end; None for what is none."""
    if isinstance(value, type | ModuleType):
        return None
    inner = getattr(value, "__wrapped__", None) if callable(value) and not isinstance(value, FunctionType) else value
    return inner if isinstance(inner, FunctionType) else None
