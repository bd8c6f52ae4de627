"""The fully connected layer."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit.checks import require_floating, require_size
from dlkit.layers.base import Layer, described
from dlkit.layers.products import affine
from dlkit.typing import Array, Initializer, Key, Params, Shape, State

__all__ = ["default_kernel_init", "dense"]

default_kernel_init: Initializer = jax.nn.initializers.lecun_normal()
"""Truncated normal with variance 1 / in_features, as in flax."""


@described
def dense(
    features: int,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = default_kernel_init,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Fully connected layer: y = x W + b, over the last axis of the example.

    Parameters: `{"kernel": [in_features, features], "bias": [features]}`, made in float32. The output has the dtype
    that x and the parameters promote to: cast the parameters to bfloat16 to compute in bfloat16.

    Args:
        features: size of the output's last axis.
        use_bias: whether there is a bias b.
        kernel_init: `(key, shape, dtype) -> array` for W; LeCun normal, variance 1 / in_features.
        bias_init: the same for b; zeros.

    Returns:
        A layer for inputs `[*batch, in_features]`, where batch may have any number of axes, also none.

    Raises:
        ValueError: features is no positive integer; the example has no axis; or x does not end in in_features.
        TypeError: x is not floating point.

    Reference:
        LeCun et al., "Efficient backprop", 1998 (the initialization).

    Example:
        >>> layer = dense(3)
        >>> params, state = layer.init(jax.random.key(0), (2,))
        >>> jax.tree.map(jnp.shape, params)
        {'bias': (3,), 'kernel': (2, 3)}
        >>> y, state = layer.apply(params, state, jnp.zeros((5, 2)))
        >>> y.shape
        (5, 3)
    """
    require_size("dense", features=features)

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        if not input_shape or input_shape[-1] < 1:
            raise ValueError(f"dense: expected an example shape (..., in_features), got {tuple(input_shape)}")
        key_kernel, key_bias = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        params = {"kernel": kernel_init(key_kernel, (input_shape[-1], features), jnp.float32)}
        if use_bias:
            params["bias"] = bias_init(key_bias, (features,), jnp.float32)
        return params, {}

    def apply(
        params: Params,
        state: State,
        x: Float[Array, "*batch in_features"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch out_features"], State]:
        del key, train
        kernel = params["kernel"]
        require_floating("dense", inputs=x)
        if x.shape[-1:] != kernel.shape[:1]:
            raise ValueError(f"dense: expected inputs [*batch, {kernel.shape[0]}], got {jax.typeof(x)}")
        # y = x W + b
        return affine(x, kernel, params["bias"] if use_bias else None), state

    return Layer(init, apply)
