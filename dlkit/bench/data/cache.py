"""Arrays that take long to load, kept in the user's cache folder."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import add_arrays
from dlkit.bench.doors import open_ours, private_folder, whole_file
from dlkit.bench.machine.environment import cache_folder

__all__ = ["cached"]

DIGEST = "dlkit-digest"  # the name that a file has its arrays' digest under


def cached(name: str, load: Callable[[], Arrays]) -> Arrays:
    """Loads arrays once and keeps them as ``.npz`` in the user's cache folder; a damaged file is made anew.

    Args:
        name: the file's name; a new version of the preparation needs a new name.
        load: makes the arrays, of all examples: what depends on a split is made after it.

    Returns:
        Name -> array, the same with or without the cache.
    """
    path = cache_folder() / "data" / f"{name}.npz"
    try:
        with open_ours(path) as file, np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored if key != DIGEST}
            if _digest(arrays) == str(stored[DIGEST]):
                return arrays
    except Exception:
        pass  # missing, cut short, altered or something else altogether: the loader is the truth
    arrays = {key: np.asarray(array) for key, array in load().items()}
    _write_atomically(path, {**arrays, DIGEST: np.asarray(_digest(arrays))})
    return arrays


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    add_arrays(digest, "", arrays)
    return digest.hexdigest()


def _write_atomically(path: Path, arrays: Arrays) -> None:
    """Writes an ``.npz``, whole or not at all; a cache that cannot be written is no error."""
    with suppress(OSError):
        private_folder(path.parent)
        with whole_file(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
