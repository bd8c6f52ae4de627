"""Likelihoods against scipy.stats, closed forms, torch, hand-computed values and laws."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlkit import losses
from tests.losses.oracles import assert_agrees_with_torch, assert_follows, refuses

RNG = np.random.default_rng(0)
MEAN, TARGETS, LOG_VARIANCE = RNG.normal(0.0, 2.0, (3, 6))
COUNTS, LOG_RATE = RNG.poisson(3.0, 6).astype(np.float64) + 0.5, RNG.normal(0.0, 1.0, 6)


def full(loss):
    return lambda *arguments: loss(*arguments, full=True)


# ── Normal ──


def test_gaussian_nll_follows_the_density_of_scipy() -> None:
    def density(mean: np.ndarray, targets: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
        return -scipy.stats.norm.logpdf(targets, mean, np.exp(0.5 * log_variance))

    assert_follows(full(losses.gaussian_nll), density, MEAN, TARGETS, LOG_VARIANCE)
    constant = 0.5 * math.log(2.0 * math.pi)
    assert_follows(losses.gaussian_nll, lambda *a: density(*a) - constant, MEAN, TARGETS, LOG_VARIANCE)


def test_gaussian_nll_agrees_with_torch() -> None:
    def reference(mean: Any, targets: Any, log_variance: Any) -> Any:
        import torch

        variance = log_variance.exp()
        return torch.nn.functional.gaussian_nll_loss(mean, targets, variance, full=True, eps=0.0, reduction="none")

    assert_agrees_with_torch(full(losses.gaussian_nll), reference, MEAN, TARGETS, LOG_VARIANCE)


def test_gaussian_nll_by_hand() -> None:
    # An error of 4 at the variance 4: (log 4 + 16 / 4) / 2; no error at the variance e^-2: -1.
    values = losses.gaussian_nll(jnp.zeros(2), jnp.array([4.0, 0.0]), jnp.array([math.log(4.0), -2.0]))
    np.testing.assert_allclose(values, [math.log(2.0) + 2.0, -1.0], rtol=1e-6)


@pytest.mark.parametrize("log_variance", [-170.0, -80.0, 0.0, 80.0, 170.0])
def test_gaussian_nll_at_tiny_and_huge_variances(log_variance: float) -> None:
    # The error is one standard deviation, within float32 beyond where the variance is: the loss is (log v + 1) / 2.
    error = math.exp(0.5 * log_variance)
    function = jax.value_and_grad(losses.gaussian_nll, argnums=(0, 2))
    value, (for_mean, for_variance) = function(jnp.float32(0.0), jnp.float32(error), jnp.float32(log_variance))
    assert value == pytest.approx(0.5 * (log_variance + 1.0), rel=1e-4)
    assert for_mean == pytest.approx(-1.0 / error, rel=1e-4) or log_variance < -150
    assert for_variance == pytest.approx(0.0, abs=1e-4)


def test_without_an_error_any_variance_is_finite() -> None:
    for log_variance in (-1e30, -200.0, 200.0, 1e30):
        function = jax.value_and_grad(losses.gaussian_nll, argnums=(0, 1, 2))
        value, gradients = function(jnp.float32(1.0), jnp.float32(1.0), jnp.float32(log_variance))
        assert value == pytest.approx(log_variance / 2)
        assert [float(gradient) for gradient in gradients] == [0.0, 0.0, 0.5]


@pytest.mark.long
@given(st.floats(0.125, 100, width=32))
def test_the_best_log_variance_is_that_of_the_squared_error(error: float) -> None:
    def loss(log_variance: jax.Array) -> jax.Array:
        return losses.gaussian_nll(jnp.float32(0.0), jnp.float32(error), log_variance)

    best = jnp.float32(2.0 * math.log(error))
    assert jax.grad(loss)(best) == pytest.approx(0.0, abs=1e-4)
    assert loss(best) <= min(loss(best + 0.1), loss(best - 0.1))


def test_at_unit_variance_it_is_half_the_squared_error() -> None:
    mean, targets = jnp.asarray(MEAN, jnp.float32), jnp.asarray(TARGETS, jnp.float32)
    expected = 0.5 * losses.squared_error(mean, targets)
    np.testing.assert_allclose(losses.gaussian_nll(mean, targets, jnp.zeros(6)), expected, rtol=1e-6)


# ── Poisson ──


def test_poisson_nll_follows_the_formula() -> None:
    assert_follows(losses.poisson_nll, lambda r, t: np.exp(r) - t * r, LOG_RATE, COUNTS)
    assert_follows(
        full(losses.poisson_nll), lambda r, t: np.exp(r) - t * r + scipy.special.gammaln(t + 1), LOG_RATE, COUNTS
    )


def test_poisson_nll_in_full_is_the_probability_of_scipy() -> None:
    counts, log_rates = np.array([0.0, 1.0, 2.0, 7.0, 100.0]), np.array([-3.0, 0.0, 1.5, 2.0, 4.7])
    expected = -scipy.stats.poisson.logpmf(counts, np.exp(log_rates))
    ours = losses.poisson_nll(jnp.asarray(log_rates, jnp.float32), jnp.asarray(counts, jnp.float32), full=True)
    np.testing.assert_allclose(ours, expected, rtol=2e-5)


def test_poisson_nll_agrees_with_torch() -> None:
    def reference(log_rate: Any, targets: Any) -> Any:
        import torch

        return torch.nn.functional.poisson_nll_loss(log_rate, targets, log_input=True, reduction="none")

    assert_agrees_with_torch(losses.poisson_nll, reference, LOG_RATE, COUNTS)


def test_poisson_nll_by_hand() -> None:
    # The rate 2: exp(-2) for the count 0; exp(-2) 8 / 6 for 3.
    log_rate = jnp.full(2, math.log(2.0))
    values = losses.poisson_nll(log_rate, jnp.array([0.0, 3.0]), full=True)
    np.testing.assert_allclose(values, [2.0, 2.0 - math.log(8 / 6)], rtol=1e-6)
    np.testing.assert_allclose(
        losses.poisson_nll(log_rate, jnp.array([0.0, 3.0])), [2.0, 2.0 - math.log(8)], rtol=1e-5, atol=1e-6
    )


@given(st.integers(1, 1000))
def test_the_best_rate_is_the_count(count: int) -> None:
    target, best = jnp.float32(count), jnp.float32(math.log(count))
    value, slope = jax.value_and_grad(losses.poisson_nll)(best, target)
    assert slope == pytest.approx(0.0, abs=1e-6 * count * 10)
    assert value <= losses.poisson_nll(best + 0.1, target) and value <= losses.poisson_nll(best - 0.1, target)


def test_the_probabilities_of_all_counts_add_up_to_one() -> None:
    counts = jnp.arange(60.0)
    total = jnp.exp(-losses.poisson_nll(jnp.full(60, math.log(5.0)), counts, full=True)).sum()
    assert total == pytest.approx(1.0, rel=1e-5)


# ── Refusals ──


def test_shapes_and_dtypes_are_refused() -> None:
    ones, wrong = jnp.ones(3), jnp.ones((3, 1))
    for arguments in ((ones, wrong, ones), (ones, ones, wrong), (wrong, ones, ones)):
        refuses(losses.gaussian_nll, arguments, ValueError, "expected mean and targets and log_variance of one shape")
    refuses(losses.poisson_nll, (ones, wrong), ValueError, r"expected .* got float32\[3\] and float32\[3,1\]; reshape")
    integers = jnp.ones(3, int)
    refuses(losses.gaussian_nll, (integers, ones, ones), TypeError, r"expected floating-point mean, got int32\[3\]")
    refuses(losses.gaussian_nll, (ones, ones, integers), TypeError, "expected floating-point log_variance, got")
    refuses(losses.poisson_nll, (integers, ones), TypeError, r"expected floating-point log_rate, got int32\[3\]; cast")
    refuses(losses.poisson_nll, (ones, integers), TypeError, r"expected floating-point targets, got int32\[3\]; cast")


def test_negative_counts_are_refused() -> None:
    message = r"expected targets that are at least 0, got -1.0 at position \(1,\)"
    refuses(losses.poisson_nll, (jnp.zeros(2), jnp.array([1.0, -1.0])), ValueError, message)
    refuses(losses.poisson_nll, (jnp.zeros(()), jnp.array(-1.0)), ValueError, ".* at least 0, got -1.0$")


@pytest.mark.parametrize("n", [0.7, 3.0, 200.0])
def test_student_t_agrees_with_scipy(n: float) -> None:
    rng = np.random.default_rng(0)
    location, targets, log_scale = rng.normal(0, 3, 7), rng.normal(0, 3, 7), rng.normal(0, 1, 7)
    assert_follows(
        lambda m, t, s: losses.student_t_nll(m, t, s, degrees_of_freedom=n, full=True),
        lambda m, t, s: -scipy.stats.t.logpdf(t, n, loc=m, scale=np.exp(s)),
        location,
        targets,
        log_scale,
    )


def test_student_t_of_an_outlier_beyond_the_square_of_any_number() -> None:
    value, slope = jax.value_and_grad(
        lambda m: losses.student_t_nll(m, jnp.float32(0.0), jnp.float32(0.0), degrees_of_freedom=1.0)
    )(jnp.float32(1e30))
    assert value == pytest.approx(2 * 30 * np.log(10), rel=1e-6) and slope == pytest.approx(2e-30, rel=1e-5)


def test_a_mixture_density_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    logits, means, targets = rng.normal(size=(5, 3)), rng.normal(0, 2, (5, 3)), rng.normal(0, 2, 5)

    def ours(logits: jax.Array, means: jax.Array) -> jax.Array:
        each = jnp.broadcast_to(jnp.asarray(targets).reshape(-1, 1), means.shape)
        return losses.mixture_nll(logits, losses.gaussian_nll(means, each, jnp.zeros_like(means), full=True))

    def formula(logits: np.ndarray, means: np.ndarray) -> np.ndarray:
        return -np.log((scipy.special.softmax(logits, -1) * scipy.stats.norm.pdf(targets[:, None], means)).sum(-1))

    assert_follows(ours, formula, logits, means)


def test_a_component_that_excludes_the_target_adds_nothing() -> None:
    loss, gradient = jax.value_and_grad(losses.mixture_nll)(jnp.zeros(2), jnp.array([1.0, jnp.inf]))
    assert loss == pytest.approx(1.0 + np.log(2.0), rel=1e-6)
    np.testing.assert_allclose(gradient, [-0.5, 0.5], rtol=1e-6)
    nowhere, slopes = jax.value_and_grad(losses.mixture_nll)(jnp.zeros(2), jnp.full(2, jnp.inf))
    assert nowhere == jnp.inf and np.isfinite(slopes).all()
