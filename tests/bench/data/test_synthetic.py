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
    "make",
    [
        data.adding,
        data.copy_memory,
        data.unequal_series,
        data.survival_times,
        data.teacher,
        data.picture,
        data.ring,
        data.zipf_words,
    ],
)
def test_synthetic_data_hold_hundreds_of_examples_out(make):
    _, validation, test = make().sizes
    assert min(validation, test) >= 450 and abs(validation - test) <= 1


def test_pulses_stand_in_the_third_of_their_class_and_padding_misleads():
    dataset = data.unequal_series()
    inputs, lengths, targets = (together(dataset, name) for name in ("inputs", "lengths", "targets"))
    assert (lengths.min(), lengths.max()) == (5, 40)
    np.testing.assert_allclose(np.bincount(targets) / len(targets), 1 / 3, atol=0.03)
    means = inputs.mean(axis=2)
    kept = np.where(np.arange(40) < lengths[:, None], means, -np.inf)
    long = lengths > 20
    # The largest smoothed value of a long series tells its class mostly; without its length, it does not.
    smooth = np.stack([np.convolve(np.where(np.isfinite(row), row, -1), np.ones(4) / 4, "same") for row in kept])
    guessed = 3 * smooth.argmax(axis=1) // lengths
    assert (guessed == targets)[long].mean() > 0.85
    ignorant = 3 * np.stack([np.convolve(row, np.ones(4) / 4, "same") for row in means]).argmax(axis=1) // 40
    assert (ignorant == targets)[~long].mean() < 0.5


def test_survival_times_are_censored_and_ordered_by_risk():
    dataset = data.survival_times()
    x, times, events = (together(dataset, name).astype(float) for name in ("inputs", "time", "event"))
    assert 0.5 < events.mean() < 0.6 and times.min() > 0 and times.max() <= 2
    risk = 1.5 * np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3])
    order, rng = np.argsort(times), np.random.default_rng(0)
    first, second = np.sort(rng.integers(0, len(times), (2, 4000)), axis=0)
    known = (events[order][first] == 1) & (first < second)
    right = (risk[order][first] > risk[order][second])[known].mean()
    assert 0.78 < right < 0.84


@pytest.mark.parametrize(
    ("make", "choices", "message"),
    [(data.unequal_series, {"longest": 9}, "at least 10, got 9"), (data.survival_times, {"features": 3}, "4, got 3")],
)
def test_synthetic_data_that_cannot_be_made(make, choices, message):
    with pytest.raises(UserError, match=message):
        make(**choices)
