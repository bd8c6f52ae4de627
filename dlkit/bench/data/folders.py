"""Datasets that may be larger than memory: a folder of ``.npy`` files, memory-mapped instead of read."""

from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import SPLITS, Dataset, require_digest
from dlkit.bench.data.bounds import DAMAGE
from dlkit.bench.errors import UserError

__all__ = ["npy"]


def npy(folder: str | Path, *, digest: str = "") -> Dataset:
    """Maps the ``.npy`` files of a folder into memory; nothing is copied, and no type changed.

    They are read through once for entries that are not finite, and once for the digest; training examples are read as
    batches need them (`standardize` and `split` would copy all of them). Large ones are best stored small, such as
    images in bytes, and scaled by the problem's functions.

    Args:
        folder: has the folders ``train``, ``validation`` and ``test``, each with one file per array, such as
            ``train/inputs.npy`` and ``train/targets.npy``. Where trials run on other machines, it has to lie in the
            same place there.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        The dataset, named after the folder, with the splits as they lie there and memory-mapped arrays.

    Raises:
        UserError: for a folder or file that is missing or not what it should be, arrays that `Dataset` refuses, or
            another digest.
    """
    place = Path(folder)
    splits = {part: _arrays(place / part) for part in SPLITS}
    return require_digest(Dataset(place.resolve().name, **splits, source=str(place)), digest)


def _arrays(folder: Path) -> Arrays:
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise UserError(f"{folder}: no .npy files there; put one in for each array, such as {folder / 'inputs.npy'}")
    return {file.stem: _mapped(file) for file in files}


def _mapped(file: Path) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise UserError(f"{file}: not an .npy file that can be mapped ({error}); save one with np.save") from error
    return array
