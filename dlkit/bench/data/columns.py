"""The columns of a table: what their values are, and what is wrong with them; with pandas, which reads them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit.bench.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["KINDS", "Column", "Kind", "columns_of", "require_columns"]

Kind = Literal["number", "category", "date", "truth"]
KINDS = {"number": "numbers", "category": "categories", "date": "dates", "truth": "true or false"}
MOSTLY = 0.5  # the share of numbers from which a column of words is one of numbers
NUMBER_LIKE = re.compile(r"[\s$€£¥]*[-+]?\d[\d.,' ]*\s*[%$€£¥]?")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")
YEAR_FIRST = re.compile(r"\d{4}([./])\d{1,2}\1\d{1,2}")
DATE_LIKE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ,]+\d{1,2}:\d{2}.*)?")
WITH_UNIT = re.compile(r"[-+]?\d[\d.,' ]*\s*[^\W\d_]{1,4}[²³]?")
DAY = np.timedelta64(1, "D")
SHOWN = 3  # wrong values in a message
UNITS = 20  # different numbers with a unit that are no categories


@dataclass(frozen=True, eq=False)
class Column:
    """A column as numbers.

    Attributes:
        name: its name.
        kind: what its values are.
        values: [rows] float64: numbers, days since 1970 of dates, 0 and 1, codes of categories; NaN where missing.
        levels: of categories, the text of each code, in order.
        is_whole: whether its numbers are whole ones.
        note: what was done to read it, in words; empty for nothing.
    """

    name: str
    kind: Kind
    values: np.ndarray[Any, np.dtype[np.float64]]
    levels: tuple[str, ...] = ()
    is_whole: bool = False
    note: str = ""

    @property
    def missing(self) -> int:
        """How many rows have no value."""
        return int(np.isnan(self.values).sum())


def require_columns(names: Sequence[str], where: str) -> None:
    """Refuses names of columns that are there twice, or empty.

    Raises:
        UserError: with the names.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        listed = ", ".join(f"'{name}'" for name in twice)
        raise UserError(f"{where}: several columns are called {listed}; give each column a name of its own")


def columns_of(frame: "DataFrame", where: str, words: Collection[str] = ()) -> list[Column]:
    """Returns the columns of a data frame as numbers.

    Args:
        frame: the table.
        where: the file or dataset, for messages.
        words: texts that stand for a missing value, beside empty ones.

    Returns:
        The columns, in order.

    Raises:
        UserError: naming each column that is empty, of several kinds, or of a kind that cannot be trained on.
    """
    found, mistakes = [], []
    texts = frozenset(map(str, words))
    for place, name in enumerate(frame.columns):
        try:
            found.append(_column(frame.iloc[:, place], str(name), texts))
        except UserError as error:
            mistakes.append(f"{where}, column '{name}': {error}")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return found


def _column(series: "Series[Any]", name: str, words: frozenset[str]) -> Column:
    """One column; an error says what is wrong, without its name."""
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        series = series.astype(dtype.subtype)
        dtype = series.dtype
    if isinstance(dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
        dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(series, name, words)
    if isinstance(dtype, pd.IntervalDtype):
        return _of_text(series.astype(object).map(str, na_action="ignore"), name, words)
    if pd.api.types.is_bool_dtype(dtype):
        return Column(name, "truth", _floats(series))
    if pd.api.types.is_complex_dtype(dtype):
        raise UserError("complex numbers; give their real and imaginary parts as two columns")
    if pd.api.types.is_numeric_dtype(dtype):
        return _number(series, name, words)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return Column(name, "date", _days(series))
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Column(name, "number", _ratio(series.to_numpy("timedelta64[us]"), DAY), note="in days")
    return _objects(series, name, words)


def _objects(series: "Series[Any]", name: str, words: frozenset[str]) -> Column:
    """A column of Python's objects or texts."""
    import datetime
    import decimal
    import numbers

    import pandas as pd

    series = series.astype(object).where(series.notna(), None)
    kinds: dict[type, int] = {}
    for row, value in enumerate(series):
        if value is not None:
            kinds.setdefault(type(value), row)
    if bytes in kinds:
        decoded = series.map(lambda value: value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
        return _objects(decoded, name, words)
    if not kinds:
        raise UserError("is empty: no row has a value; leave it out with drop=")
    if all(issubclass(kind, str) for kind in kinds):
        return _of_text(series, name, words)
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return Column(name, "truth", _floats(series))
    if all(issubclass(kind, numbers.Real | decimal.Decimal | np.bool_) for kind in kinds):
        return _number(pd.to_numeric(series.map(float, na_action="ignore")), name, words)
    if all(issubclass(kind, datetime.date) for kind in kinds):
        return Column(name, "date", _days(pd.to_datetime(series)))
    if all(issubclass(kind, str | numbers.Real) for kind in kinds):
        return _of_text(series.map(str, na_action="ignore"), name, words, is_mixed=True)
    wrong, row = next(
        (kind, row) for kind, row in kinds.items() if not issubclass(kind, str | numbers.Real | datetime.date)
    )
    raise UserError(
        f"expected one number, text or date a row, got {wrong.__name__} in row {row}; give each part a column of its "
        "own, or arrays in place of a table"
    )


def _of_text(series: "Series[Any]", name: str, words: frozenset[str], *, is_mixed: bool = False) -> Column:
    """A column of texts: numbers, dates or categories."""
    import pandas as pd

    texts = series.map(str.strip, na_action="ignore")
    texts = texts.where(texts.notna() & ~texts.isin(["", *words]), None)
    given = texts.dropna()
    if given.empty:
        raise UserError("is empty: no row has a value; leave it out with drop=")
    parsed = pd.to_numeric(given, errors="coerce")
    share = float(parsed.notna().mean())
    if share == 1:
        return _number(pd.to_numeric(texts, errors="coerce"), name, words, note="numbers that were written as text")
    if share > MOSTLY or is_mixed:
        _refuse_words(given[parsed.isna()])
    if given.map(lambda text: ISO_DATE.fullmatch(text) is not None).all():
        dates = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
        if dates.notna().sum() == len(given):
            return Column(name, "date", _days(dates))
    if given.map(lambda text: YEAR_FIRST.fullmatch(text) is not None).all():
        dates = pd.to_datetime(texts.str.replace("[./]", "-", regex=True), errors="coerce", format="%Y-%m-%d")
        if dates.notna().sum() == len(given):
            return Column(name, "date", _days(dates))
    if given.map(lambda text: DATE_LIKE.fullmatch(text) is not None).all():
        raise UserError(
            f"dates whose order of day and month is not known, such as '{given.iloc[0]}' in row {given.index[0]}; "
            "write them as 2024-12-31, or read the file with pandas.read_csv(..., parse_dates=, date_format=) and give "
            "the frame"
        )
    looks = given.map(lambda text: NUMBER_LIKE.fullmatch(text) is not None)
    if looks.all():
        remedy = "or read the file with pandas.read_csv(..., thousands=, decimal=) and give the frame"
        if given.str.contains("[%$€£¥]").any():
            remedy = "without signs: column.str.strip('%$€£¥ ').astype(float)"
        raise UserError(
            f"numbers written in another way, such as '{given.iloc[0]}' in row {given.index[0]}; write them as 1234.5, "
            f"{remedy}"
        )
    if given.nunique() > UNITS and given.map(lambda text: WITH_UNIT.fullmatch(text) is not None).all():
        raise UserError(
            f"numbers with a unit, such as '{given.iloc[0]}' in row {given.index[0]}; write the numbers alone, all in "
            "one unit"
        )
    return _categorical(texts.astype("category"), name, frozenset())


def _refuse_words(wrong: "Series[Any]") -> None:
    """Says which words stand among numbers, and what may be meant."""
    shown = ", ".join(f"'{text}' in row {row}" for row, text in list(wrong.items())[:SHOWN])
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    if all(NUMBER_LIKE.fullmatch(text) for text in wrong):
        remedy = (
            "thousands separators, decimal commas and signs are not read: write numbers as 1234.5, or read the file "
            "with pandas.read_csv(..., thousands=, decimal=) and give the frame"
        )
    elif list(wrong.index) == [0]:
        remedy = (
            "if the first line below the names is no example (units, or other names), take it out of the file; if "
            f"it is one whose value is missing: missing_words=['{wrong.iloc[0]}']"
        )
    else:
        listed = sorted({*wrong.tolist()})[:SHOWN]
        remedy = f"correct them, or if they mean that a value is missing: missing_words={listed}"
    raise UserError(f"mixed, numbers with words among them: {shown}{more}; {remedy}")


def _categorical(series: "Series[Any]", name: str, words: frozenset[str]) -> Column:
    """A column of categories; those that no row has are left out."""
    series = series.cat.remove_categories([each for each in series.cat.categories if str(each).strip() in words])
    series = series.cat.remove_unused_categories()
    codes = series.cat.codes.to_numpy().astype(np.float64)
    if (codes < 0).all():
        raise UserError("is empty: no row has a value; leave it out with drop=")
    levels = tuple(str(level) for level in series.cat.categories)
    return Column(name, "category", np.where(codes < 0, np.nan, codes), levels)


def _number(series: "Series[Any]", name: str, words: frozenset[str], note: str = "") -> Column:
    """A column of numbers."""
    values = _floats(series)
    values = np.where(np.isin(values, [float(word) for word in words if _is_number(word)]), np.nan, values)
    if np.isnan(values).all():
        raise UserError("is empty: no row has a value; leave it out with drop=")
    if np.isinf(values).any():
        rows = np.flatnonzero(np.isinf(values))
        raise UserError(f"{len(rows)} infinite values, the first in row {rows[0]}; correct them, or make them missing")
    given = values[~np.isnan(values)]
    if np.abs(given).max() > 2**53 and series.dtype.kind in "iu":
        raise UserError(
            f"whole numbers beyond 2**53, such as {series.iloc[int(np.nanargmax(np.abs(values)))]}, of which a float "
            "cannot tell neighbours apart; leave it out with drop= if it is an id, or subtract a constant"
        )
    return Column(name, "number", values, is_whole=bool((given == np.round(given)).all()), note=note)


def _is_number(text: str) -> bool:
    try:
        return not np.isnan(float(text))
    except ValueError:
        return False


def _floats(series: "Series[Any]") -> np.ndarray[Any, np.dtype[np.float64]]:
    if series.dtype == object:
        return np.array([np.nan if value is None else float(value) for value in series])
    found: np.ndarray[Any, np.dtype[np.float64]] = series.to_numpy(np.float64, na_value=np.nan)
    return found


def _days(series: "Series[Any]") -> np.ndarray[Any, np.dtype[np.float64]]:
    """Dates as days since 1970."""
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    dates = series.to_numpy("datetime64[us]")
    return _ratio(dates - np.datetime64(0, "us"), DAY)


def _ratio(durations: np.ndarray[Any, Any], unit: np.timedelta64) -> np.ndarray[Any, np.dtype[np.float64]]:
    found: np.ndarray[Any, np.dtype[np.float64]] = np.where(np.isnat(durations), np.nan, durations / unit)
    return found
