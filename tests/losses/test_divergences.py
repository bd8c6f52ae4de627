"""Divergences against scipy, optax, torch, hand-computed values and laws."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit import losses
from tests.losses.oracles import assert_agrees_with_torch, assert_equals, assert_follows, refuses

RNG = np.random.default_rng(0)
P, T = RNG.dirichlet(np.ones(4), 3), RNG.dirichlet(np.ones(4), 3)
DIVERGENCES: dict[str, Callable[..., jax.Array]] = {
    name: getattr(losses, name) for name in ("kl_divergence", "reverse_kl_divergence", "jensen_shannon")
}
every_divergence = pytest.mark.parametrize("name", DIVERGENCES)
LOGITS = hnp.arrays(np.float32, (2, 4), elements=st.floats(-20, 20, width=32))


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - np.log(q))).sum(axis=-1)


# Of log-probabilities and probabilities that are not zero; not normalized, as the gradients need it.
FORMULAS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "kl_divergence": lambda log_p, t: kl(t, np.exp(log_p)),
    "reverse_kl_divergence": lambda log_p, t: kl(np.exp(log_p), t),
    "jensen_shannon": lambda log_p, t: (
        (kl(np.exp(log_p), (np.exp(log_p) + t) / 2) + kl(t, (np.exp(log_p) + t) / 2)) / 2
    ),
}


@every_divergence
def test_values_and_gradients_follow_the_formula(name: str) -> None:
    assert_follows(DIVERGENCES[name], FORMULAS[name], np.log(P), T)


def test_divergences_agree_with_scipy() -> None:
    log_p, t = jnp.asarray(np.log(P), jnp.float32), jnp.asarray(T, jnp.float32)
    np.testing.assert_allclose(losses.kl_divergence(log_p, t), scipy.stats.entropy(T, P, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(losses.reverse_kl_divergence(log_p, t), scipy.stats.entropy(P, T, axis=-1), rtol=1e-5)
    # scipy's is a distance: the root of the divergence.
    expected = scipy.spatial.distance.jensenshannon(P, T, axis=-1) ** 2
    np.testing.assert_allclose(losses.jensen_shannon(log_p, t), expected, rtol=1e-5)


def test_kl_divergence_agrees_with_optax_and_torch() -> None:
    log_p, t = np.log(P).astype(np.float32), T.astype(np.float32)
    t[0, 0] = 0.0
    assert_equals(lambda x: losses.kl_divergence(x, jnp.asarray(t)), lambda x: optax.losses.kl_divergence(x, t), log_p)

    def torch_divergence(log_p: Any, t: Any) -> Any:
        import torch

        return torch.nn.functional.kl_div(log_p, t, reduction="none").sum(-1)

    assert_agrees_with_torch(losses.kl_divergence, torch_divergence, np.log(P), T)


@pytest.mark.parametrize(
    ("name", "p", "t", "expected"),
    [
        ("kl_divergence", [0.25, 0.75], [0.0, 1.0], math.log(4 / 3)),
        ("kl_divergence", [0.0, 1.0], [0.5, 0.5], math.inf),
        ("kl_divergence", [0.0, 1.0], [0.0, 1.0], 0.0),
        ("reverse_kl_divergence", [0.0, 1.0], [0.25, 0.75], math.log(4 / 3)),
        ("reverse_kl_divergence", [0.5, 0.5], [0.0, 1.0], math.inf),
        ("reverse_kl_divergence", [0.0, 1.0], [0.0, 1.0], 0.0),
        ("jensen_shannon", [1.0, 0.0], [0.0, 1.0], math.log(2.0)),
        ("jensen_shannon", [0.0, 1.0], [0.0, 1.0], 0.0),
        ("jensen_shannon", [0.5, 0.5], [0.0, 1.0], 0.75 * math.log(4 / 3)),
    ],
)
def test_by_hand_where_a_probability_is_zero(name: str, p: list[float], t: list[float], expected: float) -> None:
    divergence = DIVERGENCES[name](jnp.log(jnp.array(p)), jnp.array(t))
    assert divergence == pytest.approx(expected, rel=1e-6, abs=1e-7)


@every_divergence
def test_a_class_that_neither_has_adds_nothing_and_has_no_gradient(name: str) -> None:
    log_p, t = jnp.log(jnp.array([0.0, 0.3, 0.7])), jnp.array([0.0, 0.6, 0.4])
    value, gradients = jax.value_and_grad(DIVERGENCES[name], argnums=(0, 1))(log_p, t)
    rest, rest_gradients = jax.value_and_grad(DIVERGENCES[name], argnums=(0, 1))(log_p[1:], t[1:])
    assert value == pytest.approx(float(rest), rel=1e-6)
    for gradient, rest_gradient in zip(gradients, rest_gradients, strict=True):
        assert gradient[0] == 0.0
        np.testing.assert_allclose(gradient[1:], rest_gradient, rtol=1e-6)


def test_the_gradients_stay_finite_where_only_one_side_is_zero() -> None:
    # t = 0 in a class that p has: t log t has the derivative 0 by convention, and p feels no pull.
    gradients = jax.grad(losses.kl_divergence, argnums=(0, 1))(jnp.log(jnp.array([0.5, 0.5])), jnp.array([0.0, 1.0]))
    assert gradients[0].tolist() == [0.0, -1.0] and jnp.isfinite(gradients[1]).all() and gradients[1][0] == 0.0
    for p, t in (([0.5, 0.5], [0.0, 1.0]), ([0.0, 1.0], [0.5, 0.5])):
        gradients = jax.grad(losses.jensen_shannon, argnums=(0, 1))(jnp.log(jnp.array(p)), jnp.array(t))
        assert np.isfinite(gradients).all()
    gradients = jax.grad(losses.reverse_kl_divergence)(jnp.log(jnp.array([0.0, 1.0])), jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(gradients, [0.0, 1.0 + math.log(2.0)], rtol=1e-6)


@pytest.mark.long
@given(LOGITS, LOGITS)
def test_laws(first: np.ndarray, second: np.ndarray) -> None:
    log_p, log_t = jax.nn.log_softmax(jnp.asarray(first)), jax.nn.log_softmax(jnp.asarray(second))
    p, t = jnp.exp(log_p), jnp.exp(log_t)
    for divergence in DIVERGENCES.values():
        # Gibbs: nonnegative, and zero for equal distributions; both up to the rounding of sums of terms of size 40.
        assert (divergence(log_p, t) >= -1e-5).all()
        np.testing.assert_allclose(divergence(log_p, p), 0.0, atol=1e-5)
    between = losses.jensen_shannon(log_p, t)
    np.testing.assert_allclose(between, losses.jensen_shannon(log_t, p), atol=1e-5)
    assert (between <= math.log(2.0) + 1e-5).all()
    np.testing.assert_allclose(
        losses.kl_divergence(log_p, t), losses.reverse_kl_divergence(log_t, p), rtol=1e-4, atol=1e-5
    )
    # The cross-entropy less the entropy of the targets.
    entropy = -jnp.sum(t * log_t, axis=-1)
    expected = losses.cross_entropy(jnp.asarray(first), t) - entropy
    np.testing.assert_allclose(losses.kl_divergence(log_p, t), expected, rtol=1e-4, atol=1e-4)


# ── Normal distributions ──


def test_the_divergence_of_normals_follows_the_formula() -> None:
    mean, log_variance = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
    assert_follows(
        losses.kl_divergence_normal, lambda m, r: 0.5 * (m**2 + np.exp(r) - 1 - r).sum(axis=-1), mean, log_variance
    )


def test_the_divergence_of_normals_agrees_with_torch() -> None:
    def reference(mean: Any, log_variance: Any) -> Any:
        from torch.distributions import Normal, kl_divergence

        return kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(-1)

    mean, log_variance = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
    assert_agrees_with_torch(losses.kl_divergence_normal, reference, mean, log_variance)


def test_the_divergence_of_normals_is_the_integral_of_its_definition() -> None:
    mean, deviation = 0.7, 1.8
    posterior, prior = scipy.stats.norm(mean, deviation), scipy.stats.norm()
    expected = posterior.expect(lambda x: posterior.logpdf(x) - prior.logpdf(x))
    ours = losses.kl_divergence_normal(jnp.array([mean]), jnp.array([2.0 * math.log(deviation)]))
    assert ours == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("r", [1e-4, -1e-4, 1e-2])
def test_the_divergence_of_normals_keeps_its_digits_near_the_prior(r: float) -> None:
    # exp(r) - 1 - r = r^2 / 2 + r^3 / 6 + ...; computed from exp(r) - 1 in float32, all digits would be lost.
    value, gradient = jax.value_and_grad(losses.kl_divergence_normal, argnums=1)(jnp.zeros(1), jnp.array([r]))
    assert value == pytest.approx(0.5 * (r**2 / 2 + r**3 / 6), abs=2e-7 * abs(r))
    assert gradient[0] == pytest.approx(0.5 * math.expm1(r), rel=1e-3)
    assert losses.kl_divergence_normal(jnp.zeros(3), jnp.zeros(3)) == 0.0


@given(hnp.arrays(np.float32, (2, 3), elements=st.floats(-10, 10, width=32)))
def test_the_divergence_of_normals_is_nonnegative_and_even_in_the_mean(both: np.ndarray) -> None:
    mean, log_variance = jnp.asarray(both)
    divergence = losses.kl_divergence_normal(mean, log_variance)
    assert divergence >= -1e-6
    assert divergence == losses.kl_divergence_normal(-mean, log_variance)
    # A variance of 1 leaves half the squared length of the mean.
    expected = 0.5 * float(np.square(both[0].astype(np.float64)).sum())
    assert losses.kl_divergence_normal(mean, jnp.zeros(3)) == pytest.approx(expected, rel=1e-5)


# ── Refusals ──


@pytest.mark.parametrize("name", [*DIVERGENCES, "kl_divergence_normal"])
def test_shapes_and_dtypes_are_refused(name: str) -> None:
    loss, ones = getattr(losses, name), jnp.ones((2, 3))
    refuses(loss, (ones, jnp.ones(3)), ValueError, r"expected .* of one shape, got float32\[2,3\] and float32\[3\]")
    refuses(loss, (jnp.ones(()), jnp.ones(())), ValueError, r"expected (distributions|mean) \[\*batch, .*got a scalar")
    refuses(loss, (ones.astype(int), ones), TypeError, r"expected floating-point .*, got int32\[2,3\]; cast them")
    refuses(loss, (ones, ones.astype(int)), TypeError, r"expected floating-point .*, got int32\[2,3\]; cast them")


@every_divergence
def test_negative_targets_are_refused(name: str) -> None:
    targets = jnp.array([[0.5, 0.5], [1.5, -0.5]])
    message = r"expected targets that are probabilities, at least 0, got -0.5 at position \(1, 1\)"
    refuses(DIVERGENCES[name], (jnp.zeros((2, 2)), targets), ValueError, message)
    # Inside a compiled function they cannot be seen: NaN, where the logarithm of the target is taken.
    result = jax.jit(DIVERGENCES[name])(jnp.zeros((2, 2)), targets)
    assert jnp.isfinite(result[0]) and jnp.isnan(result[1])
