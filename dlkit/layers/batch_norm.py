"""Batch normalization, and the re-estimation of its statistics for other parameters."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer, PyTree

from dlkit.checks import require_floating, require_number
from dlkit.layers.base import About, Layer, described
from dlkit.layers.products import computed_once
from dlkit.layers.ragged import steps_that_count
from dlkit.layers.standardize import init_scale_and_bias, scale_and_bias, standardize, standardize_across
from dlkit.typing import Array, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["batch_norm", "has_batch_statistics", "reestimate_batch_statistics"]

_STATE_KEYS = frozenset({"mean", "var", "batch_mean", "batch_var"})


@described
def batch_norm(
    *,
    momentum: Scalar = 0.99,
    epsilon: Scalar = 1e-5,
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
    axis_name: str | tuple[str, ...] | None = None,
) -> Layer:
    """Batch normalization: y = scale * (x - mean) / sqrt(var + epsilon) + bias, for every channel.

    While `train` is true, mean and var are those of the inputs over all axes but the last: batch and spatial axes. The
    running statistics then become momentum * running + (1 - momentum) * batch. Otherwise mean and var are the running
    ones, and the state is unchanged. A batch of one value per channel has variance 0 and gives y = bias.

    This is flax's momentum (torch's is 1 - momentum) and flax's variance: the sum of squares divided by n, in y and in
    the running variance, for which torch divides by n - 1.

    `apply` takes `lengths=` beside the usual arguments: how many steps of each sequence count, `[*batch]`. The padding
    is in no statistics, whatever it holds, and gives 0. A batch without any step leaves the running statistics alone.

    Where devices share the batch under `jax.jit`, mean and var are those of the whole batch. Under `jax.shard_map` or
    `jax.pmap`, which show a layer one device's part, they are so with `axis_name`, by two all-reduces.

    Parameters: `{"scale": [channels], "bias": [channels]}`. State, in float32 and each `[channels]`: `"mean"` and
    `"var"`, the running statistics, at first 0 and 1; `"batch_mean"` and `"batch_var"`, those of the last training
    batch, which `reestimate_batch_statistics` reads. Statistics are computed in at least float32; the output has the
    dtype that x and the parameters promote to.

    Args:
        momentum: share of the running statistics that stays, in [0, 1); may be traced.
        epsilon: added to the variance, in the squared unit of x.
        use_scale: whether there is a scale.
        use_bias: whether there is a bias.
        scale_init: `(key, shape, dtype) -> array`; ones. Zeros, in the last normalization of a residual branch, make
            the block start as the identity.
        bias_init: the same; zeros.
        axis_name: names of the mapped axes over whose devices the statistics are taken too, while training: those of
            `jax.shard_map`, `jax.pmap` or `jax.vmap`. None for those of the inputs alone.

    Returns:
        A layer for inputs `[*batch, ..., channels]`; the shape is kept.

    Raises:
        ValueError: momentum is a Python number outside [0, 1), epsilon is negative, or the inputs have other channels.
            While training also: there is nothing to average over, inputs `[channels]` or an empty batch.
        TypeError: x is not floating point.

    Reference:
        Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167.

    Example:
        >>> layer = batch_norm(momentum=0.5)
        >>> params, state = layer.init(jax.random.key(0), (1,))
        >>> y, state = layer.apply(params, state, jnp.array([[10.0], [30.0]]), train=True)
        >>> y.round(3).tolist(), state["mean"].tolist(), state["batch_var"].tolist()
        ([[-1.0], [1.0]], [10.0], [100.0])
    """
    require_number("batch_norm", "momentum", momentum, at_least=0, below=1)
    require_number("batch_norm", "epsilon", epsilon, at_least=0)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        if not input_shape or input_shape[-1] < 1:
            raise ValueError(f"batch_norm: expected an example shape (..., channels), got {tuple(input_shape)}")
        shape = (input_shape[-1],)
        params = init_scale_and_bias(
            key, shape, scale_init=scale_init if use_scale else None, bias_init=bias_init if use_bias else None
        )
        mean, variance = jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32)
        return params, {"mean": mean, "var": variance, "batch_mean": mean, "batch_var": variance}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch channels"],
        *,
        key: Key | None = None,
        train: bool = False,
        lengths: Integer[Array, "..."] | None = None,
    ) -> tuple[Float[Array, "*batch channels"], State]:
        del key
        require_floating("batch_norm", inputs=x)
        if x.shape[-1:] != state["mean"].shape:
            raise ValueError(f"batch_norm: expected inputs [*batch, {state['mean'].shape[0]}], got {jax.typeof(x)}")
        counts = None if lengths is None else _counts(x, lengths)
        dtype = jnp.result_type(x, *params.values())
        wide = x.astype(jnp.promote_types(dtype, jnp.float32))
        if train:
            if x.ndim == 1 or math.prod(x.shape[:-1]) == 0:
                raise ValueError(
                    "batch_norm: expected inputs with values to average over while training, "
                    f"[*batch, {x.shape[-1]}], got {jax.typeof(x)}; add a batch axis"
                )
            axes = tuple(range(x.ndim - 1))
            if axis_name is None:
                y, mean, variance = standardize(wide, axes, epsilon=epsilon, where=counts)
                any_counts = None if counts is None else counts.any()
            else:
                y, mean, variance, any_counts = standardize_across(
                    wide, axes, axis_name=axis_name, epsilon=epsilon, where=counts
                )
            new_state = _next_state(state, mean, variance, momentum)
            state = new_state if counts is None else jax.tree.map(partial(jnp.where, any_counts), new_state, state)
        else:
            channels = (1,) * (x.ndim - 1) + (x.shape[-1],)
            mean, variance = (state[name].astype(wide.dtype).reshape(channels) for name in ("mean", "var"))
            # (x - mean) / sqrt(var + epsilon)
            wide = wide if counts is None else jnp.where(counts, wide, 0)
            y = (wide - mean) * jax.lax.rsqrt(variance + jnp.asarray(epsilon, wide.dtype))
        y = computed_once(scale_and_bias(y, params).astype(dtype))
        return y if counts is None else jnp.where(counts, y, 0), state

    return Layer(init, apply, about=About(each_step=True))


def reestimate_batch_statistics(
    model: Layer, params: Params, state: State, batches: PyTree[Array], *, key: Key | None = None
) -> State:
    """Recompute the running statistics of every `batch_norm` in a model for fixed parameters.

    Needed before evaluating parameters that no training step has seen, such as averaged ones. The running statistics
    become those of all batches together, exactly and not as a moving average: with mean_b and var_b of batch b,

        mean = average of mean_b,    var = average of var_b + average of (mean_b - mean)^2.

    The model runs in training mode, once per batch: a layer behind another batch normalization sees inputs that were
    normalized batch by batch, as in training, and dropout drops.

    Args:
        model: any layer. Its batch normalizations are found by the keys of their state.
        params: its parameters, at any depth.
        state: its state, from which every batch starts.
        batches: inputs `[count, batch, ...]`, batches of one size; at least one. For a model whose `apply` takes a tree
            of arrays, such a tree.
        key: for layers that draw random numbers; batch b gets `fold_in(key, b)`.

    Returns:
        The state with new `"mean"` and `"var"` in the batch normalizations, and nothing else changed.

    Raises:
        ValueError: there are no batches.

    Reference:
        Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018,
        https://arxiv.org/abs/1803.05407, section 3.2.
        Wu and Johnson, "Rethinking batch in BatchNorm", 2021, https://arxiv.org/abs/2105.07576 (precise statistics).

    Example:
        >>> layer = batch_norm()
        >>> params, state = layer.init(jax.random.key(0), (1,))
        >>> state = reestimate_batch_statistics(layer, params, state, jnp.array([[[1.0], [3.0]], [[5.0], [7.0]]]))
        >>> state["mean"].tolist(), state["var"].tolist()
        ([4.0], [5.0])
    """
    leaves = jax.tree.leaves(batches)
    for each in leaves:
        if each.ndim < 2 or 0 in each.shape[:2]:
            raise ValueError(
                f"reestimate_batch_statistics: expected batches [count, batch, ...], got {jax.typeof(each)}"
            )
    if not has_batch_statistics(state):
        return state

    def statistics(indexed: tuple[Array, PyTree[Array]]) -> State:
        position, x = indexed
        batch_key = None if key is None else jax.random.fold_in(key, position)
        _, new_state = model.apply(params, state, x, key=batch_key, train=True)
        return jax.tree.map(
            lambda entry: (entry["batch_mean"], entry["batch_var"]) if _is_batch_norm(entry) else None,
            new_state,
            is_leaf=_is_batch_norm,
        )

    def reestimated(entry: State, per_batch: tuple[Array, Array] | None) -> State:
        if per_batch is None:
            return entry
        means, variances = per_batch
        mean = jnp.mean(means, axis=0)
        # average of var_b + average of (mean_b - mean)^2
        variance = jnp.mean(variances, axis=0) + jnp.mean(jnp.square(means - mean[None]), axis=0)
        return entry | {"mean": mean, "var": variance}

    stacked = jax.lax.map(statistics, (jnp.arange(leaves[0].shape[0]), batches))
    return jax.tree.map(reestimated, state, stacked, is_leaf=_is_batch_norm)


def has_batch_statistics(state: Any) -> bool:
    """Whether there is a `batch_norm` in a model, whose statistics can be re-estimated.

    Args:
        state: the model's, of arrays or of shapes.

    Example:
        >>> has_batch_statistics({"normalization": batch_norm().init(jax.random.key(0), (3,))[1]})
        True
        >>> has_batch_statistics({})
        False
    """
    return any(map(_is_batch_norm, jax.tree.leaves(state, is_leaf=_is_batch_norm)))


def _counts(x: Array, lengths: Array) -> Array:
    """Which steps count; refuses inputs whose last axis, the channels, would be the time axis."""
    if x.ndim < lengths.ndim + 2:
        raise ValueError(
            f"batch_norm: expected inputs [*batch, time, ..., channels] for lengths {jax.typeof(lengths)}, "
            f"got {jax.typeof(x)}"
        )
    return steps_that_count("batch_norm", lengths, x)


def _next_state(state: State, mean: Array, variance: Array, momentum: Scalar) -> State:
    """The state after a training batch; its dtype stays, so that it can be carried by a scan."""
    new_state: State = {}
    for name, batch in (("mean", mean), ("var", variance)):
        running = state[name]
        batch = batch.astype(running.dtype)
        share = jnp.asarray(momentum, running.dtype)
        # momentum * running + (1 - momentum) * batch
        new_state |= {name: share * running + (1.0 - share) * batch, f"batch_{name}": batch}
    return new_state


def _is_batch_norm(entry: object) -> bool:
    """Whether a part of a state is the state of a `batch_norm`."""
    return isinstance(entry, dict) and entry.keys() == _STATE_KEYS
