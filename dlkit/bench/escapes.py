r"""Texts of others in what dlkit writes: one function a form, so that a name is shown, and never obeyed.

A label, a unit, an error's text or a file's name may come from a stranger's run folder. It may hold what a terminal, a
browser, Markdown or a spreadsheet takes for a command, and signs that cannot be seen and turn the words around them. So
every text goes through the function of its form, at the one place where that form is written:

- `visible`: the terminal, figures, and all the others beneath: no sign that is not seen;
- `in_html`, `in_markdown`, `in_csv`: as their names say; LaTeX is `report.latex_text`;
- `file_name`: a part of a path; `encodable`: a text that a file can hold, otherwise as it was.
"""

import html
import re
import unicodedata

__all__ = ["encodable", "file_name", "in_csv", "in_html", "in_markdown", "starting_markdown", "visible"]

LONGEST_NAME = 120  # bytes of a file's name; systems take 255, and endings and numbers follow
RESERVED = re.compile(r"(?i)\A(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|\Z)")  # Windows' devices
# What Markdown, or GitHub's, would take for something else: also as the first sign of a paragraph.
SPECIAL = re.compile(r"[\\`*|<>&#~$]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|:(?=[\w+-]+:)")
FIRST = re.compile(r"^(?:[-+=](?=\s|[-=]*$)|\d+(?=[.)]))")
# What spreadsheets take for the beginning of a formula, also in its wide form.
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|nan)", re.ASCII | re.IGNORECASE)
FORMULA = re.compile(r"\A\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|\A[\t\r\n]")


def visible(text: str, *, keep: str = "") -> str:
    r"""Returns a text whose every sign is seen: others are written as Python writes them, such as ``\x1b``.

    Those are control codes (with which a text commands a terminal), signs that turn the direction of what follows or
    have no width, ends of lines and paragraphs, and halves of characters. Blanks of every width stay. What is returned
    is returned once more as it is.

    Args:
        text: anything.
        keep: signs that stay although they are not seen, such as line ends.

    Example:
        >>> print(visible("adam\x1b[31m \u202e5e-3\n"), visible("a\nb", keep="\n") == "a\nb")
        adam\x1b[31m \u202e5e-3\n True
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep or unicodedata.category(sign) == "Zs" else _written(sign)
        for sign in text
    )


def _written(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def encodable(text: str) -> str:
    r"""Returns a text that a file can hold: halves of characters, as of file names that are not UTF-8, become ``?``.

    Example:
        >>> encodable("weights-\udcff β")
        'weights-? β'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def in_html(text: str) -> str:
    r"""Returns a text as HTML that shows it as it is, between tags and in a quoted attribute.

    Example:
        >>> in_html("<b>\x00'&")
        '&lt;b&gt;\\x00&#x27;&amp;'
    """
    return html.escape(visible(text, keep="\n\t"))


def in_markdown(text: str) -> str:
    r"""Returns a text that Markdown shows as it is, on one line, anywhere but at the start of a paragraph.

    Example:
        >>> print(in_markdown("*5* | <b>\n[a](b)"))
        \*5\* \| \<b\> [a\](b)
    """
    seen = visible(" ".join(text.split()))
    return SPECIAL.sub(lambda found: f"\\{found[0]}", seen)


def starting_markdown(text: str) -> str:
    r"""Returns a text as a paragraph of Markdown, and not as a list or a heading.

    Example:
        >>> print(starting_markdown("- one"), starting_markdown("1. two"))
        \- one 1\. two
    """
    return FIRST.sub(lambda found: f"\\{found[0]}" if not found[0].isdigit() else f"{found[0]}\\", in_markdown(text))


def in_csv(text: str) -> str:
    """Returns the text of a cell, which no spreadsheet takes for a formula: an apostrophe comes before what may be one.

    Numbers that stand in a column of texts stay numbers.

    Example:
        >>> in_csv("=1+1"), in_csv("-1e-3"), in_csv("adam"), in_csv("-inf")
        ("'=1+1", '-1e-3', 'adam', '-inf')
    """
    found = visible(text, keep="\r\n\t")
    return f"'{found}" if FORMULA.match(found) and not NUMBER.fullmatch(found) else found


def file_name(text: str, *, otherwise: str = "-") -> str:
    """Returns a text as one part of a path: letters, digits and - _ . alone, which every system takes for a file.

    Args:
        text: anything.
        otherwise: what it is called if nothing of it is left.

    Example:
        >>> file_name("adam/β 2"), file_name("../../etc"), file_name("NUL.txt"), file_name("")
        ('adam-β-2', '--..-etc', 'NUL-.txt', '-')
        >>> file_name(119 * "a" + ".txt") == 119 * "a"  # cut off, and no dot at the end, which Windows takes away
        True
    """
    plain = re.sub(r"[^\w.-]+|^\.+", "-", text)
    plain = RESERVED.sub(r"\1-", plain)
    while len(plain.encode("utf-8", "replace")) > LONGEST_NAME:
        plain = plain[: -1 - max(0, len(plain) - LONGEST_NAME)]
    return plain.rstrip(".") or otherwise
