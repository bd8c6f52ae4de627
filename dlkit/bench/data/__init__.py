"""Datasets: arrays, splits and a digest. One family per file."""

from dlkit.bench.data.base import Arrays, Dataset, cached, split, standardize
from dlkit.bench.data.digits import digits
from dlkit.bench.data.tabular import diabetes

__all__ = ["Arrays", "Dataset", "cached", "diabetes", "digits", "split", "standardize"]
