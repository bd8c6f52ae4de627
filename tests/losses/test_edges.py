"""Losses where a prediction is infinite, and losses of Python's numbers and lists."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import gan_losses, losses
from tests.losses.oracles import refuses

INF = math.inf


@pytest.mark.parametrize(
    ("loss", "x", "target", "value", "slope"),
    [
        (losses.binary_cross_entropy, INF, 1.0, 0.0, 0.0),
        (losses.binary_cross_entropy, -INF, 0.0, 0.0, 0.0),
        (losses.binary_cross_entropy, INF, 0.0, INF, 1.0),
        (losses.binary_cross_entropy, -INF, 1.0, INF, -1.0),
        (losses.binary_cross_entropy, INF, 0.25, INF, 0.75),
        (losses.focal, INF, 1.0, 0.0, 0.0),
        (losses.focal, -INF, 0.0, 0.0, 0.0),
        (losses.focal, INF, 0.0, INF, 1.0),
        (losses.focal, -INF, 1.0, INF, -1.0),
        (losses.focal, INF, 0.5, INF, 0.5**3),  # q = 1/2, and the slope of the cross-entropy is 1/2
        (losses.poisson_nll, -INF, 0.0, 0.0, 0.0),
        (losses.poisson_nll, -INF, 2.0, INF, -2.0),
        (losses.poisson_nll, INF, 2.0, INF, INF),
        (losses.poisson_nll, INF, 0.0, INF, INF),
    ],
)
def test_an_infinite_prediction_has_the_limits_of_value_and_slope(
    loss, x: float, target: float, value: float, slope: float
) -> None:
    got = jax.value_and_grad(loss)(jnp.float32(x), jnp.float32(target))
    assert [float(each) for each in got] == [value, slope]


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_focal_at_infinity_for_small_exponents(gamma: float) -> None:
    def loss(x: jax.Array) -> jax.Array:
        return losses.focal(x, jnp.float32(1.0), gamma=gamma)

    assert loss(jnp.float32(INF)) == 0.0 and loss(jnp.float32(-INF)) == INF
    assert jax.grad(loss)(jnp.float32(INF)) == 0.0 and jax.grad(loss)(jnp.float32(-INF)) == -1.0


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9])
def test_the_second_derivative_of_focal_for_exponents_below_1(gamma: float) -> None:
    # With q = sigmoid(-x), a = -log p: (q^g a)'' = q^g (g^2 p^2 a - g p q a + 2 g p q + p q), as q' = -p q and a' = -q
    x = np.array([-40.0, -3.0, 0.0, 2.0, 15.0, 60.0])
    p, q, a = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x)), np.logaddexp(0, -x)
    expected = q**gamma * (gamma**2 * p**2 * a - gamma * p * q * a + 2 * gamma * p * q + p * q)
    second = jax.vmap(jax.grad(jax.grad(lambda x: losses.focal(x, jnp.float32(1.0), gamma=gamma))))
    np.testing.assert_allclose(second(jnp.asarray(x, jnp.float32)), expected, rtol=2e-5, atol=1e-15)


def test_an_infinite_score_of_multiclass_hinge() -> None:
    value, slope = jax.value_and_grad(losses.multiclass_hinge)(jnp.array([INF, 1.0, -2.0]), jnp.array(0))
    assert value == 0.0 and not slope.any()
    assert losses.multiclass_hinge(jnp.array([1.0, INF]), jnp.array(0)) == INF
    assert losses.multiclass_hinge(jnp.array([-INF, 1.0]), jnp.array(0)) == INF


@pytest.mark.parametrize("name", ["kl_divergence", "reverse_kl_divergence", "jensen_shannon"])
def test_divergences_refuse_logits(name: str) -> None:
    loss, targets = getattr(losses, name), jnp.full((2, 2), 0.5)
    logits = jnp.array([[math.log(0.5)] * 2, [2.0, 0.0]])
    message = r"expected log_predictions to be log-probabilities, got some whose exponentials sum to 8.389 at position "
    refuses(loss, (logits, targets), ValueError, message + r"\(1,\); of logits, take jax.nn.log_softmax")
    refuses(loss, (0.9 * logits[0], targets[0]), ValueError, "expected log_predictions to be log-probabilities")
    for dtype in ("float32", "bfloat16", "float16"):  # rounding is no mistake, whatever the logits
        wide = jnp.asarray(np.random.default_rng(0).normal(0, 3, (2, 50_000)), dtype)
        loss(jax.nn.log_softmax(wide), jnp.full(wide.shape, 1 / 50_000, dtype))
    assert np.isfinite(jax.jit(loss)(logits, targets)).all()  # cannot be seen here
    assert np.isnan(loss(jnp.full(2, jnp.nan), targets[0]))  # a model that diverged is no mistake of the call


@pytest.mark.parametrize("name", ["squared_error", "absolute_error", "huber", "log_cosh", "binary_cross_entropy"])
def test_numbers_and_lists_are_taken(name: str) -> None:
    loss = getattr(losses, name)
    expected = loss(jnp.array([0.25, 3.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(loss([0.25, 3], [0, 1]), expected)
    np.testing.assert_array_equal(loss(np.array([0.25, 3.0]), (0.0, 1.0)), expected)
    assert loss(0.25, 0) == expected[0]
    # Numbers take the dtype of the array beside them.
    assert loss(jnp.zeros(2, jnp.bfloat16), [0, 1]).dtype == jnp.bfloat16


def test_lists_are_taken_by_every_family() -> None:
    log2 = math.log(2.0)
    for got, expected in (
        (losses.cross_entropy([[0.0, 0.0]], [1]), [log2]),
        (losses.cross_entropy([[0.0, 0.0]], [[0.5, 0.5]], class_weights=[2.0, 0.0]), [log2]),
        (losses.multiclass_hinge([[3.0, 1.0]], [1]), [3.0]),
        (losses.focal([0.0], [1]), [log2 / 4]),
        (losses.hinge([0.5], [1]), [0.5]),
        (losses.kl_divergence([[-log2, -log2]], [[1, 0]]), [log2]),
        (losses.gaussian_nll([1.0], [3], [0]), [2.0]),
        (losses.poisson_nll([0.0], [3]), [1.0]),
        (losses.student_t_nll([1.0], [1], [2], degrees_of_freedom=1.0), [2.0]),
        (losses.cosine_distance([[1, 0]], [[0, 1]]), [1.0]),
        (losses.triplet([[0, 0]], [[3, 4]], [[0, 5.5]]), [0.5]),
        (losses.cox([0.0, 0.0], [1, 2], [1, 0]), [log2, 0.0]),
        (losses.aft([0.0], [2], [0], [0.0]), [2.0]),
        (losses.ctc([[0.0, 0.0]], [1]), log2),
        (gan_losses.hinge.generator([1, 2]), [-1.0, -2.0]),
        (gan_losses.r1_penalty(lambda x: x @ jnp.array([3.0, 4.0]), [[1, 1]]), [25.0]),
        (
            gan_losses.gradient_penalty(
                lambda x: x @ jnp.array([3.0, 4.0]), [[1, 1]], np.zeros((1, 2)), key=jax.random.key(0)
            ),
            [16.0],
        ),
        (losses.masked_mean([1, 3.0, 8], [True, True, False]), 2.0),
        (losses.masked_mean(3.0, True), 3.0),
        (losses.masked_mean([[1, 3], [5, 7]], [True, False], axis=1), [2.0, 0.0]),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_what_is_no_number_is_still_refused() -> None:
    with pytest.raises(ValueError, match=r"^squared_error: expected predictions and targets of one shape"):
        inspect.unwrap(losses.squared_error)([1.0, 2.0], 0.0)
    with pytest.raises(TypeError, match=r"^squared_error: expected floating-point targets, got int32"):
        inspect.unwrap(losses.squared_error)(jnp.ones(2), jnp.ones(2, int))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("mse", "squared_error"),
        ("mae", "absolute_error"),
        ("bce", "binary_cross_entropy"),
        ("BCEWithLogitsLoss", "binary_cross_entropy"),
        ("nll", "cross_entropy"),
        ("DiceLoss", "dice"),
        ("knowledge_distillation", "distillation"),
        ("SupCon", "supervised_contrastive"),
        ("simclr", "nt_xent"),
        ("NTXentLoss", "nt_xent"),
        ("listnet", "list_net"),
        ("listmle", "list_mle"),
        ("coral", "ordinal"),
        ("mmd", "maximum_mean_discrepancy"),
        ("wasserstein", "sinkhorn"),
        ("mdn", "mixture_nll"),
        ("student_t", "student_t_nll"),
        ("sigmoid_focal_loss", "focal"),
        ("zloss", "z_loss"),
    ],
)
def test_names_that_people_type_are_answered(typed: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"did you mean '{meant}'"):
        getattr(losses, typed)
