"""The multilayer perceptron."""

from collections.abc import Sequence

from jaxtyping import Float

from dlkit import layers
from dlkit.layers import About, Layer, Part
from dlkit.models.parts import dense_block, flattened, flattened_init
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["mlp"]


@layers.described
def mlp(
    features: Sequence[int],
    *,
    activation: str | ArrayFunction = "relu",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
    kernel_init: Initializer = layers.default_kernel_init,
) -> Layer:
    """Multilayer perceptron: h <- dropout(activation(normalization(h W + b))) per hidden layer, then a linear output.

    Parameters: `{"hidden_0": {"dense": {"kernel", "bias"}}, "hidden_1": ..., "output": {"dense": {"kernel", "bias"}}}`.
    Neither their names nor their initial values depend on the activation and the dropout rate, so models that differ in
    these start from the same bits; a normalization adds `"normalization"` beside `"dense"` and changes no other bit.

    Args:
        features: widths of the hidden layers, then the number of outputs; a single entry is a linear model.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows, such as "batch" or "layer"; None for none.
        dropout: probability of dropping a hidden value; may be traced.
        kernel_init: initialization of every kernel; LeCun normal, as in flax. Biases start at zero.

    Returns:
        A layer for examples of any shape with at least one axis, which are flattened; its outputs are
        `[*batch, features[-1]]`.

    Raises:
        ValueError: features is empty; the activation or normalization is unknown; or the examples are of another size
            than in `init`. In `init`: the example shape has no axis, or begins with an axis of size 1, which `apply`
            could not tell from a batch axis.

    Reference:
        Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323, 1986.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> model = mlp((32, 10), activation="silu", normalization="layer")
        >>> params, state = model.init(jax.random.key(0), (8, 8, 1))
        >>> params["hidden_0"]["dense"]["kernel"].shape
        (64, 32)
        >>> logits, state = model.apply(params, state, jnp.zeros((5, 8, 8, 1)))
        >>> logits.shape
        (5, 10)
    """
    if not features:
        raise ValueError("mlp: expected features to list at least the number of outputs, got none")
    hidden = [
        dense_block(width, activation=activation, normalization=normalization, dropout=dropout, kernel_init=kernel_init)
        for width in features[:-1]
    ]
    output = layers.serial(layers.dense(features[-1], kernel_init=kernel_init), names=("dense",))
    names = (*(f"hidden_{position}" for position in range(len(hidden))), "output")
    chain = layers.serial(*hidden, output, names=names)

    return _of_flattened(chain, names[0])


def _of_flattened(chain: Layer, first: str) -> Layer:
    """The chain, of examples of any shape."""

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        return chain.init(key, flattened_init("mlp", input_shape))

    def apply(
        params: Params, state: State, x: Float[Array, "..."], *, key: Key | None = None, train: bool = False
    ) -> tuple[Float[Array, "*batch outputs"], State]:
        size = params[first]["dense"]["kernel"].shape[0]
        return chain.apply(params, state, flattened("mlp", x, size), key=key, train=train)

    about = About(parts=(Part("", chain),), rebuild=lambda layers: _of_flattened(layers[0], first))
    return Layer(init, apply, about=about)
