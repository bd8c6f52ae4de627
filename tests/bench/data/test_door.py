"""One door for data: from every kind of file the values arrive that were written, and optimizers compare on them."""

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
import sklearn.datasets

from dlkit import bench
from dlkit.bench.data.base import SPLITS
from dlkit.bench.problems import check_problem

RNG = np.random.default_rng(0)
ROWS = 60
TABLE = pd.DataFrame(
    {
        "length": np.round(RNG.normal(40, 5, ROWS), 2),
        "count": RNG.integers(0, 500, ROWS),
        "island": RNG.choice(["east", "north", "west"], ROWS),
        "species": np.array(["ant", "bee", "cat"])[np.arange(ROWS) % 3],
    }
)
NUMBERS = TABLE.assign(island=TABLE["island"].map({"east": 0, "north": 1, "west": 2}), species=np.arange(ROWS) % 3)
IMAGES = RNG.integers(0, 256, (ROWS, 6, 5), np.uint8)
LABELS = np.arange(ROWS) % 3
TEXT = "".join(RNG.choice(list("abc de\n"), 2000))


class Kind(NamedTuple):
    """A kind of source: how it is made in a folder, what is asked of the door, and what its examples have to be."""

    make: Callable[[Path], Any]
    options: Mapping[str, Any]
    expected: str  # "table", "numbers", "matrix", "images", ... : see `examples`


def written(name: str, write: Callable[[Path], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return make


def packed(name: str, pack: Callable[[bytes], bytes], text: str = "") -> Callable[[Path], Path]:
    return written(name, lambda path: path.write_bytes(pack((text or TABLE.to_csv(index=False)).encode())))


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("table.csv", data)
    return file.getvalue()


def arff(path: Path) -> None:
    kinds = ["length numeric", "count numeric", "island {east, north, west}", "class {ant, bee, cat}"]
    path.write_text(
        "@relation table\n" + "".join(f"@attribute {each}\n" for each in kinds) + "@data\n" + csv_rows(), "utf-8"
    )


def csv_rows() -> str:
    return TABLE.to_csv(index=False, header=False, lineterminator="\n")


def libsvm(path: Path) -> None:
    sklearn.datasets.dump_svmlight_file(NUMBERS.iloc[:, :3].to_numpy(float), LABELS, str(path), zero_based=False)


def hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["x"], file["y"] = IMAGES, LABELS


def hdf5_columns(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for letter, column in zip("abcd", TABLE, strict=True):  # the order in which they are listed
            file[f"{letter} {column}"] = TABLE[column].to_list()


def idx(folder: Path) -> Path:
    for kind, array in (("images-idx3-ubyte", IMAGES), ("labels-idx1-ubyte", LABELS.astype(np.uint8))):
        header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"train-{kind}").write_bytes(header + array.tobytes())
        (folder / f"t10k-{kind}").write_bytes(header + array[::-1].tobytes())
    return folder


CIFAR = RNG.integers(0, 256, (12, 3, 32, 32), np.uint8)


def cifar(folder: Path) -> Path:
    records = np.concatenate([(np.arange(12) % 10)[:, None], CIFAR.reshape(12, -1)], axis=1).astype(np.uint8)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(records.tobytes())
    return folder


def cifar_python(folder: Path) -> Path:
    batch = {b"data": CIFAR.reshape(12, -1), b"labels": (np.arange(12) % 10).tolist()}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(batch))
    return folder


def image_folder(folder: Path, *parts: str) -> Path:
    from PIL import Image

    for part in parts or (".",):
        for row, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
            place = folder / part / ("ant", "bee", "cat")[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{row}.png")
    return folder


def series(folder: Path) -> Path:
    head = "@problemName Mine\n@timeStamps false\n@classLabel true a b c\n@data\n"
    lines = "".join(f"{','.join(map(str, row[0]))}:{'abc'[label]}\n" for row, label in zip(IMAGES, LABELS, strict=True))
    for part in ("TRAIN", "TEST"):
        (folder / f"{folder.name}_{part}.ts").write_text(head + lines)
    return folder


def npy_folder(folder: Path) -> Path:
    np.save(folder / "X.npy", IMAGES)
    np.save(folder / "y.npy", LABELS)
    return folder


def installed(package: str, *parts: str) -> Callable[[Path], Path]:
    """A file of a package, which is not imported."""
    found = importlib.util.find_spec(package)
    assert found is not None and found.submodule_search_locations
    place = Path(found.submodule_search_locations[0]).joinpath(*parts)
    return lambda _: place


IRIS = ("data", "data", "iris.csv.gz")
SPECIES = {"target": "species"}
KINDS: Mapping[str, Kind] = {
    "csv": Kind(packed("table.csv", bytes), SPECIES, "table"),
    "csv, utf-8 mark": Kind(packed("table.csv", lambda data: b"\xef\xbb\xbf" + data), SPECIES, "table"),
    "csv, utf-16": Kind(packed("table.csv", lambda data: data.decode().encode("utf-16")), SPECIES, "table"),
    "csv, semicolons": Kind(packed("t.csv", bytes, TABLE.to_csv(index=False, sep=";")), SPECIES, "table"),
    "csv, windows lines": Kind(packed("t.csv", lambda data: data.replace(b"\n", b"\r\n")), SPECIES, "table"),
    "csv, no names": Kind(packed("t.csv", bytes, csv_rows()), {"target": -1}, "table"),
    "tsv": Kind(packed("table.tsv", bytes, TABLE.to_csv(index=False, sep="\t")), SPECIES, "table"),
    "aligned columns": Kind(packed("table.dat", bytes, TABLE.to_string(index=False)), SPECIES, "table"),
    "row names": Kind(packed("table.dat", bytes, TABLE.to_string()), SPECIES, "table"),
    "csv.gz": Kind(packed("table.csv.gz", gzip.compress), SPECIES, "table"),
    "csv.bz2": Kind(packed("table.csv.bz2", bz2.compress), SPECIES, "table"),
    "csv.xz": Kind(packed("table.csv.xz", lzma.compress), SPECIES, "table"),
    "csv.zip": Kind(packed("table.csv.zip", zipped), SPECIES, "table"),
    "json lines": Kind(
        written("t.jsonl", lambda path: TABLE.to_json(path, orient="records", lines=True)), SPECIES, "table"
    ),
    "json": Kind(written("t.json", lambda path: TABLE.to_json(path, orient="records")), SPECIES, "table"),
    "parquet": Kind(written("table.parquet", lambda path: TABLE.to_parquet(path)), SPECIES, "table"),
    "feather": Kind(written("table.feather", lambda path: TABLE.to_feather(path)), SPECIES, "table"),
    "stata": Kind(written("table.dta", lambda path: TABLE.to_stata(path, write_index=False)), SPECIES, "table"),
    "arff": Kind(written("table.arff", arff), {}, "table"),
    "libsvm": Kind(written("table.libsvm", libsvm), {}, "numbers"),
    "hdf5, arrays": Kind(written("images.h5", hdf5), {}, "images"),
    "hdf5, columns": Kind(written("table.h5", hdf5_columns), {"target": "d species"}, "table"),
    "npz": Kind(written("images.npz", lambda path: np.savez(path, images=IMAGES, labels=LABELS)), {}, "images"),
    "npz, columns": Kind(
        written("table.npz", lambda path: np.savez(path, **{str(k): NUMBERS[k].to_numpy() for k in NUMBERS})),
        SPECIES,
        "numbers",
    ),
    "npy": Kind(written("table.npy", lambda path: np.save(path, NUMBERS.to_numpy(float))), {"target": 3}, "numbers"),
    "matlab": Kind(
        written("images.mat", lambda path: scipy.io.savemat(path, {"x": IMAGES, "y": LABELS})), {}, "images"
    ),
    "idx": Kind(idx, {}, "images, official test"),
    "cifar": Kind(cifar, {}, "cifar"),
    "cifar, python": Kind(cifar_python, {}, "cifar"),
    "image folder": Kind(image_folder, {}, "images"),
    "image folder, test": Kind(lambda folder: image_folder(folder, "train", "test"), {}, "images, official test"),
    "ts": Kind(series, {}, "series"),
    "text": Kind(packed("text.txt", bytes, TEXT), {"length": 20}, "text"),
    "text.gz, utf-8 mark": Kind(
        packed("text.txt.gz", lambda data: gzip.compress(b"\xef\xbb\xbf" + data), TEXT), {"length": 20}, "text"
    ),
    "data frame": Kind(lambda _: TABLE, SPECIES, "table"),
    "data frame, categories": Kind(lambda _: TABLE.astype({"island": "category"}), SPECIES, "table"),
    "data frame, nullable": Kind(lambda _: TABLE.convert_dtypes(), SPECIES, "table"),
    "arrow table": Kind(lambda _: __import__("pyarrow").Table.from_pandas(TABLE), SPECIES, "table"),
    "dictionary": Kind(lambda _: TABLE.to_dict("list"), SPECIES, "table"),
    "frame and series": Kind(lambda _: (TABLE.iloc[:, :3], TABLE["species"]), {}, "table"),
    "pair": Kind(lambda _: (NUMBERS.iloc[:, :3].to_numpy(), LABELS.tolist()), {}, "numbers"),
    "pair of images": Kind(lambda _: (IMAGES, np.array(["ant", "bee", "cat"])[LABELS]), {}, "images"),
    "frame, target beside": Kind(lambda _: TABLE.iloc[:, :3], {"target": TABLE["species"]}, "table"),
    "sparse, target beside": Kind(
        lambda _: scipy.sparse.csc_array(NUMBERS.iloc[:, :3].to_numpy(float)), {"target": LABELS.tolist()}, "numbers"
    ),
    "arrays by name": Kind(lambda _: {"scans": IMAGES, "grade": LABELS}, {"target": "grade"}, "images"),
    "npy folder": Kind(npy_folder, {}, "images"),
    "csv, numbered names": Kind(
        packed("t.csv", bytes, TABLE.set_axis(range(4), axis=1).to_csv(index=False)), {"target": 3}, "table"
    ),
    "sparse": Kind(lambda _: (scipy.sparse.csr_matrix(NUMBERS.iloc[:, :3].to_numpy(float)), LABELS), {}, "numbers"),
    "scikit-learn": Kind(
        lambda _: sklearn.utils.Bunch(
            data=NUMBERS.iloc[:, :3].to_numpy(float), target=LABELS, target_names=["ant", "bee", "cat"], DESCR="three"
        ),
        {},
        "numbers",
    ),
    "penguins": Kind(installed("palmerpenguins", "data", "penguins.csv"), {**SPECIES, "missing": "impute"}, "penguins"),
    "mlxtend": Kind(installed("mlxtend", *IRIS), {"target": 4}, "iris"),
    "lifelines": Kind(installed("lifelines", "datasets", "rossi.csv"), {"target": "arrest"}, "rossi"),
    "scipy": Kind(installed("scipy", "io", "arff", "tests", "data", "iris.arff"), {}, "iris"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def together(made: bench.Dataset, *parts: str) -> np.ndarray:
    """The examples of splits, inputs and targets side by side, in an order that depends on the values alone."""
    rows = [
        np.column_stack(
            [each["inputs"].reshape(len(each["inputs"]), -1), each["targets"].reshape(len(each["targets"]), -1)]
        )
        for each in (getattr(made, part) for part in parts or SPLITS)
    ]
    return ordered(np.concatenate(rows))


def ordered(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.round(rows, 4).T)]


def side_by_side(*columns: Any) -> np.ndarray:
    return ordered(np.column_stack([np.asarray(each, np.float64).reshape(len(each), -1) for each in columns]))


def examples(expected: str) -> np.ndarray:
    """What all splits together have to hold, computed by hand."""
    if expected == "table":
        codes = NUMBERS["island"].to_numpy()
        return side_by_side(TABLE["length"], TABLE["count"], np.eye(3)[codes], LABELS)
    if expected == "numbers":
        return side_by_side(NUMBERS.iloc[:, :3], LABELS)
    if expected == "images":
        return side_by_side(IMAGES / 255, LABELS)
    if expected == "iris":
        text = gzip.decompress(installed("mlxtend", *IRIS)(Path()).read_bytes()).decode()
        return ordered(np.array([line.split(",") for line in text.split()], np.float64))
    rossi = [line.split(",") for line in installed("lifelines", "datasets", "rossi.csv")(Path()).read_text().split()]
    values = np.array(rossi[1:], float)
    return side_by_side(np.delete(values, 1, axis=1), values[:, 1])


@every_kind
def test_what_is_written_arrives(kind: str, tmp_path: Path) -> None:
    make, options, expected = KINDS[kind]
    made = bench.dataset(make(tmp_path), **options, scale=False)
    assert made.card is not None and made.card.used == sum(made.sizes) and min(made.sizes) > 0
    inputs, targets = made.train["inputs"], made.train["targets"]
    if expected in ("table", "numbers", "images", "iris", "rossi"):
        np.testing.assert_allclose(together(made), examples(expected), atol=1e-4)
        count = len(examples(expected))
        assert made.sizes == (count - 2 * round(count / 5), round(count / 5), round(count / 5)) and made.redraw
    elif expected == "images, official test":
        np.testing.assert_allclose(together(made, "train", "validation"), examples("images"), atol=1e-4)
        np.testing.assert_allclose(together(made, "test")[:, :-1].sum(), IMAGES.sum() / 255, rtol=1e-4)
    elif expected == "cifar":
        assert inputs.shape[1:] == (32, 32, 3)
        np.testing.assert_allclose(made.test["inputs"], CIFAR.transpose(0, 2, 3, 1) / 255, atol=1e-6)
        np.testing.assert_array_equal(made.test["targets"], np.arange(12) % 10)
    elif expected == "series":
        assert inputs.shape[1:] == (5, 1) and sorted(made.test["targets"]) == sorted(LABELS)
    elif expected == "text":
        alphabet = sorted(set(TEXT[:1600]))
        assert "".join(alphabet[each - 1] for each in inputs[0]) == TEXT[:20]
        assert "".join(alphabet[each - 1] for each in targets[0]) == TEXT[1:21]
    else:
        assert expected == "penguins" and made.sizes == (206, 69, 69) and inputs.shape[1] == 15
        assert made.card.classes == ("Adelie", "Chinstrap", "Gentoo")
        assert np.sum([*made.card.class_counts.values()], axis=0).tolist() == [152, 68, 124]  # Horst et al., 2020
    if targets.ndim == 1:
        assert targets.dtype == np.int32 and sum(map(sum, made.card.class_counts.values())) == made.card.used


def compared(kind: str, folder: Path) -> None:
    """Two optimizers on a source, in five lines."""
    source, options = KINDS[kind].make(folder), KINDS[kind].options
    problem = bench.problem_from_dataset(bench.dataset(source, **options), width=4, depth=1)
    budget = bench.Budget(steps=2, evaluations=1, tuning_points=1, studies=1, seeds=1)
    resources = bench.Resources(executor="inline")
    result = bench.compare(
        problems=[problem], optimizers=["sgd", "adam"], budget=budget, resources=resources, folder=folder / "run"
    )
    assert not result.failures and {*result.trials()["optimizer"]} == {"sgd", "adam"}
    again = bench.open_run(folder / "run")
    assert again.data_cards() == result.data_cards() == {problem.name: problem.dataset.card}
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert manifest["specs"][manifest["current"]]["problems"][0]["card"]["classes"] == [*problem.dataset.card.classes]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", {each.expected: kind for kind, each in KINDS.items()}.values())
def test_a_problem_can_be_made_of_it(kind: str, tmp_path: Path) -> None:
    problem = bench.problem_from_dataset(bench.dataset(KINDS[kind].make(tmp_path), **KINDS[kind].options), width=4)
    check_problem(problem)


@pytest.mark.parametrize("targets", ["classes", "numbers"])
def test_the_model_is_told_the_lengths_of_series(targets: str) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, 40).astype(np.int32)
    arrays = {"inputs": rng.normal(size=(40, 6, 1)).astype(np.float32), "lengths": lengths}
    arrays["targets"] = lengths % 2 if targets == "classes" else lengths.astype(np.float32)
    problem = bench.problem_from_dataset(bench.split("ragged", arrays), width=3)
    params, state = problem.init(jax.random.key(0))
    test = jax.tree.map(jnp.asarray, dict(problem.dataset.test))
    padding = np.arange(6)[None, :, None] >= test["lengths"][:, None, None]
    assert padding.any()
    scores = [
        problem.evaluate(params, state, {**test, "inputs": jnp.where(padding, value, test["inputs"])})
        for value in (0.0, 1e3)
    ]
    assert jax.tree.all(jax.tree.map(np.array_equal, *scores))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["penguins", "image folder", "ts", "text"])
def test_two_optimizers_compare_on_one_of_each_shape(kind: str, tmp_path: Path) -> None:
    compared(kind, tmp_path)


@pytest.mark.slow
@every_kind
def test_two_optimizers_compare_on_every_kind(kind: str, tmp_path: Path) -> None:
    compared(kind, tmp_path)
