"""Synthetic data: no sequence is drawn twice, and enough examples are held out."""

import numpy as np
import pytest

from dlkit.bench import data
from dlkit.bench.data.base import SPLITS
from dlkit.bench.errors import UserError


def together(dataset, name):
    return np.concatenate([getattr(dataset, part)[name] for part in SPLITS])


@pytest.mark.parametrize(("symbols", "count"), [(4, 8**4), (5, 20_000), (8, 20_000), (20, 20_000)])
def test_no_sequence_of_copy_memory_is_there_twice(symbols, count):
    dataset = data.copy_memory(delay=3, symbols=symbols)
    inputs, words = together(dataset, "inputs"), together(dataset, "targets")
    assert len(words) == len(np.unique(words, axis=0)) == count
    np.testing.assert_array_equal(inputs[:, :symbols], words)
    np.testing.assert_array_equal(inputs[:, symbols:], [[0] * 3 + [9] + [0] * (symbols - 1)] * count)
    # Every symbol is as frequent at every place: a share of 1/8, within five deviations of a draw.
    shares = np.stack([(words == symbol).mean(axis=0) for symbol in range(1, 9)])
    np.testing.assert_allclose(shares, 1 / 8, atol=5 * np.sqrt(1 / 8 * 7 / 8 / count))


@pytest.mark.parametrize("choices", [{"symbols": 3}, {"symbols": 21}, {"delay": -1}])
def test_sequences_that_cannot_be_held_out(choices):
    with pytest.raises(UserError, match="dataset 'copy-memory': needs delay >= 0 and from 4 to 20 symbols, got"):
        data.copy_memory(**choices)


@pytest.mark.parametrize(
    "make", [data.adding, data.copy_memory, data.teacher, data.picture, data.ring, data.zipf_words]
)
def test_synthetic_data_hold_hundreds_of_examples_out(make):
    _, validation, test = make().sizes
    assert min(validation, test) >= 450 and abs(validation - test) <= 1
