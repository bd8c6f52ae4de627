"""Faulty sources: each is refused with the file, the column and what to do."""

import gzip
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from dlkit import bench
from dlkit.bench.errors import UserError

ROWS = 40
GOOD = pd.DataFrame({"size": np.arange(ROWS) % 7 + 0.5, "kind": ["ant", "bee"] * (ROWS // 2)})
KIND = {"target": "kind"}
NAMES = [f"name {row}" for row in range(ROWS)]
RNG = np.random.default_rng(0)


def lines(text: str, name: str = "t.csv") -> Callable[[Path], Path]:
    """A file of these lines, each "*" in front of one meaning forty of it."""
    rows = [part for line in text.split("/") for part in ([line[1:]] * ROWS if line.startswith("*") else [line])]
    return content("\n".join(rows).encode(), name)


def content(data: bytes, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def frame(**columns: Any) -> Callable[[Path], pd.DataFrame]:
    return lambda _: GOOD.assign(**columns)


def folder_of(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"no image")
        return folder

    return make


def images(*shapes: tuple[int, int]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from PIL import Image

        for row, shape in enumerate(shapes):
            place = folder / ("ant", "bee")[row % 2]
            place.mkdir(exist_ok=True)
            Image.fromarray(RNG.integers(0, 256, shape, np.uint8)).save(place / f"{row}.png")
        return folder

    return make


def two_files(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "t.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    return folder / "t.zip"


def misspelt(folder: Path) -> Path:
    GOOD.to_csv(folder / "penguins.csv", index=False)
    return folder / "penguin.csv"


FAULTS: Mapping[str, tuple[Callable[[Path], Any], Mapping[str, Any], str]] = {
    # files
    "no such file": (misspelt, KIND, r"penguin.csv: no such file .*there are: penguins.csv"),
    "no such folder": (
        lambda folder: folder / "none" / "t.csv",
        KIND,
        r"no such file or folder; in .* there are: no files",
    ),
    "empty": (content(b"", "t.csv"), KIND, r"t.csv: is empty; get it again"),
    "cut short": (content(gzip.compress(b"size,kind\n" * 99)[:-9], "t.csv.gz"), KIND, r"t.csv.gz: cannot be read"),
    "two files": (two_files, KIND, r"t.zip: expected a zip file of one file, got a.csv, b.csv"),
    "latin-1": (
        content("größe,kind\n1,a".encode("latin-1"), "t.csv"),
        KIND,
        r"cannot be read as UTF-8.*encoding='cp1252'",
    ),
    "pickle": (content(b"x", "t.pkl"), KIND, r"t.pkl: such files run code when they are read; save a table"),
    "bad parquet": (content(b"PAR1xx", "t.parquet"), KIND, r"t.parquet: its reader for Parquet cannot read it"),
    "bad hdf5": (content(b"x", "t.h5"), KIND, r"t.h5: not an HDF5 file that can be read"),
    "bad npy": (content(b"x", "t.npy"), KIND, r"t.npy: not an .npy file that can be read"),
    "bad excel": (content(b"x", "t.xlsx"), KIND, r"t.xlsx: .*(give the frame|give the data as a frame)"),
    "bad arff": (
        lines("@relation t/@attribute size numbers/@attribute kind string/@data/*1,a", "t.arff"),
        KIND,
        r"t.arff: scipy does not read this ARFF file .*, nor does scikit-learn .*give the frame",
    ),
    "one array": (lambda folder: np.save(folder / "x.npy", np.zeros((5, 2, 2))) or folder / "x.npy", {}, r"no targets"),
    "one image": (content(b"x", "a.png"), {}, r"a.png: is one image; give the folder"),
    "short text": (content(b"so short", "t.txt"), {}, r"8 characters are too few for sequences of 48"),
    # folders
    "folder of tables": (
        folder_of("a.csv", "b.csv"),
        {},
        r"a folder, but not one of images.*a.csv; in it.*a.csv, b.csv",
    ),
    "no images": (folder_of("ant/1.png", "bee/1.png"), {}, r"1.png: not an image that can be read"),
    "one class": (images((3, 3)), {}, r"expected a folder of images for each class, got ant"),
    "sizes of images": (images((4, 4), (4, 4), (5, 4)), {}, r"2 sizes: most are 4x4, 2.png is not; .*size=\(4, 4\)"),
    # lines
    "ragged lines": (lines("size,kind/1,a/1,a,b/*1,a"), KIND, r"t.csv: the first line has 2 fields, line 3 has 3"),
    "names twice": (lines("size,size,kind/*1,2,a"), KIND, r"several columns are called 'size'"),
    "no rows": (lines("size,kind"), KIND, r"has a line of names, and no rows"),
    # columns
    "which target": (
        lines("size,species/*1,a"),
        {},
        r"which column is to be predicted.*'size', 'species'.*target='species'",
    ),
    "no such target": (
        frame(),
        {"target": "kid"},
        r"no column 'kid'; did you mean 'kind'\? \(there are 'size', 'kind'\)",
    ),
    "no such place": (frame(), {"target": 7}, r"no column 7; there are 2: 'size', 'kind'"),
    "no such drop": (frame(), {**KIND, "drop": ["sise"]}, r"no column 'sise'; did you mean 'size'"),
    "drop is a text": (
        frame(),
        {**KIND, "drop": "size"},
        r"drop: expected a list of names, got 'size'; write \['size'\]",
    ),
    "dropped target": (frame(), {**KIND, "drop": ["kind"]}, r"'kind' is the target, and in drop="),
    "no inputs": (frame(), {**KIND, "drop": ["size"]}, r"no column is left to predict from"),
    "missing values": (
        frame(size=[np.nan, np.nan, *range(ROWS - 2)]),
        KIND,
        r"missing values: 'size' 2, of 40 rows; say what is to be done: missing='impute'",
    ),
    "empty column": (frame(void=np.nan), KIND, r"column 'void': is empty: no row has a value; leave it out with drop="),
    "words among numbers": (
        lines("size,kind/unknown,a/*1,a/?,b"),
        KIND,
        r"column 'size': mixed, numbers with words among them: 'unknown' in row 0, '\?' in row 41.*missing_words=\[",
    ),
    "objects of two types": (frame(size=[1, "one"] * 20), KIND, r"column 'size': mixed, .*'one' in row 1"),
    "thousands": (
        lines('size,kind/*"1,200",a/7,b'),
        KIND,
        r"column 'size': numbers written in another way, such as '1,200'",
    ),
    "decimal commas": (
        lines("size;kind/*1,5;a/2,5;b"),
        KIND,
        r"column 'size': numbers written in another way.*decimal=",
    ),
    "percent": (lines("size,kind/*12%,a/7%,b"), KIND, r"column 'size': numbers written in another way, such as '12%'"),
    "dates of two orders": (
        lines("day,kind/*03.04.2020,a/04.05.2020,b"),
        KIND,
        r"column 'day': dates whose order of day",
    ),
    "names": (frame(who=NAMES), KIND, r"column 'who': 40 different texts in 40 rows .*drop=\['who'\]"),
    "prose": (frame(said=[name * 10 for name in NAMES]), KIND, r"column 'said': 40 different texts.*TfidfVectorizer"),
    "lists": (frame(size=[[1, 2]] * ROWS), KIND, r"column 'size': expected one number, text or date a row, got list"),
    "complex": (frame(size=np.arange(ROWS) * 1j), KIND, r"column 'size': complex numbers"),
    "infinite": (
        frame(size=[np.inf] + [1.0] * (ROWS - 1)),
        KIND,
        r"column 'size': 1 infinite values, the first in row 0",
    ),
    "large ids": (
        frame(size=np.arange(ROWS) + 2**60),
        KIND,
        r"column 'size': whole numbers beyond 2\*\*53, such as 1152",
    ),
    # targets
    "names as target": (frame(kind=NAMES), KIND, r"target 'kind': 40 different texts in 40 rows are no classes"),
    "one class alone": (frame(kind="ant"), KIND, r"target 'kind': all rows have the same class"),
    "classes of quantities": (
        frame(),
        {"target": "size", "task": "classification"},
        r"'size': 7 different values, such as 0.5, are no classes",
    ),
    "quantities of classes": (frame(), {**KIND, "task": "regression"}, r"'kind': categories \(ant, bee.*no quantities"),
    "two classes": (frame(other=1.5), {"target": ["kind", "size"]}, r"target 'kind': categories"),
    "huge target": (
        frame(price=np.arange(ROWS) * 1e38),
        {"target": "price"},
        r"column 'price': .* is beyond float32.*scale_target=True",
    ),
    # splits
    "shares": (frame(), {**KIND, "test": 1.5}, r"test must be a share of the examples between 0 and 1, got 1.5"),
    "time of texts": (
        frame(when=["early", "late"] * 20),
        {**KIND, "time": "when"},
        r"times are numbers or dates .*'early'",
    ),
    "few rows": (lambda _: GOOD[:2], KIND, r"2 examples cannot be split|too few|share"),
    "groups and time": (
        frame(when=range(ROWS), who=1),
        {**KIND, "groups": "who", "time": "when"},
        r"groups and time cannot hold",
    ),
    "two groups": (frame(who=[0, 1] * 20), {**KIND, "groups": "who"}, r"2 groups cannot be 3 splits"),
    "groups of another length": (
        frame(),
        {**KIND, "groups": [1, 2]},
        r"groups has shape \(2,\); expected .* 40 examples",
    ),
    "test lacks a column": (frame(), {**KIND, "test": GOOD[["kind"]]}, r"lacks the columns \['size'\]"),
    "groups in both": (
        frame(who=np.arange(ROWS) % 9),
        {**KIND, "groups": "who", "test": GOOD.assign(who=3)},
        r"1 groups have examples in the",
    ),
    "test before": (
        frame(when=range(ROWS)),
        {**KIND, "time": "when", "test": GOOD.assign(when=3)},
        r"test examples are not all later",
    ),
    # arrays
    "lengths": (lambda _: (np.zeros((9, 2)), np.zeros(8)), {}, r"9 examples, but 8 targets"),
    "rows in two orders": (lambda _: (GOOD[["size"]][::-1], GOOD["kind"]), {}, r"the same index in different orders"),
    "vector of inputs": (
        lambda _: (np.zeros(9), np.zeros(9)),
        {},
        r"expected numbers \[examples, ...\], got shape \(9,\)",
    ),
    "no targets": (lambda _: np.zeros((9, 3, 3)), {}, r"got ndarray\(9, 3, 3\); for an array, give its targets too"),
    "which arrays": (lambda _: {"a": np.zeros((9, 3)), "b": np.zeros(9)}, {}, r"'a' \(9, 3\), 'b' \(9,\); call them"),
    "wide sparse": (
        lambda _: (scipy.sparse.csr_matrix((50_000, 50_000)), np.zeros(50_000)),
        {},
        r"takes 9 GiB once it is dense",
    ),
    "columns of arrays": (
        lambda _: (np.zeros((9, 2)), [0, 1, 0] * 3),
        KIND,
        r"has arrays, no columns; leave out target='kind'",
    ),
    "a dataset": (lambda _: bench.dataset(GOOD, **KIND), {}, r"is a Dataset already"),
    "an unknown policy": (
        frame(),
        {**KIND, "missing": "fill"},
        r"missing: 'fill' is none of 'refuse', 'impute', 'drop'",
    ),
    "a digest": (frame(), {**KIND, "digest": "ffff"}, r"expected the digest ffff"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named(fault: str, tmp_path: Path) -> None:
    make, options, message = FAULTS[fault]
    source = make(tmp_path)
    with pytest.raises(UserError, match=f"(?s){message}"):
        bench.dataset(source, **options)


def test_a_reader_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GOOD.to_parquet(tmp_path / "t.parquet")
    door = bench.dataset
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"t.parquet: .*pyarrow: pip install 'dlkit-jax\[files\]'"):
        door(tmp_path / "t.parquet", target="kind")


def test_a_class_that_a_split_lacks_is_said() -> None:
    rare = GOOD.assign(kind=["rare", *GOOD["kind"][1:]])
    with pytest.warns(UserWarning, match="class 'rare', of 1 example, is not in validation and test"):
        made = bench.dataset(rare, target="kind")
    assert made.card is not None and any("'rare'" in note for note in made.card.notes)


def test_what_is_worth_a_look_is_said() -> None:
    table = GOOD.assign(id=range(100, 100 + ROWS), same=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card = bench.dataset(table, target="kind").card
    assert card is not None and "'id' counts the rows: if it is an id, leave it out with drop=['id']" in card.notes
    assert "'same' has the same value in every row: it tells nothing" in card.notes
