"""Where a user's own code stands, for messages: ``study.py:41``."""

import functools
import inspect
import os
import types
from collections.abc import Iterator
from typing import Any

from dlkit.bench.identity.local_code import is_local

__all__ = ["at", "place_of", "place_of_caller", "place_of_error"]


def place_of(value: Any) -> str:
    """Returns the file and line at which a function or class of the user's own begins; empty for what is installed.

    What stands around a function (`functools.partial`, `jax.jit`, a method's object) does not hide it.

    Example:
        >>> place_of(len), place_of(functools.partial(os.getcwd))
        ('', '')
    """
    while isinstance(value, functools.partial | types.MethodType):
        value = value.func if isinstance(value, functools.partial) else value.__func__
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, functools.partial | types.MethodType):
        return place_of(value)
    if isinstance(value, types.FunctionType):
        code = value.__code__
        return _written(code.co_filename, code.co_firstlineno) if is_local(code.co_filename) else ""
    called = getattr(type(value), "__call__", None)  # an object that is called
    return place_of(called) if isinstance(called, types.FunctionType) and value is not called else ""


def place_of_error(error: BaseException) -> str:
    """Returns the file and line of the user's own code at which an error was raised; empty if none had a part in it.

    It is the innermost such line, of the error or of what caused it.
    """
    found = ""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        step = cause.__traceback__
        innermost = ""
        while step is not None:
            file = step.tb_frame.f_code.co_filename
            if is_local(file):
                innermost = _written(file, step.tb_lineno)
            step = step.tb_next
        found = innermost or found
        cause = cause.__cause__ or cause.__context__
    return found


def place_of_caller(frame: types.FrameType | None) -> str:
    """Returns the nearest line of the user's own code among a frame and those that called it; empty if there is none."""
    for each in _outwards(frame):
        if is_local(each.f_code.co_filename):
            return _written(each.f_code.co_filename, each.f_lineno)
    return ""


def at(place: str) -> str:
    """Returns how a message ends that has a place: ``" (study.py:41)"``; nothing without one."""
    return f" ({place})" if place else ""


def _outwards(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _written(file: str, line: int) -> str:
    """A place: the path from the current folder, or the whole of one that lies elsewhere."""
    inside = os.path.relpath(file) if os.path.isabs(file) and file.startswith(os.getcwd() + os.sep) else file
    return f"{inside}:{line}"
