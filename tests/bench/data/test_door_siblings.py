"""Sources that come in other dress: what each holds arrives, and what cannot is named."""

import datetime
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlkit import bench
from dlkit.bench.errors import UserError

ROWS = 40
SIZE = np.arange(ROWS) % 7 + 0.5
KIND = np.array(["ant", "bee"] * (ROWS // 2))
TABLE = pd.DataFrame({"size": SIZE, "weight": SIZE[::-1] * 2, "kind": KIND})
CSV = TABLE.to_csv(index=False)
INPUTS = np.stack([SIZE, SIZE[::-1] * 2], axis=1)
CODES = np.arange(ROWS) % 2
SEVEN = np.random.default_rng(0).integers(0, 256, (ROWS, 7, 7), np.uint8)


def rows_of(made: bench.Dataset) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All examples, in an order that their values decide."""
    parts = [getattr(made, part) for part in ("train", "validation", "test")]
    inputs, targets = (np.concatenate([part[name] for part in parts]) for name in ("inputs", "targets"))
    order = np.lexsort((*inputs.reshape(len(inputs), -1).T, targets))
    return inputs[order], targets[order]


def expected() -> bench.Dataset:
    return bench.dataset(TABLE, target="kind", scale=False)


# --- tables ----------------------------------------------------------------------------------------------------------

UNNAMED = TABLE.assign(kind=np.sort(KIND)).to_csv()  # sorted by class: an index would tell the class
SPACES = "size weight kind\n" + "\n".join(f'"row {i}" {a} {b} {k}' for i, (a, b, k) in enumerate(TABLE.to_numpy()))
TABLES: Mapping[str, tuple[str, str]] = {
    "old Mac's line ends": ("t.csv", CSV.replace("\n", "\r")),
    "a separator after each line": ("t.csv", CSV.replace("\n", ",\n")),
    "a separator after each row": ("t.csv", CSV.replace("\n", ",\n").replace("kind,", "kind", 1)),
    "Excel's sep=": ("t.csv", "sep=;\n" + CSV.replace(",", ";")),
    "names in a comment": ("t.csv", "# written by a script\n# " + CSV),
    "comments of per cent signs": ("t.csv", "% by a script\n% of today\n" + CSV),
    "bars around": ("t.txt", "\n".join(f"| {line.replace(',', ' | ')} |" for line in CSV.splitlines())),
    "an index without a name": ("t.csv", TABLE.to_csv()),
    "names of rows, and none for them": ("t.dat", SPACES),
    "JSON, split": ("t.json", TABLE.to_json(orient="split")),
    "JSON, by rows": ("t.json", TABLE.to_json(orient="index")),
    "JSON, table": ("t.json", TABLE.to_json(orient="table")),
    "JSON below a key": ("t.json", json.dumps({"data": json.loads(TABLE.to_json(orient="records"))})),
}


@pytest.mark.parametrize("dress", TABLES)
def test_the_same_table_in_another_dress(dress: str, tmp_path: Path) -> None:
    name, text = TABLES[dress]
    (tmp_path / name).write_bytes(text.encode())
    made = bench.dataset(tmp_path / name, target="kind", scale=False)
    for got, wanted in zip(rows_of(made), rows_of(expected()), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_index_of_a_sorted_table_does_not_tell_the_class(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(UNNAMED)
    made = bench.dataset(tmp_path / "t.csv", target="kind")
    assert made.train["inputs"].shape[1] == 2
    assert made.card is not None and "names the rows, and is left out" in made.card.notes[0]
    TABLE.assign(kind=np.sort(KIND)).to_stata(tmp_path / "t.dta")
    assert bench.dataset(tmp_path / "t.dta", target="kind").train["inputs"].shape[1] == 2


# --- arrays ----------------------------------------------------------------------------------------------------------

NAMINGS: tuple[Mapping[str, Any], ...] = (
    {"Xtr": INPUTS, "Ytr": CODES, "Xte": INPUTS[:8] + 1, "Yte": CODES[:8]},
    {"train_set_x": INPUTS, "train_set_y": CODES, "test_set_x": INPUTS[:8] + 1, "test_set_y": CODES[:8]},
    {"fea": INPUTS, "gnd": CODES},
)


@pytest.mark.parametrize("arrays", NAMINGS, ids=["Xtr", "train_set_x", "fea"])
def test_arrays_of_other_names(arrays: Mapping[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    made = bench.dataset(tmp_path / "t.npz")
    assert made.card is not None and made.card.classes == ("0", "1")
    assert len(made.test["targets"]) == 8


def test_arrays_beside_inputs_and_targets_may_be_groups() -> None:
    who = np.arange(ROWS) // 4
    made = bench.dataset({"x": INPUTS + who[:, None] * 100, "y": CODES, "who": who}, groups="who", scale=False)
    of_part = [{*(part["inputs"][:, 0] // 100).tolist()} for part in (made.train, made.validation, made.test)]
    assert sum(map(len, of_part)) == len(set.union(*of_part)) == 10


def test_what_scikit_learn_calls_data_are_the_inputs() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    assert bench.dataset(sklearn.load_digits()).train["inputs"].shape[1:] == (64,)


def test_files_of_matlab_that_are_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "t.mat", "w", userblock_size=512) as file:  # axes in the other order
        file["X"], file["y"] = INPUTS.T, CODES[None]
    made = bench.dataset(tmp_path / "t.mat", scale=False)
    np.testing.assert_array_equal(rows_of(made)[0], rows_of(expected())[0])


def test_images_are_found_below_and_of_any_number_of_classes(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number in range(25):
        place = tmp_path / "data" / f"class {number:02}"
        place.mkdir(parents=True)
        for row in range(2):
            image.fromarray(SEVEN[number + row]).save(place / f"{row}.png")
    with pytest.warns(UserWarning, match="is not in"):
        made = bench.dataset(tmp_path)
    assert made.card is not None and len(made.card.classes) == 25
    assert made.train["targets"].dtype == np.int32


def test_many_whole_numbers_are_said_to_be_quantities() -> None:
    card = bench.dataset((np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 30)).card
    assert card is not None and any("task='classification'" in note for note in card.notes)


@pytest.mark.parametrize("dtype", [np.int64, np.float64, bool])
def test_one_hot_targets_are_classes(dtype: Any) -> None:
    made = bench.dataset((INPUTS, np.eye(3)[np.arange(ROWS) % 3].astype(dtype)))
    assert made.card is not None and len(made.card.classes) == 3 and "one-hot" in " ".join(made.card.notes)
    assert made.train["targets"].dtype == np.int32
    regression = bench.dataset((INPUTS, np.eye(3)[np.arange(ROWS) % 3]), task="regression")
    assert regression.train["targets"].shape[1:] == (3,)


def test_channels_that_come_first_are_said() -> None:
    images = np.repeat(SEVEN[:, None], 3, axis=1)
    with pytest.warns(UserWarning, match=r"channels first.*moveaxis"):
        bench.dataset((images, CODES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.dataset((np.moveaxis(images, 1, -1), CODES))


def test_idx_files_whose_names_end_otherwise(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for kind, values in (("images", SEVEN), ("labels", CODES.astype(np.uint8))):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (tmp_path / "raw").mkdir(exist_ok=True)
            (tmp_path / "raw" / f"{part}-{kind}.idx").write_bytes(head + values.tobytes())
    made = bench.dataset(tmp_path)
    assert made.card is not None and made.card.form == "IDX" and made.card.columns[0].became == "divided by 255"


def test_cards_of_series_have_classes_files_and_what_was_done(tmp_path: Path) -> None:
    head = "@problemName D\n@timeStamps false\n@univariate true\n@classLabel true calm wild\n@data\n"
    for part, extra in (("TRAIN", 0), ("TEST", 1)):
        text = "\n".join(f"{i},{i + extra},{i * 2}:{('calm', 'wild')[i % 2]}" for i in range(20))
        (tmp_path / f"D_{part}.ts").write_text(head + text)
    card = bench.dataset(tmp_path).card
    assert card is not None
    assert (card.classes, card.files) == (("calm", "wild"), ("D_TRAIN.ts", "D_TEST.ts"))
    assert card.columns[0].became == "standardized per channel"


# --- values ----------------------------------------------------------------------------------------------------------


def test_numbers_may_stand_for_missing_values() -> None:
    given = TABLE.assign(size=np.where(SIZE > 6, -999, SIZE))
    whole = TABLE.assign(size=np.where(SIZE > 6, np.nan, SIZE))
    wanted = bench.dataset(whole, target="kind", missing="impute")
    for words in ([-999], ["-999"]):
        made = bench.dataset(given, target="kind", missing="impute", missing_words=words)
        assert made.digest == wanted.digest


def test_numbers_whose_squares_overflow_are_standardized() -> None:
    made = bench.dataset(TABLE.assign(size=SIZE * 1e300), target="kind")
    np.testing.assert_allclose(
        made.train["inputs"], bench.dataset(TABLE, target="kind").train["inputs"], rtol=1e-5, atol=1e-6
    )
    array = bench.dataset((INPUTS * 1e300, CODES)).train["inputs"]
    np.testing.assert_allclose(array, bench.dataset((INPUTS, CODES)).train["inputs"], rtol=1e-5, atol=1e-6)


def test_dates_whose_year_comes_first_are_dates() -> None:
    days = [f"2024/{1 + row % 12}/{1 + row % 28:02}" for row in range(ROWS)]
    iso = [f"2024-{1 + row % 12:02}-{1 + row % 28:02}" for row in range(ROWS)]
    made, wanted = (bench.dataset(TABLE.assign(day=each), target="kind") for each in (days, iso))
    assert made.digest == wanted.digest


# --- faults ----------------------------------------------------------------------------------------------------------


def file_of(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def given(value: Any) -> Callable[[Path], Any]:
    return lambda _: value


SECONDS = 1_700_000_000 + np.arange(ROWS) * 7.5
HOLES = np.where(np.arange(ROWS * 8).reshape(ROWS, 2, 4) == 9, np.nan, 1.0)
FAULTS: Mapping[str, tuple[Callable[[Path], Any], Mapping[str, Any], str]] = {
    "complex": (given((INPUTS + 1j, CODES)), {}, r"complex numbers.*inputs\.imag"),
    "infinite": (given((np.where(INPUTS > 12, np.inf, INPUTS), CODES)), {}, r"inputs: 5 of 80 entries are infinite"),
    "holes in images": (given((HOLES, CODES)), {}, r"inputs: 1 of 320 entries are missing"),
    "examples last": (given((SEVEN.T, CODES)), {}, r"7 examples, but 40 targets.*np\.moveaxis\(inputs, -1, 0\)"),
    "targets of axes": (given((INPUTS, SEVEN)), {}, r"targets of several axes are for bench\.split"),
    "seconds as they are": (
        given(TABLE.assign(t=SECONDS)),
        {"target": "kind", "scale": False},
        r"column 't': of 40 different values.*leave out scale=False",
    ),
    "seconds to predict": (given(TABLE.assign(t=SECONDS)), {"target": "t"}, r"column 't'.*scale_target=True"),
    "large as they are": (
        given(TABLE.assign(t=SIZE * 1e39)),
        {"target": "kind", "scale": False},
        r"column 't': 6\.5e\+39 is beyond float32",
    ),
    "numbers in a text": (file_of("t.dat", b"title\n" + b"1 2 3\n4 5\n" * 400), {}, r"neither a text nor a table"),
    "bytes of 0": (file_of("t.csv", CSV.encode("utf-16-le")), {"target": "kind"}, r"bytes that are 0.*UTF-16"),
    "a web page": (file_of("t.csv", b"<!DOCTYPE html>\n<html></html>"), {}, r"a web page, no data"),
    "a note of Git": (file_of("t.csv", b"version https://git-lfs.github.com/spec/v1\n"), {}, r"git lfs pull"),
    "zstd": (file_of("t.csv.zst", b"\x28\xb5\x2f\xfd123"), {}, r"packed by zstd; unpack it"),
    "an archive": (file_of("t.tar", b"a" * 257 + b"ustar" + b"\0" * 99), {}, r"an archive of files \(tar\)"),
    "SPSS": (file_of("t.sav", b"$FL2@(#) SPSS"), {}, r"pandas\.read_spss"),
    "units below names": (
        file_of("t.csv", CSV.replace("kind\n", "kind\nmm,mg,\n", 1).encode()),
        {"target": "kind"},
        r"'mm' in row 0; if the first line below the names is no example",
    ),
    "with a unit": (given(TABLE.assign(m=[f"{row} kg" for row in range(ROWS)])), {"target": "kind"}, r"with a unit"),
    "with a sign": (given(TABLE.assign(m=[f"{row}%" for row in range(ROWS)])), {"target": "kind"}, r"str\.strip"),
    "size of one number": (given((INPUTS, CODES)), {"size": 8}, r"size: expected \(height, width\)"),
    "half an example": (given((INPUTS, CODES)), {"examples": 1.5}, r"examples: expected a whole number"),
    "a kind of scaling": (given((INPUTS, CODES)), {"scale": "minmax"}, r"scale: expected True or False"),
    "too many strata": (
        given(TABLE.assign(t=range(ROWS))),
        {"target": "kind", "stratify": "t"},
        r"stratify='t' has 40 values in 40 rows",
    ),
    "shares of a text": (file_of("t.txt", b"to be or\nnot to be, that is\n" * 99), {"test": 0.3}, r"leave out test"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_arrive_is_named(fault: str, tmp_path: Path) -> None:
    make, options, message = FAULTS[fault]
    source = make(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is cast with a loss on the way
        with pytest.raises(UserError, match=f"(?s){message}"):
            bench.dataset(source, **options)


def test_rows_of_the_test_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "judge.csv").write_text("size,weight,kind\n1,2,ant\nsmall,2,bee\n")
    with pytest.raises(UserError, match=r"'small' in row 1 of judge\.csv"):
        bench.dataset(TABLE, target="kind", test=tmp_path / "judge.csv")


# --- splits ----------------------------------------------------------------------------------------------------------

LABELS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "groups of None": ({"groups": [None] * 20 + [*range(20)]}, r"groups: 20 of 40 are missing, the first at index 0"),
    "groups of NaN": ({"groups": np.where(CODES, np.nan, np.arange(ROWS))}, r"groups: 20 of 40 are missing"),
    "no time": ({"time": np.where(np.arange(ROWS) == 3, np.nan, 1)}, r"time: 1 of 40 are missing.*index 3"),
    "day first": ({"time": [f"{1 + row % 28}.1.2024" for row in range(ROWS)]}, r"the text '1\.1\.2024', whose place"),
    "unequal": ({"time": [f"2024-01-{1 + row % 28:02}" + " 10:00" * (row % 2) for row in range(ROWS)]}, r"written al"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_tell_no_split(kind: str) -> None:
    options, message = LABELS[kind]
    with pytest.raises(UserError, match=message):
        bench.split("s", {"inputs": INPUTS, "targets": CODES}, **options)


@pytest.mark.parametrize(
    "times",
    [
        np.array([*range(ROWS)], object),
        [datetime.date(2024, 1, 1) + datetime.timedelta(row) for row in range(ROWS)],
        pd.date_range("2024-10-27", periods=ROWS, freq="h", tz="Europe/Berlin"),
        [f"2024-01-01T{row // 60:02}:{row % 60:02}" for row in range(ROWS)],
    ],
    ids=["objects", "dates", "zone", "texts"],
)
def test_times_of_any_type_are_in_their_order(times: Any) -> None:
    made = bench.split("s", {"inputs": np.arange(ROWS)}, time=times)
    np.testing.assert_array_equal(made.test["inputs"], np.arange(32, 40))
    assert made.train["inputs"].max() < made.validation["inputs"].min()


ARFF = "@relation r\n@attribute a numeric\n@attribute b string\n@attribute class {x,y}\n@data\n"


@pytest.mark.parametrize("is_sparse", [True, False])
def test_arff_files_of_texts_and_of_few_values_are_read(tmp_path: Path, is_sparse: bool) -> None:
    rows = [(float(row % 7), "north" if row % 3 else "south", "xy"[row % 2]) for row in range(40)]
    dense = [f"{number},{text},{label}" for number, text, label in rows]
    sparse = [
        "{" + (f"0 {number}, " if number else "") + f"1 {text}" + (", 2 y" if label == "y" else "") + "}"
        for number, text, label in rows
    ]
    (tmp_path / "t.arff").write_text(ARFF + "\n".join(sparse if is_sparse else dense))
    made = bench.dataset(tmp_path / "t.arff", scale=False)
    parts = [getattr(made, part) for part in ("train", "validation", "test")]
    found = [(*map(float, each), int(target)) for part in parts for each, target in zip(*part.values(), strict=True)]
    expected = [
        (number, float(text == "north"), float(text == "south"), "xy".index(each)) for number, text, each in rows
    ]
    assert list(parts[0]) == ["inputs", "targets"] and sorted(found) == sorted(expected)
