"""Every loss of logits at extreme ones: values and gradients are those of the formula in double precision."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dlkit import gan_losses, losses
from tests.losses.oracles import tolerance, values_and_gradients

EXTREME = [1e4, -1e4, 90.0, -90.0, 1.5, 0.0]
LOGITS, TARGETS = np.repeat(EXTREME, 3), np.tile([0.0, 0.25, 1.0], 6)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def cross_entropy_formula(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return -(targets * scipy.special.log_softmax(logits, axis=-1)).sum(axis=-1)


@every_dtype
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_at_extreme_logits(dtype: str, smoothing: float) -> None:
    rows = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4], [90.0, -90.0, 1.0]]
    rows, indices = np.repeat(rows, 3, axis=0), np.tile(np.arange(3), 5)
    x, values, gradient = values_and_gradients(
        lambda x, t: losses.cross_entropy(x, t, label_smoothing=smoothing), rows, jnp.asarray(indices), dtype=dtype
    )
    targets = (1 - smoothing) * np.eye(3)[indices] + smoothing / 3
    np.testing.assert_allclose(values, cross_entropy_formula(x, targets), rtol=tolerance(dtype), atol=1e-30)
    expected = scipy.special.softmax(x, axis=-1) - targets
    np.testing.assert_allclose(gradient, expected, rtol=tolerance(dtype), atol=1e-7)


@every_dtype
def test_cross_entropy_of_soft_targets_at_extreme_logits(dtype: str) -> None:
    targets = jnp.array([[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]], dtype)
    x, values, gradient = values_and_gradients(
        losses.cross_entropy, [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], targets, dtype=dtype
    )
    targets = np.asarray(targets, np.float64)
    np.testing.assert_allclose(values, cross_entropy_formula(x, targets), rtol=tolerance(dtype))
    np.testing.assert_allclose(gradient, scipy.special.softmax(x, axis=-1) - targets, rtol=tolerance(dtype), atol=1e-7)


@every_dtype
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_binary_cross_entropy_at_extreme_logits(dtype: str, weight: float) -> None:
    x, values, gradient = values_and_gradients(
        lambda x, t: losses.binary_cross_entropy(x, t, positive_weight=weight),
        LOGITS,
        jnp.asarray(TARGETS, dtype),
        dtype=dtype,
    )
    p, target = scipy.special.expit(x), TARGETS
    expected = weight * target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
    np.testing.assert_allclose(values, expected, rtol=tolerance(dtype), atol=1e-37)
    slopes = -weight * target * (1 - p) + (1 - target) * p
    np.testing.assert_allclose(gradient, slopes, rtol=tolerance(dtype), atol=1e-7)


@every_dtype
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_at_extreme_logits(dtype: str, gamma: float) -> None:
    x, values, gradient = values_and_gradients(
        lambda x, t: losses.focal(x, t, gamma=gamma), LOGITS, jnp.asarray(TARGETS, dtype), dtype=dtype
    )
    p, target = scipy.special.expit(x), TARGETS
    # 1 - p without the rounding to 0 for large logits
    q = (1 - target) * p + target * scipy.special.expit(-x)
    entropy = target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
    np.testing.assert_allclose(values, entropy * q**gamma, rtol=4 * tolerance(dtype), atol=1e-37)
    inner = gamma * np.where(q > 0, q, 1) ** (gamma - 1) * (1 - 2 * target) * p * scipy.special.expit(-x) * entropy
    expected = q**gamma * (p - target) + inner
    np.testing.assert_allclose(gradient, expected, rtol=4 * tolerance(dtype), atol=1e-7)


@every_dtype
def test_margin_losses_at_extreme_scores(dtype: str) -> None:
    ones = jnp.ones(2, dtype)
    x, values, gradient = values_and_gradients(losses.hinge, [1e4, -1e4], ones, dtype=dtype)
    np.testing.assert_allclose(values, np.maximum(0, 1 - x), rtol=tolerance(dtype))
    np.testing.assert_array_equal(gradient, [0.0, -1.0])
    x, values, gradient = values_and_gradients(losses.squared_hinge, [1e4, -1e4], ones, dtype=dtype)
    np.testing.assert_allclose(values, np.maximum(0, 1 - x) ** 2, rtol=tolerance(dtype))
    np.testing.assert_allclose(gradient, -2 * np.maximum(0, 1 - x), rtol=tolerance(dtype))
    rows = [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]]
    x, values, gradient = values_and_gradients(losses.multiclass_hinge, rows, jnp.array([0, 0]), dtype=dtype)
    np.testing.assert_allclose(values, [0.0, 1.0 + 2.0 * x[0, 0]], rtol=tolerance(dtype))
    np.testing.assert_array_equal(gradient, [[0, 0, 0], [-1, 1, 0]])


@every_dtype
def test_divergences_of_the_softmax_of_extreme_logits(dtype: str) -> None:
    targets = np.asarray(jnp.array([0.2, 0.5, 0.3], dtype), np.float64)

    def of_logits(divergence):
        return lambda logits: divergence(jax.nn.log_softmax(logits), jnp.asarray(targets, dtype))

    logits = [1e4, -1e4, 0.0]
    x, value, gradient = values_and_gradients(of_logits(losses.kl_divergence), logits, dtype=dtype)
    expected = (scipy.special.xlogy(targets, targets) - targets * scipy.special.log_softmax(x)).sum()
    np.testing.assert_allclose(value, expected, rtol=2 * tolerance(dtype))
    np.testing.assert_allclose(gradient, scipy.special.softmax(x) - targets, rtol=2 * tolerance(dtype))
    # All of p is in the first class: KL(p || t) = -log t_1, flat in the logits to the last digit.
    x, value, gradient = values_and_gradients(of_logits(losses.reverse_kl_divergence), logits, dtype=dtype)
    np.testing.assert_allclose(value, -math.log(targets[0]), rtol=tolerance(dtype))
    np.testing.assert_array_equal(gradient, 0.0)
    x, value, gradient = values_and_gradients(of_logits(losses.jensen_shannon), logits, dtype=dtype)
    p, mixture = scipy.special.softmax(x), (scipy.special.softmax(x) + targets) / 2
    expected = (scipy.special.rel_entr(p, mixture) + scipy.special.rel_entr(targets, mixture)).sum() / 2
    np.testing.assert_allclose(value, expected, rtol=tolerance(dtype))
    np.testing.assert_array_equal(gradient, 0.0)


@every_dtype
def test_poisson_of_a_vanishing_rate(dtype: str) -> None:
    targets = jnp.array([0.0, 3.0], dtype)
    x, values, gradient = values_and_gradients(losses.poisson_nll, [-1e4, -1e4], targets, dtype=dtype)
    np.testing.assert_allclose(values, [0.0, -3.0 * x[1]], rtol=tolerance(dtype))
    np.testing.assert_array_equal(gradient, [0.0, -3.0])


@every_dtype
def test_gaussian_of_an_extreme_log_variance(dtype: str) -> None:
    mean, targets = jnp.array([1.0, 1.0, 1.0], dtype), jnp.array([1.0, 3.0, 1.0], dtype)
    x, values, gradient = values_and_gradients(
        lambda x: losses.gaussian_nll(mean, targets, x), [-1e4, 1e4, 1e4], dtype=dtype
    )
    # Without an error, or with a variance beyond it, log v / 2 is all that is left.
    np.testing.assert_allclose(values, x / 2, rtol=tolerance(dtype))
    np.testing.assert_array_equal(gradient, 0.5)


@pytest.mark.long
@every_dtype
def test_contrast_at_an_extreme_temperature(dtype: str) -> None:
    # Cosines of 1 and 0 over the temperature 1e-4 are logits of 1e4 and 0.
    swapped = jnp.eye(2, dtype=dtype)[::-1]
    _, values, gradient = values_and_gradients(
        lambda q, k: losses.info_nce(q, k, temperature=1e-4), np.eye(2), jnp.eye(2, dtype=dtype), dtype=dtype
    )
    np.testing.assert_array_equal(values, 0.0)
    np.testing.assert_array_equal(gradient, 0.0)
    _, values, gradient = values_and_gradients(
        lambda q, k: losses.info_nce(q, k, temperature=1e-4), np.eye(2), swapped, dtype=dtype
    )
    np.testing.assert_allclose(values, 1e4, rtol=tolerance(dtype))
    # Turning the query towards its key: d cos / d angle = 1 each way, over the temperature.
    np.testing.assert_allclose(gradient, [[0.0, -1e4], [-1e4, 0.0]], rtol=tolerance(dtype), atol=1e-3)


@pytest.mark.long
@every_dtype
def test_ctc_at_extreme_logits(dtype: str) -> None:
    # Three steps, classes: blank, label, another one.
    right = np.tile([-1e4, 1e4, -1e4], (3, 1))
    _, value, gradient = values_and_gradients(losses.ctc, right, jnp.array([1]), dtype=dtype)
    np.testing.assert_allclose(value, 0.0, atol=1e-3 if dtype == "float32" else 0)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-7)
    wrong = np.tile([-1e4, -1e4, 1e4], (3, 1))
    x, value, gradient = values_and_gradients(losses.ctc, wrong, jnp.array([1]), dtype=dtype)
    # The alignments of the label: every path over blank and label with one run of the label.
    paths = [p for p in itertools.product((0, 1), repeat=3) if [c for c, _ in itertools.groupby(p) if c] == [1]]
    assert len(paths) == 6
    np.testing.assert_allclose(value, 3 * (x[0, 2] - x[0, 0]) - math.log(6), rtol=tolerance(dtype))
    # The gradient is softmax(logits) less the share of the alignments that are in the class at the time.
    shares = np.array([[np.mean([path[t] == c for path in paths]) for c in range(3)] for t in range(3)])
    np.testing.assert_allclose(gradient, np.eye(3)[[2, 2, 2]] - shares, rtol=tolerance(dtype), atol=1e-6)


@every_dtype
@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_scores_of_gans_are_logits_too(name: str, dtype: str) -> None:
    loss = gan_losses.get(name)
    x, values, gradient = values_and_gradients(lambda s: sum(loss.discriminator(s, s)), EXTREME, dtype=dtype)
    np.testing.assert_allclose(values, np.logaddexp(0, -x) + np.logaddexp(0, x), rtol=2 * tolerance(dtype))
    np.testing.assert_allclose(gradient, np.tanh(x / 2), rtol=2 * tolerance(dtype), atol=1e-7)
    x, values, gradient = values_and_gradients(loss.generator, EXTREME, dtype=dtype)
    p = scipy.special.expit(x)
    if name == "minimax":
        expected, slopes = -np.logaddexp(0, x), -p
    else:
        expected, slopes = np.logaddexp(0, -x), -scipy.special.expit(-x)
    np.testing.assert_allclose(values, expected, rtol=tolerance(dtype), atol=1e-37)
    np.testing.assert_allclose(gradient, slopes, rtol=tolerance(dtype), atol=1e-37)
