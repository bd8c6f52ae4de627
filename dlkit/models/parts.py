"""What models share: dense blocks and flattening."""

import math

import jax

from dlkit import layers
from dlkit.layers import Layer
from dlkit.layers.descriptions import on_lines
from dlkit.typing import Array, ArrayFunction, Initializer, Key, Params, Scalar, Shape, State

__all__ = ["dense_block", "feature_normalization", "flattened", "flattened_init", "for_examples", "networks_text"]


def dense_block(
    width: int,
    *,
    activation: str | ArrayFunction,
    normalization: str | None,
    dropout: Scalar,
    kernel_init: Initializer,
) -> Layer:
    """A hidden layer of a perceptron: dropout(activation(normalization(x W + b))).

    Every part keeps its position, and with it its subkey, whether the others are there or not.

    Args:
        width: its features.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows, or None.
        dropout: probability of dropping a value.
        kernel_init: of the kernel.

    Returns:
        A layer for inputs `[*batch, features]`.

    Example:
        >>> block = dense_block(
        ...     3, activation="relu", normalization="layer", dropout=0.1, kernel_init=layers.default_kernel_init
        ... )
        >>> sorted(block.init(jax.random.key(0), (2,))[0])
        ['dense', 'normalization']
    """
    return layers.serial(
        layers.dense(width, kernel_init=kernel_init),
        feature_normalization(normalization, width),
        layers.activation(activation),
        layers.dropout(dropout),
        names=("dense", "normalization", "activation", "dropout"),
    )


def feature_normalization(name: str | None, features: int) -> Layer:
    """Normalization of feature vectors, which have no positions: a group holds at least two features where it can.

    Args:
        name: that `layers.normalization` knows; None for none.
        features: how many.

    Returns:
        A layer for inputs `[*batch, features]`.

    Example:
        >>> import jax.numpy as jnp
        >>> y, _ = feature_normalization("group", 4).apply(
        ...     {"scale": jnp.ones(4), "bias": jnp.zeros(4)}, {}, jnp.array([1.0, 2.0, 5.0, 3.0])
        ... )
        >>> y.round().tolist()  # two groups
        [-1.0, 1.0, 1.0, -1.0]
    """
    groups = next(groups for groups in (8, 4, 2, 1) if features % groups == 0 and (groups < features or groups == 1))
    return layers.normalization(name, groups=groups)


def flattened_init(where: str, input_shape: Shape) -> Shape:
    """The shape of a flattened example; refuses one that `flattened` could not find at the end of a batch's shape.

    Args:
        where: the model that asks.
        input_shape: shape of one example.

    Returns:
        `(size,)`.

    Raises:
        ValueError: the shape is empty, has an axis of size 0, or begins with an axis of size 1.

    Example:
        >>> flattened_init("mlp", (8, 8, 1))
        (64,)
    """
    if math.prod(input_shape) < 1 or not input_shape:
        raise ValueError(
            f"{where}: expected an example shape with at least one axis and none of size 0, got {tuple(input_shape)}"
        )
    if len(input_shape) > 1 and input_shape[0] == 1:
        raise ValueError(
            f"{where}: expected an example shape that does not begin with an axis of size 1, got {tuple(input_shape)}; "
            f"drop the axis, or put it last: {(*input_shape[1:], 1)}"
        )
    return (math.prod(input_shape),)


def flattened(where: str, x: Array, size: int) -> Array:
    """Merge the trailing axes that hold one example, the fewest of them whose sizes multiply to `size`.

    Args:
        where: the model that asks.
        x: `[*batch, *input_shape]`.
        size: of one example.

    Returns:
        `[*batch, size]`.

    Raises:
        ValueError: no number of trailing axes has this size.

    Example:
        >>> import jax.numpy as jnp
        >>> flattened("mlp", jnp.zeros((5, 8, 8)), 64).shape
        (5, 64)
    """
    for axes in range(1, x.ndim + 1):
        if math.prod(x.shape[-axes:]) == size:
            return x.reshape(*x.shape[:-axes], size)
    raise ValueError(f"{where}: expected examples of {size} values as the last axes, got {jax.typeof(x)}")


@layers.described
def for_examples(where: str, example_shape: Shape, layer: Layer) -> Layer:
    """A layer that was built for examples of one shape, and refuses others at `init`. What is inside is the same.

    Args:
        where: the model that asks.
        example_shape: shape of one example.
        layer: the layer.

    Returns:
        The layer with the check.

    Example:
        >>> for_examples("vae", (2,), layers.dense(1)).init(jax.random.key(0), (3,))
        Traceback (most recent call last):
            ...
        ValueError: vae: expected examples of shape (2,), got (3,)
    """

    def init(key: Key, input_shape: Shape) -> tuple[Params, State]:
        if tuple(input_shape) != example_shape:
            raise ValueError(f"{where}: expected examples of shape {example_shape}, got {tuple(input_shape)}")
        return layer.init(key, input_shape)

    again = layer.about.rebuild
    rebuild = again and (lambda others: for_examples(where, example_shape, again(others)))
    about = layer.about._replace(made=None, rebuild=rebuild, token=None)
    return Layer(init, layer.apply, layer.ragged, about)


def networks_text(name: str, **networks: Layer) -> str:
    """The text of a model of several networks: a tree.

    Args:
        name: of the kind of model.
        **networks: by their names.

    Returns:
        The text.

    Example:
        >>> print(networks_text("Gan", generator=layers.dense(2), discriminator=layers.dense(1)))
        Gan(
            generator=dense(2),
            discriminator=dense(1),
        )
    """
    return on_lines(name, [f"{each}={layer!r}" for each, layer in networks.items()])
