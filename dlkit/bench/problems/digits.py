"""Networks on scikit-learn's digits."""

from dlkit import models
from dlkit.bench import data
from dlkit.bench.problems.base import Problem, classification

__all__ = ["digits_mlp"]


def digits_mlp() -> Problem:
    """Makes the classification of 8x8 digits by a ReLU network 64-64-64-10, batches of 64."""
    return classification(
        "digits-mlp",
        models.mlp((64, 64, 10)),
        data.digits(),
        batch_size=64,
        steps=600,
        target=0.95,
        description="MLP 64-64-64-10 on scikit-learn's digits, batch 64",
    )
