"""Errors that a user's own function raised: in plain words, with its line, and as a traceback of its own frames."""

import linecache
import traceback
import types
from collections.abc import Callable
from typing import Any

from dlkit.bench.identity.local_code import is_local
from dlkit.bench.identity.places import at, place_of, written

__all__ = ["in_words", "line_of_error", "own_traceback", "raised", "where_raised", "with_own_frames"]

LONGEST = 90  # characters of a source line that a message shows
OF_JAX = ("SimplifiedTraceback", "UnfilteredStackTrace", "JaxStackTraceBeforeTransformation")  # what JAX adds
# What JAX says at length, as what to do.
WORDS = {
    "TracerBoolConversionError": (
        "a Python if, while, and, or looks at an array that JAX traces; use jnp.where or jax.lax.cond"
    ),
    "TracerArrayConversionError": "numpy was called on an array that JAX traces; use jax.numpy in its place",
    "TracerIntegerConversionError": (
        "an array that JAX traces is used as a Python integer, such as an index of a list or a shape; use jnp.take, or "
        "a number that is known beforehand"
    ),
    "ConcretizationTypeError": (
        "float(), int(), .item() or a shape asks for the value of an array that JAX traces; keep it an array"
    ),
    "UnexpectedTracerError": (
        "an array was kept from an earlier trace, in a global, a list or an attribute; return what is needed later"
    ),
    "NonConcreteBooleanIndexError": "a mask that JAX traces selects rows; use jnp.where, which keeps the shape",
}


def in_words(error: BaseException) -> str:
    """Returns what an error says: its type and first sentence; of what JAX refuses while it traces, what to do.

    Example:
        >>> in_words(ValueError("no good"))
        'ValueError: no good'
    """
    name, text = type(error).__name__, str(error).strip()
    known = next((WORDS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in WORDS), "")
    if known:
        return f"{name}: {known}"
    if name == "TypeError" and "immutable" in text and ".at[" in text:
        return f"{name}: arrays of JAX cannot be changed in place; write x = x.at[index].set(value)"
    first = text.split("\nThe error occurred while")[0].split("\n\n")[0]
    return f"{name}: {' '.join(first.split())}" if first else name


def line_of_error(error: BaseException) -> tuple[str, str]:
    """Returns the place of the user's own code at which an error was raised, and the source line there.

    It is the innermost such line, of the error or of what caused it; both are empty if none had a part in it.
    """
    place, source = "", ""
    for cause in _chain(error):
        own = [step for step in _steps(cause.__traceback__) if _is_own(step.tb_frame.f_code.co_filename)]
        if own:
            file, line = own[-1].tb_frame.f_code.co_filename, own[-1].tb_lineno
            place, source = written(file, line), linecache.getline(file, line, own[-1].tb_frame.f_globals).strip()
    return place, source


def where_raised(error: BaseException) -> str:
    """Returns the place and the source line at which an error was raised: ``"study.py:41: loss = batch['x']"``."""
    place, source = line_of_error(error)
    shown = source if len(source) <= LONGEST else f"{source[: LONGEST - 3]}..."
    return f"{place}: {shown}" if place and shown else place


def raised(error: BaseException, function: Callable[..., Any] | None = None) -> str:
    """Returns what an error says and where it was raised: ``"KeyError: 'x' (study.py:41: loss = batch['x'])"``.

    Args:
        error: what a user's function raised.
        function: whose place is told where no line of the user's had a part in the error.
    """
    place = where_raised(error) or ("" if function is None else place_of(function))
    return f"{in_words(error)}{at(place)}"


def own_traceback(error: BaseException) -> str:
    """Returns an error's traceback without the frames of dlkit, JAX and other packages; all of it if no other is left.

    Args:
        error: an exception, with what caused it.
    """
    told = traceback.TracebackException.from_exception(error)
    kept, seen = 0, set[int]()
    each: Any = told
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        own = [frame for frame in each.stack if _is_own(frame.filename)]
        kept += len(own)
        each.stack = traceback.StackSummary.from_list(own)
        each.__notes__ = _users_notes(each)
        for name in ("__cause__", "__context__"):
            if _kind(getattr(each, name)) in OF_JAX:
                setattr(each, name, None)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return "".join(told.format()) if kept else "".join(traceback.format_exception(error))


def with_own_frames(error: Exception) -> Exception:
    """Returns an error to chain another to: a traceback that shows it has the user's own frames alone.

    Without frames of the user's own it stays as it is.
    """
    for cause in [*_chain(error)]:
        own = [step for step in _steps(cause.__traceback__) if _is_own(step.tb_frame.f_code.co_filename)]
        built: types.TracebackType | None = None
        for step in reversed(own):
            built = types.TracebackType(built, step.tb_frame, step.tb_lasti, step.tb_lineno)
        if built is not None:
            cause.__traceback__ = built
        if type(cause.__cause__).__name__ in OF_JAX:
            cause.__cause__ = None
        if hasattr(cause, "__notes__"):
            cause.__notes__ = _users_notes(cause)
    return error


def _users_notes(error: Any) -> list[str]:
    """The notes of an error, but for what JAX says of frames that it left out."""
    return [
        note for note in getattr(error, "__notes__", None) or [] if "JAX has removed" not in note and note.strip("-")
    ]


def _kind(told: traceback.TracebackException | None) -> str:
    return "" if told is None or told.exc_type is None else told.exc_type.__name__


def _is_own(file: str) -> bool:
    return file != "<string>" and is_local(file)  # what dataclasses make


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what caused it, the last the first that was raised."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and all(cause is not each for each in found):
        found.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return found


def _steps(step: types.TracebackType | None) -> list[types.TracebackType]:
    found = []
    while step is not None:
        found.append(step)
        step = step.tb_next
    return found
