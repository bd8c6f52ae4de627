"""Every problem by name."""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.digits import digits_mlp
from dlkit.bench.problems.quadratics import quadratic
from dlkit.bench.problems.tabular import diabetes_linear

__all__ = ["PROBLEMS", "get"]

PROBLEMS: Mapping[str, Callable[[], Problem]] = MappingProxyType(
    {"digits-mlp": digits_mlp, "diabetes-linear": diabetes_linear, "quadratic": quadratic}
)


@cache
def get(name: str) -> Problem:
    """Returns the problem of that name.

    Args:
        name: one of `PROBLEMS`.

    Returns:
        The problem, the same object at every call.

    Raises:
        UserError: for an unknown name, with the nearest valid one.
    """
    if name not in PROBLEMS:
        raise UserError(f"no problem '{name}'; {nearest(name, PROBLEMS)}")
    return PROBLEMS[name]()
