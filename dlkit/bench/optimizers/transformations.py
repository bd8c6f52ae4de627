"""The optax transformations that the wrappers build around another optimizer's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlkit.bench.optimizers.base import Transformation
from dlkit.typing import Array, Params

__all__ = [
    "AccumulationState",
    "AverageState",
    "LookaheadState",
    "accumulation",
    "average",
    "average_of",
    "cautious",
    "decoupled_decay",
    "extragradient",
    "lookahead",
    "sharpness_aware",
]

TINY = 1e-12  # keeps the norm of a gradient of zeros from dividing


class LookaheadState(NamedTuple):
    """What the next step needs: the fast optimizer's state, the slow parameters, the steps done."""

    inner: Any
    slow: Params
    step: Array


class AverageState(NamedTuple):
    """What the next step needs: the optimizer's state, the sum of weighted parameters and of weights."""

    inner: Any
    total: Params
    weight: Array


class AccumulationState(NamedTuple):
    """What the next step needs: the optimizer's state, the mean gradient so far, and of how many steps it is."""

    inner: Any
    mean: Params
    step: Array


def sharpness_aware(inner: Transformation, rho: float | Array) -> Transformation:
    """Returns the optimizer fed with the gradient at the worst point within `rho` of the parameters.

    Reference:
        Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021, algorithm 1.
    """
    inner = optax.with_extra_args_support(inner)

    def update(
        updates: Params, state: Any, params: Params, *, grad_fn: Callable[[Params], Params], **extra: Any
    ) -> tuple[Params, Any]:
        # g(w + rho g / |g|)
        scale = rho / (optax.tree.norm(updates) + TINY)
        worst = jax.tree.map(lambda w, g: (w + scale * g).astype(w.dtype), params, updates)
        moves, opt_state = inner.update(grad_fn(worst), state, params, grad_fn=grad_fn, **extra)
        return moves, opt_state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def lookahead(inner: Transformation, slow_step_size: float | Array, *, sync_period: int) -> Transformation:
    """Returns the optimizer with slow parameters that it is pulled back to every `sync_period` steps.

    Reference:
        Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019, algorithm 1.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> LookaheadState:
        return LookaheadState(inner.init(params), params, jnp.zeros((), jnp.int32))

    def update(updates: Params, state: LookaheadState, params: Params, **extra: Any) -> tuple[Params, LookaheadState]:
        updates, opt_state = inner.update(updates, state.inner, params, **extra)
        fast = optax.apply_updates(params, updates)
        sync = (state.step + 1) % sync_period == 0
        # phi <- phi + alpha (theta - phi), and theta <- phi
        slow = jax.tree.map(
            lambda s, f: jnp.where(sync, s + slow_step_size * (f - s), s).astype(s.dtype), state.slow, fast
        )
        updates = jax.tree.map(lambda s, p, u: jnp.where(sync, s - p, u), slow, params, updates)
        return updates, LookaheadState(opt_state, slow, state.step + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def average(inner: Transformation, decay: float | Array) -> Transformation:
    """Returns the optimizer with an average of its parameters beside: exponential, or uniform with a decay of 1.

    Reference:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; Kingma and Ba, "Adam", 2015,
        section 7.2.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> AverageState:
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), params)
        return AverageState(inner.init(params), zeros, jnp.zeros((), jnp.float32))

    def update(updates: Params, state: AverageState, params: Params, **extra: Any) -> tuple[Params, AverageState]:
        updates, opt_state = inner.update(updates, state.inner, params, **extra)
        reached = optax.apply_updates(params, updates)
        # s <- decay s + w, and the sum of weights alike: s / weight is the average without its start's bias
        total = jax.tree.map(lambda s, w: (decay * s + w).astype(s.dtype), state.total, reached)
        return updates, AverageState(opt_state, total, jnp.asarray(decay * state.weight + 1, jnp.float32))

    return optax.GradientTransformationExtraArgs(init, update)


def average_of(state: AverageState, params: Params) -> Params:
    """Returns the average; before the first step the parameters themselves."""
    started = state.weight > 0
    weight = jnp.maximum(state.weight, 1)
    return jax.tree.map(lambda s, p: jnp.where(started, s / weight, p).astype(p.dtype), state.total, params)


def cautious(inner: Transformation) -> Transformation:
    """Returns the optimizer without those coordinates of its step along which the gradient would rise.

    Reference:
        Liang et al., "Cautious Optimizers: Improving Training with One Line of Code", 2024, algorithm 1.
    """
    inner = optax.with_extra_args_support(inner)

    def mask(update: Array, gradient: Array) -> Array:
        # u * phi with phi = (u . g > 0), over the mean of phi: the step keeps its length (here u points downhill)
        kept = (update * gradient < 0).astype(update.dtype)
        return update * kept * (kept.size / (kept.sum() + 1)).astype(update.dtype)

    def update(updates: Params, state: Any, params: Params, **extra: Any) -> tuple[Params, Any]:
        moves, opt_state = inner.update(updates, state, params, **extra)
        return jax.tree.map(mask, moves, updates), opt_state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def decoupled_decay(inner: Transformation, rate: float | Array) -> Transformation:
    """Returns the optimizer with `rate` times the parameters subtracted at every step.

    Reference:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.
    """
    inner = optax.with_extra_args_support(inner)

    def update(updates: Params, state: Any, params: Params, **extra: Any) -> tuple[Params, Any]:
        moves, opt_state = inner.update(updates, state, params, **extra)
        return jax.tree.map(lambda u, p: u - rate * p, moves, params), opt_state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def accumulation(inner: Transformation, *, every: int) -> Transformation:
    """Returns the optimizer applied to the mean gradient of `every` steps, and still between.

    What the optimizer is given beside the gradient (`value`, `grad_fn` and so on) is that of the last batch.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Params) -> AccumulationState:
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), params)
        return AccumulationState(inner.init(params), zeros, jnp.zeros((), jnp.int32))

    def update(
        updates: Params, state: AccumulationState, params: Params, **extra: Any
    ) -> tuple[Params, AccumulationState]:
        mean = jax.tree.map(lambda m, g: m + (g - m) / (state.step + 1), state.mean, updates)

        def move() -> tuple[Params, Any]:
            gradient = jax.tree.map(lambda m, g: m.astype(g.dtype), mean, updates)
            moves, opt_state = inner.update(gradient, state.inner, params, **extra)
            return jax.tree.map(lambda u, p: u.astype(p.dtype), moves, params), _like(state.inner, opt_state)

        def wait() -> tuple[Params, Any]:
            return jax.tree.map(jnp.zeros_like, params), state.inner

        full = state.step + 1 == every
        moves, opt_state = jax.lax.cond(full, move, wait)
        mean = jax.tree.map(lambda m: jnp.where(full, 0, m).astype(m.dtype), mean)
        return moves, AccumulationState(opt_state, mean, jnp.where(full, 0, state.step + 1))

    return optax.GradientTransformationExtraArgs(init, update)


def extragradient(inner: Transformation) -> Transformation:
    """Returns the optimizer that steps along the gradient at the point its step would reach.

    Reference:
        Gidel et al., "A variational inequality perspective on generative adversarial networks", 2019, algorithms 2 and
        4.
    """
    inner = optax.with_extra_args_support(inner)

    def update(
        updates: Params, state: Any, params: Params, *, grad_fn: Callable[[Params], Params], **extra: Any
    ) -> tuple[Params, Any]:
        # w' = w + u(g(w)); both updates start from w, and the state sees both gradients
        ahead, state = inner.update(updates, state, params, grad_fn=grad_fn, **extra)
        gradient = grad_fn(optax.apply_updates(params, ahead))
        moves, opt_state = inner.update(gradient, state, params, grad_fn=grad_fn, **{**extra, "grad": gradient})
        return moves, opt_state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _like(old: Any, new: Any) -> Any:
    """Keeps the state's types from step to step, as both branches need the same."""
    return jax.tree.map(lambda before, after: jnp.asarray(after, jnp.asarray(before).dtype), old, new)
