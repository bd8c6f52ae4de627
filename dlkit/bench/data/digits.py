"""scikit-learn's small images of handwritten digits."""

import numpy as np

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
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return {"inputs": (images / 16).astype(np.float32), "targets": labels.astype(np.int32)}
