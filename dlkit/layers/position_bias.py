"""What attention adds to its logits for the distance between two positions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from dlkit import checks
from dlkit.layers.base import Layer, described, lambda_
from dlkit.layers.embed import rows_sharding
from dlkit.typing import Array, Initializer, Key, Params, Shape, State

__all__ = ["alibi", "relative_positions"]

_small_normal: Initializer = jax.nn.initializers.normal(0.02)


@described
def alibi(heads: int) -> Layer:
    """Attention with linear biases: -m_h |distance|, where m_h = 2^(-8 h / heads) for head h = 1, 2, ...

    For `multi_head_attention(heads, position_bias=alibi(heads))`. With a number of heads that is no power of two, the
    slopes are those of the power below, then every other one of the power above, as in the paper's code. No parameters.

    Args:
        heads: number of heads.

    Returns:
        A layer for distances `[*batch, time, context_time]`, the key's position minus the query's, integers; outputs
        `[*batch, heads, time, context_time]` in float32.

    Raises:
        ValueError: heads is no positive integer.

    Reference:
        Press, Smith and Lewis, "Train short, test long: attention with linear biases enables input length
        extrapolation", 2021, https://arxiv.org/abs/2108.12409.

    Example:
        >>> alibi(2).apply({}, {}, jnp.array([[0, -1, -2]]))[0].tolist()
        [[[-0.0, -0.0625, -0.125]], [[-0.0, -0.00390625, -0.0078125]]]
    """
    checks.require_size("alibi", heads=heads)
    slopes = _slopes(heads)

    def biases(x: Integer[Array, "*batch time context_time"]) -> Float[Array, "*batch heads time context_time"]:
        # -m |j - i|
        distances = jnp.abs(x).astype(jnp.float32)
        factors = jnp.asarray(-slopes, jnp.float32).reshape((1,) * (x.ndim - 2) + (heads, 1, 1))
        return factors * jnp.expand_dims(distances, -3)

    return lambda_(biases)


@described
def relative_positions(
    heads: int,
    *,
    buckets: int = 32,
    max_distance: int = 128,
    bidirectional: bool = True,
    embedding_init: Initializer = _small_normal,
) -> Layer:
    """Learned biases for the distance of two positions, as in T5: one number for each head and bucket of distances.

    Half of the buckets are distances of their own, 0, 1, 2, ...; the others grow with the logarithm up to
    `max_distance`, and what is farther is in the last one. If bidirectional, half of all buckets are for keys after the
    query; if not, these count as distance 0. It is what `multi_head_attention` takes as `position_bias=`.

    Parameters: `{"embedding": [buckets, heads]}`, made in float32.

    Args:
        heads: number of heads.
        buckets: number of buckets; at least 4, and even, if bidirectional, else at least 2.
        max_distance: distance from which on all are in the last bucket; above the distances that have their own.
        bidirectional: whether keys may stand after the query.
        embedding_init: `(key, shape, dtype) -> array` for the table; normal with standard deviation 0.02.

    Returns:
        A layer for distances `[*batch, time, context_time]`, the key's position minus the query's, integers; outputs
        `[*batch, heads, time, context_time]`.

    Raises:
        ValueError: a number is out of range.

    Reference:
        Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", 2019,
        https://arxiv.org/abs/1910.10683, section 2.1.

    Example:
        >>> layer = relative_positions(2, buckets=8, max_distance=16)
        >>> params, state = layer.init(jax.random.key(0), (3, 3))
        >>> layer.apply(params, state, jnp.array([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]))[0].shape
        (2, 3, 3)
    """
    where = "relative_positions"
    checks.require_size(where, heads=heads, buckets=buckets, max_distance=max_distance)
    least = 4 if bidirectional else 2
    if buckets < least or (bidirectional and buckets % 2):
        raise ValueError(
            f"{where}: expected {'an even number' if bidirectional else 'a number'} of at least {least} "
            f"buckets, got {buckets}"
        )
    one_side = buckets // 2 if bidirectional else buckets
    exact = one_side // 2
    if max_distance <= exact:
        raise ValueError(
            f"{where}: expected max_distance above {exact}, the distances with a bucket of their own, got "
            f"{max_distance}"
        )

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del input_shape
        return {"embedding": embedding_init(key, (buckets, heads), jnp.float32)}, {}

    def apply(
        params: Params,
        state: State,
        x: Integer[Array, "*batch time context_time"],
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "*batch heads time context_time"], State]:
        del key, train
        before = jnp.abs(x) if bidirectional else jnp.maximum(-x, 0)
        # exact + log(distance / exact) / log(max_distance / exact) * (one_side - exact), and no more than the last one
        ratio = jnp.log(jnp.maximum(before, 1).astype(jnp.float32) / exact) / math.log(max_distance / exact)
        far = exact + (ratio * (one_side - exact)).astype(x.dtype)
        bucket = jnp.where(before < exact, before, jnp.minimum(far, one_side - 1))
        if bidirectional:
            bucket = bucket + one_side * (x > 0).astype(x.dtype)
        biases = params["embedding"].at[bucket].get(out_sharding=rows_sharding(bucket))
        return jnp.moveaxis(biases, -1, -3), state

    return Layer(init, apply)


def _slopes(heads: int) -> np.ndarray:
    """m_h of every head."""
    below = 2 ** math.floor(math.log2(heads))
    slopes = 2.0 ** (-8.0 / below * np.arange(1, below + 1))
    above = 2.0 ** (-4.0 / below * np.arange(1, 2 * below + 1, 2))
    return np.concatenate([slopes, above[: heads - below]])
