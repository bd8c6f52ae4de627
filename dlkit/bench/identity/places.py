"""Where a user's own code stands, for messages: ``study.py:41``."""

import contextlib
import functools
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlkit.bench.identity.local_code import is_local

__all__ = ["at", "place_of", "place_of_caller", "place_of_error", "place_within", "written"]


def place_of(value: Any) -> str:
    """Returns the file and line at which a function or class of the user's own begins; empty for what is installed.

    What stands around a function (`functools.partial`, `jax.jit`, a method's object) does not hide it.

    Example:
        >>> place_of(len), place_of(functools.partial(inspect.unwrap))
        ('', '')
    """
    while isinstance(value, functools.partial | types.MethodType):
        value = value.func if isinstance(value, functools.partial) else value.__func__
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, functools.partial | types.MethodType):
        return place_of(value)
    if isinstance(value, types.FunctionType):
        code = value.__code__
        return written(code.co_filename, code.co_firstlineno) if is_local(code.co_filename) else ""
    called = vars(type(value)).get("__call__")  # an object that is called
    return place_of(called) if isinstance(called, types.FunctionType) else ""


def place_within(function: Any, *, depth: int = 4) -> str:
    """Returns the place of a function, or of the first of the user's own that it closes over; empty without one."""
    found = place_of(function)
    if found or depth == 0 or not callable(function):
        return found
    inner = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    parts = [*function.args, *function.keywords.values()] if isinstance(function, functools.partial) else []
    cells = getattr(inner, "__closure__", None) or ()
    for cell in cells:
        with contextlib.suppress(ValueError):  # of a cell that is empty
            parts.append(cell.cell_contents)
    parts = [part for each in parts for part in (each.values() if isinstance(each, dict) else [each])]
    parts = [part for each in parts for part in (each if isinstance(each, tuple | list) else [each])]
    return next((place for part in parts if callable(part) and (place := place_within(part, depth=depth - 1))), "")


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
                innermost = written(file, step.tb_lineno)
            step = step.tb_next
        found = innermost or found
        cause = cause.__cause__ or cause.__context__
    return found


def place_of_caller(frame: types.FrameType | None) -> str:
    """Returns the nearest line of the user's own code among a frame and those around it; empty if there is none."""
    for each in _outwards(frame):
        if is_local(each.f_code.co_filename):
            return written(each.f_code.co_filename, each.f_lineno)
    return ""


def at(place: str) -> str:
    """Returns how a message ends that has a place: ``" (study.py:41)"``; nothing without one."""
    return f" ({place})" if place else ""


def _outwards(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def written(file: str, line: int) -> str:
    """Returns a place as messages have it: the path from the current folder, or the whole of another."""
    path, here = Path(file), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else file}:{line}"
