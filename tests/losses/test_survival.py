"""Losses of censored times against lifelines, closed forms and laws."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dlkit import losses
from tests.losses.oracles import refuses


def censored(examples: int, *, ties: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    risks, events = rng.normal(size=examples), rng.integers(0, 2, examples)
    times = rng.integers(1, 5, examples) if ties else 0.1 + rng.exponential(size=examples)
    return risks, times.astype(float), events


def partial_likelihood(r: np.ndarray, t: np.ndarray, e: np.ndarray, ties: str) -> float:
    """By the definition, one time after the other."""
    total = 0.0
    for time in np.unique(t[e == 1]):
        tied, at_risk = r[(t == time) & (e == 1)], np.exp(r[t >= time]).sum()
        for place in range(len(tied)):
            left_out = place / len(tied) * np.exp(tied).sum() if ties == "efron" else 0.0
            total -= np.log(at_risk - left_out)
        total += tied.sum()
    return total


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("tied", [True, False])
def test_cox_follows_its_definition(ties: str, tied: bool) -> None:
    compiled = jax.jit(lambda *arrays: losses.cox(*arrays, ties=ties))
    for seed in range(3):
        arrays = censored(25, ties=tied, seed=seed)
        values = compiled(*map(jnp.asarray, arrays))
        np.testing.assert_allclose(-values.sum(), partial_likelihood(*arrays, ties), rtol=1e-5)
        assert not np.asarray(values)[arrays[2] == 0].any()
        order = np.random.default_rng(seed).permutation(25)
        np.testing.assert_allclose(compiled(*(jnp.asarray(each[order]) for each in arrays)), values[order], rtol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_only_differences_of_log_hazards_count(shift: float) -> None:
    with jax.enable_x64(True):
        r, t, e = map(jnp.asarray, censored(20, ties=True))
        compiled = jax.jit(jax.value_and_grad(lambda r: losses.cox(r, t, e).sum()))
        (values, gradient), (expected, slopes) = compiled(r + shift), compiled(r)
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    np.testing.assert_allclose(gradient, slopes, atol=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_is_finite_far_from_the_data(ties: str) -> None:
    r = jnp.array([1e4, -1e4, 0.0, 1e4, -1e4, 300.0])
    t, e = jnp.array([1.0, 1.0, 1.0, 2.0, 2.0, 0.5]), jnp.array([1, 1, 0, 1, 1, 1])
    values, gradient = jax.jit(jax.value_and_grad(lambda r: losses.cox(r, t, e, ties=ties).sum()))(r)
    assert np.isfinite(values) and np.isfinite(gradient).all()
    if ties == "breslow":
        expected = partial_likelihood(np.array(r, np.float64) / 100, np.array(t), np.array(e), ties)
        np.testing.assert_allclose(-losses.cox(r / 100, t, e, ties=ties).sum(), expected, rtol=1e-5)


@pytest.mark.long
def test_all_censored_has_no_gradient() -> None:
    r, t, _ = map(jnp.asarray, censored(8, ties=True))
    for ties in ("efron", "breslow"):
        function = jax.value_and_grad(lambda r, ties=ties: losses.cox(r, t, jnp.zeros(8), ties=ties).sum())
        value, gradient = jax.jit(function)(r)
        assert value == 0 and not np.asarray(gradient).any()
    empty = jnp.zeros(0)
    assert losses.cox(empty, empty, empty).shape == (0,)


@pytest.mark.long
def test_batches_do_not_see_each_other() -> None:
    pairs = [censored(10, ties=True, seed=seed) for seed in (0, 1)]
    compiled = jax.jit(losses.cox)
    together = compiled(*(jnp.stack([jnp.asarray(each[place]) for each in pairs]) for place in range(3)))
    alone = [compiled(*map(jnp.asarray, each)) for each in pairs]
    np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-5)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of pandas, about what lifelines calls
@pytest.mark.parametrize("tied", [True, False])
def test_cox_at_the_fit_of_lifelines(tied: bool) -> None:
    lifelines, pandas = pytest.importorskip("lifelines"), pytest.importorskip("pandas")
    x, times, events = censored(80, ties=tied)
    frame = pandas.DataFrame({"x": x, "time": times, "event": events})
    fitted = lifelines.CoxPHFitter().fit(frame, "time", "event")
    hazards = jnp.asarray((x - x.mean()) * fitted.params_["x"])
    value = -losses.cox(hazards, jnp.asarray(times), jnp.asarray(events)).sum()
    np.testing.assert_allclose(value, fitted.log_likelihood_, rtol=1e-5)
    slope = jax.grad(lambda b: losses.cox(b * jnp.asarray(x), jnp.asarray(times), jnp.asarray(events)).sum())
    np.testing.assert_allclose(slope(jnp.float32(fitted.params_["x"])), 0, atol=2e-3)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of pandas, about what lifelines calls
@pytest.mark.parametrize("distribution", ["weibull", "log-normal", "log-logistic"])
def test_aft_at_the_fit_of_lifelines(distribution: str) -> None:
    lifelines, pandas = pytest.importorskip("lifelines"), pytest.importorskip("pandas")
    x, times, events = censored(80, ties=False)
    frame = pandas.DataFrame({"x": x, "time": times, "event": events})
    names = {"weibull": ("Weibull", "lambda_", "rho_"), "log-logistic": ("LogLogistic", "alpha_", "beta_")}
    name, first, second = names.get(distribution, ("LogNormal", "mu_", "sigma_"))
    fitted = getattr(lifelines, f"{name}AFTFitter")().fit(frame, "time", "event")
    location = fitted.params_[first, "Intercept"] + fitted.params_[first, "x"] * x
    log_scale = fitted.params_[second, "Intercept"] * (1 if distribution == "log-normal" else -1)
    value = -losses.aft(
        jnp.asarray(location),
        jnp.asarray(times),
        jnp.asarray(events),
        jnp.full(80, log_scale),
        distribution=distribution,
    ).sum()
    np.testing.assert_allclose(value, fitted.log_likelihood_, rtol=1e-5)


@pytest.mark.parametrize(
    ("distribution", "standard"),
    [("weibull", scipy.stats.gumbel_l), ("log-normal", scipy.stats.norm), ("log-logistic", scipy.stats.logistic)],
)
def test_aft_follows_the_distribution_of_log_times(distribution: str, standard: Any) -> None:
    m, s = np.array([0.3, -2.0, 5.0, 0.0, 1.0, 3.0]), np.array([0.5, 1.0, 2.0, 0.04, 0.05, 0.1])
    t, e = np.array([1.0, 1.5, 0.2, 1.0, 1.0, 4.0]), np.array([1, 0, 1, 1, 0, 0])

    def formula(m: np.ndarray) -> np.ndarray:
        z = (np.log(t) - m) / s
        return np.where(e == 1, -standard.logpdf(z) + np.log(s * t), -standard.logsf(z))

    def loss(m: jax.Array) -> jax.Array:
        return losses.aft(
            m, jnp.asarray(t, m.dtype), jnp.asarray(e), jnp.asarray(np.log(s), m.dtype), distribution=distribution
        )

    for x64 in (False, True):
        with jax.enable_x64(x64):
            run = jax.jit(lambda m: (loss(m), jax.grad(lambda m: loss(m).sum())(m)))
            values, slopes = run(jnp.asarray(m))
        np.testing.assert_allclose(values, formula(m), rtol=1e-9 if x64 else 2e-5, atol=1e-7)
        expected = (formula(m + 1e-6) - formula(m - 1e-6)) / 2e-6
        np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-5), (True, 1e-11)])
def test_the_tail_of_log_normal_times(x64: bool, tolerance: float) -> None:
    def later(z: jax.Array) -> jax.Array:
        return losses.aft(-z, jnp.ones_like(z), jnp.zeros_like(z), 0 * z, distribution="log-normal")

    z = np.array([-40.0, -8.0, -3.0, 0.0, 5.0, 9.999, 10.001, 24.9, 25.1, 40.0, 1e3])
    with jax.enable_x64(x64):
        values, slopes = jax.jit(jax.vmap(jax.value_and_grad(later)))(jnp.asarray(z))
    np.testing.assert_allclose(values, -scipy.stats.norm.logsf(z), rtol=tolerance, atol=1e-37)
    hazards = np.exp(scipy.stats.norm.logpdf(z) - scipy.stats.norm.logsf(z))
    np.testing.assert_allclose(slopes[:-1], hazards[:-1], rtol=max(tolerance, 1e-6) * 10, atol=1e-30)
    np.testing.assert_allclose(slopes[-1], 1000, rtol=1e-5)  # z + 1 / z


@pytest.mark.parametrize("ties", [True, False])
def test_concordance_index_is_that_of_lifelines(ties: bool) -> None:
    utils = pytest.importorskip("lifelines.utils")
    compiled = jax.jit(losses.concordance_index)
    for seed in range(4):
        risks, times, events = censored(40, ties=ties, seed=seed)
        risks = np.round(risks, 0 if ties else 5)
        got = compiled(jnp.asarray(risks), jnp.asarray(times), jnp.asarray(events))
        np.testing.assert_allclose(got, utils.concordance_index(times, -risks, events), rtol=1e-6)


def test_concordance_index_counts_pairs() -> None:
    r, t, e = [2.0, 1.0, 1.0, 0.5, 3.0], [1.0, 2.0, 2.0, 2.0, 5.0], [1, 1, 0, 1, 0]
    known = right = 0.0
    for first, second in itertools.permutations(range(5), 2):
        if e[first] and (t[first] < t[second] or (t[first] == t[second] and not e[second])):
            known += 1
            right += (r[first] > r[second]) + 0.5 * (r[first] == r[second])
    got = losses.concordance_index(jnp.array(r), jnp.array(t), jnp.array(e))
    np.testing.assert_allclose(got, right / known, rtol=1e-6)
    assert losses.concordance_index(jnp.array(r), jnp.array(t), jnp.zeros(5)) == 0.5
    assert math.isnan(losses.concordance_index(jnp.array(r).at[0].set(jnp.nan), jnp.array(t), jnp.array(e)))


ONES = jnp.ones(3)


@pytest.mark.parametrize(
    ("function", "arguments", "settings", "error", "message"),
    [
        (losses.cox, (ONES, ONES, jnp.ones(2)), {}, ValueError, "of one shape"),
        (losses.cox, (ONES[:, None], ONES, ONES), {}, ValueError, "of one shape"),
        (losses.cox, (ONES, ONES, 2 * ONES), {}, ValueError, "events of 0 and 1, got 2.0"),
        (losses.cox, (ONES, ONES * jnp.nan, ONES), {}, ValueError, "times that are numbers"),
        (losses.cox, (ONES, ONES, ONES), {"ties": "exact"}, ValueError, "'efron' or 'breslow', got 'exact'"),
        (losses.cox, (ONES.astype(int), ONES, ONES), {}, TypeError, "floating-point log_hazards"),
        (losses.aft, (ONES, 0 * ONES, ONES, ONES), {}, ValueError, "times above 0, got 0.0"),
        (losses.aft, (ONES, ONES, ONES, ONES), {"distribution": "gamma"}, ValueError, "among weibull.* got 'gamma'"),
        (
            losses.concordance_index,
            (ONES[None], ONES[None], ONES[None]),
            {},
            ValueError,
            r"expected risks \[examples\]",
        ),
    ],
)
def test_refuses(function: Any, arguments: Any, settings: Any, error: Any, message: str) -> None:
    refuses(function, arguments, error, f".*{message}", **settings)
