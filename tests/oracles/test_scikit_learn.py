"""The optima of scikit-learn's linear models, found by minimising dlkit's losses and penalties.

A model is a dense layer; the penalty skips its bias by dlkit's default mask. Every objective is scikit-learn's own,
written with dlkit's functions, and agrees with scikit-learn's at the optimum to 1e-6, relative to the objective.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import linprog, minimize
from sklearn import datasets, linear_model, svm

from dlkit import layers, losses, regularizers

Objective = Callable[[Any], jax.Array]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def standardised(load: Callable[..., Any], columns: int) -> tuple[np.ndarray, np.ndarray]:
    inputs, targets = load(return_X_y=True)
    inputs = inputs[:, :columns]
    return (inputs - inputs.mean(0)) / inputs.std(0), targets


DIABETES = standardised(datasets.load_diabetes, 10)
CANCER = standardised(datasets.load_breast_cancer, 6)
WINE = standardised(datasets.load_wine, 5)


def parameters(inputs: np.ndarray, outputs: int = 1, *, use_bias: bool = True) -> tuple[Any, Objective]:
    """Zero parameters of a dense layer, and the layer's outputs for the inputs as a function of the parameters."""
    layer = layers.dense(outputs, use_bias=use_bias)
    params, state = layer.init(jax.random.key(0), inputs.shape[1:])
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float64), params)
    return zeros, lambda params: layer.apply(params, state, jnp.asarray(inputs))[0]


def fitted(model: Any, outputs: int = 1) -> Any:
    """scikit-learn's coefficients as a dense layer's parameters."""
    params = {"kernel": jnp.asarray(np.reshape(model.coef_, (outputs, -1)).T)}
    if model.fit_intercept:
        params["bias"] = jnp.asarray(np.reshape(model.intercept_, outputs))
    return params


def smooth_minimum(objective: Objective, start: Any) -> Any:
    """L-BFGS."""
    flat, unravel = ravel_pytree(start)
    function = jax.jit(jax.value_and_grad(lambda x: objective(unravel(x))))
    found = minimize(
        lambda x: tuple(np.asarray(each, np.float64) for each in function(x)),
        flat,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-10, "maxcor": 30},
    )
    return unravel(jnp.asarray(found.x))


def proximal_minimum(smooth: Objective, proximal: Callable[[Any, float], Any], start: Any, *, steps: int) -> Any:
    """Accelerated proximal gradient descent (Beck and Teboulle, 2009) with the step 1 / L of a quadratic."""
    flat, unravel = ravel_pytree(start)
    curvature = float(jnp.linalg.eigvalsh(jax.hessian(lambda x: smooth(unravel(x)))(flat))[-1])

    @jax.jit
    def step(carry, _):
        params, ahead, momentum = carry
        gradient = jax.grad(smooth)(ahead)
        new = proximal(jax.tree.map(lambda w, g: w - g / curvature, ahead, gradient), 1 / curvature)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = jax.tree.map(lambda new, old: new + (momentum - 1) / following * (new - old), new, params)
        return (new, ahead, following), None

    (params, _, _), _ = jax.lax.scan(step, (start, start, jnp.ones(())), length=steps)
    return params


def polyhedral_minimum(objective: Objective, start: Any, *, quadratic: float = 0.0, radius: float = 1e3) -> Any:
    """Cutting planes (Kelley, 1960): the convex objective from values and subgradients, plus quadratic / 2 |w|^2."""
    flat, unravel = ravel_pytree(start)
    function = jax.jit(jax.value_and_grad(lambda x: objective(unravel(x))))
    size, point, best, best_value = flat.size, np.zeros(flat.size), np.zeros(flat.size), np.inf
    slopes, heights = [], []
    for _ in range(400):
        value, slope = (np.asarray(each, np.float64) for each in function(point))
        total = value + quadratic / 2 * point @ point
        if total < best_value:
            best, best_value = point, total
        slopes.append(slope)
        heights.append(value - slope @ point)
        planes, offsets = np.array(slopes), np.array(heights)
        if quadratic:
            point, bound = _lowest_of_planes_and_bowl(planes, offsets, quadratic)
        else:
            found = linprog(
                [*np.zeros(size), 1.0],
                A_ub=np.hstack([planes, -np.ones((len(planes), 1))]),
                b_ub=-offsets,
                bounds=[(-radius, radius)] * size + [(None, None)],
            )
            point, bound = found.x[:size], found.fun
        if best_value - bound < 1e-9 * max(1.0, abs(best_value)):
            break
    return unravel(jnp.asarray(best))


def _lowest_of_planes_and_bowl(planes: np.ndarray, offsets: np.ndarray, quadratic: float) -> tuple[np.ndarray, float]:
    """The minimum over x of max_i (planes_i x + offsets_i) + quadratic / 2 |x|^2.

    By its dual, max_a offsets a - |planes' a|^2 / (2 quadratic) over the simplex; its value is a bound from below.
    """
    gram = planes @ planes.T / quadratic
    scale = max(1.0, np.abs(gram).max())  # SLSQP's tolerance is absolute
    found = minimize(
        lambda a: ((a @ gram @ a / 2 - offsets @ a) / scale, (gram @ a - offsets) / scale),
        np.full(len(planes), 1 / len(planes)),
        jac=True,
        bounds=[(0, 1)] * len(planes),
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    weights = np.maximum(found.x, 0) / np.maximum(found.x, 0).sum()  # on the simplex to the last bit: a valid bound
    return -planes.T @ weights / quadratic, float(offsets @ weights - weights @ gram @ weights / 2)


def assert_same_optimum(objective: Objective, ours: Any, theirs: Any) -> None:
    """Our optimum is as low as scikit-learn's under the one objective, which says that it is scikit-learn's."""
    np.testing.assert_allclose(float(objective(ours)), float(objective(theirs)), rtol=1e-6)


def assert_same_parameters(ours: Any, theirs: Any, rtol: float) -> None:
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * float(jnp.abs(other).max()))


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.0, 0.5, 100.0])
def test_ridge_and_least_squares(alpha: float) -> None:
    inputs, targets = DIABETES
    model = linear_model.Ridge(alpha=alpha, solver="svd") if alpha else linear_model.LinearRegression()
    model.fit(inputs, targets)
    start, outputs = parameters(inputs)

    def objective(params):
        return losses.squared_error(outputs(params)[:, 0], jnp.asarray(targets)).sum() + alpha * regularizers.l2(params)

    ours = smooth_minimum(objective, start)
    assert_same_optimum(objective, ours, fitted(model))
    assert_same_parameters(ours, fitted(model), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(1.0, 1.0), (10.0, 1.0), (1.0, 0.7), (5.0, 0.9)])
def test_lasso_and_elastic_net_with_their_zeros(alpha: float, l1_ratio: float) -> None:
    inputs, targets = DIABETES
    model = linear_model.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000).fit(inputs, targets)
    start, outputs = parameters(inputs)
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio) / 2

    def smooth(params):
        errors = losses.squared_error(outputs(params)[:, 0], jnp.asarray(targets))
        return errors.mean() / 2 + l2 * regularizers.l2(params)

    def objective(params):
        return smooth(params) + l1 * regularizers.l1(params)

    def proximal(params, step):
        return regularizers.proximal_l1(params, strength=l1 * step)

    ours = proximal_minimum(smooth, proximal, start, steps=3_000)
    assert_same_optimum(objective, ours, fitted(model))
    zeros = np.ravel(np.asarray(ours["kernel"]) == 0)
    np.testing.assert_array_equal(zeros, model.coef_ == 0)
    assert l1_ratio < 1 or zeros.any()  # there is something to reproduce


@pytest.mark.long
def test_huber_with_its_scale() -> None:
    inputs, targets = DIABETES
    targets = np.where(np.arange(len(targets)) % 20 == 0, targets + 500, targets)  # outliers
    epsilon, alpha = 1.35, 0.1
    model = linear_model.HuberRegressor(epsilon=epsilon, alpha=alpha, tol=1e-10, max_iter=10_000).fit(inputs, targets)
    start, outputs = parameters(inputs)

    def objective(both):
        params, scale = both
        residuals = outputs(params)[:, 0] / scale
        penalised = 2 * losses.huber(residuals, jnp.asarray(targets) / scale, delta=epsilon) * scale
        return (scale + penalised).sum() + alpha * regularizers.l2(params)

    ours = smooth_minimum(objective, ({"kernel": start["kernel"], "bias": start["bias"] + 150.0}, jnp.asarray(80.0)))
    assert_same_optimum(objective, ours, (fitted(model), jnp.asarray(model.scale_)))


@pytest.mark.long
@pytest.mark.parametrize(("level", "alpha"), [(0.5, 0.0), (0.9, 0.05)])
def test_quantile(level: float, alpha: float) -> None:
    inputs, targets = DIABETES[0][:150, 2:5], DIABETES[1][:150] / 100
    model = linear_model.QuantileRegressor(quantile=level, alpha=alpha).fit(inputs, targets)
    start, outputs = parameters(inputs)

    def objective(params):
        return losses.quantile(
            outputs(params)[:, 0], jnp.asarray(targets), level=level
        ).mean() + alpha * regularizers.l1(params)

    assert_same_optimum(objective, polyhedral_minimum(objective, start), fitted(model))


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_logistic_with_an_unpenalised_intercept(strength: float) -> None:
    inputs, targets = CANCER
    model = linear_model.LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(inputs, targets)
    start, outputs = parameters(inputs)

    def objective(params):
        likelihood = losses.binary_cross_entropy(outputs(params)[:, 0], jnp.asarray(targets, jnp.float64))
        return strength * likelihood.sum() + regularizers.l2(params) / 2

    ours = smooth_minimum(objective, start)
    assert_same_optimum(objective, ours, fitted(model))
    assert_same_parameters(ours, fitted(model), rtol=1e-3)


@pytest.mark.slow
def test_softmax() -> None:
    inputs, targets = WINE
    model = linear_model.LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(inputs, targets)
    start, outputs = parameters(inputs, 3)

    def objective(params):
        return 0.5 * losses.cross_entropy(outputs(params), jnp.asarray(targets)).sum() + regularizers.l2(params) / 2

    assert_same_optimum(objective, smooth_minimum(objective, start), fitted(model, 3))


@pytest.mark.long
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_squared_hinge(strength: float) -> None:
    inputs, targets = CANCER
    settings = {"fit_intercept": False, "tol": 1e-12, "max_iter": 100_000}
    model = svm.LinearSVC(C=strength, loss="squared_hinge", dual=False, **settings).fit(inputs, targets)
    start, outputs = parameters(inputs, use_bias=False)
    labels = jnp.asarray(2.0 * targets - 1)

    def objective(params):
        return strength * losses.squared_hinge(outputs(params)[:, 0], labels).sum() + regularizers.l2(params) / 2

    assert_same_optimum(objective, smooth_minimum(objective, start), fitted(model))


@pytest.mark.long
def test_hinge() -> None:
    inputs, targets = CANCER[0][:200, :3], CANCER[1][:200]
    strength = 0.05
    model = svm.LinearSVC(C=strength, loss="hinge", dual=True, fit_intercept=False, tol=1e-12, max_iter=1_000_000)
    model.fit(inputs, targets)
    start, outputs = parameters(inputs, use_bias=False)
    labels = jnp.asarray(2.0 * targets - 1)

    def hinges(params):
        return strength * losses.hinge(outputs(params)[:, 0], labels).sum()

    def objective(params):
        return hinges(params) + regularizers.l2(params) / 2

    assert_same_optimum(objective, polyhedral_minimum(hinges, start, quadratic=1.0), fitted(model))
