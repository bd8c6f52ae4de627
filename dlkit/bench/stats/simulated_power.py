"""What more blocks would settle, by simulating the whole rule that tells contenders apart on the scores at hand.

The rule: a pair is told apart where both `paired_difference`'s p-value and its `family_p_values` among all pairs of
the contenders are at most `1 - level`. A block is a study, or a fresh seed.

A simulated block is a stored one with the noise of all its contenders kept, or reversed: the rule takes differences to
be symmetric. Some of the noise is replaced by normal noise of the same spread, so that no block comes twice. How large
the noise is, is known from few blocks only: each simulation multiplies it by a factor that spreads as such estimates
do. Without that factor the promise would be too optimistic.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, array, error_rate
from dlkit.bench.stats.families import POOLED, fewest_blocks, sign_flips, size_limits

__all__ = ["least_blocks", "least_difference", "simulated_power"]

SIMULATIONS = 400
FAMILIES = 24  # simulations of the other pairs
FLIPS = 400  # where there are too many blocks to count all
MOST_SIMULATED = 64  # blocks; what takes more is extrapolated
SMOOTHING = 0.3  # standard deviation of the normal part, in those of the noise
KNOWN = 0.55  # degrees of freedom of the spread per block beyond the first: 1 for normal noise, less for heavy tails
PRECISION = 0.01  # of a difference
MOST_DOUBLINGS = 20
ROUNDING = 1e-5  # of sums in single precision


def simulated_power(
    scores: ArrayLike, pair: tuple[int, int], difference: float, blocks: int, *, level: float = 0.95, seed: int = 0
) -> float:
    """How probable it is that so many new blocks tell a pair apart, if it differs by so much.

    The other pairs keep the differences they have.

    Args:
        scores: [contenders, blocks], at least two of each; infinities are trials that diverged. A block in which one of
            the pair diverged stays so, whatever the difference.
        pair: positions of the two contenders.
        difference: the first one's score less the second one's.
        blocks: how many new ones, at least 1.
        level: confidence level of the rule, between 0 and 1.
        seed: of the simulation.

    Returns:
        The probability, with a simulation error of about 2 points; from 64 blocks on that of 64 and of a difference
        which grows with the square root of their number.

    Raises:
        ValueError: if an argument is not as described, or fewer than two blocks have finite scores of both.

    Example:
        >>> scores = [[0.1, 0.5, 0.2, 0.9, 0.4, 0.6, 0.3, 0.8], [1.0, 1.2, 1.4, 1.6, 1.3, 1.1, 1.7, 1.5]]
        >>> simulated_power(scores, (0, 1), -2.0, blocks=10) > 0.9 > simulated_power(scores, (0, 1), -0.1, blocks=10)
        True
    """
    if not math.isfinite(difference):
        raise ValueError(f"difference must be a number, got {difference}")
    return _power_at(_asked(scores, pair, level, seed), blocks)(difference)


def least_difference(
    scores: ArrayLike,
    pair: tuple[int, int],
    blocks: int,
    *,
    power: float = 0.8,
    level: float = 0.95,
    seed: int = 0,
) -> float:
    """The least difference of a pair that so many new blocks would find: `simulated_power` reversed.

    Args:
        scores: [contenders, blocks], as there.
        pair: positions of the two contenders.
        blocks: how many new ones, at least 1.
        power: probability of finding it, between `1 - level` and 1.
        level: confidence level of the rule, between 0 and 1.
        seed: of the simulation.

    Returns:
        Its size, in the direction of the difference at hand. Infinite if no difference would be found, as with too few
        blocks; 0 if the blocks agree exactly, or those that diverged settle it already.

    Raises:
        ValueError: if an argument is not as described, or fewer than two blocks have finite scores of both.

    Example:
        >>> scores = [[0.1, 0.5, 0.2, 0.9, 0.4, 0.6, 0.3, 0.8], [1.0, 1.2, 1.4, 1.6, 1.3, 1.1, 1.7, 1.5]]
        >>> least_difference(scores, (0, 1), blocks=20) < least_difference(scores, (0, 1), blocks=10)
        True
        >>> least_difference(scores, (0, 1), blocks=5)
        inf
    """
    asked = _asked(scores, pair, level, seed, power)
    if blocks < fewest_blocks(level):
        return math.inf
    return _least(asked, _power_at(asked, blocks), power)


def least_blocks(
    scores: ArrayLike,
    pair: tuple[int, int],
    difference: float,
    *,
    power: float = 0.8,
    level: float = 0.95,
    seed: int = 0,
) -> int | None:
    """The least number of new blocks that would find a difference of a pair, by `simulated_power`.

    Args:
        scores: [contenders, blocks], as there.
        pair: positions of the two contenders.
        difference: the first one's score less the second one's, not 0.
        power: probability of finding it, between `1 - level` and 1.
        level: confidence level of the rule, between 0 and 1.
        seed: of the simulation.

    Returns:
        The number, at least `fewest_blocks(level)`; above 64 extrapolated from 64. None if no number would do, because
        those of the pair that diverge speak against it.

    Raises:
        ValueError: if an argument is not as described, or fewer than two blocks have finite scores of both.

    Example:
        >>> scores = [[0.1, 0.5, 0.2, 0.9, 0.4, 0.6, 0.3, 0.8], [1.0, 1.2, 1.4, 1.6, 1.3, 1.1, 1.7, 1.5]]
        >>> least_blocks(scores, (0, 1), -10.0)
        6
    """
    asked = _asked(scores, pair, level, seed, power)
    if not math.isfinite(difference) or difference == 0:
        raise ValueError(f"difference must be a number other than 0, got {difference}; name the least that matters")
    low, high = fewest_blocks(level) - 1, max(MOST_SIMULATED, fewest_blocks(level))
    if _power_at(asked, high)(difference) < power:
        asked = asked._replace(direction=math.copysign(1.0, difference))
        times = _least(asked, _power_at(asked, high), power) / abs(difference)
        return math.ceil(high * max(times, 1.0) ** 2) if math.isfinite(times) else None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power_at(asked, middle)(difference) >= power else (middle, high)
    return high


class _Pairs(NamedTuple):
    """The differences of all pairs of contenders: [pairs, blocks] each, but for the centres."""

    rows: Floats
    diverged: NDArray[np.bool_]  # one of the pair, or both
    centres: Floats  # [pairs]
    noise: Floats  # from the centre; 0 where one diverged


class _Asked(NamedTuple):
    """One of these pairs."""

    scores: bytes  # with their shape the key under which pairs are kept
    shape: tuple[int, int]
    row: int
    sign: float  # -1 if the pair is asked for the other way round
    direction: float  # of the differences to look for
    spread: float  # standard deviation of the noise, or 1 without noise
    level: float
    seed: int


class _Draws(NamedTuple):
    """What makes stored blocks into simulated ones."""

    chosen: NDArray[np.int64]  # [simulations, blocks]
    kept: Floats  # [simulations, blocks]: the part of the noise that is kept, and its sign
    scale: Floats  # [simulations, 1]


def _asked(scores: ArrayLike, pair: tuple[int, int], level: float, seed: int, power: float | None = None) -> _Asked:
    """Checks what is asked, and finds the pair."""
    numbers = array("scores", scores, ("contenders", "blocks"))
    contenders, stored = numbers.shape
    alpha = error_rate(level)
    if power is not None and not alpha < power < 1:
        raise ValueError(f"power must lie between 1 - level = {alpha:g} and 1, got {power}; 0.8 is usual")
    first, second = pair
    if not (0 <= first < contenders and 0 <= second < contenders and first != second):
        raise ValueError(f"pair must be two positions of {contenders} contenders, got {pair}")
    row = list(combinations(range(contenders), 2)).index((min(pair), max(pair)))
    pairs = _pairs(numbers.tobytes(), numbers.shape)
    counted = int(np.sum(~pairs.diverged[row]))
    if counted < 2:
        raise ValueError(f"the pair {pair} has finite scores in {counted} of {stored} blocks; at least 2 are needed")
    sign = 1.0 if first < second else -1.0
    direction = math.copysign(1.0, sign * _signed_ranks(pairs.rows[row : row + 1]).sum())
    spread = float(np.sqrt((pairs.noise[row] ** 2).sum() / (counted - 1))) or 1.0
    return _Asked(numbers.tobytes(), numbers.shape, row, sign, direction, spread, level, seed)


@lru_cache(maxsize=8)
def _pairs(scores: bytes, shape: tuple[int, int]) -> _Pairs:
    values = np.frombuffer(scores).reshape(shape)
    first, second = np.array(list(combinations(range(shape[0]), 2))).T
    ours, theirs = values[first], values[second]
    diverged = ~(np.isfinite(ours) & np.isfinite(theirs))
    with np.errstate(invalid="ignore"):
        rows = np.where(ours == theirs, 0.0, ours - theirs)
    counted = np.maximum((~diverged).sum(axis=1), 1)
    finite = np.where(diverged, 0.0, rows)
    centres = finite.sum(axis=1) / counted
    return _Pairs(rows, diverged, centres, np.where(diverged, 0.0, rows - centres[:, None]))


@lru_cache(maxsize=64)
def _draws(stored: int, counted: int, blocks: int, simulations: int, seed: int) -> _Draws:
    """Blocks and signs, and the spread's factor, from as many blocks as did not diverge."""
    rng = np.random.default_rng((seed, simulations))
    freedom = KNOWN * (counted - 1)
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=(simulations, 1)) * counted / (counted - 1))
    chosen = rng.integers(0, stored, size=(simulations, blocks))
    kept = math.sqrt(1 - SMOOTHING**2) * rng.choice([-1.0, 1.0], size=chosen.shape)
    return _Draws(chosen, kept, scale)


def _power_at(asked: _Asked, blocks: int) -> Callable[[float], float]:
    """The power of so many blocks, as a function of the difference."""
    if blocks < 1:
        raise ValueError(f"blocks must be at least 1, got {blocks}")
    alpha, simulated = error_rate(asked.level) + 1e-9, min(blocks, MOST_SIMULATED)
    growth = math.sqrt(blocks / simulated)
    pairs = _pairs(asked.scores, asked.shape)
    stored, diverged = pairs.rows[asked.row], pairs.diverged[asked.row]
    counted = int(np.sum(~diverged))
    draws = _draws(stored.size, counted, simulated, SIMULATIONS, asked.seed)
    normal = np.random.default_rng((asked.seed, 2)).normal(size=draws.chosen.shape)
    usual = math.sqrt((pairs.noise[asked.row] ** 2).sum() / counted)
    noise = draws.scale * (draws.kept * pairs.noise[asked.row][draws.chosen] + SMOOTHING * usual * normal)
    rivals = _rivals(asked.scores, asked.shape, asked.row, simulated, asked.level, asked.seed)

    def power(difference: float) -> float:
        moved = np.where(diverged[draws.chosen], stored[draws.chosen], noise + asked.sign * growth * difference)
        p_values, direction = _judged(moved, rivals, asked.seed)
        return float(np.mean((p_values <= alpha) & (direction * asked.sign * difference >= 0)))

    return power


def _least(asked: _Asked, power_at: Callable[[float], float], power: float) -> float:
    """The least size of a difference with enough power, in the direction asked for; infinite if there is none."""
    if power_at(asked.direction * 1e-9 * asked.spread) >= power:
        return 0.0
    low, high = 0.0, 2 * asked.spread
    doublings = 0
    while power_at(asked.direction * high) < power:
        low, high, doublings = high, 2 * high, doublings + 1
        if doublings > MOST_DOUBLINGS:
            return math.inf
    while high - low > PRECISION * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if power_at(asked.direction * middle) >= power else (middle, high)
    return high


class _Rivals(NamedTuple):
    """What the other pairs of the family do to one, in several simulations."""

    largest: NDArray[np.float32]  # [families, flips]: of their statistics
    squares: Floats  # [families]: the median of the sums of squares


def _judged(moved: Floats, rivals: _Rivals | None, seed: int) -> tuple[Floats, Floats]:
    """The rule's p-value of a pair in each simulation [simulations, blocks], and the sign of what it finds."""
    flips = _flips(moved.shape[1], seed)
    limits, _ = size_limits(moved[:, None, :])
    units = np.clip(moved / limits, -1.0, 1.0)
    sums = np.abs(units.astype(np.float32) @ flips)
    bar = sums[:, :1] * (1 - ROUNDING)
    reached = sums >= bar
    if rivals is not None:
        family = np.arange(len(moved)) % len(rivals.squares)
        spread = np.sqrt((units**2).sum(axis=1) + POOLED * rivals.squares[family] / limits[:, 0] ** 2)
        reached |= rivals.largest[family] >= bar / spread[:, None].astype(np.float32)
    ranks = _signed_ranks(moved).astype(np.float32) @ flips
    by_ranks = np.abs(ranks) >= np.abs(ranks[:, :1]) * (1 - ROUNDING)
    return np.maximum(reached.mean(axis=1), by_ranks.mean(axis=1)), np.sign(ranks[:, 0])


def _signed_ranks(rows: Floats) -> Floats:
    """Midranks of sizes with the signs of the differences; none tie but those of zeros and infinities."""
    sizes = np.abs(rows)
    ranks = sizes.argsort(axis=1).argsort(axis=1) + 1.0
    infinite = np.isinf(sizes)
    ranks = np.where(infinite, rows.shape[1] - 0.5 * (infinite.sum(axis=1, keepdims=True) - 1), ranks)
    signed: Floats = np.sign(rows) * ranks
    return signed


@lru_cache(maxsize=8)
def _statistics(scores: bytes, shape: tuple[int, int], blocks: int, seed: int) -> tuple[NDArray[np.float32], Floats]:
    """Statistics [families, pairs, flips] of all pairs with the differences that they have, and `_Rivals.squares`."""
    pairs = _pairs(scores, shape)
    chosen, kept, _ = _draws(shape[1], shape[1], blocks, FAMILIES, seed)
    normal = np.random.default_rng((seed, 3)).normal(size=(*chosen.shape, shape[1])) @ pairs.noise.T
    smooth = np.moveaxis(normal, -1, 0) * SMOOTHING / math.sqrt(shape[1])
    moved = pairs.centres[:, None, None] + kept * pairs.noise[:, chosen] + smooth
    moved = np.where(pairs.diverged[:, chosen], pairs.rows[:, chosen], moved).swapaxes(0, 1)
    limits, is_own = size_limits(moved)
    values = np.clip(moved, -limits[..., None], limits[..., None])
    squares = (values**2).sum(axis=-1)
    usual = np.array([np.median(each[own]) if own.any() else 0.0 for each, own in zip(squares, is_own, strict=True)])
    weights = values / np.sqrt(np.maximum(squares + POOLED * usual[:, None], np.finfo(float).tiny))[..., None]
    return np.abs(weights.astype(np.float32) @ _flips(blocks, seed)), usual


@lru_cache(maxsize=64)
def _rivals(scores: bytes, shape: tuple[int, int], row: int, blocks: int, level: float, seed: int) -> _Rivals | None:
    """The other pairs, without those that are told apart even from all: the step-down test leaves them out."""
    if shape[0] == 2:
        return None
    statistics, squares = _statistics(scores, shape, blocks, seed)
    others = np.arange(statistics.shape[1])[:, None] != row
    largest = np.max(statistics, axis=1, where=others, initial=0.0)
    bar = np.quantile(largest, level, axis=1, method="higher")
    still_open = others & (statistics[..., :1] <= bar[:, None, None])
    return _Rivals(np.max(statistics, axis=1, where=still_open, initial=0.0), squares)


@lru_cache(maxsize=8)
def _flips(blocks: int, seed: int) -> NDArray[np.float32]:
    return sign_flips(blocks, FLIPS, seed).astype(np.float32).T
