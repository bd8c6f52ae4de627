"""Residual networks for large images, as they were published, and for small ones."""

import math
from collections.abc import Sequence

import jax

from dlkit import checks, layers
from dlkit.layers import Layer
from dlkit.typing import ArrayFunction, Initializer

__all__ = ["resnet18", "resnet50"]

_he_normal: Initializer = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
STEMS = ("imagenet", "cifar")


def resnet18(
    *,
    outputs: int,
    stem: str = "imagenet",
    features: int = 64,
    activation: str | ArrayFunction = "relu",
    normalization: str | None = "batch",
    kernel_init: Initializer = _he_normal,
) -> Layer:
    """ResNet-18: four stages of two basic blocks, 3x3 and 3x3, with 64, 128, 256 and 512 channels.

    The stem is a 7x7 convolution with stride 2 and a 3x3 max-pool with stride 2 (`"imagenet"`), or a 3x3 convolution
    (`"cifar"`, for images of 32x32). A stage but the first halves height and width in its first block. Padding is
    symmetric, as in torchvision, whose weights `models.from_torch` takes with `models.torch_names(model)`.

    Args:
        outputs: number of outputs, e.g. classes.
        stem: "imagenet" or "cifar".
        features: channels of the first stage.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows; None for none, and the convolutions get a bias.
        kernel_init: initialization of the convolutions; He normal by their outputs. That of the output is LeCun normal.

    Returns:
        A layer for examples `(height, width, channels)`; its outputs are `[*batch, outputs]`.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or the examples do not fit.

    Reference:
        He et al., "Deep residual learning for image recognition", 2015, https://arxiv.org/abs/1512.03385, table 1.

    Example:
        >>> model = resnet18(outputs=10, stem="cifar", features=4)
        >>> params, _ = jax.eval_shape(lambda key: model.init(key, (32, 32, 3)), jax.random.key(0))
        >>> params["output"]["kernel"].shape
        (32, 10)
    """
    return _network(
        "resnet18",
        (2, 2, 2, 2),
        outputs,
        stem,
        features,
        _Convolutions(activation, normalization, kernel_init),
        is_bottleneck=False,
    )


def resnet50(
    *,
    outputs: int,
    stem: str = "imagenet",
    features: int = 64,
    activation: str | ArrayFunction = "relu",
    normalization: str | None = "batch",
    kernel_init: Initializer = _he_normal,
) -> Layer:
    """ResNet-50: stages of 3, 4, 6 and 3 bottleneck blocks, 1x1, 3x3 and 1x1, with 256 to 2,048 channels.

    The stride is that of the 3x3 convolution, as in torchvision (in the paper, of the first one). All else is as in
    `resnet18`.

    Args:
        outputs: number of outputs, e.g. classes.
        stem: "imagenet" or "cifar".
        features: channels inside the blocks of the first stage; their outputs have four times as many.
        activation: a name that `layers.activation` knows, or a function.
        normalization: a name that `layers.normalization` knows; None for none, and the convolutions get a bias.
        kernel_init: initialization of the convolutions; He normal by their outputs. That of the output is LeCun normal.

    Returns:
        A layer for examples `(height, width, channels)`; its outputs are `[*batch, outputs]`.

    Raises:
        ValueError: a size is no positive integer; a name is unknown; or the examples do not fit.

    Reference:
        He et al., "Deep residual learning for image recognition", 2015, https://arxiv.org/abs/1512.03385, table 1.

    Example:
        >>> model = resnet50(outputs=10, stem="cifar", features=4)
        >>> params, _ = jax.eval_shape(lambda key: model.init(key, (32, 32, 3)), jax.random.key(0))
        >>> params["output"]["kernel"].shape
        (128, 10)
    """
    return _network(
        "resnet50",
        (3, 4, 6, 3),
        outputs,
        stem,
        features,
        _Convolutions(activation, normalization, kernel_init),
        is_bottleneck=True,
    )


class _Convolutions:
    """Convolutions with normalization, and the activations between them."""

    def __init__(self, activation: str | ArrayFunction, normalization: str | None, kernel_init: Initializer) -> None:
        self.activation, self.normalization, self.kernel_init = activation, normalization, kernel_init

    def conv(self, channels: int, size: int, stride: int = 1) -> Layer:
        """One, with symmetric padding."""
        norm = layers.normalization(self.normalization, dimensions=2, groups=math.gcd(8, channels))
        if self.normalization == "batch":
            norm = layers.batch_norm(momentum=0.9)
        return layers.serial(
            layers.conv(
                channels,
                (size, size),
                strides=stride,
                padding=((size // 2, size // 2),) * 2,
                use_bias=self.normalization in (None, "none"),
                kernel_init=self.kernel_init,
            ),
            norm,
            names=("conv", "normalization"),
        )

    def block(self, channels: int, stride: int, *, is_bottleneck: bool, changes: bool) -> Layer:
        """A residual block of so many channels inside."""
        act = layers.activation(self.activation)
        if is_bottleneck:
            parts = {
                "first": self.conv(channels, 1),
                "first_activation": act,
                "second": self.conv(channels, 3, stride),
                "second_activation": act,
                "third": self.conv(4 * channels, 1),
            }
        else:
            parts = {
                "first": self.conv(channels, 3, stride),
                "first_activation": act,
                "second": self.conv(channels, 3),
            }
        shortcut = self.conv(4 * channels if is_bottleneck else channels, 1, stride) if changes else None
        return layers.serial(
            residual=layers.residual(layers.serial(*parts.values(), names=tuple(parts)), shortcut=shortcut),
            activation=act,
        )


def _network(
    where: str,
    blocks: Sequence[int],
    outputs: int,
    stem: str,
    features: int,
    convolutions: _Convolutions,
    *,
    is_bottleneck: bool,
) -> Layer:
    """Stem, stages, the mean over the image, a linear output."""
    checks.require_size(where, outputs=outputs, features=features)
    if stem not in STEMS:
        raise ValueError(f"{where}: expected a stem among {', '.join(STEMS)}, got {stem!r}")
    large = stem == "imagenet"
    begin: dict[str, Layer] = {
        "first": convolutions.conv(features, 7 if large else 3, 2 if large else 1),
        "activation": layers.activation(convolutions.activation),
    }
    if large:
        begin["pool"] = layers.max_pool((3, 3), strides=2, padding=((1, 1), (1, 1)))
    chain: dict[str, Layer] = {"stem": layers.serial(*begin.values(), names=tuple(begin))}
    for stage, count in enumerate(blocks):
        for place in range(count):
            is_first = place == 0
            chain[f"stage_{stage}_block_{place}"] = convolutions.block(
                features * 2**stage,
                2 if stage and is_first else 1,
                is_bottleneck=is_bottleneck,
                changes=is_first and (stage > 0 or is_bottleneck),
            )
    chain |= {"pool": layers.global_average_pool(2), "output": layers.dense(outputs)}
    return layers.serial(*chain.values(), names=tuple(chain))
