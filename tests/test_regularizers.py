"""Regularizers against optax, scikit-learn, NumPy in double precision, hand-computed values and laws."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from flax import linen, nnx
from hypothesis import given
from hypothesis import strategies as st

from dlkit import layers, regularizers

PARAMS = {
    "dense": {"kernel": jnp.array([[1.0, -2.0], [3.0, 0.0]]), "bias": jnp.array([10.0, 10.0])},
    "norm": {"scale": jnp.full((2, 2), 10.0)},
}


def everything(path: tuple[str, ...], leaf: jax.Array) -> bool:
    return True


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


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        (("dense", "kernel"), (2, 3), True),
        (("conv", "kernel"), (3, 3, 2, 4), True),
        (("embed", "embedding"), (7, 2), True),
        (("dense", "bias"), (3,), False),
        (("attention", "bias"), (2, 3), False),
        (("norm", "scale"), (2, 3), False),
        (("norm", "anything"), (3,), False),
        (("bias", "kernel"), (2, 3), True),
        (("dense", "kernel", "value"), (2, 3), True),
        (("dense", "bias", "value"), (2, 3), False),
        ((), (2, 3), True),
    ],
)
def test_weights_only(path: tuple[str, ...], shape: tuple[int, ...], expected: bool) -> None:
    assert regularizers.weights_only(path, jnp.zeros(shape)) is expected


def test_models_of_flax_are_understood() -> None:
    attention = linen.MultiHeadDotProductAttention(num_heads=2)  # biases of shape [heads, head_dim]
    variables = attention.init(jax.random.key(0), jnp.ones((1, 3, 4)))
    params = jax.tree.map(jnp.ones_like, variables["params"])
    # four kernels of 4 x 4
    assert regularizers.l2(params) == 64.0
    nnx_params = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    assert regularizers.l2(jax.tree.map(jnp.ones_like, nnx_params)) == 6.0


def test_the_mask_sees_paths_as_names() -> None:
    seen = []
    regularizers.l2({"a": [jnp.ones(1), {"b": jnp.ones(1)}]}, mask=lambda path, leaf: bool(seen.append(path)))
    assert seen == [("a", "0"), ("a", "1", "b")]


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


# ── All penalties: name, settings, and the formula in NumPy's double precision ──


def column_norms(w: np.ndarray) -> np.ndarray:
    return np.sqrt((w.reshape(-1, w.shape[-1]) ** 2).sum(axis=0))


def distance_from_orthogonal(w: np.ndarray) -> float:
    kernel = w.reshape(-1, w.shape[-1])
    # By the singular values: the Gram matrix has the eigenvalues sigma^2.
    return float(((np.linalg.svd(kernel, compute_uv=False) ** 2 - 1.0) ** 2).sum())


PENALTIES: dict[str, tuple[Callable[..., jax.Array], dict[str, Any], Callable[[np.ndarray], float]]] = {
    "l1": (regularizers.l1, {}, lambda w: np.abs(w).sum()),
    "l2": (regularizers.l2, {}, lambda w: (w**2).sum()),
    "elastic_net": (
        regularizers.elastic_net,
        {"l1_ratio": 0.3},
        lambda w: 0.3 * np.abs(w).sum() + 0.35 * (w**2).sum(),
    ),
    "group_lasso": (
        regularizers.group_lasso,
        {},
        lambda w: math.sqrt(w.size / w.shape[-1]) * column_norms(w).sum(),
    ),
    "group_lasso-unweighted": (regularizers.group_lasso, {"size_weighted": False}, lambda w: column_norms(w).sum()),
    "group_lasso-rows": (
        regularizers.group_lasso,
        {"group_axes": (-1,)},
        lambda w: math.sqrt(w.shape[-1]) * np.sqrt((w**2).sum(axis=-1)).sum(),
    ),
    "orthogonality": (regularizers.orthogonality, {}, distance_from_orthogonal),
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)


def penalty_of(name: str) -> Callable[..., jax.Array]:
    function, settings, _ = PENALTIES[name]
    return lambda params, **more: function(params, **settings, **more)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 2, 3, 4)])
@every_penalty
def test_penalties_and_their_gradients_follow_the_formula(name: str, shape: tuple[int, ...]) -> None:
    w, step = np.random.default_rng(0).normal(size=shape), 1e-5
    formula = PENALTIES[name][2]
    shifts = step * np.eye(w.size).reshape(w.size, *shape)
    slopes = [(formula(w + shift) - formula(w - shift)) / (2 * step) for shift in shifts]
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(lambda w: penalty_of(name)({"kernel": w}))(jnp.asarray(w))
    np.testing.assert_allclose(value, formula(w), rtol=1e-12)
    np.testing.assert_allclose(gradient.ravel(), slopes, rtol=1e-6, atol=1e-7)


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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("magnitude", [0.0, 1e-38, 1e-30, 1e-19, 1.0, 1e8, 1e18])
@every_penalty
def test_penalties_at_all_magnitudes(name: str, magnitude: float, dtype: str) -> None:
    if name == "orthogonality" and magnitude > 1e9:
        pytest.skip("the fourth power is beyond float32")
    pattern = np.array([[1.0, 0.0, -0.5, 1.0], [-2.0, 0.0, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]])
    w = jnp.asarray(magnitude * pattern, dtype)
    value, gradient = jax.value_and_grad(lambda w: penalty_of(name)({"kernel": w}))(w)
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
    hessian = jax.hessian(lambda w: regularizers.group_lasso({"w": w}, size_weighted=False))(
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


# ── Masks ──


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (("encoder/*",), ("encoder", "dense", "kernel"), True),
        (("encoder/*",), ("decoder", "encoder", "kernel"), False),
        (("*/kernel",), ("a", "b", "kernel"), True),
        (("*/kernel",), ("kernel",), False),
        (("*/kernel",), ("a", "kernel", "value"), True),
        (("*/Kernel",), ("a", "kernel"), False),
        (("layer_?/*", "head/*"), ("head", "bias"), True),
        (("layer_[02]/*",), ("layer_1", "bias"), False),
    ],
)
def test_masks_by_name(patterns: tuple[str, ...], path: tuple[str, ...], expected: bool) -> None:
    assert regularizers.by_name(*patterns)(path, jnp.ones(3)) is expected
    assert regularizers.none_of(regularizers.by_name(*patterns))(path, jnp.ones(3)) is not expected


def test_masks_combine() -> None:
    kernels, heads = regularizers.weights_only, regularizers.by_name("head/*")
    both, neither = regularizers.all_of(kernels, heads), regularizers.none_of(kernels, heads)
    paths = [(("head", "kernel"), 2), (("head", "bias"), 1), (("body", "kernel"), 2), (("body", "bias"), 1)]
    leaves = [(path, jnp.ones((1,) * ndim)) for path, ndim in paths]
    assert [both(*leaf) for leaf in leaves] == [True, False, False, False]
    assert [neither(*leaf) for leaf in leaves] == [False, False, False, True]


def test_a_mask_by_name_needs_a_pattern() -> None:
    with pytest.raises(ValueError, match=r"^by_name: expected at least one pattern"):
        regularizers.by_name()


# ── Proximal operators and projections ──

OPERATORS: dict[str, Callable[..., Any]] = {
    "proximal_l1": lambda params, **more: regularizers.proximal_l1(params, strength=0.7, **more),
    "proximal_elastic_net": lambda params, **more: regularizers.proximal_elastic_net(params, strength=0.7, **more),
    "proximal_group_lasso": lambda params, **more: regularizers.proximal_group_lasso(params, strength=0.7, **more),
    "max_norm": lambda params, **more: regularizers.max_norm(params, limit=0.7, **more),
}
every_operator = pytest.mark.parametrize("name", OPERATORS)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0])
def test_proximal_elastic_net_solves_the_problem_of_scikit_learn(ratio: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    w, strength, n = rng.normal(0.0, 2.0, 12), 0.8, 12
    # ElasticNet minimises ||y - X v||^2 / (2 n) + alpha (r ||v||_1 + (1 - r) / 2 ||v||^2); with X = sqrt(n) I and
    # y = sqrt(n) w its first term is ||w - v||^2 / 2.
    solver = linear_model.ElasticNet(alpha=strength, l1_ratio=ratio, fit_intercept=False, tol=1e-12)
    expected = solver.fit(math.sqrt(n) * np.eye(n), math.sqrt(n) * w).coef_
    assert (expected == 0).any() and (expected != 0).any()
    params = {"kernel": jnp.asarray(w.reshape(4, 3), jnp.float32)}
    actual = regularizers.proximal_elastic_net(params, strength=strength, l1_ratio=ratio)["kernel"].ravel()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(actual == 0, expected == 0)
    if ratio == 1.0:
        np.testing.assert_array_equal(regularizers.proximal_l1(params, strength=strength)["kernel"].ravel(), actual)


@pytest.mark.parametrize(
    ("operator", "penalty", "settings"),
    [
        (regularizers.proximal_l1, "l1", {}),
        (regularizers.proximal_elastic_net, "elastic_net", {"l1_ratio": 0.3}),
        (regularizers.proximal_group_lasso, "group_lasso", {}),
        (regularizers.proximal_group_lasso, "group_lasso-unweighted", {"size_weighted": False}),
        (regularizers.proximal_group_lasso, "group_lasso-rows", {"group_axes": (-1,)}),
    ],
)
@given(st.integers(0, 2**31), st.floats(0.0, 2.0))
def test_a_proximal_operator_minimises_distance_plus_penalty(
    operator: Callable[..., Any], penalty: str, settings: dict[str, Any], seed: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(3, 4))
    point = np.asarray(operator({"w": jnp.asarray(w, jnp.float32)}, strength=strength, **settings)["w"], np.float64)

    def objective(v: np.ndarray) -> float:
        return float(0.5 * ((v - w) ** 2).sum() + strength * PENALTIES[penalty][2](v))

    # The objective is strongly convex: f(v) >= f(minimiser) + ||v - minimiser||^2 / 2 for every v.
    for scale in (1.0, 0.1, 0.01):
        other = point + scale * rng.normal(size=w.shape) * (rng.random(w.shape) < 0.5)
        assert objective(other) >= objective(point) + 0.5 * ((other - point) ** 2).sum() - 1e-5


def test_the_block_soft_threshold_by_hand_with_exact_zeros() -> None:
    kernel = {"w": jnp.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])}
    small = regularizers.proximal_group_lasso(kernel, strength=2.5, size_weighted=False)["w"]
    np.testing.assert_allclose(small, [[1.5, 0.0, 0.0], [2.0, 0.0, 0.0]], rtol=1e-6)
    assert (small[:, 1:] == 0.0).all()
    # With the weight sqrt(2): 5 - 2.5 sqrt(2) of 5 are left.
    weighted = regularizers.proximal_group_lasso(kernel, strength=2.5)["w"]
    np.testing.assert_allclose(weighted[:, 0], np.array([3.0, 4.0]) * (1.0 - math.sqrt(2.0) / 2.0), rtol=1e-6)


@every_operator
def test_operators_change_what_the_mask_takes_and_keep_the_rest(name: str) -> None:
    kernel = jnp.asarray(np.random.default_rng(4).normal(size=(3, 2)), jnp.float32)
    params = {"first": {"kernel": kernel, "bias": jnp.ones(2)}, "second": {"kernel": kernel}, "step": jnp.int32(3)}
    changed = OPERATORS[name](params, mask=regularizers.by_name("second/*"))
    assert changed["first"]["kernel"] is kernel and changed["step"] is params["step"]
    assert (changed["second"]["kernel"] != kernel).any()
    by_default = OPERATORS[name](params)
    assert by_default["first"]["bias"] is params["first"]["bias"]
    np.testing.assert_array_equal(by_default["first"]["kernel"], changed["second"]["kernel"])
    with pytest.raises(TypeError, match=rf"^{name}: expected floating-point parameters, got int32\[\] at 'step'"):
        OPERATORS[name](params, mask=everything)


@every_operator
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_operators_at_all_magnitudes_keep_the_dtype(name: str, dtype: str) -> None:
    pattern = np.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 0.5]])
    for magnitude in (0.0, 1e-38, 1e-20, 1.0, 1e18, 1e38, 3.3e38):
        w = jnp.asarray(magnitude * pattern, dtype)
        result = OPERATORS[name]({"w": w})["w"]
        assert result.dtype == w.dtype and jnp.isfinite(result).all()
        # Every operator shrinks: towards zero, and never across it.
        assert (jnp.abs(result) <= jnp.abs(w)).all() and (result * w >= 0).all()


@pytest.mark.parametrize("operator", ["proximal_l1", "proximal_elastic_net", "proximal_group_lasso"])
def test_without_strength_a_proximal_operator_is_the_identity_and_it_may_be_traced(operator: str) -> None:
    params = {"w": jnp.asarray(np.random.default_rng(5).normal(size=(3, 2)), jnp.float32)}
    function = jax.jit(lambda strength: getattr(regularizers, operator)(params, strength=strength))
    np.testing.assert_array_equal(function(jnp.float32(0.0))["w"], params["w"])
    np.testing.assert_allclose(
        function(jnp.float32(0.3))["w"], getattr(regularizers, operator)(params, strength=0.3)["w"], rtol=1e-6
    )
    with pytest.raises(ValueError, match=f"^{operator}: expected strength at least 0, got -1"):
        getattr(regularizers, operator)(params, strength=-1.0)


def test_iterated_soft_thresholding_finds_the_lasso_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(6)
    x, n = rng.normal(size=(60, 8)), 60
    y = x @ np.array([3.0, -2.0, 0, 0, 0, 0, 0, 1.0]) + 0.5 * rng.normal(size=n)
    expected = linear_model.Lasso(alpha=0.3, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    gram, moment = jnp.asarray(x.T @ x / n, jnp.float32), jnp.asarray(x.T @ y / n, jnp.float32)
    rate = 1.0 / float(np.linalg.eigvalsh(gram).max())

    def step(params: Any, _: None) -> tuple[Any, None]:
        moved = {"kernel": params["kernel"] - rate * (gram @ params["kernel"] - moment.reshape(-1, 1))}
        return regularizers.proximal_l1(moved, strength=rate * 0.3), None

    params, _ = jax.lax.scan(step, {"kernel": jnp.zeros((8, 1))}, length=300)
    np.testing.assert_allclose(params["kernel"][:, 0], expected, atol=1e-5)
    np.testing.assert_array_equal(params["kernel"][:, 0] == 0, expected == 0)


def test_max_norm_projects_onto_the_ball_and_keeps_the_bits_inside() -> None:
    kernel = jnp.asarray(np.random.default_rng(7).normal(size=(3, 3, 2, 50)), jnp.float32)
    limit = 4.0
    norms = column_norms(np.asarray(kernel, np.float64))
    assert 5 < (norms > limit).sum() < 45
    projected = np.asarray(regularizers.max_norm({"kernel": kernel}, limit=limit)["kernel"])
    np.testing.assert_array_equal(projected[..., norms <= limit], kernel[..., norms <= limit])
    np.testing.assert_allclose(column_norms(projected), np.minimum(norms, limit), rtol=1e-6)
    outside = norms > limit
    np.testing.assert_allclose(projected[..., outside], (np.asarray(kernel) * (limit / norms))[..., outside], rtol=1e-5)
    # The whole kernel as one group: optax's projection onto the l2 ball.
    expected = optax.projections.projection_l2_ball(kernel, 2.0)
    whole = regularizers.max_norm({"kernel": kernel}, limit=jnp.float32(2.0), group_axes=(0, 1, 2, 3))["kernel"]
    np.testing.assert_allclose(whole, expected, rtol=1e-5)


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_a_ball_has_a_radius(limit: float) -> None:
    with pytest.raises(ValueError, match=r"^max_norm: expected limit above 0, got"):
        regularizers.max_norm({}, limit=limit)


# ── Noise ──

KEY = jax.random.key(3)


@pytest.mark.parametrize("shared_axes", [(), (-2,), (-3, -2), (0,), (3, 1)])
def test_dropout_shares_its_mask_along_the_axes_and_nowhere_else(shared_axes: tuple[int, ...]) -> None:
    x = jnp.ones((5, 6, 7, 8))
    y = np.asarray(regularizers.dropout(KEY, x, rate=0.5, shared_axes=shared_axes))
    assert set(np.unique(y)) == {0.0, 2.0}
    for axis in range(4):
        varies = (y != y.take([0], axis)).any()
        assert varies == (axis not in {shared % 4 for shared in shared_axes})
    # Exactly the bits of one Bernoulli draw of the mask's shape.
    shape = tuple(1 if axis in {s % 4 for s in shared_axes} else size for axis, size in enumerate(x.shape))
    np.testing.assert_array_equal(y, 2.0 * jax.random.bernoulli(KEY, jnp.float32(0.5), shape) * x)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shared_axes", [(), (1,)])
def test_dropout_keeps_the_mean_and_drops_at_the_rate(rate: float, shared_axes: tuple[int, ...]) -> None:
    n = 20_000
    y = regularizers.dropout(KEY, jnp.full((n, 2), 3.0), rate=rate, shared_axes=shared_axes)
    # Five standard errors of a binomial share.
    assert float((y[:, 0] == 0).mean()) == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / n))
    np.testing.assert_allclose(y[y != 0], 3.0 / (1.0 - rate), rtol=1e-6)


def test_dropout_takes_a_traced_rate_and_is_the_identity_at_zero() -> None:
    x = jnp.linspace(1.0, 2.0, 50)
    traced = jax.jit(lambda rate: regularizers.dropout(KEY, x, rate=rate))
    np.testing.assert_allclose(traced(jnp.float32(0.25)), regularizers.dropout(KEY, x, rate=0.25), rtol=2e-7)
    np.testing.assert_array_equal(traced(jnp.float32(0.0)), x)
    assert regularizers.dropout(KEY, x, rate=0) is x and regularizers.dropout(KEY, x, rate=0.0) is x


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 1.0}, "expected rate at least 0 and below 1, got 1.0"),
        ({"rate": -0.1}, "expected rate at least 0 and below 1, got -0.1"),
        ({"rate": 0.5, "shared_axes": (2,)}, r"expected shared_axes of x, got axis 2 for x float32\[3,4\]"),
        ({"rate": 0, "shared_axes": (-3,)}, r"expected shared_axes of x, got axis -3 for x float32\[3,4\]"),
    ],
)
def test_dropout_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^dropout: {message}"):
        regularizers.dropout(KEY, jnp.ones((3, 4)), **settings)


def test_the_noise_is_gaussian_of_the_given_deviation() -> None:
    x = jnp.full(20_000, 5.0)
    noise = np.asarray(regularizers.gaussian_noise(KEY, x, deviation=0.3)) - 5.0
    assert scipy.stats.kstest(noise / 0.3, "norm").pvalue > 1e-3
    traced = jax.jit(lambda deviation: regularizers.gaussian_noise(KEY, x, deviation=deviation))
    np.testing.assert_allclose(traced(jnp.float32(0.3)) - 5.0, noise, atol=1e-6)
    np.testing.assert_array_equal(regularizers.gaussian_noise(KEY, x, deviation=0), x)
    assert regularizers.gaussian_noise(KEY, x.astype(jnp.bfloat16), deviation=1.0).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"^gaussian_noise: expected deviation at least 0, got -1"):
        regularizers.gaussian_noise(KEY, x, deviation=-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_agrees_with_optax(smoothing: float) -> None:
    targets = jax.nn.one_hot(jnp.array([0, 2]), 4)
    expected = optax.smooth_labels(targets, smoothing)
    np.testing.assert_allclose(regularizers.label_smoothing(targets, smoothing=smoothing), expected, rtol=1e-6)
    traced = jax.jit(lambda s: regularizers.label_smoothing(targets, smoothing=s))(jnp.float32(smoothing))
    np.testing.assert_allclose(traced, expected, rtol=1e-6)


def test_mixup_mixes_inputs_and_targets_alike_with_one_ratio_and_a_permutation() -> None:
    # One row of the identity per example: the mixed rows show who was mixed with whom, and how much.
    for seed in range(5):
        x, targets = regularizers.mixup(jax.random.key(seed), jnp.eye(6).reshape(6, 2, 3), jnp.eye(6), alpha=1.0)
        np.testing.assert_array_equal(x.reshape(6, 6), targets)
        np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(targets.sum(axis=0), 1.0, rtol=1e-6)  # every example is one partner
        own = np.diag(targets)
        shares = np.unique(np.round(own, 6))
        assert len(shares) <= 2 and (len(shares) == 1 or shares[1] == 1.0)  # 1: its own partner


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_ratio_of_mixup_is_beta_distributed(alpha: float) -> None:
    def ratio(key: jax.Array) -> jax.Array:
        # Two examples: 0 and 1. If they are partners, the first becomes 1 - lambda; otherwise it stays 0.
        (x, _) = regularizers.mixup(key, jnp.array([0.0, 1.0]), jnp.zeros(2), alpha=jnp.float32(alpha))
        return 1.0 - x[0], x.sum()

    shares, sums = jax.jit(jax.vmap(ratio))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(sums, 1.0, rtol=1e-6)
    partners = np.asarray(shares)[np.asarray(shares) < 1.0]
    if alpha >= 1.0:
        assert scipy.stats.binomtest(len(partners), 4000).pvalue > 1e-3
        assert scipy.stats.kstest(partners, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    else:  # some are 1 to the last bit, and look like no partner: compare what is left
        assert scipy.stats.kstest(partners[partners < 0.5], scipy.stats.beta(alpha, alpha, 0, 1).cdf).statistic > 0.3
        inner = partners[(partners > 0.1) & (partners < 0.9)]
        beta = scipy.stats.beta(alpha, alpha)
        assert (
            scipy.stats.kstest(inner, lambda q: (beta.cdf(q) - beta.cdf(0.1)) / (1 - 2 * beta.cdf(0.1))).pvalue > 1e-3
        )


@pytest.mark.parametrize("alpha", [0.0, 1e-38, 1e-7, 1e30])
def test_mixup_at_the_ends_of_alpha(alpha: float) -> None:
    x, targets = jnp.arange(8.0).reshape(4, 2), jnp.eye(4)
    mixed, _ = jax.jit(lambda a: regularizers.mixup(KEY, x, targets, alpha=a))(jnp.float32(alpha))
    assert jnp.isfinite(mixed).all()
    if alpha == 0.0:
        np.testing.assert_array_equal(mixed, x)
    elif alpha < 1.0:  # lambda is 0 or 1: a permutation of the examples
        assert sorted(mixed[:, 0].tolist()) == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda f: f.mixup(KEY, jnp.ones((3, 2)), jnp.ones((2, 2)), alpha=1.0),
            ValueError,
            "mixup: expected x .* one batch",
        ),
        (
            lambda f: f.mixup(KEY, jnp.ones((2, 2)), jnp.ones(2, jnp.int32), alpha=1.0),
            TypeError,
            "mixup: .* jax.nn.one_hot",
        ),
        (
            lambda f: f.mixup(KEY, jnp.ones((2, 2)), jnp.ones(2), alpha=-1.0),
            ValueError,
            "mixup: expected alpha at least 0",
        ),
        (
            lambda f: f.label_smoothing(jnp.ones(2, jnp.int32), smoothing=0.1),
            TypeError,
            "label_smoothing: .* jax.nn.one_hot",
        ),
        (lambda f: f.label_smoothing(jnp.ones(()), smoothing=0.1), ValueError, r"label_smoothing: .* got a scalar"),
        (
            lambda f: f.label_smoothing(jnp.ones(2), smoothing=1.0),
            ValueError,
            "label_smoothing: expected smoothing at least",
        ),
        (lambda f: f.dropout(KEY, jnp.ones(2, jnp.int32), rate=0.5), TypeError, "dropout: expected floating-point x"),
        (
            lambda f: f.gaussian_noise(KEY, jnp.ones(2, jnp.int32), deviation=1),
            TypeError,
            "gaussian_noise: expected float",
        ),
    ],
)
def test_noise_refuses(call: Callable[[Any], Any], error: type, message: str) -> None:
    class Unchecked:
        """The functions without the test session's shape checks, so that their own messages are seen."""

        def __getattr__(self, name: str) -> Any:
            return inspect.unwrap(getattr(regularizers, name))

    with pytest.raises(error, match=f"^{message}"):
        call(Unchecked())


def test_dropout_of_the_inputs_of_a_linear_model_is_ridge_regression() -> None:
    # The model predicts sum_j w_j x_ij m_ij / q with independent m_ij ~ Bernoulli(q), q the probability of keeping.
    # E[m / q] = 1 and Var(m / q) = q (1 - q) / q^2 = (1 - q) / q, so that for every w
    #   E sum_i (y_i - sum_j w_j x_ij m_ij / q)^2 = sum_i (y_i - x_i w)^2 + (1 - q) / q sum_j w_j^2 sum_i x_ij^2
    # (squared bias plus variance). With standardised features, sum_i x_ij^2 = n, the last term is alpha ||w||^2 with
    # alpha = n (1 - q) / q: ridge regression as scikit-learn writes it.
    ridge = pytest.importorskip("sklearn.linear_model").Ridge
    rng, n, features, keep_rate, draws = np.random.default_rng(0), 40, 3, 0.5, 100_000
    x = rng.normal(size=(n, features)) @ (np.eye(features) + 0.1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = x @ rng.normal(size=features) + 0.5 * rng.normal(size=n)
    alpha = n * (1.0 - keep_rate) / keep_rate

    def moments(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        dropped = regularizers.dropout(key, jnp.asarray(x, jnp.float32), rate=1.0 - keep_rate)
        return dropped.T @ dropped, dropped.T @ jnp.asarray(y, jnp.float32)

    # The mean loss over the draws is the quadratic w^T G w - 2 m^T w + y^T y of the mean moments, exactly.
    gram, moment = jax.jit(jax.vmap(moments))(jax.random.split(KEY, draws))
    gram, moment = np.asarray(gram, np.float64).mean(axis=0), np.asarray(moment, np.float64).mean(axis=0)
    expected = ridge(alpha=alpha, fit_intercept=False).fit(x, y).coef_
    minimiser = np.linalg.solve(gram, moment)
    # With this many draws the errors below have standard deviations of 0.07 % and 0.15 %.
    assert np.linalg.norm(minimiser - expected) < 0.005 * np.linalg.norm(expected)
    for w in (expected, rng.normal(size=features)):
        loss = w @ gram @ w - 2.0 * moment @ w + y @ y
        induced = loss - ((y - x @ w) ** 2).sum()
        assert induced == pytest.approx(alpha * w @ w, rel=0.005)
    # It would notice another alpha: without dropout the minimiser is far away.
    unpenalized = np.linalg.lstsq(x, y)[0]
    assert np.linalg.norm(unpenalized - expected) > 0.1 * np.linalg.norm(expected)
