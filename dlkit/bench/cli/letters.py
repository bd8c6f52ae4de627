"""Output where letters are few: a terminal that knows ASCII alone gets -, x and <= for what it cannot show."""

import codecs
from typing import Any

__all__ = ["readable_everywhere"]

PLAIN = {
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{INFINITY}": "inf",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "=",
    "\N{UPWARDS ARROW}": "^",
    "\N{DOWNWARDS ARROW}": "v",
    "\N{NO-BREAK SPACE}": " ",
    "\N{MICRO SIGN}": "u",
    "\N{MIDDLE DOT}": ",",
}


def _in_few_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


def readable_everywhere(*streams: Any) -> None:
    """Lets text streams that cannot write some letters write others in their place, instead of raising.

    Args:
        *streams: such as the standard output; those of another kind stay as they are.
    """
    codecs.register_error("dlkit", _in_few_letters)
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="dlkit")
