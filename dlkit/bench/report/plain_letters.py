"""Text where letters are few: a terminal that knows ASCII alone gets -, x and <= for what it cannot show."""

import codecs

__all__ = ["PLAINLY", "plainly"]

PLAINLY = "dlkit"  # how streams call it: `errors` of a text stream
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


def plainly(text: str, encoding: str | None) -> str:
    """Returns a text as a stream of this encoding can hold it.

    Args:
        text: any.
        encoding: of the stream; None for one that holds all letters.

    Example:
        >>> plainly("3 × 10 ≤ ∞", "ascii")
        '3 x 10 <= inf'
    """
    return text if encoding is None else text.encode(encoding, PLAINLY).decode(encoding)


def _in_few_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error(PLAINLY, _in_few_letters)
