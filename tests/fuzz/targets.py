"""What reads bytes of others, as functions of bytes alone: each ends well, or with a `UserError`, whatever they are.

The quick suite feeds them by hypothesis (`test_readers.py`); by hand, for as long as one likes, atheris does, which
follows what the bytes reach: `python -m tests.fuzz.run npz --seconds 600`.
"""

import gzip
import io
import json
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from dlkit.bench.api import open_run
from dlkit.bench.cli.watch import look
from dlkit.bench.data import dataset, npz
from dlkit.bench.data.cifar import read_cifar_pickle
from dlkit.bench.data.idx import read_idx
from dlkit.bench.data.series import read_ts
from dlkit.bench.errors import UserError
from dlkit.bench.execution.displays import log_line
from dlkit.bench.execution.packed_models import unpack_model
from dlkit.bench.export.contents import contents
from dlkit.bench.export.json_file import read_json, write_json
from dlkit.bench.plan.json import from_json, to_json
from dlkit.bench.plan.plan import Plan
from dlkit.bench.report.terminal import text_of
from dlkit.bench.spec.toml import load
from dlkit.bench.store.models import PackedModel
from dlkit.bench.store.store import Store
from tests.bench.rewriting import sign
from tests.bench.synthetic import fill, make_plan, make_summary

__all__ = ["SEEDS", "TARGETS"]

Target = Callable[[bytes], None]
ROWS = 24
SPEC = b"""
name = "fuzz"
problems = [{ problem = "quadratic", steps = 40 }]
optimizers = ["sgd", { optimizer = "adam", space = { learning_rate = [0.1, 1.0] } }]
[budget]
steps = 40
evaluations = 4
tuning_points = 2
studies = 6
seeds = 1
"""


@contextmanager
def file_of(data: bytes, name: str) -> Iterator[Path]:
    """A file of these bytes, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="dlkit-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


def refusing(read: Callable[[Path], object], name: str) -> Target:
    """Reads a file of such a name; a `UserError` is an answer."""

    def target(data: bytes) -> None:
        with file_of(data, name) as path:
            try:
                read(path)
            except UserError as error:
                assert str(error)

    return target


# --- run folders ---


@cache
def whole_store() -> bytes:
    """A store with two contenders' trials."""
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder) / "run") as store:
            fill(store, make_plan(("sgd", "adam"), points=2, seeds=2))
        return (Path(folder) / "run" / "store.sqlite").read_bytes()


def show(path: Path) -> None:
    """Opens a store's folder and shows it, as `dlkit show` does."""
    text_of(open_run(path.parent).summary, tables=True)


def edited(data: bytes) -> None:
    """A whole store with bytes changed: two bytes of place and one of content each."""
    store, places = bytearray(whole_store()), len(whole_store())
    for start in range(0, len(data) - 3, 4):
        store[int.from_bytes(data[start : start + 3], "little") % places] = data[start + 3]
    refusing(show, "store.sqlite")(bytes(store))


CELLS = (
    ("identity", "shared"), ("trial", "status"), ("trial", "validation"), ("trial", "steps"), ("trial", "seconds"),
    ("trial", "diverged_at"), ("trial", "reason"), ("trial", "restored_at"), ("trial", "gradients"),
    ("trial", "curves"), ("trial", "metrics"), ("trial", "hyperparameters"), ("trial", "seed"), ("spec", "plan"),
    ("program", "fields"), ("meta", "value"),
    ("drawn", "point"), ("spec", "sources"), ("spec", "own_code"),
)  # fmt: skip


def cell(data: bytes) -> None:
    """A whole store in which the cells of a column hold other things, with their digests.

    A first byte says which column, a second one of what type.
    """
    if len(data) < 2:
        return
    (table, column), value = CELLS[data[0] % len(CELLS)], data[2:]
    kinds = (
        bytes,
        lambda raw: raw.decode("utf-8", "replace"),
        lambda raw: int.from_bytes(raw[:8], "little", signed=True),
    )
    shown = (
        *kinds,
        lambda raw: float(len(raw)) if not raw else float(int.from_bytes(raw[:4], "little")) / 7,
        lambda _: None,
    )
    with file_of(whole_store(), "store.sqlite") as path:
        with closing(sqlite3.connect(path)) as connection, connection:
            with_null = shown[data[1] % len(shown)](value)
            try:
                connection.execute(f"UPDATE {table} SET {column} = ?", (with_null,))
                sign(connection)
            except sqlite3.Error:
                return
        try:
            show(path)
        except UserError as error:
            assert str(error)


def progress(data: bytes) -> None:
    """What a run says of itself while it goes on."""
    with file_of(data, "progress.json") as path:
        found = look(path.parent)
        assert found.goes_on in (True, False)
        if found.state is not None:
            assert found.ended is not None and log_line(found.state, 0.0)


def plan(data: bytes) -> None:
    """A plan as JSON."""
    try:
        to_json(from_json(Plan, data.decode("utf-8", "surrogateescape")))
    except UserError as error:
        assert str(error)


def model(data: bytes) -> None:
    """A kept model's arrays."""
    structure = {"arrays": ["['params']['w']"], "tree": {"dict": {"params": {"dict": {"w": "array"}}, "state": "none"}}}
    try:
        unpack_model(PackedModel(data, structure), lambda: None)  # type: ignore[arg-type, return-value]
    except UserError as error:
        assert str(error)


def spec(path: Path) -> None:
    """A spec; what names code of its own is left out: it would be run."""
    if b":" not in path.read_bytes():
        load(path)


TARGETS: dict[str, Target] = {
    "spec": refusing(spec, "spec.toml"),
    "store": refusing(show, "store.sqlite"),
    "edited": edited,
    "cell": cell,
    "progress": progress,
    "plan": plan,
    "model": model,
    "export": refusing(read_json, "run.json"),
    "npz": refusing(npz, "data.npz"),
    "door_npz": refusing(dataset, "data.npz"),
    "npy": refusing(dataset, "data.npy"),
    "idx": refusing(read_idx, "train-images-idx3-ubyte"),
    "csv": refusing(lambda path: dataset(path, target="y"), "table.csv"),
    "packed": refusing(lambda path: dataset(path, target="y"), "table.csv.gz"),
    "ts": refusing(read_ts, "Some_TRAIN.ts"),
    "json": refusing(lambda path: dataset(path, target="y"), "table.json"),
    "arff": refusing(lambda path: dataset(path, target="y"), "table.arff"),
    "libsvm": refusing(dataset, "table.libsvm"),
    "text": refusing(dataset, "text.txt"),
    "matlab": refusing(lambda path: dataset(path, target="y"), "data.mat"),
    "hdf5": refusing(lambda path: dataset(path, target="y"), "data.h5"),
    "parquet": refusing(lambda path: dataset(path, target="y"), "table.parquet"),
    "cifar": refusing(read_cifar_pickle, "data_batch_1"),
}
"""Name -> what reads bytes."""


# --- what is right, to begin with ---


def saved(write: Callable[[Path], object], name: str) -> bytes:
    """What a function writes to a file of this name."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def table() -> bytes:
    """Lines of numbers and texts."""
    lines = [f"{row % 7 + 0.5},{('ant', 'bee')[row % 2]},{row}" for row in range(ROWS)]
    return "\n".join(["x,y,z", *lines]).encode()


def arrays() -> dict[str, np.ndarray]:
    """Inputs and targets."""
    return {"x": np.arange(2.0 * ROWS).reshape(ROWS, 2), "y": np.arange(ROWS) % 2}


def hdf5(path: Path) -> None:
    """Writes an HDF5 file."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in arrays().items():
            file[name] = array


def seeds_of(name: str) -> bytes:
    """Bytes that a target takes as right."""
    import pandas as pd
    from flax.serialization import msgpack_serialize
    from scipy.io import savemat

    frame = pd.DataFrame({"x": np.arange(ROWS) % 7 + 0.5, "y": ["ant", "bee"] * (ROWS // 2)})
    known: dict[str, Callable[[], bytes]] = {
        "spec": lambda: SPEC,
        "store": whole_store,
        "edited": lambda: b"\0\1\0\7",
        "cell": lambda: b"\0\1{}",
        "progress": lambda: json.dumps(
            {"planned": 3, "compiling": ["a"], "training": [], "host": "h", "process": 1}
        ).encode(),
        "plan": lambda: to_json(make_plan(("sgd", "adam"))).encode(),
        "model": lambda: msgpack_serialize({"['params']['w']": np.ones((2, 3), np.float32)}),
        "export": lambda: saved(lambda path: write_json(contents(make_summary()), path), "run.json"),
        "npz": lambda: saved(lambda path: np.savez(path, **arrays()), "data.npz"),
        "door_npz": lambda: saved(lambda path: np.savez_compressed(path, **arrays()), "data.npz"),
        "npy": lambda: saved(lambda path: np.save(path, arrays()["x"]), "data.npy"),
        "idx": lambda: b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(8),
        "csv": table,
        "packed": lambda: gzip.compress(table()),
        "ts": lambda: b"@problemName Some\n@timeStamps false\n@classLabel true a b\n@data\n1,2,3:a\n2,3,4:b\n",
        "json": lambda: frame.to_json(orient="records").encode(),
        "arff": lambda: (
            b"@relation r\n@attribute x numeric\n@attribute y {ant,bee}\n@data\n" + b"1,ant\n2,bee\n" * ROWS
        ),
        "libsvm": lambda: b"1 1:0.5 2:1\n0 1:0.25 3:2\n" * ROWS,
        "text": lambda: b"To be, or not to be, that is the question. " * 60,
        "matlab": lambda: saved(lambda path: savemat(path, arrays()), "data.mat"),
        "hdf5": lambda: saved(hdf5, "data.h5"),
        "parquet": lambda: saved(frame.to_parquet, "table.parquet"),
        "cifar": lambda: _cifar(),
    }
    return known[name]()


def _cifar() -> bytes:
    import pickle

    stream = io.BytesIO()
    pickle.dump({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, stream, protocol=2)
    return stream.getvalue()


SEEDS: dict[str, Callable[[], bytes]] = {name: (lambda name=name: seeds_of(name)) for name in TARGETS}
