"""Tables as text: CSV, TSV and their like, by pandas, once the separator and the first line are understood."""

import csv
import io
import itertools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from dlkit.bench.data.columns import require_columns
from dlkit.bench.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Delimited", "is_libsvm", "looks_delimited", "read_delimited"]

SEPARATORS = ("\t", ";", "|", ",", " ", "  ")
NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "spaces", "  ": "two spaces or more"}
PATTERNS = {" ": r"\s+", "  ": r"\s{2,}"}
LOOKED_AT = 20  # lines
YEARS = range(1000, 3000)  # that may be names of columns
COMMENTS = re.compile(r"\A(\s*[#%].*\n)+")
LIBSVM = re.compile(r"[-+\d.,eE]+(\s+(qid:)?\d+:\S+)*\s*(#.*)?")


class Delimited(NamedTuple):
    """A table that was read, and what is to be said of it."""

    frame: "DataFrame"
    notes: tuple[str, ...]


def is_libsvm(text: str) -> bool:
    """Whether a text is of the form of libsvm and SVMlight: ``label index:value index:value ...``."""
    lines = [line.strip() for line in _first_lines(text)]
    examples = [line for line in lines if not line.startswith("#")]
    return any(":" in line for line in examples) and all(map(LIBSVM.fullmatch, examples))


def looks_delimited(text: str) -> bool:
    """Whether a text's first lines have the same number of fields each, two or more."""
    lines = _first_lines(_plain(text))
    return len(lines) > 1 and _separator(lines) is not None


def read_delimited(text: str, where: str, *, header: bool | None = None) -> Delimited:
    """Reads a table from a text.

    Args:
        text: lines of fields, separated by commas, tabs, semicolons, bars or spaces.
        where: the file, for messages.
        header: whether the first line has the names of the columns; None: unless it has numbers that are neither years
            nor count the columns.

    Returns:
        The table; columns without a name are called "0", "1", ...

    Raises:
        UserError: for lines of other lengths, with the first one; for names that are there twice; for no rows.
    """
    import pandas as pd

    text = _plain(text)
    comments = COMMENTS.match(text)
    text = text[comments.end() :] if comments else text
    lines = _first_lines(text)
    if not lines:
        raise UserError(f"{where}: has no lines; get it again")
    separator = _separator(lines) or _likely(lines)
    text = _without_last(text, separator)
    if not _first_lines(text):
        raise UserError(f"{where}: has no lines; get it again")
    notes = []
    if comments and header is None and _is_example(_fields(_first_lines(text)[0], separator)):
        last = comments.group().strip().splitlines()[-1].lstrip("#% ")
        if len(_fields(last, separator)) == len(_fields(lines[0], separator)) > 1:
            text = f"{last}\n{text}"
            notes.append("names are those of the last comment before the table")
    lines = _first_lines(text)
    names = _fields(lines[0], separator)
    has_header = bool(notes) or (not _is_example(names) if header is None else header)
    if has_header:
        require_columns(names, where)
    has_row_names = has_header and {len(_fields(line, separator)) for line in lines[1:]} == {len(names) + 1}
    if not has_row_names:
        _require_width(lines, separator, where)
    pattern = PATTERNS.get(separator, separator)
    if separator in PATTERNS:
        text = "\n".join(line.strip() for line in text.splitlines())
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=pattern,
            header=0 if has_header else None,
            index_col=0 if has_row_names else False,
            skipinitialspace=True,
            engine="python" if separator == "  " else "c",
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{where}: {str(error).strip()}; every line needs {len(names)} fields") from None
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    if frame.empty:
        raise UserError(f"{where}: has a line of names, and no rows; get it again, or header=False")
    notes += _notes(names, has_header, separator)
    if has_row_names:
        notes.append("the first field of each line has no name, and is left out")
    elif has_header and not names[0] and len(frame.columns) > 1 and _names_rows(frame.iloc[:, 0]):
        frame = frame.iloc[:, 1:]
        notes.append("the first column has no name and names the rows, and is left out")
    return Delimited(frame.reset_index(drop=True), tuple(notes))


def _plain(text: str) -> str:
    """A text with one kind of line ends, without the line by which Excel is told the separator."""
    text = re.sub(r"\r\n?", "\n", text) if "\r" in text else text
    return re.sub(r"\A\s*sep=.\n", "", text, flags=re.IGNORECASE)


def _without_last(text: str, separator: str) -> str:
    """A text without a separator at the end of each line, after which there is no field."""
    if separator in PATTERNS:
        return text
    first, *others = [line.rstrip(" ") for line in text.splitlines() if line.strip()]
    is_ended = bool(others) and all(line.endswith(separator) for line in others)
    is_longer = is_ended and {len(_fields(line, separator)) for line in others[:LOOKED_AT]} == {
        len(_fields(first, separator)) + 1
    }
    if not is_ended or not (first.endswith(separator) or is_longer):
        return text
    return "\n".join([first.removesuffix(separator), *(line.removesuffix(separator) for line in others)]) + "\n"


def _names_rows(column: "Series[Any]") -> bool:
    """Whether a column counts the rows, has a text of its own in each, or nothing in any."""
    if column.isna().all():
        return True
    if not column.is_unique or column.isna().any():
        return False
    return column.dtype.kind not in "if" or bool((column.diff().iloc[1:] == 1).all())


def _notes(names: list[str], has_header: bool, separator: str) -> list[str]:
    notes = [] if separator in ",\t" else [f"fields are separated by {NAMES[separator]}"]
    if not has_header:
        notes.append(f"the first line has no names: columns are called 0 to {len(names) - 1}")
    elif any(_is_number(name) for name in names):
        notes.append(f"the first line was taken for names: {', '.join(names[:5])}; header=False if it is an example")
    return notes


def _first_lines(text: str) -> list[str]:
    head = itertools.islice(io.StringIO(text), 200)
    return [line.rstrip("\r\n") for line in head if line.strip() and not line.startswith(("#", "%"))][:LOOKED_AT]


def _fields(line: str, separator: str) -> list[str]:
    if separator == " ":
        return next(csv.reader([" ".join(line.split())], delimiter=" "))
    if separator == "  ":
        return re.split(PATTERNS[separator], line.strip())
    return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def _separator(lines: list[str]) -> str | None:
    """The separator that splits all lines into the same number of fields, two or more; None if there is none.

    The first line may have one field less: where rows have names and these none.
    """
    counts = {separator: [len(_fields(line, separator)) for line in lines] for separator in SEPARATORS}
    for separator, found in counts.items():
        if len({*found}) == 1 and found[0] > 1:
            return separator
    for separator, found in counts.items():
        if len(found) > 2 and {*found[1:]} == {found[0] + 1} and found[0] > 1:
            return separator
    return None


def _likely(lines: list[str]) -> str:
    """The separator that the first line has most of: where lines differ in length, or have one field."""
    counts = {separator: lines[0].count(separator) for separator in SEPARATORS}
    best = max(counts, key=lambda separator: counts[separator])
    return best if counts[best] else ","


def _require_width(lines: list[str], separator: str, where: str) -> None:
    width = len(_fields(lines[0], separator))
    for number, line in enumerate(lines[1:], 2):
        if (count := len(_fields(line, separator))) != width and line.count('"') % 2 == 0:
            raise UserError(
                f"{where}: the first line has {width} fields, line {number} has {count} (separated by "
                f"{NAMES[separator]}): {line[:60]!r}; correct it, or read the file with pandas.read_csv and give the "
                "frame"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_example(names: list[str]) -> bool:
    """Whether a line is an example and no line of names: it has numbers that are neither numbered names nor years."""
    numbers = [name for name in names if _is_number(name)]
    whole = [int(name) for name in numbers if name.isdigit()]
    is_numbered = len(whole) == len(numbers) and whole in ([*range(len(whole))], [*range(1, len(whole) + 1)])
    are_years = len(whole) == len(numbers) < len(names) and all(year in YEARS for year in whole)
    return bool(numbers) and not is_numbered and not are_years
