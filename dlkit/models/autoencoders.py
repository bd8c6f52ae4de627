"""Autoencoders: a code of few numbers, and the way back."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit import checks, layers
from dlkit.layers import InitFunction, Layer
from dlkit.models.mlp import mlp
from dlkit.models.parts import for_examples, networks_text
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["Autoencoder", "Vae", "VaeApply", "VaeOutput", "autoencoder", "vae"]


class Autoencoder(NamedTuple):
    """An autoencoder as one layer, and its two halves.

    Attributes:
        layer: maps examples to their reconstructions; its parameters are `{"encoder": ..., "decoder": ...}`.
        encoder: maps examples to codes `[*batch, latent]`, with the parameters under "encoder".
        decoder: maps codes to examples, with the parameters under "decoder".
    """

    layer: Layer
    encoder: Layer
    decoder: Layer

    def __repr__(self) -> str:
        """Both halves, as a tree."""
        return networks_text("Autoencoder", encoder=self.encoder, decoder=self.decoder)


class VaeOutput(NamedTuple):
    """What a variational autoencoder makes of a batch.

    Attributes:
        reconstruction: `[*batch, *example_shape]`, unbounded: logits of pixels, or means of real values.
        mean: of the code's normal distribution, `[*batch, latent]`.
        log_variance: the logarithm of its variance, `[*batch, latent]`.
    """

    reconstruction: Array
    mean: Array
    log_variance: Array


class VaeApply(Protocol):
    """`apply(params, state, x, *, key=None, train=False) -> (VaeOutput, state)`."""

    def __call__(
        self, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[VaeOutput, State]:
        """Encode, sample and decode a batch of examples."""
        ...


class Vae(NamedTuple):
    """A variational autoencoder and its two halves.

    Attributes:
        init: `init(key, example_shape) -> (params, state)`; the parameters are `{"encoder": ..., "decoder": ...}`.
        apply: `apply(params, state, x, *, key=None, train=False) -> (VaeOutput, state)`.
        encoder: maps examples to `[*batch, 2 * latent]`: means, then logarithms of variances.
        decoder: maps codes `[*batch, latent]` to examples; codes drawn from N(0, I) give new ones.
        layer: `init` and `apply` as one layer; inside are "encoder", "sampling", which makes the codes, and "decoder".
    """

    init: InitFunction
    apply: VaeApply
    encoder: Layer
    decoder: Layer
    layer: Layer

    def __repr__(self) -> str:
        """Both halves, as a tree."""
        return networks_text("Vae", encoder=self.encoder, decoder=self.decoder)


def autoencoder(
    example_shape: Shape,
    *,
    latent: int,
    hidden: Sequence[int] = (128,),
    activation: str | ArrayFunction = "relu",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
    kernel_init: Initializer = layers.default_kernel_init,
) -> Autoencoder:
    """Autoencoder of perceptrons: examples are squeezed through `latent` numbers and restored.

    The encoder is `mlp((*hidden, latent))`, the decoder its mirror image. Minimise a loss between
    `layer.apply(params, state, x)` and x, such as `losses.squared_error`.

    Args:
        example_shape: shape of one example, without batch axes.
        latent: size of the code.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a hidden value; may be traced.
        kernel_init: initialization of every kernel.

    Returns:
        The autoencoder and its halves.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or, in `init`, the example shape is another one.

    Reference:
        Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.

    Example:
        >>> model = autoencoder((8, 8), latent=4, hidden=(32,))
        >>> params, state = model.layer.init(jax.random.key(0), (8, 8))
        >>> codes, _ = model.encoder.apply(params["encoder"], {}, jnp.zeros((5, 8, 8)))
        >>> model.decoder.apply(params["decoder"], {}, codes)[0].shape
        (5, 8, 8)
    """
    encoder, decoder = _halves(
        "autoencoder",
        example_shape,
        (latent, latent),
        hidden,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
        kernel_init=kernel_init,
    )
    chain = layers.serial(encoder, decoder, names=("encoder", "decoder"))
    return Autoencoder(for_examples("autoencoder", tuple(example_shape), chain), encoder, decoder)


def vae(
    example_shape: Shape,
    *,
    latent: int,
    hidden: Sequence[int] = (128,),
    activation: str | ArrayFunction = "relu",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
    kernel_init: Initializer = layers.default_kernel_init,
) -> Vae:
    """Variational autoencoder of perceptrons: the encoder gives a normal distribution over codes.

    While training the code is drawn by z = mean + exp(log_variance / 2) * e with e ~ N(0, I), so that gradients reach
    the encoder; otherwise it is the mean. The loss is the negative evidence lower bound: a reconstruction loss summed
    over the example (`losses.binary_cross_entropy` for pixels in [0, 1]) plus
    `losses.kl_divergence_normal(mean, log_variance)`.

    Args:
        example_shape: shape of one example, without batch axes.
        latent: size of the code.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a hidden value; may be traced.
        kernel_init: initialization of every kernel.

    Returns:
        The model and its halves. `apply` requires `key` while `train` is true.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; the key is missing while training; or, in `init`,
            the example shape is another one.

    Reference:
        Kingma and Welling, "Auto-encoding variational Bayes", 2013, https://arxiv.org/abs/1312.6114.

    Example:
        >>> model = vae((8, 8), latent=2, hidden=(32,))
        >>> params, state = model.init(jax.random.key(0), (8, 8))
        >>> x = jnp.zeros((5, 8, 8))
        >>> outputs, state = model.apply(params, state, x, key=jax.random.key(1), train=True)
        >>> outputs.reconstruction.shape, outputs.mean.shape
        ((5, 8, 8), (5, 2))
        >>> _, _, found = layers.capture(model, params, state, x, paths=("encoder/hidden_0", "sampling"))
        >>> {path: output.shape for path, output in found.items()}
        {'encoder/hidden_0': (5, 32), 'sampling': (5, 2)}
    """
    encoder, decoder = _halves(
        "vae",
        example_shape,
        (2 * latent, latent),
        hidden,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
        kernel_init=kernel_init,
    )
    wired = layers.graph(_encode_sample_decode, encoder=encoder, sampling=_sampling(), decoder=decoder)
    layer = for_examples("vae", tuple(example_shape), wired)
    return Vae(layer.init, cast(VaeApply, layer.apply), encoder, decoder, layer)


def _encode_sample_decode(inside: Any, x: Array) -> VaeOutput:
    """How the parts of a variational autoencoder are wired."""
    moments = inside.encoder(x)
    mean, log_variance = jnp.split(moments, 2, axis=-1)
    return VaeOutput(inside.decoder(inside.sampling(moments)), mean, log_variance)


@layers.described
def _sampling() -> Layer:
    """A code of its mean and the logarithm of its variance: drawn while training, the mean otherwise."""

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del key, input_shape
        return {}, {}

    def apply(
        params: Params, state: State, x: Float[Array, "..."], *, key: Key | None = None, train: bool = False
    ) -> tuple[Float[Array, "..."], State]:
        del params
        mean, log_variance = jnp.split(x, 2, axis=-1)
        if not train:
            return mean, state
        key = checks.require_key("vae", key)
        # z = mean + exp(log_variance / 2) * e
        return mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape, mean.dtype), state

    return Layer(init, apply)


def _halves(
    where: str,
    example_shape: Shape,
    sizes: tuple[int, int],
    hidden: Sequence[int],
    *,
    activation: str | ArrayFunction,
    normalization: str | None,
    dropout: Scalar,
    kernel_init: Initializer,
) -> tuple[Layer, Layer]:
    """An encoder to sizes[0] numbers, and a decoder from sizes[1]."""
    checks.require_size(where, latent=sizes[1], **{f"hidden[{place}]": each for place, each in enumerate(hidden)})
    shape = tuple(example_shape)
    encoder, decoder = (
        mlp(widths, activation=activation, normalization=normalization, dropout=dropout, kernel_init=kernel_init)
        for widths in ((*hidden, sizes[0]), (*reversed(hidden), math.prod(shape)))
    )
    restored = layers.serial(decoder, lambda x: x.reshape(*x.shape[:-1], *shape), names=("mlp", "reshape"))
    return encoder, restored
