"""The one exception that means: the input is wrong, here is what to change."""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from dlkit.hints import nearest

__all__ = ["UserError", "nearest", "said_once", "says_what_it_takes"]

Callee = TypeVar("Callee", bound=Callable[..., Any])
OWNED = re.compile(r"(?P<kind>optimizer|problem) (?P<name>'[^'\n]*')(?=[:, ])")


class UserError(ValueError):
    """A mistake in what the user gave: a spec, a name, data, a function, a folder.

    Its text is complete: it names the user's own thing, says what was expected and what to do. The command line prints
    it without a traceback and exits with code 2.
    """


def said_once(lines: Iterable[str]) -> list[str]:
    """Returns lines, each once; those that say the same of several optimizers, or of several problems, as one.

    Args:
        lines: such as ``"optimizer 'a': it returns nothing"``.

    Example:
        >>> said_once(["optimizer 'a': no", "problem 'p': no", "optimizer 'b': no", "optimizer 'c': yes"])
        ["optimizers 'a', 'b': no", "problem 'p': no", "optimizer 'c': yes"]
    """
    names: dict[tuple[str, str], list[str]] = {}  # what kind of thing, what is said -> of whom
    for line in lines:
        match = OWNED.match(line)
        key = (match["kind"], line[match.end() :]) if match else ("", line)
        found = names.setdefault(key, [])
        if match and match["name"] not in found:
            found.append(match["name"])
    return [
        f"{kind}{'s' * (len(owners) > 1)} {', '.join(owners)}{said}" if owners else said
        for (kind, said), owners in names.items()
    ]


def says_what_it_takes(
    called: str, explained: Callable[[str], str] | Mapping[str, str] | None = None
) -> Callable[[Callee], Callee]:
    """Makes a class or function say what was meant where it is called with arguments that it does not take.

    Args:
        called: how messages call it, such as ``"bench.Budget"``.
        explained: argument that it does not take -> what to write instead; empty or missing for the nearest name.

    Returns:
        A decorator. What it decorates raises a `UserError` in place of Python's `TypeError`.

    Example:
        >>> says_what_it_takes("f")(lambda *, seeds: seeds)(sedes=3)
        Traceback (most recent call last):
        dlkit.bench.errors.UserError: f takes no 'sedes'; did you mean 'seeds'?
    """

    def decorated(callee: Callee) -> Callee:
        function: Any = callee.__init__ if isinstance(callee, type) else callee  # type: ignore[misc]
        first = 1 if isinstance(callee, type) else 0  # self

        @functools.wraps(function)
        def checked(*arguments: Any, **named: Any) -> Any:
            try:
                return function(*arguments, **named)
            except TypeError:
                signature = inspect.signature(function)
                try:
                    signature.bind(*arguments, **named)
                except TypeError:
                    parameters = [*signature.parameters.values()][first:]
                    lines = _mistakes(called, explained, parameters, arguments[first:], named)
                    raise UserError("\n".join(lines)) from None
                raise

        if not isinstance(callee, type):
            return checked  # type: ignore[return-value]
        callee.__init__ = checked  # type: ignore[misc]
        return callee

    return decorated


def _mistakes(
    called: str,
    explained: Callable[[str], str] | Mapping[str, str] | None,
    parameters: list[inspect.Parameter],
    arguments: tuple[Any, ...],
    named: Mapping[str, Any],
) -> list[str]:
    """What is wrong with the arguments of a call, a line each."""
    explain = explained if callable(explained) else (explained or {}).get
    names = [each.name for each in parameters]
    by_place = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    unknown = [name for name in named if name not in names]
    lines = [f"{called} takes no '{name}'; {explain(name) or nearest(name, names)}" for name in unknown]
    if len(arguments) > len(by_place):
        given = f"{_short(arguments[0])}" if not by_place else ""
        example = f", such as {called}({names[0]}={given or '...'}{', ...' if len(names) > 1 else ''})"
        if by_place and explain("*"):
            lines.append(f"{called} takes one thing by its place; {explain('*')}")
        elif by_place:
            lines.append(
                f"{called} takes {len(by_place)} by their place, got {len(arguments)}; give the others by name"
            )
        else:
            lines.append(f"{called} takes what it is given by name{example}")
    twice = [name for name in by_place[: len(arguments)] if name in named]
    lines += [f"{called} has '{name}' by its place and by its name; leave one of them out" for name in twice]
    needed = [each.name for each in parameters if each.default is each.empty and each.kind.name[:3] != "VAR"]
    missing = [name for name in needed if name not in named and name not in by_place[: len(arguments)]]
    if missing and not lines:
        listed = ", ".join(name if name in by_place else f"{name}=..." for name in needed)
        lines.append(f"{called} needs {' and '.join(map(repr, missing))}: {called}({listed})")
    return lines


def _short(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else "..."
