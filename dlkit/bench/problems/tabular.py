"""Regressions on small tables."""

from dlkit import models
from dlkit.bench import data
from dlkit.bench.problems.base import Problem, regression

__all__ = ["diabetes_linear"]


def diabetes_linear() -> Problem:
    """Makes the linear least-squares regression on scikit-learn's diabetes, batches of 31."""
    return regression(
        "diabetes-linear",
        models.mlp((1,)),
        data.diabetes(),
        batch_size=31,
        steps=400,
        target=0.6,
        description="linear regression on scikit-learn's diabetes, standardized, batch 31",
    )
