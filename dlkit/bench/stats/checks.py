"""What every function here asks of its arrays: numbers of the right shape, without NaN, and a level between 0 and 1.

Lower is better throughout. A diverged trial or a missed target is `+inf`, never dropped or averaged into a number.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Floats", "array", "error_rate", "samples", "with_gaps"]

Floats = NDArray[np.float64]


def samples(**named: ArrayLike) -> list[Floats]:
    """Checks samples: non-empty vectors of one length, without NaN."""
    samples = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    for name, sample in samples.items():
        if sample.ndim != 1 or sample.size == 0:
            raise ValueError(f"{name} must be a vector of at least one number, got shape {sample.shape}")
        if (is_missing := np.isnan(sample)).any():
            missing = np.flatnonzero(is_missing).tolist()
            raise ValueError(f"{name} has NaN at {missing}; encode a diverged or missed trial as inf, leave others out")
    sizes = [sample.size for sample in samples.values()]
    if len(set(sizes)) > 1:
        raise ValueError(f"{' and '.join(samples)} must be paired, got {sizes} numbers; keep the common seeds only")
    return list(samples.values())


def array(name: str, values: ArrayLike, axes: tuple[str, ...], hint: str = "") -> Floats:
    """Checks an array of several axes: none of them empty, no NaN.

    Args:
        name: what the caller calls it.
        values: the numbers.
        axes: what each axis counts.
        hint: what else to do about NaN.
    """
    numbers = with_gaps(name, values, axes)
    if missing := int(np.isnan(numbers).sum()):
        raise ValueError(f"{name} has NaN in {missing} places; encode a diverged or missed trial as inf{hint}")
    return numbers


def with_gaps(name: str, values: ArrayLike, axes: tuple[str, ...]) -> Floats:
    """Checks an array as `array` does, but that NaN is allowed: there is no number."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != len(axes) or numbers.size == 0:
        expected = ", ".join(axes)
        raise ValueError(f"{name} must be an array [{expected}] without an empty axis, got shape {numbers.shape}")
    return numbers


def error_rate(level: float) -> float:
    """Returns `1 - level`; refuses what is no level."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}; 0.95 is usual")
    return 1 - level
