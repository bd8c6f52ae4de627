"""The one exception that means: the input is wrong, here is what to change."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(ValueError):
    """A mistake in what the user gave: a spec, a name, data, a function, a folder.

    Its text is complete: it names the user's own thing, says what was expected and what to do. The command line prints
    it without a traceback and exits with code 2.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """Returns a hint for an unknown name: the nearest valid one, or all of them.

    Args:
        name: what was given.
        valid: every name that would have been accepted.

    Returns:
        ``"did you mean 'adam'?"`` or ``"expected one of 'adam', 'sgd'"``.

    Example:
        >>> nearest("adm", ["adam", "sgd"])
        "did you mean 'adam'?"
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "expected one of " + ", ".join(f"'{known}'" for known in names)
