"""A run as a folder of Parquet files; each column's unit and meaning stands in its metadata."""

import json
from pathlib import Path
from typing import Any

from dlkit.bench.export.contents import Contents
from dlkit.bench.export.csv_files import describe
from dlkit.bench.export.packages import require

__all__ = ["write_parquet"]

HOW = """A missing value is null. `NaN` is a number where a column holds it: in curves, where a trial diverged; infinite
ends of intervals are ones that the data do not bound."""


def write_parquet(found: Contents, folder: Path) -> None:
    """Writes a file a table.

    Args:
        found: the run.
        folder: an empty one.

    Raises:
        UserError: without pyarrow.
        OSError: if it cannot be written.
    """
    arrow: Any = require("pyarrow", "pyarrow>=20.0", "parquet")
    parquet: Any = require("pyarrow.parquet", "pyarrow>=20.0", "parquet")
    about = {name.encode(): json.dumps(value).encode() for name, value in found.facts.items()}
    for each in found.tables:
        fields, arrays = [], []
        for column in each.columns:
            values = arrow.array(each.frame[column.name], from_pandas=not column.holds_nan)
            arrays.append(values)
            fields.append(arrow.field(column.name, values.type, metadata={"unit": column.unit, "text": column.text}))
        table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata=about))
        parquet.write_table(table, folder / f"{each.name}.parquet")
    describe(found, folder, ending="parquet", how=HOW)
