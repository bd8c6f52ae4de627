"""Families of paired tests: p-values that hold for all comparisons at once, by flipping the signs of whole blocks.

A block is the unit of replication: a study, or a fresh seed. All comparisons share the blocks, so that what depends
between them is kept by flipping a block's signs in all of them together.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.bench.stats.checks import Floats, array, error_rate, samples
from dlkit.bench.stats.intervals import Interval, wilson_score
from dlkit.bench.stats.signed_ranks import paired_difference

__all__ = ["family_p_values", "fewest_blocks", "keep_orders", "keeps_order"]

EXACT_BLOCKS = 12  # up to here all flips are counted: 2,048
CLIP = 3.0  # sizes above so many median sizes count as so many
POOLED = 0.25  # how much the usual comparison's spread steadies every other one's
ROUNDING = 1e-9


def family_p_values(differences: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Floats:
    """Adjusted p-values of a family of two-sided paired tests: step-down max-T over sign flips of whole blocks.

    Null hypothesis of a comparison: its differences are symmetric about 0, jointly with those of the other comparisons
    that are null. Where p-values `<= a` are rejected, a null comparison is among them with probability `<= a`.

    The statistic is `|Σ d| / sqrt(Σ d² + m / 4)`, with m the median of `Σ d²` over the comparisons: a comparison that
    looks precise by chance does not set the bar for all. Sizes count up to 3 times the comparison's median size (of
    those that are not 0), so that one outlier or one diverged trial does not outweigh the other blocks. Where most are
    infinite they count as the largest that is not, and where all are, as the largest limit of the family. Under the
    null hypothesis only the signs are random, whatever the sizes, which keeps the test exact.

    Args:
        differences: [comparisons, blocks], a row for each comparison; infinities are allowed, ties are 0.
        draws: how many flips to draw where there are more than 12 blocks; with fewer all are counted.
        seed: of the draws.

    Returns:
        [comparisons] p-values. The least possible is `2^(1 - blocks)`, or `1 / (draws + 1)` where flips are drawn.

    Raises:
        ValueError: if `differences` is not such an array, is empty or has NaN, or `draws` is below 1.

    Reference:
        Westfall and Young, Resampling-Based Multiple Testing, 1993, section 2.6; Romano and Wolf, "Exact and
        approximate stepdown methods for multiple hypothesis testing", JASA, 2005.

    Example:
        >>> family_p_values([[1, 2, 1, 3, 2, 1], [2, 1, -1, 1, -2, -1]]).tolist()
        [0.03125, 0.90625]
    """
    rows = array("differences", differences, ("comparisons", "blocks"))
    flips = sign_flips(rows.shape[1], draws, seed)
    return step_down(np.abs(weighed(rows) @ flips.T))


def fewest_blocks(level: float = 0.95) -> int:
    """The least number of blocks with which an exact two-sided test by sign flips can reject.

    Args:
        level: confidence level of the test, between 0 and 1.

    Returns:
        The least n with `2^(1 - n) <= 1 - level`.

    Raises:
        ValueError: if `level` is not between 0 and 1.

    Example:
        >>> fewest_blocks(0.95)
        6
    """
    return math.ceil(1 - math.log2(error_rate(level)) - ROUNDING)


def keeps_order(differences: ArrayLike, *, level: float = 0.95, estimate: float | None = None) -> Interval:
    """How probable it is that a new block shows the order that these blocks show on the whole.

    Args:
        differences: [blocks] of one comparison; infinities are allowed, ties are 0.
        level: confidence level of the interval, between 0 and 1.
        estimate: that of `paired_difference`, where it is known.

    Returns:
        The share of blocks with the sign of `paired_difference`'s estimate, a tie counted as half, and its interval by
        Wilson. Where the estimate is 0, the sign is the one that more blocks have.

    Raises:
        ValueError: if `differences` is empty or has NaN, or `level` is not between 0 and 1.

    Example:
        >>> keeps_order([-1.0, -2.0, -0.5, 0.3]).estimate
        0.75
    """
    values = samples(differences=differences)[0]
    if estimate is None:
        estimate = paired_difference(values, np.zeros(values.size)).estimate
    return keep_orders(values[None], [estimate], level=level)[0]


def keep_orders(differences: ArrayLike, estimates: Sequence[float], *, level: float = 0.95) -> list[Interval]:
    """`keeps_order` of many comparisons at once.

    Args:
        differences: [comparisons, blocks] as in `family_p_values`.
        estimates: [comparisons] those of `paired_difference`.
        level: confidence level of the intervals, between 0 and 1.

    Returns:
        One a comparison.
    """
    rows = array("differences", differences, ("comparisons", "blocks"))
    blocks, found = rows.shape[1], []
    counts = ((rows > 0).sum(axis=1).tolist(), (rows == 0).sum(axis=1).tolist())
    for above, ties, estimate in zip(*counts, estimates, strict=True):
        below = blocks - above - ties
        kept = max(above, below) if estimate == 0 else above if estimate > 0 else below
        found.append(wilson_score((kept + 0.5 * ties) / blocks, blocks, level))
    return found


@lru_cache(maxsize=16)
def sign_flips(blocks: int, draws: int, seed: int) -> Floats:
    """Signs [flips, blocks], the identity first: all that differ in more than every sign, or the identity and draws."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}; 2000 is usual")
    if blocks <= EXACT_BLOCKS:
        codes = np.arange(2 ** (blocks - 1))[:, None] >> np.arange(blocks)  # the last sign stays
        flipped = (codes & 1).astype(bool)
    else:
        flipped = np.random.default_rng(seed).random((draws + 1, blocks)) < 0.5
        flipped[0] = False
    signs: Floats = np.where(flipped, -1.0, 1.0)
    signs.setflags(write=False)
    return signs


def weighed(rows: Floats) -> Floats:
    """Differences [..., comparisons, blocks] with sizes clipped, over what the statistic divides by."""
    limits, has_limit = size_limits(rows)
    family = np.max(limits, axis=-1, keepdims=True)
    # in units that let no square overflow: each comparison's limit, and for what they share the largest of these
    units = np.minimum(np.abs(rows) / limits[..., None], 1.0)
    squares = (units**2).sum(axis=-1)
    relative = np.maximum(limits / family, np.finfo(np.float64).tiny)
    usual = np.nan_to_num(_medians_where(squares * relative**2, has_limit))
    with np.errstate(over="ignore"):
        shared = np.where(squares > 0, POOLED * (np.sqrt(usual)[..., None] / relative) ** 2, 1.0)
    steadied: Floats = np.copysign(units, rows) / np.sqrt(squares + shared)[..., None]
    return steadied


def size_limits(rows: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """What sizes of differences [..., comparisons, blocks] are clipped to, and whether it is the comparison's own."""
    sizes = np.abs(rows)
    limits = CLIP * _medians_where(sizes, sizes > 0)  # NaN for a comparison of ties, inf where most are infinite
    largest = np.max(sizes, axis=-1, where=np.isfinite(sizes), initial=0.0)
    limits = np.where(np.isfinite(limits), limits, largest)
    is_own = limits > 0
    family = np.max(limits, axis=-1, keepdims=True)
    return np.where(is_own, limits, np.where(family > 0, family, 1.0)), is_own


def _medians_where(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Medians over the last axis of the numbers that count; NaN where there is none."""
    ordered = np.sort(np.where(counted, values, np.nan), axis=-1)  # NaN last
    count = counted.sum(axis=-1, keepdims=True)
    low, high = (np.take_along_axis(ordered, at, axis=-1) for at in (np.maximum(count - 1, 0) // 2, count // 2))
    middle: Floats = (0.5 * low + 0.5 * high)[..., 0]
    return middle


def step_down(statistics: Floats) -> Floats:
    """Adjusted p-values [comparisons] of statistics [comparisons, flips], the observed ones first.

    The comparison with the largest statistic is judged by the largest of all under each flip, the next by the largest
    without the first, and so on; no p-value is below that of the comparison before it.
    """
    order = np.argsort(-statistics[:, 0], kind="stable")
    ordered = statistics[order]
    largest = np.maximum.accumulate(ordered[::-1], axis=0)[::-1]
    reached = largest >= ordered[:, :1] * (1 - ROUNDING)
    adjusted = np.empty(order.size)
    adjusted[order] = np.maximum.accumulate(reached.mean(axis=1))
    return adjusted
