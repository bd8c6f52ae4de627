"""Proximal operators and projections against scikit-learn, optax, their definition and hand-computed values."""

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

from dlkit import regularizers
from tests.regularizers.formulas import PENALTIES, column_norms, everything

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


@pytest.mark.long
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


@pytest.mark.long
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
