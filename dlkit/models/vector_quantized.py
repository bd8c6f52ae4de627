"""Autoencoders whose code is a grid of entries of a book."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dlkit import checks, layers
from dlkit.layers import InitFunction, Layer
from dlkit.layers.embed import rows_sharding
from dlkit.layers.products import matmul
from dlkit.models.parts import for_examples, networks_text
from dlkit.typing import Array, ArrayFunction, Key, Params, Shape, State

__all__ = ["Quantized", "VqVae", "VqVaeApply", "VqVaeOutput", "quantize", "vq_vae"]


class Quantized(NamedTuple):
    """Vectors, each in the place of the nearest entry of a codebook.

    Attributes:
        vectors: the entries, `[*batch, features]`; their gradient goes on to what they replace (straight through).
        codes: which entries, integers `[*batch]`.
        penalty: of each vector, `[*batch]`: the squared distance to its entry, once with a gradient for the entry alone
            and, times the commitment, once for the vector alone.
    """

    vectors: Array
    codes: Array
    penalty: Array


class VqVaeOutput(NamedTuple):
    """What a vector-quantized autoencoder makes of a batch.

    Attributes:
        reconstruction: `[*batch, *example_shape]`, unbounded.
        codes: the entries of the codebook, `[*batch, rows, columns]`.
        penalty: of each example, the mean over its codes, `[*batch]`: to be added to the loss.
    """

    reconstruction: Array
    codes: Array
    penalty: Array


class VqVaeApply(Protocol):
    """`apply(params, state, x, *, key=None, train=False) -> (VqVaeOutput, state)`."""

    def __call__(
        self, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool = False
    ) -> tuple[VqVaeOutput, State]:
        """Encode, quantize and decode a batch of examples."""
        ...


class VqVae(NamedTuple):
    """A vector-quantized autoencoder and its two halves.

    Attributes:
        init: `init(key, example_shape) -> (params, state)`; the parameters are `{"encoder", "codebook", "decoder"}`.
        apply: `apply(params, state, x, *, key=None, train=False) -> (VqVaeOutput, state)`.
        encoder: maps examples to vectors `[*batch, rows, columns, latent]`.
        decoder: maps entries of the codebook, `params["codebook"][codes]`, to examples.
        layer: `init` and `apply` as one layer; inside are "encoder", "codebook", whose outputs are `Quantized`, and
            "decoder".
    """

    init: InitFunction
    apply: VqVaeApply
    encoder: Layer
    decoder: Layer
    layer: Layer

    def __repr__(self) -> str:
        """Both halves and the codebook between them, as a tree."""
        inside = self.layer.sublayers
        return networks_text("VqVae", **{name: inside[name] for name in ("encoder", "codebook", "decoder")})


def quantize(
    x: Float[Array, "*batch features"], codebook: Float[Array, "..."], *, commitment: float = 0.25
) -> Quantized:
    """Put the nearest entry of a codebook in the place of each vector.

    Args:
        x: vectors.
        codebook: its entries.
        commitment: weight of the term that draws the vectors to their entries; at least 0.

    Returns:
        Entries, their places in the codebook, and the penalty.

    Raises:
        ValueError: the entries have other features than the vectors; commitment is negative.
        TypeError: an argument is not floating point.

    Reference:
        van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", 2017,
        https://arxiv.org/abs/1711.00937, equation 3.

    Example:
        >>> found = quantize(jnp.array([[0.9, 0.0], [0.0, 2.0]]), jnp.eye(2))
        >>> found.codes.tolist(), found.vectors.tolist(), found.penalty.round(4).tolist()[1]
        ([0, 1], [[1.0, 0.0], [0.0, 1.0]], 1.25)
    """
    checks.require_floating("quantize", x=x, codebook=codebook)
    checks.require_number("quantize", "commitment", commitment, at_least=0)
    if codebook.ndim != 2 or x.shape[-1:] != codebook.shape[1:]:
        raise ValueError(
            "quantize: expected x [*batch, features] and a codebook [entries, features], got "
            f"{jax.typeof(x)} and {jax.typeof(codebook)}"
        )
    # argmin_k |x - e_k|^2, without |x|^2, which all have in common
    norms = jnp.square(codebook).sum(-1)
    codes = jnp.argmin(norms.reshape((1,) * (x.ndim - 1) + (-1,)) - 2 * matmul(x, codebook.T), axis=-1)
    entries = codebook.at[codes].get(out_sharding=rows_sharding(codes))
    towards = jnp.square(jax.lax.stop_gradient(x) - entries).sum(-1)
    committed = jnp.square(x - jax.lax.stop_gradient(entries)).sum(-1)
    return Quantized(x + jax.lax.stop_gradient(entries - x), codes, towards + commitment * committed)


def vq_vae(
    example_shape: Shape,
    *,
    entries: int = 512,
    latent: int = 64,
    features: Sequence[int] = (64, 128),
    activation: str | ArrayFunction = "relu",
    commitment: float = 0.25,
) -> VqVae:
    """Vector-quantized autoencoder of images: strided convolutions, a codebook, and the way back.

    The encoder halves height and width once for each entry of `features`, by 4x4 convolutions, and makes a vector for
    each position that is left; the nearest entry of the codebook takes its place; the decoder is the mirror image.
    Minimise a reconstruction loss, `losses.squared_error(out.reconstruction, x).mean((1, 2, 3))`, plus `out.penalty`.

    Args:
        example_shape: `(height, width, channels)` of one example.
        entries: of the codebook.
        latent: features of a vector and of an entry.
        features: channels of the encoder's convolutions; the decoder has them in reverse.
        activation: a name that `layers.activation` knows, or a function.
        commitment: weight of the term that draws the vectors to their entries.

    Returns:
        The model and its halves. The codebook begins uniform in [-1 / entries, 1 / entries].

    Raises:
        ValueError: a size is no positive integer; height or width is not divisible as often as they are halved; a name
            is unknown; or, in `init`, the example shape is another one.

    Reference:
        van den Oord, Vinyals and Kavukcuoglu, 2017, https://arxiv.org/abs/1711.00937.

    Example:
        >>> model = vq_vae((8, 8, 1), entries=16, latent=4, features=(8,))
        >>> params, state = model.init(jax.random.key(0), (8, 8, 1))
        >>> out, state = model.apply(params, state, jnp.zeros((5, 8, 8, 1)))
        >>> out.reconstruction.shape, out.codes.shape, out.penalty.shape
        ((5, 8, 8, 1), (5, 4, 4), (5,))
        >>> _, _, found = layers.capture(model, params, state, jnp.zeros((5, 8, 8, 1)), paths="codebook")
        >>> found["codebook"].vectors.shape
        (5, 4, 4, 4)
    """
    shape = tuple(example_shape)
    sizes = {f"features[{place}]": each for place, each in enumerate(features)}
    checks.require_size("vq_vae", entries=entries, latent=latent, **sizes)
    halvings = 2 ** len(features)
    if len(shape) != 3 or shape[0] % halvings or shape[1] % halvings:
        raise ValueError(
            f"vq_vae: expected examples (height, width, channels), the first two divisible by {halvings}, got {shape}"
        )
    act = layers.activation(activation)
    down = {f"down_{place}": _strided(layers.conv, each, act) for place, each in enumerate(features)}
    encoder = layers.serial(*down.values(), layers.conv(latent, (1, 1)), names=(*down, "output"))
    up = {f"up_{place}": _strided(layers.conv_transpose, each, act) for place, each in enumerate(reversed(features))}
    decoder = layers.serial(*up.values(), layers.conv(shape[-1], (3, 3)), names=(*up, "output"))

    wired = layers.graph(
        _encode_quantize_decode, encoder=encoder, codebook=_codebook(entries, latent, commitment), decoder=decoder
    )
    layer = for_examples("vq_vae", shape, wired)
    return VqVae(layer.init, cast(VqVaeApply, layer.apply), encoder, decoder, layer)


def _encode_quantize_decode(inside: Any, x: Array) -> VqVaeOutput:
    """How the parts of a vector-quantized autoencoder are wired."""
    found = inside.codebook(inside.encoder(x))
    return VqVaeOutput(inside.decoder(found.vectors), found.codes, found.penalty.mean((-2, -1)))


@layers.described
def _codebook(entries: int, latent: int, commitment: float) -> Layer:
    """`quantize` as a layer, whose parameters are the codebook; it makes a `Quantized`."""

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        del input_shape
        return jax.random.uniform(key, (entries, latent), minval=-1 / entries, maxval=1 / entries), {}

    def apply(
        params: Params, state: State, x: Float[Array, "..."], *, key: Key | None = None, train: bool = False
    ) -> tuple[Any, State]:
        del key, train
        return quantize(x, params, commitment=commitment), state

    return Layer(init, apply)


def _strided(make: Callable[..., Layer], channels: int, act: Layer) -> Layer:
    """A convolution, or a transposed one, with stride 2."""
    return layers.serial(conv=make(channels, (4, 4), strides=2), activation=act)
