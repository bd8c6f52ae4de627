"""Diffusion: closed forms of the way to noise and back, with the best predictions that there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlkit import layers, models


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_schedule_falls_from_data_to_noise(kind: str) -> None:
    schedule = np.asarray(models.noise_schedule(1000, kind=kind), np.float64)
    assert (np.diff(schedule) < 0).all() and schedule[0] > 0.999 and 0 <= schedule[-1] < 1e-3
    if kind == "linear":
        np.testing.assert_allclose(schedule, np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), rtol=1e-5)
    else:
        at = np.cos((np.array([501, 0]) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        np.testing.assert_allclose(schedule[500], at[0] / at[1], rtol=1e-5)
    with pytest.raises(ValueError, match="expected a kind among linear, cosine, got 'square'"):
        models.noise_schedule(10, kind="square")


def test_noisy_data_have_the_mean_and_the_variance_of_their_time() -> None:
    schedule, size = models.noise_schedule(100), 200_000
    noise = jax.random.normal(jax.random.key(0), (3, size))
    time = jnp.array([0, 40, 99])
    x = models.diffuse(jnp.full((3, size), 2.0), time, noise, schedule)
    left = np.asarray(schedule[time])
    np.testing.assert_allclose(x.mean(1), 2 * np.sqrt(left), atol=5 / np.sqrt(size))
    np.testing.assert_allclose(x.var(1), 1 - left, atol=10 / np.sqrt(size))
    with pytest.raises(ValueError, match="expected a time for each example"):
        models.diffuse(noise, jnp.array([0, 1]), noise, schedule)


DEVIATION = 0.3


def best(schedule: jax.Array):
    """What is to be expected of the noise in x_t where the data are N(1, DEVIATION^2): it is linear in x_t."""

    def predict(x: jax.Array, time: jax.Array) -> jax.Array:
        left = schedule[time][:, None]
        return jnp.sqrt(1 - left) * (x - jnp.sqrt(left)) / (left * DEVIATION**2 + 1 - left)

    return predict


def test_the_loss_of_the_best_prediction_is_what_cannot_be_known() -> None:
    """Var(noise | x_t) = alpha-bar s^2 / (alpha-bar s^2 + 1 - alpha-bar), on average over the times."""
    schedule = models.noise_schedule(50)
    x = 1 + DEVIATION * jax.random.normal(jax.random.key(0), (40_000, 4))
    losses = models.denoising_loss(best(schedule), x, schedule, key=jax.random.key(1))
    left = np.asarray(schedule)
    expected = (left * DEVIATION**2 / (left * DEVIATION**2 + 1 - left)).mean()
    assert losses.shape == (40_000,)
    assert abs(losses.mean() - expected) < 5 * losses.std() / np.sqrt(40_000)


def test_samples_have_the_distribution_of_the_data() -> None:
    """With the best prediction the way back ends at the data, but for what few steps cost."""
    schedule = models.noise_schedule(400)
    x = models.sample_diffusion(best(schedule), (20_000, 2), schedule, key=jax.random.key(0))
    assert abs(x.mean() - 1) < 0.01
    assert abs(x.std() - DEVIATION) < 0.01


@pytest.mark.long
def test_a_u_net_sees_the_time_and_all_of_the_image() -> None:
    model = models.u_net(features=(4, 8), outputs=2, time_features=4)
    params, state = jax.jit(lambda: model.init(jax.random.key(0), (8, 8, 1), time=()))()
    apply = jax.jit(lambda x, time: model.apply(params, state, x, time=time)[0])
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    y = apply(x, jnp.array([3.0, 3.0]))
    changed = jnp.abs(apply(x, jnp.array([3.0, 50.0])) - y).max(axis=(1, 2, 3))
    assert changed[0] < 1e-5 and changed[1] > 1e-3
    moved = apply(x.at[0, 0, 0].add(1.0), jnp.array([3.0, 3.0]))
    assert jnp.abs(moved[0] - y[0]).max(axis=-1)[0, 0] > 1e-3, "where it changed"
    assert jnp.abs(moved[0] - y[0])[7, 7].max() > 1e-6, "and at the other end: groups are normalized over the image"
    with pytest.raises(ValueError, match="height and width 2 divides"):
        model.apply(params, state, x[:, :7], time=jnp.zeros(2))
    with pytest.raises(ValueError, match="expected time=, a number for each example"):
        model.apply(params, state, x)


@pytest.mark.long
def test_a_u_net_learns_to_denoise() -> None:
    """Points of an image that is constant: the loss falls well below that of saying nothing, 1."""
    import optax

    schedule = models.noise_schedule(50)
    model = models.u_net(features=(8,), outputs=1, time_features=8)
    params, state = jax.jit(lambda: model.init(jax.random.key(0), (4, 4, 1), time=()))()
    optimizer = optax.adam(3e-3)

    def step(carry, key):
        params, inner = carry
        x = jnp.ones((32, 4, 4, 1)) * jax.random.normal(key, (32, 1, 1, 1))

        def loss(params):
            predict = lambda x, time: layers.evaluate(model)(params, state, x, time=time.astype(float))  # noqa: E731
            return models.denoising_loss(predict, x, schedule, key=key).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, inner = optimizer.update(gradient, inner, params)
        return (optax.apply_updates(params, updates), inner), value

    keys = jax.random.split(jax.random.key(1), 300)
    _, values = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), keys))(params)
    assert values[-50:].mean() < 0.4 < values[:5].mean()
