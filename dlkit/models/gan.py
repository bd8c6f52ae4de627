"""Generative adversarial networks: a generator of examples and a discriminator that scores them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from dlkit import checks, layers
from dlkit.layers import Layer
from dlkit.models.mlp import mlp
from dlkit.models.parts import for_examples, networks_text
from dlkit.typing import Array, ArrayFunction, Initializer, Scalar, Shape

__all__ = ["Gan", "convolutional_gan", "dense_gan"]

_small_normal: Initializer = jax.nn.initializers.normal(0.02)


class Gan(NamedTuple):
    """Two players, each a layer with parameters of its own.

    Attributes:
        generator: maps latent vectors `[*batch, latent]` to examples `[*batch, *example_shape]`;
            `init(key, (latent,))`.
        discriminator: maps examples to one score each, `[*batch]`: a logit of being real, or a critic's value.
    """

    generator: Layer
    discriminator: Layer

    @property
    def layer(self) -> Layer:
        """Both as one layer: the scores of what is generated; its parameters are `{"generator", "discriminator"}`.

        Example:
            >>> print(layers.summary(Gan(layers.dense(2), layers.dense(1)), (4,)))
            path           layer     output      parameters  FLOPs
            -------------  --------  ----------  ----------  -----
                           serial    float32[1]          13     20
            generator      dense(2)  float32[2]          10     16
            discriminator  dense(1)  float32[1]           3      4
        """
        return layers.serial(generator=self.generator, discriminator=self.discriminator)

    def __repr__(self) -> str:
        """Both, as a tree."""
        return networks_text("Gan", **self._asdict())


def dense_gan(
    example_shape: Shape,
    *,
    latent: int,
    hidden: Sequence[int] = (128, 128),
    activation: str | ArrayFunction = "leaky_relu",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
    output_activation: str | ArrayFunction = "identity",
    kernel_init: Initializer = layers.default_kernel_init,
) -> Gan:
    """Generative adversarial network of perceptrons.

    Args:
        example_shape: shape of one example, without batch axes.
        latent: size of the vectors that the generator starts from, usually drawn from N(0, I).
        hidden: widths of the generator's hidden layers; the discriminator has them in reverse.
        activation: a name that `layers.activation` knows, or a function.
        normalization: of the generator's hidden layers, a name that `layers.normalization` knows; None for none. The
            discriminator has none: with batch statistics its score of an example would depend on its neighbours, which
            gradient penalties do not allow.
        dropout: probability of dropping one of the discriminator's hidden values; may be traced.
        output_activation: of the generator, e.g. "tanh" for pixels in [-1, 1].
        kernel_init: initialization of every kernel.

    Returns:
        The two players.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or, in a player's `init`, the shape differs.

    Reference:
        Goodfellow et al., "Generative adversarial networks", 2014, https://arxiv.org/abs/1406.2661.

    Example:
        >>> import jax.numpy as jnp
        >>> generator, discriminator = dense_gan((2,), latent=4, hidden=(16,))
        >>> params, state = generator.init(jax.random.key(0), (4,))
        >>> points, state = generator.apply(params, state, jnp.zeros((5, 4)))
        >>> params, state = discriminator.init(jax.random.key(1), (2,))
        >>> discriminator.apply(params, state, points)[0].shape
        (5,)
    """
    shape = tuple(example_shape)
    checks.require_size("dense_gan", latent=latent, **{f"hidden[{place}]": each for place, each in enumerate(hidden)})
    generator = layers.serial(
        mlp((*hidden, math.prod(shape)), activation=activation, normalization=normalization, kernel_init=kernel_init),
        lambda x: x.reshape(*x.shape[:-1], *shape),
        layers.activation(output_activation),
        names=("mlp", "reshape", "output_activation"),
    )
    discriminator = layers.serial(
        mlp((*reversed(hidden), 1), activation=activation, dropout=dropout, kernel_init=kernel_init),
        _score,
        names=("mlp", "score"),
    )
    return Gan(
        for_examples("dense_gan: generator", (latent,), generator),
        for_examples("dense_gan: discriminator", shape, discriminator),
    )


def convolutional_gan(
    example_shape: Shape,
    *,
    latent: int,
    features: Sequence[int] = (64, 32),
    activation: str | ArrayFunction = "leaky_relu",
    normalization: str | None = "batch",
    dropout: Scalar = 0.0,
    output_activation: str | ArrayFunction = "tanh",
    kernel_init: Initializer = _small_normal,
) -> Gan:
    """Generative adversarial network of strided convolutions (DCGAN) for images.

    The generator makes the smallest feature map with a dense layer and doubles height and width once per entry of
    `features`; the discriminator halves them as often.

    Args:
        example_shape: (height, width, channels); height and width divisible by 2 ** len(features).
        latent: size of the vectors that the generator starts from, usually drawn from N(0, I).
        features: channels of the generator's feature maps, from the smallest map on; the discriminator has them in
            reverse.
        activation: a name that `layers.activation` knows, or a function.
        normalization: of the generator's feature maps, a name that `layers.normalization` knows; None for none. The
            discriminator has none, as in `dense_gan`.
        dropout: probability of dropping one of the discriminator's hidden values; may be traced.
        output_activation: of the generator.
        kernel_init: initialization of every kernel; normal with standard deviation 0.02, as in the paper.

    Returns:
        The two players.

    Raises:
        ValueError: a size is no positive integer, or not divisible; a name is unknown; or, in `init` of a player, the
            shape is another one.

    Reference:
        Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
        networks", 2015, https://arxiv.org/abs/1511.06434.

    Example:
        >>> import jax.numpy as jnp
        >>> generator, discriminator = convolutional_gan((8, 8, 1), latent=4, features=(8, 4))
        >>> params, state = generator.init(jax.random.key(0), (4,))
        >>> images, state = generator.apply(params, state, jnp.zeros((5, 4)))
        >>> images.shape
        (5, 8, 8, 1)
    """
    where = "convolutional_gan"
    checks.require_size(where, latent=latent, **{f"features[{place}]": each for place, each in enumerate(features)})
    shrinkage = 2 ** len(features)
    if not features or len(example_shape) != 3 or any(size % shrinkage for size in example_shape[:2]):
        raise ValueError(
            f"{where}: expected features and an example shape (height, width, channels) with height and width "
            f"divisible by 2 ** len(features) = {shrinkage}, got {tuple(features)} and {tuple(example_shape)}"
        )
    height, width, channels = example_shape
    smallest = (height // shrinkage, width // shrinkage, features[0])

    def upsampled(outputs: int) -> Layer:
        return layers.conv_transpose(outputs, (4, 4), strides=(2, 2), kernel_init=kernel_init)

    grow = [
        layers.serial(
            upsampled(outputs),
            layers.normalization(normalization, dimensions=2, groups=math.gcd(8, outputs)),
            layers.activation(activation),
            names=("conv_transpose", "normalization", "activation"),
        )
        for outputs in features[1:]
    ]
    start = layers.serial(
        layers.dense(math.prod(smallest), kernel_init=kernel_init),
        lambda x: x.reshape(*x.shape[:-1], *smallest),
        layers.normalization(normalization, dimensions=2, groups=math.gcd(8, features[0])),
        layers.activation(activation),
        names=("dense", "reshape", "normalization", "activation"),
    )
    generator = layers.serial(
        start,
        *grow,
        upsampled(channels),
        layers.activation(output_activation),
        names=("start", *(f"grow_{place}" for place in range(len(grow))), "output", "output_activation"),
    )
    shrink = [
        layers.serial(
            layers.conv(outputs, (4, 4), strides=(2, 2), kernel_init=kernel_init),
            layers.activation(activation),
            layers.dropout(dropout),
            names=("conv", "activation", "dropout"),
        )
        for outputs in reversed(features)
    ]
    discriminator = layers.serial(
        *shrink,
        layers.flatten(3),
        layers.dense(1, kernel_init=kernel_init),
        _score,
        names=(*(f"shrink_{place}" for place in range(len(shrink))), "flatten", "output", "score"),
    )
    return Gan(
        for_examples(f"{where}: generator", (latent,), generator),
        for_examples(f"{where}: discriminator", tuple(example_shape), discriminator),
    )


def _score(x: Array) -> Array:
    """[*batch, 1] -> [*batch]."""
    return x[..., 0]
