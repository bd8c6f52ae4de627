"""A run as one file of strict JSON, which reads back as it was.

JSON has no NaN and no infinity. A missing number is null; one that is not finite is the text "NaN", "Infinity" or
"-Infinity", in columns of numbers alone.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.bench.errors import UserError
from dlkit.bench.export.columns import Column
from dlkit.bench.export.contents import FORMAT, VERSION, Contents, Table, as_kinds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["facts_of", "read_json", "strict", "write_json"]

INFINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def write_json(found: Contents, path: Path) -> None:
    """Writes a run as JSON.

    Args:
        found: the run.
        path: of the file.

    Raises:
        OSError: if it cannot be written.
    """
    tables = {
        each.name: {
            "text": each.text,
            "columns": [_described(column) for column in each.columns],
            "values": {column.name: _values(column, each.frame[column.name]) for column in each.columns},
        }
        for each in found.tables
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump({**found.facts, "plan": strict(found.spec), "tables": tables}, file, allow_nan=False)
        file.write("\n")


def read_json(path: str | Path) -> Contents:
    """Reads what `write_json` wrote.

    Args:
        path: of the file.

    Returns:
        The run, equal to what was written.

    Raises:
        UserError: if there is no such file, or it is none of these, or of a later version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(f"{path} is no JSON export of dlkit; `dlkit export RUN --format json` writes one")
    if not isinstance(data.get("version"), int) or data["version"] > VERSION:
        raise UserError(
            f"{path} has version {data.get('version')!r} of the format, this dlkit reads up to {VERSION}: update it"
        )
    try:
        tables = tuple(_table(name, each) for name, each in data.pop("tables").items())
        return Contents({name: each for name, each in data.items() if name != "plan"}, data["plan"], tables)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); export the run again") from None


def facts_of(found: Contents) -> dict[str, Any]:
    """Returns what a folder says of itself: the facts, and of each table its columns.

    Args:
        found: the run.
    """
    tables = {
        each.name: {
            "text": each.text,
            "rows": len(each.frame),
            "columns": [_described(column) for column in each.columns],
        }
        for each in found.tables
    }
    return {**found.facts, "plan": strict(found.spec), "tables": tables}


def strict(value: Any) -> Any:
    """Returns data with texts for numbers that JSON does not have.

    Args:
        value: mappings, sequences and scalars.
    """
    if isinstance(value, Mapping):
        return {str(name): strict(each) for name, each in value.items()}
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, Sequence):
        return [strict(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return INFINITE.get(value, "NaN")
    return value


def _described(column: Column) -> dict[str, Any]:
    return {"name": column.name, "kind": column.kind, "unit": column.unit, "text": column.text, "nan": column.holds_nan}


def _values(column: Column, values: "pd.Series[Any]") -> list[Any]:
    if column.kind == "number":
        missing = "NaN" if column.holds_nan else None
        return [
            each if math.isfinite(each) else missing if math.isnan(each) else INFINITE[each] for each in values.tolist()
        ]
    absent = values.isna().tolist()
    return [None if is_absent else each for each, is_absent in zip(values.tolist(), absent, strict=True)]


def _table(name: str, data: Mapping[str, Any]) -> Table:
    import pandas as pd

    columns = tuple(
        Column(each["name"], each["kind"], each["unit"], each["text"], each["nan"]) for each in data["columns"]
    )
    read = {each.name: _read(each, data["values"][each.name]) for each in columns}
    return Table(name, data["text"], columns, as_kinds(pd.DataFrame(read), columns))


def _read(column: Column, values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if column.kind == "number":
        numbers = [math.nan if each is None else NUMBERS[each] if isinstance(each, str) else each for each in values]
        return pd.Series(numbers, dtype="float64")
    return pd.Series(list(values), dtype=object)
