"""Regularization by noise: distributions against scipy, optax, and dropout as ridge regression."""

import functools
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

from dlkit import regularizers

KEY = jax.random.key(3)


@pytest.mark.long
@pytest.mark.parametrize("shared_axes", [(), (-2,), (-3, -2), (0,), (3, 1)])
def test_dropout_shares_its_mask_along_the_axes_and_nowhere_else(shared_axes: tuple[int, ...]) -> None:
    x = jnp.ones((5, 6, 7, 8))
    y = np.asarray(regularizers.dropout(x, key=KEY, rate=0.5, shared_axes=shared_axes))
    assert set(np.unique(y)) == {0.0, 2.0}
    for axis in range(4):
        varies = (y != y.take([0], axis)).any()
        assert varies == (axis not in {shared % 4 for shared in shared_axes})
    # Exactly the bits of one Bernoulli draw of the mask's shape.
    shape = tuple(1 if axis in {s % 4 for s in shared_axes} else size for axis, size in enumerate(x.shape))
    np.testing.assert_array_equal(y, 2.0 * jax.random.bernoulli(KEY, jnp.float32(0.5), shape) * x)


@pytest.mark.long
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shared_axes", [(), (1,)])
def test_dropout_keeps_the_mean_and_drops_at_the_rate(rate: float, shared_axes: tuple[int, ...]) -> None:
    n = 20_000
    y = regularizers.dropout(jnp.full((n, 2), 3.0), key=KEY, rate=rate, shared_axes=shared_axes)
    # Five standard errors of a binomial share.
    assert float((y[:, 0] == 0).mean()) == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / n))
    np.testing.assert_allclose(y[y != 0], 3.0 / (1.0 - rate), rtol=1e-6)


def test_dropout_takes_a_traced_rate_and_is_the_identity_at_zero() -> None:
    x = jnp.linspace(1.0, 2.0, 50)
    traced = jax.jit(lambda rate: regularizers.dropout(x, key=KEY, rate=rate))
    np.testing.assert_allclose(traced(jnp.float32(0.25)), regularizers.dropout(x, key=KEY, rate=0.25), rtol=2e-7)
    np.testing.assert_array_equal(traced(jnp.float32(0.0)), x)
    assert regularizers.dropout(x, key=KEY, rate=0) is x and regularizers.dropout(x, key=KEY, rate=0.0) is x


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
        regularizers.dropout(jnp.ones((3, 4)), key=KEY, **settings)


def test_the_noise_is_gaussian_of_the_given_deviation() -> None:
    x = jnp.full(20_000, 5.0)
    noise = np.asarray(regularizers.gaussian_noise(x, key=KEY, deviation=0.3)) - 5.0
    assert scipy.stats.kstest(noise / 0.3, "norm").pvalue > 1e-3
    traced = jax.jit(lambda deviation: regularizers.gaussian_noise(x, key=KEY, deviation=deviation))
    np.testing.assert_allclose(traced(jnp.float32(0.3)) - 5.0, noise, atol=1e-6)
    np.testing.assert_array_equal(regularizers.gaussian_noise(x, key=KEY, deviation=0), x)
    assert regularizers.gaussian_noise(x.astype(jnp.bfloat16), key=KEY, deviation=1.0).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"^gaussian_noise: expected deviation at least 0, got -1"):
        regularizers.gaussian_noise(x, key=KEY, deviation=-1)


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
        x, targets = regularizers.mixup(jnp.eye(6).reshape(6, 2, 3), jnp.eye(6), key=jax.random.key(seed), alpha=1.0)
        np.testing.assert_array_equal(x.reshape(6, 6), targets)
        np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(targets.sum(axis=0), 1.0, rtol=1e-6)  # every example is one partner
        own = np.diag(targets)
        shares = np.unique(np.round(own, 6))
        assert len(shares) <= 2 and (len(shares) == 1 or shares[1] == 1.0)  # 1: its own partner


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def mixing_ratios(key: jax.Array, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Two examples: 0 and 1. If they are partners, the first becomes 1 - lambda; otherwise it stays 0.
    x, _ = regularizers.mixup(jnp.array([0.0, 1.0]), jnp.zeros(2), key=key, alpha=alpha)
    return 1.0 - x[0], x.sum()


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_ratio_of_mixup_is_beta_distributed(alpha: float) -> None:
    shares, sums = mixing_ratios(jax.random.split(KEY, 4000), jnp.float32(alpha))
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


@jax.jit
def compiled_mixup(x: jax.Array, targets: jax.Array, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
    return regularizers.mixup(x, targets, key=KEY, alpha=alpha)


@pytest.mark.parametrize("alpha", [0.0, 1e-38, 1e-7, 1e30])
def test_mixup_at_the_ends_of_alpha(alpha: float) -> None:
    x, targets = jnp.arange(8.0).reshape(4, 2), jnp.eye(4)
    mixed, _ = compiled_mixup(x, targets, jnp.float32(alpha))
    assert jnp.isfinite(mixed).all()
    if alpha == 0.0:
        np.testing.assert_array_equal(mixed, x)
    elif alpha < 1.0:  # lambda is 0 or 1: a permutation of the examples
        assert sorted(mixed[:, 0].tolist()) == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda f: f.mixup(jnp.ones((3, 2)), jnp.ones((2, 2)), key=KEY, alpha=1.0),
            ValueError,
            "mixup: expected x .* one batch",
        ),
        (
            lambda f: f.mixup(jnp.ones((2, 2)), jnp.ones(2, jnp.int32), key=KEY, alpha=1.0),
            TypeError,
            "mixup: .* jax.nn.one_hot",
        ),
        (
            lambda f: f.mixup(jnp.ones((2, 2)), jnp.ones(2), key=KEY, alpha=-1.0),
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
        (
            lambda f: f.dropout(jnp.ones(2, jnp.int32), key=KEY, rate=0.5),
            TypeError,
            "dropout: expected floating-point x",
        ),
        (
            lambda f: f.gaussian_noise(jnp.ones(2, jnp.int32), key=KEY, deviation=1),
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


@pytest.mark.long
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
        dropped = regularizers.dropout(jnp.asarray(x, jnp.float32), key=key, rate=1.0 - keep_rate)
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


def test_drop_path_drops_whole_examples() -> None:
    y = np.asarray(regularizers.drop_path(jnp.ones((400, 3, 2)), key=KEY, rate=0.25, axes=2))
    assert (y == y[:, :1, :1]).all() and set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    # Five standard errors of a binomial share.
    assert (y[:, 0, 0] == 0).mean() == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 400))
    with pytest.raises(ValueError, match=r"^drop_path: expected x whose examples have 3 axes, got float32\[2,2\]"):
        regularizers.drop_path(jnp.ones((2, 2)), key=KEY, rate=0.5, axes=3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_alpha_dropout_has_the_values_of_torch_and_keeps_mean_and_variance(rate: float) -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    theirs = torch.nn.functional.alpha_dropout(torch.full((2000,), 0.7), rate, training=True).unique().numpy()
    ours = np.unique(regularizers.alpha_dropout(jnp.full(2000, 0.7), key=KEY, rate=rate))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    n = 40_000
    x = jax.random.normal(jax.random.key(9), (n,))
    y = np.asarray(regularizers.alpha_dropout(x, key=KEY, rate=rate))
    # Five standard errors; that of the variance with the fourth moment, which is at most 9.
    assert y.mean() == pytest.approx(0.0, abs=5 / math.sqrt(n)) and y.var() == pytest.approx(1.0, abs=15 / math.sqrt(n))
    assert regularizers.alpha_dropout(x, key=KEY, rate=0) is x


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout"])
def test_a_traced_rate_out_of_range_gives_nan(name: str) -> None:
    function = jax.jit(lambda rate: getattr(regularizers, name)(jnp.ones(4), key=KEY, rate=rate))
    for rate in (1.0, 1.5, -0.1):
        assert np.isnan(function(jnp.float32(rate))).all()


@pytest.mark.parametrize("shape", [(9,), (8, 6)])
def test_cutmix_mixes_targets_by_the_volume_of_a_box(shape: tuple[int, ...]) -> None:
    batch = 5
    x = jnp.broadcast_to(jnp.arange(float(batch)).reshape(batch, *(1,) * (len(shape) + 1)), (batch, *shape, 2))
    function = jax.jit(lambda key: regularizers.cutmix(x, jnp.eye(batch), key=key, alpha=1.0))
    shares = []
    for seed in range(30):
        mixed, targets = map(np.asarray, function(jax.random.key(seed)))
        for place in range(batch):
            (partner,) = set(np.unique(mixed[place])) - {place} or {place}
            taken = (mixed[place] == partner) if partner != place else np.zeros_like(mixed[place], bool)
            assert (taken == taken[..., :1]).all()
            if taken.any():
                assert targets[place, int(partner)] == pytest.approx(taken.mean(), abs=1e-6)
                inside = np.argwhere(taken[..., 0])
                assert len(inside) == np.prod(np.ptp(inside, axis=0) + 1)  # a box
                shares.append(taken.mean())
        np.testing.assert_allclose(targets.sum(axis=1), np.ones(batch), rtol=1e-6)
    assert min(shares) < 0.3 and max(shares) > 0.4


def test_cutmix_without_alpha_mixes_nothing_and_refuses_what_does_not_fit() -> None:
    x, targets = jax.random.normal(KEY, (4, 3, 2)), jnp.eye(4)
    for each, expected in zip(regularizers.cutmix(x, targets, key=KEY, alpha=0), (x, targets), strict=True):
        np.testing.assert_array_equal(each, expected)
    with pytest.raises(ValueError, match=r"^cutmix: expected x .* of one batch size"):
        inspect.unwrap(regularizers.cutmix)(x, jnp.eye(3), key=KEY, alpha=1.0)
    with pytest.raises(ValueError, match=r"^cutmix: expected x"):
        inspect.unwrap(regularizers.cutmix)(jnp.ones((4, 2)), targets, key=KEY, alpha=1.0)
    with pytest.raises(TypeError, match=r"^cutmix: .* jax.nn.one_hot"):
        inspect.unwrap(regularizers.cutmix)(x, jnp.arange(4), key=KEY, alpha=1.0)
