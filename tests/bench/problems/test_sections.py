"""What the problems of the catalogue share."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlkit.bench.data.base import Dataset
from dlkit.bench.problems.sections import class_count, no_data, penalized

PARAMS = {"dense": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([10.0])}}


@pytest.mark.parametrize(("l1", "l2", "expected"), [(0.0, 0.0, 1.0), (0.5, 0.0, 2.5), (0.0, 0.1, 1.5), (0.5, 0.1, 3.0)])
def test_penalties_are_of_the_weights_alone(l1: float, l2: float, expected: float) -> None:
    # |w|_1 = 3 and |w|_2^2 = 5; the bias does not count
    np.testing.assert_allclose(penalized(jnp.float32(1.0), PARAMS, l1=l1, l2=l2), expected, rtol=1e-6)


def test_without_penalties_the_loss_is_left_alone() -> None:
    value = jnp.float32(1.0)
    assert penalized(value, PARAMS, l1=0.0, l2=0.0) is value


@pytest.mark.parametrize("largest", ["train", "validation", "test"])
def test_classes_are_counted_over_all_splits(largest: str) -> None:
    others = {"train": 1, "validation": 2, "test": 3}
    splits = {name: {"targets": np.array([0, 4 if name == largest else other])} for name, other in others.items()}
    assert class_count(Dataset("mine", **splits)) == 5


def test_no_data_has_no_arrays() -> None:
    dataset = no_data("none at all")
    assert (dataset.name, dataset.source, dataset.examples) == ("none", "none at all", 0)
    assert not dataset.train and not dataset.validation and not dataset.test
