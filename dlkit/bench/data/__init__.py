"""Datasets: arrays, splits and a digest. One family per file."""

from dlkit.bench.data.arrays import Arrays, as_array
from dlkit.bench.data.base import Dataset, require_digest, require_labels
from dlkit.bench.data.cache import cached
from dlkit.bench.data.cifar import cifar, read_cifar, read_cifar_pickle
from dlkit.bench.data.digits import digits
from dlkit.bench.data.door import dataset
from dlkit.bench.data.folders import npy
from dlkit.bench.data.idx import idx, read_idx
from dlkit.bench.data.installed_packages import mnist_5k, packaged_series
from dlkit.bench.data.leakage import Leakage, SharedExamples, leakage
from dlkit.bench.data.npz import npz
from dlkit.bench.data.series import TimeSeries, read_ts, series
from dlkit.bench.data.splits import redrawn, split, split_official, standardize, transformed
from dlkit.bench.data.synthetic import (
    adding,
    copy_memory,
    picture,
    ring,
    ring_centres,
    survival_times,
    teacher,
    unequal_series,
)
from dlkit.bench.data.tabular import breast_cancer, diabetes, diabetes_outliers, wine, zipf_words
from dlkit.bench.data.text import characters, python_topics

__all__ = [
    "Arrays",
    "Dataset",
    "Leakage",
    "SharedExamples",
    "TimeSeries",
    "adding",
    "as_array",
    "breast_cancer",
    "cached",
    "characters",
    "cifar",
    "copy_memory",
    "dataset",
    "diabetes",
    "diabetes_outliers",
    "digits",
    "idx",
    "leakage",
    "mnist_5k",
    "npy",
    "npz",
    "packaged_series",
    "picture",
    "python_topics",
    "read_cifar",
    "read_cifar_pickle",
    "read_idx",
    "read_ts",
    "redrawn",
    "require_digest",
    "require_labels",
    "ring",
    "ring_centres",
    "series",
    "split",
    "split_official",
    "standardize",
    "survival_times",
    "teacher",
    "transformed",
    "unequal_series",
    "wine",
    "zipf_words",
]
