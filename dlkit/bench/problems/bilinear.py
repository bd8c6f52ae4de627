"""A bilinear game of two players with a known equilibrium, on which theory says what gradient methods do."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.bench.plan.metric import Metric
from dlkit.bench.problems.base import Batch, Player, Problem, Updates
from dlkit.bench.problems.sections import no_data
from dlkit.checks import require_number, require_size
from dlkit.typing import Array, Key, Params, State

__all__ = ["bilinear_game"]

FLOOR = 1e-6  # below this a distance in float32 is rounding; counted as this


def bilinear_game(
    *,
    condition: float = 1.0,
    dimension: int = 8,
    curvature: float = 0.0,
    updates: Updates = "simultaneous",
    seed: int = 0,
) -> Problem:
    r"""Makes the game min over x, max over y of (x - x*)' A (y - y*) + c/2 |x - x*|^2 - c/2 |y - y*|^2.

    A has singular values from 1/condition to 1, x* and y* are random, and games start at a distance of 1 from the
    equilibrium, in a random direction. For A = I and c = 0, a step of gradient descent with the learning rate r

    - multiplies the distance by sqrt(1 + r^2), where both players move at once: it diverges at every rate;
    - stays on the ellipse x^2 + y^2 - r x y, where they take turns: it comes no nearer;
    - multiplies the distance by sqrt(1 - r^2 + r^4), as extragradient, where both move at once.

    Adam and momentum do not converge either. What does are methods made for games.

    Metric: ``distance`` of both players to the equilibrium; below 1e-6 it is counted as 1e-6.

    Margin: 1000 times below the start, for optimistic gradient descent and for extragradient
    with SGD.

    Args:
        condition: largest over smallest singular value of A.
        dimension: of each player.
        curvature: c, which makes plain gradient descent converge.
        updates: ``"simultaneous"`` or ``"alternating"``.
        seed: of A and the equilibrium.

    Returns:
        The problem; its players are ``"x"`` and ``"y"``.

    Raises:
        UserError: for another way to move.

    Reference:
        Gidel et al., "A variational inequality perspective on generative adversarial networks", 2019, section 3;
        Daskalakis et al., "Training GANs with optimism", 2018.
    """
    require_number("bilinear_game", "condition", condition, at_least=1)
    require_number("bilinear_game", "curvature", curvature, at_least=0)
    require_size("bilinear_game", dimension=dimension)
    rng = np.random.Generator(np.random.Philox(key=seed))
    left, right = (np.linalg.qr(rng.standard_normal((dimension, dimension)))[0] for _ in range(2))
    payoffs = np.float32(left * np.geomspace(1 / condition, 1, dimension) @ right.T)
    equilibrium = {name: np.float32(rng.standard_normal(dimension)) for name in ("x", "y")}

    def init(key: Key) -> tuple[Params, State]:
        start = jax.random.normal(key, (2, dimension))
        start = start / jnp.linalg.norm(start)
        return {"x": equilibrium["x"] + start[0], "y": equilibrium["y"] + start[1]}, None

    def off(params: Params) -> tuple[Array, Array]:
        return params["x"] - equilibrium["x"], params["y"] - equilibrium["y"]

    def value(params: Params) -> Array:
        x, y = off(params)
        return x @ payoffs @ y + curvature / 2 * (x @ x - y @ y)

    def paid(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        return value(params), state

    def earned(params: Params, state: State, batch: Batch, key: Key) -> tuple[Array, State]:
        return -value(params), state

    def evaluate(params: Params, state: State, batch: Batch) -> Mapping[str, Array]:
        return {"distance": jnp.maximum(jnp.linalg.norm(jnp.concatenate(off(params))), FLOOR)}

    return Problem(
        name="bilinear-game",
        init=init,
        loss=paid,
        evaluate=evaluate,
        dataset=no_data("no data: an exact problem"),
        metrics={"distance": Metric("lower", "log", "distance to the equilibrium", FLOOR)},
        steps=200,
        target=1e-3,
        diverged_above=1e6,
        description=f"bilinear game of two players in {dimension} dimensions, {updates} moves",
        stresses="rotation: plain gradients lead around the equilibrium, not to it",
        trivial=1.0,
        margin=1000.0,
        players=(Player("x", paid), Player("y", earned)),
        updates=updates,
    )
