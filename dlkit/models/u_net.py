"""U-Nets: from an image to an image, by way of smaller ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit import checks, layers
from dlkit.layers import Layer
from dlkit.typing import Array, ArrayFunction, Scalar

__all__ = ["u_net"]


def u_net(
    *,
    outputs: int,
    features: Sequence[int] = (64, 128, 256),
    time_features: int | None = None,
    activation: str | ArrayFunction = "silu",
    normalization: str | None = "group",
    dropout: Scalar = 0.0,
) -> Layer:
    """U-Net of residual blocks: down to smaller images and up again, where each size sees what it was on the way down.

    On the way down each size has a block and a pool of 2x2; on the way up a transposed convolution doubles the size,
    and a block reads it together with the block's output of that size. A block is x + f(x) with f twice normalization,
    activation, a 3x3 convolution, and dropout before the last one. With `time_features` it is the network of a
    diffusion model: a number for each example, `time=`, becomes waves, goes through a perceptron, and is added between
    the convolutions of each block.

    Args:
        outputs: channels of the output.
        features: channels at each size, the largest image first.
        time_features: size of the vector of waves, even; None for a network without a time.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a value; may be traced.

    Returns:
        A layer for examples `(height, width, channels)`, both divisible by 2 as often as there are sizes below the
        first; its outputs are `[*batch, height, width, outputs]`. With a time, `apply` takes `time=`, `[*batch]`, and
        `init` its shape: `model.init(key, (32, 32, 3), time=())`.

    Raises:
        ValueError: a size is no positive integer, time_features is odd; a name is unknown; or the examples do not fit.

    Reference:
        Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015,
        https://arxiv.org/abs/1505.04597; with a time: Ho, Jain and Abbeel, 2020, https://arxiv.org/abs/2006.11239.

    Example:
        >>> model = u_net(features=(4, 8), outputs=1, time_features=8)
        >>> variables = jax.eval_shape(lambda key: model.init(key, (8, 8, 3), time=()), jax.random.key(0))
        >>> jax.eval_shape(model.apply, *variables, jnp.zeros((5, 8, 8, 3)), time=jnp.arange(5.0))[0].shape
        (5, 8, 8, 1)
    """
    checks.require_size("u_net", outputs=outputs, **{f"features[{at}]": each for at, each in enumerate(features)})
    if not features:
        raise ValueError("u_net: expected the features of at least one size, got none")
    if time_features is not None and (time_features < 2 or time_features % 2):
        raise ValueError(f"u_net: expected time_features to be an even number of at least 2, got {time_features}")
    timed = time_features is not None
    act = layers.activation(activation)

    def norm(channels: int) -> Layer:
        # Not one channel alone: what is added to all of its positions would be taken away again.
        groups = next(each for each in (8, 4, 2, 1) if each == 1 or (channels % each == 0 and channels >= 4 * each))
        return layers.normalization(normalization, dimensions=2, groups=groups)

    def block(before: int, channels: int) -> Layer:
        parts: dict[str, Any] = {
            "first_norm": norm(before),
            "act": act,
            "first": layers.conv(channels, (3, 3)),
            "second_norm": norm(channels),
            "drop": layers.dropout(dropout),
            "second": layers.conv(channels, (3, 3)),
            **({} if before == channels else {"shortcut": layers.conv(channels, (1, 1))}),
            **({"moved": layers.dense(channels)} if timed else {}),
        }
        return layers.graph(_Block(timed, before != channels), **parts)

    sizes = range(len(features))
    first = features[0]
    below = [features[0], *features[:-1]]
    parts: dict[str, Any] = {
        "stem": layers.conv(first, (3, 3)),
        **{f"down_{size}": block(below[size], features[size]) for size in sizes},
        "pool": layers.average_pool((2, 2)),
        **{f"double_{size}": layers.conv_transpose(features[size], (2, 2), strides=2) for size in sizes[:-1]},
        **{f"up_{size}": block(2 * features[size], features[size]) for size in sizes[:-1]},
        "norm": norm(first),
        "act": act,
        "output": layers.conv(outputs, (3, 3)),
    }
    if time_features is not None:
        wide = 4 * time_features
        parts["time"] = layers.serial(
            layers.dense(wide), act, layers.dense(wide), act, names=("first", "act", "second", "last")
        )
    return layers.graph(_Wiring(len(features), time_features), **parts)


@dataclass(frozen=True)
class _Block:
    """A residual block."""

    timed: bool
    changes: bool

    def __call__(self, inside: Any, x: Array, embedding: Array | None = None) -> Array:
        h = inside.first(inside.act(inside.first_norm(x)))
        if self.timed and embedding is not None:
            h = h + jnp.expand_dims(inside.moved(embedding), (-3, -2))
        h = inside.second(inside.drop(inside.act(inside.second_norm(h))))
        y: Array = h + (inside.shortcut(x) if self.changes else x)
        return y


@dataclass(frozen=True)
class _Wiring:
    """What follows what."""

    sizes: int
    time_features: int | None

    def __call__(self, inside: Any, x: Array, time: Array | None = None) -> Array:
        self._check(x, time)
        told = {}
        if self.time_features is not None and time is not None:
            told = {"embedding": inside.time(_waves(time, self.time_features).astype(x.dtype))}
        h, seen = inside.stem(x), []
        for size in range(self.sizes):
            h = getattr(inside, f"down_{size}")(h, **told)
            if size < self.sizes - 1:
                seen.append(h)
                h = inside.pool(h)
        for size in reversed(range(self.sizes - 1)):
            h = getattr(inside, f"double_{size}")(h)
            h = getattr(inside, f"up_{size}")(jnp.concatenate([h, seen[size]], axis=-1), **told)
        y: Array = inside.output(inside.act(inside.norm(h)))
        return y

    def _check(self, x: Array, time: Array | None) -> None:
        halvings = 2 ** (self.sizes - 1)
        if x.ndim < 3 or x.shape[-3] % halvings or x.shape[-2] % halvings:
            raise ValueError(
                f"u_net: expected images [*batch, height, width, channels] whose height and width {halvings} divides, "
                f"got {jax.typeof(x)}"
            )
        if self.time_features is not None and (time is None or time.shape != x.shape[:-3]):
            got = None if time is None else jax.typeof(time)
            raise ValueError(f"u_net: expected time=, a number for each example, {list(x.shape[:-3])}, got {got}")


def _waves(time: Float[Array, "*batch"], features: int) -> Float[Array, "*batch features"]:
    """sin(t / 10,000^(2i / features)) and the cosines after them."""
    frequencies = 10_000.0 ** (-jnp.arange(0, features, 2, dtype=jnp.float32) / features)
    angles = jnp.expand_dims(time.astype(jnp.float32), -1) * frequencies.reshape((1,) * time.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
