"""Losses of regression against closed forms, optax, scikit-learn, hand-computed values and laws."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit import losses
from tests.losses.oracles import assert_equals, assert_follows, refuses

RNG = np.random.default_rng(0)
PREDICTIONS, TARGETS = RNG.normal(0.0, 2.0, (2, 7)), RNG.normal(0.0, 2.0, (2, 7))
NUMBERS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)  # some devices flush those to zero
VECTORS = hnp.arrays(np.float32, 4, elements=NUMBERS)


def loss_of(name: str, **settings: Any) -> Callable[..., jax.Array]:
    return lambda predictions, targets: getattr(losses, name)(predictions, targets, **settings)


# Name and settings, and the textbook formula of the error.
FORMULAS: dict[str, tuple[Callable[..., jax.Array], Callable[[np.ndarray], np.ndarray]]] = {
    "squared_error": (losses.squared_error, lambda z: z**2),
    "absolute_error": (losses.absolute_error, np.abs),
    "huber": (
        loss_of("huber", delta=0.7),
        lambda z: np.where(np.abs(z) <= 0.7, z**2 / 2, 0.7 * (np.abs(z) - 0.35)),
    ),
    "log_cosh": (losses.log_cosh, lambda z: np.log(np.cosh(z))),
    "quantile": (loss_of("quantile", level=0.3), lambda z: np.where(z < 0, -0.3 * z, 0.7 * z)),
}
every_loss = pytest.mark.parametrize("name", FORMULAS)


@every_loss
def test_values_and_gradients_follow_the_formula(name: str) -> None:
    loss, formula = FORMULAS[name]
    assert_follows(loss, lambda p, t: formula(p - t), PREDICTIONS, TARGETS)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (losses.squared_error, optax.losses.squared_error),
        (losses.huber, optax.losses.huber_loss),
        (loss_of("huber", delta=2.5), lambda p, t: optax.losses.huber_loss(p, t, delta=2.5)),
        (losses.log_cosh, optax.losses.log_cosh),
    ],
)
def test_agrees_with_optax(loss: Callable[..., jax.Array], reference: Callable[..., jax.Array]) -> None:
    assert_equals(loss, reference, PREDICTIONS.astype(np.float32), TARGETS.astype(np.float32))


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 1.0])
def test_quantile_agrees_with_scikit_learn(level: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    expected = metrics.mean_pinball_loss(TARGETS.ravel(), PREDICTIONS.ravel(), alpha=level)
    ours = losses.quantile(jnp.asarray(PREDICTIONS, jnp.float32), jnp.asarray(TARGETS, jnp.float32), level=level)
    assert ours.mean() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.squared_error, [9.0, 6.25, 0.0]),
        (losses.absolute_error, [3.0, 2.5, 0.0]),
        (losses.huber, [2.5, 2.0, 0.0]),
        (loss_of("huber", delta=2.5), [4.375, 3.125, 0.0]),
        (loss_of("quantile", level=0.75), [2.25, 0.625, 0.0]),
    ],
)
def test_by_hand(loss: Callable[..., jax.Array], expected: list[float]) -> None:
    # The errors are -3, 2.5 and 0.
    assert loss(jnp.array([1.0, 3.0, 7.0]), jnp.array([4.0, 0.5, 7.0])).tolist() == expected


@pytest.mark.parametrize(
    ("loss", "at_zero"),
    [
        (losses.squared_error, 0.0),
        (losses.absolute_error, 0.0),
        (losses.huber, 0.0),
        (losses.log_cosh, 0.0),
        (loss_of("quantile", level=0.75), 0.5 - 0.75),
    ],
)
def test_the_gradient_at_an_error_of_zero(loss: Callable[..., jax.Array], at_zero: float) -> None:
    assert jax.grad(loss)(jnp.array(2.0), jnp.array(2.0)) == at_zero


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("loss", "values", "slopes"),
    [
        (losses.absolute_error, [1e4, 1e4], [1.0, -1.0]),
        (losses.huber, [9999.5, 9999.5], [1.0, -1.0]),
        (losses.log_cosh, [1e4 - math.log(2.0)] * 2, [1.0, -1.0]),
        (loss_of("quantile", level=0.75), [2500.0, 7500.0], [0.25, -0.75]),
        (losses.squared_error, [1e8, 1e8], [2e4, -2e4]),
    ],
)
def test_large_errors(loss: Callable[..., jax.Array], values: list[float], slopes: list[float], dtype: str) -> None:
    predictions, targets = jnp.array([1e4, -1e4], dtype), jnp.zeros(2, dtype)
    gradient = jax.grad(lambda p: loss(p, targets).astype(jnp.float32).sum())(predictions)
    rtol = 1e-6 if dtype == "float32" else 2**-7
    np.testing.assert_allclose(np.asarray(loss(predictions, targets), np.float64), values, rtol=rtol)
    np.testing.assert_allclose(np.asarray(gradient, np.float64), slopes, rtol=rtol)


def test_no_piece_overflows_where_the_loss_does_not() -> None:
    huge, zero = jnp.array(3e38), jnp.array(0.0)
    for loss in (losses.huber, losses.log_cosh, losses.absolute_error):
        value, gradient = jax.value_and_grad(loss)(huge, zero)
        assert value == huge and gradient == 1.0
    # The limit of an infinite error is an infinite loss with the slope of the linear piece.
    value, gradient = jax.value_and_grad(losses.huber)(jnp.array(jnp.inf), zero)
    assert value == jnp.inf and gradient == 1.0


@pytest.mark.parametrize("error", [1e-15, 1e-4, 1e-2])
def test_log_cosh_keeps_its_digits_near_zero(error: float) -> None:
    # log cosh z = z^2 / 2 - z^4 / 12 + ...
    value, gradient = jax.value_and_grad(losses.log_cosh)(jnp.float32(error), jnp.float32(0.0))
    assert value == pytest.approx(error**2 / 2 - error**4 / 12, rel=1e-6)
    assert gradient == pytest.approx(math.tanh(error), rel=1e-6)


def test_log_cosh_is_continuous_where_its_forms_meet() -> None:
    below, above = jnp.nextafter(jnp.float32(1.0), jnp.float32(0.0)), jnp.float32(1.0)
    for error in (below, above, -below, -above):
        value, gradient = jax.value_and_grad(losses.log_cosh)(error, jnp.float32(0.0))
        assert value == pytest.approx(math.log(math.cosh(1.0)), rel=1e-6)
        assert gradient == pytest.approx(math.tanh(float(error)), rel=1e-6)


# ── Laws ──


@pytest.mark.long
@every_loss
@given(VECTORS, VECTORS)
def test_losses_are_nonnegative_and_zero_without_an_error(name: str, p: np.ndarray, t: np.ndarray) -> None:
    loss, predictions, targets = FORMULAS[name][0], jnp.asarray(p), jnp.asarray(t)
    assert (loss(predictions, targets) >= 0).all()
    assert not loss(predictions, predictions).any()


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"quantile"}))
@given(VECTORS, VECTORS)
def test_losses_are_symmetric(name: str, p: np.ndarray, t: np.ndarray) -> None:
    loss, predictions, targets = FORMULAS[name][0], jnp.asarray(p), jnp.asarray(t)
    # To a last digit: the hyperbolic sine of -z is rounded apart from that of z.
    np.testing.assert_allclose(loss(predictions, targets), loss(targets, predictions), rtol=1e-6)


@given(VECTORS, st.integers(0, 16).map(lambda sixteenths: sixteenths / 16))
def test_the_quantile_loss_mirrors_its_level(p: np.ndarray, level: float) -> None:
    predictions, targets = jnp.asarray(p), jnp.zeros(4)
    loss = losses.quantile(predictions, targets, level=level)
    mirrored = losses.quantile(-predictions, targets, level=1.0 - level)
    np.testing.assert_allclose(loss, mirrored, rtol=1e-6)
    both = loss + losses.quantile(predictions, targets, level=1.0 - level)
    np.testing.assert_allclose(both, np.abs(p), rtol=1e-6, atol=1e-37)


@jax.jit
def huber_with_slopes(errors: jax.Array, delta: jax.Array) -> tuple[jax.Array, jax.Array]:
    function = jax.value_and_grad(lambda error: losses.huber(error, jnp.zeros(()), delta=delta))
    return jax.vmap(function)(errors)


@given(VECTORS, st.floats(0.0078125, 128.0, width=32))
def test_huber_lies_below_both_of_its_pieces_and_its_slope_is_the_clipped_error(p: np.ndarray, delta: float) -> None:
    loss, slope = huber_with_slopes(jnp.asarray(p), jnp.float32(delta))
    z = np.abs(p.astype(np.float64))
    assert (loss <= z**2 / 2 * (1 + 1e-6)).all() and (loss <= delta * z * (1 + 1e-6)).all()
    np.testing.assert_array_equal(slope, np.clip(p, -np.float32(delta), np.float32(delta)))
    # A delta beyond every error: half the squared error (numbers below 1.2e-38 may be flushed to zero).
    np.testing.assert_allclose(huber_with_slopes(jnp.asarray(p), jnp.float32(1e7))[0], z**2 / 2, rtol=1e-6, atol=1e-37)


@given(VECTORS)
def test_log_cosh_lies_between_its_asymptotes(p: np.ndarray) -> None:
    loss, z = np.asarray(losses.log_cosh(jnp.asarray(p), jnp.zeros(4)), np.float64), np.abs(p.astype(np.float64))
    assert (loss <= np.minimum(z, z**2 / 2) * (1 + 1e-6)).all()
    assert (loss >= (z - math.log(2.0)) * (1 - 1e-6) - 1e-6).all()


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_mean_loss_is_minimal_at_the_statistic_that_it_is_named_after(level: float) -> None:
    sample = jnp.asarray(np.random.default_rng(1).exponential(size=101), jnp.float32)

    def mean_loss(loss: Callable[..., jax.Array], guess: float) -> float:
        return float(loss(jnp.full(101, guess), sample).mean())

    statistics = {
        losses.squared_error: float(sample.mean()),
        losses.absolute_error: float(jnp.median(sample)),
        loss_of("quantile", level=level): float(jnp.quantile(sample, level)),
    }
    for loss, best in statistics.items():
        assert all(mean_loss(loss, best + shift) > mean_loss(loss, best) for shift in (-0.1, -0.01, 0.01, 0.1))


# ── Settings, dtypes and refusals ──


def test_settings_may_be_traced() -> None:
    predictions, targets = jnp.array([3.0, -0.5]), jnp.zeros(2)
    huber = jax.jit(lambda delta: losses.huber(predictions, targets, delta=delta))
    np.testing.assert_allclose(huber(jnp.float32(2.0)), [4.0, 0.125])
    # The slope by delta is |z| - delta in the linear piece.
    assert jax.grad(lambda delta: huber(delta).sum())(jnp.float32(2.0)) == pytest.approx(1.0)
    levels = jnp.array([0.25, 0.75])
    pinball = jax.vmap(lambda level: losses.quantile(predictions, targets, level=level))
    np.testing.assert_allclose(pinball(levels), [[2.25, 0.125], [0.75, 0.375]])


@every_loss
def test_half_precision_is_rounded_only_at_the_end(name: str) -> None:
    loss, formula = FORMULAS[name]
    predictions, targets = jnp.array([257.0, 3.0], jnp.float32), jnp.array([256.0, 1.0], jnp.bfloat16)
    mixed = loss(predictions, targets)
    assert mixed.dtype == jnp.float32
    np.testing.assert_allclose(mixed, formula(np.array([1.0, 2.0])), rtol=1e-6)
    half = loss(jnp.array([3.0], jnp.bfloat16), jnp.array([1.0], jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert half[0] == jnp.asarray(formula(np.array(2.0)), jnp.bfloat16)


@every_loss
@pytest.mark.parametrize(
    ("predictions", "targets", "error", "message"),
    [
        (jnp.ones(3), jnp.ones((3, 1)), ValueError, r".* of one shape, got float32\[3\] and float32\[3,1\]; reshape"),
        (jnp.ones(3), jnp.ones(()), ValueError, ".* nothing is broadcast"),
        (jnp.ones(3), jnp.ones(3, jnp.int32), TypeError, r"expected floating-point targets, got int32\[3\]; cast them"),
        (jnp.ones(3, int), jnp.ones(3), TypeError, r"expected floating-point predictions, got int32\[3\]; cast them"),
        (jnp.ones(3, bool), jnp.ones(3), TypeError, r"expected floating-point predictions, got bool\[3\]; cast them"),
    ],
)
def test_refuses(name: str, predictions: jax.Array, targets: jax.Array, error: type, message: str) -> None:
    settings = {"level": 0.5} if name == "quantile" else {}
    refuses(getattr(losses, name), (predictions, targets), error, message, **settings)


@pytest.mark.parametrize("delta", [0.0, -1.0, math.nan])
def test_huber_refuses_a_delta_that_is_not_positive(delta: float) -> None:
    refuses(losses.huber, (jnp.ones(1), jnp.ones(1)), ValueError, "expected delta above 0, got", delta=delta)


@pytest.mark.parametrize("level", [-0.1, 1.1, math.nan])
def test_quantile_refuses_a_level_that_is_no_probability(level: float) -> None:
    message = "expected level at least 0 and at most 1, got"
    refuses(losses.quantile, (jnp.ones(1), jnp.ones(1)), ValueError, message, level=level)
