"""GAN losses and gradient penalties against closed forms, identities of the optimal discriminator and torch."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlkit import gan_losses, losses

SCORES = np.array([-7.3, -1.7, -0.4, 0.3, 0.9, 2.6, 8.1])
KEY = jax.random.key(0)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


# Name -> the losses of a real example, of a fake one, and of the generator; each as a function of one score.
FORMULAS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    "minimax": (lambda r: softplus(-r), softplus, lambda f: -softplus(f)),
    "non_saturating": (lambda r: softplus(-r), softplus, lambda f: softplus(-f)),
    "least_squares": (lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2, lambda f: (f - 1) ** 2 / 2),
    "hinge": (lambda r: np.maximum(0, 1 - r), lambda f: np.maximum(0, 1 + f), lambda f: -f),
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
}
every_loss = pytest.mark.parametrize("name", FORMULAS)


def sides(name: str) -> tuple[Callable[[jax.Array], jax.Array], ...]:
    """The loss of a real example, of a fake one, and of the generator; each as a function of its scores."""
    loss = gan_losses.get(name)
    return (
        lambda scores: loss.discriminator(scores, jnp.zeros(2, scores.dtype))[0],
        lambda scores: loss.discriminator(jnp.zeros(2, scores.dtype), scores)[1],
        loss.generator,
    )


@pytest.mark.long
@every_loss
def test_values_and_gradients_follow_the_formulas(name: str) -> None:
    step = 1e-6
    for side, formula in zip(sides(name), FORMULAS[name], strict=True):
        with jax.enable_x64(True):
            scores = jnp.asarray(SCORES)
            np.testing.assert_allclose(side(scores), formula(SCORES), rtol=1e-12)
            gradient = jax.grad(lambda s, side=side: side(s).sum())(scores)
        slopes = (formula(SCORES + step) - formula(SCORES - step)) / (2 * step)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-9)


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_extreme_scores(name: str, dtype: str) -> None:
    scores = jnp.array([1e4, -1e4, 3e38, -3e38] if name != "least_squares" else [1e4, -1e4, 1e18, -1e18], dtype)
    wide = np.asarray(scores, np.float64)
    for side, formula in zip(sides(name), FORMULAS[name], strict=True):
        values, gradient = side(scores), jax.grad(lambda s, side=side: side(s).astype(jnp.float32).sum())(scores)
        assert values.dtype == gradient.dtype == jnp.dtype(dtype)
        rtol = 2e-6 if dtype == "float32" else 2**-8
        np.testing.assert_allclose(np.asarray(values, np.float64), formula(wide), rtol=rtol)
        # By a difference that does not round to zero at this size.
        slopes = (formula(wide * 1.5) - formula(wide * 0.5)) / wide
        np.testing.assert_allclose(np.asarray(gradient, np.float64), slopes, rtol=rtol, atol=1e-30)


@every_loss
def test_real_and_fake_batches_may_differ_in_size_and_nothing_is_reduced(name: str) -> None:
    loss = gan_losses.get(name)
    real, fake = jnp.asarray(SCORES[:2], jnp.float32), jnp.asarray(SCORES[2:].reshape(1, 5), jnp.float32)
    expected = loss.discriminator(real, fake)
    assert [each.shape for each in expected] == [(2,), (1, 5)] and loss.generator(fake).shape == (1, 5)
    for compiled, eager in zip(jax.jit(loss.discriminator)(real, fake), expected, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(loss.generator)(fake[0]), loss.generator(fake[0]), rtol=1e-6)


@every_loss
def test_integer_scores_are_refused(name: str) -> None:
    loss, scores, ones = gan_losses.get(name), jnp.ones(3, int), jnp.ones(3)
    discriminator, generator = inspect.unwrap(loss.discriminator), inspect.unwrap(loss.generator)
    for arguments in ((scores, ones), (ones, scores)):
        with pytest.raises(TypeError, match=rf"^{name}.discriminator: expected floating-point scores, got int32\[3\]"):
            discriminator(*arguments)
    with pytest.raises(TypeError, match=rf"^{name}.generator: expected floating-point scores, got int32\[3\]; cast"):
        generator(scores)


# ── Identities of the optimal discriminator: two densities p (real) and q (fake) over a few points ──

P, Q = np.random.default_rng(0).dirichlet(np.ones(6), 2)


def game_value(name: str, scores: np.ndarray) -> float:
    """The discriminator's expected loss where point i gets the score i."""
    real, fake = gan_losses.get(name).discriminator(*[jnp.asarray(scores, jnp.float32)] * 2)
    return float(P @ np.asarray(real, np.float64) + Q @ np.asarray(fake, np.float64))


# The minimizing scores, and the value there.
OPTIMA: dict[str, tuple[np.ndarray, float]] = {
    # The log-odds; 2 log 2 - 2 JS(p, q), from Goodfellow et al., theorem 1.
    "minimax": (np.log(P / Q), 2 * math.log(2) - (scipy.special.rel_entr([P, Q], (P + Q) / 2).sum())),
    "non_saturating": (np.log(P / Q), 2 * math.log(2) - (scipy.special.rel_entr([P, Q], (P + Q) / 2).sum())),
    # p / (p + q); half the harmonic overlap.
    "least_squares": (P / (P + Q), 0.5 * (P * Q / (P + Q)).sum()),
    # The sign of p - q; 2 - sum |p - q| = 2 (1 - total variation).
    "hinge": (np.sign(P - Q), 2 * np.minimum(P, Q).sum()),
}


@pytest.mark.parametrize("name", OPTIMA)
def test_the_optimal_discriminator_and_its_value(name: str) -> None:
    scores, value = OPTIMA[name]
    assert game_value(name, scores) == pytest.approx(value, rel=1e-5)
    rng = np.random.default_rng(1)
    for scale in (0.03, 0.3, 3.0):
        assert game_value(name, scores + scale * rng.normal(size=6)) >= value - 1e-6


def test_the_jensen_shannon_divergence_is_that_of_the_losses() -> None:
    divergence = losses.jensen_shannon(jnp.log(jnp.asarray(P, jnp.float32)), jnp.asarray(Q, jnp.float32))
    assert OPTIMA["minimax"][1] == pytest.approx(2 * math.log(2) - 2 * float(divergence), rel=1e-5)


def test_the_best_lipschitz_critic_measures_the_wasserstein_distance() -> None:
    # On the line, for p to the right of q, the best critic with slope 1 is the identity.
    real, fake = np.random.default_rng(2).normal(3.0, 0.1, 50), np.random.default_rng(3).normal(0.0, 0.1, 50)
    real_losses, fake_losses = gan_losses.wasserstein.discriminator(
        jnp.asarray(real, jnp.float32), jnp.asarray(fake, jnp.float32)
    )
    distance = scipy.stats.wasserstein_distance(real, fake)
    assert -(real_losses.mean() + fake_losses.mean()) == pytest.approx(distance, rel=1e-5)


@given(st.floats(-50, 50, width=32))
def test_laws(score: float) -> None:
    at = jnp.float32(score)
    real, fake = gan_losses.minimax.discriminator(at, at)
    # Real and fake are mirror images, and both discriminators play the same game.
    mirrored = gan_losses.minimax.discriminator(-at, -at)
    assert (real, fake) == (mirrored[1], mirrored[0])
    assert gan_losses.non_saturating.discriminator(at, at) == (real, fake)
    # Both generators want the same; they differ in the slope only: p and 1 - p, which add up to -1.
    slopes = [jax.grad(gan_losses.get(name).generator)(at) for name in ("minimax", "non_saturating")]
    assert slopes[0] <= 0 and slopes[1] <= 0 and sum(slopes) == pytest.approx(-1.0, rel=1e-6)
    # A zero-sum game: what the generator wins, the discriminator loses.
    for name in ("minimax", "wasserstein"):
        assert gan_losses.get(name).generator(at) == -gan_losses.get(name).discriminator(at, at)[1]


def test_the_generator_that_does_not_saturate() -> None:
    sure = jnp.array(-30.0)
    assert -1e-12 < jax.grad(gan_losses.minimax.generator)(sure) < 0.0
    assert jax.grad(gan_losses.non_saturating.generator)(sure) == pytest.approx(-1.0)


def test_names() -> None:
    assert set(gan_losses.NAMES) == set(FORMULAS)
    assert all(gan_losses.get(name) is getattr(gan_losses, name) for name in gan_losses.NAMES)
    with pytest.raises(ValueError, match=r"unknown GAN loss 'wasserstien'; did you mean 'wasserstein'\?"):
        gan_losses.get("wasserstien")
    with pytest.raises(ValueError, match="unknown GAN loss 'xyz'; known: minimax, non_saturating"):
        gan_losses.get("xyz")


# ── Gradient penalties ──

WEIGHTS = jnp.array([3.0, 4.0])
REAL, FAKE = np.random.default_rng(4).normal(size=(2, 5, 2)).astype(np.float32)


def linear(x: jax.Array) -> jax.Array:
    return x @ WEIGHTS


def quadratic(x: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(jnp.square(x), axis=-1)


@pytest.mark.parametrize(("target", "expected"), [(1.0, 16.0), (0.0, 25.0), (5.0, 0.0), (jnp.float32(7.0), 4.0)])
def test_the_gradient_penalty_of_a_linear_critic(target: Any, expected: float) -> None:
    # The gradient is (3, 4) everywhere.
    penalty = gan_losses.gradient_penalty(linear, jnp.asarray(REAL), jnp.asarray(FAKE), key=KEY, target=target)
    np.testing.assert_allclose(penalty, np.full(5, expected), rtol=1e-6)


@pytest.mark.long
def test_the_gradient_penalty_is_taken_between_real_and_fake() -> None:
    # The gradient of the quadratic critic is the point itself: e r + (1 - e) f, so its norm tells e.
    real, fake = jnp.tile(jnp.array([[4.0, 0.0]]), (2000, 1)), jnp.tile(jnp.array([[2.0, 0.0]]), (2000, 1))
    shares = (jnp.sqrt(gan_losses.gradient_penalty(quadratic, real, fake, key=KEY, target=0.0)) - 2.0) / 2.0
    assert scipy.stats.kstest(np.asarray(shares), "uniform").pvalue > 1e-3
    again = gan_losses.gradient_penalty(quadratic, real, fake, key=KEY, target=0.0)
    other = gan_losses.gradient_penalty(quadratic, real, fake, key=jax.random.key(1), target=0.0)
    np.testing.assert_array_equal((jnp.sqrt(again) - 2.0) / 2.0, shares)
    assert (again != other).all()
    # One share for the whole example: the point lies on the segment.
    images = gan_losses.gradient_penalty(
        lambda x: 0.5 * jnp.sum(jnp.square(x), axis=(1, 2)),
        jnp.ones((6, 2, 2)),
        jnp.zeros((6, 2, 2)),
        key=KEY,
        target=0.0,
    )
    shares = np.asarray(jax.random.uniform(KEY, (6,)))
    np.testing.assert_allclose(images, 4.0 * shares**2, rtol=1e-5)


def test_r1_in_closed_form() -> None:
    np.testing.assert_allclose(gan_losses.r1_penalty(linear, jnp.asarray(REAL)), np.full(5, 25.0), rtol=1e-6)
    expected = np.square(REAL).sum(axis=1)
    np.testing.assert_allclose(gan_losses.r1_penalty(quadratic, jnp.asarray(REAL)), expected, rtol=1e-6)
    images = jnp.asarray(REAL[:4].reshape(1, 2, 2, 2))
    pooled = gan_losses.r1_penalty(lambda x: jnp.sum(x**3, axis=(1, 2, 3)), images)
    np.testing.assert_allclose(pooled, [9.0 * (REAL[:4] ** 4).sum()], rtol=1e-5)


@pytest.mark.long
def test_the_second_order_gradients_of_the_penalties() -> None:
    # D(x) = s |x|^2 / 2 has the gradient s x: the R1 penalty is s^2 |x|^2, with the slopes 2 s |x|^2 and 2 s^2 x.
    def r1(scale: jax.Array, x: jax.Array) -> jax.Array:
        return gan_losses.r1_penalty(lambda x: scale * quadratic(x), x).sum()

    for_scale, for_x = jax.jit(jax.grad(r1, argnums=(0, 1)))(jnp.float32(1.5), jnp.asarray(REAL))
    assert for_scale == pytest.approx(3.0 * float(np.square(REAL).sum()), rel=1e-5)
    np.testing.assert_allclose(for_x, 2 * 1.5**2 * REAL, rtol=1e-5)

    # D(x) = w x: the gradient penalty is (|w| - 1)^2 per example, with the slope 2 (|w| - 1) w / |w|.
    def penalty(weights: jax.Array) -> jax.Array:
        return gan_losses.gradient_penalty(lambda x: x @ weights, jnp.asarray(REAL), jnp.asarray(FAKE), key=KEY).mean()

    np.testing.assert_allclose(jax.grad(penalty)(WEIGHTS), 2 * 4 * np.array([0.6, 0.8]), rtol=1e-5)
    # A flat critic has no direction to grow in: 1, and no gradient, instead of NaN.
    value, gradient = jax.value_and_grad(penalty)(jnp.zeros(2))
    assert value == 1.0 and not gradient.any()
    # A third order, as a critic trained through its own update needs it: the Hessian is finite and symmetric.
    hessian = jax.hessian(penalty)(WEIGHTS)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-5)
    u = np.array([0.6, 0.8])
    expected = 2 * np.outer(u, u) + 2 * 4 * (np.eye(2) - np.outer(u, u)) / 5
    np.testing.assert_allclose(hessian, expected, rtol=1e-5)


def test_the_penalties_agree_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is a development-only second opinion")
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    share = np.array(jax.random.uniform(KEY, (5,)))[:, None]
    weights = torch.tensor(first, requires_grad=True)
    between = torch.tensor(share * REAL + (1 - share) * FAKE, requires_grad=True)
    scores = torch.tanh(between @ weights) @ torch.tensor(second)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    expected = (gradient.norm(dim=1) - 1) ** 2
    expected.sum().backward()

    def ours(weights: jax.Array) -> jax.Array:
        return gan_losses.gradient_penalty(
            lambda x: jnp.tanh(x @ weights) @ second, jnp.asarray(REAL), jnp.asarray(FAKE), key=KEY
        )

    np.testing.assert_allclose(ours(jnp.asarray(first)), expected.detach().numpy(), rtol=1e-4)
    slopes = jax.grad(lambda w: ours(w).sum())(jnp.asarray(first))
    np.testing.assert_allclose(slopes, weights.grad.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_penalties_keep_the_dtype(dtype: str) -> None:
    real, fake = jnp.asarray(REAL, dtype), jnp.asarray(FAKE, dtype)

    def critic(x: jax.Array) -> jax.Array:
        return x @ WEIGHTS.astype(x.dtype)

    assert gan_losses.r1_penalty(critic, real).tolist() == [25.0] * 5
    assert gan_losses.gradient_penalty(critic, real, fake, key=KEY).tolist() == [16.0] * 5
    assert gan_losses.r1_penalty(critic, real).dtype == real.dtype
    assert gan_losses.gradient_penalty(critic, real, fake, key=KEY).dtype == real.dtype


@pytest.mark.parametrize(
    ("arguments", "more", "error", "message"),
    [
        (
            (jnp.ones((3, 2)), jnp.ones((4, 2))),
            {},
            ValueError,
            r"expected real and fake of one shape, got float32\[3,2\]",
        ),
        (
            (jnp.ones(()), jnp.ones(())),
            {},
            ValueError,
            r"expected a batch of examples \[batch, \*example\], got a scalar",
        ),
        ((jnp.ones((3, 2), int), jnp.ones((3, 2))), {}, TypeError, r"expected floating-point real, got int32\[3,2\]"),
        ((jnp.ones((3, 2)), jnp.ones((3, 2), int)), {}, TypeError, r"expected floating-point fake, got int32\[3,2\]"),
        ((jnp.ones((3, 2)),) * 2, {"target": -1.0}, ValueError, "expected target at least 0, got -1.0"),
    ],
)
def test_the_gradient_penalty_refuses(arguments: Any, more: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^gradient_penalty: {message}"):
        inspect.unwrap(gan_losses.gradient_penalty)(linear, *arguments, key=KEY, **more)


def test_a_critic_that_returns_no_score_per_example_is_refused() -> None:
    ones = jnp.ones((3, 2))
    message = r"expected the critic to return one score per example, of shape \(3,\), got float32\[3,1\]; squeeze it"
    with pytest.raises(ValueError, match=f"^r1_penalty: {message}"):
        gan_losses.r1_penalty(lambda x: x @ WEIGHTS.reshape(2, 1), ones)
    with pytest.raises(ValueError, match=f"^gradient_penalty: {message}"):
        gan_losses.gradient_penalty(lambda x: x @ WEIGHTS.reshape(2, 1), ones, ones, key=KEY)
    with pytest.raises(
        ValueError, match=r"^r1_penalty: expected a batch of examples \[batch, \*example\], got a scalar"
    ):
        inspect.unwrap(gan_losses.r1_penalty)(linear, jnp.ones(()))
    with pytest.raises(TypeError, match=r"^r1_penalty: expected floating-point real, got int32\[3,2\]; cast them"):
        inspect.unwrap(gan_losses.r1_penalty)(linear, jnp.ones((3, 2), int))
