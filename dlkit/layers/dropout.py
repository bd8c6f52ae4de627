"""Layers that add noise while training: dropout and its kin, and Gaussian noise."""

from collections.abc import Callable, Sequence

from jaxtyping import Float

from dlkit import regularizers
from dlkit.checks import known_number, known_zero, require_floating, require_key, require_number, require_size
from dlkit.layers.base import Layer, described
from dlkit.typing import Array, Key, Params, Scalar, Shape, State

__all__ = ["alpha_dropout", "drop_path", "dropout", "gaussian_noise"]


@described
def dropout(rate: Scalar, *, shared_axes: Sequence[int] = ()) -> Layer:
    """Inverted dropout: y = x m / (1 - rate) with m ~ Bernoulli(1 - rate) per element, so that E[y] = x.

    The identity when `train` is false, or when rate is the Python number 0. See `regularizers.dropout`.

    Args:
        rate: probability of **dropping** an element, in [0, 1). A traced scalar (a tuned hyperparameter) is accepted
            too; its range is not checked.
        shared_axes: axes of x, counted from the end (negative), along which the mask does not vary: `(-3, -2)` drops
            whole channels of images `[*batch, height, width, channels]` (spatial dropout), `(-2,)` the same features at
            every time of sequences `[*batch, time, features]` (variational dropout).

    Returns:
        A layer without parameters, for inputs of any shape.

    Raises:
        ValueError: rate is a Python number outside [0, 1); an axis is not negative; or there is no key where one is
            needed.
        TypeError: x is not floating point.

    Reference:
        Srivastava et al., "Dropout", JMLR 15, 2014, https://jmlr.org/papers/v15/srivastava14a.html.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = dropout(0.5)
        >>> params, state = layer.init(jax.random.key(0), (1000,))
        >>> y, state = layer.apply(params, state, jnp.ones(1000), key=jax.random.key(1), train=True)
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
    """
    if known_number(rate) and not 0 <= rate < 1:
        raise ValueError(f"dropout: expected rate, the probability of dropping, in [0, 1), got {rate}")
    if not all(axis < 0 for axis in shared_axes):
        raise ValueError(
            "dropout: expected shared_axes counted from the end, such as (-3, -2), because there may be any number of "
            f"batch axes; got {tuple(shared_axes)}"
        )
    shared = tuple(shared_axes)
    return _noise("dropout", rate, lambda key, x: regularizers.dropout(x, key=key, rate=rate, shared_axes=shared))


@described
def drop_path(rate: Scalar, *, axes: int) -> Layer:
    """Stochastic depth: whole examples are dropped, y = x m / (1 - rate) with one m ~ Bernoulli(1 - rate) per example.

    It stands at the end of a residual branch: `residual(serial(..., drop_path(0.1, axes=3)))`. The identity when
    `train` is false, or when rate is the Python number 0. See `regularizers.drop_path`.

    Args:
        rate: probability of **dropping** an example, in [0, 1); may be traced.
        axes: how many trailing axes an example has: 3 for images `[height, width, channels]`, 2 for sequences, 1 for
            features.

    Returns:
        A layer without parameters, for inputs `[*batch, *example]`.

    Raises:
        ValueError: rate is a Python number outside [0, 1); axes is no positive integer, or x has fewer; or there is no
            key where one is needed.
        TypeError: x is not floating point.

    Reference:
        Huang et al., "Deep networks with stochastic depth", 2016, https://arxiv.org/abs/1603.09382.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, state = drop_path(0.5, axes=1).apply({}, {}, jnp.ones((100, 4)), key=jax.random.key(0), train=True)
        >>> sorted(set(y.flatten().tolist())), bool((y == y[:, :1]).all())
        ([0.0, 2.0], True)
    """
    require_number("drop_path", "rate", rate, at_least=0, below=1)
    require_size("drop_path", axes=axes)
    return _noise("drop_path", rate, lambda key, x: regularizers.drop_path(x, key=key, rate=rate, axes=axes))


@described
def alpha_dropout(rate: Scalar) -> Layer:
    """Alpha dropout, for chains with selu: dropped elements become -1.7581, and mean 0 and variance 1 stay.

    The identity when `train` is false, or when rate is the Python number 0. See `regularizers.alpha_dropout`.

    Args:
        rate: probability of **dropping** an element, in [0, 1); may be traced.

    Returns:
        A layer without parameters, for inputs of any shape.

    Raises:
        ValueError: rate is a Python number outside [0, 1); or there is no key where one is needed.
        TypeError: x is not floating point.

    Reference:
        Klambauer et al., "Self-normalizing neural networks", 2017, https://arxiv.org/abs/1706.02515.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, state = alpha_dropout(0.5).apply({}, {}, jnp.ones(100), key=jax.random.key(0), train=True)
        >>> [round(value, 3) for value in sorted(set(y.tolist()))]
        [-0.779, 1.666]
    """
    require_number("alpha_dropout", "rate", rate, at_least=0, below=1)
    return _noise("alpha_dropout", rate, lambda key, x: regularizers.alpha_dropout(x, key=key, rate=rate))


@described
def gaussian_noise(deviation: Scalar) -> Layer:
    """Additive Gaussian noise: y = x + deviation * n with n ~ Normal(0, 1) per element.

    The identity when `train` is false, or when deviation is the Python number 0. See `regularizers.gaussian_noise`.

    Args:
        deviation: standard deviation in the unit of x, at least 0; may be traced.

    Returns:
        A layer without parameters, for inputs of any shape.

    Raises:
        ValueError: deviation is a negative Python number; or there is no key where one is needed.
        TypeError: x is not floating point.

    Reference:
        Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = gaussian_noise(0.5)
        >>> y, state = layer.apply({}, {}, jnp.full(10_000, 3.0), key=jax.random.key(1), train=True)
        >>> round(float(y.std()), 1)
        0.5
    """
    require_number("gaussian_noise", "deviation", deviation, at_least=0)
    return _noise(
        "gaussian_noise", deviation, lambda key, x: regularizers.gaussian_noise(x, key=key, deviation=deviation)
    )


def _noise(where: str, strength: Scalar, function: Callable[[Key, Array], Array]) -> Layer:
    """A layer that applies a function of a key while training, unless its strength is known to be 0."""
    never = known_zero(strength)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key, input_shape
        return {}, {}

    def apply(
        params: Params, state: State, x: Float[Array, "*shape"], *, key: Key | None = None, train: bool = False
    ) -> tuple[Float[Array, "*shape"], State]:
        del params
        require_floating(where, inputs=x)
        if never or not train:
            return x, state
        return function(require_key(where, key), x), state

    return Layer(init, apply)
