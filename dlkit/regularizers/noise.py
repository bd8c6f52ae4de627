"""Regularization by noise: functions that change inputs, activations or targets, only while training."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import known_zero, require_floating, require_number
from dlkit.typing import Array, Key, Scalar

__all__ = ["dropout", "gaussian_noise", "label_smoothing", "mixup"]


def dropout(
    key: Key, x: Float[Array, "*shape"], *, rate: Scalar, shared_axes: Sequence[int] = ()
) -> Float[Array, "*shape"]:
    """Inverted dropout: y = x m / (1 - rate) with m ~ Bernoulli(1 - rate), so that E[y] = x.

    The mask m is drawn per element, but once for all positions along `shared_axes`: for images `[*batch, height, width,
    channels]`, `(-3, -2)` drops whole channels (spatial dropout); for sequences `[*batch, time, features]`, `(-2,)`
    drops the same features at every time (variational dropout).

    Args:
        key: PRNG key of the mask.
        x: inputs, any shape.
        rate: probability of **dropping**, in [0, 1); may be traced. The Python number 0 makes this the identity.
        shared_axes: axes of x along which the mask does not vary.

    Returns:
        Values of the shape and dtype of x.

    Raises:
        ValueError: rate is a Python number outside [0, 1), or x has no such axes.
        TypeError: x is not floating point.

    Reference:
        Srivastava et al., "Dropout", JMLR 15, 2014, https://jmlr.org/papers/v15/srivastava14a.html.
        Tompson et al., 2014, https://arxiv.org/abs/1411.4280 (spatial).
        Gal and Ghahramani, 2015, https://arxiv.org/abs/1512.05287 (variational).

    Example:
        >>> y = dropout(jax.random.key(0), jnp.ones((4, 100)), rate=0.5, shared_axes=(0,))
        >>> sorted(set(y.flatten().tolist())), bool((y == y[:1]).all())
        ([0.0, 2.0], True)
    """
    require_floating("dropout", x=x)
    require_number("dropout", "rate", rate, at_least=0, below=1)
    mask_shape = list(x.shape)
    for axis in shared_axes:
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"dropout: expected shared_axes of x, got axis {axis} for x {jax.typeof(x)}")
        mask_shape[axis] = 1
    if known_zero(rate):
        return x
    keep_rate = 1.0 - jnp.asarray(rate, jnp.promote_types(x.dtype, jnp.float32))
    keep = jax.random.bernoulli(key, keep_rate.astype(jnp.float32), tuple(mask_shape))  # one mask for every dtype
    # y = x m / (1 - rate)
    return jnp.where(keep, x / keep_rate.astype(x.dtype), 0)


def gaussian_noise(key: Key, x: Float[Array, "*shape"], *, deviation: Scalar) -> Float[Array, "*shape"]:
    """Additive Gaussian noise: y = x + deviation * n with n ~ Normal(0, 1) per element.

    Args:
        key: PRNG key of the noise.
        x: inputs, any shape.
        deviation: standard deviation in the unit of x, at least 0; may be traced.

    Returns:
        Values of the shape and dtype of x; the noise is added in at least float32.

    Raises:
        ValueError: deviation is a negative Python number.
        TypeError: x is not floating point.

    Reference:
        Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995.

    Example:
        >>> y = gaussian_noise(jax.random.key(0), jnp.full(10_000, 3.0), deviation=0.5)
        >>> round(float(y.mean()), 1), round(float(y.std()), 1)
        (3.0, 0.5)
    """
    require_floating("gaussian_noise", x=x)
    require_number("gaussian_noise", "deviation", deviation, at_least=0)
    compute_dtype = jnp.promote_types(x.dtype, jnp.float32)
    noise = jax.random.normal(key, x.shape, compute_dtype)
    # y = x + deviation * n
    return (x.astype(compute_dtype) + jnp.asarray(deviation, compute_dtype) * noise).astype(x.dtype)


def label_smoothing(targets: Float[Array, "*batch classes"], *, smoothing: Scalar) -> Float[Array, "*batch classes"]:
    """Smoothed class weights: (1 - smoothing) t + smoothing / classes.

    Args:
        targets: one weight per class, one-hot or soft; the classes are the last axis.
        smoothing: share of the weight spread evenly over the classes, in [0, 1); may be traced.

    Returns:
        Weights of the shape and dtype of the targets; where those sum to 1, these do too.

    Raises:
        ValueError: there is no axis of classes, or smoothing is a Python number outside [0, 1).
        TypeError: the targets are not floating point, such as class indices.

    Reference:
        Szegedy et al., "Rethinking the Inception architecture", 2015, https://arxiv.org/abs/1512.00567.

    Example:
        >>> label_smoothing(jnp.array([0.0, 1.0]), smoothing=0.5)
        Array([0.25, 0.75], dtype=float32)
    """
    _require_soft("label_smoothing", targets)
    require_number("label_smoothing", "smoothing", smoothing, at_least=0, below=1)
    if targets.ndim == 0:
        raise ValueError("label_smoothing: expected targets [*batch, classes], got a scalar")
    compute_dtype = jnp.promote_types(targets.dtype, jnp.float32)
    share = jnp.asarray(smoothing, compute_dtype)
    # (1 - s) t + s / classes
    smoothed = (1.0 - share) * targets.astype(compute_dtype) + share / targets.shape[-1]
    return smoothed.astype(targets.dtype)


def mixup(
    key: Key, x: Float[Array, "batch *shape"], targets: Float[Array, "batch *target"], *, alpha: Scalar
) -> tuple[Float[Array, "batch *shape"], Float[Array, "batch *target"]]:
    """Mix every example, and its target, with another one of the batch: lambda a_i + (1 - lambda) a_p(i).

    One lambda ~ Beta(alpha, alpha) and one random permutation p are drawn for the whole batch. The smaller alpha, the
    nearer is lambda to 0 or 1; alpha = 0 mixes nothing.

    Args:
        key: PRNG key of lambda and of the permutation.
        x: inputs; the batch is axis 0.
        targets: soft or one-hot targets (or real ones of a regression); the batch is axis 0.
        alpha: parameter of the Beta distribution, at least 0; may be traced.

    Returns:
        The mixed inputs and targets, in their shapes and dtypes.

    Raises:
        ValueError: the batch sizes differ, there is no batch axis, or alpha is a negative Python number.
        TypeError: x or the targets are not floating point.

    Reference:
        Zhang et al., "mixup: Beyond empirical risk minimization", 2017, https://arxiv.org/abs/1710.09412.

    Example:
        >>> x, targets = mixup(jax.random.key(0), jnp.eye(2), jnp.eye(2), alpha=1.0)
        >>> bool((x == targets).all()), targets.sum(axis=1).tolist()
        (True, [1.0, 1.0])
    """
    require_floating("mixup", x=x)
    _require_soft("mixup", targets)
    require_number("mixup", "alpha", alpha, at_least=0)
    if x.ndim == 0 or x.shape[:1] != targets.shape[:1]:
        got = f"got {jax.typeof(x)} and {jax.typeof(targets)}"
        raise ValueError(f"mixup: expected x [batch, ...] and targets [batch, ...] of one batch size, {got}")
    key_share, key_partner = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    concentration = jnp.asarray(alpha, jnp.float32)
    # Near 1e-38 the sampler's logarithms overflow. Already at 1e-6 practically every lambda is 0 or 1.
    usable = jnp.maximum(concentration, 1e-6)
    # lambda ~ Beta(alpha, alpha)
    drawn = jax.random.beta(key_share, usable, usable, dtype=jnp.float32)
    share = jnp.where(concentration > 0, drawn, 1.0)
    partner = jax.random.permutation(key_partner, x.shape[0])

    def mix(values: Array) -> Array:
        compute_dtype = jnp.promote_types(values.dtype, jnp.float32)
        wide, own = values.astype(compute_dtype), share.astype(compute_dtype)
        # lambda a_i + (1 - lambda) a_p(i)
        return (own * wide + (1.0 - own) * wide[partner]).astype(values.dtype)

    return mix(x), mix(targets)


def _require_soft(where: str, targets: Array) -> None:
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        raise TypeError(
            f"{where}: expected floating-point targets, one weight per class, got {jax.typeof(targets)}; "
            "use jax.nn.one_hot(targets, classes)"
        )
