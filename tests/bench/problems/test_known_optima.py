"""Problems with a known optimum: closed forms, scikit-learn, duality, and the recursion of the noisy quadratic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import rosen
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge

from dlkit.bench.errors import UserError
from dlkit.bench.problems import catalog, known_optima
from dlkit.bench.problems.base import Problem

RNG = np.random.default_rng(0)


def data_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    train = catalog.get(name).dataset.train
    return train["inputs"].astype(np.float64), train["targets"].astype(np.float64)


def squared(model: Any, inputs: np.ndarray, targets: np.ndarray) -> float:
    return float(np.square(model.predict(inputs) - targets).mean())


def at(problem: Problem, kernel: np.ndarray, bias: np.ndarray) -> dict[str, float]:
    """The problem's metrics at given coefficients."""
    params = {"output": {"dense": {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}}}
    _, state = problem.init(jax.random.key(0))
    return {name: float(value) for name, value in problem.evaluate(params, state, arrays(problem)).items()}


def arrays(problem: Problem) -> dict[str, jax.Array]:
    return jax.tree.map(jnp.asarray, dict(problem.dataset.train))


# --- linear models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.0, 0.01, 3.0])
def test_least_squares_is_scikit_learns(l2: float) -> None:
    inputs, targets = data_of("linear-regression")
    # scikit-learn: sum of squares + alpha ||w||^2
    model = (Ridge(alpha=l2 * len(inputs), solver="cholesky") if l2 else LinearRegression()).fit(inputs, targets)
    found = known_optima.least_squares(inputs, targets, l2=l2)
    expected = squared(model, inputs, targets) + l2 * np.square(model.coef_).sum()
    assert found.value == pytest.approx(expected, rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(found.kernel[:, 0], model.coef_, rtol=1e-6, atol=1e-8)
    assert found.bias[0] == pytest.approx(model.intercept_, abs=1e-8)


@pytest.mark.parametrize("l1", [0.01, 0.1, 0.5])
def test_the_lasso_is_scikit_learns(l1: float) -> None:
    inputs, targets = data_of("lasso")
    # scikit-learn: 1/2 mean square + alpha ||w||_1
    model = Lasso(alpha=l1 / 2, tol=1e-14, max_iter=100_000).fit(inputs, targets)
    found = known_optima.lasso(inputs, targets, l1=l1)
    expected = squared(model, inputs, targets) + l1 * np.abs(model.coef_).sum()
    assert found.value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(found.kernel[:, 0], model.coef_, atol=1e-6)
    assert (found.kernel == 0).any() == (model.coef_ == 0).any()


@pytest.mark.parametrize(("name", "classes", "l2"), [("softmax-regression", 3, 1e-3), ("softmax-regression", 3, 0.1)])
def test_softmax_regression_is_scikit_learns(name: str, classes: int, l2: float) -> None:
    inputs, targets = data_of(name)
    # scikit-learn: C sum of cross-entropies + 1/2 ||W||^2
    strength = 1 / (2 * l2 * len(inputs))
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(inputs, targets)
    found = known_optima.softmax_regression(inputs, targets.astype(int), classes=classes, l2=l2)
    probabilities = model.predict_proba(inputs)[np.arange(len(targets)), targets.astype(int)]
    expected = -np.log(probabilities).mean() + l2 * np.square(model.coef_).sum()
    assert found.value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(found.kernel.T, model.coef_, atol=1e-4)


@pytest.mark.long
def test_logistic_regression_is_scikit_learns() -> None:
    problem, l2 = catalog.get("logistic-regression"), 1e-3
    inputs, targets = data_of("logistic-regression")
    strength = 1 / (2 * l2 * len(inputs))
    model = LogisticRegression(C=strength, tol=1e-12, max_iter=10_000).fit(inputs, targets)
    likelihood = np.log(model.predict_proba(inputs)[np.arange(len(targets)), targets.astype(int)])
    expected = -likelihood.mean() + l2 * np.square(model.coef_).sum()
    found = at(problem, model.coef_.T, model.intercept_)
    assert found["objective"] == pytest.approx(expected, abs=1e-6)
    prior = targets.mean()
    entropy = -prior * np.log(prior) - (1 - prior) * np.log(1 - prior)
    assert problem.trivial == pytest.approx(entropy - expected, abs=1e-6)
    assert found["suboptimality"] <= 2e-6
    assert at(problem, 1.05 * model.coef_.T, model.intercept_)["suboptimality"] > 1e-5


@pytest.mark.parametrize("l2", [1e-3, 0.05])
def test_the_support_vector_machine_has_no_duality_gap(l2: float) -> None:
    inputs, targets = data_of("hinge-svm")
    signs = 2 * targets - 1
    found = known_optima.hinge_svm(inputs, signs, l2=l2)
    # The dual of min mean hinge + l2 ||w||^2 at the multipliers a in [0, 1/n], sum a y = 0: sum a - ||sum a y x||^2 /
    # (4 l2); where w = sum a y x / (2 l2) this is a lower bound for every w, whatever found it.
    from scipy.optimize import linprog

    count = len(inputs)
    margins = signs * (inputs @ found.kernel[:, 0] + found.bias[0])
    inside = margins < 1 - 1e-4
    free = np.abs(margins - 1) <= 1e-4
    # Multipliers are 1/n inside the margin and 0 outside; on it those that make w and the balance right.
    system = np.concatenate([(signs[:, None] * inputs).T, signs[None]])
    goal = np.append(2 * l2 * found.kernel[:, 0], 0.0) - system[:, inside].sum(axis=1) / count
    size = len(goal)
    solved = linprog(
        np.append(np.zeros(free.sum()), np.ones(2 * size)),
        A_eq=np.concatenate([system[:, free], np.eye(size), -np.eye(size)], axis=1),
        b_eq=goal,
        bounds=[(0, 1 / count)] * int(free.sum()) + [(0, None)] * (2 * size),
    )
    multipliers = np.where(inside, 1 / count, 0.0)
    multipliers[free] = solved.x[: free.sum()]
    weighted = multipliers * signs
    dual = multipliers.sum() - np.square(weighted @ inputs).sum() / (4 * l2)
    assert abs(weighted.sum()) < 1e-6
    assert 0 <= found.value - dual + 1e-9 < 1e-6


EXACT = ["linear-regression", "ridge-regression", "lasso", "logistic-regression", "softmax-regression", "hinge-svm"]


@pytest.mark.long
@pytest.mark.parametrize("name", EXACT)
def test_nothing_is_below_the_optimum(name: str) -> None:
    problem = catalog.get(name)
    params, state = problem.init(jax.random.key(0))
    for _ in range(20):
        moved = jax.tree.map(lambda leaf: leaf + RNG.normal(size=leaf.shape).astype(np.float32), params)
        assert problem.evaluate(moved, state, arrays(problem))["suboptimality"] > 1e-3
    for split in (problem.dataset.validation, problem.dataset.test):
        np.testing.assert_array_equal(split["inputs"], problem.dataset.train["inputs"])


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan")])
def test_a_penalty_that_is_needed(l2: float) -> None:
    with pytest.raises(UserError, match="l2 must be above 0"):
        known_optima.softmax_regression(np.eye(3), np.arange(3), classes=3, l2=l2)
    with pytest.raises(UserError, match="l2 must be above 0"):
        known_optima.hinge_svm(np.eye(2), np.array([-1.0, 1.0]), l2=l2)


# --- surfaces --------------------------------------------------------------------------------------------------------


def value(problem: Problem, x: Any) -> float:
    return float(problem.loss({"x": jnp.asarray(x, jnp.float32)}, None, {}, jax.random.key(0))[0])


@pytest.mark.long
@pytest.mark.parametrize(
    ("problem", "minimum"),
    [
        (catalog.PROBLEMS["rosenbrock"](dimension=2), [1.0, 1.0]),
        (catalog.PROBLEMS["rosenbrock"](dimension=5), [1.0] * 5),
        (catalog.PROBLEMS["beale"](), [3.0, 0.5]),
        (catalog.PROBLEMS["saddle"](stable=2, unstable=2), [0.0, 0.0, 1.0, -1.0]),
    ],
    ids=["rosenbrock 2", "rosenbrock 5", "beale", "saddle"],
)
def test_minima_of_surfaces(problem: Problem, minimum: list[float]) -> None:
    assert value(problem, minimum) == 0.0
    gradient = jax.grad(lambda x: problem.loss({"x": x}, None, {}, jax.random.key(0))[0])(jnp.array(minimum))
    np.testing.assert_array_equal(gradient, 0.0)
    near = [value(problem, np.array(minimum) + 0.01 * RNG.normal(size=len(minimum))) for _ in range(20)]
    assert min(near) > 0


@pytest.mark.long
def test_surfaces_are_their_formulas() -> None:
    x = RNG.normal(size=5)
    rosenbrock = catalog.PROBLEMS["rosenbrock"](dimension=5)
    assert value(rosenbrock, x) == pytest.approx(rosen(x), rel=1e-5)
    assert rosenbrock.trivial == pytest.approx(rosen([-1.2, 1.0, -1.2, 1.0, -1.2]))
    assert value(catalog.get("beale"), [1.0, 1.0]) == catalog.get("beale").trivial == 14.203125
    saddle = catalog.get("saddle")
    assert value(saddle, np.zeros(10)) == saddle.trivial
    hessian = jax.hessian(lambda x: saddle.loss({"x": x}, None, {}, jax.random.key(0))[0])(jnp.zeros(10))
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(hessian)), [-1.0] * 2 + [1.0] * 8, atol=1e-6)


# --- quadratics ------------------------------------------------------------------------------------------------------


def hessian_of(problem: Problem) -> np.ndarray:
    params, state = problem.init(jax.random.key(0))

    def loss(x: jax.Array) -> jax.Array:
        return problem.loss({"x": x}, state, {}, jax.random.key(1))[0]

    return np.asarray(jax.hessian(loss)(params["x"]), np.float64)


@pytest.mark.long
@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("geometric", np.geomspace(0.01, 1, 8)),
        ("linear", np.linspace(0.01, 1, 8)),
        ("two clusters", [0.01] * 7 + [1.0]),
    ],
)
@pytest.mark.parametrize("name", ["quadratic", "noisy-quadratic"])
def test_eigenvalues_follow_their_law(name: str, law: str, expected: Any) -> None:
    problem = catalog.get(name, condition=100.0, dimension=8, eigenvalues=law)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian_of(problem)), expected, atol=1e-6)
    assert problem.trivial == pytest.approx(np.sum(expected) / 2)


@pytest.mark.long
@pytest.mark.parametrize(("noise", "samples"), [(0.5, 1), (0.5, 8)])
def test_the_noisy_quadratic_follows_its_recursion(noise: float, samples: int) -> None:
    problem = catalog.get("noisy-quadratic", condition=20.0, dimension=6, noise=noise, samples=samples)
    rate, steps, copies = 0.4, 25, 4000
    curvatures, directions = np.linalg.eigh(hessian_of(problem))
    params, _ = problem.init(jax.random.key(5))
    optimum = params["x"] - jax.random.normal(jax.random.key(5), (6,))  # as the start is drawn

    @jax.jit
    @jax.vmap
    def descend(key: jax.Array) -> jax.Array:
        def step(x: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
            gradient = jax.grad(lambda x: problem.loss({"x": x}, None, {}, jax.random.fold_in(key, number))[0])(x)
            return x - rate * gradient, x - optimum

        return jax.lax.scan(step, params["x"], jnp.arange(steps))[1]

    paths = np.asarray(descend(jax.random.split(jax.random.key(7), copies)), np.float64) @ directions
    measured, error = (paths**2).mean(axis=0), (paths**2).std(axis=0) / np.sqrt(copies)
    expected = np.zeros((steps, 6))
    expected[0] = paths[0, 0] ** 2
    for t in range(steps - 1):
        # E_{t+1} = (1 - lr h)^2 E_t + lr^2 c / B, with c = noise^2 h
        expected[t + 1] = (1 - rate * curvatures) ** 2 * expected[t] + rate**2 * noise**2 * curvatures / samples
    assert np.all(np.abs(measured - expected) <= 4.5 * error + 1e-5 * expected)
    loss = 0.5 * (measured * curvatures).sum(axis=1)
    assert loss[-1] == pytest.approx(0.5 * (expected[-1] * curvatures).sum(), rel=0.05)


def test_noise_comes_with_the_step_and_not_into_the_metrics() -> None:
    problem = catalog.get("noisy-quadratic")
    params, state = problem.init(jax.random.key(0))
    losses = [float(problem.loss(params, state, {}, jax.random.key(seed))[0]) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    exact = catalog.get("quadratic", condition=100.0).evaluate(params, state, {})["suboptimality"]
    assert problem.evaluate(params, state, {})["suboptimality"] == exact


@pytest.mark.parametrize("name", ["condition", "dimension"])
def test_quadratics_refuse(name: str) -> None:
    with pytest.raises(UserError, match=f"problem 'quadratic': quadratic: expected {name}"):
        catalog.get("quadratic", **{name: 0})
    with pytest.raises(UserError, match="no law of eigenvalues 'linar'; did you mean 'linear'"):
        catalog.get("quadratic", eigenvalues="linar")
