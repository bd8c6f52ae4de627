"""Calls that a user's function makes while it is traced, whose answers become constants of the program."""

import contextlib
import functools
import inspect
import os
import random
import sys
import time
import types
import uuid
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from dlkit.bench.identity.local_code import is_local
from dlkit.bench.identity.places import place_of_caller
from dlkit.bench.spec.bound_plan import BoundPlan

__all__ = ["calls_noted", "codes_of"]

_is_users = cache(is_local)


@contextlib.contextmanager
def calls_noted(found: list[tuple[str, str]], losses: Collection[types.CodeType]) -> Iterator[None]:
    """Notes the first call, by the user's own code, of a clock, a generator, or in a loss of what makes a key.

    Functions of these modules are replaced meanwhile, by some that do the same: this costs nothing, and does not see
    what was imported by its own name, nor the methods of generators.

    Args:
        found: gets the name of the function and the place that calls it.
        losses: the code of losses, which are given a key and need none of their own.
    """
    replaced = [(module, name, getattr(module, name)) for module, names in _watched() for name in names]
    for module, name, function in replaced:
        setattr(module, name, _noting(f"{module.__name__}.{name}", function, found, losses))
    try:
        yield
    finally:
        for module, name, function in replaced:
            setattr(module, name, function)


@cache
def _watched() -> list[tuple[types.ModuleType, tuple[str, ...]]]:
    """Modules, and the names of their functions that are watched."""
    drawing = [name for name in dir(np.random) if name[0].islower() and not isinstance(getattr(np.random, name), type)]
    of_numpy = [name for name in drawing if callable(getattr(np.random, name)) and name != "test"]
    return [
        (random, ("choice", "gauss", "normalvariate", "randint", "random", "sample", "seed", "shuffle", "uniform")),
        (np.random, tuple(of_numpy)),
        (time, ("monotonic", "perf_counter", "process_time", "time", "time_ns")),
        (uuid, ("uuid1", "uuid4")),
        (os, ("urandom",)),
        (jax.random, ("PRNGKey", "key")),
    ]


def _noting(
    name: str, function: Callable[..., Any], found: list[tuple[str, str]], losses: Collection[types.CodeType]
) -> Callable[..., Any]:
    of_jax = name.startswith("jax.")

    @functools.wraps(function)
    def noting(*arguments: Any, **named: Any) -> Any:
        caller = sys._getframe(1)
        if not found and _is_users(caller.f_code.co_filename) and (not of_jax or _is_in(caller, losses)):
            found.append((name, place_of_caller(caller)))
        return function(*arguments, **named)

    return noting


def _is_in(frame: types.FrameType | None, codes: Collection[types.CodeType]) -> bool:
    """Whether one of these functions is being called."""
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame is not None


def codes_of(bound: BoundPlan, problem: str) -> Iterator[types.CodeType]:
    """Yields the code of a problem's losses."""
    loaded = bound.problems[problem].load()
    for loss in [each.loss for each in loaded.players] or [loaded.loss]:
        function = inspect.unwrap(loss.func if isinstance(loss, partial) else loss)
        if isinstance(function, types.FunctionType):
            yield function.__code__
