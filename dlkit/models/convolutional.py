"""Convolutional networks for images and series: plain (`cnn`) and residual (`resnet`)."""

import math
from collections.abc import Sequence

import jax

from dlkit import checks, layers
from dlkit.layers import Layer
from dlkit.models.parts import dense_block
from dlkit.typing import ArrayFunction, Initializer, Scalar

__all__ = ["cnn", "resnet"]

_he_normal: Initializer = jax.nn.initializers.he_normal()


def cnn(
    stages: Sequence[Sequence[int]] = ((16, 32),),
    *,
    outputs: int,
    hidden: Sequence[int] = (64,),
    kernel_size: Sequence[int] = (3, 3),
    activation: str | ArrayFunction = "relu",
    normalization: str | None = None,
    dropout: Scalar = 0.0,
    kernel_init: Initializer = layers.default_kernel_init,
) -> Layer:
    """Convolutional network: stages of convolutions, each stage ended by a max-pool that halves every spatial axis.

    A convolution is followed by normalization and activation; the flattened feature maps go through the dense hidden
    layers, with dropout, to a linear output. Parameters: `{"stage_0": {"conv_0": {"conv": {"kernel", "bias"}}, ...},
    ..., "hidden_0": {"dense": ...}, "output": {"kernel", "bias"}}`.

    Args:
        stages: per stage the channels of its convolutions: `((16, 32),)` is 16, 32, pool; `((16,), (32,))` is 16,
            pool, 32, pool.
        outputs: number of outputs, e.g. classes.
        hidden: widths of the dense hidden layers.
        kernel_size: of every convolution; its length is the number of spatial axes (1, 2 or 3).
        activation: a name that `layers.activation` knows, or a function.
        normalization: of the convolutions: a name that `layers.normalization` knows; None for none.
        dropout: probability of dropping a dense hidden value; may be traced.
        kernel_init: initialization of every kernel; LeCun normal, as in flax.

    Returns:
        A layer for examples `(*spatial, channels)`; its outputs are `[*batch, outputs]`.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or the examples do not fit.

    Reference:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Example:
        >>> import jax.numpy as jnp
        >>> model = cnn(((16, 32),), outputs=10)
        >>> params, state = model.init(jax.random.key(0), (8, 8, 1))
        >>> params["hidden_0"]["dense"]["kernel"].shape
        (512, 64)
        >>> model.apply(params, state, jnp.zeros((5, 8, 8, 1)))[0].shape
        (5, 10)
    """
    checks.require_size("cnn", outputs=outputs)
    if not stages or not all(stages):
        raise ValueError(f"cnn: expected stages to list the channels of at least one convolution each, got {stages!r}")
    dimensions = len(kernel_size)

    def convolution(channels: int) -> Layer:
        return layers.serial(
            layers.conv(channels, kernel_size, kernel_init=kernel_init),
            layers.normalization(normalization, dimensions=dimensions, groups=math.gcd(8, channels)),
            layers.activation(activation),
            names=("conv", "normalization", "activation"),
        )

    def stage(channels: Sequence[int]) -> Layer:
        return layers.serial(
            *map(convolution, channels),
            layers.max_pool((2,) * dimensions),
            names=(*(f"conv_{place}" for place in range(len(channels))), "pool"),
        )

    head = [
        dense_block(width, activation=activation, normalization=None, dropout=dropout, kernel_init=kernel_init)
        for width in hidden
    ]
    return layers.serial(
        *map(stage, stages),
        layers.flatten(dimensions + 1),
        *head,
        layers.dense(outputs, kernel_init=kernel_init),
        names=(
            *(f"stage_{place}" for place in range(len(stages))),
            "flatten",
            *(f"hidden_{place}" for place in range(len(hidden))),
            "output",
        ),
    )


def resnet(
    blocks: Sequence[int] = (2, 2, 2),
    *,
    outputs: int,
    features: int = 16,
    activation: str | ArrayFunction = "relu",
    normalization: str | None = "batch",
    dropout: Scalar = 0.0,
    kernel_init: Initializer = _he_normal,
) -> Layer:
    """Residual network of basic blocks for small images (the paper's form for CIFAR-10).

    A 3x3 convolution, then stages of blocks with `features`, 2 `features`, 4 `features`, ... channels; each stage but
    the first halves height and width; then the mean over the image and a linear output. A block is activation(s(x) +
    f(x)) with f = conv, normalization, activation, dropout, conv, normalization, and s the identity, or a strided 1x1
    convolution and normalization where the shape changes. `blocks=(3, 3, 3)` is ResNet-20.

    Args:
        blocks: number of basic blocks per stage.
        outputs: number of outputs, e.g. classes.
        features: channels of the first stage.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows; None for none, and the convolutions get a bias.
        dropout: probability of dropping a value between the two convolutions of a block; may be traced.
        kernel_init: initialization of the convolutions; He normal. The output's is LeCun normal.

    Returns:
        A layer for examples `(height, width, channels)`; its outputs are `[*batch, outputs]`.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or the examples do not fit.

    Reference:
        He et al., "Deep residual learning for image recognition", 2015, https://arxiv.org/abs/1512.03385, section 4.2.

    Example:
        >>> import jax.numpy as jnp
        >>> model = resnet((1, 1), outputs=10, features=4)
        >>> params, state = model.init(jax.random.key(0), (8, 8, 1))
        >>> model.apply(params, state, jnp.zeros((5, 8, 8, 1)))[0].shape
        (5, 10)
    """
    checks.require_size("resnet", outputs=outputs, features=features)
    if not blocks:
        raise ValueError("resnet: expected blocks to list the number of blocks of at least one stage, got none")
    checks.require_size("resnet", **{f"blocks[{place}]": count for place, count in enumerate(blocks)})

    def convolution(channels: int, kernel_size: int, stride: int = 1) -> Layer:
        return layers.serial(
            layers.conv(
                channels,
                (kernel_size, kernel_size),
                strides=(stride, stride),
                use_bias=normalization in (None, "none"),  # a normalization takes it away or brings its own
                kernel_init=kernel_init,
            ),
            layers.normalization(normalization, dimensions=2, groups=math.gcd(8, channels)),
            names=("conv", "normalization"),
        )

    def block(channels: int, stride: int, *, same: bool) -> Layer:
        branch = layers.serial(
            convolution(channels, 3, stride),
            layers.activation(activation),
            layers.dropout(dropout),
            convolution(channels, 3),
            names=("first", "activation", "dropout", "second"),
        )
        shortcut = None if same else convolution(channels, 1, stride)
        return layers.serial(
            layers.residual(branch, shortcut=shortcut), layers.activation(activation), names=("residual", "activation")
        )

    chain = [layers.serial(convolution(features, 3), layers.activation(activation), names=("first", "activation"))]
    names = ["stem"]
    for stage, count in enumerate(blocks):
        for place in range(count):
            first = stage > 0 and place == 0
            chain.append(block(features * 2**stage, 2 if first else 1, same=not first))
            names.append(f"stage_{stage}_block_{place}")
    return layers.serial(*chain, layers.global_average_pool(2), layers.dense(outputs), names=(*names, "pool", "output"))
