"""Memory-mapped data: never read whole into memory, the same digest as in memory, and sent as the place of a file."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.bench.data import Dataset, memory_mapped, npy
from dlkit.bench.errors import UserError

SPLITS = ("train", "validation", "test")


def folder_of(place: Path, *, examples: int = 200, bad: Any = None) -> Path:
    """A folder of three splits with float inputs and integer targets."""
    rng = np.random.default_rng(0)
    for count, part in zip((examples, 30, 20), SPLITS, strict=True):
        (place / part).mkdir(parents=True)
        inputs = rng.normal(size=(count, 4, 3)).astype(np.float32)
        if bad is not None and part == "train":
            inputs[bad] = np.nan
        np.save(place / part / "inputs.npy", inputs)
        np.save(place / part / "targets.npy", rng.integers(0, 5, count))
    return place


def in_memory(place: Path) -> Dataset:
    parts = {part: {file.stem: np.load(file) for file in (place / part).glob("*.npy")} for part in SPLITS}
    return Dataset(place.name, **parts)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_mapped, "CHUNK_BYTES", 7 * 48)  # seven rows of inputs


def test_chunks_are_the_rows_in_order(small_chunks: None) -> None:
    array = np.arange(100 * 12.0, dtype=np.float32).reshape(100, 4, 3)
    parts = list(memory_mapped.chunks(array))
    assert [len(part) for part in parts] == [7] * 14 + [2]
    np.testing.assert_array_equal(np.concatenate(parts), array)
    wide = np.zeros((3, 1000))
    assert [len(part) for part in memory_mapped.chunks(wide)] == [1, 1, 1]
    assert [part.shape for part in memory_mapped.chunks(np.zeros((2, 0)))] == [(2, 0)]


def test_a_folder_is_mapped_with_the_digest_it_has_in_memory(tmp_path: Path, small_chunks: None) -> None:
    place = folder_of(tmp_path / "own")
    dataset = npy(place)
    assert dataset.name == "own" and dataset.examples == 200
    assert all(isinstance(array, np.memmap) for part in SPLITS for array in getattr(dataset, part).values())
    assert dataset.digest == in_memory(place).digest
    assert npy(place, digest=dataset.digest[:8]).digest == dataset.digest
    with pytest.raises(UserError, match="expected the digest abc"):
        npy(place, digest="abc")
    changed = np.load(place / "test" / "targets.npy")
    changed[0] += 1
    np.save(place / "test" / "targets.npy", changed)
    assert npy(place).digest != dataset.digest


def test_bad_entries_are_counted_and_placed_across_chunks(tmp_path: Path, small_chunks: None) -> None:
    place = folder_of(tmp_path, bad=(np.array([150, 190]), 2, 1))
    with pytest.raises(UserError, match=r"'train', array 'inputs': 2 of 2400 entries .* index \(150, 2, 1\)"):
        npy(place)


def test_what_is_missing_in_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: no \.npy files there; put one in for each array"):
        npy(tmp_path)
    place = folder_of(tmp_path / "own")
    (place / "test" / "inputs.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"test/inputs\.npy: not an \.npy file that can be mapped"):
        npy(place)
    (place / "test" / "inputs.npy").unlink()
    with pytest.raises(UserError, match=r"expected the arrays of 'train', \['inputs', 'targets'\], got \['targets'\]"):
        npy(place)


def test_a_mapped_dataset_travels_as_the_place_of_its_files(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "own", examples=5000)
    dataset = npy(place)
    message = pickle.dumps(dataset)
    assert len(message) < 4000 < len(pickle.dumps(in_memory(place)))
    again = pickle.loads(message)
    for part in SPLITS:
        for name, array in getattr(dataset, part).items():
            there = getattr(again, part)[name]
            assert isinstance(there, np.memmap) and there.dtype == array.dtype
            np.testing.assert_array_equal(there, array)
    (place / "train" / "inputs.npy").unlink()
    with pytest.raises(UserError, match=r"dataset 'own': its file .*inputs\.npy cannot be mapped here"):
        pickle.loads(message)


def test_a_part_of_a_file_travels_as_its_place_too(tmp_path: Path) -> None:
    whole = npy(folder_of(tmp_path)).train["inputs"]
    part = whole[50:150][10:]
    place = memory_mapped.located(part)
    assert isinstance(place, memory_mapped.Located)
    np.testing.assert_array_equal(memory_mapped.mapped(place, ""), whole[60:150])


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole[:, 1:],  # not one piece
        lambda whole: whole + 1,
        lambda whole: whole[[2, 1]],
        lambda whole: np.array(whole),
        lambda whole: np.memmap(whole.filename, whole.dtype, "c", 128, whole.shape),
    ],
)
def test_what_is_no_piece_of_a_file_travels_by_value(tmp_path: Path, change: Any) -> None:
    array = change(npy(folder_of(tmp_path)).train["inputs"])
    assert memory_mapped.located(array) is array
    assert memory_mapped.mapped(array, "") is array


def test_checks_and_digest_take_the_memory_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_mapped, "CHUNK_BYTES", 2**18)
    place = folder_of(tmp_path)
    large = np.lib.format.open_memmap(place / "train" / "inputs.npy", "w+", np.float32, (200, 25_000))
    large[:] = 1.0  # 20 MB
    large.flush()
    for part, count in (("validation", 2), ("test", 3)):
        np.save(place / part / "inputs.npy", np.ones((count, 25_000), np.float32))
        np.save(place / part / "targets.npy", np.arange(count))
    tracemalloc.start()  # NumPy tells it what it allocates; what is mapped is not allocated
    try:
        assert len(npy(place).digest) == 64
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()
