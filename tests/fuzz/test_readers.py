"""Whatever bytes a reader is given, it ends well or with a `UserError`, soon and in little memory."""

import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dlkit.bench.data import dataset, npz
from dlkit.bench.data.idx import read_idx
from dlkit.bench.errors import UserError
from tests.fuzz.targets import SEEDS, TARGETS

SLOW = {
    "arff",
    "libsvm",
    "edited",
    "cell",
    "store",
    "matlab",
    "export",
}  # each of whose inputs takes a tenth of a second
MIB = 2**20

# Places and what is put there: bytes of a right file are overwritten, left out, or come twice.
edits = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["put", "cut", "end", "twice"]), st.binary(min_size=1, max_size=8)),
    max_size=6,
)


def changed(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """Bytes after some edits."""
    for place, kind, part in edits:
        at = int(place * len(data))
        if kind == "put":
            data = data[:at] + part + data[at + len(part) :]
        elif kind == "cut":
            data = data[:at] + data[at + 4 * len(part) :]
        elif kind == "end":
            data = data[:at]
        else:
            data = data[:at] + data[at : at + 64] + data[at:]
    return data


def feed(name: str, examples: int) -> None:
    """Feeds a reader with edited right files, and with any bytes."""
    right = SEEDS[name]()

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(edits.map(lambda each: changed(right, each)), st.binary(max_size=200)))
    def reads(data: bytes) -> None:
        TARGETS[name](data)

    reads()


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"arff", "matlab", "export"}))
def test_a_reader_ends_well_or_says_what_is_wrong(name: str) -> None:
    feed(name, 4 if name in SLOW else 40)


@pytest.mark.long
@pytest.mark.parametrize("name", ["arff", "matlab", "export"])
def test_a_slow_reader_ends_well_or_says_what_is_wrong(name: str) -> None:
    feed(name, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_reader_ends_well_on_many_files(name: str) -> None:
    feed(name, 200 if name in SLOW else 3000)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_right_is_taken(name: str) -> None:
    """Else nothing behind the first check would be looked at."""
    TARGETS[name](SEEDS[name]())


# --- more than there is memory for ---


def npy_head(shape: str, descr: str = "'<f8'") -> bytes:
    """The head of an array's file."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HEADS = ("(1000000, 1000000)", "(4000000000,)", f"({2**62}, 8)", "(-1, 4)", "(8, -2)", f"({2**63},)")


@pytest.mark.parametrize("shape", HEADS)
def test_a_header_that_promises_more_than_there_is_gets_no_room(tmp_path: Path, shape: str) -> None:
    (tmp_path / "x.npy").write_bytes(npy_head(shape) + bytes(64))
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            opened.writestr(f"{name}.npy", npy_head(shape) + bytes(64))
    (tmp_path / "x.npz").write_bytes(archive.getvalue())
    tracemalloc.start()
    for read, name in ((dataset, "x.npy"), (dataset, "x.npz"), (npz, "x.npz")):
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    tracemalloc.stop()


def test_files_that_unpack_to_more_than_they_may_get_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setenv("DLKIT_MOST_BYTES", str(4 * MIB))
    zeros = bytes(64 * MIB)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(zeros, 1))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(gzip.compress(zeros, 1))
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", zeros)
    np.savez_compressed(tmp_path / "t.npz", x=np.zeros(8 * MIB), y=np.zeros(8 * MIB))
    del zeros
    tracemalloc.start()
    for read, name in (
        (dataset, "t.csv.gz"),
        (dataset, "t.csv.zip"),
        (dataset, "t.npz"),
        (npz, "t.npz"),
        (read_idx, "train-images-idx3-ubyte"),
    ):
        with pytest.raises(UserError, match=rf"{name}: .*unpacks to more than 4\.0 MiB.*DLKIT_MOST_BYTES"):
            read(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 100_000, "x = " + "1" * 10_000, "a." * 50_000 + "b = 1", "seeds = nan", "[budget]\nsteps = 1e400"],
    ids=["deep", "digits", "dots", "nan", "large"],
)
def test_odd_specs_are_a_message(text: str) -> None:
    TARGETS["spec"](text.encode())
    TARGETS["spec"](b'problems = ["quadratic"]\noptimizers = ["sgd"]\n' + text.encode())


def test_deep_json_is_a_message() -> None:
    for name in ("plan", "progress", "export", "json"):
        TARGETS[name](b"[" * 200_000)
        TARGETS[name](b'{"a":' * 100_000)
    for place in range(8):
        TARGETS["cell"](bytes([place, 1]) + b"[" * 100_000)
