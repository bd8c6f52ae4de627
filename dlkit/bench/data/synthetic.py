"""Synthetic data: memory tasks, unequal series, survival times, a teacher network, a picture, Gaussians on a ring."""

from typing import Any

import numpy as np

from dlkit.bench.data.base import Dataset
from dlkit.bench.data.splits import split
from dlkit.bench.errors import UserError

__all__ = ["adding", "copy_memory", "picture", "ring", "ring_centres", "survival_times", "teacher", "unequal_series"]

SYMBOLS = 8  # of the copy-memory task
LENGTHS = range(4, 21)  # of its words: three symbols make 512 words in all, too few to hold any out


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
    read at the last `symbols` steps. No sequence is there twice, so none that is held out was trained on.

    Args:
        delay: blanks between the symbols and the signal.
        symbols: how many to remember, from 4 to 20.
        examples: in all, at most the 8^symbols that there are; 80, 10 and 10 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, 2 symbols + delay] int32 and ``"targets"`` [examples, symbols] int32.

    Raises:
        UserError: for a delay below 0, fewer than 4 symbols or more than 20.

    Reference:
        Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", 2015,
        https://arxiv.org/abs/1511.06464.
    """
    if delay < 0 or symbols not in LENGTHS:
        raise UserError(
            f"dataset 'copy-memory': needs delay >= 0 and from {LENGTHS[0]} to {LENGTHS[-1]} symbols, got {delay} and "
            f"{symbols}"
        )
    rng = np.random.Generator(np.random.Philox(key=3))
    numbers = rng.choice(SYMBOLS**symbols, min(examples, SYMBOLS**symbols), replace=False)
    words = 1 + numbers[:, None] // SYMBOLS ** np.arange(symbols) % SYMBOLS  # a number's digits to the base 8
    inputs = np.zeros((len(words), 2 * symbols + delay), np.int32)
    inputs[:, :symbols] = words
    inputs[:, symbols + delay] = SYMBOLS + 1
    arrays = {"inputs": inputs, "targets": words.astype(np.int32)}
    name = f"copy-memory-{delay}-{symbols}"
    return split(name, arrays, validation=0.1, test=0.1, source="synthetic: the copy-memory task")


def unequal_series(*, longest: int = 40, examples: int = 6_000) -> Dataset:
    """Returns noisy series of unequal lengths, to be told apart by where their pulse stands: early, midway or late.

    A series has from 5 to `longest` steps of normal noise. In one of its thirds, which is its class, a pulse adds 2 to
    both channels for a fifth of its steps, at least 2. Thirds are those of the series itself, so its length counts.
    After its end the arrays go on with noise and pulses that mean nothing: a model that reads them is misled.

    Args:
        longest: steps of the longest series, at least 10.
        examples: in all; 70, 15 and 15 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, longest, 2] float32, ``"lengths"`` [examples] int32 and ``"targets"``
        [examples] int32, 0, 1 or 2.

    Raises:
        UserError: for fewer than 10 steps.
    """
    if longest < 10:
        raise UserError(f"dataset 'unequal-series': longest must be at least 10, got {longest}")
    rng = np.random.Generator(np.random.Philox(key=6))
    inputs = rng.standard_normal((examples, longest, 2))
    lengths, targets = rng.integers(5, longest + 1, examples), rng.integers(0, 3, examples)
    widths = np.maximum(lengths // 5, 2)
    # Where a pulse begins, so that its middle is in the third: uniform over the places there are.
    middles = lengths * (targets + rng.random(examples)) / 3
    starts = np.clip(np.round(middles - widths / 2), 0, lengths - widths)
    false_starts = lengths + rng.integers(0, longest, examples) % np.maximum(longest - lengths, 1)
    steps = np.arange(longest)
    for begins in (starts, false_starts):
        inputs += 2.0 * ((steps >= begins[:, None]) & (steps < (begins + widths)[:, None]))[..., None]
    arrays = {
        "inputs": inputs.astype(np.float32),
        "lengths": lengths.astype(np.int32),
        "targets": targets.astype(np.int32),
    }
    source = "synthetic: series of unequal lengths with a pulse"
    return split(f"unequal-series-{longest}", arrays, validation=0.15, test=0.15, source=source)


def survival_times(*, features: int = 8, examples: int = 4_000) -> Dataset:
    """Returns times until an event with a risk that is no line in the features; about two in five are censored.

    Weibull times of shape 1.5, t = (e / exp(r))^(1 / 1.5) with e exponential and r = 1.5 sin(2 x_1) + x_2 x_3 + |x_4|,
    less its mean; the other features mean nothing. An example is last seen at a time of its own, uniform on [0, 2].

    Args:
        features: of an example, standard normal; at least 4.
        examples: in all; 60, 20 and 20 % are for train, validation and test.

    Returns:
        Splits with ``"inputs"`` [examples, features] float32, ``"time"`` [examples] float32 and ``"event"`` [examples]
        int32, 1 where the event was seen.

    Raises:
        UserError: for fewer than 4 features.

    Reference:
        Bender, Augustin and Blettner, "Generating survival times to simulate Cox proportional hazards models",
        Statistics in Medicine 24, 2005.
    """
    if features < 4:
        raise UserError(f"dataset 'survival-times': features must be at least 4, got {features}")
    rng = np.random.Generator(np.random.Philox(key=7))
    x = rng.standard_normal((examples, features))
    risk = 1.5 * np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) - np.sqrt(2 / np.pi)
    times = (rng.exponential(size=examples) / np.exp(risk)) ** (1 / 1.5)
    ends = rng.uniform(0, 2, examples)
    arrays = {
        "inputs": x.astype(np.float32),
        "time": np.minimum(times, ends).astype(np.float32),
        "event": (times <= ends).astype(np.int32),
    }
    return split(f"survival-times-{features}", arrays, source="synthetic: censored Weibull times")


def teacher(*, features: int = 16, units: int = 8, examples: int = 10_000) -> Dataset:
    """Returns the outputs of a random tanh network with one hidden layer, of variance about 1, for normal inputs.

    Args:
        features: of an input.
        units: hidden units of the teacher.
        examples: in all; 70, 15 and 15 % are for train, validation and test.

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
    return split(f"teacher-{units}", arrays, validation=0.15, test=0.15, source="synthetic: a tanh network")


def picture(*, size: int = 48) -> Dataset:
    """Returns a grey picture as a function of the place: a zone plate in a disc on a shaded ground.

    Args:
        size: pixels of a side, of which 60, 20 and 20 % are for train, validation and test.

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


def ring(*, modes: int = 8, deviation: float = 0.05, examples: int = 6_400) -> Dataset:
    """Returns points of Gaussians whose middles lie evenly on the unit circle, equally many of each.

    Args:
        modes: how many Gaussians, at least 2.
        deviation: of each, in both directions.
        examples: in all, divided evenly; 70, 15 and 15 % are for train, validation and test.

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
    return split(name, arrays, validation=0.15, test=0.15, source="synthetic: Gaussians on a ring")
