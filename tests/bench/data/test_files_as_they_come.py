"""Files as people have them: named in many ways, sorted by class, packed, of other versions."""

import datetime
import gzip
import io
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.bench import data
from dlkit.bench.errors import UserError
from dlkit.bench.problems import catalog

SPLITS = ("train", "validation", "test")
RNG = np.random.default_rng(0)


def images_of(count: int, shape: tuple[int, ...] = (6, 6)) -> np.ndarray:
    """Images whose first byte tells which they are."""
    images = RNG.integers(0, 256, (count, *shape), np.uint8)
    images.reshape(count, -1)[:, 0] = np.arange(count)
    return images


TRAIN, VALIDATION, TEST = images_of(60), images_of(25), images_of(20)
LABELS = {count: np.arange(count) % 3 for count in (60, 25, 20)}


def sizes(dataset: Any) -> tuple[int, ...]:
    return tuple(len(getattr(dataset, part)["targets"]) for part in SPLITS)


def pairs_fit(dataset: Any) -> bool:
    """Whether each label is that of its image."""
    return all(
        (np.round(arrays["inputs"].reshape(len(arrays["targets"]), -1)[:, 0] * 255) % 3 == arrays["targets"]).all()
        for arrays in (dataset.train, dataset.validation, dataset.test)
    )


# --- IDX -------------------------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


IDX_NAMES: dict[str, tuple[str, ...]] = {
    "MNIST's": (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ),
    "with dots": (
        "train-images.idx3-ubyte",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte",
        "t10k-labels.idx1-ubyte",
    ),
    "packed": (
        "train-images.idx3-ubyte.gz",
        "train-labels.idx1-ubyte.gz",
        "t10k-images.idx3-ubyte.gz",
        "t10k-labels.idx1-ubyte.gz",
    ),
    "upper case": ("TRAIN_IMAGES.IDX", "TRAIN_LABELS.IDX", "TEST_IMAGES.IDX", "TEST_LABELS.IDX"),
    "test": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "test-images-idx3-ubyte", "test-labels-idx1-ubyte"),
    "of one set": (
        "emnist-letters-train-images-idx3-ubyte.gz",
        "emnist-letters-train-labels-idx1-ubyte.gz",
        "emnist-letters-test-images-idx3-ubyte.gz",
        "emnist-letters-test-labels-idx1-ubyte.gz",
    ),
    "told by their headers": ("x_train.idx", "y_train.idx", "x_test.idx", "y_test.idx"),
    "in folders": ("train/images.idx", "train/labels.idx", "test/images.idx", "test/labels.idx"),
    "each in a folder": (
        "train-images-idx3-ubyte/train-images-idx3-ubyte",
        "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte/t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte",
    ),
}


def write_idx(folder: Path, names: tuple[str, ...], *arrays: np.ndarray) -> None:
    for name, array in zip(names, arrays, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = idx_bytes(array)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize("naming", IDX_NAMES)
def test_idx_files_of_any_name(tmp_path: Path, naming: str) -> None:
    place = tmp_path / "mine"
    write_idx(place, IDX_NAMES[naming], TRAIN, LABELS[60], TEST, LABELS[20])
    (place / "notes.txt").write_text("not one of them")
    dataset = data.idx(place)
    assert sizes(dataset) == (50, 10, 20) and pairs_fit(dataset)
    write_idx(tmp_path / "official" / "mine", IDX_NAMES["MNIST's"], TRAIN, LABELS[60], TEST, LABELS[20])
    assert dataset.digest == data.idx(tmp_path / "official" / "mine").digest


def test_idx_files_of_validation_and_of_one_pair(tmp_path: Path) -> None:
    names = (*IDX_NAMES["test"], "valid-images-idx3-ubyte", "valid-labels-idx1-ubyte")
    write_idx(tmp_path / "three", names, TRAIN, LABELS[60], TEST, LABELS[20], VALIDATION, LABELS[25])
    assert sizes(data.idx(tmp_path / "three")) == (60, 25, 20)
    write_idx(tmp_path / "one", ("images.idx", "labels.idx"), TRAIN, LABELS[60])
    assert sizes(data.idx(tmp_path / "one")) == (36, 12, 12)


IDX_FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "no test": (
        IDX_NAMES["test"][:2],
        "no IDX files of test images and labels .*; there are train-images-idx3",
    ),
    "no training": (IDX_NAMES["test"][2:], "no IDX files of train images and labels"),
    "no labels": ((*IDX_NAMES["test"][:3], "notes"), "no IDX file of test labels, which belong to test-images-idx3"),
    "two sets": ((*IDX_NAMES["test"][:3], "b-train-images-idx3-ubyte"), "several files of train images, .* of its own"),
}


@pytest.mark.parametrize("fault", IDX_FAULTS)
def test_idx_folders_that_lack_something(tmp_path: Path, fault: str) -> None:
    names, message = IDX_FAULTS[fault]
    write_idx(tmp_path, names, *(TRAIN, LABELS[60], TEST, LABELS[20])[: len(names)])
    if "notes" in names:
        (tmp_path / "notes").write_text("nothing")
    with pytest.raises(UserError, match=message):
        data.idx(tmp_path)


def test_what_lies_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no files"):
        data.idx(tmp_path)
    (tmp_path / "archive.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"there is archive.zip; unpack archive.zip"):
        data.idx(tmp_path)
    with pytest.raises(UserError, match="no such folder; name the one that has the files"):
        data.idx(tmp_path / "none")


# --- .npz ------------------------------------------------------------------------------------------------------------

TEST_NAMES = {
    "Keras": ("x_train", "y_train", "x_test", "y_test"),
    "scikit-learn": ("X_train", "y_train", "X_test", "y_test"),
    "the other way round": ("train_x", "train_y", "test_x", "test_y"),
    "without a line": ("xtrain", "ytrain", "xtest", "ytest"),
    "camels": ("trainX", "trainY", "testX", "testY"),
    "images": ("train_images", "train_labels", "test_images", "test_labels"),
    "data": ("training_data", "training_labels", "testing_data", "testing_labels"),
    "inputs": ("inputs_train", "targets_train", "inputs_test", "targets_test"),
}
VALIDATION_NAMES = {
    "x_val": ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),
    "x_valid": ("x_train", "y_train", "x_test", "y_test", "x_valid", "y_valid"),
    "x_dev": ("x_train", "y_train", "x_test", "y_test", "x_dev", "y_dev"),
    "X_validation": ("X_train", "y_train", "X_test", "y_test", "X_validation", "y_validation"),
    "MedMNIST": ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
}
ONE_PAIR = [("inputs", "targets"), ("X", "y"), ("data", "labels"), ("images", "labels"), ("features", "target")]


@pytest.mark.parametrize("naming", TEST_NAMES)
def test_npz_arrays_of_any_name(tmp_path: Path, naming: str) -> None:
    arrays = dict(zip(TEST_NAMES[naming], (TRAIN, LABELS[60], TEST, LABELS[20][:, None]), strict=True))
    np.savez(tmp_path / "mine.npz", **arrays)
    dataset = data.npz(tmp_path / "mine.npz")
    assert sizes(dataset) == (50, 10, 20) and pairs_fit(dataset)


@pytest.mark.parametrize("naming", VALIDATION_NAMES)
def test_validation_examples_of_an_npz_are_those(tmp_path: Path, naming: str) -> None:
    values = (TRAIN, LABELS[60], TEST, LABELS[20], VALIDATION, LABELS[25])
    np.savez(tmp_path / "mine.npz", **dict(zip(VALIDATION_NAMES[naming], values, strict=True)))
    dataset = data.npz(tmp_path / "mine.npz")
    assert sizes(dataset) == (60, 25, 20) and pairs_fit(dataset)
    np.testing.assert_allclose(dataset.validation["inputs"][..., 0] * 255, VALIDATION, atol=1e-4)
    assert sizes(data.npz(tmp_path / "mine.npz", examples=30)) == (30, 25, 20)


def test_validation_without_a_test_gives_half_of_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x_train=TRAIN, y_train=LABELS[60], x_val=VALIDATION, y_val=LABELS[25])
    assert sizes(data.npz(tmp_path / "mine.npz")) == (60, 13, 12)


@pytest.mark.parametrize("names", ONE_PAIR)
def test_one_pair_of_an_npz_is_split(tmp_path: Path, names: tuple[str, str]) -> None:
    np.savez(tmp_path / "mine.npz", **dict(zip(names, (TRAIN, LABELS[60].astype(float)), strict=True)))
    dataset = data.npz(tmp_path / "mine.npz")
    assert sizes(dataset) == (36, 12, 12) and pairs_fit(dataset)
    assert dataset.train["targets"].dtype == np.int32, "whole numbers are classes"


def test_arrays_that_are_not_used_are_said(tmp_path: Path) -> None:
    names = np.array([{"a": 1}, None, 3], object)
    np.savez(tmp_path / "mine.npz", x=TRAIN, y=LABELS[60], class_names=names, mean=np.zeros(3))
    assert sizes(data.npz(tmp_path / "mine.npz")) == (36, 12, 12), "what is no example is no matter"
    np.savez(tmp_path / "mine.npz", x=TRAIN, y=LABELS[60], age=np.arange(60))
    with pytest.warns(UserWarning, match=r"mine.npz: arrays that are not used: age"):
        data.npz(tmp_path / "mine.npz")


def test_the_arrays_behind_a_refusal_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x_train=TRAIN, y_train=LABELS[60], x_val=TRAIN, y_val=LABELS[60])
    with pytest.raises(UserError, match=r"same examples.*\(read as train: x_train, y_train; validation: x_val, y"):
        data.npz(tmp_path / "mine.npz")


# --- examples of all classes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [12, 40, 90])
@pytest.mark.parametrize("kind", ["one pair", "with a test", "IDX"])
def test_examples_of_a_sorted_file_are_of_all_classes(tmp_path: Path, kind: str, examples: int) -> None:
    images, labels = images_of(120), np.repeat([0, 1, 2], 40)
    if kind == "IDX":
        write_idx(tmp_path, IDX_NAMES["test"], images, labels, TEST, LABELS[20])
        dataset = data.idx(tmp_path, examples=examples)
    else:
        arrays = {"x_test": TEST, "y_test": LABELS[20]} if kind == "with a test" else {}
        names = ("x_train", "y_train") if arrays else ("x", "y")
        np.savez(tmp_path / "mine.npz", **dict(zip(names, (images, labels), strict=True)), **arrays)
        dataset = data.npz(tmp_path / "mine.npz", examples=examples)
    assert sum(sizes(dataset)) == examples + (0 if kind == "one pair" else 20)
    for part in SPLITS:
        targets = getattr(dataset, part)["targets"]
        assert len(targets) < 3 or set(targets.tolist()) == {0, 1, 2}


def test_examples_have_rare_classes_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=images_of(120), y=np.repeat([0, 1, 2], [100, 10, 10]))
    dataset = data.npz(tmp_path / "mine.npz", examples=40)
    assert [np.unique(getattr(dataset, part)["targets"]).tolist() for part in SPLITS] == [[0, 1, 2]] * 3


@pytest.mark.parametrize("examples", [0, -3])
def test_too_few_examples(tmp_path: Path, examples: int) -> None:
    np.savez(tmp_path / "mine.npz", x=TRAIN, y=LABELS[60])
    with pytest.raises(UserError, match=rf"mine.npz: examples: expected a number of examples from 1, got {examples}"):
        data.npz(tmp_path / "mine.npz", examples=examples)


# --- CIFAR for Python ------------------------------------------------------------------------------------------------


def cifar_pickles(folder: Path, classes: int, protocol: int, *, key: Any = bytes) -> tuple[np.ndarray, np.ndarray]:
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    each = 36 // len(names)
    images, labels = images_of(36, (32, 32, 3)), RNG.integers(0, classes, 36)
    planes = images.transpose(0, 3, 1, 2).reshape(36, -1)
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        rows = slice(each * number, each * number + each)
        entries = {"batch_label": b"some", "data": planes[rows], "filenames": [b"a.png"] * each}
        entries |= {"labels": labels[rows].tolist()} if classes == 10 else {"fine_labels": labels[rows].tolist()}
        entries |= {} if classes == 10 else {"coarse_labels": [0] * each}
        content = {name.encode() if key is bytes else name: value for name, value in entries.items()}
        (folder / name).write_bytes(pickle.dumps(content, protocol))
    (folder / ("batches.meta" if classes == 10 else "meta")).write_bytes(pickle.dumps({b"num_vis": 3072}))
    return images, labels


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_for_python_is_the_binary_version(tmp_path: Path, classes: int, protocol: int) -> None:
    images, labels = cifar_pickles(tmp_path / "mine", classes, protocol)
    dataset = data.cifar(tmp_path / "mine")
    planes = images.transpose(0, 3, 1, 2).reshape(36, -1)
    (tmp_path / "binary" / "mine").mkdir(parents=True)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    columns = [labels[:, None]] if classes == 10 else [np.zeros((36, 1)), labels[:, None]]
    table = np.concatenate([*columns, planes], axis=1).astype(np.uint8)
    for name, rows in zip(names, np.split(table, len(names)), strict=True):
        (tmp_path / "binary" / "mine" / f"{name}.bin").write_bytes(rows.tobytes())
    assert dataset.digest == data.cifar(tmp_path / "binary" / "mine").digest
    assert data.cifar(tmp_path / "mine", examples=12).examples < 12


def test_cifar_is_found_in_the_folder_below_and_with_keys_of_text(tmp_path: Path) -> None:
    cifar_pickles(tmp_path / "cifar-10-batches-py", 10, 4, key=str)
    assert sum(sizes(data.cifar(tmp_path))) == 36


class Evil:
    def __reduce__(self) -> Any:
        return (io.open, ("evil", "w"))


PICKLES: dict[str, tuple[Any, str]] = {
    "code": (Evil(), "it names .*open, which is no data"),
    "a class": ({b"data": datetime.date(2020, 1, 1)}, "it names datetime.date, which is no data"),
    "empty": ({b"data": b"", b"labels": []}, r"expected 'data' \[examples, 3072\] in bytes and a list 'labels', got"),
    "a list": ([1, 2], r"expected 'data' .* got list"),
    "no labels": ({b"data": np.zeros((2, 3072), np.uint8)}, r"a list 'labels', got \['data'\]"),
    "real numbers": ({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}, r"data float64\(2, 3072\)"),
    "fewer labels": (
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]},
        "has 2 images, but 1 labels; get it again",
    ),
    "classes": ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, "class indices from 0 to 9, got 10 at"),
}


@pytest.mark.parametrize("fault", PICKLES)
def test_pickles_that_are_no_cifar(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, message = PICKLES[fault]
    monkeypatch.chdir(tmp_path)
    cifar_pickles(tmp_path / "mine", 10, 4)
    (tmp_path / "mine" / "data_batch_3").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=f"data_batch_3 .*python version.*{message}"):
        data.cifar(tmp_path / "mine")
    assert not (tmp_path / "evil").exists()


def test_damaged_pickles(tmp_path: Path) -> None:
    cifar_pickles(tmp_path, 10, 4)
    whole = (tmp_path / "test_batch").read_bytes()
    for content in (b"", b"text", whole[:-5], whole[: len(whole) // 2]):
        (tmp_path / "test_batch").write_bytes(content)
        with pytest.raises(UserError, match=r"test_batch \(CIFAR's python version, a pickle\): cannot be read"):
            data.cifar(tmp_path)
    (tmp_path / "test_batch").unlink()
    with pytest.raises(UserError, match=r"test_batch: no such file, .* CIFAR-10; there are batches.meta, data"):
        data.cifar(tmp_path)


# --- .ts -------------------------------------------------------------------------------------------------------------


def write_ts(folder: Path, header: str, lines: dict[str, list[str]]) -> Path:
    for part, examples in lines.items():
        (folder / f"Mine_{part}.ts").write_text(f"#about\n@problemName Mine\n{header}\n@data\n" + "\n".join(examples))
    return folder


@pytest.mark.parametrize("header", ["@targetLabel true", "@targetlabel True", "@targetLabel true\n@timeStamps False"])
def test_series_of_which_numbers_are_predicted(tmp_path: Path, header: str) -> None:
    place = tmp_path / "Mine"
    place.mkdir()
    lines = [f"{i},{i + 1},{i + 2}:{0.5 * i}" for i in range(30)]
    write_ts(place, header, {"TRAIN": lines, "TEST": lines[:9]})
    found = data.read_ts(place / "Mine_TRAIN.ts")
    np.testing.assert_array_equal(found.targets, 0.5 * np.arange(30))
    assert found.classes == () and found.inputs.shape == (30, 3, 1)
    dataset = data.series(place)
    assert set(dataset.train) == {"inputs", "targets"} and sizes(dataset) == (14, 16, 9)
    with pytest.raises(UserError, match=re.escape("series-file': the series of")):
        catalog.get("series-file", path=str(place))


def ragged_lines(count: int, longest: int) -> tuple[list[str], list[np.ndarray]]:
    series = [RNG.normal(5, 2, (1 + number % longest, 2)).round(3) for number in range(count)]
    lines = [
        ":".join(",".join(map(str, channel)) for channel in each.T) + f":{'ab'[row % 2]}"
        for row, each in enumerate(series)
    ]
    return lines, series


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("header", ["@equalLength false\n@classLabel true a b", "@classLabel true a b"])
def test_series_of_unequal_lengths_are_padded(tmp_path: Path, header: str, pooled: bool) -> None:
    (train, values), (test, others) = ragged_lines(40, 5), ragged_lines(20, 7)
    write_ts(tmp_path, header, {"TRAIN": train, "TEST": test})
    found = data.read_ts(tmp_path / "Mine_TRAIN.ts")
    assert found.lengths.dtype == np.int32 and found.lengths.tolist() == [len(each) for each in values]
    for row, each in enumerate(values):
        np.testing.assert_array_equal(found.inputs[row, : len(each)], each)
        assert not found.inputs[row, len(each) :].any()
    dataset = data.series(tmp_path, name="Mine", pooled=pooled)
    steps = []
    for part in SPLITS:
        arrays = getattr(dataset, part)
        assert arrays["inputs"].shape[1:] == (7, 2) and arrays["inputs"].dtype == np.float32
        assert arrays["lengths"].dtype == np.int32
        after = np.arange(7) >= arrays["lengths"][:, None]
        assert not arrays["inputs"][after].any(), "0 after the end"
        steps.append(arrays["inputs"][~after])
    np.testing.assert_allclose(steps[0].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(steps[0].std(axis=0), 1, atol=1e-5)
    given = np.sort(np.concatenate(values + others)[:, 0])
    slope, offset = np.polyfit(np.sort(np.concatenate(steps)[:, 0]), given, 1)
    np.testing.assert_allclose(slope * np.sort(np.concatenate(steps)[:, 0]) + offset, given, atol=1e-4)


@pytest.mark.parametrize("header", ["@timeStamps True", "@timestamps true", "@TIMESTAMPS TRUE"])
def test_time_stamps_are_called_so(tmp_path: Path, header: str) -> None:
    write_ts(tmp_path, f"{header}\n@classLabel true a b", {"TRAIN": ["(2007-01-01 00:00:00,2.5):a"]})
    with pytest.raises(UserError, match=r"Mine_TRAIN.ts: has time stamps .*resample"):
        data.read_ts(tmp_path / "Mine_TRAIN.ts")


TS_FAULTS = {
    "nothing to learn": (
        "@classLabel false",
        ["1,2"],
        "expected a line '@classLabel true ...' .* '@targetLabel true'",
    ),
    "no number": ("@targetLabel true", ["1,2:high"], "line 5: expected a number to predict .* got 'high'"),
    "no finite number": ("@targetLabel true", ["1,2:3", "1,2:?"], "line 6: expected a number to predict .* got '\\?'"),
    "NaN to predict": ("@targetLabel true", ["1,2:nan"], "line 5: the number to predict is nan; leave"),
    "missing": (
        "@missing true\n@targetLabel true",
        ["1,2:3", "?,2:1"],
        "line 7, channel 1: the value at step 1 is",
    ),
    "no values": ("@targetLabel true", [":1"], "line 5, channel 1: expected a number at step 1, got ''"),
}


@pytest.mark.parametrize("fault", TS_FAULTS)
def test_series_with_faults(tmp_path: Path, fault: str) -> None:
    header, lines, message = TS_FAULTS[fault]
    write_ts(tmp_path, header, {"TRAIN": lines})
    with pytest.raises(UserError, match=f"Mine_TRAIN.ts.*{message}"):
        data.read_ts(tmp_path / "Mine_TRAIN.ts")


def test_files_of_numbers_and_of_classes_do_not_match(tmp_path: Path) -> None:
    write_ts(tmp_path, "@targetLabel true", {"TRAIN": ["1,2:3", "1,3:3"]})
    write_ts(tmp_path, "@classLabel true a b", {"TEST": ["1,2:a", "1,3:b"]})
    with pytest.raises(UserError, match=r"has numbers as targets and 1 channels, the test file classes .*'a', 'b'"):
        data.series(tmp_path, name="Mine")


def test_seconds_may_be_a_channel_as_they_are_standardized(tmp_path: Path) -> None:
    examples = [f"{1.7e9 + i},{1.7e9 + i + 1}:{'ab'[i % 2]}" for i in range(20)]
    write_ts(tmp_path, "@classLabel true a b", {"TRAIN": examples, "TEST": examples[:9]})
    assert len(np.unique(data.series(tmp_path, name="Mine").test["inputs"])) == 10


# --- texts, and values that are too fine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda file, text: file.write_bytes(b"\xef\xbb\xbf" + text.encode()),
        lambda file, text: file.write_bytes(gzip.compress(text.encode())),
        lambda file, text: file.write_bytes(text.replace("\n", "\r\n").encode()),
    ],
)
def test_texts_with_a_mark_packed_and_from_windows(tmp_path: Path, write: Any) -> None:
    text = "".join(RNG.choice(list("abcdé \n"), 1000))
    (tmp_path / "mine.txt").write_bytes(text.encode())
    plain = data.characters(tmp_path / "mine.txt", length=7)
    write(tmp_path / "mine.txt", text)
    assert data.characters(tmp_path / "mine.txt", length=7).digest == plain.digest


@pytest.mark.parametrize("dtype", [np.float64, np.int64, ">f8"])
def test_an_npz_of_seconds_is_not_read_as_two_values(tmp_path: Path, dtype: Any) -> None:
    seconds = (1.7e9 + np.arange(60)).astype(dtype)[:, None]
    np.savez(tmp_path / "mine.npz", x=seconds, y=LABELS[60])
    with pytest.raises(UserError, match=r"mine.npz: x, column 0: of 60 different values, .* float32 tells \d apart"):
        data.npz(tmp_path / "mine.npz")
