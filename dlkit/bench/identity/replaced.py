"""Functions of dlkit and of the libraries under it that a user has put others in the place of.

What is registered in dlkit is known by its name and the versions of the libraries. That holds as long as the functions
are theirs: not after ``optax.adam = mine``, nor with a copy of a library that is being worked on.
"""

import operator
import sys
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

from dlkit.bench.identity.local_code import is_local

__all__ = ["Replaced", "replaced_functions"]

LIBRARIES = frozenset({"dlkit", "optax"})  # with all of their modules
MODULES = frozenset({"jax", "jax.lax", "jax.nn", "jax.nn.initializers", "jax.numpy", "jax.random"})
FIRST = ("dlkit", "jax", "optax")
WRAPPING = frozenset({"PjitFunction", "custom_jvp", "custom_vjp"})  # JAX's own kinds of functions
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

    Functions of modules are seen, jitted ones too; neither methods, nor one function of a library in place of another.
    A module that holds the same objects as at the call before is not searched again.
    """
    deciding = [name for name in [*sys.modules] if name.startswith(FIRST) and _decides(name)]
    return tuple(each for module in deciding for each in _replaced_in(module))


def _replaced_in(module: str) -> tuple[Replaced, ...]:
    held = getattr(sys.modules.get(module), "__dict__", {})
    names, values = [*held], [*held.values()]
    before = _searched().get(module)
    if before is None or not (_same(names, before.names) and _same(values, before.values)):
        found = tuple(
            Replaced(module, name, function)
            for name, value in zip(names, values, strict=False)
            if (kind := type(value)) is FunctionType or kind.__name__ in WRAPPING
            if (function := value if kind is FunctionType else getattr(value, "__wrapped__", None))
            if type(function) is FunctionType and _is_users(function.__code__.co_filename)
        )
        before = _searched()[module] = _Searched(names, values, found)
    return before.found


class _Searched(NamedTuple):
    """What a module held when it was searched, and what was found."""

    names: list[str]
    values: list[Any]
    found: tuple[Replaced, ...]


@cache
def _searched() -> dict[str, _Searched]:
    """Module -> what it held when it was searched last."""
    return {}


def _same(these: list[Any], those: list[Any]) -> bool:
    """Whether two lists hold the same objects."""
    return len(these) == len(those) and all(map(operator.is_, these, those))


_is_users = cache(is_local)


@cache
def _decides(module: str) -> bool:
    first, *rest = module.split(".")
    if first == "dlkit" and rest[:1] == ["bench"]:
        return TRAINS.issuperset(rest[1:2])
    return first in LIBRARIES or module in MODULES
