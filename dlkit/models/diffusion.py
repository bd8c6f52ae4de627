"""Denoising diffusion: the way from data to noise, the loss of a network that learns the way back, and that way."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from dlkit import checks
from dlkit.layers.embed import rows_sharding
from dlkit.typing import Array, Key, Shape

__all__ = ["denoising_loss", "diffuse", "noise_schedule", "sample_diffusion"]

Predict = Callable[[Array, Array], Array]
"""`(x_t, t) -> noise`: what a network predicts, with the times `[*batch]`."""


def noise_schedule(steps: int, *, kind: str = "linear") -> Float[Array, " steps"]:
    """How much of the data is left at each time: alpha-bar_t, a falling sequence from near 1 to near 0.

    "linear": beta_t rises evenly from 1e-4 to 0.02 (for 1,000 steps; scaled for others), and alpha-bar_t is the product
    of 1 - beta up to t. "cosine": alpha-bar_t = f(t) / f(0) with f(t) = cos^2((t / steps + 0.008) / 1.008 * pi / 2),
    where no beta is above 0.999.

    Args:
        steps: number of times.
        kind: "linear" or "cosine".

    Returns:
        alpha-bar at the times 0, ..., steps - 1, in float32.

    Raises:
        ValueError: steps is no positive integer, or the kind is unknown.

    Reference:
        Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, https://arxiv.org/abs/2006.11239;
        Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", 2021, https://arxiv.org/abs/2102.09672.

    Example:
        >>> schedule = noise_schedule(1000)
        >>> bool(schedule[0] > 0.999), bool(schedule[-1] < 1e-4)
        (True, True)
    """
    checks.require_size("noise_schedule", steps=steps)
    if kind == "linear":
        betas = np.minimum(np.linspace(1e-4, 0.02, steps) * 1000 / steps, 0.999)
    elif kind == "cosine":
        at = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - at[1:] / at[:-1], 0.999)
    else:
        raise ValueError(f"noise_schedule: expected a kind among linear, cosine, got {kind!r}")
    return jnp.asarray(np.cumprod(1 - betas), jnp.float32)


def diffuse(
    x: Float[Array, "..."], time: Integer[Array, "*batch"], noise: Float[Array, "..."], schedule: Float[Array, " steps"]
) -> Float[Array, "..."]:
    """Data at a time on its way to noise: x_t = sqrt(alpha-bar_t) x + sqrt(1 - alpha-bar_t) noise.

    Args:
        x: data `[*batch, ...]`.
        time: of each example, `[*batch]`, from 0.
        noise: drawn from N(0, I), in the shape of the data.
        schedule: as `noise_schedule` makes it.

    Returns:
        x_t.

    Raises:
        ValueError: data and noise differ in shape, or the times are not those of the data's first axes.

    Example:
        >>> diffuse(jnp.ones((1, 2)), jnp.array([1]), jnp.zeros((1, 2)), jnp.array([0.81, 0.25])).tolist()
        [[0.5, 0.5]]
    """
    checks.require_same_shape("diffuse", x=x, noise=noise)
    left = _per_example(schedule.reshape(-1, 1).at[time].get(out_sharding=rows_sharding(time))[..., 0], x, "diffuse")
    # sqrt(alpha-bar) x + sqrt(1 - alpha-bar) noise
    return jnp.sqrt(left).astype(x.dtype) * x + jnp.sqrt(1 - left).astype(x.dtype) * noise


def denoising_loss(
    predict: Predict, x: Float[Array, "batch ..."], schedule: Float[Array, " steps"], *, key: Key
) -> Float[Array, " batch"]:
    """How wrong a network is about the noise in data at a random time: the mean of (noise - predict(x_t, t))^2.

    Args:
        predict: `(x_t, t) -> noise`, such as `lambda x, t: net.apply(params, state, x, time=t)[0]`.
        x: data `[batch, ...]`.
        schedule: as `noise_schedule` makes it.
        key: PRNG key, for times and noise.

    Returns:
        One value per example.

    Raises:
        ValueError: the prediction has another shape than the data.

    Reference:
        Ho, Jain and Abbeel, 2020, https://arxiv.org/abs/2006.11239, equation 14.

    Example:
        >>> schedule = noise_schedule(100)
        >>> loss = denoising_loss(lambda x, t: jnp.zeros_like(x), jnp.zeros((3, 1000)), schedule, key=jax.random.key(0))
        >>> loss.shape, bool(jnp.abs(loss - 1).max() < 0.3)
        ((3,), True)
    """
    key_time, key_noise = jax.random.split(key)
    time = jax.random.randint(key_time, x.shape[:1], 0, schedule.shape[0])
    noise = jax.random.normal(key_noise, x.shape, x.dtype)
    predicted = predict(diffuse(x, time, noise, schedule), time)
    checks.require_same_shape("denoising_loss", noise=noise, prediction=predicted)
    return jnp.square(noise - predicted).mean(tuple(range(1, x.ndim)))


def sample_diffusion(
    predict: Predict, shape: Shape, schedule: Float[Array, " steps"], *, key: Key
) -> Float[Array, "..."]:
    """Go from noise to data, one time after the other (ancestral sampling).

    x_{t-1} = (x_t - beta_t / sqrt(1 - alpha-bar_t) predict(x_t, t)) / sqrt(alpha_t) + sigma_t z, with z from N(0, I),
    none at the last step, and sigma_t^2 = beta_t (1 - alpha-bar_{t-1}) / (1 - alpha-bar_t), the variance of x_{t-1}
    given x_t and the data. A compiled loop.

    Args:
        predict: as for `denoising_loss`.
        shape: of what is made, `(batch, ...)`.
        schedule: as `noise_schedule` makes it, the one of the training.
        key: PRNG key.

    Returns:
        Examples, in float32.

    Reference:
        Ho, Jain and Abbeel, 2020, https://arxiv.org/abs/2006.11239, algorithm 2.

    Example:
        >>> sample_diffusion(lambda x, t: x, (3, 2), noise_schedule(10), key=jax.random.key(0)).shape
        (3, 2)
    """
    before = jnp.concatenate([jnp.ones(1), schedule[:-1]])
    alphas = schedule / before
    betas = 1 - alphas
    deviations = jnp.sqrt(betas * (1 - before) / (1 - schedule))

    def step(x: Array, time: Array) -> tuple[Array, None]:
        noise = predict(x, jnp.full(shape[:1], time))
        mean = (x - betas[time] / jnp.sqrt(1 - schedule[time]) * noise) / jnp.sqrt(alphas[time])
        return mean + deviations[time] * jax.random.normal(jax.random.fold_in(key, time), shape), None

    start = jax.random.normal(jax.random.fold_in(key, schedule.shape[0]), shape)
    x, _ = jax.lax.scan(step, start, jnp.arange(schedule.shape[0]), reverse=True)
    return x


def _per_example(values: Array, x: Array, where: str) -> Array:
    """A number for each example, to multiply it with."""
    if x.shape[: values.ndim] != values.shape:
        raise ValueError(
            f"{where}: expected a time for each example of {jax.typeof(x)}, got times {list(values.shape)}"
        )
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))
