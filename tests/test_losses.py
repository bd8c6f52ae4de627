"""Losses against optax, hand-computed values and laws."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit import losses

LOGITS = jnp.asarray(np.random.default_rng(0).normal(0.0, 3.0, (5, 4)), jnp.float32)
INDICES = jnp.array([0, 3, 1, 2, 3])
SOFT = jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(4), 5), jnp.float32)

logits_strategy = hnp.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def test_squared_error_equals_optax() -> None:
    np.testing.assert_array_equal(losses.squared_error(LOGITS, SOFT), optax.losses.squared_error(LOGITS, SOFT))


def test_squared_error_by_hand() -> None:
    assert losses.squared_error(jnp.array([1.0, -2.0]), jnp.array([4.0, 0.5])).tolist() == [9.0, 6.25]


@given(hnp.arrays(np.float32, 3, elements=st.floats(-1e9, 1e9, width=32)), st.floats(-100, 100, width=32))
def test_squared_error_is_symmetric_and_zero_on_the_diagonal(p: np.ndarray, t: float) -> None:
    predictions, targets = jnp.asarray(p), jnp.full(3, t, jnp.float32)
    forward, backward = losses.squared_error(predictions, targets), losses.squared_error(targets, predictions)
    np.testing.assert_array_equal(forward, backward)
    assert not losses.squared_error(predictions, predictions).any()


@pytest.mark.parametrize(
    ("predictions", "targets", "error", "message"),
    [
        (jnp.ones(3), jnp.ones((3, 1)), ValueError, r"one shape, got float32\[3\] and float32\[3,1\]"),
        (jnp.ones(3), jnp.ones(()), ValueError, "nothing is broadcast"),
        (jnp.ones(3), jnp.ones(3, jnp.int32), TypeError, r"targets: expected a floating-point dtype, got int32\[3\]"),
        (jnp.ones(3, bool), jnp.ones(3), TypeError, r"predictions: expected a floating-point dtype, got bool\[3\]"),
    ],
)
def test_squared_error_refuses(predictions: jax.Array, targets: jax.Array, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        inspect.unwrap(losses.squared_error)(predictions, targets)


def test_cross_entropy_equals_optax_in_values_and_gradients() -> None:
    reference = optax.losses.softmax_cross_entropy_with_integer_labels
    np.testing.assert_allclose(losses.cross_entropy(LOGITS, INDICES), reference(LOGITS, INDICES), rtol=1e-6)
    np.testing.assert_allclose(
        jax.grad(lambda logits: losses.cross_entropy(logits, INDICES).sum())(LOGITS),
        jax.grad(lambda logits: reference(logits, INDICES).sum())(LOGITS),
        rtol=1e-5,
        atol=1e-7,
    )


def test_cross_entropy_with_soft_targets_equals_optax() -> None:
    reference = optax.losses.softmax_cross_entropy
    np.testing.assert_allclose(losses.cross_entropy(LOGITS, SOFT), reference(LOGITS, SOFT), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, jnp.array(0.1)])
def test_label_smoothing_equals_optax(smoothing: float | jax.Array) -> None:
    one_hot = jax.nn.one_hot(INDICES, 4)
    expected = optax.losses.softmax_cross_entropy(LOGITS, optax.losses.smooth_labels(one_hot, 0.1))
    for targets in (INDICES, one_hot):
        np.testing.assert_allclose(
            losses.cross_entropy(LOGITS, targets, label_smoothing=smoothing), expected, rtol=1e-5
        )


def test_cross_entropy_by_hand() -> None:
    # softmax = (1/4, 3/4)
    logits = jnp.log(jnp.array([1.0, 3.0]))
    assert losses.cross_entropy(logits, jnp.array(0)) == pytest.approx(math.log(4.0))
    assert losses.cross_entropy(logits, jnp.array([0.5, 0.5])) == pytest.approx(math.log(4.0) - math.log(3.0) / 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_cross_entropy_is_stable_at_extreme_logits(dtype: str) -> None:
    logits = jnp.array([1e4, -1e4, 0.0], dtype)

    def loss_and_gradient(index: int) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(losses.cross_entropy)(logits, jnp.array(index))

    right, wrong = loss_and_gradient(0), loss_and_gradient(1)
    assert right[0] == 0.0
    assert float(wrong[0]) == pytest.approx(2e4, rel=4e-3)
    # The gradient is softmax(logits) - one_hot = (1, 0, 0) - one_hot.
    np.testing.assert_array_equal(np.asarray(right[1], np.float32), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(np.asarray(wrong[1], np.float32), [1.0, -1.0, 0.0])


@pytest.mark.parametrize("masked", [-np.inf, -3e38])
@pytest.mark.parametrize("targets", [jnp.array([0.5, 0.0, 0.5]), jnp.array(0)])
def test_a_masked_class_without_weight_adds_nothing(masked: float, targets: jax.Array) -> None:
    loss, gradient = jax.value_and_grad(losses.cross_entropy)(jnp.array([2.0, masked, 2.0]), targets)
    assert loss == pytest.approx(math.log(2.0))
    assert gradient[1] == 0.0 and jnp.isfinite(gradient).all()


def test_a_class_index_out_of_range_gives_nan() -> None:
    result = losses.cross_entropy(jnp.zeros((4, 3)), jnp.array([-1, 0, 2, 3]))
    np.testing.assert_array_equal(jnp.isnan(result), [True, False, False, True])


def test_small_integer_dtypes_count_all_classes() -> None:
    logits = jnp.zeros(300).at[256].set(50.0)
    assert losses.cross_entropy(logits, jnp.array(200, jnp.uint8)) == pytest.approx(50.0, rel=1e-5)


@given(logits_strategy, st.floats(-100, 100, width=32), st.permutations(range(4)))
def test_cross_entropy_laws(logits: np.ndarray, shift: float, order: list[int]) -> None:
    logits, targets = jnp.asarray(logits), SOFT[:3]
    loss = losses.cross_entropy(logits, targets)
    permuted = losses.cross_entropy(logits[:, jnp.array(order)], targets[:, jnp.array(order)])
    np.testing.assert_allclose(losses.cross_entropy(logits + shift, targets), loss, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(permuted, loss, rtol=1e-4, atol=1e-4)
    # Gibbs: the cross-entropy is at least the entropy of the targets.
    assert (loss >= -jnp.sum(targets * jnp.log(targets), axis=-1) - 1e-4).all()


@given(logits_strategy, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_integer_and_one_hot_targets_agree(logits: np.ndarray, indices: list[int]) -> None:
    targets = jnp.array(indices)
    np.testing.assert_array_equal(
        losses.cross_entropy(jnp.asarray(logits), targets),
        losses.cross_entropy(jnp.asarray(logits), jax.nn.one_hot(targets, 4)),
    )


@pytest.mark.parametrize(
    ("logits", "targets", "error", "message"),
    [
        (jnp.ones((5, 4)), jnp.ones((5, 1), jnp.int32), ValueError, r"shape \(5,\), got .* targets int32\[5,1\]"),
        (jnp.ones((5, 4)), jnp.ones((5, 4), jnp.int32), ValueError, "cast one-hot targets to a floating dtype"),
        (jnp.ones((5, 4)), jnp.ones(5), ValueError, r"soft targets of the shape of the logits, got .*float32\[5\]"),
        (jnp.ones((5, 4)), jnp.ones(5, bool), TypeError, r"integer class indices .* got .* targets bool\[5\]"),
        (jnp.ones((5, 4), jnp.int32), jnp.ones(5, jnp.int32), TypeError, r"logits: .* got int32\[5,4\]"),
        (jnp.ones(()), jnp.ones((), jnp.int32), ValueError, r"logits \[\*batch, classes\], got a scalar"),
    ],
)
def test_cross_entropy_refuses(logits: jax.Array, targets: jax.Array, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        inspect.unwrap(losses.cross_entropy)(logits, targets)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_cross_entropy_refuses_a_smoothing_out_of_range(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing in \[0, 1\)"):
        losses.cross_entropy(LOGITS, INDICES, label_smoothing=smoothing)
