"""Small tables."""

import numpy as np

from dlkit.bench.data.base import Dataset, cached, split, standardize

__all__ = ["diabetes"]

SOURCE = "scikit-learn load_diabetes: Efron, Hastie, Johnstone and Tibshirani, Least angle regression, 2004"


def diabetes() -> Dataset:
    """Returns scikit-learn's diabetes table: 442 patients, ten features, progression after a year; 310, 66 and 66.

    Features and target are standardized on the training split, so that a mean squared error of 1 is the error of
    predicting the mean.

    Returns:
        Splits with ``"inputs"`` [examples, 10] float32 and ``"targets"`` [examples] float32.
    """
    return cached("diabetes-1", _load)


def _load() -> Dataset:
    from sklearn.datasets import load_diabetes

    features, progression = load_diabetes(return_X_y=True, scaled=False)
    arrays = {"inputs": np.asarray(features, np.float64), "targets": np.asarray(progression, np.float64)}
    return standardize(split("diabetes", arrays, source=SOURCE), "inputs", "targets")
