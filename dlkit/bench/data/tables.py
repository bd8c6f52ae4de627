"""Files with a table, each by the well-kept reader of its kind: pandas, pyarrow, scipy, scikit-learn, h5py."""

import importlib.util
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit.bench.data.bounds import require_room
from dlkit.bench.data.content import Content, decoded
from dlkit.bench.data.delimited import read_delimited
from dlkit.bench.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FORMS", "ReadTable", "need", "read_libsvm", "read_table"]

SPARSE_ARFF = re.compile(r"@data\s*(%.*\s*)*\{\s*\d", re.IGNORECASE)
EXTRA = "pip install 'dlkit-jax[files]'"


class ReadTable(NamedTuple):
    """A table that was read.

    Attributes:
        frame: its columns.
        form: of the file, in words.
        target: the column that the file itself says is the target; empty where it says nothing.
        notes: what is to be said of it.
    """

    frame: "DataFrame"
    form: str
    target: str = ""
    notes: tuple[str, ...] = ()


def need(package: str, where: str, *, extra: bool = True) -> None:
    """Refuses to go on without a package.

    Raises:
        UserError: that says what to install.
    """
    if importlib.util.find_spec(package) is None:
        command = EXTRA if extra else f"pip install {package}"
        raise UserError(f"{where}: reading it needs the package {package}: {command}")


def read_table(content: Content, where: str, *, header: bool | None = None) -> ReadTable:
    """Reads a file with a table, by what its name ends with.

    Args:
        content: the file.
        where: its path, for messages.
        header: as in `read_delimited`.

    Raises:
        UserError: for a file that its reader refuses, or a reader that is not installed.
    """
    suffix = PurePath(content.name).suffix.lower()
    if suffix not in FORMS:
        frame, notes = read_delimited(decoded(content.data, where), where, header=header)
        return ReadTable(frame, "text table", "", notes)
    form, read = FORMS[suffix]
    try:
        found = read(content.data, where)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"{where}: {error}; install it, or give the data as a frame") from None
    except Exception as error:  # of as many kinds as there are readers
        raise UserError(
            f"{where}: its reader for {form} cannot read it ({type(error).__name__}: {error}); get it again, or read "
            "it with another package and give the frame"
        ) from error
    table = found if isinstance(found, ReadTable) else ReadTable(found, form)
    return table._replace(frame=table.frame.reset_index() if _is_named_index(table.frame) else table.frame)


def _is_named_index(frame: "DataFrame") -> bool:
    """Whether the index of a frame is a column that was set aside, as in Parquet files of pandas."""
    return any(name is not None for name in frame.index.names)


def _parquet(data: bytes, where: str) -> "DataFrame":
    import pandas as pd

    need("pyarrow", where)
    parquet: Any = importlib.import_module("pyarrow.parquet")
    facts = parquet.ParquetFile(io.BytesIO(data)).metadata
    packed = sum(facts.row_group(row).total_byte_size for row in range(facts.num_row_groups))
    require_room(max(packed, facts.num_rows * facts.num_columns), where, "the table")
    return pd.read_parquet(io.BytesIO(data), engine="pyarrow")


def _feather(data: bytes, where: str) -> "DataFrame":
    import pandas as pd

    need("pyarrow", where)
    return pd.read_feather(io.BytesIO(data))


def _stata(data: bytes, where: str) -> "DataFrame":
    import pandas as pd

    frame = pd.read_stata(io.BytesIO(data))
    is_index = str(frame.columns[0]) == "index" and len(frame.columns) > 1  # of pandas, which writes it
    return frame.iloc[:, 1:] if is_index and np.array_equal(frame.iloc[:, 0], np.arange(len(frame))) else frame


def _excel(data: bytes, where: str) -> "DataFrame":
    import pandas as pd

    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            require_room(sum(each.file_size for each in archive.infolist()), where, "the file")
    return pd.read_excel(io.BytesIO(data))


def _json(data: bytes, where: str) -> "DataFrame":
    import pandas as pd

    text = decoded(data, where).strip()
    first, _, others = text.partition("\n")
    if others and first.startswith("{") and first.rstrip().endswith("}"):  # an example a line
        return pd.DataFrame([json.loads(line) for line in text.splitlines() if line.strip()])
    found = json.loads(text)
    return _frame_of(found) if isinstance(found, dict) else pd.DataFrame(found)


def _frame_of(found: dict[str, Any]) -> "DataFrame":
    """A table of an object of JSON, in any of the ways in which pandas writes one, or below a key of its own."""
    import pandas as pd

    values = list(found.values())
    if isinstance(found.get("data"), list) and ("columns" in found or "schema" in found):
        frame = pd.DataFrame(found["data"], columns=found.get("columns"))
        keys: list[str] = found.get("schema", {}).get("primaryKey", [])
        return frame[[name for name in frame.columns if name not in keys]]
    if len(values) == 1 and isinstance(values[0], list) and values[0] and isinstance(values[0][0], dict):
        return pd.DataFrame(values[0])
    if all(isinstance(value, dict) for value in values) and all(name.isdigit() for name in found):
        return pd.DataFrame.from_dict(found, orient="index")
    if not any(isinstance(value, dict | list) for value in values):
        return pd.DataFrame([found])
    return pd.DataFrame(found)


def _arff(data: bytes, where: str) -> ReadTable:
    """A table in Weka's form; an attribute "class" that comes last is the target."""
    text = decoded(data, where)
    try:
        frame = _arff_by_scipy(text)
    except (NotImplementedError, ValueError, OSError) as error:  # texts, sparse rows, values that are padded
        frame = _arff_by_openml(text, f"{where}: scipy does not read this ARFF file ({error})")
    last = frame.columns[-1]
    if str(last).lower() != "class":
        return ReadTable(frame, "ARFF")
    return ReadTable(frame, "ARFF", str(last), (f"the target is the last attribute, '{last}', as ARFF files have it",))


def _arff_by_scipy(text: str) -> "DataFrame":
    import pandas as pd
    from scipy.io import arff

    rows, meta = arff.loadarff(io.StringIO(text))
    frame = pd.DataFrame({name: rows[name] for name in meta.names()})
    for name, kind in zip(meta.names(), meta.types(), strict=True):
        if kind == "nominal":
            texts = frame[name].map(lambda value: value.decode("utf-8") if isinstance(value, bytes) else value)
            frame[name] = pd.Categorical(texts.where(texts != "?", None), categories=meta[name][1])
    return frame


def _arff_by_openml(text: str, told: str) -> "DataFrame":
    """Reads what scikit-learn reads of OpenML; what a sparse row leaves out is 0, or the first nominal value."""
    import pandas as pd

    try:
        reader = importlib.import_module("sklearn.externals._arff")
        is_sparse = SPARSE_ARFF.search(text) is not None
        found = reader.loads(text, return_type=reader.LOD if is_sparse else reader.DENSE)
        rows = [*found["data"]]
    except Exception as error:  # it is no public module of scikit-learn, and may raise anything
        raise UserError(
            f"{told}, nor does scikit-learn ({error}); read it with another package and give the frame"
        ) from None
    attributes: list[tuple[str, Any]] = found["attributes"]
    if is_sparse:
        left_out = [kind[0] if isinstance(kind, list) else 0.0 if kind != "STRING" else "" for _, kind in attributes]
        rows = [[row.get(place, value) for place, value in enumerate(left_out)] for row in rows]
    frame = pd.DataFrame(rows, columns=[name for name, _ in attributes])
    for name, kind in attributes:
        if isinstance(kind, list):
            frame[name] = pd.Categorical(frame[name], categories=kind)
    return frame


def read_libsvm(data: bytes, where: str) -> tuple[Any, np.ndarray[Any, Any]]:
    """Reads a file of libsvm and SVMlight: a sparse matrix [examples, features] and targets [examples].

    Raises:
        UserError: for a file that scikit-learn refuses.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        features, targets = load_svmlight_file(io.BytesIO(data))
    except (ValueError, ArithmeticError, MemoryError) as error:
        raise UserError(f"{where}: not a libsvm file that can be read ({error}); correct it") from None
    return features, targets


def hdf5_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Reads all datasets of an HDF5 file, by their paths in it; fields of a compound one are columns.

    Raises:
        UserError: for a file that h5py refuses, or one without datasets.
    """
    need("h5py", str(path))
    import h5py

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    size = 0

    def visit(name: str, item: Any) -> None:
        nonlocal size
        if isinstance(item, h5py.Dataset):
            size += item.size * max(item.dtype.itemsize, 1) if item.size else 0
            require_room(size, str(path), "the file")
            value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
            array = np.asarray(value)
            if array.dtype.names:
                arrays.update({field: array[field] for field in array.dtype.names})
            else:
                arrays[name] = array

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except UserError:
        raise
    except Exception as error:  # a damaged file makes its reader raise nearly anything
        raise UserError(f"{path}: not an HDF5 file that can be read ({error}); get it again") from error
    if not arrays:
        raise UserError(f"{path}: has no datasets; get it again")
    return arrays


FORMS: Mapping[str, tuple[str, Callable[[bytes, str], Any]]] = MappingProxyType(
    {
        **dict.fromkeys((".parquet", ".pq"), ("Parquet", _parquet)),
        **dict.fromkeys((".feather", ".arrow", ".ipc"), ("Feather", _feather)),
        **dict.fromkeys((".jsonl", ".ndjson", ".json"), ("JSON", _json)),
        **dict.fromkeys((".xlsx", ".xls", ".ods"), ("Excel", _excel)),
        ".dta": ("Stata", _stata),
        ".arff": ("ARFF", _arff),
    }
)
"""What a file's name ends with -> its form, in words, and its reader."""
