"""scikit-learn's small images of handwritten digits."""

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import Dataset
from dlkit.bench.data.cache import cached
from dlkit.bench.data.splits import split

__all__ = ["digits"]

SOURCE = "scikit-learn load_digits: UCI optical recognition of handwritten digits (Alpaydin and Kaynak, 1998)"


def digits() -> Dataset:
    """Returns scikit-learn's digits: 1,797 images of 8x8 pixels in [0, 1], ten classes; 1,079, 359 and 359 examples.

    Returns:
        Splits with ``"inputs"`` [examples, 64] float32 and ``"targets"`` [examples] int32.
    """
    return split("digits", cached("digits-3", _load), source=SOURCE)


def _load() -> Arrays:
    rows = _rows()
    return {"inputs": (rows[:, :-1] / 16).astype(np.float32), "targets": rows[:, -1].astype(np.int32)}


def _rows() -> npt.NDArray[np.float64]:
    """Pixels and the digit of each image [1797, 65]: of scikit-learn's file, as importing it takes a second or two."""
    found = importlib.util.find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.exists():
            return np.loadtxt(path, delimiter=",", ndmin=2)
    from sklearn.datasets import load_digits  # where it keeps its file elsewhere

    images, labels = load_digits(return_X_y=True)
    return np.column_stack([images, labels])
