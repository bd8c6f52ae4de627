"""Penalties against optax, NumPy in double precision, hand-computed values and laws."""

import math
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit import layers, regularizers
from tests.regularizers.formulas import PENALTIES, everything

PARAMS = {
    "dense": {"kernel": jnp.array([[1.0, -2.0], [3.0, 0.0]]), "bias": jnp.array([10.0, 10.0])},
    "norm": {"scale": jnp.full((2, 2), 10.0)},
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)


def penalty_of(name: str) -> Callable[..., jax.Array]:
    function, settings, _ = PENALTIES[name]
    return lambda params, **more: function(params, **settings, **more)


def test_l2_by_hand() -> None:
    assert regularizers.l2(PARAMS) == 14.0
    assert regularizers.l2(PARAMS, mask=everything) == 614.0


def test_l2_over_everything_equals_optax() -> None:
    params, _ = layers.serial(layers.dense(5), layers.dense(3)).init(jax.random.key(0), (4,))
    expected = optax.tree.norm(params) ** 2
    assert regularizers.l2(params, mask=everything) == pytest.approx(float(expected), rel=1e-6)


def test_the_gradient_is_twice_the_weight_and_zero_elsewhere() -> None:
    gradient = jax.grad(regularizers.l2)(PARAMS)
    np.testing.assert_array_equal(gradient["dense"]["kernel"], 2 * PARAMS["dense"]["kernel"])
    assert not gradient["dense"]["bias"].any() and not gradient["norm"]["scale"].any()


def test_small_contributions_are_not_lost_in_half_precision() -> None:
    # In bfloat16, 256 + 1 = 256: a sum kept in it would stop there.
    params = {"first": jnp.full((1, 1), 16.0, jnp.bfloat16), "rest": [jnp.ones((1, 1), jnp.bfloat16)] * 256}
    assert regularizers.l2(params) == 512.0
    assert regularizers.l2(params).dtype == jnp.bfloat16


def test_without_weights_the_penalty_is_zero() -> None:
    assert regularizers.l2({}) == 0.0
    assert regularizers.l2({"bias": jnp.ones(3)}) == 0.0


def test_integer_parameters_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"got int32\[2,2\] at 'table/codes'"):
        regularizers.l2({"table": {"codes": jnp.ones((2, 2), jnp.int32)}})


@given(st.floats(-100, 100, width=32))
def test_l2_is_homogeneous_of_degree_two_and_additive(factor: float) -> None:
    scaled = jax.tree.map(lambda leaf: factor * leaf, PARAMS)
    assert regularizers.l2(scaled) == pytest.approx(factor**2 * 14.0, rel=1e-5)
    assert regularizers.l2({"left": scaled, "right": PARAMS}) == pytest.approx(factor**2 * 14.0 + 14.0, rel=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 2, 3, 4)])
@every_penalty
def test_penalties_and_their_gradients_follow_the_formula(name: str, shape: tuple[int, ...]) -> None:
    w, step = np.random.default_rng(0).normal(size=shape), 1e-5
    formula = PENALTIES[name][2]
    shifts = step * np.eye(w.size).reshape(w.size, *shape)
    slopes = [(formula(w + shift) - formula(w - shift)) / (2 * step) for shift in shifts]
    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(lambda w: penalty_of(name)({"kernel": w})))(jnp.asarray(w))
    np.testing.assert_allclose(value, formula(w), rtol=1e-12)
    np.testing.assert_allclose(gradient.ravel(), slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.long
@every_penalty
def test_penalties_skip_biases_by_default_obey_the_mask_and_add_up(name: str) -> None:
    w = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)), jnp.float32)
    penalty, params = penalty_of(name), {"first": {"kernel": w, "bias": 9.0 * jnp.ones(2)}, "second": {"embedding": w}}
    assert penalty(params) == pytest.approx(2.0 * float(penalty({"kernel": w})), rel=1e-6)
    assert penalty(params, mask=regularizers.by_name("second/*")) == penalty({"kernel": w})
    assert penalty({}) == 0.0 and penalty({"bias": jnp.ones(3)}) == 0.0
    gradient = jax.grad(penalty)(params)
    assert not gradient["first"]["bias"].any() and gradient["second"]["embedding"].all()


@every_penalty
def test_a_dtype_error_names_the_penalty_and_the_parameter(name: str) -> None:
    codes = {"table": {"codes": jnp.ones((2, 2), jnp.int32)}}
    with pytest.raises(
        TypeError, match=rf"^{name.split('-')[0]}: expected floating-point parameters, .* at 'table/codes'"
    ):
        penalty_of(name)(codes)


@cache
def value_and_gradient(name: str):
    return jax.jit(jax.value_and_grad(lambda w: penalty_of(name)({"kernel": w})))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("magnitude", [0.0, 1e-38, 1e-30, 1e-19, 1.0, 1e8, 1e18])
@every_penalty
def test_penalties_at_all_magnitudes(name: str, magnitude: float, dtype: str) -> None:
    if name == "orthogonality" and magnitude > 1e9:
        pytest.skip("the fourth power is beyond float32")
    pattern = np.array([[1.0, 0.0, -0.5, 1.0], [-2.0, 0.0, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]])
    w = jnp.asarray(magnitude * pattern, dtype)
    value, gradient = value_and_gradient(name)(w)
    # Numbers below 1.2e-38 may be flushed to zero.
    np.testing.assert_allclose(
        float(value),
        PENALTIES[name][2](np.asarray(w, np.float64)),
        rtol=2**-8 if dtype == "bfloat16" else 1e-5,
        atol=1e-37,
    )
    assert jnp.isfinite(gradient).all() and not (gradient[:, 1].any() and name != "orthogonality")


def test_l1_is_flat_at_zero() -> None:
    assert jax.grad(lambda w: regularizers.l1({"w": w}))(jnp.array([[0.0, -3.0, 3.0]])).tolist() == [[0.0, -1.0, 1.0]]


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 3.0), (0.0, 2.5), (0.5, 2.75)])
def test_elastic_net_lies_between_l1_and_half_of_l2(ratio: float, expected: float) -> None:
    params = {"w": jnp.array([[1.0, -2.0]])}
    assert regularizers.elastic_net(params, l1_ratio=ratio) == expected
    assert jax.jit(lambda ratio: regularizers.elastic_net(params, l1_ratio=ratio))(jnp.float32(ratio)) == expected


def test_elastic_net_without_a_square_does_not_overflow_in_it() -> None:
    value, gradient = jax.value_and_grad(lambda w: regularizers.elastic_net({"w": w}, l1_ratio=1.0))(
        jnp.full((2, 2), 1e30)
    )
    assert value == pytest.approx(4e30) and (gradient == 1.0).all()


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e-19, 1.0, 1e19, 3e37])
def test_group_lasso_neither_overflows_nor_underflows_in_the_square(scale: float) -> None:
    kernel = scale * jnp.array([[3.0, 0.0], [4.0, 0.0]])
    value, gradient = jax.value_and_grad(lambda w: regularizers.group_lasso({"w": w}, size_weighted=False))(kernel)
    assert value == pytest.approx(5.0 * scale, rel=1e-6)
    # The gradient is the direction of the group, whatever its length; 0 at the group of zeros.
    np.testing.assert_allclose(gradient, [[0.6, 0.0], [0.8, 0.0]], rtol=1e-6)


def test_the_curvature_of_group_lasso_is_finite_too() -> None:
    w = np.array([[3.0, 0.0], [4.0, 0.0]])
    hessian = jax.jit(jax.hessian(lambda w: regularizers.group_lasso({"w": w}, size_weighted=False)))(
        jnp.asarray(w, jnp.float32)
    )
    # (I - u u^T) / ||w|| with u = (0.6, 0.8), ||w|| = 5
    np.testing.assert_allclose(hessian[:, 0, :, 0], [[0.128, -0.096], [-0.096, 0.072]], atol=1e-6)
    assert not hessian[:, 1].any()


def test_group_lasso_over_single_weights_is_l1() -> None:
    w = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)), jnp.float32)
    assert regularizers.group_lasso({"w": w}, group_axes=()) == pytest.approx(
        float(regularizers.l1({"w": w})), rel=1e-6
    )
    bias = {"bias": w[0]}  # the last axis is that of the output units: one weight each
    everything_of_it = float(regularizers.l1(bias, mask=everything))
    assert regularizers.group_lasso(bias, mask=everything) == pytest.approx(everything_of_it, rel=1e-6)


def test_group_axes_must_exist() -> None:
    with pytest.raises(
        ValueError, match=r"^group_lasso: expected group_axes of the parameter, got \(2,\) for float32\[2,3\]"
    ) as e:
        regularizers.group_lasso({"dense": {"kernel": jnp.ones((2, 3))}}, group_axes=(2,))
    assert e.value.__notes__ == ["in group_lasso: parameter 'dense/kernel', float32[2,3]"]


@pytest.mark.long
@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4), (2, 3, 4)])
def test_orthogonality_is_zero_exactly_for_orthonormal_columns_or_rows(shape: tuple[int, ...]) -> None:
    kernel = jax.nn.initializers.orthogonal()(jax.random.key(0), shape)
    assert regularizers.orthogonality({"w": kernel}) < 1e-10
    assert regularizers.orthogonality({"w": 1.1 * kernel}) == pytest.approx(
        0.21**2 * min(math.prod(shape[:-1]), shape[-1]), rel=1e-5
    )


def test_orthogonality_of_a_wide_kernel_has_the_gradient_of_the_formula_for_its_columns() -> None:
    w = jnp.asarray(np.random.default_rng(3).normal(size=(3, 7)), jnp.float32)
    value, gradient = jax.value_and_grad(lambda w: regularizers.orthogonality({"w": w}))(w)
    by_columns = jax.value_and_grad(lambda w: jnp.sum(jnp.square(w.T @ w - jnp.eye(7))))
    expected, expected_gradient = by_columns(w)
    assert value == pytest.approx(float(expected) - (7 - 3), rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


def test_orthogonality_of_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^orthogonality: expected kernels of at least two axes, got float32\[3\]"):
        regularizers.orthogonality({"bias": jnp.ones(3)}, mask=everything)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan])
def test_a_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"^elastic_net: expected l1_ratio at least 0 and at most 1, got"):
        regularizers.elastic_net({}, l1_ratio=ratio)


@pytest.mark.parametrize("length", [1e-37, 1e-20, 1e37])
def test_the_norm_of_a_constant_group_of_any_length(length: float) -> None:
    constant = {"w": jnp.full((4, 1), length)}
    found = jax.jit(lambda: regularizers.group_lasso(constant, size_weighted=False))()
    assert found == pytest.approx(2 * length, rel=1e-6)


def test_leaves_may_be_numbers_and_numpy_arrays() -> None:
    params = {"kernel": np.array([[3.0, -4.0]], np.float32), "gain": 2}
    assert regularizers.l2(params) == 25.0
    assert regularizers.l1(params, mask=everything) == 9.0
