"""Halton's sequence with scrambled digits, as SciPy draws it, without the second that importing `scipy.stats` takes."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["scrambled_halton"]

BITS = 54  # digits beyond these do not change a double between 0 and 1

Floats = np.ndarray[Any, np.dtype[np.float64]]


@lru_cache(maxsize=64)  # contenders of as many dimensions share a study's coordinates
def scrambled_halton(width: int, count: int, *, seed: int) -> Floats:
    """Draws points of a randomized Halton sequence; the first n of m > n points are the n points drawn alone.

    Coordinate j of point i is Σ_k π_jk(d_k) b^-k, where d_1, d_2, ... are the digits of i in base b, the j-th prime,
    the last one first, and each π_jk is a random permutation of 0, ..., b - 1.

    Args:
        width: how many coordinates a point has.
        count: how many points.
        seed: which permutations.

    Returns:
        [count, width] in [0, 1), which nobody may change: it is kept.

    Reference:
        Owen, "A randomized Halton algorithm in R", 2017.
    """
    generator = np.random.default_rng(seed).spawn(1)[0]  # as SciPy does, so that points stay what they were
    points = np.empty((count, width))
    for column, base in enumerate(_primes(width)):
        places = math.ceil(BITS / math.log2(base)) - 1
        permutations = np.array([generator.permutation(base) for _ in range(places)])
        scales = np.divide.accumulate([1.0, *[float(base)] * places])[1:]
        digits = np.arange(count) // base ** np.arange(places)[:, None] % base
        terms = np.take_along_axis(permutations, digits, axis=1) * scales[:, None]
        points[:, column] = np.add.accumulate(terms)[-1]  # added one after the other, for the last bits
    points.flags.writeable = False
    return points


def _primes(count: int) -> list[int]:
    """The first primes."""
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found
