"""Continuous functions to fit without noise: a teacher network, a picture."""

import jax.numpy as jnp

from dlkit import layers, models
from dlkit.bench import data
from dlkit.bench.problems.base import Problem
from dlkit.bench.problems.supervised import regression
from dlkit.layers import Layer
from dlkit.typing import Array, Scalar

__all__ = ["coordinate_network", "teacher_student"]


def teacher_student(
    *,
    activation: str = "tanh",
    norm: str = "none",
    loss: str = "squared_error",
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 32,
    depth: int = 1,
    teacher_units: int = 8,
) -> Problem:
    """Makes the regression of a random tanh network's outputs by a wider network.

    Margin: 10 times below always predicting the mean.

    Args:
        activation: of the student.
        norm: normalization of its hidden layers.
        loss: what is minimised, a name of `REGRESSION_LOSSES`.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of the student's hidden layers.
        depth: how many it has.
        teacher_units: hidden units of the teacher.

    Returns:
        The problem.

    Reference:
        Saad and Solla, "On-line learning in soft committee machines", 1995.
    """
    return regression(
        "teacher-student",
        models.mlp((width,) * depth + (1,), activation=activation, normalization=norm),
        data.teacher(units=teacher_units),
        batch_size=64,
        steps=1000,
        target=3e-4,
        description=f"{activation} student of {depth} x {width} of a teacher of {teacher_units} units, batch 64",
        stresses="symmetric units: a plateau before they specialize",
        scale="log",
        margin=10.0,
        loss=loss,
        l1=l1,
        l2=l2,
    )


def coordinate_network(
    *,
    activation: str = "relu",
    norm: str = "none",
    loss: str = "squared_error",
    l1: Scalar = 0.0,
    l2: Scalar = 0.0,
    width: int = 64,
    depth: int = 3,
    frequencies: int = 4,
) -> Problem:
    """Makes the fit of a picture as a function of the place, judged on pixels that were left out.

    Places enter as sines and cosines of pi 2^k x and pi 2^k y for k < `frequencies`; without them networks learn fine
    detail very slowly.

    Margin: 2 times below the mean brightness.

    Args:
        activation: of the hidden layers.
        norm: normalization of the hidden layers.
        loss: what is minimised, a name of `REGRESSION_LOSSES`.
        l1: strength of the penalty sum |w|; may be traced.
        l2: strength of the penalty sum w^2; may be traced.
        width: of a hidden layer.
        depth: how many hidden layers.
        frequencies: octaves of the encoding; 0 for the plain place.

    Returns:
        The problem.

    Reference:
        Tancik et al., "Fourier features let networks learn high frequency functions in low dimensional domains", 2020,
        https://arxiv.org/abs/2006.10739.
    """
    network = models.mlp((width,) * depth + (1,), activation=activation, normalization=norm)
    return regression(
        "coordinate-network",
        layers.serial(_encoding(frequencies), network, names=("encoding", "network")),
        data.picture(),
        batch_size=64,
        steps=1000,
        target=0.02,
        description=f"picture as a function: MLP of {depth} x {width}, {frequencies} octaves, batch 64",
        stresses="fine detail: spectral bias",
        scale="log",
        margin=2.0,
        loss=loss,
        l1=l1,
        l2=l2,
    )


def _encoding(frequencies: int) -> Layer:
    """Places [..., 2] as [..., 2 + 4 frequencies]: themselves, then their sines and cosines, octave by octave."""

    def encode(x: Array) -> Array:
        angles = [jnp.pi * 2**octave * x for octave in range(frequencies)]
        return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)

    return layers.lambda_(encode)
