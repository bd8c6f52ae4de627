"""Small tables: diabetes, wine and breast cancer from scikit-learn, and synthetic documents.

Tables of a few hundred examples give half of them to validation and test: with fewer, a choice or a judgement would
hang on a handful of them.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dlkit.bench.data.arrays import Arrays
from dlkit.bench.data.base import Dataset
from dlkit.bench.data.cache import cached
from dlkit.bench.data.splits import split, standardize, transformed
from dlkit.bench.errors import UserError

__all__ = ["breast_cancer", "diabetes", "diabetes_outliers", "wine", "zipf_words"]

DIABETES = "scikit-learn load_diabetes: Efron, Hastie, Johnstone and Tibshirani, Least angle regression, 2004"
WINE = "scikit-learn load_wine: UCI wine recognition (Aeberhard and Forina, 1991)"
CANCER = "scikit-learn load_breast_cancer: UCI breast cancer Wisconsin, diagnostic (Wolberg et al., 1993)"


def diabetes() -> Dataset:
    """Returns scikit-learn's diabetes table: 442 patients, ten features, progression after a year; 222, 110 and 110.

    Features and target are standardized on the training split, so that a mean squared error of 1 is the error of
    predicting the mean.

    Returns:
        Splits with ``"inputs"`` [examples, 10] float32 and ``"targets"`` [examples] float32.
    """
    arrays = cached("diabetes-2", _load_diabetes)
    return standardize(_half_held_out("diabetes", arrays, DIABETES), "inputs", "targets")


def _load_diabetes() -> Arrays:
    from sklearn.datasets import load_diabetes

    features, progression = load_diabetes(return_X_y=True, scaled=False)
    return {"inputs": np.asarray(features, np.float64), "targets": np.asarray(progression, np.float64)}


def diabetes_outliers(*, share: float = 0.1, size: float = 10.0) -> Dataset:
    """Returns the diabetes table with planted outliers: a share of the training targets is moved up by a constant.

    Validation and test are as in `diabetes`.

    Args:
        share: of the training examples that are outliers, in [0, 1].
        size: by how many standard deviations of the target.

    Returns:
        Splits as in `diabetes`.

    Raises:
        UserError: for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise UserError(f"dataset 'diabetes-outliers': share must lie in [0, 1], got {share}")
    return transformed(diabetes(), partial(_with_outliers, share=share, size=size))


def _with_outliers(clean: Dataset, *, share: float, size: float) -> Dataset:
    count = round(share * clean.examples)
    chosen = np.random.Generator(np.random.Philox(key=0)).permutation(clean.examples)[:count]
    targets = clean.train["targets"].copy()
    targets[chosen] += np.float32(size)
    source = f"{clean.source}; {count} training targets moved by {size:g} standard deviations"
    return replace(clean, name="diabetes-outliers", train={**clean.train, "targets": targets}, source=source)


def wine() -> Dataset:
    """Returns scikit-learn's wine table: 178 wines, thirteen features, three cultivars; 90, 44 and 44 examples.

    Returns:
        Splits with ``"inputs"`` [examples, 13] float32, standardized on the training split, and ``"targets"``
        [examples] int32.
    """
    return standardize(_half_held_out("wine", cached("wine-2", _load_wine), WINE), "inputs")


def breast_cancer() -> Dataset:
    """Returns scikit-learn's breast cancer table: 569 tumours, thirty features, benign (1) or not; 285, 142 and 142.

    Returns:
        Splits with ``"inputs"`` [examples, 30] float32, standardized on the training split, and ``"targets"``
        [examples] int32.
    """
    arrays = cached("breast-cancer-2", _load_breast_cancer)
    return standardize(_half_held_out("breast-cancer", arrays, CANCER), "inputs")


def _half_held_out(name: str, arrays: Arrays, source: str) -> Dataset:
    return split(name, arrays, validation=0.25, test=0.25, source=source)


def _load_wine() -> Arrays:
    from sklearn.datasets import load_wine

    return _classes(*load_wine(return_X_y=True))


def _load_breast_cancer() -> Arrays:
    from sklearn.datasets import load_breast_cancer

    return _classes(*load_breast_cancer(return_X_y=True))


def _classes(features: Any, labels: Any) -> Arrays:
    return {"inputs": np.asarray(features, np.float64), "targets": np.asarray(labels, np.int32)}


def zipf_words(*, examples: int = 5000, features: int = 400, per_example: int = 20) -> Dataset:
    """Returns synthetic documents: each word is there or not, word r with a frequency of about 1/r; two classes.

    Classes are drawn from a logistic model with normal weights of deviation 1.5, so rare words tell as much as frequent
    ones. The splits are 60, 20 and 20 %.

    Args:
        examples: how many documents.
        features: how many words there are.
        per_example: how many different words a document has on average.

    Returns:
        Splits with ``"inputs"`` [examples, features] float32 of 0 and 1 and ``"targets"`` [examples] int32.
    """
    rng = np.random.Generator(np.random.Philox(key=1))
    frequencies = 1 / np.arange(1, features + 1)
    chances = np.minimum(frequencies * per_example / frequencies.sum(), 0.5)
    inputs = (rng.random((examples, features)) < chances).astype(np.float32)
    logits = (inputs - chances) @ (1.5 * rng.standard_normal(features))
    targets = (rng.random(examples) < 1 / (1 + np.exp(-logits))).astype(np.int32)
    return split("zipf-words", {"inputs": inputs, "targets": targets}, source="synthetic: Zipf's law, logistic model")
