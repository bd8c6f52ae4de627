"""A quadratic of 100 dimensions, nine in ten of them flat, with the noise of a fixed set of draws."""

import jax.numpy as jnp
import numpy as np
from scipy.stats import special_ortho_group

from dlkit import bench


def quadratic_deep(noise: float = 0.6) -> bench.Problem:
    """The mean of 1/2 (theta - x)' H (theta - x) over draws x, as DeepOBS has it (Schneider et al., 2019)."""
    rng = np.random.default_rng(42)
    eigenvalues = np.concatenate([rng.uniform(0, 1, 90), rng.uniform(30, 60, 10)])
    rotation = special_ortho_group.rvs(100, random_state=rng)
    hessian = (rotation * eigenvalues @ rotation.T).astype(np.float32)
    draws = {"x": rng.normal(0, noise, (1000, 100)).astype(np.float32)}

    def loss(theta, batch):
        apart = theta[None] - batch["x"]
        return 0.5 * jnp.mean(jnp.sum(apart @ hessian * apart, axis=-1))

    return bench.Problem(
        name="quadratic-deep",
        init=lambda key: (jnp.ones(100), None),
        loss=lambda theta, state, batch, key: (loss(theta, batch), state),
        evaluate=lambda theta, state, batch: {"loss": loss(theta, batch)},
        dataset=bench.Dataset("quadratic-deep", draws, draws, draws),
        metrics={"loss": bench.Metric("lower")},
        batch_size=128,
        order="fixed",
        steps=700,
    )
