"""Synthetic data: memory tasks for sequences, a teacher network, a picture, Gaussians on a ring."""

from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.data.splits import split
from dlkit.bench.errors import UserError

__all__ = ["adding", "copy_memory", "picture", "ring", "ring_centres", "teacher"]

SYMBOLS = 8  # of the copy-memory task


def adding(*, length: int = 30, examples: int = 20_000) -> Dataset:
    """Returns the adding problem: the sum of the two marked numbers of a sequence.

    Numbers are uniform on [0, 1]; one is marked in each half. Always predicting 1 has the squared error 1/6.

    Args:
        length: of a sequence, at least 2.
        examples: in all; 80, 10 and 10 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, length, 2] float32, numbers and marks, and ``"targets"`` [examples] float32.

    Raises:
        UserError: for a length below 2.

    Reference:
        Hochreiter and Schmidhuber, "Long short-term memory", 1997, section 5.4.
    """
    if length < 2:
        raise UserError(f"dataset 'adding': length must be at least 2, for two marks, got {length}")
    rng = np.random.Generator(np.random.Philox(key=2))
    numbers = rng.random((examples, length), np.float32)
    places = np.stack([rng.integers(0, length // 2, examples), rng.integers(length // 2, length, examples)], axis=1)
    marks = np.zeros((examples, length), np.float32)
    np.put_along_axis(marks, places, 1.0, axis=1)
    arrays = {"inputs": np.stack([numbers, marks], axis=-1), "targets": (numbers * marks).sum(axis=1)}
    return split(f"adding-{length}", arrays, validation=0.1, test=0.1, source="synthetic: the adding problem")


def copy_memory(*, delay: int = 10, symbols: int = 5, examples: int = 20_000) -> Dataset:
    """Returns the copy-memory task: repeat random symbols after a delay.

    A sequence is `symbols` ids from 1 to 8, `delay` blanks (0), a signal (9), and `symbols - 1` blanks; the answer is
    read at the last `symbols` steps.

    Args:
        delay: blanks between the symbols and the signal.
        symbols: how many to remember.
        examples: in all; 80, 10 and 10 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, 2 symbols + delay] int32 and ``"targets"`` [examples, symbols] int32.

    Raises:
        UserError: for a delay below 0 or no symbols.

    Reference:
        Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", 2015,
        https://arxiv.org/abs/1511.06464.
    """
    if delay < 0 or symbols < 1:
        raise UserError(f"dataset 'copy-memory': needs delay >= 0 and symbols >= 1, got {delay} and {symbols}")
    rng = np.random.Generator(np.random.Philox(key=3))
    words = rng.integers(1, SYMBOLS + 1, (examples, symbols))
    inputs = np.zeros((examples, 2 * symbols + delay), np.int32)
    inputs[:, :symbols] = words
    inputs[:, symbols + delay] = SYMBOLS + 1
    arrays = {"inputs": inputs, "targets": words.astype(np.int32)}
    name = f"copy-memory-{delay}-{symbols}"
    return split(name, arrays, validation=0.1, test=0.1, source="synthetic: the copy-memory task")


def teacher(*, features: int = 16, units: int = 8, examples: int = 8_000) -> Dataset:
    """Returns the outputs of a random tanh network with one hidden layer, of variance about 1, for normal inputs.

    Args:
        features: of an input.
        units: hidden units of the teacher.
        examples: in all; 80, 10 and 10 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, features] float32 and ``"targets"`` [examples] float32, without noise.

    Reference:
        Saad and Solla, "On-line learning in soft committee machines", 1995.
    """
    rng = np.random.Generator(np.random.Philox(key=4))
    inputs = rng.standard_normal((examples, features))
    weights = 2 * rng.standard_normal((features, units)) / np.sqrt(features)
    outputs = np.tanh(inputs @ weights) @ rng.choice([-1.0, 1.0], units) / np.sqrt(units)
    arrays = {"inputs": inputs.astype(np.float32), "targets": (outputs / outputs.std()).astype(np.float32)}
    return split(f"teacher-{units}", arrays, validation=0.1, test=0.1, source="synthetic: a tanh network")


def picture(*, size: int = 48) -> Dataset:
    """Returns a grey picture as a function of the place: a zone plate in a disc on a shaded ground.

    Args:
        size: pixels of a side, of which 70, 15 and 15 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [pixels, 2] float32, places in [-1, 1]^2, and ``"targets"`` [pixels] float32,
        brightness in [0, 1].
    """
    axis = np.linspace(-1, 1, size)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    radius = x**2 + y**2
    # Rings that get narrower outwards, a sharp edge at radius 0.8, a smooth ground outside.
    brightness = np.where(radius < 0.64, 0.5 + 0.5 * np.cos(20 * radius), 0.25 + 0.15 * x - 0.1 * y)
    arrays = {"inputs": np.stack([x, y], axis=1).astype(np.float32), "targets": brightness.astype(np.float32)}
    return split(f"picture-{size}", arrays, source="synthetic: a zone plate")


def ring_centres(modes: int) -> np.ndarray[Any, Any]:
    """Returns the middles of the Gaussians of `ring`: [modes, 2] float32 on the unit circle, the first at (1, 0)."""
    angles = 2 * np.pi * np.arange(modes) / modes
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def ring(*, modes: int = 8, deviation: float = 0.05, examples: int = 6_000) -> Dataset:
    """Returns points of Gaussians whose middles lie evenly on the unit circle, equally many of each.

    Args:
        modes: how many Gaussians, at least 2.
        deviation: of each, in both directions.
        examples: in all, divided evenly; 80, 10 and 10 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, 2] float32.

    Raises:
        UserError: for fewer than 2 modes, or a deviation that is not above 0.
    """
    if modes < 2 or not deviation > 0:
        raise UserError(f"dataset 'ring': needs modes >= 2 and deviation > 0, got {modes} and {deviation}")
    rng = np.random.Generator(np.random.Philox(key=5))
    middles = np.tile(ring_centres(modes), (examples // modes, 1))
    points = middles + deviation * rng.standard_normal(middles.shape)
    name = f"ring-{modes}-{deviation:g}"
    arrays = {"inputs": points.astype(np.float32)}
    return split(name, arrays, validation=0.1, test=0.1, source="synthetic: Gaussians on a ring")
