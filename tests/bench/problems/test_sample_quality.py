"""How good samples are, against double-precision recomputations and closed forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel

from dlkit.bench import data
from dlkit.bench.problems.feature_extractor import trained_classifier
from dlkit.bench.problems.sample_quality import (
    Gaussian,
    Kernel,
    Moments,
    energy_distance,
    frechet_distance,
    good_share,
    modes_covered,
    moments_of,
    ordered_pairs,
    squared_mmd,
)

RNG = np.random.default_rng(0)
KERNEL = Kernel((0.5, 2.0))


def drawn(rows: int, features: int = 3, shift: float = 0.0) -> np.ndarray:
    return (RNG.normal(size=(rows, features)) + shift).astype(np.float32)


@pytest.mark.long
def test_squared_mmd_is_its_double_loop() -> None:
    x, y = drawn(7), drawn(5, shift=0.5)

    def k(a: Any, b: Any) -> float:
        return np.mean([rbf_kernel(a[None], b[None], gamma=1 / (2 * s**2))[0, 0] for s in KERNEL.widths])

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert float(squared_mmd(x, y, KERNEL)) == pytest.approx(within_x + within_y - 2 * across, abs=1e-6)


@pytest.mark.long
def test_the_energy_distance_is_scipys_without_its_bias() -> None:
    x, y = drawn(40, 1), drawn(30, 1, shift=0.7)
    # SciPy's is the square root of the biased one: its means are over all pairs, also of an example with itself
    biased = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    bias = sum(cdist(each, each).mean() / (len(each) - 1) for each in (x, y))
    assert float(energy_distance(x, y)) == pytest.approx(biased - bias, abs=1e-5)
    x, y = drawn(9, 6), drawn(11, 6, shift=0.3)
    within = [cdist(each, each).sum() / (len(each) * (len(each) - 1)) for each in (x, y)]
    assert float(energy_distance(x, y)) == pytest.approx(2 * cdist(x, y).mean() - sum(within), abs=1e-5)


@pytest.mark.long
def test_both_are_unbiased() -> None:
    """Over 2,000 pairs of samples of one distribution, the mean is within 4 standard errors of 0."""
    pairs = jnp.asarray(RNG.normal(size=(2000, 2, 6, 2)), jnp.float32)
    for distance in (lambda x, y: squared_mmd(x, y, KERNEL), energy_distance):
        values = np.asarray(jax.jit(jax.vmap(lambda pair, distance=distance: distance(pair[0], pair[1])))(pairs))
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
        assert values.min() < 0


@pytest.mark.long
def test_the_frechet_distance_is_that_of_scipys_square_root() -> None:
    x, y = drawn(50, 5) @ RNG.normal(size=(5, 5)), drawn(60, 5, shift=1.0) @ RNG.normal(size=(5, 5))
    first, second = np.cov(x.T), np.cov(y.T)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first + second)
    expected -= 2 * np.trace(scipy.linalg.sqrtm(first @ second)).real
    moments = [moments_of(jnp.asarray(each, jnp.float32)) for each in (x, y)]
    np.testing.assert_allclose(moments[1].covariance, second, rtol=1e-4, atol=1e-4)
    assert float(frechet_distance(*moments)) == pytest.approx(expected, rel=1e-4)
    assert float(frechet_distance(moments[0], moments[0])) == pytest.approx(0, abs=1e-4 * np.trace(first))


@pytest.mark.long
def test_the_frechet_distance_of_normal_distributions_on_a_line() -> None:
    # (m1 - m2)^2 + (s1 - s2)^2
    first = Moments(jnp.array([1.0]), jnp.array([[9.0]]))
    second = Moments(jnp.array([-1.0]), jnp.array([[1.0]]))
    assert float(frechet_distance(first, second)) == pytest.approx(4 + 4, rel=1e-6)
    flat = Moments(jnp.zeros(3), jnp.diag(jnp.array([1.0, 0.0, 0.0])))
    assert float(frechet_distance(flat, Moments(jnp.zeros(3), jnp.zeros((3, 3))))) == pytest.approx(1, rel=1e-6)


@pytest.mark.long
def test_a_gaussian_fits_mmd_in_closed_form_is_that_of_its_samples() -> None:
    examples = (RNG.normal(size=(60, 2)) * [1.0, 0.2]).astype(np.float32)
    fitted = Gaussian(np.array([0.3, -0.2]), np.array([[1.0, 0.3], [0.3, 0.5]]))
    samples = jnp.asarray(RNG.multivariate_normal(fitted.mean, fitted.covariance, size=(600, 80)), jnp.float32)
    values = np.asarray(jax.jit(jax.vmap(lambda x: squared_mmd(x, examples, KERNEL)))(samples), np.float64)
    closed = fitted.squared_mmd(examples, KERNEL)
    assert closed == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(len(values)))
    assert closed > 10 * values.std() / np.sqrt(len(values))
    again = Gaussian.of(examples)
    np.testing.assert_allclose(again.covariance, np.cov(examples.T.astype(np.float64)), rtol=1e-6)


def test_widths_are_multiples_of_the_median_distance() -> None:
    examples = drawn(20)
    median = np.median(scipy.spatial.distance.pdist(examples))
    np.testing.assert_allclose(Kernel.of(examples, scales=(0.5, 2.0)).widths, [median / 2, 2 * median], rtol=1e-6)


@pytest.mark.long
def test_modes_and_good_samples_of_points_by_hand() -> None:
    centres = jnp.asarray(data.ring_centres(8))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-6)
    # 64 samples: 8 is an equal share, 2 a quarter of it. Modes 0 to 3 get 40, 20, 2 and 1; one is off.
    at = [0] * 40 + [1] * 20 + [2] * 2 + [3]
    points = jnp.concatenate([centres[jnp.array(at)] + 0.05, jnp.zeros((1, 2))])
    assert float(modes_covered(points, centres, radius=0.1)) == 3
    assert float(good_share(points, centres, radius=0.1)) == pytest.approx(63 / 64)
    assert float(modes_covered(points, centres, radius=0.01)) == float(good_share(points, centres, radius=0.01)) == 0


@pytest.mark.long
def test_ordered_pairs_are_the_area_under_the_roc_curve() -> None:
    real, fake = RNG.integers(0, 6, 30).astype(np.float32), RNG.integers(-2, 4, 20).astype(np.float32)
    truth = np.repeat([1, 0], [30, 20])
    expected = roc_auc_score(truth, np.concatenate([real, fake]))
    assert float(ordered_pairs(jnp.asarray(real), jnp.asarray(fake))) == pytest.approx(expected, abs=1e-6)
    assert float(ordered_pairs(jnp.ones(3), jnp.ones(4))) == 0.5


def test_the_frozen_classifier_knows_digits_and_is_always_the_same() -> None:
    digits = data.digits()
    classifier = trained_classifier(digits)
    found = np.asarray(classifier.logits(jnp.asarray(digits.test["inputs"]))).argmax(axis=1)
    assert (found == digits.test["targets"]).mean() > 0.94
    assert trained_classifier(digits) is classifier
    for weight in classifier:
        assert weight.dtype == np.float32
        np.testing.assert_array_equal(weight * 1024, np.round(weight * 1024))
    assert np.abs(classifier.features(jnp.asarray(digits.test["inputs"]))).max() <= 1
