"""Regularization by noise: functions that change inputs, activations or targets, only while training."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import known_number, known_zero, require_floating, require_number, require_size
from dlkit.typing import Array, Key, Scalar

__all__ = ["alpha_dropout", "cutmix", "drop_path", "dropout", "gaussian_noise", "label_smoothing", "mixup"]

# The limit of selu at -inf: minus its scale times its alpha.
_SELU_FLOOR = -1.7580993408473766


def dropout(
    x: Float[Array, "*shape"], *, key: Key, rate: Scalar, shared_axes: Sequence[int] = ()
) -> Float[Array, "*shape"]:
    """Inverted dropout: y = x m / (1 - rate) with m ~ Bernoulli(1 - rate), so that E[y] = x.

    The mask m is drawn per element, but once for all positions along `shared_axes`: for images `[*batch, height, width,
    channels]`, `(-3, -2)` drops whole channels (spatial dropout); for sequences `[*batch, time, features]`, `(-2,)`
    drops the same features at every time (variational dropout).

    Args:
        x: inputs, any shape.
        key: PRNG key of the mask.
        rate: probability of **dropping**, in [0, 1); may be traced, and gives NaN where it is then out of this range.
            The Python number 0 makes this the identity.
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
        >>> y = dropout(jnp.ones((4, 100)), key=jax.random.key(0), rate=0.5, shared_axes=(0,))
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
    y = jnp.where(keep, x / keep_rate.astype(x.dtype), 0)
    return y if known_number(rate) else _checked_rate(keep_rate, y)


def drop_path(x: Float[Array, "*shape"], *, key: Key, rate: Scalar, axes: int) -> Float[Array, "*shape"]:
    """Stochastic depth: whole examples are dropped, y = x m / (1 - rate) with one m ~ Bernoulli(1 - rate) per example.

    At the end of a residual branch, what is left of a dropped example is the skip connection.

    Args:
        x: what a branch computes, `[*batch, *example]`.
        key: PRNG key of the mask.
        rate: probability of **dropping**, in [0, 1); may be traced. The Python number 0 makes this the identity.
        axes: how many trailing axes an example has: 3 for images `[height, width, channels]`, 2 for sequences.

    Returns:
        Values of the shape and dtype of x.

    Raises:
        ValueError: rate is a Python number outside [0, 1), or x has fewer axes.
        TypeError: x is not floating point.

    Reference:
        Huang et al., "Deep networks with stochastic depth", 2016, https://arxiv.org/abs/1603.09382.

    Example:
        >>> y = drop_path(jnp.ones((100, 5)), key=jax.random.key(0), rate=0.5, axes=1)
        >>> sorted(set(y.flatten().tolist())), bool((y == y[:, :1]).all())
        ([0.0, 2.0], True)
    """
    require_number("drop_path", "rate", rate, at_least=0, below=1)
    require_size("drop_path", axes=axes)
    if x.ndim < axes:
        raise ValueError(f"drop_path: expected x whose examples have {axes} axes, got {jax.typeof(x)}")
    return dropout(x, key=key, rate=rate, shared_axes=tuple(range(-axes, 0)))


def alpha_dropout(x: Float[Array, "*shape"], *, key: Key, rate: Scalar) -> Float[Array, "*shape"]:
    """Alpha dropout: y = a (x m + s (1 - m)) + b with m ~ Bernoulli(1 - rate) per element and s = -1.7581.

    s is what selu has at -inf; a = (q + s^2 q (1 - q))^(-1/2) and b = -a (1 - q) s, with q = 1 - rate, keep the mean 0
    and the variance 1 that selu makes.

    Args:
        x: outputs of selu, any shape.
        key: PRNG key of the mask.
        rate: probability of **dropping**, in [0, 1); may be traced. The Python number 0 makes this the identity.

    Returns:
        Values of the shape and dtype of x.

    Raises:
        ValueError: rate is a Python number outside [0, 1).
        TypeError: x is not floating point.

    Reference:
        Klambauer et al., "Self-normalizing neural networks", 2017, https://arxiv.org/abs/1706.02515.

    Example:
        >>> y = alpha_dropout(jax.random.normal(jax.random.key(1), (100_000,)), key=jax.random.key(0), rate=0.3)
        >>> bool(abs(y.mean()) < 0.02), bool(abs(y.var() - 1) < 0.02)
        (True, True)
    """
    require_floating("alpha_dropout", x=x)
    require_number("alpha_dropout", "rate", rate, at_least=0, below=1)
    if known_zero(rate):
        return x
    compute_dtype = jnp.promote_types(x.dtype, jnp.float32)
    keep_rate = 1.0 - jnp.asarray(rate, compute_dtype)
    keep = jax.random.bernoulli(key, keep_rate.astype(jnp.float32), x.shape)
    # a = (q + s^2 q (1 - q))^(-1/2), b = -a (1 - q) s
    scale = jax.lax.rsqrt(keep_rate * (1.0 + _SELU_FLOOR**2 * (1.0 - keep_rate)))
    shift = -scale * (1.0 - keep_rate) * _SELU_FLOOR
    # a (x m + s (1 - m)) + b
    y = scale * jnp.where(keep, x.astype(compute_dtype), _SELU_FLOOR) + shift
    return _checked_rate(keep_rate, y).astype(x.dtype)


def gaussian_noise(x: Float[Array, "*shape"], *, key: Key, deviation: Scalar) -> Float[Array, "*shape"]:
    """Additive Gaussian noise: y = x + deviation * n with n ~ Normal(0, 1) per element.

    Args:
        x: inputs, any shape.
        key: PRNG key of the noise.
        deviation: standard deviation in the unit of x, at least 0; may be traced.

    Returns:
        Values of the shape and dtype of x; the noise is added in at least float32.

    Raises:
        ValueError: deviation is a negative Python number.
        TypeError: x is not floating point.

    Reference:
        Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995.

    Example:
        >>> y = gaussian_noise(jnp.full(10_000, 3.0), key=jax.random.key(0), deviation=0.5)
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
    x: Float[Array, "batch *shape"], targets: Float[Array, "batch *target"], *, key: Key, alpha: Scalar
) -> tuple[Float[Array, "batch *shape"], Float[Array, "batch *target"]]:
    """Mix every example, and its target, with another one of the batch: lambda a_i + (1 - lambda) a_p(i).

    One lambda ~ Beta(alpha, alpha) and one random permutation p are drawn for the whole batch. The smaller alpha, the
    nearer is lambda to 0 or 1; alpha = 0 mixes nothing.

    Args:
        x: inputs; the batch is axis 0.
        targets: soft or one-hot targets (or real ones of a regression); the batch is axis 0.
        key: PRNG key of lambda and of the permutation.
        alpha: parameter of the Beta distribution, at least 0; may be traced.

    Returns:
        The mixed inputs and targets, in their shapes and dtypes.

    Raises:
        ValueError: the batch sizes differ, there is no batch axis, or alpha is a negative Python number.
        TypeError: x or the targets are not floating point.

    Reference:
        Zhang et al., "mixup: Beyond empirical risk minimization", 2017, https://arxiv.org/abs/1710.09412.

    Example:
        >>> x, targets = mixup(jnp.eye(2), jnp.eye(2), key=jax.random.key(0), alpha=1.0)
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
    share = _drawn_share(key_share, alpha)
    partner = jax.random.permutation(key_partner, x.shape[0])

    def mix(values: Array) -> Array:
        compute_dtype = jnp.promote_types(values.dtype, jnp.float32)
        wide, own = values.astype(compute_dtype), share.astype(compute_dtype)
        # lambda a_i + (1 - lambda) a_p(i)
        return (own * wide + (1.0 - own) * _of(wide, partner)).astype(values.dtype)

    return mix(x), mix(targets)


def cutmix(
    x: Float[Array, "batch *spatial channels"], targets: Float[Array, "batch *target"], *, key: Key, alpha: Scalar
) -> tuple[Float[Array, "batch *spatial channels"], Float[Array, "batch *target"]]:
    """Put a box of another example of the batch into every one, and mix the targets by the box's share of the volume.

    With lambda ~ Beta(alpha, alpha), the box has the share 1 - lambda of the volume and a centre that is drawn evenly;
    what of it lies outside is cut off, and the targets are mixed by what is left. One box and one random permutation
    are drawn for the whole batch. alpha = 0 mixes nothing.

    Args:
        x: images `[batch, height, width, channels]`, or inputs with another number of spatial axes, at least one.
        targets: soft or one-hot targets; the batch is axis 0.
        key: PRNG key of lambda, the permutation and the centre.
        alpha: parameter of the Beta distribution, at least 0; 1 in the paper; may be traced.

    Returns:
        The mixed inputs and targets, in their shapes and dtypes.

    Raises:
        ValueError: the batch sizes differ, there is no spatial axis, or alpha is a negative Python number.
        TypeError: x or the targets are not floating point.

    Reference:
        Yun et al., "CutMix: Regularization strategy to train strong classifiers with localizable features", 2019,
        https://arxiv.org/abs/1905.04899.

    Example:
        >>> images = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))])
        >>> x, targets = cutmix(images, jnp.array([[0.0], [1.0]]), key=jax.random.key(3), alpha=1.0)
        >>> bool((x.mean(axis=(1, 2)) == targets).all())  # the share of ones
        True
    """
    require_floating("cutmix", x=x)
    _require_soft("cutmix", targets)
    require_number("cutmix", "alpha", alpha, at_least=0)
    if x.ndim < 3 or x.shape[:1] != targets.shape[:1]:
        got = f"got {jax.typeof(x)} and {jax.typeof(targets)}"
        raise ValueError(f"cutmix: expected x [batch, *spatial, channels] and targets of one batch size, {got}")
    key_share, key_partner, key_centre = (jax.random.fold_in(key, purpose) for purpose in range(3))
    spatial = x.shape[1:-1]
    # The side of the box, as a share: (1 - lambda)^(1 / dimensions)
    side = (1.0 - _drawn_share(key_share, alpha)) ** (1.0 / len(spatial))
    partner = jax.random.permutation(key_partner, x.shape[0])
    centres = jax.random.uniform(key_centre, (len(spatial),))
    inside, volume = jnp.ones((1,) * x.ndim, bool), jnp.ones(())
    for place, size in enumerate(spatial):
        half = jnp.floor(0.5 * side * size)
        centre = jnp.floor(centres[place] * size)
        positions = jnp.arange(size)
        within = (positions >= centre - half) & (positions < centre + half)
        volume = volume * within.sum() / size
        inside = inside & jnp.expand_dims(within, tuple(axis for axis in range(x.ndim) if axis != place + 1))
    wide = targets.astype(jnp.promote_types(targets.dtype, jnp.float32))
    share = volume.astype(wide.dtype)
    mixed = (1.0 - share) * wide + share * _of(wide, partner)
    return jnp.where(inside, _of(x, partner), x), mixed.astype(targets.dtype)


def _of(values: Array, partner: Array) -> Array:
    """The values of each example's partner, where those of the example are: devices that share the batch send them."""
    sharding = jax.typeof(values).sharding
    return values.at[partner].get(out_sharding=None if sharding.mesh.empty else sharding)


def _drawn_share(key: Key, alpha: Scalar) -> Array:
    """The share lambda ~ Beta(alpha, alpha); 1 where alpha is 0."""
    concentration = jnp.asarray(alpha, jnp.float32)
    # Near 1e-38 the sampler's logarithms overflow. Already at 1e-6 practically every lambda is 0 or 1.
    usable = jnp.maximum(concentration, 1e-6)
    return jnp.where(concentration > 0, jax.random.beta(key, usable, usable, dtype=jnp.float32), 1.0)


def _checked_rate(keep_rate: Array, y: Array) -> Array:
    """NaN where a rate that was traced is outside [0, 1)."""
    return jnp.where((keep_rate > 0) & (keep_rate <= 1), y, jnp.nan)


def _require_soft(where: str, targets: Array) -> None:
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        raise TypeError(
            f"{where}: expected floating-point targets, one weight per class, got {jax.typeof(targets)}; "
            "use jax.nn.one_hot(targets, classes)"
        )
