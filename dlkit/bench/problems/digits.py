"""Networks on scikit-learn's digits, images of 8x8 pixels: perceptrons, convolutions, attention."""

from dlkit import layers, models
from dlkit.bench import data
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.evaluation import in_chunks
from dlkit.bench.problems.sections import Objective
from dlkit.bench.problems.supervised import classification
from dlkit.layers import Layer
from dlkit.typing import Array, Scalar

__all__ = [
    "digits_cnn",
    "digits_cnn_batch_norm",
    "digits_deep_mlp",
    "digits_mlp",
    "digits_resnet",
    "digits_transformer",
]

AS_IMAGE = ((64,), (8, 8, 1))


def digits_mlp(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 2,
) -> Problem:
    """Makes the classification of 8x8 digits by a network 64-64-64-10, batches of 64.

    Margin: 0.8 in accuracy above the most frequent class.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of a hidden layer.
        depth: how many hidden layers.

    Returns:
        The problem.
    """
    return _digits(
        "digits-mlp",
        models.mlp((width,) * depth + (10,), activation=activation, normalization=norm, dropout=dropout),
        Objective(loss, label_smoothing, l1, l2),
        steps=600,
        target=0.95,
        description=f"MLP 64{f'-{width}' * depth}-10 on scikit-learn's digits, batch 64",
        stresses="nothing: the plain case",
    )


def digits_deep_mlp(
    *,
    activation: str = "tanh",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 12,
) -> Problem:
    """Makes the classification of 8x8 digits by a deep and narrow tanh network, without shortcuts, batches of 64.

    Margin: 0.7 in accuracy above the most frequent class.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        dropout: rate of the hidden layers; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of a hidden layer.
        depth: how many hidden layers.

    Returns:
        The problem.

    Reference:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    return _digits(
        "digits-deep-mlp",
        models.mlp((width,) * depth + (10,), activation=activation, normalization=norm, dropout=dropout),
        Objective(loss, label_smoothing, l1, l2),
        steps=800,
        target=0.94,
        description=f"{activation} MLP of {depth} x {width} on scikit-learn's digits, batch 64",
        stresses="vanishing gradients: depth without shortcuts",
        margin=0.7,
    )


def digits_cnn(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 16,
) -> Problem:
    """Makes the classification of 8x8 digits by two convolutions, a max-pool and a hidden layer of 64.

    Margin: 0.8 in accuracy above the most frequent class.

    Args:
        activation: of convolutions and hidden layer.
        norm: normalization of the convolutions.
        dropout: rate of the hidden layer; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: channels of the first convolution; the second has twice as many.

    Returns:
        The problem.
    """
    return _digits(
        "digits-cnn",
        _cnn(width, activation, norm, dropout),
        Objective(loss, label_smoothing, l1, l2),
        steps=400,
        target=0.98,
        description=f"CNN of {width} and {2 * width} channels on scikit-learn's digits, batch 64",
        stresses="weight sharing",
    )


def digits_cnn_batch_norm(
    *,
    activation: str = "relu",
    norm: str = "batch",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 16,
) -> Problem:
    """Makes the classification of 8x8 digits by the network of `digits_cnn` with batch normalization.

    Margin: 0.8 in accuracy above the most frequent class.

    Args:
        activation: of convolutions and hidden layer.
        norm: normalization of the convolutions.
        dropout: rate of the hidden layer; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: channels of the first convolution; the second has twice as many.

    Returns:
        The problem.
    """
    return _digits(
        "digits-cnn-batch-norm",
        _cnn(width, activation, norm, dropout),
        Objective(loss, label_smoothing, l1, l2),
        steps=400,
        target=0.98,
        description=f"CNN of {width} and {2 * width} channels, normalized, on scikit-learn's digits, batch 64",
        stresses="batch statistics: scale invariance, noise, averages that lag behind",
    )


def digits_resnet(
    *,
    activation: str = "relu",
    norm: str = "batch",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 8,
    depth: int = 1,
) -> Problem:
    """Makes the classification of 8x8 digits by a residual network of two stages.

    Margin: 0.75 in accuracy above the most frequent class.

    Args:
        activation: of the convolutions.
        norm: normalization of the convolutions.
        dropout: rate within a block; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: channels of the first stage; the second has twice as many.
        depth: blocks of a stage.

    Returns:
        The problem.
    """
    network = models.resnet(
        (depth, depth), outputs=10, features=width, activation=activation, normalization=norm, dropout=dropout
    )
    return _digits(
        "digits-resnet",
        layers.serial(layers.reshape(*AS_IMAGE), network, names=("image", "network")),
        Objective(loss, label_smoothing, l1, l2),
        steps=400,
        target=0.97,
        description=f"residual network, 2 stages of {depth} blocks, {width} channels, on digits, batch 64",
        stresses="shortcuts and batch statistics together",
        margin=0.75,
    )


def digits_transformer(
    *,
    activation: str = "gelu",
    norm: str = "layer",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 2,
) -> Problem:
    """Makes the classification of 8x8 digits by a transformer that reads sixteen patches of 2x2.

    Margin: 0.7 in accuracy above the most frequent class.

    Args:
        activation: of the blocks.
        norm: normalization of the blocks.
        dropout: rate; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: features of a patch, a multiple of 4, the number of heads.
        depth: blocks.

    Returns:
        The problem.

    Reference:
        Dosovitskiy et al., "An image is worth 16x16 words", 2020, https://arxiv.org/abs/2010.11929.
    """
    network = models.transformer_classifier(
        outputs=10, features=width, depth=depth, activation=activation, normalization=norm, dropout=dropout
    )
    return _digits(
        "digits-transformer",
        layers.serial(_patches, network, names=("patches", "network")),
        Objective(loss, label_smoothing, l1, l2),
        steps=600,
        target=0.94,
        description=f"transformer of {depth} blocks, {width} features, on patches of digits, batch 64",
        stresses="attention: parameters of very different curvature",
        margin=0.7,
    )


def _cnn(width: int, activation: str, norm: str, dropout: Scalar) -> Layer:
    network = models.cnn(((width, 2 * width),), outputs=10, activation=activation, normalization=norm, dropout=dropout)
    return layers.serial(layers.reshape(*AS_IMAGE), network, names=("image", "network"))


def _patches(x: Array) -> Array:
    """[*batch, 64] pixels as [*batch, 16, 4]: the squares of 2x2, row by row."""
    squares = x.reshape(*x.shape[:-1], 4, 2, 4, 2)
    return squares.swapaxes(-3, -2).reshape(*x.shape[:-1], 16, 4)


def _digits(
    name: str,
    model: Layer,
    objective: Objective,
    *,
    steps: int,
    target: float,
    description: str,
    stresses: str,
    margin: float = 0.8,
) -> Problem:
    problem = classification(
        name,
        model,
        data.digits(),
        batch_size=64,
        steps=steps,
        target=target,
        description=description,
        stresses=stresses,
        margin=margin,
        **objective._asdict(),
    )
    return in_chunks(problem)
